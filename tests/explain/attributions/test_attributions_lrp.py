"""Relevance handed back: nothing is lost on the way, and it is captum's where captum has rules."""

from typing import Any

import pytest
import torch
from attributed import CONVOLUTION, POOL, Linear, images, shaped, weights
from torch import Tensor, nn
from torch.nn import functional as F

from anomaly.errors import AnomalyError
from anomaly.nets.pyramid import ConvolutionThenHalve, DoubleThenConvolution, Folded, initialise
from explain import LRP, Classifier
from explain.attributions.listening import each_call
from explain.attributions.lrp import RULED


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
@pytest.mark.parametrize(("epsilon", "gamma"), [(0.0, 0.0), (0.3, 0.0), (0.0, 0.25), (0.0, 3.0)])
def test_it_is_captums_where_captum_has_rules(epsilon: float, gamma: float) -> None:
    # Captum's gamma favours positive weights: the same where inputs are 0 or more, outputs are, and nothing is added.
    from captum import attr
    from captum.attr._utils.lrp_rules import EpsilonRule, GammaRule

    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(1, 4, 3, bias=False), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 3, 3, bias=False), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(3, 1, 1, bias=False),
        ).double().eval()  # fmt: skip
    x = images(1).abs()
    net[-1].weight.data = torch.tensor([1.0, -0.3, 0.8], dtype=torch.float64).view(1, 3, 1, 1)
    net[-1].weight.data *= net(x).detach().sign()
    layers, sizes = [net[k] for k in (0, 3, 5, 6)], []
    hooks = [
        each.register_forward_hook(lambda _, inputs, y: sizes.append(float(y.detach().square().mean().sqrt())))
        for each in layers
    ]
    ours = LRP(target=_with(lambda x: net(x).flatten(), net), epsilon=epsilon, gamma=gamma)
    map = ours.explain(x, baseline=torch.zeros_like(x)).map
    for hook in hooks:
        hook.remove()
    for layer, size in zip(layers, sizes[:4], strict=True):
        layer.rule = EpsilonRule(epsilon * size) if epsilon else EpsilonRule()
    for layer in (net[3], net[6]) if gamma else ():
        layer.rule = GammaRule(gamma)
    theirs = attr.LRP(net).attribute(x, target=(0, 0, 0)).detach()
    torch.testing.assert_close(map, theirs, rtol=1e-4, atol=1e-7)
    assert theirs.abs().max() > 1e-4


def folded(kind: type[Folded], dims: int) -> Folded:
    layer = kind((2,) * (dims - 1) + (1,), 2, 3, bias=False).double()
    initialise(layer)
    return layer


@shaped
@pytest.mark.parametrize("kind", [ConvolutionThenHalve, DoubleThenConvolution, nn.Conv2d])
def test_gamma_of_every_kind_of_convolution_is_that_of_its_matrix(space: tuple[int, ...], kind: Any) -> None:
    # z_ij = J_ij x_i, J the matrix of the layer; those of the sign of the output count 1 + gamma times.
    dims, gamma = len(space), 0.7
    convolution = CONVOLUTION[dims]
    layer = convolution(2, 3, 3, padding=1, bias=False).double() if kind is nn.Conv2d else folded(kind, dims)
    same = convolution(2, 2, 1, bias=False).double()  # what is given the image alone takes no gamma
    same.weight.data = torch.eye(2).double().view(2, 2, *[1] * dims)
    x = images(1, 2, (4,) * dims)
    matrix = torch.autograd.functional.jacobian(layer, x).reshape(-1, x.numel())
    w = torch.randn(len(matrix), dtype=torch.float64)
    target = _with(lambda x: (layer(same(x)).flatten(1) * w).sum(1), nn.ModuleList([layer, same]))
    z = matrix * x.flatten()
    count = torch.where(z * z.sum(1, keepdim=True) > 0, (1 + gamma) * z, z)
    share = (count / count.sum(1, keepdim=True) * (w * z.sum(1))[:, None]).sum(0).view_as(x).sum(1, keepdim=True)
    map = LRP(target=target, epsilon=0.0, gamma=gamma).explain(x, baseline=torch.zeros_like(x)).map
    torch.testing.assert_close(map, share)


def test_every_convolution_that_is_given_the_image_alone_takes_no_gamma() -> None:
    near, wide = nn.Conv2d(1, 2, 3, padding=1).double(), nn.Conv2d(1, 2, 5, padding=1).double()
    target = _with(
        lambda x: near(x).square().flatten(1).sum(1) + wide(F.avg_pool2d(x, 2)).flatten(1).sum(1),
        nn.ModuleList([near, wide]),
    )
    x = images(2)
    copied = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(target(copied).sum(), copied)
    torch.testing.assert_close(LRP(target=target, epsilon=0.0, gamma=5.0).explain(x).map, slope * (x + 1))


def test_an_input_of_exactly_0_contributes_nothing() -> None:
    # Of x = (1, 1) the first channel is x1 - x2 = 0, the second x1: all of the output is due to x1.
    first, other, alone = (nn.Conv2d(1, 1, (1, 2), bias=False) for _ in range(3))
    for layer, weight in zip((first, other, alone), ([1.0, 0.0], [0.0, -1.0], [1.0, 0.0]), strict=True):
        layer.weight.data = torch.tensor(weight).view(1, 1, 1, 2)
    last = nn.Conv2d(2, 1, 1, bias=False)
    last.weight.data = torch.tensor([3.0, 1.0]).view(1, 2, 1, 1)
    net = nn.ModuleList([first, other, alone, last])
    target = _with(lambda x: last(torch.cat([first(x) + other(x), alone(x)], 1)).flatten(), net)
    x = torch.ones(1, 1, 1, 2)
    map = LRP(target=target, epsilon=0.0).explain(x, baseline=torch.zeros_like(x)).map
    assert map.flatten().tolist() == pytest.approx([1.0, 0.0])


@shaped
@pytest.mark.parametrize("architecture", ["residual", "plain"])
def test_every_layer_with_weights_of_the_classifiers_has_a_rule_and_is_heard(
    architecture: str, space: tuple[int, ...]
) -> None:
    judge = Classifier(architecture=architecture, width=2)
    net = judge.build((1, *(2 * side for side in space))).double().eval()
    x, met, heard = images(1, 1, tuple(2 * side for side in space)), list[nn.Module](), list[nn.Module]()
    for module in net.modules():
        if any(True for _ in module.parameters(recurse=False)):
            module.register_forward_hook(lambda module, inputs, output: met.append(module))
    with each_call(net, RULED, lambda module, x, y: heard.append(module)):
        net(x)
    assert len(met) > 4 and set(met) <= set(heard)
    assert any(isinstance(each, Folded) for each in met) == (architecture == "residual")
    explanation = LRP(target=net, epsilon=0.0).explain(x)
    assert explanation.map.abs().max() > 0


def test_halving_without_biases_loses_nothing() -> None:
    net = nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1, bias=False), nn.ReLU(), folded(ConvolutionThenHalve, 2), nn.ReLU(), nn.Flatten()
    ).double()
    x = images(2)
    explanation = LRP(target=_with(lambda x: net(x).sum(1), net), epsilon=0.0).explain(x, baseline=torch.zeros_like(x))
    torch.testing.assert_close(explanation.map.flatten(1).sum(1), net(x).sum(1).detach())
    other = LRP(target=_with(lambda x: net(x).sum(1), net), epsilon=0.0, gamma=0.0)
    assert (other.explain(x, baseline=torch.zeros_like(x)).map - explanation.map).abs().max() > 1e-3


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.by = nn.Parameter(torch.ones(4, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.by * x


@pytest.mark.parametrize(
    "layer", [nn.Sigmoid(), nn.GroupNorm(2, 4), nn.InstanceNorm2d(4), nn.Softplus(), nn.GELU(), Scaled()]
)
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
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2, track_running_stats=False), nn.Flatten()).eval()
    with pytest.raises(AnomalyError, match="no rule for BatchNorm2d at 1"):
        LRP(target=_with(lambda x: net(x).sum(1), net)).explain(images(2).float())
    beside = nn.ModuleDict({"used": nn.Sequential(nn.Conv2d(1, 1, 3), nn.Flatten()), "not": nn.Sigmoid()})
    assert LRP(target=_with(lambda x: beside["used"](x).sum(1), beside)).explain(images(2).float()).map.abs().max() > 0


@pytest.mark.parametrize("layer", [nn.BatchNorm2d(2), nn.Dropout(0.5), nn.Dropout2d(0.5), nn.RReLU()])
def test_training_mode_is_refused_by_name_and_leaves_no_trace(layer: nn.Module) -> None:
    net, x = nn.Sequential(nn.Conv2d(1, 2, 3), layer, nn.Flatten()).train(), images(2).float()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    target = _with(lambda x: net(x).sum(1), net)
    with pytest.raises(AnomalyError, match=rf"{type(layer).__name__} at 1 is in training mode; call \.eval\(\)"):
        LRP(target=target).explain(x)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())
    net.eval()
    assert LRP(target=target).explain(x).map.abs().max() > 0


def test_weights_made_of_others_are_those_of_their_layer() -> None:
    plain = nn.Conv2d(2, 2, 3, bias=False).double()
    made_of = torch.nn.utils.parametrizations.spectral_norm(nn.Conv2d(2, 2, 3, bias=False).double()).eval()
    plain.weight.data = made_of.weight.detach().clone()
    first, x = nn.Conv2d(1, 2, 3).double(), images(1)
    maps = [
        LRP(target=_with(lambda x, net=net: net(x).flatten(1).sum(1), net)).explain(x).map
        for net in (nn.Sequential(first, plain), nn.Sequential(first, made_of))
    ]
    torch.testing.assert_close(*maps)


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
