"""Images moved and turned as a whole onto others, with what was done to them known."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from anomaly.errors import AnomalyError
from anomaly.images import Image
from anomaly.registrars.linear import linear
from anomaly.registrars.rigid import register


def test_simpleitk_is_asked_for_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    image = Image(np.zeros((1, 6, 7), dtype=np.float32), np.eye(4), Path("knee.nii.gz"), "nifti")
    with pytest.raises(AnomalyError, match=r"pip install 'anomaly-explain\[register\]'"):
        register(image, image)


def knee(space: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Soft blobs inside the volume, black around them."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=space), 2.5)
    inside = np.zeros(space)
    inside[tuple(slice(side // 5, side - side // 5) for side in space)] = 1
    return np.clip(noise / noise.std() + 1, 0, None) * ndimage.gaussian_filter(inside, 1.5)


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


@pytest.mark.parametrize("space", [(32, 36), (24, 32, 28)])
def test_register_undoes_a_turn_and_a_shift(space: tuple[int, ...]) -> None:
    pytest.importorskip("SimpleITK")
    values, affine = knee(space), np.diag([1.5, 1.5, 1.5, 1.0])
    turned = ndimage.shift(ndimage.rotate(values, 8, reshape=False, order=1), [2.5, -2.0, 1.0][: len(space)], order=1)
    fixed = Image(values[None].astype(np.float32), affine, Path("fixed.nii"), "nifti")
    moving = Image(np.stack([turned, 3 * turned]).astype(np.float32) - 5, affine, Path("moving.nii"), "nifti")
    found = register(moving, fixed)
    assert correlation(turned, values) < 0.85
    assert correlation(found.pixels[0], values) > 0.97
    assert found.pixels.shape == (2, *space) and np.array_equal(found.affine, affine)
    assert found.pixels.min() == pytest.approx(-5)
    with pytest.raises(AnomalyError, match="register like with like"):
        register(replace(moving, pixels=np.zeros((1, 3, 3, 3)) if len(space) == 2 else np.zeros((1, 3, 3))), fixed)


@pytest.mark.parametrize("metric", ["correlation", "mutual-information"])
def test_affine_finds_a_known_stretch_between_grids(metric: str) -> None:
    pytest.importorskip("SimpleITK")
    values = knee((72, 76))
    stretch = np.array([[1.08, 0.05, -1.5], [-0.04, 0.95, 2.0], [0, 0, 1]])  # voxel of the fixed to one of the moving
    places = np.tensordot(np.linalg.inv(stretch)[:2, :2], np.indices((72, 76)), 1)
    places += np.linalg.inv(stretch)[:2, 2, None, None]
    seen = ndimage.map_coordinates(values, places, order=3)
    moving = seen if metric == "correlation" else np.where(seen > 0.05, 3 - seen, 0)
    fixed = Image(values[None].astype(np.float32), np.eye(4), Path("fixed.nii"), "nifti")
    found = linear(replace(fixed, pixels=moving[None].astype(np.float32)), fixed, metric=metric)
    corners = np.array([[16, 16, 1], [56, 16, 1], [16, 60, 1], [56, 60, 1]]).T
    apart = np.abs((found - stretch) @ corners)[:2]
    assert apart.max() < (0.15 if metric == "correlation" else 0.4)


def test_what_lies_outside_masks_moves_nothing() -> None:
    pytest.importorskip("SimpleITK")
    values = knee((40, 44))
    moving, fixed = np.roll(values, 3, axis=0), values.copy()
    counts = np.zeros((40, 44), dtype=bool)
    counts[6:34, 6:30] = True
    for each in (moving, fixed):
        each[:, 34:] = 0
        each[10:14, 34:] = 9.0  # bright, and does not move
    images = [Image(each[None].astype(np.float32), np.eye(4), Path("a.nii"), "nifti") for each in (moving, fixed)]
    masks = [np.roll(counts, 3, axis=0), counts]
    with_masks = [replace(image, mask=mask) for image, mask in zip(images, masks, strict=True)]
    off = [abs((linear(*each, "rigid", metric="correlation") @ [20, 18, 1])[0] - 23) for each in (with_masks, images)]
    assert off[0] < 0.15 < off[1]
