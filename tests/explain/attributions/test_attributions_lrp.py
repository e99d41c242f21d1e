"""Relevance handed back: nothing is lost on the way, and it is captum's where captum has rules."""

from typing import Any

import pytest
import torch
from attributed import CONVOLUTION, POOL, Linear, images, shaped, weights
from torch import Tensor, nn

from anomaly.errors import AnomalyError
from explain import LRP


class Shortcut(nn.Module):
    """Convolutions beside a shortcut, down and up again; (N, C, *space) -> (N,)."""

    def __init__(self, channels: int, dims: int, *, bias: bool) -> None:
        super().__init__()
        convolution, up = CONVOLUTION[dims], {2: "bilinear", 3: "trilinear"}[dims]
        self.first, self.bent = convolution(channels, 4, 3, padding=1, bias=bias), nn.LeakyReLU(0.2, inplace=True)
        self.second, self.pool = convolution(4, 4, 3, padding=1, bias=bias), POOL[dims](2)
        self.up, self.third = nn.Upsample(scale_factor=2, mode=up), convolution(4, 2, 1, bias=bias)
        self.head = nn.Linear(2, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        seen = self.bent(self.first(x))
        seen = self.up(self.pool(seen + self.bent(self.second(seen))))
        return self.head(self.third(seen).flatten(2).mean(2))[:, 0]


def made(channels: int, dims: int, *, bias: bool = False) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(dims)
        return Shortcut(channels, dims, bias=bias).double().eval()


@shaped
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("gamma", [0.0, 0.25, 10.0])
def test_without_biases_the_map_adds_up_to_the_target(space: tuple[int, ...], channels: int, gamma: float) -> None:
    x, net = images(2, channels, space), made(channels, len(space))
    explanation = LRP(target=net, epsilon=0.0, gamma=gamma).explain(x, baseline=torch.zeros_like(x[:1]))
    torch.testing.assert_close(explanation.map.flatten(1).sum(1), net(x).detach())
    assert explanation.diagnostics["absorbed"].abs().max() < 1e-12


@shaped
def test_without_gamma_and_epsilon_it_is_gradient_times_distance(space: tuple[int, ...]) -> None:
    x, net = images(2, 1, space).requires_grad_(), made(1, len(space), bias=True)
    (slope,) = torch.autograd.grad(net(x).sum(), x)
    map = LRP(target=net, epsilon=0.0, gamma=0.0).explain(x.detach()).map
    torch.testing.assert_close(map, (slope * (x + 1)).detach())


@shaped
def test_linear_target_gives_weight_times_distance(space: tuple[int, ...]) -> None:
    x, w, b = images(2, 2, space), weights(2, space), images(1, 2, space)
    torch.testing.assert_close(LRP(target=Linear(w)).explain(x, baseline=b).map, (w * (x - b)).sum(1, keepdim=True))


def test_gamma_worked_by_hand() -> None:
    # Second layer: inputs 2 and 1, weights 3 and -4, output 2; contributions 6 (1 + g) and -4, their sum 5 for g = 0.5.
    net = nn.Sequential(nn.Conv2d(2, 2, 1, bias=False), nn.ReLU(), nn.Conv2d(2, 1, 1, bias=False), nn.Flatten(0))
    net[0].weight.data = torch.eye(2).view(2, 2, 1, 1)
    net[2].weight.data = torch.tensor([3.0, -4.0]).view(1, 2, 1, 1)
    shares = []
    for other in (1, 0):  # with the other input at its baseline for both, so that the map is the share of one
        x = torch.tensor([2.0, 1.0]).view(1, 2, 1, 1)
        b = torch.zeros(1, 2, 1, 1)
        b[0, other] = x[0, other]
        shares.append(float(LRP(target=net, epsilon=0.0, gamma=0.5).explain(x, baseline=b).map))
    assert shares[0] + shares[1] == pytest.approx(2.0)
    assert shares == pytest.approx([2 * 6 * 1.5 / 5, -2 * 4 / 5])


def test_epsilon_takes_from_small_sums() -> None:
    x, net = images(3), made(1, 2)
    explanation = LRP(target=net, epsilon=0.5, gamma=0.0).explain(x, baseline=torch.zeros_like(x[:1]))
    total = explanation.map.flatten(1).sum(1)
    assert (total.abs() < net(x).abs().detach()).all()
    torch.testing.assert_close(explanation.diagnostics["absorbed"], net(x).detach() - total)


@pytest.mark.filterwarnings("ignore:Input Tensor 0 did not already require gradients")
def test_it_is_captums_where_captum_has_rules() -> None:
    from captum import attr

    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 3, 3), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(3, 1, 1),
        ).double().eval()  # fmt: skip
    x = images(2)
    theirs = attr.LRP(net).attribute(x, target=(0, 0, 0))
    ours = LRP(target=nn.Sequential(net, nn.Flatten(0)), epsilon=0.0, gamma=0.0)
    torch.testing.assert_close(ours.explain(x, baseline=torch.zeros_like(x)).map, theirs.detach(), rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("layer", [nn.Sigmoid(), nn.GroupNorm(2, 4), nn.InstanceNorm2d(4), nn.Softplus(), nn.GELU()])
def test_layer_without_a_rule_is_named_before_anything_is_explained(layer: nn.Module) -> None:
    asked: list[bool] = []
    net = nn.Sequential(nn.Sequential(nn.Conv2d(1, 4, 3), layer), nn.AdaptiveAvgPool2d(1), nn.Flatten(1))

    def target(x: Tensor) -> Tensor:
        asked.append(torch.is_grad_enabled())
        return net(x)[:, 0]

    target.net_ = net  # type: ignore[attr-defined]
    with pytest.raises(AnomalyError, match=rf"no rule for {type(layer).__name__} at 0\.1; take integrated-gradients"):
        LRP(target=target).explain(images(2).float())
    assert asked == [False]


def test_batch_norm_of_the_batch_itself_is_named_and_a_layer_that_is_not_called_is_not() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2, track_running_stats=False), nn.Flatten())
    with pytest.raises(AnomalyError, match="no rule for BatchNorm2d at 1"):
        LRP(target=_with(lambda x: net(x).sum(1), net)).explain(images(2).float())
    beside = nn.ModuleDict({"used": nn.Sequential(nn.Conv2d(1, 1, 3), nn.Flatten()), "not": nn.Sigmoid()})
    assert LRP(target=_with(lambda x: beside["used"](x).sum(1), beside)).explain(images(2).float()).map.abs().max() > 0


def _with(function: Any, net: nn.Module) -> Any:
    function.net_ = net
    return function


def test_batch_norm_in_evaluation_hands_back_by_its_slope() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.LazyLinear(1), nn.Flatten(0))
    net(images(4).float())
    x = images(2).float()
    net.eval()
    copied = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(net(copied).sum(), copied)
    map = LRP(target=net, epsilon=0.0, gamma=0.0).explain(x).map
    torch.testing.assert_close(map, slope * (x + 1), rtol=1e-4, atol=1e-5)
