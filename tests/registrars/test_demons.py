"""Deformations of known truth found again; what has no truth to find gives none."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from anomaly.errors import AnomalyError
from anomaly.images import Image
from anomaly.registrars.base import Registrar
from anomaly.registrars.demons import Demons
from anomaly.registrars.information import mutual_information
from anomaly.registrars.laying import lay
from anomaly.registrars.pyramid import drawn, levels, to_grid
from anomaly.registrars.quality import dice, soundness

pytest.importorskip("SimpleITK")
METRICS = ("correlation", "mutual-information")


def anatomy(space: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Texture within a body, air of 0 around it."""
    rng = np.random.default_rng(seed)
    fine, coarse = (ndimage.gaussian_filter(rng.normal(size=space), sigma) for sigma in (1.5, 4))
    apart = np.sqrt(
        sum(((each - (side - 1) / 2) / (0.42 * side)) ** 2 for each, side in zip(np.indices(space), space, strict=True))
    )
    body = ndimage.gaussian_filter((apart < 1).astype(float), 1)
    return (body * (1 + 0.25 * fine / fine.std() + 0.25 * coarse / coarse.std())).clip(0).astype(np.float32)


def bend(space: tuple[int, ...], most: float, seed: int = 1) -> np.ndarray:
    """A smooth field, up to `most` voxels long, none at the rim."""
    rng = np.random.default_rng(seed)
    field = np.stack([ndimage.gaussian_filter(rng.normal(size=space), min(space) / 6) for _ in space])
    for axis, side in enumerate(space):
        rim = np.sin(np.pi * (np.arange(side) + 0.5) / side)
        field *= rim.reshape([-1 if each == axis else 1 for each in range(len(space))])
    return (field * most / np.sqrt((field**2).sum(0)).max()).astype(np.float32)


def error(found: np.ndarray, truth: np.ndarray, body: np.ndarray) -> float:
    return float(np.sqrt(((found - truth) ** 2).sum(0))[body].mean())


CONTRASTS = {
    "scanner": lambda x: 300 * x**0.8 + 40,
    "shading": lambda x: x * np.linspace(0.8, 1.3, x.shape[0]).reshape(-1, *(1,) * (x.ndim - 1)),
    "inverted": lambda x: (3 - x) * (x > 0.2),
    "folded": lambda x: np.sin(2 * x),
}


@pytest.mark.parametrize(
    "space, contrast, metric, most",
    [
        ((72, 80), "scanner", METRICS[0], 0.3),
        ((72, 80), "shading", METRICS[0], 0.25),
        ((72, 80), "inverted", METRICS[1], 0.4),
        ((72, 80), "folded", METRICS[1], 0.4),
        ((32, 36, 28), "scanner", METRICS[0], 0.5),
        ((32, 36, 28), "inverted", METRICS[1], 0.5),
    ],
)
def test_known_deformations_are_found(space: tuple[int, ...], contrast: str, metric: str, most: float) -> None:
    moving = anatomy(space)
    truth = bend(space, 3.0)
    fixed = drawn(moving, truth)
    seen = CONTRASTS[contrast](moving).astype(np.float32)
    registrar = Demons(metric=metric)
    assert isinstance(registrar, Registrar)
    found = registrar.field(seen[None], fixed[None], spacing=(1.0,) * len(space))
    body = fixed > 0.5
    assert found.dtype == np.float32 and found.shape == truth.shape
    assert error(found, truth, body) < most < 0.5 * error(0 * truth, truth, body)
    assert soundness(found, found)["folded"] == 0


@pytest.mark.parametrize("metric", METRICS)
def test_an_image_on_itself_and_one_that_shows_nothing_stay_where_they_are(metric: str) -> None:
    values = anatomy((40, 44))[None]
    found = Demons(metric=metric).field(values, values, spacing=(1.0, 1.0))
    assert np.abs(found).max() < (1e-3 if metric == METRICS[0] else 0.1)
    nothing = Demons(metric=metric).field(0 * values, values, spacing=(1.0, 1.0))
    assert not nothing.any()


@pytest.mark.parametrize("metric", METRICS)
def test_what_does_not_count_pulls_at_nothing(metric: str) -> None:
    values = anatomy((64, 64))
    fixed = values.copy()
    fixed[36:, 20:44] = drawn(values, np.stack([np.full((64, 64), 2.0), np.zeros((64, 64))]))[36:, 20:44]
    inside = np.ones((64, 64), dtype=bool)
    inside[34:] = False
    free, held = (
        Demons(metric=metric).field(values[None], fixed[None], spacing=(1.0, 1.0), inside=each)
        for each in (None, inside)
    )
    assert np.abs(held).mean() < 0.2 * np.abs(free).mean()


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("space", [(64, 60), (26, 24, 22)])
def test_what_lies_outside_a_mask_changes_nothing_inside(metric: str, space: tuple[int, ...]) -> None:
    values = anatomy(space)
    moving, truth = np.roll(values, 1, axis=0), np.zeros((len(space), *space))
    truth[0] = 1
    inside = np.zeros(space, dtype=bool)
    inside[tuple(slice(side // 5, side - side // 5) for side in space)] = True
    rng = np.random.default_rng(3)
    fields = [
        Demons(metric=metric).field(*(np.where(inside, each, fill * rng.normal(1, 0.5, space)).astype(np.float32)[None]
                                      for each, fill in ((moving, ours), (values, theirs))),
                                    spacing=(1.0,) * len(space), inside=inside)
        for ours, theirs in ((0, 0), (1000, 0), (-1000, -1000), (np.nan, 7))
    ]  # fmt: skip
    assert all(np.array_equal(each, fields[0]) for each in fields)
    assert error(fields[0], truth, inside) < 0.5


@pytest.mark.parametrize("start", ["rigid", "affine"])
def test_values_in_padding_and_outside_masks_change_no_pair(start: str) -> None:
    values = anatomy((60, 64))
    seen = ndimage.shift(ndimage.rotate(values, 5, reshape=False, order=1), (1.5, -1), order=1)
    counts, measured = np.zeros((2, 60, 64), dtype=bool)
    counts[8:54, 8:50], measured[:, 4:58] = True, True
    found = []
    for fill in (0.0, -1024.0, 3000.0):
        moving, fixed = (
            Image(np.where(kept, each, fill).astype(np.float32)[None], np.eye(4), Path("a.nii"), "nifti")
            for each, kept in ((seen, measured), (values, counts))
        )
        pair = replace(moving, padding=~measured), replace(fixed, mask=counts)
        found.append(lay(*pair, start=start, deformable=Demons()).transform.places)
    assert all(np.array_equal(each, found[0]) for each in found)


def test_an_edge_of_the_field_of_view_pulls_at_nothing() -> None:
    """The lower part was not measured by the one: what is left of it, the fill, is no anatomy."""
    values = anatomy((64, 64))
    moving = Image(values[None, 20:], np.eye(4), Path("a.nii"), "nifti")
    lies = np.eye(4)
    lies[0, 3] = -20
    found = lay(moving, Image(values[None], lies, Path("b.nii"), "nifti"), start="rigid", deformable=Demons())
    assert np.abs(found.transform.places - np.indices((64, 64)) + np.array([20, 0]).reshape(2, 1, 1)).max() < 0.1


def test_the_field_is_the_same_each_time_and_on_any_number_of_cores() -> None:
    import SimpleITK

    moving, truth = anatomy((40, 44)), bend((40, 44), 2)
    images = [Image(each[None], np.eye(4), Path("a.nii"), "nifti") for each in (moving, drawn(moving, truth))]
    before = SimpleITK.ProcessObject.GetGlobalDefaultNumberOfThreads()
    found = []
    try:
        for threads in (1, 5):
            SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
            found.append(lay(*images, deformable=Demons()).transform.places)
    finally:
        SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(before)
    assert np.array_equal(found[0], found[1])


def test_thick_slices_are_halved_last() -> None:
    assert list(levels((128, 128, 40), (1.0, 1.0, 3.0), 3)) == [(2, (4, 4, 1)), (1, (2, 2, 1)), (0, (1, 1, 1))]
    assert list(levels((20, 20), (1.0, 1.0), 3)) == [(2, (1, 1))]
    field = np.stack([np.full((8, 6), 2.0), np.full((8, 6), -1.0)])
    assert np.allclose(to_grid(field, (16, 6))[:, 3, 3], [4, -1])


def test_mutual_information_of_what_tells_all_and_of_what_tells_nothing() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.integers(0, 2, (2, 200, 200)).astype(float)
    inside = np.ones(one.shape, dtype=bool)
    # Two values, far apart among 32 bins: the entropy of a coin, log 2, whichever way round.
    assert mutual_information(one, one, inside) == pytest.approx(np.log(2), abs=0.01)
    assert mutual_information(one, 5 - 3 * one, inside) == pytest.approx(np.log(2), abs=0.01)
    assert mutual_information(one, other, inside) == pytest.approx(0, abs=1e-3)


def test_there_and_back_by_hand() -> None:
    # A whole turn by 70 degrees beside a wave that steepens: undone, but for what is interpolated.
    space, angle = (48, 52), np.radians(70)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = (np.array(space).reshape(2, 1, 1) - 1) / 2
    places = np.indices(space) - middle
    waves = np.stack([2 * np.sin(places[0] / 5), 0 * places[1]])
    field = np.tensordot(turn, places + waves, 1) + middle - np.indices(space)
    told = soundness(field, waves)
    assert told["folded"] == 0 and told["inverse_consistency"] < 0.03
    assert soundness(np.tensordot(turn, places, 1) + middle - np.indices(space), 0 * waves)["inverse_consistency"] == 0
    # 5 voxels along x, where there are 12: 7 columns stay on the grid, and come back.
    assert soundness(np.full((2, 12, 12), 5.0), np.full((2, 12, 12), 5.0))["inverse_consistency"] == 0
    assert np.isnan(soundness(np.full((2, 12, 12), 12.0), np.full((2, 12, 12), 12.0))["inverse_consistency"])
    # x becomes 11 - x: folded everywhere, and nothing to undo it by.
    folds = np.stack([11 - 2 * np.indices((12, 12))[0], np.zeros((12, 12))])
    assert soundness(folds, folds)["folded"] == 1 and not soundness(folds, folds)["inverse_consistency"] < 1


def test_dice_is_the_mean_over_labels() -> None:
    one, other = np.array([1, 1, 2, 0]), np.array([1, 0, 2, 2])
    assert dice(one, other) == pytest.approx((2 / 3 + 2 / 3) / 2)
    assert np.isnan(dice(0 * one, 0 * one))


def test_pairs_that_do_not_suit_are_told() -> None:
    values = anatomy((40, 44))
    fixed = Image(values[None], np.eye(4), Path("fixed.nii"), "nifti")
    unlike = replace(fixed, pixels=anatomy((40, 44), seed=9)[None] * (values > 0.3) * 0 + 1 - values[None])
    assert "another contrast" in lay(unlike, fixed, start="rigid").warning
    same = lay(fixed, fixed, deformable=Demons())
    assert same.warning == "" and same.quality["correlation_after"] == pytest.approx(1, abs=1e-4)
    assert np.abs(same.transform.field).max() < 0.02
    with pytest.raises(AnomalyError, match="the metric is 'ncc'; expected one of correlation, mutual-information"):
        Demons(metric="ncc")
    with pytest.raises(AnomalyError, match="on one grid"):
        Demons().field(values[None], values[None, 1:], spacing=(1.0, 1.0))
