import warnings

import numpy as np
import pytest
import torch
from attributed import CONVOLUTION, POOL, SPACES, classifier, images, shaped, with_head
from torch import Tensor, nn
from torch.nn import functional as F

from anomaly.errors import AnomalyError
from explain import DeepLift, GradCAM, Saliency


def by_captum(net: nn.Module, x: Tensor, b: Tensor) -> Tensor:
    from captum import attr

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # captum says that it sets hooks
        return attr.DeepLift(net).attribute(x, b).detach()


@shaped
@pytest.mark.parametrize("activation", [nn.ReLU, nn.ELU, nn.Sigmoid, nn.Softplus])
def test_deep_lift_agrees_with_captum(space: tuple[int, ...], activation: type[nn.Module]) -> None:
    # Where one activation follows another at once, or the windows of a maximum overlap, captum's do not add up.
    convolution = CONVOLUTION[len(space)]
    layers = [convolution(2, 4, 3, padding=1), activation(), convolution(4, 3, 2), POOL[len(space)](2)]
    net, x, b = with_head(nn.Sequential(*layers), 2, space), images(2, 2, space), images(4, 2, space)[2:]
    map = DeepLift(target=net).explain(x, baseline=b).map
    torch.testing.assert_close(map, by_captum(net, x, b).sum(1, keepdim=True))


@shaped
@pytest.mark.parametrize("activation", [nn.ReLU, nn.ELU, nn.Sigmoid, nn.Softplus])
def test_deep_lift_adds_up(space: tuple[int, ...], activation: type[nn.Module]) -> None:
    net, x, b = classifier(space, 2, activation), images(2, 2, space), images(4, 2, space)[2:]
    explanation = DeepLift(target=net).explain(x, baseline=b)
    torch.testing.assert_close(explanation.map.flatten(1).sum(1), (net(x) - net(b)).detach())
    assert explanation.diagnostics["gap"].abs().max() < 1e-12


@pytest.mark.parametrize("activation", [nn.GELU, nn.SiLU, nn.Hardtanh, nn.PReLU, nn.Mish])
def test_deep_lift_adds_up_for_activations_that_captum_does_not_know(activation: type[nn.Module]) -> None:
    net, x = classifier(SPACES[0], activation=activation), images(2)
    explanation = DeepLift(target=net).explain(x)
    assert explanation.diagnostics["gap"].abs().max() < 1e-12
    torch.testing.assert_close(explanation.diagnostics["baseline"], net(-torch.ones_like(x)).detach())


def two(first: float, second: float) -> Tensor:
    return torch.tensor([first, second], dtype=torch.float64).view(1, 1, 1, 2)


def test_deep_lift_sees_what_is_saturated() -> None:
    # y = 1 - relu(1 - x1 - x2) from (0, 0) to (1, 1): the rectifier falls by 1 while its input falls by 2.
    relu = nn.ReLU()

    def target(x: Tensor) -> Tensor:
        return 1 - relu(1 - x.flatten(1).sum(1))

    target.net_ = relu
    assert Saliency(target=target).explain(two(1, 1)).map.abs().max() == 0
    assert DeepLift(target=target).explain(two(1, 1), baseline=two(0, 0)).map.flatten().tolist() == [0.5, 0.5]


def test_deep_lift_takes_the_derivative_where_an_activation_is_given_the_same() -> None:
    # softplus(x1 + x2) is given 0 at both ends, and rises by half there.
    softplus = nn.Softplus()

    def target(x: Tensor) -> Tensor:
        return softplus(x.flatten(1).sum(1))

    target.net_ = softplus
    assert DeepLift(target=target).explain(two(1, -1), baseline=two(0, 0)).map.flatten().tolist() == [0.5, -0.5]


def test_deep_lift_does_not_take_rounding_for_a_slope() -> None:
    # The activation is given 0.7 at both ends, but for the last digit: sigmoid(0.7) is its slope, not one digit by one.
    softplus = nn.Softplus()

    def target(x: Tensor) -> Tensor:
        return softplus(x.flatten(1).sum(1))

    target.net_ = softplus
    nearly = float(np.nextafter(np.float32(0.7), np.float32(1)))
    map = DeepLift(target=target).explain(two(0, nearly).float(), baseline=two(0.5, 0.2).float()).map
    slope = torch.tensor(0.7).sigmoid().item()
    assert map.flatten().tolist() == pytest.approx([-0.5 * slope, 0.5 * slope], rel=1e-3)


@pytest.mark.parametrize(("x", "b", "expected"), [((3, 1), (0, 2), (1, 0)), ((0, 2), (3, 1), (0, -1)[::-1])])
def test_deep_lift_hands_a_maximum_to_the_place_of_the_larger_one(x: tuple, b: tuple, expected: tuple) -> None:
    # max(3, 1) - max(0, 2) = 1 lies where the 3 is, whichever of the two is the image.
    net = nn.Sequential(nn.MaxPool2d((1, 2)), nn.Flatten(0))
    assert DeepLift(target=net).explain(two(*x), baseline=two(*b)).map.flatten().tolist() == pytest.approx(expected)


@shaped
def test_deep_lift_adds_up_where_maxima_overlap(space: tuple[int, ...]) -> None:
    adaptive = {2: nn.AdaptiveMaxPool2d, 3: nn.AdaptiveMaxPool3d}[len(space)]
    net = nn.Sequential(POOL[len(space)](3, stride=1, padding=1, ceil_mode=True), adaptive(3), nn.Flatten())
    x, b = images(2, 2, space), images(3, 2, space)[1:]
    explanation = DeepLift(target=nn.Sequential(net, nn.LazyLinear(1), nn.Flatten(0)).double()).explain(x, baseline=b)
    assert explanation.map.abs().max() > 0
    assert explanation.diagnostics["gap"].abs().max() < 1e-12


def test_deep_lift_of_a_module_used_twice() -> None:
    # relu(relu(x) - 1/2) from 0 to 1: slope 1, then from -1/2 to 1/2 a rise of 1/2.
    relu = nn.ReLU()

    def target(x: Tensor) -> Tensor:
        return relu(relu(x) - 0.5).flatten(1).sum(1)

    target.net_ = relu
    assert DeepLift(target=target).explain(two(1, 0), baseline=two(0, 0)).map.flatten().tolist() == [0.5, 0]


def test_deep_lift_of_a_target_that_puts_images_beside_one_another() -> None:
    net = classifier(SPACES[0])

    def target(x: Tensor) -> Tensor:
        return torch.stack(net(torch.cat([x, x.flip(-1), 0.5 * x])).chunk(3)).sum(0)

    target.net_ = net
    x = images(2)
    explanation = DeepLift(target=target).explain(x)
    assert explanation.diagnostics["gap"].abs().max() < 1e-12
    parts = [DeepLift(target=net).explain(part, baseline=b * torch.ones_like(x)).map for part, b in
             [(x, -1), (x.flip(-1), -1), (0.5 * x, -0.5)]]  # fmt: skip
    torch.testing.assert_close(explanation.map, parts[0] + parts[1].flip(-1) + parts[2])


class Residual(nn.Module):
    """Works in place wherever it can."""

    def __init__(self, inplace: bool) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(1, 1, 3, padding=1), nn.Conv2d(1, 1, 3, padding=1)
        self.relu, self.after = nn.ReLU(inplace), nn.LeakyReLU(0.1, inplace)
        self.inplace = inplace

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.first(x))
        if self.inplace:
            y += x
        else:
            y = y + x
        return self.after(self.last(y)).mean((1, 2, 3))


@pytest.mark.parametrize("cls", [DeepLift, GradCAM])
def test_what_works_in_place_is_read_as_what_does_not(cls: type[DeepLift] | type[GradCAM]) -> None:
    plain, inplace, x = Residual(False).double(), Residual(True).double(), images(2)
    inplace.load_state_dict(plain.state_dict())
    expected = cls(target=plain).explain(x)
    torch.testing.assert_close(cls(target=inplace).explain(x).map, expected.map)
    assert expected.diagnostics.get("gap", torch.zeros(1)).abs().max() < 1e-12


def test_gap_tells_what_deep_lift_cannot_see() -> None:
    # relu from -1 to 1 as a function: derivative 1, so 2 for a rise of 1.
    def target(x: Tensor) -> Tensor:
        return F.relu(x).flatten(1).sum(1)

    target.net_ = nn.Identity()
    explanation = DeepLift(target=target).explain(torch.ones(1, 1, 1, 1))
    assert explanation.map.item() == 2 and explanation.diagnostics["gap"].item() == 1


@pytest.mark.parametrize("other", [nn.Identity(), nn.Tanh(), nn.Sequential(nn.AvgPool2d(1, 2), nn.ReLU())])
def test_deep_lift_refuses_to_compare_different_ways(other: nn.Module) -> None:
    net = nn.ModuleList([nn.ReLU(), other])

    def target(x: Tensor) -> Tensor:
        return net[int(x.mean() < 0)](x).flatten(1).sum(1)

    target.net_ = net
    with pytest.raises(AnomalyError, match="another way"):
        DeepLift(target=target).explain(two(1, 1), baseline=two(-1, -1))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


def test_deep_lift_refuses_to_compare_different_shapes() -> None:
    relu = nn.ReLU()

    def target(x: Tensor) -> Tensor:
        return relu(x if x.mean() > 0 else x[..., :1]).flatten(1).sum(1)

    target.net_ = relu
    with pytest.raises(AnomalyError, match="another way"):
        DeepLift(target=target).explain(two(1, 1), baseline=two(-1, -1))


def test_explaining_leaves_nothing_in_the_network() -> None:
    net, x = classifier(SPACES[0]), images(1)
    before = [vars(module).keys() for module in net.modules()]
    DeepLift(target=net).explain(x)
    GradCAM(target=net).explain(x)
    assert [vars(module).keys() for module in net.modules()] == before
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())
