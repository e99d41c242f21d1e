"""Walks through codes of linear generators, where direction, length and map are known in closed form."""

import dataclasses
import logging
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from latents import Linear
from tiny import CPU, tiny
from tiny import SHAPES as TINY_SHAPES
from torch import Tensor

from anomaly.errors import AnomalyError, RunError
from explain.latent.base import spearman
from explain.latent.generator import in_layers, new_codes
from explain.latent.projection import projected
from explain.latent.search import first_stop
from explain.latent.walk import DIRECTIONS, LatentWalk
from explain.runs.asked import warn_of_known
from explain.runs.given import GeneratorRun

SHAPES = {"2D": (1, 9, 8), "two channels": (2, 7, 6), "3D": (1, 5, 6, 4)}
ALONG = torch.tensor([1.0, 0.5, -0.5, 0.0])
"""The slope of the target in the codes of `Linear`, but for a factor."""
shaped = pytest.mark.parametrize("space", SHAPES)
directed = pytest.mark.parametrize("direction", DIRECTIONS)


def reading(generator: Linear, along: Tensor = ALONG, bias: float = 0.0):
    """A linear target of images that is bias + along w for a drawn one, and 0 for what the generator cannot draw."""
    weights = torch.linalg.pinv(generator.matrix).T @ along
    return lambda x: bias + (x - generator.mean).flatten(1) @ weights


def off_span(generator: Linear, n: int, seed: int = 5) -> Tensor:
    """Details (n, C, *space) that the generator cannot draw."""
    details = 0.1 * torch.randn(n, len(generator.matrix), generator=torch.Generator().manual_seed(seed))
    drawn = details @ torch.linalg.pinv(generator.matrix).T @ generator.matrix.T
    return (details - drawn).view(-1, *generator.shape_)


def faint(generator: Linear, n: int = 12, seed: int = 1) -> Tensor:
    """Codes (n, 4) of people."""
    return 0.5 * torch.randn(n, generator.latent, generator=torch.Generator().manual_seed(seed))


def walking(
    generator: Linear, target=None, *, nuisance=None, threshold: float = 0.0, scale=1.0, **settings
) -> LatentWalk:
    """A walk learned from images with details of their own."""
    people = generator.decode(faint(generator, 40)) + off_span(generator, 40)
    settings = {"samples": 1000, "direction": "ridge", **settings}
    explainer = LatentWalk(target=target or reading(generator), generator=generator, **settings)
    explainer.threshold, explainer.scale = threshold, scale
    return explainer.fit(people[:20], people[20:], machine=CPU, nuisance=nuisance)


def logit(p: float) -> float:
    return float(np.log(p / (1 - p)))


# In closed form


@shaped
@directed
def test_direction_length_and_map_are_those_of_a_linear_world(space, direction):
    """f = b w and x = A w: u = b / |b|, a = (wanted - f) / |b|, and the map is -a A u."""
    generator = Linear(SHAPES[space])
    explainer = walking(generator, direction=direction, probability=0.2)
    unit = ALONG / ALONG.norm()
    if direction != "path":
        assert torch.dot(explainer.net_.direction, unit) > 0.99
    w = faint(generator)
    w[:4] -= 3 * ALONG
    x = generator.decode(w)
    explanation = explainer.explain(x)
    a = (logit(0.2) - w @ ALONG) / ALONG.norm()
    a = torch.where(a < 0, a, torch.zeros_like(a))
    assert 0 < (a == 0).sum() < len(a)
    close = {"rtol": 0.03, "atol": 0.03} if direction in ("logistic", "svm") else {"rtol": 1e-3, "atol": 1e-4}
    spread = 1.0 if direction == "path" else explainer.net_.spread
    torch.testing.assert_close(explanation.diagnostics["steps"] * spread, a, rtol=0.05, atol=0.01)
    if direction != "path":
        torch.testing.assert_close(explanation.diagnostics["steps"] * explainer.net_.spread, a, **close)
    changed = (-a[:, None] * unit @ generator.matrix.T).view(-1, *generator.shape_)
    torch.testing.assert_close(explanation.map, changed.mean(1, keepdim=True), **close)
    torch.testing.assert_close(explanation.counterfactual, x - changed, **close)
    after = torch.where(a < 0, torch.full_like(a, logit(0.2)), w @ ALONG)
    torch.testing.assert_close(explanation.diagnostics["after"], after, rtol=1e-3, atol=1e-3)
    assert (explanation.diagnostics["reached"] == 1).all() and (explanation.diagnostics["monotone"] == 1).all()


def test_codes_of_unequal_spread_are_walked_in_their_own_standard_deviations():
    generator = Linear(SHAPES["2D"], wide=4.0)
    explainer = walking(generator, samples=4000)
    spreads = torch.linspace(1, 4, 4)
    unit = ALONG / ALONG.norm()
    assert explainer.net_.spread.item() == pytest.approx(float((unit * spreads).norm()), rel=0.05)
    path = walking(generator, samples=4000, direction="path")
    x = generator.decode(faint(generator))
    straight, turning = (each.explain(x) for each in (explainer, path))
    torch.testing.assert_close(turning.map, straight.map, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(turning.diagnostics["steps"], straight.diagnostics["steps"], rtol=0.05, atol=1e-3)


@directed
def test_a_path_of_a_linear_target_is_the_line(direction):
    generator = Linear(SHAPES["2D"])
    x = generator.decode(faint(generator))
    line = walking(generator, direction="gradient").explain(x)
    other = walking(generator, direction=direction).explain(x)
    torch.testing.assert_close(other.map, line.map, rtol=0.05, atol=0.02)
    if direction == "path":
        torch.testing.assert_close(other.map, line.map, rtol=1e-4, atol=1e-5)


def test_a_path_turns_to_where_the_target_falls():
    """f = (|w|^2 - 1) / 2: every path leads straight to 0, whichever way that is."""
    generator = Linear(SHAPES["2D"])
    inverse = torch.linalg.pinv(generator.matrix)
    explainer = walking(
        generator, lambda x: ((x.flatten(1) @ inverse.T).square().sum(1) - 1) / 2,
        direction="path", probability=1 / (1 + np.exp(0.375)),
    )  # fmt: skip
    w = torch.tensor([[2.0, 0, 0, 0], [0, -1.5, 0, 0], [1.0, 1.0, -1.0, 1.0]])
    explanation = explainer.explain(generator.decode(w))
    ends = explanation.counterfactual.flatten(1) @ inverse.T
    torch.testing.assert_close(ends, w / (2 * w.norm(dim=1, keepdim=True)), rtol=1e-3, atol=1e-3)  # |w| = 1/2 there
    torch.testing.assert_close(explanation.diagnostics["steps"], 0.5 - w.norm(dim=1), rtol=0.1, atol=0.01)


# Images that the generator cannot draw


def test_what_the_generator_cannot_draw_stays_and_is_no_evidence():
    generator = Linear(SHAPES["2D"])
    w, details = faint(generator), off_span(generator, 12)
    explainer = walking(generator)
    with_details = explainer.explain(generator.decode(w) + details)
    without = explainer.explain(generator.decode(w))
    torch.testing.assert_close(with_details.map, without.map, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(with_details.counterfactual - without.counterfactual, details, rtol=1e-3, atol=1e-4)
    plain = walking(generator, keep=False).explain(generator.decode(w) + details)
    torch.testing.assert_close(plain.counterfactual, without.counterfactual, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(plain.map, with_details.map)
    expected = details.abs().flatten(1).mean(1)
    torch.testing.assert_close(with_details.diagnostics["reconstruction"], expected, rtol=1e-3, atol=1e-4)


def test_a_patient_unlike_those_held_out_is_told(caplog):
    generator = Linear(SHAPES["2D"])
    explainer = walking(generator, lambda x: x.flatten(1) @ torch.linspace(-1, 1, 72))
    x = generator.decode(faint(generator)) + 0.5 * off_span(generator, 12)
    with caplog.at_level(logging.WARNING):
        assert (explainer.explain(x).diagnostics["unlike"] == 0).all()
    assert not caplog.records
    x[2:4] += 3 * off_span(generator, 2)
    with caplog.at_level(logging.WARNING):
        assert explainer.explain(x).diagnostics["unlike"].nonzero()[:, 0].tolist() == [2, 3]
    assert "2 of 12 images" in caplog.text and len(caplog.records) == 1


def test_a_patient_whose_target_is_lost_in_drawing_is_unlike_and_reaches_nothing():
    """The target sees a detail that cannot be drawn: drawn again, the image is a control already."""
    generator = Linear(SHAPES["2D"])
    detail = off_span(generator, 1)
    linear, seen = reading(generator), detail / detail.square().sum()
    explainer = walking(generator, lambda x: linear(x) + 20 * (x * seen).flatten(1).sum(1))
    x = generator.decode(torch.tensor([[-4.0, 0, 0, 0]])) + detail
    told = {name: value.item() for name, value in explainer.explain(x).diagnostics.items()}
    assert told["before"] == pytest.approx(16, abs=0.1) and told["drawn"] == pytest.approx(-4, abs=0.1)
    assert told["gap"] == pytest.approx(20, abs=0.1)
    assert (told["unlike"], told["reached"], told["steps"]) == (1, 0, 0)


def test_what_is_usual_comes_from_the_images_held_out():
    generator = Linear(SHAPES["2D"])
    people, details = generator.decode(faint(generator, 40)), off_span(generator, 40)
    explainer = LatentWalk(target=reading(generator), generator=generator, samples=300)
    explainer.fit(people, people + 9 * details, held_out=(people[:20] + details[:20], people[20:] + details[20:]))
    errors = details.abs().flatten(1).mean(1)
    assert explainer.net_.error.item() == pytest.approx(float(errors.quantile(0.95)), rel=1e-3)


def test_refining_finds_codes_that_the_encoder_missed():
    class Wrong(Linear):
        def encode(self, x: Tensor) -> Tensor:
            return super().encode(x) + 0.7

    generator, wrong = Linear(SHAPES["2D"]), Wrong(SHAPES["2D"])
    w = faint(generator)
    x = generator.decode(w)
    torch.testing.assert_close(projected(wrong, x, wrong.encode(x), 150), w, rtol=0.02, atol=0.02)
    assert torch.equal(projected(wrong, x, w, 3), w)  # no step leads nearer than there
    alone = projected(wrong, x[4:5], wrong.encode(x[4:5]), 20)
    torch.testing.assert_close(projected(wrong, x, wrong.encode(x), 20)[4:5], alone)
    coarse, fine = (walking(wrong, refine=steps).explain(x).diagnostics["reconstruction"].mean() for steps in (0, 100))
    assert fine < coarse / 20


def test_refining_looks_at_features_where_the_generator_offers_them():
    """The generator's images all look alike, but for a feature."""

    class Blind(Linear):
        def features(self, x: Tensor) -> Tensor:
            return 5 + super().encode(x)

        def decode(self, code: Tensor) -> Tensor:
            return 1e-6 * super().decode(code)

    class Seeing(Blind):
        def features(self, x: Tensor) -> Tensor:
            return 1e6 * Linear.encode(self, x) + 5

    generator = Seeing(SHAPES["2D"])
    w = faint(generator)
    found = projected(generator, generator.decode(w), torch.zeros_like(w), 200)
    torch.testing.assert_close(found, w, rtol=0.05, atol=0.05)


# The search


def curve(values):
    """A target along one value of the code, from a function of it."""
    return lambda rows, positions: (values(positions), values(positions) <= -1)


def test_the_search_ends_at_the_first_crossing_of_a_target_that_comes_and_goes():
    start, moving = torch.zeros(2), torch.tensor([True, False])
    found = first_stop(curve(lambda p: -1.5 * torch.sin(p)), start, moving, [0.25 * k for k in range(1, 41)])
    assert found.position.tolist() == pytest.approx([np.arcsin(1 / 1.5), 0], abs=1e-5)
    assert found.value[0] <= -1


def test_a_walk_ends_at_the_first_crossing_of_a_target_that_comes_and_goes():
    """f = 4 sin of the place along u: of an image at pi / 2 it falls to -2 at -pi / 6 and rises again."""
    generator = Linear(SHAPES["2D"])
    place = reading(generator, ALONG / ALONG.norm())
    explainer = walking(generator, lambda x: 4 * torch.sin(place(x)), direction="gradient", probability=0.1192029)
    x = generator.decode((np.pi / 2 * ALONG / ALONG.norm())[None])
    told = explainer.explain(x).diagnostics
    assert (told["steps"] * explainer.net_.spread).item() == pytest.approx(-2 * np.pi / 3, abs=0.03)
    assert told["after"].item() == pytest.approx(-2, abs=1e-3) and told["reached"] == 1


def test_a_search_that_finds_no_stop_ends_where_the_value_is_lowest():
    start, moving = torch.zeros(1), torch.ones(1, dtype=torch.bool)
    found = first_stop(curve(lambda p: (p - 1).square() - 1 + 0.5), start, moving, [0.25, 0.75, 1.0, 1.5])
    assert (found.position.item(), found.value.item(), found.last.item()) == (1.0, -0.5, 1.5)
    found = first_stop(curve(lambda p: p), start, moving, [0.25, 0.5])
    assert (found.position.item(), found.value.item()) == (0, 0)


def test_what_lies_too_far_is_not_reached():
    generator = Linear(SHAPES["2D"])
    explainer = walking(generator, probability=0.001, furthest=2.1)
    explanation = explainer.explain(generator.decode(faint(generator)))
    assert (explanation.diagnostics["reached"] == 0).all()
    torch.testing.assert_close(explanation.diagnostics["steps"], torch.full((12,), -2.1))


@directed
def test_controls_stay_as_they_are(direction):
    generator = Linear(SHAPES["2D"])
    x = generator.decode(faint(generator) - 4 * ALONG) + off_span(generator, 12)
    explanation = walking(generator, direction=direction).explain(x)
    assert torch.equal(explanation.map, torch.zeros(12, 1, 9, 8)) and torch.equal(explanation.counterfactual, x)
    assert (explanation.diagnostics["steps"] == 0).all() and (explanation.diagnostics["reached"] == 1).all()
    assert (explanation.walk.steps[:, [0, -1]] == torch.tensor([-1.0, 1.0])).all()


def test_an_image_that_only_becomes_a_case_when_drawn_stays_as_it_is():
    generator = Linear(SHAPES["2D"])
    detail = off_span(generator, 1)
    linear, seen = reading(generator), detail / detail.square().sum()
    explainer = walking(generator, lambda x: linear(x) - 20 * (x * seen).flatten(1).sum(1))
    explanation = explainer.explain(generator.decode(torch.tensor([[2.0, 0, 0, 0]])) + detail)
    assert explanation.map.abs().max() == 0 and explanation.diagnostics["reached"] == 1


# Frames


@shaped
def test_frames_go_both_ways_from_the_counterfactual_to_its_mirror_image(space):
    generator = Linear(SHAPES[space])
    explainer = walking(generator, frames=5, keep=False)
    x = generator.decode(faint(generator) + ALONG)
    explanation = explainer.explain(x)
    walk, a = explanation.walk, explanation.diagnostics["steps"]
    assert walk.frames.shape == (12, 5, *SHAPES[space])
    torch.testing.assert_close(walk.steps, -a[:, None] * torch.tensor([-1.0, -0.5, 0.0, 0.5, 1.0]))
    torch.testing.assert_close(walk.frames[:, 0], explanation.counterfactual)
    torch.testing.assert_close(walk.frames[:, 2], x, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(walk.frames[:, 0] + walk.frames[:, 4], 2 * x, rtol=1e-4, atol=1e-5)
    values = torch.stack([reading(generator)(frame) for frame in walk.frames.unbind(1)], 1)
    torch.testing.assert_close(walk.values, values)


def test_rank_correlation_is_that_of_scipy():
    from scipy.stats import spearmanr

    a = torch.randn(6, 9)
    b = torch.randint(0, 4, (6, 9)).float()
    expected = [spearmanr(x, y).statistic for x, y in zip(a.numpy(), b.numpy(), strict=True)]
    assert spearman(a, b).tolist() == pytest.approx(expected, abs=1e-6)
    assert spearman(a, torch.ones(6, 9)).tolist() == [0] * 6


# Nuisances


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("direction", ["gradient", "path"])
def test_what_tells_a_nuisance_does_not_change(layers, direction):
    """Age is a line through the codes that is not at right angles to the target's."""
    generator = Linear(SHAPES["2D"], layers=layers)
    ageing = torch.tensor([1.0, 0.0, 1.0, 0.5])
    people = faint(generator, 40)
    age = (60 + 10 * people @ ageing).numpy()
    explainer = walking(generator, direction=direction, nuisance={"age": (age[:20], age[20:])})
    assert explainer.told_["age"].measure == "R2" and explainer.told_["age"].value > 0.99
    w = faint(generator) + ALONG
    explanation = explainer.explain(generator.decode(w))
    age_of = reading(generator, ageing)
    apart = age_of(explanation.walk.frames[:, 0]) - age_of(explanation.walk.frames[:, -1])
    assert apart.abs().max() < 1e-4 * explanation.diagnostics["steps"].abs().max()
    coefficients = explainer.net_.nuisance
    ends = [generator.encode(explanation.walk.frames[:, k]) @ coefficients.T for k in (0, -1)]
    torch.testing.assert_close(*ends, rtol=1e-5, atol=1e-4)
    free = walking(generator, direction=direction).explain(generator.decode(w))
    assert (age_of(free.walk.frames[:, 0]) - age_of(free.walk.frames[:, -1])).abs().max() > 0.1
    rest = ALONG - ageing * (ALONG @ ageing) / ageing.square().sum()
    assert (explanation.diagnostics["reached"] == 1).all()
    moved = (
        torch.linalg.pinv(generator.matrix) @ (explanation.walk.frames[0, -1] - explanation.walk.frames[0, 0]).flatten()
    )
    assert torch.cosine_similarity(moved, rest, dim=0) > 0.999


def test_disease_that_is_the_nuisance_leaves_nothing():
    generator = Linear(SHAPES["2D"])
    age = (faint(generator, 40) @ ALONG).numpy()
    with pytest.raises(AnomalyError, match="nothing is left"):
        people = generator.decode(faint(generator, 40))
        explainer = LatentWalk(target=reading(generator), generator=generator, direction="gradient", samples=50)
        explainer.fit(people[:20], people[20:], machine=CPU, nuisance={"age": (age[:20], age[20:])})


# Codes with a part for each layer


def test_all_layers_move_alike():
    one, three = Linear(SHAPES["2D"]), Linear(SHAPES["2D"], layers=3)
    x = one.decode(faint(one) + ALONG)
    for direction in ("ridge", "path"):
        single, layered = (walking(each, direction=direction).explain(x) for each in (one, three))
        torch.testing.assert_close(layered.map, single.map, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(layered.diagnostics["steps"], single.diagnostics["steps"], rtol=1e-3, atol=1e-3)


def test_codes_that_are_no_whole_number_of_layers_are_told():
    assert in_layers(torch.tensor([1.0, 2.0]), 4).tolist() == [1, 2, 1, 2]
    with pytest.raises(AnomalyError, match="codes of 5 values and maps noise to codes of 2"):
        in_layers(torch.ones(2), 5)


# Targets that are no logit


def test_a_detectors_value_is_walked_on_the_scale_of_normals():
    """Half of them lie below the wanted value, where the threshold is one that 5 % of them lie above."""
    generator = Linear(SHAPES["2D"])
    value = reading(generator, 1e-3 * ALONG, 0.02)
    normal = value(generator.decode(faint(generator, 40)[:20])).double()
    sd, mean = float(normal.std(correction=0)), float(normal.mean())
    explainer = walking(generator, value, threshold=mean + 1.645 * sd, scale=sd * math.sqrt(3) / math.pi)
    told = explainer.explain(generator.decode(faint(generator) + 3 * ALONG)).diagnostics
    assert ((told["after"] - mean).abs() < 0.05 * sd).all()


@pytest.mark.parametrize("direction", ["logistic", "ridge"])
def test_threshold_and_scale_shift_and_scale_the_target(direction):
    generator = Linear(SHAPES["2D"])
    x = generator.decode(faint(generator) + ALONG)
    plain = walking(generator, direction=direction).explain(x)
    other = walking(generator, reading(generator, 7 * ALONG, 40.0), threshold=40.0, scale=7.0, direction=direction)
    torch.testing.assert_close(other.explain(x).map, plain.map, rtol=1e-3, atol=1e-4)


# Kept, and alone


@directed
def test_saved_and_loaded_it_walks_alike(direction, tmp_path: Path):
    generator = Linear(SHAPES["2D"])
    age = faint(generator, 40)[:, 0].numpy()
    explainer = walking(generator, direction=direction, threshold=0.5, nuisance={"age": (age[:20], age[20:])})
    explainer.save(tmp_path / "weights.safetensors")
    loaded = LatentWalk.load(tmp_path / "weights.safetensors")
    with pytest.raises(AnomalyError, match="walks through the codes of a generator and has none"):
        loaded.explain(torch.zeros(1, 1, 9, 8))
    loaded.generator, loaded.target = generator, explainer.target
    x = generator.decode(faint(generator))
    one, other = explainer.explain(x), loaded.explain(x)
    assert torch.equal(one.map, other.map) and torch.equal(one.walk.frames, other.walk.frames)
    assert all(torch.equal(value, other.diagnostics[name]) for name, value in one.diagnostics.items())


def test_a_file_without_all_that_was_learned_is_refused(tmp_path: Path):
    explainer = walking(Linear(SHAPES["2D"]))
    del explainer.net_.spread
    explainer.save(tmp_path / "weights.safetensors")
    with pytest.raises(RunError, match="expected direction, spread"):
        LatentWalk.load(tmp_path / "weights.safetensors")


@pytest.mark.parametrize(("direction", "space"), [("ridge", "2D"), ("path", "two channels"), ("gradient", "3D")])
def test_an_explanation_does_not_depend_on_its_batch(direction, space):
    generator = Linear(SHAPES[space])
    place = reading(generator)
    explainer = walking(generator, lambda x: 2 * place(x) + torch.sin(3 * place(x)), direction=direction)
    x = generator.decode(faint(generator) + ALONG)
    together, alone = explainer.explain(x), explainer.explain(x[5:6])
    torch.testing.assert_close(together.map[5:6], alone.map, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(together.walk.frames[5:6], alone.walk.frames, rtol=1e-4, atol=1e-5)


# Mistakes


def test_only_what_it_uses_is_a_setting():
    known = {"frames", "keep", "direction", "samples", "probability", "refine", "furthest"}
    assert set(LatentWalk().settings()) == known


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"direction": "lda"}, "direction=lda is unknown; take one of logistic, ridge, svm, gradient, path"),
        ({"frames": 4}, "frames must be odd"),
        ({"frames": 1}, "3 or more"),
        ({"probability": 1.0}, "probability must be below 1"),
    ],
)
def test_settings_that_cannot_be_are_told(settings, message):
    with pytest.raises(AnomalyError, match=message):
        LatentWalk(**settings)


def test_what_cannot_be_walked_through_is_told():
    generator = Linear(SHAPES["2D"])
    x, made = generator.decode(faint(generator)), LatentWalk(target=reading(generator), samples=50)
    with pytest.raises(AnomalyError, match="has none; make it with generator="):
        made.fit(x, x, machine=CPU)
    made.generator = Linear((1, 5, 5))
    with pytest.raises(AnomalyError, match=r"\(1, 9, 8\), the generator draws \(1, 5, 5\)"):
        made.fit(x, x, machine=CPU)
    made.generator, made.scale = generator, 0.0
    with pytest.raises(AnomalyError, match="scale of the target must be positive"):
        made.fit(x, x, machine=CPU)
    made.scale, made.target = 1.0, None
    with pytest.raises(AnomalyError, match="latent-walk explains a target and has none"):
        made.fit(x, x, machine=CPU)
    made.generator.generates, made.target = False, reading(generator)
    with pytest.raises(AnomalyError, match="no new ones from noise"):
        made.fit(x, x, machine=CPU)


def test_a_generator_of_classes_draws_all_of_them():
    class Conditional(Linear):
        classes = 3

        def mapped(self, noise: Tensor, classes: Tensor | None = None) -> Tensor:
            assert classes is not None and classes.shape == (len(noise),)
            return torch.nn.functional.one_hot(classes, 4).float()

    assert set(new_codes(Conditional(SHAPES["2D"]), 300).argmax(1).tolist()) == {0, 1, 2}


@pytest.mark.parametrize("shape", ["2D", "3D"])
def test_a_detector_is_a_generator(shape):
    vae = tiny("vae")
    vae.make(TINY_SHAPES[shape], CPU, 0)
    vae.net_.eval()
    x = vae.decode(torch.randn(6, vae.latent))
    drawn = torch.cat([x, vae.decode(vae.encode(x))]).flatten(1).mean(1)

    def target(x: Tensor) -> Tensor:
        return (x.flatten(1).mean(1) - drawn.min()) / drawn.std()

    explainer = LatentWalk(target=target, generator=vae, direction="path", samples=50, frames=3, furthest=2.0)
    explanation = explainer.fit(x[:3], x[3:], machine=CPU).explain(x)
    moved, values = explanation.diagnostics["steps"] < 0, explanation.walk.values
    assert explanation.map.isfinite().all() and explanation.walk.frames.shape == (6, 3, *x.shape[1:])
    assert moved.any() and (values[moved, 0] < values[moved, 1]).all()


def test_people_held_out_whom_the_generator_was_trained_on_are_told(caplog):
    table = pd.DataFrame({"subject": ["a", "a", "b", "c"], "part": ["choose", "choose", "choose", "train"]})
    generator = GeneratorRun(Path("runs/gan"), None, "", frozenset({"a", "c"}), None)  # type: ignore[arg-type]
    warn_of_known(table, generator)
    assert "1 of the 2 subjects held out here (a) are among those that runs/gan was trained on" in caplog.text
    caplog.clear()
    warn_of_known(table, dataclasses.replace(generator, trained=frozenset({"c"})))
    assert not caplog.text
