"""Counterfactuals against a target: losses worked by hand, the target left alone, and what is found in a moment."""

import logging

import pytest
import torch
from test_conditional import CASES, CONTROLS, Adds
from tiny import CPU, SHAPES, lesion, normals, with_lesion
from torch import Tensor, nn

from anomaly.errors import AnomalyError
from anomaly.training.journal import Journal
from anomaly.training.machine import Machine
from explain.counterfactuals.targeted import Targeted, Typical

SHORT = {"2D": {"steps": 60, "batch": 8}, "3D": {"steps": 40, "batch": 4}}
SMALL = {"steps": 2, "batch": 4, "width": 4, "critic_width": 4}


class Patches(nn.Module):
    """Calls each pixel as real as it is bright."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gain


def by_hand(generator: nn.Module, typical: tuple[float, float] = (-1.0, 1.0), **settings: object) -> Targeted:
    explainer = Targeted(target=lambda x: x.flatten(1).mean(1), **settings)
    kept = Typical()
    kept.values.copy_(torch.tensor(typical))
    explainer.net_ = nn.ModuleDict({"generator": generator, "critic": Patches(), "typical": kept})
    return explainer


def settled(target, controls: Tensor, cases: Tensor) -> Targeted:
    explainer = Targeted(target=target, **SMALL)
    explainer.make(controls.shape[1:], CPU, 0)
    with torch.no_grad():
        explainer.settle(controls, cases)
    return explainer


def network(dims: int) -> nn.Module:
    """A network (N, 1, *space) -> (N,) that learns, some of whose weights are frozen; with a hook."""
    convolution = {2: nn.Conv2d, 3: nn.Conv3d}[dims]
    pool = {2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d}[dims]
    net = nn.Sequential(convolution(1, 3, 3), nn.Tanh(), pool(1), nn.Flatten())
    net.append(nn.Linear(3, 1)).append(nn.Flatten(0))
    nn.init.ones_(net[0].weight)
    nn.init.ones_(net[4].weight)
    net[0].bias.requires_grad_(False)
    net[2].register_forward_hook(lambda module, inputs, output: None)
    return net.eval()


def everything(net: nn.Module) -> list:
    """What a training must leave alone in a target."""
    values = {key: value.clone().tolist() for key, value in net.state_dict().items()}
    flags = [(p.requires_grad, p.grad) for p in net.parameters()]
    hooks = [[list(m._forward_hooks), list(m._backward_hooks), m.training] for m in net.modules()]
    return [values, flags, hooks]


# The losses


def test_the_loss_of_the_generator_is_its_formula():
    """Controls of -0.5 drawn as cases 0.125 brighter, cases of 0.5 drawn as controls 0.25 darker; typical -0.5, 0.5."""
    explainer = by_hand(Adds(-0.25, 0.125), (-0.5, 0.5), shortfall=3.0, proximity=7.0)
    loss, terms = explainer.generator_loss((CONTROLS, CASES))
    terms = {name: term.item() for name, term in terms.items()}
    expected = {
        "adversarial": ((-0.375 - 1) ** 2 + (0.25 - 1) ** 2) / 2,
        "shortfall": ((1 + 0.75) + (1 + 0.5)) / 2,  # standing at -0.75 and 0.5, asked for 1 and -1
        "proximity": (0.125 + 0.25) / 2,
        "cycle": (0.125 + 0.125) / 2,
        "identity": (0.25 + 0.125) / 2,
    }
    assert terms == pytest.approx(expected, rel=1e-5)
    weights = {"adversarial": 1, "shortfall": 3, "proximity": 7, "cycle": 10, "identity": 5}
    assert loss.item() == pytest.approx(sum(weights[name] * expected[name] for name in weights), rel=1e-5)


def test_the_loss_of_the_critic_is_its_formula():
    loss, terms = by_hand(Adds(-0.25, 0.125)).critic_loss((CONTROLS, CASES))
    assert terms["real"].item() == pytest.approx((1.5**2 + 0.5**2) / 2)
    assert terms["drawn"].item() == pytest.approx((0.375**2 + 0.25**2) / 2)
    assert loss.item() == pytest.approx((1.25 + (0.375**2 + 0.25**2) / 2) / 2)


def test_nothing_is_missing_beyond_what_is_typical_of_the_other_side():
    """Controls of -0.5 end at 0.25, cases of 0.5 at -0.25; typical are -0.2 and 0.2."""
    explainer = by_hand(Adds(-0.75, 0.75), (-0.2, 0.2))
    _, terms = explainer.generator_loss((CONTROLS, CASES))
    assert terms["shortfall"].item() == 0


def test_the_identity_costs_nothing_where_nothing_changes():
    _, terms = by_hand(Adds(0.0, 0.0)).generator_loss((CONTROLS, CASES))
    assert terms["identity"].item() == terms["cycle"].item() == terms["proximity"].item() == 0


# The target and its scale


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e5])
def test_any_target_is_brought_to_the_scale_of_its_two_sides(scale):
    """Typical controls stand at -1 and typical cases at 1, whatever the units of the target."""
    controls, cases = normals(9, (1, 8, 8), 1), normals(12, (1, 8, 8), 2) + 0.4
    explainer = settled(lambda x: scale * (3 + x.flatten(1).mean(1)), controls, cases)
    assert explainer.standing(controls).mean().item() == pytest.approx(-1, abs=1e-3)
    assert explainer.standing(cases).mean().item() == pytest.approx(1, abs=1e-3)


def test_a_bounded_number_of_images_is_asked():
    asked = []

    def target(x: Tensor) -> Tensor:
        asked.append(len(x))
        return x.flatten(1).mean(1)

    settled(target, torch.zeros(400, 1, 4, 4), torch.linspace(0, 1, 300).view(-1, 1, 1, 1).expand(-1, 1, 4, 4))
    assert sum(asked) == 2 * 256


def test_the_slope_is_that_of_the_target_and_its_own_weights_get_none():
    net, x = network(2), normals(3, (1, 9, 9)).requires_grad_()
    explainer = by_hand(Adds(0.0, 0.0), (2.0, 6.0))
    explainer.target = net
    value = explainer.standing(x)
    (slope,) = torch.autograd.grad((value * torch.tensor([1.0, -2.0, 0.5])).sum(), x, retain_graph=True)
    (expected,) = torch.autograd.grad((net(x) * torch.tensor([1.0, -2.0, 0.5]) / 2).sum(), x)
    torch.testing.assert_close(slope, expected)
    torch.testing.assert_close(value, (net(x) - 4) / 2)
    value.sum().backward()
    assert all(parameter.grad is None for parameter in net.parameters())


@pytest.mark.parametrize("shape", ["2D", "3D"])
@pytest.mark.parametrize("precision", ["32", "bf16"])
def test_training_and_explaining_leave_the_target_alone(shape, precision):
    net = network(len(SHAPES[shape]) - 1)
    before = everything(net)
    controls, cases = normals(8, SHAPES[shape], 1), with_lesion(normals(8, SHAPES[shape], 2))
    explainer = Targeted(target=net, **SMALL)
    explainer.fit(controls, cases, machine=Machine(device="cpu", precision=precision))
    assert everything(net) == before
    explanation = explainer.explain(cases)
    assert everything(net) == before
    assert not any(key.startswith("target") for key in explainer.net_.state_dict())
    torch.testing.assert_close(explanation.diagnostics["before"], net(cases).detach())
    torch.testing.assert_close(explanation.diagnostics["after"], net(explanation.counterfactual).detach())


def test_the_target_is_asked_in_full_precision():
    kinds = set()

    def target(x: Tensor) -> Tensor:
        product = x.flatten(1) @ torch.ones(x[0].numel(), 1)
        kinds.add(product.dtype)
        return product.squeeze(1)

    controls = normals(8, (1, 8, 8), 1)
    Targeted(target=target, **SMALL).fit(controls, controls + 0.5, machine=Machine(device="cpu", precision="bf16"))
    assert kinds == {torch.float32}


def test_loaded_it_needs_its_target_again_and_knows_what_was_typical(tmp_path):
    controls = normals(8, (1, 8, 8), 1)
    explainer = Targeted(target=lambda x: x.flatten(1).sum(1), **SMALL).fit(controls, controls + 0.5, machine=CPU)
    explainer.save(tmp_path / "weights.safetensors")
    loaded = Targeted.load(tmp_path / "weights.safetensors")
    with pytest.raises(AnomalyError, match="targeted explains a target and has none"):
        loaded.explain(controls)
    loaded.target = explainer.target
    assert torch.equal(loaded.standing(controls), explainer.standing(controls))
    assert torch.equal(loaded.explain(controls).map, explainer.explain(controls).map)


# Targets that explain nothing


@pytest.mark.parametrize(
    "target",
    [
        lambda x: x.flatten(1).sum(1) * 0 + 4,
        lambda x: -x.flatten(1).mean(1),
        lambda x: x.flatten(1)[:, 0] * 0 + torch.tensor([1.0, -1.0]).repeat(len(x) // 2),
    ],
    ids=["constant", "lower in cases", "chance"],
)
def test_a_target_that_does_not_tell_the_sides_apart_is_refused(target):
    controls = normals(8, (1, 8, 8), 1)
    with pytest.raises(AnomalyError, match=r"the target is .* on average in controls and .* nothing to explain"):
        Targeted(target=target, **SMALL).fit(controls, controls + 0.5, machine=CPU)


def test_a_target_that_hardly_tells_the_sides_apart_is_told(caplog):
    values = torch.linspace(-1, 1, 200).view(-1, 1, 1, 1).expand(-1, 1, 4, 4)  # of SD 0.58
    with caplog.at_level(logging.WARNING):
        settled(lambda x: x.flatten(1).mean(1), values, values + 0.3)
    assert "hardly tells them apart" in caplog.text
    caplog.clear()
    settled(lambda x: x.flatten(1).mean(1), values, values + 0.7)
    assert not caplog.records


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (None, "explains a target and has none"),
        (lambda x: x, r"gave \(8, 1, 8, 8\) for images"),
        (lambda x: x.detach().flatten(1).mean(1), "cannot be differentiated"),
        (lambda x: x.flatten(1).mean(1) + (x[:, 0, 0, 0] * 0).sqrt(), "no finite gradient"),
    ],
)
def test_wrong_targets_are_told(target, message):
    controls = normals(8, (1, 8, 8), 1)
    with pytest.raises(AnomalyError, match=message):
        Targeted(target=target, **SMALL).fit(controls, controls + 0.5, machine=CPU)


# What it finds


@pytest.mark.parametrize("shape", ["2D", "3D"])
def test_the_map_lies_where_the_target_looks(shape):
    """Beside the box that cases have in one place they are brighter in another, which the target does not see."""
    space = SHAPES[shape][1:]
    seen = lesion(space)
    unseen = seen.flip(list(range(2, seen.ndim)))

    def cases(seed: int) -> Tensor:
        x = with_lesion(normals(60, SHAPES[shape], seed))
        return torch.where(unseen, x + 0.5, x)

    def target(x: Tensor) -> Tensor:
        return x[seen.expand_as(x)].view(len(x), -1).mean(1) * 7 + 3

    explainer = Targeted(target=target, **SHORT[shape], width=4, critic_width=4, lr=5e-3)
    explainer.fit(normals(60, SHAPES[shape], 1), cases(2), machine=CPU)
    explanation = explainer.explain(cases(3))
    map = explanation.map
    inside, elsewhere = map[seen.expand_as(map)].mean(), map[(~seen).expand_as(map)].abs().mean()
    assert inside > 5 * elsewhere and inside > 0.1
    assert map[unseen.expand_as(map)].mean().abs() < inside / 3
    assert (explanation.diagnostics["after"] < explanation.diagnostics["before"]).all()


def test_curves_show_every_term(tmp_path):
    controls = normals(8, (1, 8, 8), 1)
    explainer = Targeted(target=lambda x: x.flatten(1).mean(1), **SMALL)
    explainer.fit(controls, controls + 0.5, machine=CPU, journal=Journal(folder=tmp_path))
    curves = (tmp_path / "training.csv").read_text()
    for term in ("adversarial", "shortfall", "proximity", "cycle", "identity"):
        assert f"generator/{term}" in curves
    assert "critic/real" in curves and "critic/drawn" in curves
