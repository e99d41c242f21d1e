"""What adding and deforming have in common: both games worked by hand, and older files of settings."""

import math

import pytest
import torch
from tiny import CPU, normals
from torch import Tensor, nn

from anomaly.errors import AnomalyError
from anomaly.nets.fields import warp
from explain.counterfactuals import criticised
from explain.counterfactuals.additive import Additive
from explain.counterfactuals.conditional import Conditional
from explain.counterfactuals.criticised import CriticisedExplainer, jittered, steepness, telling, ways
from explain.counterfactuals.deformation import Deformation

CONTROLS, CASES = torch.full((2, 1, 4, 4), -0.5), torch.full((3, 1, 4, 4), 0.5)


class Draws(nn.Module):
    """The same for every image."""

    def __init__(self, drawn: Tensor) -> None:
        super().__init__()
        self.drawn = nn.Parameter(drawn)

    def forward(self, x: Tensor) -> Tensor:
        return self.drawn.expand(len(x), *[-1] * self.drawn.ndim)


class Judges(nn.Module):
    """An eighth of the sum over the image: of 16 pixels, a slope of a half everywhere."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1).sum(1) / 8


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


def additive(**settings: object) -> Additive:
    """Takes 0.25 away everywhere, so that D is 1 of cases, 0.5 of counterfactuals and -1 of controls."""
    explainer = Additive(**settings)  # type: ignore[arg-type]
    explainer.net_ = nn.ModuleDict({"generator": Draws(torch.full((1, 4, 4), -0.25)), "critic": Judges()})
    return explainer


def deforming(drawn: Tensor, **settings: object) -> Deformation:
    """An output of 1 is a tenth of the smallest side, and taken as the field itself."""
    explainer = Deformation(reach=0.1, diffeomorphic=False, **settings)  # type: ignore[arg-type]
    explainer.net_ = nn.ModuleDict({"generator": Draws(drawn), "critic": Judges()})
    return explainer


@pytest.fixture
def half(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every image is shown half way."""
    monkeypatch.setattr(criticised, "ways", lambda like: torch.full((len(like), *[1] * (like.ndim - 1)), 0.5))


# The logistic game


def test_a_logistic_critic_lowers_its_formula(half: None) -> None:
    """Half way, D is 0.75 of cases and -1 of controls: softplus(0.75) + softplus(1)."""
    loss, terms = additive().critic_loss((CONTROLS[:1].repeat(3, 1, 1, 1), CASES))
    assert loss.item() == pytest.approx(softplus(0.75) + softplus(1), rel=1e-6)
    assert terms["distance"].item() == pytest.approx(-1.75)


def test_a_beginning_critic_tells_cases_from_controls() -> None:
    """The generator plays no part: softplus(1) + softplus(1)."""
    loss, _ = additive().telling_loss((CONTROLS, CASES[:2]))
    assert loss.item() == pytest.approx(2 * softplus(1), rel=1e-6)


@pytest.mark.parametrize("shape", [(1, 4, 4), (2, 3, 5), (1, 3, 4, 2)])
def test_the_slope_of_a_linear_critic_is_known(shape: tuple[int, ...]) -> None:
    """|grad D|^2 = values / 64 at every image; halved, and a weight for each value."""
    values = math.prod(shape)
    steep = steepness(Judges(), normals(3, shape), slope=0.01)
    assert steep.item() == pytest.approx(0.01 * values / 2 * values / 64, rel=1e-5)


def test_the_slope_counts_for_all_moves_that_it_is_looked_at_once_in() -> None:
    """Once in eight steps: in each of these a critic of three turns moves three times, at first once."""
    first, game = additive(slope=0.01, critic_turns=3).stages()
    counted = [stage.players[1].loss((CONTROLS, CASES)).item() for stage in (first, game)]
    assert counted == pytest.approx([moves * 0.01 * 16 / 2 * 16 / 64 for moves in (8, 24)])


def test_the_slope_moves_the_critic() -> None:
    """R1 of the critic w sum(x) is slope pixels^2 w^2 / 2, whose derivative is slope pixels^2 w."""
    weight = torch.tensor(0.5, requires_grad=True)
    steepness(lambda x: weight * x.flatten(1).sum(1), CONTROLS, slope=0.01).backward()
    assert weight.grad is not None and weight.grad.item() == pytest.approx(0.01 * 16 * 16 * 0.5)


def test_telling_is_two_cross_entropies() -> None:
    fake, real = torch.tensor([1.0, -2.0]), torch.tensor([3.0])
    expected = (softplus(1) + softplus(-2)) / 2 + softplus(-3)
    assert telling(fake, real).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("game", ["logistic", "wasserstein"])
def test_the_generator_lowers_its_formula(game: str) -> None:
    """A change of 0.25 costs 2 * 0.25 in cases and 10 * 0.25 in controls; D of counterfactuals is 0.5."""
    against = softplus(-0.5) if game == "logistic" else -0.5
    loss, terms = additive(game=game, sparsity=2.0, identity=10.0).generator_loss((CONTROLS, CASES))
    assert terms["cost"].item() == pytest.approx(0.5) and terms["identity"].item() == pytest.approx(2.5)
    assert loss.item() == pytest.approx(against + 0.5 + 2.5, rel=1e-6)
    loss, terms = additive(game=game, sparsity=2.0, identity=0.0).generator_loss((CONTROLS, CASES))
    assert set(terms) == {"cost"} and loss.item() == pytest.approx(against + 0.5, rel=1e-6)


def test_half_of_the_images_are_shown_on_the_first_half_of_their_way() -> None:
    torch.manual_seed(0)
    share = ways(torch.zeros(4000, 2, 3, 3, 1))
    assert share.shape == (4000, 1, 1, 1, 1) and share.min() >= 0 and share.max() == 1
    assert (share < 1).float().mean().item() == pytest.approx(0.5, abs=0.03)
    assert share[share < 1].max() <= 0.5 and share[share < 1].mean().item() == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize("space", [(5, 4), (3, 4, 5)])
def test_each_image_is_shown_with_a_contrast_and_a_brightness_of_its_own(space: tuple[int, ...]) -> None:
    """x exp(u) + v: what 0 becomes is v, and how far 1 lies from that is exp(u)."""
    torch.manual_seed(0)
    x = normals(500, (2, *space))
    x[:, 0].flatten(1)[:, :2] = torch.tensor([0.0, 1.0])
    shown = jittered(x, 0.5)
    zero, one = shown[:, 0].flatten(1)[:, :2].unbind(1)
    gain, shift = one - zero, zero
    assert torch.allclose(shown, torch.einsum("n...,n->n...", x, gain) + shift.view(-1, *[1] * (x.ndim - 1)), atol=1e-5)
    for drawn in (gain.log(), shift):
        assert -0.5 <= drawn.min() < -0.45 and 0.45 < drawn.max() <= 0.5 and abs(drawn.mean().item()) < 0.05
    assert abs(torch.corrcoef(torch.stack([gain, shift]))[0, 1].item()) < 0.15


def test_a_critic_that_begins_sees_images_as_they_are() -> None:
    """Later it is shown them jittered, and so is its slope: that of the image times exp(u)."""
    torch.manual_seed(0)
    explainer = additive(jitter=1.0, slope=0.01)
    first, game = explainer.stages()
    plain = 8 * 0.01 * 16 / 2 * 16 / 64
    assert first.players[1].loss((CONTROLS, CASES)).item() == pytest.approx(plain)
    assert explainer.telling_loss((CONTROLS, CASES[:2]))[0].item() == pytest.approx(2 * softplus(1), rel=1e-6)
    assert game.players[1].loss((CONTROLS, CASES)).item() != pytest.approx(plain, rel=0.01)
    of_alike = explainer.criticise(CONTROLS)
    assert of_alike[0].item() != pytest.approx(of_alike[1].item(), rel=0.01)


# The published game


def test_a_wasserstein_critic_lowers_its_formula() -> None:
    """D(x1') - D(x0) + 10 (0.5 - 1)^2: 0.5 + 1 + 2.5."""
    loss, terms = additive(game="wasserstein").critic_loss((CONTROLS, CASES[:2]))
    assert terms["distance"].item() == pytest.approx(-1.5) and terms["penalty"].item() == pytest.approx(0.25)
    assert loss.item() == pytest.approx(0.5 + 1 + 10 * 0.25, rel=1e-5)


def test_who_plays_which_game() -> None:
    first, game = additive(warm_up=7, steps=9, lr=0.1).stages()
    assert [(stage.name, stage.steps) for stage in (first, game)] == [("critic", 7), ("game", 9)]
    assert [(p.name, p.every, p.ema) for p in game.players] == [
        ("critic", 1, 0), ("slope", 8, 0), ("generator", 1, 0.99)
    ]  # fmt: skip
    assert adams(first.players) == [(0.1, (0.9, 0.99)), None]
    assert adams(game.players) == [(0.05, (0.0, 0.99)), None, (0.1, (0.0, 0.99))]
    first, game = additive(game="wasserstein", critic_turns=5, warm_up=7, steps=9, lr=0.1).stages()
    assert [(p.name, p.turns) for p in (*first.players, *game.players)] == [
        ("critic", 1), ("critic", 5), ("generator", 1)
    ]  # fmt: skip
    assert adams((*first.players, *game.players)) == [(0.1, (0.0, 0.9))] * 3
    (alone,) = additive(warm_up=0, slope=0.0, steps=9).stages()
    assert [p.name for p in alone.players] == ["critic", "generator"]


def adams(players: object) -> list[object]:
    """Rate and momenta of each player that has an optimiser of its own."""
    weight = nn.Parameter(torch.zeros(1))
    found: list[object] = []
    for player in players:  # type: ignore[attr-defined]
        group = None if player.shares else player.optimiser([weight]).param_groups[0]
        found.append(group and (pytest.approx(group["lr"]), group["betas"]))
    return found


# On the way


def test_on_the_way_of_adding_lies_what_is_added_in_part() -> None:
    share = torch.tensor([0.0, 0.5, 1.0]).view(3, 1, 1, 1)
    way = additive().on_the_way(CASES, share)
    assert way.flatten(1).mean(1).tolist() == pytest.approx([0.5, 0.375, 0.25])


@pytest.mark.parametrize("space", [(20, 24), (20, 21, 22)])
def test_on_the_way_of_deforming_things_have_moved_in_part(space: tuple[int, ...]) -> None:
    """All the way four pixels along the first axis, half way two, and no way nothing at all."""
    drawn = torch.zeros(len(space), *space)
    drawn[0] = 2.0
    explainer, x = deforming(drawn), normals(3, (1, *space))
    share = torch.tensor([0.0, 0.5, 1.0]).view(3, *[1] * (len(space) + 1))
    way = explainer.on_the_way(x, share)
    torch.testing.assert_close(way[0], x[0], rtol=0, atol=1e-6)
    torch.testing.assert_close(way[1, :, :-2], x[1, :, 2:], rtol=0, atol=1e-5)
    torch.testing.assert_close(way[2, :, :-4], x[2, :, 4:], rtol=0, atol=1e-5)
    torch.testing.assert_close(way[2:], explainer.moves(x[2:])[0])


def test_a_field_costs_how_much_it_bends() -> None:
    """phi = a i^2 along the first axis has a second difference of 2 a, and a shift none."""
    bent = torch.zeros(2, 20, 20)
    bent[0] = 0.05 * torch.arange(20.0).square()[:, None]  # times reach and side, 2 pixels: a = 0.1
    explainer, x = deforming(bent, cost="bending", smoothness=3.0), normals(2, (1, 20, 20))
    moved, cost = explainer.moves(x)
    assert cost.tolist() == pytest.approx([3 * 0.2**2] * 2, rel=1e-4)
    torch.testing.assert_close(moved, warp(x, 2 * bent.expand(2, -1, -1, -1)))
    assert deforming(torch.ones(2, 20, 20), cost="bending").moves(x)[1].tolist() == pytest.approx([0, 0], abs=1e-6)


# Settings


@pytest.mark.parametrize(
    ("cls", "shape", "count", "steps", "batch"),
    [
        (Additive, (1, 64, 64), 100, 600, 16),
        (Additive, (1, 64, 64), 11, 600, 8),
        (Deformation, (1, 32, 32, 32), 100, 400, 4),
        (Conditional, (3, 64, 64), 5, 1000, 4),
        (Conditional, (1, 32, 32, 8), 1, 500, 2),
    ],
)
def test_amounts_follow_from_the_images(cls: type, shape: tuple[int, ...], count: int, steps: int, batch: int) -> None:
    explainer = cls()
    explainer.fill_in(shape, count)
    assert (explainer.steps, explainer.batch) == (steps, batch)
    explainer = cls(steps=7, batch=3)
    explainer.fill_in(shape, count)
    assert (explainer.steps, explainer.batch) == (7, 3)


def test_fitting_fills_in_what_nobody_set() -> None:
    explainer = Additive(steps=1, width=2, critic_width=2, warm_up=0)
    x = normals(7, (1, 8, 8))
    assert explainer.fit(x, x[:5], machine=CPU).settings()["batch"] == 4  # 16, 8, 4: at most 5 cases


@pytest.mark.parametrize("cls", [Additive, Deformation, Conditional])
def test_settings_of_before_there_were_two_games_are_those_of_the_wasserstein_game(cls: type) -> None:
    older = {"steps": 1000, "critic_turns": 5, "width": 16}
    completed = cls.completed(older)
    assert completed.items() >= older.items() and cls(**completed).game == "wasserstein"
    since = {
        **older,
        "game": "logistic",
        **({"skips": 0, "lost": "absolute"} if cls is Conditional else {"jitter": 0.5}),
    }
    assert cls.completed(since) == since


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"game": "hinge"}, "game=hinge is unknown; take one of logistic, wasserstein"),
        ({"slope": -1.0}, "slope must be 0 or more"),
        ({"identity": -1.0}, "identity must be 0 or more"),
        ({"batch": -1}, "batch must be positive"),
        ({"ema": 1.0}, "ema must be below 1"),
    ],
)
def test_wrong_settings_are_told(settings: dict[str, object], message: str) -> None:
    for cls in (Additive, Deformation):
        with pytest.raises(AnomalyError, match=message):
            cls(**settings)


def test_a_method_that_says_not_how_it_moves_is_told() -> None:
    with pytest.raises(NotImplementedError, match=r"Bare writes moves\(x\)"):
        type("Bare", (CriticisedExplainer,), {"build": None, "name": "bare"})().moves(CASES)
