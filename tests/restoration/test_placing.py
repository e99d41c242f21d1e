"""Where restored images lie: a linear ramp of millimetres says so, whichever way the axes of the file run."""

from pathlib import Path

import numpy as np
import pytest
import torch

from anomaly.degradations.register import make
from anomaly.images import Image
from anomaly.images.preprocessing import Preprocessing
from anomaly.restoration.placing import turned_back
from anomaly.restorers.scales import laid_out

AXES = {
    "RAS": np.diag([2.0, 3.0, 4.0, 1.0]),
    "LPS": np.diag([-2.0, -3.0, 4.0, 1.0]),
    "ASR": np.array([[0, 0, 2.0, 5], [3.0, 0, 0, -7], [0, 4.0, 0, 9], [0, 0, 0, 1]]),
    "PIL": np.array([[0, 0, -2.0, 5], [-3.0, 0, 0, -7], [0, -4.0, 0, 9], [0, 0, 0, 1]]),
}


def ramp(affine: np.ndarray, space: tuple[int, ...], direction: np.ndarray) -> np.ndarray:
    """Millimetres along a direction, at the centre of every voxel."""
    index = np.stack(np.meshgrid(*map(np.arange, space), indexing="ij"), -1)
    return np.asarray((index @ affine[:3, : len(space)].T + affine[:3, 3]) @ direction)


def image_of(affine: np.ndarray, space: tuple[int, ...], direction: np.ndarray) -> Image:
    return Image(ramp(affine, space, direction)[None].astype(np.float32), affine, Path("ramp.nii"), "nifti")


@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize(
    ("name", "settings"),
    [("downsample", {"factor": 2}), ("downsample", {"factor": 3}), ("slices", {"factor": 3}),
     ("slices", {"factor": 2, "thick": True})],
)  # fmt: skip
@pytest.mark.parametrize("direction", [np.eye(3)[0], np.eye(3)[1], np.eye(3)[2]], ids=["x", "y", "z"])
def test_a_finer_grid_lies_where_its_voxels_are(
    axes: str, name: str, settings: dict[str, int], direction: np.ndarray
) -> None:
    """A poor image of a ramp, lifted without learning, is the ramp on the finer grid, its border aside."""
    degradation = make(name, settings)
    image = image_of(AXES[axes], (6, 7, 8), direction)
    prepared = laid_out(image, Preprocessing(dims=3, size=None))
    steps, starts = degradation.steps(3), degradation.starts(3)
    space = tuple(side * step for side, step in zip(prepared.pixels.shape[2:], steps, strict=True))
    fine = degradation.lifted(torch.from_numpy(prepared.pixels), space).numpy()
    found, frame = turned_back(fine, image, prepared, steps, starts)
    expected = ramp(frame.affine, found.shape[1:], direction)
    inner = tuple(slice(3, -3) if each > 8 else slice(None) for each in found.shape[1:])
    assert np.allclose(found[0][inner], expected[inner], atol=1e-3)
    assert sorted(found.shape[1:]) == sorted(space)
    voxel = np.linalg.norm(frame.affine[:3, :3], axis=0)
    assert np.prod(voxel) == pytest.approx(24 / np.prod(steps))


@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("dims", [2, 3])
def test_on_its_own_grid_an_image_comes_back_as_it_was(axes: str, dims: int) -> None:
    image = image_of(AXES[axes], (6, 7, 8), np.array([1.0, 2.0, 3.0]))
    prepared = laid_out(image, Preprocessing(dims=dims, size=None))
    found, frame = turned_back(prepared.pixels, image, prepared)
    assert np.array_equal(found, image.pixels)
    assert np.array_equal(frame.affine, image.affine)


@pytest.mark.parametrize("axes", AXES)
def test_slices_of_a_volume_are_made_finer_in_their_plane_alone(axes: str) -> None:
    direction = np.array([1.0, 2.0, 3.0])
    degradation = make("downsample", {"factor": 2})
    image = image_of(AXES[axes], (6, 7, 8), direction)
    prepared = laid_out(image, Preprocessing(dims=2, size=None))
    space = tuple(2 * side for side in prepared.pixels.shape[2:])
    fine = degradation.lifted(torch.from_numpy(prepared.pixels), space).numpy()
    found, frame = turned_back(fine, image, prepared, degradation.steps(2), degradation.starts(2))
    assert found[0].size == 4 * image.pixels.size
    expected = ramp(frame.affine, found.shape[1:], direction)
    inner = tuple(slice(1, -1) for _ in range(3))
    assert np.allclose(found[0][inner], expected[inner], atol=1e-3)


def test_cropped_images_keep_their_place() -> None:
    image = image_of(AXES["PIL"], (6, 7, 9), np.array([1.0, 2.0, 3.0]))
    prepared = laid_out(image, Preprocessing(dims=3, size=None))
    cropped = prepared.pixels[:, :, :8, :4, :6]
    found, frame = turned_back(cropped, image, prepared)
    assert np.allclose(found[0], ramp(frame.affine, found.shape[1:], np.array([1.0, 2.0, 3.0])), atol=1e-3)


def test_a_picture_without_a_place_grows() -> None:
    image = Image(np.arange(12.0, dtype=np.float32).reshape(1, 3, 4), np.eye(4), Path("a.png"), "picture")
    prepared = laid_out(image, Preprocessing(size=None))
    found, frame = turned_back(prepared.pixels.repeat(2, 2).repeat(2, 3), image, prepared, (2, 2), (0.5, 0.5))
    assert found.shape == (1, 6, 8)
    assert np.array_equal(found[0], image.pixels[0].repeat(2, 0).repeat(2, 1))
    assert np.allclose(frame.affine[:2, :2], np.eye(2) / 2)
    assert np.allclose(frame.affine[:2, 3], -0.25)
