"""Operations of PyTorch as ONNX nodes: products of matrices, convolutions, means and changes of size."""

from collections.abc import Sequence
from math import pi
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from anomaly.exporting.graph import Refused
from anomaly.exporting.recording import REAL, Handler, Recording

HANDLERS: dict[str, Handler] = {}


def _product(rec: Recording, out: Tensor, a: Tensor, b: Tensor) -> str:
    return str(rec.graph.op("MatMul", rec.name(a), rec.name(b)))


def _added(rec: Recording, out: Tensor, c: Tensor, a: Tensor, b: Tensor, *, beta: float = 1, alpha: float = 1) -> str:
    graph = rec.graph
    found, onto = graph.op("MatMul", rec.name(a), rec.name(b)), rec.name(c)
    found = found if alpha == 1 else graph.op("Mul", found, graph.constant(alpha, out.dtype))
    onto = onto if beta == 1 else graph.op("Mul", onto, graph.constant(beta, out.dtype))
    return str(graph.op("Add", found, onto))


def _linear(rec: Recording, out: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> str:
    graph, order = rec.graph, list(range(weight.ndim))
    if weight.ndim < 2:
        raise Refused("it multiplies by a single row")
    turned = graph.op("Transpose", rec.name(weight), perm=[*order[:-2], order[-1], order[-2]])
    found = graph.op("MatMul", rec.name(x), turned)
    return str(found if bias is None else graph.op("Add", found, rec.name(bias)))


def _convolved(
    rec: Recording, out: Tensor, x: Tensor, weight: Tensor, bias: Any, stride: Any, padding: Any, dilation: Any,
    transposed: bool, output_padding: Any, groups: int, *rest: Any,
) -> str:  # fmt: skip
    dims = x.ndim - 2

    def each(given: Any) -> list[int]:
        return list(given) * dims if len(given) == 1 else list(given)

    asked: dict[str, Any] = {
        "strides": each(stride), "pads": each(padding) * 2, "dilations": each(dilation), "group": groups,
        "kernel_shape": list(weight.shape[2:]),
    }  # fmt: skip
    if transposed:
        asked["output_padding"] = each(output_padding)
    inputs = [rec.name(x), rec.name(weight), *([] if bias is None else [rec.name(bias)])]
    return str(rec.graph.op("ConvTranspose" if transposed else "Conv", *inputs, **asked))


def _pooled(kind: str, dims: int) -> Handler:
    def handler(
        rec: Recording, out: Any, x: Tensor, kernel: Any, stride: Any = (), padding: Any = 0, *rest: Any
    ) -> list[str]:
        def each(given: Any) -> list[int]:
            listed = [given] if isinstance(given, int) else list(given)
            return listed * dims if len(listed) == 1 else listed

        if x.ndim != dims + 2:
            raise Refused("it pools images without an axis of a batch")
        asked: dict[str, Any] = {"kernel_shape": each(kernel), "pads": each(padding) * 2}
        asked["strides"] = each(stride or kernel)
        given = list(rest)
        if kind == "MaxPool":
            asked["dilations"] = each(given.pop(0)) if given else [1] * dims
        asked["ceil_mode"] = int(given[0]) if given else 0
        if asked["ceil_mode"] and kind == "AveragePool":  # what a window beyond the edge is divided by
            raise Refused("its means reach beyond the edge (ceil_mode)")
        if kind == "AveragePool":
            asked["count_include_pad"] = int(given[1]) if len(given) > 1 else 1
            if len(given) > 2 and given[2] is not None:
                raise Refused("its mean is divided by a number of its own")
        return [rec.graph.op(kind, rec.name(x), **asked), ""]

    return handler


def along(rec: Recording, name: str, shape: Sequence[int], matrices: dict[int, Tensor]) -> str:
    """Numbers multiplied along axes, each by a matrix (length, new length)."""
    for axis, matrix in matrices.items():
        order = [each for each in range(len(shape)) if each != axis] + [axis]
        name = rec.graph.op("Transpose", name, perm=order)
        name = rec.graph.op("MatMul", name, rec.graph.constant(matrix))
        name = rec.graph.op("Transpose", name, perm=[order.index(each) for each in range(len(shape))])
    return name


def _mean_of_cells(rec: Recording, out: Tensor, x: Tensor, cells: Sequence[int]) -> str:
    first = x.ndim - len(cells)
    matrices = {}
    with torch.utils._python_dispatch._disable_current_modes():
        for axis, wanted in enumerate(cells, start=first):
            if x.shape[axis] != wanted:
                eye = torch.eye(x.shape[axis], dtype=x.dtype)
                matrices[axis] = F.adaptive_avg_pool1d(eye[:, None], wanted)[:, 0]
    return along(rec, rec.name(x), x.shape, matrices)


def _resized(mode: str) -> Handler:
    def handler(rec: Recording, out: Tensor, x: Tensor, *rest: Any, **options: Any) -> str:
        corners = bool(rest[1]) if len(rest) > 1 and isinstance(rest[1], bool) else options.get("align_corners", False)
        scales = [each for given in (*rest[1:], *options.values()) if isinstance(given, float | list | tuple)
                  for each in (given if isinstance(given, list | tuple) else [given])]  # fmt: skip
        dims, matrices = x.ndim - 2, {}
        ratios = [out.shape[axis] / x.shape[axis] for axis in range(2, x.ndim)]
        if any(abs(scale - ratio) > 1e-6 for scale, ratio in zip(scales[-dims:], ratios, strict=False)):
            raise Refused("it changes sizes by a factor that is not that of its sizes")
        with torch.utils._python_dispatch._disable_current_modes():
            for axis in range(2, x.ndim):
                if x.shape[axis] != out.shape[axis]:
                    eye = torch.eye(x.shape[axis], dtype=x.dtype)[:, None]
                    chosen: Any = {"align_corners": corners} if mode == "linear" else {}
                    matrices[axis] = F.interpolate(eye, size=out.shape[axis], mode=mode, **chosen)[:, 0]
        return along(rec, rec.name(x), x.shape, matrices)

    return handler


def _scaled(rec: Recording, name: str, weight: Any, bias: Any, shape: Sequence[int], channel: int) -> str:
    """Numbers times a weight and plus a bias of each channel."""
    fitting = [1] * len(shape)
    fitting[channel] = shape[channel]
    for kind, given in (("Mul", weight), ("Add", bias)):
        if given is not None:
            name = rec.graph.op(kind, name, rec.graph.reshape(rec.name(given), fitting))
    return name


def _standard(rec: Recording, x: Tensor, name: str, over: list[int], eps: float) -> str:
    graph = rec.graph
    apart = graph.op("Sub", name, graph.op("ReduceMean", name, graph.ints(*over), keepdims=1))
    squares = graph.op("ReduceMean", graph.op("Mul", apart, apart), graph.ints(*over), keepdims=1)
    return str(graph.op("Div", apart, graph.op("Sqrt", graph.op("Add", squares, graph.constant(eps, x.dtype)))))


def _group_norm(
    rec: Recording, out: Any, x: Tensor, weight: Any, bias: Any, n: int, c: int, pixels: int, groups: int, eps: float
) -> list[str]:
    parts = rec.graph.reshape(rec.name(x), [n, groups, -1])
    found = rec.graph.reshape(_standard(rec, x, parts, [2], eps), x.shape)
    return [_scaled(rec, found, weight, bias, x.shape, 1), "", ""]


def _layer_norm(
    rec: Recording, out: Any, x: Tensor, shape: Sequence[int], weight: Any, bias: Any, eps: float
) -> list[str]:
    found = _standard(rec, x, rec.name(x), list(range(x.ndim - len(shape), x.ndim)), eps)
    for kind, given in (("Mul", weight), ("Add", bias)):
        found = found if given is None else rec.graph.op(kind, found, rec.name(given))
    return [found, "", ""]


def _batch_norm(
    rec: Recording, out: Any, x: Tensor, weight: Any, bias: Any, mean: Any, spread: Any, *rest: Any
) -> list[str]:
    graph, eps, shape = rec.graph, float(rest[-1]), [1, x.shape[1], *[1] * (x.ndim - 2)]
    if mean is None or rest[0] is True:  # of each image by itself, its channels in place of a batch
        if x.shape[0] != 1:
            raise Refused("it takes means of a batch at test time")
        found = _standard(rec, x, rec.name(x), list(range(2, x.ndim)), eps)
    else:
        apart = graph.op("Sub", rec.name(x), graph.constant(mean.reshape(shape)))
        found = graph.op("Mul", apart, graph.constant((1 / (spread + eps).sqrt()).reshape(shape)))
    return [_scaled(rec, found, weight, bias, x.shape, 1), "", ""]


def _attention(
    rec: Recording, out: Any, q: Tensor, k: Tensor, v: Tensor, *rest: Any, scale: float | None = None, **options: Any
) -> list[str]:
    if any(rest) or any(each is not None for each in options.values()):
        raise Refused("its attention has a mask or drops something")
    graph, turned = rec.graph, [*range(k.ndim - 2), k.ndim - 1, k.ndim - 2]
    products = graph.op("MatMul", rec.name(q), graph.op("Transpose", rec.name(k), perm=turned))
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    weights = graph.op("Softmax", graph.op("Mul", products, graph.constant(scale, q.dtype)), axis=-1)
    return [graph.op("MatMul", weights, rec.name(v)), *[""] * 8]


def _distances(rec: Recording, out: Tensor, a: Tensor, b: Tensor, p: float, *rest: Any) -> str:
    if p != float("inf"):
        raise Refused(f"it takes distances of order {p}")
    graph, found = rec.graph, ""
    first, second = rec.name(a), rec.name(b)
    for k in range(a.shape[-1]):  # number by number: all at once would take as many times the memory
        here = graph.op("Gather", first, graph.ints(k), axis=a.ndim - 1)
        there = graph.op("Gather", second, graph.constant(k, torch.int64), axis=b.ndim - 1)
        apart = graph.op("Abs", graph.op("Sub", here, graph.op("Unsqueeze", there, graph.ints(b.ndim - 2))))
        found = graph.op("Max", found, apart) if found else apart
    return found


def _transformed(rec: Recording, out: Tensor, x: Tensor, dims: Sequence[int], norm: int, last: bool) -> list[Any]:
    """The discrete Fourier transform along axes, as products with sines and cosines; `last`: onesided, or forward."""
    if not x.is_complex() and last:
        raise Refused("it takes half of a spectrum")
    graph, shape = rec.graph, x.shape
    sign = 1 if not x.is_complex() or last else -1
    real, imaginary = rec.complex_names(x)
    for axis in (each % x.ndim for each in dims):
        n = shape[axis]
        turns = (torch.outer(torch.arange(n), torch.arange(n)) % n).double() * (2 * pi / n)
        scale = {0: 1.0, 1: n**-0.5, 2: 1 / n}[norm]
        cosine, sine = ((scale * each).to(REAL.get(x.dtype, x.dtype)) for each in (turns.cos(), sign * turns.sin()))
        across = along(rec, real, shape, {axis: -sine})
        real = along(rec, real, shape, {axis: cosine})
        if imaginary:
            real = graph.op("Add", real, along(rec, imaginary, shape, {axis: sine}))
            across = graph.op("Add", across, along(rec, imaginary, shape, {axis: cosine}))
        imaginary = across
    return [(real, imaginary)]


HANDLERS |= {
    "_fft_r2c": _transformed, "_fft_c2c": _transformed,
    "mm": _product, "bmm": _product, "matmul": _product, "mv": _product, "addmm": _added, "baddbmm": _added,
    "linear": _linear, "convolution": _convolved,
    "avg_pool2d": _pooled("AveragePool", 2), "avg_pool3d": _pooled("AveragePool", 3),
    "max_pool2d_with_indices": _pooled("MaxPool", 2), "max_pool3d_with_indices": _pooled("MaxPool", 3),
    "_adaptive_avg_pool2d": _mean_of_cells, "_adaptive_avg_pool3d": _mean_of_cells,
    "upsample_bilinear2d": _resized("linear"), "upsample_trilinear3d": _resized("linear"),
    "upsample_nearest2d": _resized("nearest"), "upsample_nearest3d": _resized("nearest"),
    "native_group_norm": _group_norm, "native_layer_norm": _layer_norm, "native_batch_norm": _batch_norm,
    "_native_batch_norm_legit_no_training": _batch_norm, "_cdist_forward": _distances,
    "_scaled_dot_product_flash_attention_for_cpu": _attention,
}  # fmt: skip
