"""Shifts along slopes in the codes of a generator, where a linear world says how far they go."""

from dataclasses import replace

import pytest
import torch
from latents import Linear, Pixels
from tiny import CPU, tiny
from tiny import SHAPES as TINY_SHAPES
from torch import Tensor

from anomaly.errors import AnomalyError
from explain.latent.shift import LatentShift
from explain.trained import joined

SHAPES = {"2D": (1, 9, 8), "two channels": (2, 7, 6), "3D": (1, 5, 6, 4)}
shaped = pytest.mark.parametrize("space", SHAPES)


def weights(shape: tuple[int, ...]) -> Tensor:
    return torch.linspace(-3, 4, int(torch.tensor(shape).prod()))


def people(generator: Linear, n: int = 5) -> Tensor:
    return generator.decode(0.8 * torch.randn(n, 4, generator=torch.Generator().manual_seed(2)))


def shifting(generator, target, **settings) -> LatentShift:
    return LatentShift(target=target, generator=generator, **{"change": 100.0, **settings})


@shaped
def test_in_a_linear_world_lambda_and_map_are_known(space):
    """f = t x and D = A z: df/dz = A^T t, and lambda is the fall of the logit over |A^T t|^2."""
    generator, t = Linear(SHAPES[space]), weights(SHAPES[space])
    x, slope = people(generator), generator.matrix.T @ t

    def target(x: Tensor) -> Tensor:
        return x.flatten(1) @ t + 2

    explanation = shifting(generator, target, fall=0.4, lowest=1e-6).explain(x)
    p = target(x).sigmoid()
    falling = p > 0.41
    assert 0 < falling.sum()
    length = torch.where(falling, (target(x) - (p - 0.4).clamp_min(1e-6).logit()) / slope.square().sum(), torch.nan)
    steps = explanation.diagnostics["steps"]
    torch.testing.assert_close(steps[falling], -length[falling], rtol=1e-3, atol=1e-4)
    assert (explanation.diagnostics["reached"] == 1).all() and (explanation.diagnostics["monotone"] == 1).all()
    changed = (-steps[:, None] * slope @ generator.matrix.T).view(-1, *SHAPES[space])
    torch.testing.assert_close(explanation.map, changed.mean(1, keepdim=True), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(explanation.counterfactual, x - changed, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(explanation.walk.steps[:, 0], steps)
    torch.testing.assert_close(explanation.walk.steps[:, -1], -steps)


def test_the_map_is_the_mean_frame_difference_of_the_original_but_for_sign_and_steps():
    generator, t = Linear(SHAPES["2D"]), weights(SHAPES["2D"])
    explanation = shifting(generator, lambda x: x.flatten(1) @ t + 2).explain(people(generator))
    towards = explanation.walk.frames[:, :5]  # from the counterfactual to the image as drawn again
    original = (towards[:, 1:] - towards[:, :-1]).abs().mean(1)
    torch.testing.assert_close(original, explanation.map.abs() / 4, rtol=1e-3, atol=1e-5)


def test_a_shift_ends_where_enough_of_the_image_has_changed():
    """Of a hundred grey pixels of 0.5 one alone is seen; by 5 % in all it has changed when it has by 2.5."""
    x = torch.full((2, 1, 10, 10), 0.5)
    explainer = shifting(Pixels((1, 10, 10)), lambda x: x[:, 0, 3, 4] + 40, change=0.05, keep=False)
    told = explainer.explain(x).diagnostics
    assert told["steps"].tolist() == pytest.approx([-2.5] * 2, rel=1e-3)
    assert told["changed"].tolist() == pytest.approx([0.05] * 2, rel=1e-3) and told["reached"].tolist() == [0, 0]
    map = explainer.explain(x).map
    assert map[0, 0, 3, 4].item() == pytest.approx(2.5, rel=1e-3) and map.count_nonzero() == 2


def test_a_shift_past_the_lowest_point_ends_there():
    """f = (place - 1)^2 + 1, from 4: lowest at 1, and high again before the image has changed enough."""
    x = torch.zeros(1, 1, 4, 4)
    x[..., 0, 0] = 4.0

    def target(x: Tensor) -> Tensor:
        return (x[:, 0, 0, 0] - 1).square() + 1

    told = shifting(Pixels((1, 4, 4)), target, change=1.5, keep=False).explain(x).diagnostics
    assert told["after"].item() == pytest.approx(1, abs=0.4) and told["reached"] == 0
    assert told["steps"].item() == pytest.approx(-3 / 6, rel=0.2)  # df/dz = 6 at 4


def test_an_image_that_is_low_already_stays_as_it_is_but_shows_where_it_would_go():
    generator, t = Linear(SHAPES["2D"]), weights(SHAPES["2D"])
    x = people(generator)
    explanation = shifting(generator, lambda x: x.flatten(1) @ t - 20, change=0.1).explain(x)
    assert torch.equal(explanation.counterfactual, x) and explanation.map.abs().max() == 0
    assert (explanation.diagnostics["reached"] == 1).all() and (explanation.diagnostics["steps"] == 0).all()
    assert (explanation.walk.values[:, 0] < explanation.walk.values[:, -1]).all()
    moved = shifting(generator, lambda x: x.flatten(1) @ t - 20, change=0.1, lowest=0.0).explain(x)
    assert (moved.diagnostics["steps"] < 0).all()


def test_what_the_generator_cannot_draw_is_no_evidence():
    generator, t = Linear(SHAPES["2D"]), weights(SHAPES["2D"])
    x = people(generator)
    noise = 0.05 * torch.randn(x.shape)
    details = noise - generator.decode(generator.encode(noise))
    plain, detailed = (shifting(generator, lambda x: x.flatten(1) @ t + 2).explain(each) for each in (x, x + details))
    torch.testing.assert_close(detailed.map, plain.map, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(detailed.counterfactual, plain.counterfactual + details, rtol=1e-3, atol=1e-4)
    expected = details.abs().flatten(1).mean(1)
    torch.testing.assert_close(detailed.diagnostics["reconstruction"], expected, rtol=1e-3, atol=1e-4)


def test_threshold_and_scale_shift_and_scale_the_target():
    generator, t = Linear(SHAPES["2D"]), weights(SHAPES["2D"])
    x = people(generator)
    plain = shifting(generator, lambda x: x.flatten(1) @ t + 2).explain(x)
    other = shifting(generator, lambda x: 7 * (x.flatten(1) @ t + 2) + 40)
    other.threshold, other.scale = 40.0, 7.0
    torch.testing.assert_close(other.explain(x).map, plain.map, rtol=1e-3, atol=1e-4)


@shaped
def test_an_explanation_does_not_depend_on_its_batch(space):
    generator, t = Linear(SHAPES[space]), weights(SHAPES[space])
    explainer, x = shifting(generator, lambda x: torch.sin(x.flatten(1) @ t)), people(generator)
    together, alone = explainer.explain(x), explainer.explain(x[3:4])
    assert torch.equal(together.map[3:4], alone.map) and torch.equal(together.walk.frames[3:4], alone.walk.frames)


def test_where_nothing_raises_the_target_nothing_is_shown():
    explanation = shifting(Pixels((1, 5, 5)), lambda x: (x * 0).flatten(1).sum(1) + 2).explain(torch.zeros(2, 1, 5, 5))
    assert explanation.map.abs().max() == 0 and explanation.walk.frames.isfinite().all()


@pytest.mark.parametrize("shape", ["2D", "3D"])
def test_a_detector_is_a_generator_and_what_is_explained(shape):
    vae = tiny("vae")
    vae.make(TINY_SHAPES[shape], CPU, 0)
    vae.net_.eval()
    x = vae.decode(torch.randn(2, vae.latent))
    explanation = LatentShift(target=vae.value, generator=vae, lowest=0.0, frames=3).explain(x)
    assert explanation.map.isfinite().all() and explanation.map.abs().max() > 0
    assert explanation.walk.frames.shape == (2, 3, *x.shape[1:])


def test_walks_of_parts_are_joined():
    explanation = shifting(Pixels((1, 5, 5)), lambda x: x.flatten(1).sum(1)).explain(torch.rand(3, 1, 5, 5))
    whole = joined([explanation, explanation])
    assert whole.walk.frames.shape == (6, 9, 1, 5, 5)
    assert torch.equal(whole.walk.steps[3:], explanation.walk.steps)
    assert joined([replace(explanation, walk=None)] * 2).walk is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fall": 0.0}, "got fall=0.0"),
        ({"lowest": 1.0}, "lowest=1.0"),
        ({"change": 0.0}, "change=0.0; expected probabilities, and a change above 0"),
        ({"frames": 2}, "frames must be odd"),
    ],
)
def test_settings_that_cannot_be_are_told(settings, message):
    with pytest.raises(AnomalyError, match=message):
        LatentShift(**settings)


def test_what_cannot_be_shifted_is_told():
    x = torch.zeros(1, 1, 5, 5)
    with pytest.raises(AnomalyError, match="latent-shift walks through the codes of a generator and has none"):
        LatentShift(target=lambda x: x.flatten(1).sum(1)).explain(x)
    with pytest.raises(AnomalyError, match=r"\(1, 5, 5\), the generator draws \(1, 4, 4\)"):
        LatentShift(target=lambda x: x.flatten(1).sum(1), generator=Pixels((1, 4, 4))).explain(x)

    class Rigid(Pixels):
        def decode(self, code: Tensor) -> Tensor:
            return super().decode(code).detach()

    with pytest.raises(AnomalyError, match="generator cannot be differentiated"):
        LatentShift(target=lambda x: x.flatten(1).sum(1), generator=Rigid((1, 5, 5))).explain(x)
