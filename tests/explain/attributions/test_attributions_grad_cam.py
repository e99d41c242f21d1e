from functools import partial

import numpy as np
import pytest
import torch
from attributed import CONVOLUTION, SPACES, classifier, images, shaped, squares
from torch import Tensor, nn
from torch.nn import functional as F

from anomaly.detectors import Autoencoder, MeanImage
from anomaly.errors import AnomalyError
from anomaly.nets.pyramid import ConvolutionThenHalve, initialise
from anomaly.training.machine import Machine
from explain import DeepLift, GradCAM
from explain.attributions.networks import network_behind

MEAN = {2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d}


# Finding the network.


class WithMethod(nn.Module):
    def logit(self, x: Tensor) -> Tensor:
        return x.flatten(1).sum(1)


class Holder:
    def __init__(self, net: nn.Module) -> None:
        self.net_ = net

    def value(self, x: Tensor, power: int = 1) -> Tensor:
        return self.net_(x).pow(power)

    __call__ = value


def test_network_is_found_behind_whatever_holds_it() -> None:
    net = WithMethod()
    holder = Holder(net)

    def function(x: Tensor) -> Tensor:
        return net.logit(x)

    assert network_behind(function) is None
    function.net_ = net
    for target in (net, net.logit, holder, holder.value, partial(holder.value, power=2), function):
        assert network_behind(target) is net
    detector = MeanImage().fit(images(3).float(), machine=Machine(device="cpu"))
    assert network_behind(detector.value) is detector.net_


@pytest.mark.parametrize("cls", [DeepLift, GradCAM])
def test_target_without_a_network_is_told(cls: type[DeepLift] | type[GradCAM]) -> None:
    with pytest.raises(AnomalyError, match=rf"{cls.name} looks into a network.*f\.net_ = net"):
        cls(target=squares).explain(images(1))


# What it shows.


def drawn_over(coarse: np.ndarray, space: tuple[int, ...]) -> np.ndarray:
    """Linear interpolation between the centres of pixels, axis by axis; the edges go on."""
    for axis, side in enumerate(space):
        size = coarse.shape[axis]
        centres = (np.arange(side) + 0.5) * size / side - 0.5
        coarse = np.apply_along_axis(lambda line, at=centres: np.interp(at, np.arange(len(line)), line), axis, coarse)
    return coarse


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("space", [(16, 12), (4, 8, 6)], ids=["2D", "3D"])
def test_grad_cam_of_a_network_made_by_hand(space: tuple[int, ...], signed: bool) -> None:
    # A_1 and A_2: the image's mean over 2 x 2 (x 2) pixels, times 1 and -3. f = 5 mean(A_1) + (sum A_2)^2.
    dims = len(space)
    convolution = CONVOLUTION[dims](1, 2, 2, stride=2, bias=False).double()
    for channel, weight in enumerate((1, -3)):
        nn.init.constant_(convolution.weight[channel], weight / 2**dims)

    def target(x: Tensor) -> Tensor:
        first, second = convolution(x).flatten(2).unbind(1)
        return 5 * first.mean(1) + second.sum(1).square()

    target.net_ = convolution
    x = images(2, 1, space)
    halves = [each for side in space for each in (side // 2, 2)]
    mean = x.view(2, *halves).mean([2 * axis + 2 for axis in range(dims)]).numpy()
    explanation = GradCAM(target=target, signed=signed).explain(x)
    for image, map in zip(mean, explanation.map.numpy(), strict=True):
        coarse = 5 / image.size * image + 2 * (-3 * image).sum() * (-3 * image)
        assert (coarse < 0).any()
        expected = drawn_over(coarse if signed else coarse.clip(0), space)
        np.testing.assert_allclose(map[0], expected, rtol=1e-9, atol=1e-12)


@shaped
def test_grad_cam_agrees_with_captum(space: tuple[int, ...]) -> None:
    from captum import attr

    net, x = classifier(space, 2), images(3, 2, space)
    coarse = attr.LayerGradCam(net, net[0][3]).attribute(x).detach()
    mode = {2: "bilinear", 3: "trilinear"}[len(space)]
    torch.testing.assert_close(GradCAM(target=net).explain(x).map, F.interpolate(coarse, space, mode=mode))


def seen_by(net: nn.Module, x: Tensor) -> str:
    return GradCAM(target=net).last_convolution(x)


@shaped
def test_the_layer_read_is_the_last_convolution_before_the_space_is_gone(space: tuple[int, ...]) -> None:
    convolution, x = CONVOLUTION[len(space)], images(1, 1, space).float()
    last = [convolution(1, 2, 3, padding=1), nn.ReLU(), convolution(2, 4, 3, padding=1), nn.ReLU()]
    pooled = [MEAN[len(space)](1), convolution(4, 1, 1), nn.Flatten(0)]  # the third sees one pixel
    assert seen_by(nn.Sequential(*last, *pooled), x) == "2"
    assert seen_by(nn.Sequential(*last, nn.Flatten(), nn.LazyLinear(1), nn.Flatten(0)), x) == "2"
    at_once = nn.Sequential(convolution(1, 2, 1), pooled[0], nn.Flatten(), nn.Linear(2, 1), nn.Flatten(0))
    assert seen_by(at_once, x) == "0"
    folded = ConvolutionThenHalve((2,) * len(space), 4, 4)
    initialise(folded)
    assert seen_by(nn.Sequential(*last, folded, *pooled), x) == "4"


def test_the_layer_read_of_a_detector_is_the_last_of_its_encoder() -> None:
    detector = Autoencoder(latent=2, width=4, hidden=4, steps=1, batch=2)
    detector.fit(images(4).float(), machine=Machine(device="cpu"))
    explainer, x = GradCAM(target=detector.value), images(2).float()
    convolutions = [name for name, part in detector.net_.named_modules() if isinstance(part, nn.Conv2d)]
    assert explainer.last_convolution(x) == convolutions[-1] and ".encoder." in convolutions[-1]
    named = GradCAM(target=detector.value, layer=convolutions[-1])
    assert torch.equal(explainer.explain(x).map, named.explain(x).map)


def test_grad_cam_reads_the_layer_named() -> None:
    net, x = classifier(SPACES[0]), images(2)
    first = net[0][:2](x).detach().requires_grad_()
    (slope,) = torch.autograd.grad(net[1](net[0][2:](first)).sum(), first)
    expected = (slope.mean((2, 3), keepdim=True) * first).sum(1, keepdim=True).detach()
    torch.testing.assert_close(GradCAM(target=net, layer="0.1").explain(x).map, expected)


def test_grad_cam_reads_the_first_call_of_a_layer() -> None:
    convolution = nn.Conv2d(1, 1, 1, bias=False).double()

    def target(x: Tensor) -> Tensor:
        return convolution(convolution(x) + 1).flatten(1).sum(1)

    target.net_ = convolution
    x, w = images(1), convolution.weight.item()
    torch.testing.assert_close(GradCAM(target=target).explain(x).map, w * (w * x))


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("0.9", r"layer=0\.9 is unknown; the network has 0, 0\.0, 0\.1, .*1\.4"),
        ("1.1", r"layer=1\.1 gives \(1, 5\) for one image \(1, 1, 16, 12\), expected \(1, K, \*space\)"),
    ],
)
def test_layer_that_cannot_be_read_is_told(layer: str, message: str) -> None:
    with pytest.raises(AnomalyError, match=message):
        GradCAM(target=classifier(SPACES[0]), layer=layer).explain(images(1))


def test_layer_without_a_say_is_told() -> None:
    net = nn.ModuleDict({"used": nn.Conv2d(1, 1, 1), "unused": nn.Conv2d(1, 1, 1)}).double()

    def target(x: Tensor) -> Tensor:
        return squares(x) + 0 * net["used"](torch.zeros_like(x)).flatten(1).sum(1).detach()

    target.net_ = net
    for trainable in (True, False):
        net.requires_grad_(trainable)
        with pytest.raises(AnomalyError, match="differentiated by layer used"):
            GradCAM(target=target, layer="used").explain(images(1))
    with pytest.raises(AnomalyError, match="does not call layer=unused"):
        GradCAM(target=target, layer="unused").explain(images(1))
    target.net_ = nn.ReLU()
    with pytest.raises(AnomalyError, match="through none"):
        GradCAM(target=target).explain(images(1))
