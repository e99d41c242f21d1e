"""Each operation that the export knows says under onnxruntime what it says in PyTorch, of unusual shapes as well."""

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch.nn import functional as F

from anomaly.exporting.graph import IR, OPSET, Refused
from anomaly.exporting.operations import OPERATIONS
from anomaly.exporting.recording import recorded
from anomaly.exporting.verifying import session

SHAPE = (1, 2, 5, 6)
W = torch.randn(4, 2, 3, 3, generator=torch.Generator().manual_seed(1))
ROW = torch.linspace(-1, 1, 6)
COLUMN = torch.linspace(0.5, 2, 5)[:, None]
SOLID = (1, 2, 4, 5, 3)


def both(function, shape=SHAPE):
    """What a function of an image (float32) says in PyTorch, and under onnxruntime by its recording."""
    image = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    expected = function(image).float().numpy()
    graph, name, results, _ = recorded(lambda x: {"value": function(x)}, image, OPERATIONS)
    whole = helper.make_graph(
        graph.nodes,
        "operation",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))],
        [helper.make_tensor_value_info(results["value"], TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, each) for each, array in graph.constants.items()],
    )
    made = helper.make_model(whole, opset_imports=[helper.make_opsetid("", OPSET)])
    made.ir_version = IR
    (found,) = session(made.SerializeToString()).run(None, {name: image.numpy()})
    return expected, found


def in_place_after(x):
    """What an activation does to the output of a norm that was reshaped."""
    seen = x.view(1, -1)
    seen.relu_()
    return x + seen.view(x.shape)


def halved(x):
    """Two halves in one memory, one of which is changed by places that overlap."""
    first = x.view(-1)[:30]
    first.relu_()
    return x.sum() + first.sum()


def written(x, *changes):
    """A copy that is changed in place."""
    found = x.clone()
    for change in changes:
        change(found)
    return found


def tenths(x):
    """From -3 to 3 by tenths, which an image makes."""
    return x.flatten()[:1] * 0 + torch.arange(-30, 31) / 10


CASES = {
    # of each number, and of two that are spread over one another
    "add, spread": lambda x: x + COLUMN,
    "add, spread to more axes": lambda x: x[0, 0, 0] + torch.ones(3, 1, 1),
    "add, times a factor": lambda x: torch.add(x, ROW, alpha=3),
    "add, bits": lambda x: ((x > 0) + (x > 1)) * (x < 2),
    "sub": lambda x: x - x.mean((-1, -2), keepdim=True),
    "rsub": lambda x: 1 - torch.rsub(x, 2),
    "mul, whole numbers": lambda x: (x > 0).long() * 3,
    "div": lambda x: x / (COLUMN * x.abs() + 1),
    "div, whole numbers": lambda x: (x > 0).long() / 3,
    "div, floor": lambda x: torch.div(x, 0.3, rounding_mode="floor"),
    "div, floor, by nothing": lambda x: torch.div(x, (x > 9).float(), rounding_mode="floor").clamp(-9, 9),
    "remainder": lambda x: x % 0.37,
    "remainder, of multiples": lambda x: tenths(x) % 0.1 + tenths(x) % -0.1,
    "div, floor, of multiples": lambda x: (
        torch.div(tenths(x), 0.1, rounding_mode="floor") + torch.div(tenths(x), -0.3, rounding_mode="floor") * 100
    ),
    "remainder, whole numbers below 0": lambda x: (x * 10).long() % 7 + (x * 10).long() % -3,
    "pow": lambda x: x**2 + x.abs() ** 1.5 + x**3,
    "pow, of a number": lambda x: 2.0**x,
    "pow, by a tensor": lambda x: x.abs() ** COLUMN,
    "exp and log": lambda x: x.exp().log() + x.expm1() + x.abs().log1p() + (x.abs() + 1).sqrt(),
    "waves": lambda x: x.sin() + x.cos() + x.atan() + x.tanh() + x.erf(),
    "parts": lambda x: x.floor() + 2 * x.ceil() + 3 * x.round() + 4 * x.sign() - x.neg(),
    "halves to even": lambda x: ((x * 4).round() / 2).round(),
    "activations": lambda x: F.relu(x) + F.silu(x) + F.gelu(x) + F.softplus(x) + x.sigmoid() + F.leaky_relu(x, 0.2),
    "hardtanh": lambda x: F.hardtanh(x, -0.3, 0.4),
    "rsqrt": lambda x: (x.abs() + 1).rsqrt() + (x.abs() + 1).reciprocal(),
    "atan2, all quarters and the axes": lambda x: torch.atan2(x.round(), x.flip(-1).round()),
    "clamp": lambda x: x.clamp(-0.2, 0.3) + x.clamp_min(0) + x.clamp_max(0.1) + x.clamp(max=ROW),
    "clamp, low above high": lambda x: x.clamp(0.5, -0.5),
    "compared": lambda x: (x > ROW).int() + (x >= 0).int() + (x < COLUMN).int() + (x != x[..., :1]).int(),
    "compared, at the end": lambda x: (x.round() <= 0).int() + 2 * (x.round() == 1).int(),
    "compared, bits": lambda x: (x > 0) == (x > 1),
    "logic": lambda x: ((x > 0) & (x < 1)) | ~(x > -1) ^ (x > 0.5),
    "where, spread": lambda x: torch.where(x > 0, COLUMN, x) + torch.where(ROW > 0, x, 2.0),
    "masked_fill": lambda x: x.masked_fill(ROW > 0, -7),
    "addcmul and lerp": lambda x: torch.addcmul(x, x, COLUMN, value=0.5) + torch.lerp(x, ROW.expand(SHAPE), 0.3),
    "maximum": lambda x: torch.maximum(x, ROW) - torch.minimum(x, COLUMN),
    "in place": lambda x: written(x, lambda y: y.mul_(2), lambda y: y.add_(ROW), lambda y: y.clamp_(-1, 1)),
    "to other types": lambda x: x.to(torch.int32).to(torch.bool).to(torch.float64),
    # over axes
    "sum, axes from the end": lambda x: x.sum((-1, 1)) + x.sum((-1, -3)),
    "sum of all": lambda x: x.sum(),
    "sum of bits": lambda x: (x > 0).sum(-1, keepdim=True),
    "mean of a single number": lambda x: x.sum().mean(),
    "mean": lambda x: x.mean(-2, keepdim=True) + x.mean(),
    "amax": lambda x: x.amax((-1, 0)) + x.amin((1, -1)).sum() + x.amax(),
    "amax of bits": lambda x: (x > 1).amax(-1),
    "var": lambda x: x.var(-1) + x.std((0, -1), correction=0, keepdim=True).sum() + x.var(),
    "norm": lambda x: x.norm(dim=-1) + torch.linalg.vector_norm(x, 1, dim=(-1, -2), keepdim=True)[..., 0],
    "any": lambda x: (x > 1).any(-1).int() + (x > 9).any().int(),
    "all": lambda x: (x > -1).all(-2, keepdim=True).int()[..., 0, :1] + (x > -9).all().int(),
    "softmax": lambda x: x.softmax(-2) + x.softmax(1),
    "cumsum": lambda x: x.cumsum(-2) + (x > 0).cumsum(1),
    "nothing to sum": lambda x: x.sum() + x[..., :0].sum(-1),
    # where numbers lie
    "view, transpose, permute": lambda x: x.transpose(-1, 1).permute(0, -1, 2, 1).reshape(2, -1).t()[None].flatten(-2),
    "squeeze and unsqueeze": lambda x: x[:, :1].squeeze(1).unsqueeze(-1).squeeze(),
    "expand": lambda x: x[..., :1].expand(-1, -1, 5, 4) + x[0, 0, 0, 0].expand(4),
    "slices from the end": lambda x: x[..., -3:-1] + x[..., 1:-2:2][..., :1] + x[..., -100:2].sum(-1, keepdim=True),
    "select from the end": lambda x: x[..., -1] + x.select(-2, -2)[..., :1],
    "narrow, split, unbind": lambda x: sum(x.narrow(-1, 2, 3).split(2, -1)[1].unbind(-2)) + x.chunk(4, -1)[-1].sum(),
    "cat": lambda x: torch.cat([x, x[..., :0], ROW.expand(SHAPE)], -1),
    "stack numbers": lambda x: torch.stack([x.mean(), x.sum()], -1),
    "stack from the end": lambda x: torch.stack([x, x + 1], -2),
    "pad": lambda x: F.pad(x, (1, 2, -1, 3), value=0.5),
    "pad bits": lambda x: F.pad(x > 0, (0, 1), value=True),
    "pad, edges": lambda x: F.pad(x, (2, 1, 0, 3), mode="replicate"),
    "pad, mirrors": lambda x: F.pad(x, (2, 1, 0, 3), mode="reflect"),
    "repeat": lambda x: x.repeat(2, 1, 1, 1, 2),
    "repeat each": lambda x: x.repeat_interleave(3, -1),
    "unfold, flip, roll, diagonal": lambda x: x.unfold(-1, 3, 2).flip(-1, 2).roll((1, -2), (-1, 2)).diagonal(0, -1, -3),
    "roll, all in a row": lambda x: x.roll(3),
    "index": lambda x: x[:, [1, -1, 0]] + x[..., torch.tensor([[2]])].sum() + x[:, :, [0, 1, 2], [0, -1, 3]].sum(),
    "index by bits": lambda x: x[..., ROW > 0],
    "index by what is found": lambda x: ROW[x.sort(-1)[1]],
    "index_select": lambda x: x.index_select(-1, torch.tensor([3, 0, 3])),
    "gather, of fewer": lambda x: x.gather(-1, x[:, :1, :3].topk(2, -1)[1]),
    "index_put": lambda x: x.index_put((torch.tensor([0]), torch.tensor([-1])), torch.tensor(3.0)),
    "sort": lambda x: x.sort(-2, descending=True)[0] + x.sort(dim=1, stable=True)[0],
    "topk": lambda x: x.topk(2, -2)[0] + x.topk(2, -2, largest=False)[0],
    "median, of an even number": lambda x: x.median(-1)[0] + x.median(-1, keepdim=True)[0][..., 0],
    "median of all": lambda x: x.median(),
    # networks
    "products": lambda x: x[0, 0] @ x[0, 1].T + (x[0] @ x[0].mT).sum() + torch.mv(x[0, 0], ROW)[:, None],
    "addmm": lambda x: torch.addmm(ROW[:5], x[0, 0], x[0, 1].T, beta=0.5, alpha=2),
    "linear": lambda x: F.linear(x, torch.ones(3, 6), torch.arange(3.0)),
    "convolution": lambda x: F.conv2d(x, W, torch.arange(4.0), stride=(1, 2), padding=(2, 1), dilation=(2, 1)),
    "convolution, groups": lambda x: F.conv2d(x, W[:, :1], groups=2, padding="same"),
    "convolution, kernels from the image": lambda x: F.conv2d(x, x[..., :3, :3]),
    "convolution back": lambda x: F.conv_transpose2d(x, W.mT[:2], stride=2, padding=1, output_padding=(1, 0)),
    "pooled": lambda x: F.avg_pool2d(x, 3, 1, 1, count_include_pad=False) + F.max_pool2d(x, 3, 1, 1, dilation=1),
    "pooled beyond the edge": lambda x: F.max_pool2d(x, (2, 3), ceil_mode=True),
    "pooled to cells": lambda x: F.adaptive_avg_pool2d(x, (3, 4)),
    "larger": lambda x: F.interpolate(x, (9, 7), mode="bilinear", align_corners=True),
    "smaller": lambda x: F.interpolate(x, (3, 4), mode="bilinear"),
    "nearest": lambda x: F.interpolate(x, (3, 13)),
    "norms": lambda x: F.group_norm(x, 2, eps=0.1) + F.layer_norm(x, (5, 6), ROW.expand(5, 6)) + F.instance_norm(x),
    "batch norm": lambda x: F.batch_norm(x, torch.ones(2), torch.tensor([2.0, 3]), torch.ones(2), torch.zeros(2)),
    "attention": lambda x: F.scaled_dot_product_attention(x, x + 1, x * 2),
    "distances": lambda x: torch.cdist(x[0, 0], x[0, 1], p=float("inf")),
    "spectrum": lambda x: torch.fft.fft2(x, norm="ortho").abs(),
    "spectrum, filtered and back": lambda x: torch.fft.ifft2(torch.fft.fft2(x) * COLUMN).abs(),
    "spectrum, times complex numbers": lambda x: (torch.fft.fft(x, dim=-2) * torch.complex(ROW, ROW.flip(0))).abs(),
    "spectrum, squared": lambda x: (torch.fft.fft(x) * torch.fft.fft(x.flip(-1))).sum(-1).abs(),
}  # fmt: skip
SOLIDS = {
    "convolution": lambda x: F.conv3d(x, torch.ones(2, 1, 2, 3, 1), groups=2, padding=(1, 0, 2)),
    "pooled": lambda x: F.avg_pool3d(x, 2, 1) + F.max_pool3d(x, 2, 1),
    "pooled to cells": lambda x: F.adaptive_avg_pool3d(x, (2, 3, 3)),
    "larger": lambda x: F.interpolate(x, (5, 4, 6), mode="trilinear") + F.interpolate(x, (5, 4, 6)),
    "pad": lambda x: F.pad(x, (1, 0, 2, 1, 0, 1), mode="replicate") + F.pad(x, (1, 0, 2, 1, 0, 1), mode="reflect"),
}
GRID = torch.rand(1, 3, 7, 2, generator=torch.Generator().manual_seed(2)) * 3 - 1.5
CASES |= {
    "the least and the most": lambda x: torch.stack(x.flatten(1).aminmax(dim=1)),
    "the k-th": lambda x: x.kthvalue(2, 1).values + x.kthvalue(3, -1, keepdim=True).values.sum(1),
    "fetched": lambda x: F.grid_sample(x, GRID, padding_mode="border", align_corners=False),
    "fetched, corners": lambda x: F.grid_sample(x, GRID, padding_mode="border", align_corners=True),
    "fetched where the image says": lambda x: F.grid_sample(
        x, x[:, :, :4].permute(0, 2, 3, 1), padding_mode="border", align_corners=False
    ),
    "in place, of what was reshaped": lambda x: in_place_after(x.exp() - 1),
}
SOLIDS |= {
    "fetched": lambda x: F.grid_sample(
        x, torch.stack([x[:, 0], x[:, 1], x[:, 0] * 2], -1), padding_mode="border", align_corners=False
    ),
}
REFUSED = {
    "fetched beyond": (lambda x: F.grid_sample(x, GRID, align_corners=False), "repeated edges"),
    "half of it in place": (lambda x: halved(x.exp()), "in place"),
    "a draw": (lambda x: x + torch.rand(6), "draws random numbers"),
    "a draw of its size": (lambda x: x + torch.randn_like(x), "draws random numbers"),
    "a way that the image decides": (lambda x: x if x.sum() > 0 else -x, "depends on the image"),
    "places that the image decides": (lambda x: x[x > 0].sum(), "depends on the image"),
    "rounds to digits": (lambda x: x.round(decimals=2), "settings of its own"),
    "bits of numbers": (lambda x: x.view(torch.int32), "bits of numbers"),
    "a second result": (lambda x: ROW[x.median(-1)[1]], "second result"),
    "complex numbers": (lambda x: torch.fft.fft(x).exp().abs(), "complex numbers"),
    "real beside complex": (lambda x: (torch.fft.fft(x) + x).abs(), "complex and real"),
    "a part in place": (lambda x: written(x, lambda y: y[..., 0].zero_()), "in place"),
    "types that numpy lacks": (lambda x: x.to(torch.bfloat16), "bfloat16"),
    "means beyond the edge": (lambda x: F.avg_pool2d(x, 2, ceil_mode=True), "beyond the edge"),
    "a factor that sizes do not have": (lambda x: F.interpolate(x, scale_factor=0.5, mode="bilinear"), "by a factor"),
    "no batch": (lambda x: F.avg_pool2d(x[0], 2), "without an axis of a batch"),
    "half a spectrum": (lambda x: torch.fft.rfft(x).abs(), "half of a spectrum"),
    "unknown": (lambda x: torch.erfinv(x.tanh()), "erfinv is not known"),
}


def agree(expected, found):
    assert found.shape == expected.shape
    assert np.allclose(found, expected, rtol=1e-4, atol=2e-5, equal_nan=True), np.abs(found - expected).max()


@pytest.mark.parametrize("case", CASES)
def test_an_operation_says_the_same(case):
    agree(*both(CASES[case]))


@pytest.mark.parametrize("case", SOLIDS)
def test_an_operation_of_volumes_says_the_same(case):
    agree(*both(SOLIDS[case], SOLID))


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_written_is_refused_by_name(case):
    function, told = REFUSED[case]
    with pytest.raises(Refused, match=told):
        both(function)


def test_what_no_result_rests_on_is_left_out():
    x = torch.ones(SHAPE)

    def judge(image):
        unknown = torch.erfinv(image * 0.1)
        return {"value": torch.stack([unknown, image], -1).unbind(-1)[1].sum()}

    graph, *_ = recorded(judge, x, OPERATIONS)
    assert {node.op_type for node in graph.nodes} == {"ReduceSum", "Cast"}
