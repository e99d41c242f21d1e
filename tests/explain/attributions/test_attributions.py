import re
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from attributed import SPACES, Linear, classifier, images, shaped, squares, weights
from torch import Tensor

from anomaly.errors import AnomalyError
from anomaly.nets.losses import gaussian_blur
from explain import (
    LRP,
    DeepLift,
    GradientShap,
    IntegratedGradients,
    Occlusion,
    Saliency,
    SmoothGrad,
    SuperpixelOcclusion,
    Target,
)
from explain.attributions.baselines import AgainstBaseline

channelled = pytest.mark.parametrize("channels", [1, 3])


def cubes(x: Tensor) -> Tensor:
    return x.pow(3).flatten(1).sum(1)


# Linear targets: every method has a known answer.


@shaped
@channelled
def test_linear_target_gives_smooth_grad_its_weights(space: tuple[int, ...], channels: int) -> None:
    w = weights(channels, space)
    map = SmoothGrad(target=Linear(w), samples=3, batch=2).explain(images(2, channels, space)).map
    torch.testing.assert_close(map, w.sum(0).expand(2, 1, *space))


@shaped
@channelled
def test_linear_target_gives_deep_lift_weight_times_distance(space: tuple[int, ...], channels: int) -> None:
    x, w, b = images(2, channels, space), weights(channels, space), images(1, channels, space)
    explanation = DeepLift(target=Linear(w)).explain(x, baseline=b)
    torch.testing.assert_close(explanation.map, (w * (x - b)).sum(1, keepdim=True))
    assert explanation.diagnostics["gap"].abs().max() < 1e-10


@shaped
@channelled
def test_linear_target_gives_gradient_shap_weight_times_distance_from_the_mean(
    space: tuple[int, ...], channels: int
) -> None:
    x, w, controls = images(2, channels, space), weights(channels, space), images(6, channels, space)
    explanation = GradientShap(target=Linear(w), kept=6, samples=12, batch=5).fit(controls).explain(x)
    torch.testing.assert_close(explanation.map, (w * (x - controls.mean(0))).sum(1, keepdim=True))
    assert explanation.diagnostics["gap"].abs().max() < 1e-10


@shaped
@channelled
@pytest.mark.parametrize(("window", "stride"), [(0.5, 0.25), (0.4, 0.4), (0.01, 0.01), (1.0, 0.3)])
def test_linear_target_gives_occlusion_what_each_window_holds(
    space: tuple[int, ...], channels: int, window: float, stride: float
) -> None:
    x, w, b = images(2, channels, space), weights(channels, space), images(1, channels, space)
    total, count = torch.zeros(2, *space, dtype=torch.float64), torch.zeros(space)
    sizes, steps = ([max(1, round(share * side)) for side in space] for share in (window, stride))
    starts = [
        range(0, side - size + step, step) if side > size else [0]
        for side, size, step in zip(space, sizes, steps, strict=True)
    ]
    for corner in product(*starts):  # the last window of a row ends where the image does
        place = tuple(slice(start, start + size) for start, size in zip(corner, sizes, strict=True))
        held = (w * (x - b))[(slice(None), slice(None), *place)]
        total[(slice(None), *place)] += held.flatten(1).sum(1).view(-1, *[1] * len(space))
        count[place] += 1
    explanation = Occlusion(target=Linear(w), window=window, stride=stride).explain(x, baseline=b)
    torch.testing.assert_close(explanation.map.double()[:, 0], total / count, rtol=1e-5, atol=1e-5)
    assert explanation.diagnostics.keys() == {"target", "baseline"}


# Baselines, shared by four methods.

AGAINST = [
    partial(DeepLift),
    partial(GradientShap, samples=4),
    partial(IntegratedGradients, steps=2),
    partial(Occlusion, window=0.01, stride=0.01),
    partial(LRP),
    partial(SuperpixelOcclusion, size=0.01, scales=1),
]
against = pytest.mark.parametrize("method", AGAINST, ids=lambda method: method.func.name)


@against
@pytest.mark.parametrize("baseline", ["zero", "mean", "blur"])
def test_each_baseline_is_what_it_is_called(method: partial[AgainstBaseline], baseline: str) -> None:
    controls, x, w = images(70), images(2), weights()
    expected = {"zero": torch.full_like(x, -1), "mean": controls.mean(0), "blur": gaussian_blur(x, 0.25 * 12)}
    explainer = method(target=Linear(w), baseline=baseline, blur=0.25).fit(controls)
    map = explainer.explain(x).map.double()
    torch.testing.assert_close(map, w * (x - expected[baseline]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("method", AGAINST[:3], ids=lambda method: method.func.name)
def test_counterfactual_as_baseline_leaves_what_is_equal_at_zero(method: partial[AgainstBaseline]) -> None:
    counterfactual, net = images(2).float(), classifier(SPACES[0]).float()
    case = counterfactual.clone()
    case[:, :, 5:9, 2:5] += 0.5
    map = method(target=net).explain(case, baseline=counterfactual).map
    changed = case != counterfactual
    assert map[~changed].abs().max() == 0
    assert map[changed].abs().min() > 0


@against
def test_each_image_meets_its_own_baseline(method: partial[AgainstBaseline]) -> None:
    x, w = images(3), weights()
    map = method(target=Linear(w)).explain(x, baseline=x.roll(1, 0)).map.double()
    torch.testing.assert_close(map, w * (x - x.roll(1, 0)), rtol=0, atol=1e-5)


@against
def test_mean_baseline_needs_controls(method: partial[AgainstBaseline]) -> None:
    with pytest.raises(AnomalyError, match=r"baseline=mean.*fit\(controls\)"):
        method(target=Linear(weights()), baseline="mean").explain(images(1))


@against
def test_wrong_baseline_is_told(method: partial[AgainstBaseline]) -> None:
    with pytest.raises(AnomalyError, match=re.escape("(2, 1, 16, 12), the images (3, 1, 16, 12)")):
        method(target=Linear(weights())).explain(images(3), baseline=images(2))
    with pytest.raises(AnomalyError, match=r"baseline=grey is unknown.*zero, mean, blur"):
        method(target=Linear(weights()), baseline="grey")


@pytest.mark.parametrize(
    ("cls", "settings", "message"),
    [
        (SmoothGrad, {"samples": 0}, "samples must be positive, got 0"),
        (SmoothGrad, {"noise": -0.1}, r"noise must be 0 or more, got -0\.1"),
        (GradientShap, {"kept": 0}, "kept must be positive"),
        (GradientShap, {"noise": float("nan")}, "noise must be 0 or more, got nan"),
        (DeepLift, {"blur": 0.0}, "blur must be positive"),
        (Occlusion, {"batch": -1}, "batch must be positive"),
        (Occlusion, {"window": 0.1, "stride": 0.2}, r"window=0\.1 and stride=0\.2.*stride <= window <= 1"),
        (Occlusion, {"window": 1.5, "stride": 0.2}, r"stride <= window <= 1"),
    ],
)
def test_wrong_settings_are_told(cls: type, settings: dict, message: str) -> None:
    with pytest.raises(AnomalyError, match=message):
        cls(target=squares, **settings)


# SmoothGrad and GradientShap: averages over chance.


@shaped
def test_smooth_grad_of_a_quadratic_target_is_its_gradient(space: tuple[int, ...]) -> None:
    x = images(2, 2, space)
    map = SmoothGrad(target=squares, noise=0.5, samples=6, batch=5).explain(x).map
    torch.testing.assert_close(map, (2 * x).sum(1, keepdim=True))


def test_smooth_grad_of_a_cubic_target_adds_the_variance_of_the_noise() -> None:
    # The mean of 3 (x + e)^2 is 3 x^2 + 3 s^2; over 192 pixels and 400 noises it is known to about 0.5 %.
    x = images(1)
    noise = 0.25 * float(x.max() - x.min())
    added = SmoothGrad(target=cubes, noise=0.25, samples=800).explain(x).map - 3 * x.square()
    assert added.mean().item() == pytest.approx(3 * noise**2, rel=0.02)


def test_smooth_grad_without_noise_is_the_gradient() -> None:
    x, net = images(2), classifier(SPACES[0])
    smooth = SmoothGrad(target=net, noise=0.0, samples=3).explain(x).map
    torch.testing.assert_close(smooth, Saliency(target=net).explain(x).map)


def test_noise_is_as_wide_as_the_range_of_each_image_asks_for() -> None:
    # Of images k x the noise is k times as wide, and a cubic target has k^2 times the gradient.
    x = images(1)
    explainer = SmoothGrad(target=cubes, samples=4)
    maps = explainer.explain(torch.cat([x, 0.5 * x, 0.1 * x])).map
    torch.testing.assert_close(maps, maps[:1] * torch.tensor([1, 0.25, 0.01]).view(3, 1, 1, 1).double())


@pytest.mark.parametrize("explainer", [SmoothGrad(target=cubes), GradientShap(target=cubes).fit(images(20))])
def test_chance_follows_the_seed(explainer: SmoothGrad | GradientShap) -> None:
    x = images(2)
    first = explainer.explain(x, seed=3).map
    assert torch.equal(explainer.explain(x, seed=3).map, first)
    assert (explainer.explain(x, seed=4).map != first).any()


def test_noise_of_the_method_is_not_that_of_the_target() -> None:
    seen = []

    def noisy(x: Tensor) -> Tensor:
        seen.append((x.detach(), torch.randn(x.shape)))
        return squares(x)

    x = images(1).float()
    SmoothGrad(target=noisy, samples=2, batch=1).explain(x)
    (shaken, own), _ = seen
    noise = (shaken - x).flatten()
    assert torch.corrcoef(torch.stack([noise, own.flatten()]))[0, 1].abs() < 0.3


def test_gradient_shap_of_squares_is_the_difference_of_squares() -> None:
    # As for integrated gradients, on average over controls; the places lie one in each 64th of the way.
    x, controls = images(2), images(4)
    explanation = GradientShap(target=squares, kept=4, samples=256).fit(controls).explain(x)
    expected = x.square() - controls.square().mean(0)
    torch.testing.assert_close(explanation.map, expected, rtol=0, atol=0.15)
    assert (explanation.map - expected).mean().abs() < 0.01
    torch.testing.assert_close(explanation.diagnostics["baseline"], squares(controls).mean().expand(2))
    torch.testing.assert_close(explanation.diagnostics["target"], squares(x))
    rise = squares(x) - squares(controls).mean()
    torch.testing.assert_close(explanation.diagnostics["gap"], explanation.map.flatten(1).sum(1) - rise)


def test_gradient_shap_with_noise_explains_the_noisy_image() -> None:
    # E (x + e)^2 - b^2 = x^2 + s^2 - b^2.
    x, b = images(1), images(3)[2:]
    noise = 0.2 * float(x.max() - x.min())
    map = GradientShap(target=squares, noise=0.2, samples=800).explain(x, baseline=b).map
    assert (map - (x.square() - b.square())).mean().item() == pytest.approx(noise**2, rel=0.05)


@pytest.mark.parametrize("as_array", [False, True])
def test_gradient_shap_keeps_so_many_different_controls(as_array: bool, tmp_path: Path) -> None:
    controls = images(40)
    given: Tensor | np.ndarray = controls
    if as_array:
        np.save(tmp_path / "controls.npy", controls.numpy())
        given = np.load(tmp_path / "controls.npy", mmap_mode="r")
    kept = GradientShap(target=squares, kept=7).fit(given, seed=1).controls_
    which = [int((controls == one).flatten(1).all(1).nonzero()) for one in kept]
    assert len(set(which)) == 7 and which == sorted(which) and which != list(range(7))
    assert torch.equal(GradientShap(target=squares, kept=7).fit(given, seed=1).controls_, kept)
    assert len(GradientShap(target=squares, kept=50).fit(given).controls_) == 40


def test_gradient_shap_needs_controls_or_a_baseline() -> None:
    with pytest.raises(AnomalyError, match=r"baseline=controls.*fit\(controls\)"):
        GradientShap(target=squares).explain(images(1))
    GradientShap(target=squares).explain(images(1), baseline=images(2)[:1])


@pytest.mark.parametrize(
    ("explainer", "evaluations"),
    [
        (SmoothGrad(samples=11, batch=4), 2 * 11),
        (SmoothGrad(samples=3, batch=1), 2 * 3),
        (GradientShap(samples=11, batch=4, kept=6).fit(images(9)), 2 * (11 + 1) + 6),
        (Occlusion(window=0.25, stride=0.25, batch=4), 2 * (16 + 3)),
    ],
)
def test_no_more_images_at_once_than_asked_for(explainer: SmoothGrad, evaluations: int) -> None:
    seen: list[int] = []

    def target(x: Tensor) -> Tensor:
        seen.append(len(x))
        return squares(x)

    explainer.target = target
    explainer.explain(images(2))
    assert max(seen) == explainer.batch and sum(seen) == evaluations


def test_target_that_does_not_depend_on_the_image_is_told() -> None:
    w = weights().requires_grad_()
    with pytest.raises(AnomalyError, match="does not depend on it"):
        SmoothGrad(target=lambda x: w.sum().expand(len(x))).explain(images(1))


def test_occlusion_explains_what_has_no_gradient() -> None:
    def bright(x: Tensor) -> Tensor:
        return torch.from_numpy((x.numpy() > 0).sum((1, 2, 3)))

    x = torch.full((1, 1, 16, 12), -1.0)
    x[..., 4:8, 3:6] = 1
    explanation = Occlusion(target=bright, window=0.25, stride=0.25).explain(x)
    assert explanation.map.unique().tolist() == [0, 12]
    assert torch.equal(explanation.map > 0, x > 0)


def kinked(x: Tensor) -> Tensor:
    return (x - 0.3).abs().flatten(1).sum(1)


@pytest.mark.parametrize(
    ("target", "tolerance", "points"), [(squares, 0.005, 16), (squares, 0.0, 64), (kinked, 1e-6, 64)]
)
def test_integrated_gradients_take_a_quarter_of_the_points_where_these_add_up(
    target: Target, tolerance: float, points: int
) -> None:
    seen = [0]

    def counted(x: Tensor) -> Tensor:
        seen[0] += len(x) if x.requires_grad else 0
        return target(x)

    explanation = IntegratedGradients(target=counted, tolerance=tolerance).explain(images(1))
    assert seen[0] == points
    assert explanation.diagnostics["gap"].abs() < 0.02 * (explanation.diagnostics["target"]).abs() + 0.5


def test_how_many_points_an_image_takes_is_no_matter_of_its_batch() -> None:
    easy, hard = images(1) / 5, images(1)  # the way to the first stays below the kink
    explainer = IntegratedGradients(target=kinked, tolerance=1e-6)
    alone = [explainer.explain(x).map for x in (easy, hard)]
    for order in ([0, 1], [1, 0], [1, 1, 0]):
        maps = explainer.explain(torch.cat([easy, hard])[order]).map
        assert torch.equal(maps, torch.cat(alone)[order])
    by = {steps: IntegratedGradients(target=kinked, tolerance=0, steps=steps) for steps in (16, 48)}
    assert torch.equal(alone[0], by[16].explain(easy).map) and torch.equal(alone[1], by[48].explain(hard).map)


def test_from_what_a_detector_draws_all_points_are_taken_at_once() -> None:
    seen = list[int]()

    def counted(x: Tensor) -> Tensor:
        seen.extend([len(x)] if x.requires_grad else [])
        return squares(x)

    explainer = IntegratedGradients(target=counted)
    explainer.begin_from_normal(images(1)[0], lambda x: x / 2, asked=False)
    explanation = explainer.explain(images(2))
    assert seen == [32] * 4
    torch.testing.assert_close(explanation.map, (images(2).square() - (images(2) / 2).square()).sum(1, keepdim=True))
