"""Images seen in a mirror: exact in space, whatever the obliquity."""

from pathlib import Path

import numpy as np
import pytest
from nibabel.affines import apply_affine

from anomaly.errors import AnomalyError
from anomaly.images import Image
from anomaly.registrars.mirror import mirrored


def oblique() -> np.ndarray:
    """An affine whose second axis is closest to right-left, turned by 20 degrees, and off the centre."""
    angle = np.radians(20)
    turn = np.array([[0, np.cos(angle), -np.sin(angle)], [1, 0, 0], [0, np.sin(angle), np.cos(angle)]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([0.5, 0.7, 3.0])
    affine[:3, 3] = (-120.0, 30.0, -7.0)
    return affine


def volume(affine: np.ndarray, shape: tuple[int, ...] = (1, 6, 7, 5)) -> Image:
    return Image(np.random.default_rng(0).normal(size=shape).astype(np.float32), affine, Path("knee.nii.gz"), "nifti")


@pytest.mark.parametrize("affine", [np.diag([2.0, 1.0, 1.0, 1.0]), np.diag([-1.0, -1.0, 1.0, 1.0]), oblique()])
def test_mirror_is_exact_in_space(affine: np.ndarray) -> None:
    image = volume(affine)
    seen = mirrored(image)
    assert np.linalg.det(seen.affine) == pytest.approx(np.linalg.det(affine))
    # Each value now lies at the mirror image of the place it had.
    places = np.argwhere(np.ones(image.space))
    before = {tuple(np.round(apply_affine(affine, p) * (-1, 1, 1), 4)): image.pixels[(0, *p)] for p in places}
    after = {tuple(np.round(apply_affine(seen.affine, p), 4)): seen.pixels[(0, *p)] for p in places}
    assert before.keys() == after.keys() and all(before[place] == after[place] for place in before)
    again = mirrored(seen)
    assert np.array_equal(again.pixels, image.pixels) and np.allclose(again.affine, affine)


def test_axis_closest_to_right_left_is_turned() -> None:
    image = volume(oblique())
    assert np.array_equal(mirrored(image).pixels, image.pixels[:, :, ::-1])


def test_left_knee_comes_to_lie_on_the_right_one() -> None:
    right, left = np.diag([2.0, 1.0, 1.0, 1.0]), np.diag([2.0, 1.0, 1.0, 1.0])
    right[0, 3], left[0, 3] = 90 - 5, -90 - 5  # six sagittal slices about x = 90 and x = -90
    assert np.allclose(mirrored(volume(left)).affine, right)


def test_pictures_have_no_mirror() -> None:
    with pytest.raises(AnomalyError, match="does not tell where left is"):
        mirrored(volume(np.eye(4), (1, 6, 7)))
