"""StyleGAN2: layers, penalties, growth and classes against loops, closed forms and finite differences."""

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import CPU, normals, tiny
from torch import Tensor, nn
from torch.nn import functional as F

from anomaly.detectors import StyleGAN, style_contest
from anomaly.detectors.style_contest import View, path_lengths, squared_slopes
from anomaly.errors import AnomalyError
from anomaly.nets.pyramid import CONVOLVE, MEAN_POOL
from anomaly.nets.styled import EqualConvolution, EqualLinear, Layer, Modulated, doubled
from anomaly.nets.stylegan import GROUP, Halving, Mapping, StyleCritic, Synthesis, spread_within
from anomaly.training.games import Player
from anomaly.training.journal import Journal

SHAPES = {"2D": (1, 18, 20), "3D": (1, 17, 16, 18)}
"""Padded to 20 x 20 and to 20 x 16 x 20: three sizes each."""
SPACES = {2: (6, 5), 3: (5, 4, 6)}
FACTORS = [(2, 2), (2, 1), (2, 2, 2), (1, 2, 2)]
TAPS = [1 / 8, 3 / 8, 3 / 8, 1 / 8]


@pytest.fixture
def double() -> Iterator[None]:
    """All of this test in double precision."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def built(shape: tuple[int, ...] = SHAPES["2D"], **settings: Any) -> StyleGAN:
    """Not trained; noise of a strength, so that it shows."""
    detector = tiny("stylegan", **settings)
    assert isinstance(detector, StyleGAN)
    detector.shape_ = shape
    torch.manual_seed(0)
    detector.net_ = detector.build(shape).eval()
    for layer in detector.net_.modules():
        if isinstance(layer, Layer):
            nn.init.constant_(layer.strength, 0.5)
    return detector


def draw_anew(module: nn.Module) -> None:
    for parameter in module.parameters():
        nn.init.normal_(parameter)


def images(detector: StyleGAN, n: int = 6) -> Tensor:
    return normals(n, detector.shape_).to(torch.get_default_dtype())


# Layers


def filtered(x: Tensor, factors: Sequence[int], before: int) -> Tensor:
    """The filter 1 3 3 1 / 8 along the axes of factor 2, of pixels from `before` before; nothing beyond the edge."""
    for axis, factor in enumerate(factors, start=2):
        if factor == 2:
            padded = F.pad(x, [*[0, 0] * (x.ndim - 1 - axis), before, 3 - before])
            x = sum(tap * padded.narrow(axis, k, x.shape[axis]) for k, tap in enumerate(TAPS))  # type: ignore[misc]
    return x


def every_second(factors: Sequence[int]) -> tuple[Any, ...]:
    return (..., *(slice(None, None, factor) for factor in factors))


def with_zeros(x: Tensor, factors: Sequence[int]) -> Tensor:
    """Zeros between the pixels along the axes of factor 2."""
    wide = x.new_zeros(*x.shape[:2], *(side * f for side, f in zip(x.shape[2:], factors, strict=True)))
    wide[every_second(factors)] = x
    return wide


def inner(x: Tensor) -> Tensor:
    """Without two pixels at each edge."""
    return x[(..., *[slice(2, -2)] * (x.ndim - 2))]


def modulated_by_hand(layer: Modulated, x: Tensor, w: Tensor) -> Tensor:
    """Image by image: the kernel scaled by its style, divided by its norm, one convolution."""
    dims, size, out = x.ndim - 2, layer.weight.shape[-1], []
    for image, code in zip(x, w, strict=True):
        style = layer.style.weight @ code / math.sqrt(len(code)) + layer.style.bias
        kernel = layer.weight / math.sqrt(layer.weight[0].numel()) * style.view(1, -1, *[1] * dims)
        if layer.demodulate:
            kernel = torch.stack([each / (each.square().sum() + 1e-8).sqrt() for each in kernel])
        image = image[None]
        if layer.factors:
            gain = math.prod(layer.factors)  # 4 in 2D: there are so many zeros
            image = gain * filtered(with_zeros(image, layer.factors), layer.factors, before=2)
        out.append(CONVOLVE[dims](image, kernel, padding=size // 2))
    return torch.cat(out)


@pytest.mark.parametrize("demodulate", [True, False])
@pytest.mark.parametrize(
    ("size", "factors", "dims"), [(1, (), 2), (3, (), 2), (1, (), 3), (3, (), 3), *((3, f, len(f)) for f in FACTORS)]
)
def test_a_modulated_convolution_is_one_of_each_image_by_its_own_kernel(double, size, factors, dims, demodulate):
    layer = Modulated(dims, 3, 4, size, latent=5, factors=factors, demodulate=demodulate)
    draw_anew(layer)
    x, w = torch.randn(3, 3, *SPACES[dims]), torch.randn(3, 5)
    convolved, factor = layer(x, w)
    assert (factor is not None) is demodulate
    found, expected = convolved if factor is None else convolved * factor, modulated_by_hand(layer, x, w)
    assert found.shape == expected.shape
    if factors:
        found, expected = inner(found), inner(expected)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    if demodulate:
        torch.testing.assert_close(layer(x, w, 1.5)[1], 1.5 * factor, rtol=1e-12, atol=0)


@pytest.mark.parametrize("factors", FACTORS)
def test_what_is_halved_or_doubled_goes_through_the_filter_1_3_3_1(double, factors):
    dims = len(factors)
    x = torch.randn(2, 3, *[10] * dims)
    layer = EqualConvolution(dims, 3, 4, 3, factors=factors)
    draw_anew(layer)
    smooth = filtered(x, factors, before=1)
    kernel = layer.weight / math.sqrt(3 * 3**dims)
    expected = CONVOLVE[dims](smooth, kernel, layer.bias, stride=factors, padding=1)
    torch.testing.assert_close(inner(layer(x)), inner(expected), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(layer(x, 1.7), 1.7 * layer(x), rtol=1e-10, atol=1e-10)
    larger = math.prod(factors) * filtered(with_zeros(x, factors), factors, before=2)
    torch.testing.assert_close(inner(doubled(x, factors)), inner(larger), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("factors", FACTORS)
def test_a_halving_is_two_convolutions_beside_a_smaller_image(double, factors):
    """Karras et al. 2020a, figure 7c: both through the filter, then their sum over the root of 2."""
    dims = len(factors)
    block, x = Halving(3, 4, factors), torch.randn(2, 3, *[12] * dims)
    draw_anew(block)

    def rectified(y: Tensor) -> Tensor:
        return math.sqrt(2) * F.leaky_relu(y, 0.2)

    y = rectified(CONVOLVE[dims](x, block.first.weight / math.sqrt(3 * 3**dims), block.first.bias, padding=1))
    kernel = block.second.weight / math.sqrt(3 * 3**dims)
    y = rectified(CONVOLVE[dims](filtered(y, factors, 1), kernel, block.second.bias, stride=factors, padding=1))
    aside = CONVOLVE[dims](filtered(x, factors, 1)[every_second(factors)], block.shortcut.weight / math.sqrt(3))
    assert block.shortcut.bias is None
    torch.testing.assert_close(inner(block(x)), inner((y + aside) / math.sqrt(2)), rtol=1e-10, atol=1e-10)


def test_all_layers_begin_with_outputs_as_wide_as_their_inputs():
    x = torch.randn(2000, 64)
    for rate in (1.0, 0.01):
        assert EqualLinear(64, 64, rate=rate)(x).var().item() == pytest.approx(1, rel=0.1)
    grid = torch.randn(30, 16, 12, 12)
    inside = (..., slice(1, -1), slice(1, -1))
    assert EqualConvolution(2, 16, 64, 3)(grid)[inside].var().item() == pytest.approx(1, rel=0.1)
    x, factor = Modulated(2, 16, 64, 3, latent=4)(grid, torch.randn(30, 4))
    assert (x * factor)[inside].var().item() == pytest.approx(1, rel=0.1)


def test_a_step_moves_a_layer_at_its_own_rate():
    for rate in (1.0, 0.01):
        layer = EqualLinear(16, 8, rate=rate, bias=0.5)
        x = torch.randn(5, 16)
        assert layer(torch.zeros(1, 16)).tolist()[0] == pytest.approx([0.5] * 8)
        before = layer(x).detach()
        (layer(x).sum() * 1e3).backward()
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter -= 0.1 * parameter.grad.sign()  # what Adam does first
        slope = -0.1 * rate * (x @ x.sum(0).sign() / math.sqrt(16) + 1)
        torch.testing.assert_close(layer(x) - before, slope[:, None].expand(5, 8), rtol=1e-3, atol=1e-4)


def test_a_layer_adds_its_noise_and_its_bias():
    layer = Layer(3, 4, (6, 5), latent=5)
    draw_anew(layer)
    x, w = torch.randn(2, 3, 6, 5), torch.randn(2, 5)
    plain = modulated_by_hand(layer.convolution, x, w) + layer.bias.view(1, -1, 1, 1)
    expected = math.sqrt(2) * F.leaky_relu(plain + layer.strength * layer.noise, 0.2)
    torch.testing.assert_close(layer(x, w, False), expected, rtol=1e-4, atol=1e-5)
    torch.manual_seed(4)
    anew = layer(x, w, True)
    torch.manual_seed(4)
    expected = math.sqrt(2) * F.leaky_relu(plain + layer.strength * torch.randn(2, 1, 6, 5), 0.2)
    torch.testing.assert_close(anew, expected, rtol=1e-4, atol=1e-5)


# Mapping and styles


def test_the_mapping_looks_at_directions_alone():
    mapping, z = Mapping(6, 0), torch.randn(4, 6)
    torch.testing.assert_close(mapping(7.3 * z), mapping(z), rtol=1e-4, atol=1e-5)
    x = z / z.square().mean(1, keepdim=True).sqrt()
    for layer in mapping.layers:
        linear = x @ layer.weight.T * 0.01 / math.sqrt(6) + 0.01 * layer.bias
        x = math.sqrt(2) * F.leaky_relu(linear, 0.2)
    torch.testing.assert_close(mapping(z), x, rtol=1e-4, atol=1e-5)
    mapping, classes = Mapping(6, 3), torch.eye(3)[[0, 1, 2, 2]]
    with torch.no_grad():
        expected = mapping(z, classes)
        mapping.embedding.weight.mul_(5)  # biases are zero, so classes stay where they were
    torch.testing.assert_close(mapping(z, classes), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(mapping(2 * z, classes), expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(mapping(z, classes.flip(0)), expected, atol=0.1)


def test_the_mean_of_w_follows_what_the_generator_draws():
    detector = built(mixing=0.0, augment=0.0)
    mean, x = detector.net_["generator"].mapping.mean, images(detector)
    expected = torch.zeros(4)
    for seed in range(3):
        torch.manual_seed(seed)
        detector.generator_loss(x)
        torch.manual_seed(seed)
        expected += 0.005 * (detector._styles(6, None)[:, 0].mean(0) - expected)
    torch.testing.assert_close(mean, expected)
    assert mean.abs().max() > 1e-4
    detector.critic_loss(x), detector.path_loss(x)
    torch.testing.assert_close(mean, expected)


def test_of_some_images_the_finer_layers_follow_another_code():
    for mixing in (0.0, 1.0, 0.6):
        detector = built(mixing=mixing)
        torch.manual_seed(1)
        w = detector._styles(400, None)
        torch.manual_seed(1)
        first, second = detector.mapped(torch.randn(800, 4)).chunk(2)
        from_second = (w == second[:, None]).all(2)
        assert ((w == first[:, None]).all(2) ^ from_second).all() and w.shape == (400, 6, 4)
        assert not from_second[:, 0].any(), "never all of the second"
        assert (from_second[:, 1:] >= from_second[:, :-1]).all(), "finer layers, in one piece"
        mixed = from_second[:, -1]
        assert mixed.float().mean().item() == pytest.approx(mixing, abs=0.08 * (mixing % 1 > 0))
        cuts = (~from_second[mixed]).sum(1)
        assert set(cuts.tolist()) == (set(range(1, 6)) if mixing else set())


def test_noise_stays_the_same_unless_it_is_draw_anew():
    detector = built()
    w, synthesis = torch.randn(3, 4), detector.net_["generator"].synthesis
    assert torch.equal(detector.decode(w), detector.decode(w)) and torch.equal(synthesis(w), synthesis(w))
    assert not torch.allclose(synthesis(w, random=True), synthesis(w, random=True), atol=1e-3)
    assert not torch.allclose(synthesis(w, random=True), synthesis(w), atol=1e-3)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_an_image_is_the_sum_of_what_each_size_adds(shape):
    """Its first layer takes style 0; what is added at a size and the doubling after it share one."""
    synthesis = built(shape).net_["generator"].synthesis
    nn.init.normal_(synthesis.bias)
    w, ones = torch.randn(2, 6, 4), [1] * (len(shape) - 1)
    x = synthesis.constant[None].expand(2, *[-1] * len(shape))
    drawn = torch.zeros(2, 1, *[1] * (len(shape) - 1))
    for k in range(3):
        if k:
            x = synthesis.grow[k - 1](x, w[:, 2 * k - 1], False)
            drawn = doubled(drawn, synthesis.factors[k - 1])
        x = synthesis.keep[k](x, w[:, 2 * k], False)
        drawn = drawn + modulated_by_hand(synthesis.draw[k], x, w[:, 2 * k + 1]) + synthesis.bias[k].view(-1, *ones)
        torch.testing.assert_close(synthesis(w, level=k), drawn, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(synthesis(w), drawn, rtol=1e-4, atol=1e-4)


# The critic


def test_the_spread_of_a_group_by_hand():
    x = torch.tensor([[0.0, 2.0], [4.0, 2.0], [1.0, 7.0], [1.0, 9.0]]).view(4, 2, 1, 1)
    pairs = spread_within(x, group=2).flatten().tolist()
    assert pairs == pytest.approx([(2 + 1e-4) / 2] * 2 + [(1e-4 + 1) / 2] * 2, rel=1e-5)
    (one,) = set(spread_within(x).flatten().tolist())
    assert one == pytest.approx(np.sqrt(x.flatten(1).numpy().var(0) + 1e-8).mean(), rel=1e-5)
    assert spread_within(x[..., None].expand(4, 2, 3, 5, 6)).shape == (4, 1, 3, 5, 6)


@pytest.mark.parametrize(("count", "group"), [(8, 4), (12, 4), (6, 3), (2, 2), (7, 1)])
def test_the_spread_is_that_of_neighbours_of_one_group_alone(count, group):
    assert GROUP == 4
    x = torch.randn(count, 3, 4, 4)
    before = spread_within(x).flatten(1)[:, 0]
    for k in range(count):
        changed = x.clone()
        changed[k] += 5 * torch.randn(3, 4, 4)
        moved = spread_within(changed).flatten(1)[:, 0] != before
        assert moved.nonzero().flatten().tolist() == [j for j in range(count) if group > 1 and j // group == k // group]


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_features_of_an_image_do_not_depend_on_its_batch_and_the_logit_does(shape):
    detector, x = built(shape), normals(4, shape)
    together = detector.features(x)
    for k in range(4):
        torch.testing.assert_close(detector.features(x[k : k + 1]), together[k : k + 1], rtol=1e-4, atol=1e-5)
    positions = together.view(4, 8, -1)
    torch.testing.assert_close(positions.square().sum(1), torch.ones(4, positions.shape[2]), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(detector.criticise(x[:1]), detector.criticise(x)[:1], atol=1e-4)


def test_the_logit_of_a_class_is_the_product_with_its_embedding():
    critic = StyleCritic((1, 8, 8), width=3, widest=5, latent=6, classes=3)
    told: list[Tensor] = []
    critic.head.register_forward_hook(lambda module, given, result: told.append(result))
    x = torch.randn(4, 1, 8, 8)
    nn.init.normal_(critic.embedding.bias)
    every = critic(x)
    by_hand = []
    for k in range(3):
        embedded = critic.embedding.weight[:, k] / math.sqrt(3) + critic.embedding.bias
        embedded = embedded / embedded.square().mean().sqrt()
        by_hand.append((told[0] * embedded).sum(1) / math.sqrt(6))
    for classes in ([0, 1, 2, 1], [2, 2, 0, 0]):
        expected = torch.stack([by_hand[k][i] for i, k in enumerate(classes)])
        torch.testing.assert_close(critic(x, torch.eye(3)[classes]), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(every, torch.stack(by_hand).mean(0), rtol=1e-4, atol=1e-5)


# Penalties


@pytest.mark.parametrize("space", [(8, 8), (8, 4, 6)], ids=["2D", "3D"])
def test_path_lengths_are_those_of_the_jacobian_of_each_image(double, space):
    synthesis = Synthesis((2, *space), [3, 2], latent=3)
    for parameter in synthesis.parameters():
        nn.init.normal_(parameter, std=0.7)
    w = torch.randn(3, synthesis.styles, 3, requires_grad=True)
    drawn = synthesis(w)
    torch.manual_seed(2)
    lengths = path_lengths(drawn, w)
    torch.manual_seed(2)
    noise = torch.randn_like(drawn) / math.sqrt(math.prod(space))
    for k in range(3):
        jacobian = torch.autograd.functional.jacobian(lambda each: synthesis(each[None]).flatten(), w[k].detach())
        by_style = torch.einsum("psl,p->sl", jacobian, noise[k].flatten())
        assert lengths[k].item() == pytest.approx(by_style.square().sum(1).mean().sqrt().item(), rel=1e-9)


def test_the_path_length_of_a_linear_map_is_its_stretch():
    """x = sum of s_k w_k over two styles: |J^T y|^2 = s_k^2 |y|^2 for each, and |y|^2 is 1 on average a channel."""
    for channels in (1, 2):
        w = torch.randn(64, 2, channels * 256, requires_grad=True)
        drawn = (3 * w[:, 0] + 4 * w[:, 1]).view(64, channels, 16, 16)
        squared = path_lengths(drawn, w).square().mean().item()
        assert squared == pytest.approx(channels * (9 + 16) / 2, rel=0.04)


def slope_along(loss: Callable[[], Tensor], parameters: list[nn.Parameter]) -> None:
    """The gradient against finite differences along a random direction of each parameter."""
    slopes = torch.autograd.grad(loss(), parameters, allow_unused=True)
    assert sum(slope is not None for slope in slopes) > len(slopes) / 2
    for parameter, slope in zip(parameters, slopes, strict=True):
        direction, step = torch.randn_like(parameter), 1e-6
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                parameter += sign * step * direction
            values.append(loss().item())
            with torch.no_grad():
                parameter -= sign * step * direction
        found = 0.0 if slope is None else (slope * direction).sum().item()
        assert found == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-5, abs=1e-8)


def test_the_slope_of_the_path_penalty_is_that_of_finite_differences(double, monkeypatch):
    monkeypatch.setattr(style_contest, "PATH_DECAY", 0.0)  # its running mean is no part of the slope
    detector = built((1, 8, 8), width=2, widest=3, latent=3)
    detector.net_["game"].length.fill_(0.3)
    x = images(detector, 4)

    def loss() -> Tensor:
        torch.manual_seed(1)
        return detector.path_loss(x)[0]

    slope_along(loss, list(detector.net_["generator"].parameters()))


def test_the_path_penalty_is_its_formula_and_its_mean_follows():
    detector = built(path=3.0)
    length, x = detector.net_["game"].length, images(detector)
    length.fill_(0.2)
    torch.manual_seed(1)
    loss, terms = detector.path_loss(x)
    torch.manual_seed(1)
    w = detector._styles(3, None)  # of half as many images
    lengths = path_lengths(detector.net_["generator"].synthesis(w, random=True, level=2), w)
    assert length.item() == pytest.approx(0.2 + 0.01 * (lengths.mean().item() - 0.2), rel=1e-5)
    assert loss.item() == pytest.approx(3 * 4 * (lengths - length).square().mean().item(), rel=1e-4)
    assert terms["length"].item() == pytest.approx(lengths.mean().item(), rel=1e-5)
    assert math.isfinite(detector.path_loss(x[:1])[0].item()), "half of one image is one"


class Slope(nn.Module):
    """A critic of slope a."""

    def __init__(self, a: Tensor) -> None:
        super().__init__()
        self.a = nn.Parameter(a)

    def forward(self, x: Tensor, *_: object) -> Tensor:
        return x.flatten(1) @ self.a


def test_r1_of_a_linear_critic_is_its_squared_slope():
    critic, x = Slope(torch.randn(64)), torch.randn(5, 1, 8, 8, requires_grad=True)
    squared = squared_slopes(critic(x), x)
    torch.testing.assert_close(squared, critic.a.square().sum().expand(5))
    (slope,) = torch.autograd.grad(squared.mean(), critic.a)
    torch.testing.assert_close(slope, 2 * critic.a)


@pytest.mark.parametrize(
    ("shape", "batch", "pixels"), [((1, 64, 64), 32, 4096), ((1, 18, 20), 8, 400), ((1, 9, 8, 12), 8, 10 * 8 * 12)]
)
def test_r1_weighs_by_pixels_and_batch(shape, batch, pixels):
    """gamma is 0.0002 pixels / batch, 0.0256 at 64 pixels and 32 images; half of it, 16 times every 16th step."""
    detector = built(shape, width=1, widest=1, batch=batch, penalty=1.5, augment=0.0)
    detector.net_["critic"] = Slope(torch.full((pixels,), 2 / math.sqrt(pixels)))  # |a|^2 is 4
    loss, terms = detector.slope_loss(normals(2, shape))
    gamma = 1.5 * 0.0002 * pixels / batch
    assert shape[1] != 64 or gamma / 1.5 == pytest.approx(0.0256)
    assert loss.item() == pytest.approx(gamma / 2 * 16 * 4, rel=1e-4)
    assert terms["squared"].item() == pytest.approx(4, rel=1e-4)


@pytest.mark.parametrize("classes", [0, 2])
def test_the_slope_of_r1_is_that_of_finite_differences(double, monkeypatch, classes):
    detector = built((1, 8, 8), width=2, widest=3, latent=3, augment=0.0, classes=classes)
    x = images(detector, 4)
    batch = (x, torch.tensor([0.0, 1.0, 1.0, 0.0])) if classes else x
    monkeypatch.setattr(detector, "_one_hot", lambda told: torch.eye(2)[told.long()])  # in double precision, too
    slope_along(lambda: detector.slope_loss(batch)[0], list(detector.net_["critic"].parameters()))


def test_the_losses_are_their_formulas():
    detector, x = built(augment=0.0), images(built())
    critic, synthesis = detector.net_["critic"], detector.net_["generator"].synthesis
    torch.manual_seed(1)
    loss = detector.generator_loss(x)
    torch.manual_seed(1)
    fake = synthesis(detector._styles(6, None), random=True)
    assert loss.item() == pytest.approx(torch.log1p(torch.exp(-critic(fake))).mean().item(), rel=1e-4)
    torch.manual_seed(1)
    loss, terms = detector.critic_loss(x)
    of_fake, of_real = torch.log1p(torch.exp(critic(fake))).mean(), torch.log1p(torch.exp(-detector.criticise(x)))
    assert loss.item() == pytest.approx((of_fake + of_real.mean()).item(), rel=1e-4)
    assert (terms["real"] + terms["drawn"]).item() == pytest.approx(loss.item(), rel=1e-5)
    assert detector.net_["game"].seen == detector.batch


def test_real_and_drawn_images_are_augmented_alike(monkeypatch):
    seen: list[tuple[tuple[int, ...], float, bool, bool]] = []

    class Noting:
        def __init__(self, *, mirror: bool, turn: bool) -> None:
            self.how = (mirror, turn)

        def __call__(self, x: Tensor, p: Tensor) -> Tensor:
            seen.append((tuple(x.shape), p.item(), *self.how))
            return x

    monkeypatch.setattr(style_contest, "Augmentation", Noting)
    detector = built(mirror=True, augment=0.6)
    detector.net_["chance"].p.fill_(0.25)
    x, steered = images(detector), []
    monkeypatch.setattr(detector.net_["chance"], "learn", lambda of_real, batch: steered.append(of_real))
    detector.critic_loss(x)
    torch.testing.assert_close(steered, [detector.criticise(x).detach()], rtol=1e-4, atol=1e-5)
    assert seen == [((6, 1, 20, 20), 0.25, True, False)] * 2, "drawn, and real"
    detector.generator_loss(x), detector.slope_loss(x)
    assert len(seen) == 4 and len(set(seen)) == 1
    detector.augment = 0.0
    detector.critic_loss(x), detector.generator_loss(x), detector.slope_loss(x)
    assert len(seen) == 4


# The players


def players_of(detector: StyleGAN) -> dict[str, Player]:
    (gan, _) = detector.stages()
    return {player.name: player for player in gan.players}


def rates(player: Player) -> tuple[float, float, float]:
    """Learning rate and both betas."""
    defaults = player.optimiser([nn.Parameter(torch.zeros(1))]).defaults
    return defaults["lr"], *defaults["betas"]


def test_rates_leave_room_for_penalties_that_come_now_and_then():
    players = players_of(built(lr=2.5e-3))
    assert {name: (each.every, each.shares) for name, each in players.items()} == {
        "generator": (1, ""), "path": (4, "generator"), "critic": (1, ""), "slope": (16, "critic"),
    }  # fmt: skip
    assert rates(players["generator"]) == pytest.approx((2.5e-3 * 0.8, 0.0, 0.99**0.8))
    assert rates(players["critic"]) == pytest.approx((2.5e-3 * 16 / 17, 0.0, 0.99 ** (16 / 17)))
    without = players_of(built(lr=2.5e-3, path=0.0, penalty=0.0))
    assert list(without) == ["generator", "critic"]
    assert all(rates(each) == pytest.approx((2.5e-3, 0.0, 0.99)) for each in without.values())


def test_the_average_forgets_by_half_after_so_many_images():
    long = players_of(built(steps=100_000, batch=8, half_life=2000.0))
    assert long["generator"].ema == pytest.approx(0.5 ** (8 / 2000)) and long["critic"].ema == 0
    short = players_of(built(steps=100, batch=8, half_life=2000.0))
    assert short["generator"].ema == pytest.approx(0.5 ** (1 / 5)), "a twentieth of 100 steps"
    assert long["path"].ema == 0, "it shares the average, too"


# Growth


def test_stages_grow_for_half_of_the_steps():
    grown = built((1, 64, 64), width=1, widest=1, steps=101, progressive=True).stages()
    assert [(each.name, each.steps) for each in grown] == [
        ("grow 8", 16), ("grow 16", 16), ("grow 32", 16), ("gan", 53), ("encoder", 150),
    ]  # fmt: skip
    at = [each.players[0].loss.keywords["at"] for each in grown[:-1]]
    assert [each.level for each in at] == [1, 2, 3, 4]
    assert [each.since for each in at] == [0, 16 * 8, 32 * 8, 48 * 8]
    assert [each.fading for each in at] == [0, 8 * 8, 8 * 8, 53 * 8 / 2]
    plain = built(steps=101).stages()
    assert [(each.name, each.steps) for each in plain] == [("gan", 101), ("encoder", 150)]
    few = built((1, 64, 64), width=1, widest=1, steps=5, progressive=True).stages()
    assert [(each.name, each.steps) for each in few[:-1]] == [("gan", 5)], "too few to grow"


def test_stages_of_images_longer_one_way_are_named_apart():
    """Of 160 x 160 x 24 pixels the thin side is 24 from the third size on."""
    for shape in ((1, 160, 160, 24), (1, 128, 16)):
        names = [each.name for each in built(shape, width=1, widest=1, progressive=True, steps=100).stages()]
        assert len(names) == len(set(names)), names


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("level", [0, 1, 2])
def test_at_each_size_images_of_that_size_are_drawn_and_judged(shape, level):
    detector, seen = built(shape, progressive=True), []
    detector.net_["critic"].register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    x, wanted = normals(4, shape), detector.net_["generator"].synthesis.sizes[level]
    at = View(level)
    detector.generator_loss(x, at), detector.critic_loss(x, at), detector.slope_loss(x, at)
    assert [tuple(each.shape) for each in seen] == [(4, 1, *wanted)] * 4
    assert math.isfinite(detector.path_loss(x, at)[0].item())
    smaller = detector._shrunk(x, at)
    padded = detector._padded(x)
    blocks = tuple(a // b for a, b in zip(padded.shape[2:], wanted, strict=True))
    torch.testing.assert_close(smaller, MEAN_POOL[x.ndim - 2](padded, blocks), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_a_new_size_begins_as_the_one_before(shape):
    detector = built(shape, progressive=True)
    critic, synthesis = detector.net_["critic"], detector.net_["generator"].synthesis
    w = torch.randn(4, 4)
    zero, whole = torch.zeros(()), torch.ones(())
    for level in (1, 2):
        factors = synthesis.factors[level - 1]
        expected = doubled(synthesis(w, level=level - 1), factors)
        torch.testing.assert_close(synthesis(w, level=level, fade=zero), expected, rtol=1e-4, atol=1e-5)
        x = torch.randn(4, 1, *synthesis.sizes[level])
        halved = critic(MEAN_POOL[x.ndim - 2](x, factors), level=level - 1)
        torch.testing.assert_close(critic(x, level=level, fade=zero), halved, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(synthesis(w, level=level, fade=whole), synthesis(w, level=level))
        torch.testing.assert_close(critic(x, level=level, fade=whole), critic(x, level=level), rtol=1e-4, atol=1e-5)
        between = 0.5 * expected + 0.5 * synthesis(w, level=level)
        half = torch.tensor(0.5)
        torch.testing.assert_close(synthesis(w, level=level, fade=half), between, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_a_tiny_progressive_training(shape):
    """Six steps at half the size, six at full size, over the first half of which it fades in."""
    faded: list[tuple[int, float]] = []

    class Noting(StyleGAN):
        def critic_loss(self, batch: Any, at: View | None = None) -> Any:
            faded.append((at.level, float(at.fade(self.net_["game"]))))
            return super().critic_loss(batch, at)

    settings = {**tiny("stylegan").settings(), "width": 2, "widest": 2, "batch": 2, "steps": 12, "encoder_steps": 1}
    detector = Noting(**{**settings, "progressive": True})
    before = built(shape, width=2, widest=2, progressive=True).net_["generator"].state_dict()
    detector.fit(normals(6, shape), machine=CPU)
    assert [level for level, _ in faded] == [1] * 6 + [2] * 6
    assert [fade for _, fade in faded] == pytest.approx([1.0] * 6 + [0, 1 / 3, 2 / 3, 1, 1, 1])
    after = detector.net_["generator"].state_dict()
    assert all(not torch.equal(after[name], before[name]) for name in after if name.endswith("convolution.weight"))
    assert detector.decode(torch.randn(2, 4)).shape == (2, *shape)


# Codes


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_one_code_for_all_layers_or_one_for_each(shape):
    detector = built(shape)
    w, synthesis = torch.randn(3, 4), detector.net_["generator"].synthesis
    drawn = detector.decode(w)
    assert drawn.shape == (3, *shape) and drawn.abs().max() <= 1
    torch.testing.assert_close(detector.decode(w.repeat(1, 6)), drawn)
    inside = (..., *(slice(side) for side in shape[1:]))
    torch.testing.assert_close(drawn, synthesis(w)[inside].clamp(-1, 1))
    assert not torch.allclose(detector.decode(torch.cat([w.repeat(1, 5), -w], dim=1)), drawn, atol=1e-3)
    for wrong in (torch.zeros(3, 8), torch.zeros(3, 5), torch.zeros(3, 6, 4)):
        with pytest.raises(AnomalyError, match=r"codes have shape .*, expected w \(N, 4\) or w\+ \(N, 24\)"):
            detector.decode(wrong)


@pytest.mark.parametrize(("code", "length"), [("w", 4), ("w+", 24)])
def test_what_an_image_is_encoded_as(code, length):
    detector = built(code=code)
    x = images(detector)
    found = detector.encode(x)
    assert found.shape == (6, length)
    assert torch.equal(found, found[:, :4].repeat(1, length // 4)), "no layer departs before it has learned to"
    with torch.no_grad():
        mean = detector.net_["generator"].mapping.mean.copy_(torch.randn(4))
    torch.testing.assert_close(detector.encode(x), found + mean.repeat(length // 4))
    torch.testing.assert_close(detector.reconstruct(x), detector.decode(detector.encode(x)))


@pytest.mark.parametrize("code", ["w", "w+"])
def test_layers_depart_from_w_only_where_they_may(code):
    detector = built(code=code)
    encoder, x = detector.net_["encoder"].train(), images(detector)
    assert (encoder.aside is None) is (code == "w")
    optimiser = torch.optim.Adam(encoder.parameters(), lr=1e-2)
    for _ in range(3):
        optimiser.zero_grad()
        loss, terms = detector.loss(x)
        loss.backward()
        optimiser.step()
    assert bool(terms["aside"] > 0) is bool(encoder(x)[1].any()) is (code == "w+")


def test_the_loss_of_the_encoder_is_its_formula():
    detector = built(kappa=0.7, aside=0.3, invert=0.2)
    x = images(detector)
    nn.init.normal_(detector.net_["encoder"].aside.weight, std=0.1)
    detector.net_["generator"].mapping.mean.normal_()
    torch.manual_seed(1)
    loss, _ = detector.loss(x)
    torch.manual_seed(1)
    w = detector.mapped(torch.randn(6, 4))
    mean, drawn = detector.net_["generator"].mapping.mean, detector.reconstruct(x)
    steps = detector.net_["encoder"](x)[1]
    told = detector.net_["encoder"](detector.decode(w))[0] + mean
    features = (detector.features(x) - detector.features(drawn)).square().sum(1).mean() / 25  # 5 x 5 positions
    inverted = (told - w).square().mean() / (w - mean).square().mean()
    expected = (x - drawn).square().mean() + 0.7 * features + 0.3 * steps.square().mean() + 0.2 * inverted
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)


@pytest.mark.parametrize("classes", [0, 2])
def test_the_encoder_may_stop_early(classes):
    x, which = normals(8, (1, 8, 8)), np.arange(8) % 2
    detector = tiny("stylegan", width=1, steps=2, encoder_steps=4, patience=1, look_every=2, classes=classes)
    detector.fit(x, classes=which if classes else None, machine=CPU)
    assert detector.score(x).value.isfinite().all()


# Classes


def blobs(n: int) -> tuple[Tensor, np.ndarray]:
    """Bright blobs, left in images of class 0 and right in those of class 1."""
    which = torch.arange(n) % 2
    centre = torch.stack([7.5 + torch.randn(n), 4 + 7 * which + 0.5 * torch.randn(n)])
    place = torch.stack(torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij"))
    squared = (place[:, None] - centre[:, :, None, None]).square().sum(0)
    return (1.6 * torch.exp(-squared / 8) - 1)[:, None], which.numpy()


def test_images_drawn_of_a_class_are_like_those_of_the_class():
    x, classes = blobs(64)
    detector = tiny(
        "stylegan", classes=2, width=4, widest=16, batch=16, steps=120, lr=5e-3, path=0.0, augment=0.0, encoder_steps=1
    )
    detector.fit(x, classes=classes, machine=CPU, seed=1)
    means = torch.stack([x[torch.from_numpy(classes == k)].mean(0) for k in (0, 1)])
    asked = torch.arange(64) % 2
    drawn = detector.decode(detector.mapped(torch.randn(64, 4), asked))
    distance = (drawn[:, None] - means[None]).square().flatten(2).mean(2)
    assert (distance.argmin(1) == asked).float().mean() > 0.8
    left, right = drawn[asked == 0].mean(0), drawn[asked == 1].mean(0)
    assert (left - means[0]).square().mean() < (left - means[1]).square().mean()
    assert (right - means[1]).square().mean() < (right - means[0]).square().mean()


@pytest.mark.parametrize(
    ("classes", "told"),
    [
        (None, r"stylegan has classes=2; give fit\(..., classes=\) one of each image"),
        (np.array([0, 1, 1]), r"got classes \(3,\) from 0 to 1, expected one of each of the 4 images, 0 to 1"),
        (np.array([[0], [1], [0], [1]]), r"got classes \(4, 1\) from 0 to 1"),
        (np.array([0, 1, 2, 1]), r"got classes \(4,\) from 0 to 2, expected one of each of the 4 images, 0 to 1"),
        (np.array([-1, 1, 0, 1]), r"got classes \(4,\) from -1 to 1"),
    ],
)
def test_classes_that_do_not_fit_are_told(classes, told):
    with pytest.raises(AnomalyError, match=told):
        tiny("stylegan", classes=2).fit(normals(4, (1, 8, 8)), classes=classes, machine=CPU)


def test_classes_that_nobody_asked_for_are_told():
    x, classes = normals(4, (1, 8, 8)), np.array([0, 1, 0, 1])
    for name in ("stylegan", "pca"):
        with pytest.raises(AnomalyError, match=f"{name} learns no classes with these settings; leave classes out"):
            tiny(name).fit(x, classes=classes, machine=CPU)
    with pytest.raises(AnomalyError, match="classes must be 0 or 2 or more, got 1"):
        tiny("stylegan", classes=1)
    with pytest.raises(AnomalyError, match="this stylegan draws 2 classes; say which, by classes"):
        built(classes=2).mapped(torch.randn(3, 4))


@pytest.mark.parametrize(
    ("setting", "value", "told"),
    [
        ("mixing", 1.5, "mixing must be 1 or less, got 1.5"),
        ("augment", 1.1, "augment must be 1 or less, got 1.1"),
        ("code", "z", r"code=z is unknown; take one of w, w\+"),
        ("half_life", 0.0, "half_life must be positive"),
    ],
)
def test_settings_out_of_range_are_told(setting, value, told):
    with pytest.raises(AnomalyError, match=told):
        tiny("stylegan", **{setting: value})


# What a person sees


def test_a_glance_tells_of_likeness_only_once_images_are_of_full_size(monkeypatch):
    detector, x = built(), normals(40, SHAPES["2D"])
    detector.settle(x[:30])
    referee = detector.onlooker(x[30:])
    detector.net_["chance"].p.fill_(0.3)
    distances = {"fid_pca", "kid_pca", "fid_pca_real"}
    assert not distances & referee("encoder").figures.keys() and "augmentation" not in referee("encoder").figures
    assert referee("grow 8").figures == {"augmentation": pytest.approx(0.3)}
    assert len(referee.many) == 30, "as many as the real ones they are held against"
    of_noise = referee("gan").figures
    assert distances <= of_noise.keys() and of_noise["fid_pca"] > 2 * of_noise["fid_pca_real"] > 0
    monkeypatch.setattr(referee, "sample", lambda noise: x[30:])
    same = referee("gan").figures
    assert same["fid_pca"] == pytest.approx(0, abs=1e-4 * of_noise["fid_pca"])
    assert same["fid_pca_real"] == of_noise["fid_pca_real"]
    assert not distances & detector.onlooker(x[:1])("gan").figures.keys(), "of one image nothing is said"


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_styles_and_logits_are_in_single_precision_whatever_the_rest_is_in(precision):
    critic, layer = StyleCritic((1, 16, 16), width=4, widest=8, latent=4), Modulated(2, 3, 4, 3, latent=5)
    x, w = torch.randn(4, 1, 16, 16), torch.randn(3, 5)
    with torch.autocast("cpu", dtype=precision):
        half, factor = layer(torch.randn(3, 3, 8, 8).to(precision), w)
        assert critic(x).dtype == torch.float32 and layer.style(w).dtype == torch.float32
        assert half.dtype == precision
    expected = layer(torch.randn(3, 3, 8, 8), w)[1]
    torch.testing.assert_close(factor, expected.to(precision), rtol=0, atol=0)


def test_samples_are_of_each_class_in_turn():
    detector = built(classes=2)
    detector.settle(normals(10, SHAPES["2D"]))
    shown = detector.onlooker(normals(10, SHAPES["2D"], seed=1))("gan").pictures["sample"]
    noise = torch.from_numpy(np.random.default_rng(0).standard_normal((64, 4), dtype=np.float32))
    with torch.no_grad():
        expected = detector.decode(detector.mapped(noise[:8], torch.tensor([0, 1] * 4)))
    torch.testing.assert_close(shown, expected, rtol=1e-4, atol=1e-4)


# Resumed


class Dying(StyleGAN):
    """Its critic fails at its move number `left`, counted from the first."""

    left = 0

    def build(self, shape: tuple[int, ...]) -> nn.Module:
        net = super().build(shape)
        net["chance"].p.fill_(0.4)
        return net

    def critic_loss(self, batch: Any, at: View | None = None) -> Any:
        self.left -= 1
        if not self.left:
            raise MemoryError("killed")
        return super().critic_loss(batch, at)


def trained(folder: Path | None, *, left: int = 0, resume: bool = False) -> StyleGAN:
    settings = {"steps": 20, "width": 2, "widest": 3, "encoder_steps": 3, "augment_images": 320.0, "mirror": True}
    detector = Dying(**{**tiny("stylegan").settings(), **settings, "progressive": True})
    detector.left = left
    journal = Journal(folder=folder, resume=resume, save_every=3)
    return detector.fit(normals(20, (1, 16, 16)), machine=CPU, journal=journal)


def test_a_training_that_was_stopped_ends_as_one_that_was_not(tmp_path):
    """Killed at step 6 of the second stage, while the new size fades in, between two looks of the augmentation."""
    from anomaly.training.checkpoints import newest

    whole = trained(None)
    with pytest.raises(MemoryError):
        trained(tmp_path, left=14)
    found = newest(tmp_path / "checkpoint")
    assert (found.facts["stage"], found.facts["step"]) == ("gan", 3)
    assert found.weights["game.game.seen"] == 13 * 8 and found.weights["game.chance.p"] > 0
    assert found.weights["game.chance.looks"] > 0 and found.weights["game.game.length"] > 0
    resumed = trained(tmp_path, resume=True)
    assert whole.net_["chance"].p > 0
    first, second = whole.net_.state_dict(), resumed.net_.state_dict()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


@pytest.mark.parametrize(("known", "asked"), [(0, [0, 1]), (2, [0, 2]), (2, [-1, 1])])
def test_classes_that_were_not_taught_are_told(known, asked):
    detector = built(classes=known)
    with pytest.raises(AnomalyError, match="got classes"):
        detector.mapped(torch.randn(2, detector.latent), torch.tensor(asked))


def test_the_path_length_of_small_images_knows_only_the_styles_they_have(monkeypatch):
    detector, seen = built((1, 16, 16), progressive=True), []
    told = style_contest.path_lengths
    monkeypatch.setattr(style_contest, "path_lengths", lambda drawn, w: seen.append(w.shape[1]) or told(drawn, w))
    for level in (0, 1, 2):
        detector.path_loss(torch.randn(4, 1, 16, 16), at=View(level))
    assert seen == [2, 4, 6]
