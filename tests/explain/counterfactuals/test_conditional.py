"""DeScarGAN: its losses against networks worked by hand, and what it finds in a moment."""

import math

import pytest
import torch
from tiny import CPU, SHAPES, lesion, normals, with_lesion
from torch import Tensor, nn

from anomaly.errors import AnomalyError
from anomaly.training.journal import Journal
from explain.counterfactuals import conditional
from explain.counterfactuals.conditional import Conditional

PUBLISHED = {"game": "wasserstein", "source": 20.0, "classes": 5.0}
CONTROLS, CASES = torch.full((2, 1, 4, 4), -0.5), torch.full((2, 1, 4, 4), 0.5)


class Adds(nn.Module):
    """Gives each output head one number everywhere: what to add to draw a control, and to draw a case."""

    def __init__(self, as_control: float, as_case: float, channels: int = 1) -> None:
        super().__init__()
        self.values = nn.Parameter(torch.tensor([as_control, as_case]).repeat_interleave(channels))

    def forward(self, x: Tensor) -> Tensor:
        return self.values.view(1, -1, *[1] * (x.ndim - 2)).expand(len(x), -1, *x.shape[2:])


class Judges(nn.Module):
    """Three numbers, each linear in the sum over the image: slope |w| sqrt(pixels) everywhere."""

    def __init__(self, *weights: float) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.tensor(weights))

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1).sum(1)[:, None] * self.weights


def by_hand(generator: nn.Module, critic: nn.Module | None = None, **settings: object) -> Conditional:
    explainer = Conditional(**settings)
    explainer.net_ = nn.ModuleDict({"generator": generator, "critic": critic or Judges(0.0, 0.0, 0.0)})
    return explainer


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


# The translation


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_each_image_gets_the_output_of_the_side_asked_for(shape):
    generator = Adds(-0.25, 0.125, channels=shape[0])
    x, side = normals(3, shape), torch.tensor([1, 0, 1])
    expected = x + torch.tensor([0.125, -0.25, 0.125]).view(-1, *[1] * len(shape))
    torch.testing.assert_close(by_hand(generator).translate(x, side), expected.clamp(-1, 1))
    direct = by_hand(generator, form="direct").translate(x, side)
    torch.testing.assert_close(direct[1], torch.full(shape, math.tanh(-0.25)))


def test_the_generator_is_told_the_side_by_constant_channels():
    seen = []

    class Listens(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(x)
            return x[:, :2]

    x = normals(2, (1, 5, 6))
    by_hand(Listens()).translate(x, torch.tensor([0, 1]))
    assert torch.equal(seen[0][:, :1], x)
    assert torch.equal(seen[0][0, 1:], torch.stack([torch.ones(5, 6), torch.zeros(5, 6)]))
    assert torch.equal(seen[0][1, 1:], torch.stack([torch.zeros(5, 6), torch.ones(5, 6)]))


def test_an_untrained_residual_generator_is_the_identity():
    explainer = Conditional(width=4, critic_width=4)
    explainer.make((1, 18, 20), CPU, 0)
    x = normals(4, (1, 18, 20))
    _, terms = explainer.generator_loss((x[:2], x[2:]))
    assert terms["cycle"].item() == terms["identity"].item() == 0
    explainer.form = "direct"
    _, terms = explainer.generator_loss((x[:2], x[2:]))
    assert terms["identity"].item() == pytest.approx(x.abs().mean().item(), rel=1e-5)


@pytest.mark.parametrize(("skips", "channels"), [(0, 8), (1, 4)])
def test_details_at_full_size_are_handed_across_if_asked(skips, channels):
    """Without the skip at full size nothing of one pixel passes but by the image that is added to."""
    generator = Conditional(width=4, critic_width=4, skips=skips).build((1, 32, 32))["generator"]
    assert (generator.join[-2][0].in_channels, generator.join[-1][0].in_channels) == (2 * 8, channels)
    assert generator.leave.out_channels == 2 and generator.enter[0].in_channels == 3


@pytest.mark.parametrize("older", [{"game": "logistic", "width": 16}, {"width": 16}])
def test_runs_of_before_hand_nothing_across_at_full_size_and_square_what_is_lost(older):
    completed = Conditional.completed(older)
    assert (completed["skips"], completed["lost"]) == (1, "squared")
    since = {"game": "logistic", "skips": 0, "lost": "absolute"}
    assert Conditional.completed(since) == since


# The losses


@pytest.mark.parametrize(
    ("game", "lost"), [("logistic", "absolute"), ("logistic", "squared"), ("wasserstein", "squared")]
)
def test_the_loss_of_the_generator_is_its_formula(game, lost):
    """As a control 0.25 less, as a case 0.125 more; D is the sum, as a case twice that, and the logit the sum."""
    explainer = by_hand(Adds(-0.25, 0.125), Judges(1.0, 2.0, 1.0), game=game, lost=lost, identity=3.0, cycle=7.0)
    loss, terms = explainer.generator_loss((CONTROLS, CASES))
    judged = [-0.75 * 16, 0.25 * 16, 2 * -0.375 * 16, 2 * 0.625 * 16]  # controls and cases as controls, then as cases
    against = sum(softplus(-each) if game == "logistic" else -each for each in judged) / 4
    assert terms["adversarial"].item() == pytest.approx(against)
    power = {"absolute": 1, "squared": 2}[lost]
    identity, cycle = (0.25**power + 0.125**power) / 2, 0.125**power  # either way 0.25 is taken and 0.125 given
    assert terms["identity"].item() == pytest.approx(identity)
    assert terms["cycle"].item() == pytest.approx(cycle)
    wanted = [softplus(-12), softplus(4), softplus(6), softplus(-10)]
    assert terms["wanted"].item() == pytest.approx(sum(wanted) / 4, rel=1e-5)
    expected = against + 3 * identity + 7 * cycle + sum(wanted) / 4
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_the_loss_of_a_logistic_critic_is_its_formula(monkeypatch):
    """Half way to the other side: controls at -0.4375 before the head of cases, cases at 0.375 before the other."""
    monkeypatch.setattr(conditional, "ways", lambda like: torch.full((len(like), 1, 1, 1), 0.5))
    explainer = by_hand(Adds(-0.25, 0.125), Judges(1.0, 2.0, 1.0), source=3.0, classes=7.0)
    loss, terms = explainer.critic_loss((CONTROLS, CASES))
    drawn, real = (2 * -0.4375 * 16, 0.375 * 16), (-0.5 * 16, 2 * 0.5 * 16)
    told = sum(softplus(each) for each in drawn) / 2 + sum(softplus(-each) for each in real) / 2
    assert terms["distance"].item() == pytest.approx(sum(real) / 2 - sum(drawn) / 2)
    assert loss.item() == pytest.approx(3 * told + 7 * softplus(-8), rel=1e-5)


def test_a_beginning_critic_tells_each_side_from_the_other():
    """Each head calls its own side real and the other drawn, whatever the generator does."""
    explainer = by_hand(Adds(-0.25, 0.125), Judges(1.0, 2.0, 1.0), source=3.0, classes=7.0)
    loss, terms = explainer.telling_loss((CONTROLS, CASES))
    other, own = (2 * -0.5 * 16, 0.5 * 16), (-0.5 * 16, 2 * 0.5 * 16)
    told = sum(softplus(each) for each in other) / 2 + sum(softplus(-each) for each in own) / 2
    assert terms["classes"].item() == pytest.approx(softplus(-8), rel=1e-3)
    assert loss.item() == pytest.approx(3 * told + 7 * softplus(-8), rel=1e-5)


def test_the_slope_of_each_source_head_is_taken_at_its_own_side():
    """|grad|^2 is 16 at controls and 4 * 16 at cases; a weight for each value, and for each of the moves."""
    explainer = by_hand(Adds(0.0, 0.0), Judges(1.0, 2.0, 1.0), source=3.0, slope=1e-3)
    assert explainer.slope_loss((CONTROLS, CASES), moves=8).item() == pytest.approx(
        8 * 3 * 1e-3 * 16 / 2 * (16 + 64) / 2
    )


def test_who_plays_which_game():
    explainer = by_hand(Adds(0.0, 0.0), Judges(1.0, 1.0, 1.0), warm_up=7, steps=9, ema=0.5)
    first, game = explainer.stages()
    assert [(stage.name, stage.steps) for stage in (first, game)] == [("critic", 7), ("game", 9)]
    assert [player.name for player in first.players] == ["critic", "slope"]
    assert [(p.name, p.every, p.ema) for p in game.players] == [
        ("critic", 1, 0), ("slope", 8, 0), ("generator", 1, 0.5)
    ]  # fmt: skip
    assert first.players[0].loss == explainer.telling_loss and game.players[0].loss == explainer.critic_loss
    (alone,) = by_hand(Adds(0.0, 0.0), game="wasserstein", critic_turns=5).stages()
    assert [(p.name, p.turns) for p in alone.players] == [("critic", 5), ("generator", 1)]


def test_the_loss_of_a_wasserstein_critic_is_its_formula():
    """Slopes of 4 and 8 everywhere; 20 (D(drawn) - D(real)) + 10 ((4 - 1)^2 + (8 - 1)^2) + 5 CE of the real."""
    explainer = by_hand(Adds(-0.25, 0.125), Judges(1.0, 2.0, 1.0), **PUBLISHED)
    loss, terms = explainer.critic_loss((CONTROLS, CASES))
    real = (-0.5 * 16 + 2 * 0.5 * 16) / 2
    drawn = (-0.75 * 16 + 0.25 * 16 + 2 * -0.375 * 16 + 2 * 0.625 * 16) / 4
    assert terms["distance"].item() == pytest.approx(real - drawn)
    assert terms["penalty"].item() == pytest.approx(9 + 49, rel=1e-5)
    assert terms["classes"].item() == pytest.approx(softplus(-8), rel=1e-3)
    assert loss.item() == pytest.approx(20 * (drawn - real) + 10 * 58 + 5 * softplus(-8), rel=1e-5)


def test_the_penalty_holds_for_each_image_by_itself():
    """Slope 1 where images are dark, 3 where they are bright: 0 and 4, where the mean slope of 2 gave 1 and 1."""

    class Bent(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            total = x.flatten(1).sum(1) / 4  # of slope 1
            return torch.where(x.flatten(1)[:, 0] > 0, 3 * total, total)[:, None].expand(-1, 3)

    explainer = by_hand(Adds(-1.0, 1.0), Bent(), form="direct", **PUBLISHED)  # controls are drawn dark, cases bright
    _, terms = explainer.critic_loss((CONTROLS, CASES))
    assert terms["penalty"].item() == pytest.approx(4, rel=1e-5)


def test_the_identity_and_the_way_back_cost_nothing_where_nothing_changes():
    _, terms = by_hand(Adds(0.0, 0.0)).generator_loss((CONTROLS, CASES))
    assert terms["identity"].item() == terms["cycle"].item() == 0


@pytest.mark.parametrize(
    ("weight", "term", "player"),
    [
        ("adversarial", "adversarial", "generator"),
        ("cycle", "cycle", "generator"),
        ("identity", "identity", "generator"),
        ("wanted", "wanted", "generator"),
        ("penalty", "penalty", "critic"),
        ("classes", "classes", "critic"),
    ],
)
def test_a_weight_is_the_weight_of_its_term(weight, term, player):
    losses = []
    for value in (2.0, 5.0):
        explainer = by_hand(Adds(-0.25, 0.125), Judges(1.0, 2.0, 1.0), **{**PUBLISHED, weight: value})
        loss, terms = getattr(explainer, f"{player}_loss")((CONTROLS, CASES))
        losses.append(loss.item())
    assert losses[1] - losses[0] == pytest.approx(3 * terms[term].item(), rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("game", ["logistic", "wasserstein"])
def test_curves_show_every_term(game, tmp_path):
    explainer = Conditional(game=game, steps=1, batch=2, width=4, critic_width=4, warm_up=1)
    explainer.fit(normals(4, (1, 8, 8)), normals(4, (1, 8, 8)), machine=CPU, journal=Journal(folder=tmp_path))
    curves = (tmp_path / "training.csv").read_text()
    for term in ("distance", "classes"):
        assert f"critic/{term}" in curves
    assert ("critic/penalty" in curves) == (game == "wasserstein")
    for term in ("adversarial", "cycle", "identity", "wanted"):
        assert f"generator/{term}" in curves


# What it finds


def test_the_map_lies_where_cases_differ():
    place, shape = lesion(SHAPES["2D"][1:]), SHAPES["2D"]
    controls, cases = normals(60, shape, 1), with_lesion(normals(60, shape, 2))
    explainer = Conditional(steps=60, batch=6, width=4, critic_width=4, lr=5e-3, warm_up=30)
    explainer.fit(controls, cases, machine=CPU)
    explanation = explainer.explain(with_lesion(normals(12, shape, 3)))
    map, where = explanation.map, place.expand_as(explanation.map)
    assert map[where].mean() > 4 * map[~where].abs().mean()
    assert explanation.diagnostics["after"].mean() < explanation.diagnostics["before"].mean()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"form": "mask"}, "form=mask is unknown; take one of residual, direct"),
        ({"game": "hinge"}, "game=hinge is unknown; take one of logistic, wasserstein"),
        ({"norm": "layer"}, "norm=layer is unknown; take one of batch, instance, group, none"),
        ({"decay": 1.0}, "decay must be below 1, got 1.0"),
        ({"cycle": -1.0}, "cycle must be 0 or more"),
        ({"skips": -1}, "skips must be 0 or more"),
        ({"skips": 4}, "skips must be 0 to 3, one for each size, got 4"),
        ({"lost": "l1"}, "lost=l1 is unknown; take one of absolute, squared"),
    ],
)
def test_wrong_settings_are_told(settings, message):
    with pytest.raises(AnomalyError, match=message):
        Conditional(**settings)
