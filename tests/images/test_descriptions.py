"""What kind of image one is, in numbers: right by hand, and the same for what preparation makes the same."""

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from anomaly.images.image import Image
from anomaly.images.likeness import described, outline, parts
from anomaly.images.preprocessing import Preprocessing

RNG = np.random.default_rng(0)
NOISE = RNG.normal(size=(64, 64)).astype(np.float32)


def told(pixels: np.ndarray, family: str, affine: np.ndarray | None = None, **settings: object) -> np.ndarray:
    affine = np.eye(4) if affine is None else affine
    kind = "nifti" if pixels.ndim == 3 else "picture"
    image = Image(np.asarray(pixels, dtype=np.float32)[None], affine, Path("x"), kind)
    ready = Preprocessing(**{"size": 32, "dims": pixels.ndim, **settings}).apply(image)
    row = described(image, ready)
    dims = ready.pixels.ndim - 2
    assert row.shape == (parts(dims)["outline"].stop,) and row.dtype == np.float32
    return row[parts(dims)[family]]


def test_sizes_voxels_and_ranges_by_hand():
    high = NOISE[:, :32]
    assert told(high, "size").tolist() == pytest.approx([5.5, 0.5])
    assert np.isnan(told(high, "voxels")).all(), "a picture tells no millimetres"
    ramp = np.arange(10_000, dtype=np.float32).reshape(100, 100)
    assert told(ramp, "range").tolist() == [99, 4999, 9899]
    volume = RNG.normal(size=(16, 32, 64))
    voxels = told(volume, "voxels", np.diag([4.0, 2, 1, 1]))  # 64 mm along each axis
    assert voxels.tolist() == pytest.approx([6, 1, 1, 0])
    # Slices take no part: 2 x 4 mm in the plane of the last two axes.
    assert told(volume, "voxels", np.diag([4.0, 2, 1, 1]), dims=2, slices="sagittal").tolist() == pytest.approx(
        [6, 0.5, 0.5]
    )


def test_a_volume_that_is_only_stored_otherwise_is_the_same():
    volume = ndimage.gaussian_filter(RNG.normal(size=(24, 20, 22)), 1)
    other = np.diag([-2.0, 2, 2, 1])[:, [1, 0, 2, 3]]
    for family in parts(3):
        stored = told(volume.transpose(1, 0, 2)[:, ::-1], family, other)
        np.testing.assert_allclose(told(volume, family, np.diag([2.0, 2, 2, 1])), stored, atol=2e-2, err_msg=family)


def test_sharpness_of_noise_and_of_what_was_magnified():
    white = told(NOISE, "sharpness")
    assert white[[1, 2, 3, 5, 6, 7]] == pytest.approx(0, abs=0.15)  # noise differs alike at any distance
    assert white[[0, 4]] == pytest.approx(np.log2(2 / 6), abs=0.1)  # second differences have six times its variance
    smooth = told(ndimage.zoom(NOISE[::2, ::2], 2, order=1), "sharpness")
    assert (smooth - white > 1).reshape(2, 4)[:, :2].all()
    assert np.isnan(told(NOISE[:, :10], "sharpness")[4:]).all(), "too short to say"


def test_an_outline_turns_with_its_image():
    pixels = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(1, 1, 32, 32)), 2)
    upright, turned = outline(pixels), outline(np.rot90(pixels, axes=(2, 3)))
    np.testing.assert_allclose(turned[0], np.rot90(upright[0]), atol=1e-5)
    # Turned, a difference between two cells of eight pixels counts in the other one; axes that stay are far from it.
    np.testing.assert_allclose(turned[1:], np.rot90(upright[[2, 1]], axes=(1, 2)), atol=0.2)
    assert np.abs(turned[1:] - np.rot90(upright[1:], axes=(1, 2))).max() > 0.4
    assert upright[0].mean() == pytest.approx(0, abs=1e-6) and upright[0].std() == pytest.approx(1, abs=1e-5)
    assert np.isfinite(outline(np.zeros((1, 1, 1, 40)))).all()
