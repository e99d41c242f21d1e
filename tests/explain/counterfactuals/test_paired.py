"""Generators that learn from pairs: modes, losses by hand, the game they play, draws, and whether lesions are found."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anomaly.errors import AnomalyError
from anomaly.nets.losses import gaussian_blur
from anomaly.training.machine import Machine
from explain.counterfactuals.paired import MODES, Paired, possible_halvings
from explain.counterfactuals.paired_losses import (
    PatchContrast,
    at,
    contrast,
    feature_distance,
    gram,
    judgement,
    style_distance,
)
from explain.counterfactuals.paired_recipes import MedGAN, Pix2Pix, RedCNN

CPU = Machine(device="cpu")
SHAPES = {"2D": (1, 18, 20), "3D": (1, 10, 12, 9)}
TINY = {"width": 4, "critic_width": 4, "batch": 4, "steps": 3}
shaped = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


def images(n: int, shape: tuple[int, ...], seed: int = 0) -> Tensor:
    noise = torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed))
    return (gaussian_blur(noise, 2.0) - 0.4).clamp(-0.9, 0.2)


def built(shape: tuple[int, ...] = (1, 18, 20), cls: type[Paired] = Paired, **settings: object) -> Paired:
    explainer = cls(**{**TINY, **settings})
    explainer.make(shape, CPU, seed=0)
    return explainer


class Constant(nn.Module):
    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))

    def forward(self, x: Tensor) -> Tensor:
        return self.value.expand_as(x)


class Telling(nn.Module):
    def features(self, x: Tensor) -> list[Tensor]:
        return [2 * x]

    def head(self, x: Tensor) -> Tensor:
        return 3 * x

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x)[-1])


def by_hand(m: float, **settings: object) -> Paired:
    """A generator that draws x + m, before a critic of logits 6 y."""
    explainer = built((1, 4, 4), mode="residual", **settings)
    explainer.net_["generator"] = Constant(m)
    explainer.net_["critic"] = Telling()
    return explainer


def test_mask_takes_all_intensity_or_leaves_it() -> None:
    x = images(2, (1, 6, 6))
    torch.testing.assert_close(MODES["mask"](x, torch.zeros_like(x)), x)
    assert torch.equal(MODES["mask"](x, torch.full_like(x, -1e4)), torch.full_like(x, -1.0))
    most = MODES["mask"](x, torch.full_like(x, 1e4))
    torch.testing.assert_close((most + 1) / (x + 1), torch.full_like(x, 1 + math.exp(-2)))
    # sigmoid(0) is half, and 1 stands for sigmoid(2)
    half = MODES["mask"](x, torch.full_like(x, -2.0))
    torch.testing.assert_close((half + 1) / (x + 1), torch.full_like(x, 0.5 * (1 + math.exp(-2))))


@shaped
@pytest.mark.parametrize("mode", ["mask", "residual"])
@pytest.mark.parametrize("network", ["unet", "pix2pix", "medgan", "redcnn"])
def test_training_begins_at_the_image_itself(shape: tuple[int, ...], mode: str, network: str) -> None:
    x, explainer = images(2, shape), built(shape, mode=mode, network=network, blocks=2)
    torch.testing.assert_close(explainer.translate(x), x)


def test_what_is_shown_stays_in_the_range_of_images() -> None:
    x, explainer = images(2, (1, 4, 4)), by_hand(5.0)
    explainer.net_.eval()
    found = explainer.explain(x)
    assert torch.equal(found.counterfactual, torch.ones_like(x)) and found.spread is None
    assert explainer.translate(x).max() > 4


def test_judgement_is_the_cross_entropy() -> None:
    logits = torch.tensor([[0.0, 0.0], [2.0, -1.0]]).view(2, 1, 1, 2)
    for real in (True, False):
        expected = F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(real)), reduction="none")
        torch.testing.assert_close(judgement(logits, real), expected.flatten(1).mean(1))
    assert judgement(logits, True)[0].item() == pytest.approx(math.log(2))


def test_gram_matrix_by_hand() -> None:
    features = torch.tensor([[1.0, 2.0, 0.0, 3.0], [0.0, 1.0, 4.0, -1.0]]).view(1, 2, 2, 2)
    assert torch.equal(gram(features), torch.tensor([[[14.0, -1.0], [-1.0, 18.0]]]) / 4)
    # against nothing: 14^2 + 1 + 1 + 18^2 over 4^2, over 4 C^2 = 16
    style = style_distance([features], [torch.zeros_like(features)])
    assert style.item() == pytest.approx((196 + 2 + 324) / 16 / 16)
    assert style_distance([features], [features.flip(2, 3)]).item() == 0.0


def test_feature_distance_sums_the_layers() -> None:
    first = [torch.ones(2, 3, 4, 4), torch.zeros(2, 5, 2, 2)]
    second = [torch.zeros(2, 3, 4, 4), torch.tensor([1.0, 3.0]).view(2, 1, 1, 1).expand(2, 5, 2, 2)]
    assert feature_distance(first, second).tolist() == [2.0, 4.0]


def test_contrast_in_closed_form() -> None:
    apart = torch.eye(8).expand(3, 8, 8)  # places that have nothing in common
    found = math.log(math.exp(1 / 0.07) + 7) - 1 / 0.07
    torch.testing.assert_close(contrast(apart, apart), torch.full((3,), found), atol=1e-6, rtol=0)
    alike = F.normalize(torch.ones(3, 8, 5), dim=2)
    torch.testing.assert_close(contrast(alike, alike), torch.full((3,), math.log(8)))
    swapped = contrast(apart, apart.flip(1))
    torch.testing.assert_close(swapped, torch.full((3,), math.log(math.exp(1 / 0.07) + 7)))


def test_contrast_moves_the_queries_alone() -> None:
    queries, keys = (F.normalize(torch.randn(2, 6, 4), dim=2).requires_grad_() for _ in range(2))
    contrast(queries, keys).sum().backward()
    assert queries.grad is not None and keys.grad is None


@shaped
def test_patches_are_compared_at_the_same_places(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    heads = PatchContrast([3, 5])
    layers = [torch.randn(2, 3, *shape[1:]), torch.randn(2, 5, *[side // 2 for side in shape[1:]])]
    same, other = heads(layers, layers), heads(layers, [torch.randn_like(each) for each in layers])
    assert same.shape == (2,) and (same < other).all()
    values = torch.arange(24.0).view(2, 3, 2, 2)
    assert at(values, torch.tensor([3, 0])).tolist() == [[[3, 7, 11], [0, 4, 8]], [[15, 19, 23], [12, 16, 20]]]


def test_generator_loss_by_hand() -> None:
    weights = {"l1": 7.0, "l2": 11.0, "identity": 13.0, "adversarial": 17.0, "feature": 19.0, "style": 23.0}
    cases, counterparts = torch.full((2, 1, 4, 4), 0.5), torch.full((2, 1, 4, 4), -0.25)
    loss, terms = by_hand(0.25, **weights).generator_loss((counterparts, cases))
    expected = {
        "l1": 1.0,  # 0.5 + 0.25 against -0.25
        "l2": 1.0,
        "identity": 0.25,
        "adversarial": math.log1p(math.exp(-6 * 0.75)),
        "feature": 2.0,
        "style": (1.5**2 - 0.5**2) ** 2 / 4,
    }
    assert {name: term.item() for name, term in terms.items()} == pytest.approx(expected)
    assert loss.item() == pytest.approx(sum(weights[name] * value for name, value in expected.items()))


def test_terms_without_weight_are_left_out() -> None:
    batch = torch.zeros(2, 1, 4, 4), torch.full((2, 1, 4, 4), 0.5)
    loss, terms = by_hand(0.0, identity=0, adversarial=0).generator_loss(batch)
    assert list(terms) == ["l1"] and loss.item() == pytest.approx(50)


@pytest.mark.parametrize("conditional", [False, True])
def test_critic_loss_by_hand(conditional: bool) -> None:
    explainer = by_hand(0.25, conditional=conditional)
    cases, counterparts = torch.full((2, 1, 4, 4), 0.5), torch.full((2, 1, 4, 4), -0.25)
    loss, terms = explainer.critic_loss((counterparts, cases))
    beside = [0.5] if conditional else []
    drawn = sum(math.log1p(math.exp(6 * y)) for y in [*beside, 0.75]) / (1 + len(beside))
    real = sum(math.log1p(math.exp(-6 * y)) for y in [*beside, -0.25]) / (1 + len(beside))
    assert {name: term.item() for name, term in terms.items()} == pytest.approx({"real": real, "drawn": drawn})
    assert loss.item() == pytest.approx((drawn + real) / 2)


def test_rate_falls_in_the_second_half() -> None:
    assert [Paired().falling(done) for done in (0.0, 0.3, 0.5, 0.75, 0.99)] == pytest.approx([1, 1, 1, 0.5, 0.02])


def test_who_plays() -> None:
    (both,) = built().stages()
    assert [player.name for player in both.players] == ["critic", "generator"]
    assert all(player.schedule(0.75) == 0.5 for player in both.players)
    (alone,) = built(adversarial=0).stages()
    assert [player.name for player in alone.players] == ["generator"] and "critic" not in alone.players[0].owns
    assert "critic" in built(adversarial=0, style=1.0).net_
    contrasted = built(contrastive=1.0)
    owned = {id(p) for p in contrasted.stages()[0].players[-1].parameters()}
    assert {id(p) for p in contrasted.net_["contrast"].parameters()} <= owned


def test_optimiser_is_that_of_the_paper() -> None:
    player = built().stages()[0].players[0]
    (group,) = player.optimiser(player.parameters()).param_groups
    assert (group["lr"], group["betas"]) == (2e-4, (0.5, 0.999))


@pytest.mark.parametrize(("side", "halved"), [(3, 0), (5, 0), (6, 1), (12, 2), (23, 2), (24, 3), (256, 6)])
def test_patch_critic_fits_the_image(side: int, halved: int) -> None:
    assert possible_halvings((side, 300)) == halved
    explainer = built((1, side, side + 1))
    assert explainer.net_["critic"](torch.zeros(2, 1, side, side + 1)).numel() > 0


@shaped
@pytest.mark.parametrize(
    "settings",
    [
        {"contrastive": 1.0, "feature": 1.0, "style": 1.0, "conditional": True, "network": "pix2pix"},
        {"contrastive": 1.0, "adversarial": 0.0, "network": "redcnn", "mode": "direct"},
        {"contrastive": 1.0, "mode": "residual", "draws": 1},
        {"contrastive": 1.0, "network": "medgan", "blocks": 2, "mode": "mask"},
    ],
    ids=lambda settings: settings.get("network", "unet"),
)
def test_all_choices_train(shape: tuple[int, ...], settings: dict) -> None:
    x = images(6, shape)
    explainer = Paired(**{**TINY, **settings}).fit(x, x + 0.5, machine=CPU)
    found = explainer.explain(x)
    assert found.map.isfinite().all() and found.map.abs().max() > 0
    assert (found.spread is None) == (settings.get("draws") == 1 or settings.get("network") == "redcnn")


@shaped
def test_draws_are_the_same_alone_and_in_a_batch(shape: tuple[int, ...]) -> None:
    x = images(5, shape, seed=3)
    explainer = Paired(**{**TINY, "lr": 1e-2, "draws": 3}).fit(x, x + 0.5, machine=CPU)
    together, alone = explainer.explain(x, seed=4), explainer.explain(x[3:4], seed=4)
    torch.testing.assert_close(together.map[3:4], alone.map, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(together.spread[3:4], alone.spread, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(together.diagnostics["spread"], together.spread.flatten(1).mean(1))
    assert not torch.equal(explainer.explain(x, seed=5).map, together.map)


def test_large_batches_are_drawn_in_parts_with_the_same_dropout() -> None:
    x = images(70, (1, 8, 8), seed=3)  # 64 go through the network at once
    explainer = Paired(**{**TINY, "lr": 1e-2, "draws": 2}).fit(x, x + 0.5, machine=CPU)
    twins = x.clone()
    twins[69] = twins[0]
    found = explainer.explain(twins)
    torch.testing.assert_close(found.map[69], found.map[0], rtol=1e-4, atol=1e-5)


def test_mean_and_spread_are_those_of_the_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    explainer, x = built((2, 4, 4), draws=3, mode="residual"), torch.zeros(1, 2, 4, 4)
    given = iter([torch.full_like(x, value) for value in (0.1, 0.2, 0.6)])
    monkeypatch.setattr(Paired, "translate", lambda self, x: next(given))
    found = explainer.explain(x)
    torch.testing.assert_close(found.counterfactual, torch.full_like(x, 0.3))
    torch.testing.assert_close(found.map, torch.full((1, 1, 4, 4), -0.3))
    torch.testing.assert_close(found.spread, torch.full((1, 1, 4, 4), math.sqrt(0.07)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"network": "resnet"}, "network=resnet is unknown; take one of unet, pix2pix, medgan, redcnn"),
        ({"mode": "add"}, "mode=add is unknown; take one of mask, residual, direct"),
        ({"dropout": 1.0}, "dropout must be below 1, got 1.0"),
        ({"l1": 0, "adversarial": 0}, "nothing to learn by; give one of l1, l2, adversarial, feature, style"),
    ],
)
def test_wrong_settings_are_told(settings: dict, message: str) -> None:
    with pytest.raises(AnomalyError, match=message):
        Paired(**settings)


def test_images_too_thin_for_the_critic_are_told() -> None:
    with pytest.raises(AnomalyError, match=r"\(9, 8, 2\) pixels are too thin for a critic.*weight of 0"):
        built((1, 9, 8, 2))
    x = images(2, (1, 9, 8, 2))
    torch.testing.assert_close(built((1, 9, 8, 2), adversarial=0).translate(x), x)


def test_recipes() -> None:
    assert (Pix2Pix().network, Pix2Pix().mode, Pix2Pix().conditional, Pix2Pix().batch) == ("pix2pix", "direct", True, 1)
    assert (MedGAN().network, MedGAN().feature > 0, MedGAN().style > 0) == ("medgan", True, True)
    assert (RedCNN().network, RedCNN().mode, RedCNN().contested, RedCNN().width) == ("redcnn", "residual", False, 96)
    batch = (torch.zeros(2, 1, 18, 20),) * 2
    assert list(built(cls=RedCNN).generator_loss(batch)[1]) == ["l2"]


def with_box(x: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Images with a bright box of a third of each side somewhere, and where it is."""
    random, place = torch.Generator().manual_seed(seed), torch.zeros_like(x, dtype=torch.bool)
    for k in range(len(x)):
        corner = [int(torch.randint(side - side // 3, (), generator=random)) for side in x.shape[2:]]
        place[(k, 0, *(slice(a, a + side // 3) for a, side in zip(corner, x.shape[2:], strict=True)))] = True
    return torch.where(place, x + 0.7, x), place


@pytest.mark.parametrize(("space", "mode", "steps"), [("2D", "mask", 60), ("2D", "residual", 60), ("3D", "mask", 40)])
def test_what_cases_have_and_counterparts_lack_is_found(space: str, mode: str, steps: int) -> None:
    healthy, new = images(64, SHAPES[space], seed=1), images(16, SHAPES[space], seed=5)
    explainer = Paired(mode=mode, width=4, critic_width=4, batch=8, steps=steps, lr=1e-2, dropout=0.2, draws=4)
    explainer.fit(healthy, with_box(healthy, seed=2)[0], machine=CPU)
    cases, place = with_box(new, seed=6)
    found = explainer.explain(cases)
    assert found.map[place].clamp_min(0).sum() > 0.9 * found.map.clamp_min(0).sum()
    assert (found.counterfactual - new).abs().mean() < 0.5 * (cases - new).abs().mean()
    assert explainer.explain(new).map.abs().mean() < 0.05 * found.map.abs().mean()
