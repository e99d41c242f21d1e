"""A map of any image, however it is prepared, lies in its file where it lies in the body, for nibabel and for ITK.

The map is a ramp: its three values at a pixel are the place of that pixel, in millimetres from the image's first voxel.
So whatever a reader finds at a voxel says where the program thinks that this voxel is.
"""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_frames import in_itk, in_nibabel

from anomaly.images import Image, write_volume
from anomaly.images.fields import field_in_mm, read_field, write_field
from anomaly.images.frame import Frame
from anomaly.images.image import invertible, voxel_volume
from anomaly.images.itk import has_reader
from anomaly.images.prepared import Prepared
from anomaly.images.preprocessing import Preprocessing

LETTERS = st.sampled_from(["RAS", "LPS", "PIL", "ASR", "keep"])
angles = st.floats(-3, 3)
images = st.fixed_dictionaries(
    {
        "space": st.tuples(*[st.integers(2, 9)] * 3),
        "thin": st.sampled_from([None, None, 0, 1, 2]),  # the axis that is 1 long and left out, so that it is a picture
        "angles": st.tuples(angles, angles, angles),
        "flip": st.booleans(),
        "voxel": st.tuples(*[st.floats(0.3, 5)] * 3),
        "shear": st.sampled_from([0.0, 0.0, 0.3]),
        "start": st.tuples(*[st.floats(-300, 300, width=32)] * 3),
    }
)
preparations = st.fixed_dictionaries(
    {
        "dims": st.sampled_from([2, 3]),
        "size": st.sampled_from([None, 3, 6, 12]),
        "fit": st.sampled_from(["pad", "resize", "crop"]),
        "spacing": st.sampled_from([None, None, 0.7, 2.5]),
        "orientation": LETTERS,
        "slices": st.sampled_from(["axial", "sagittal", "coronal"]),
    }
)


def turned(angles: tuple[float, ...]) -> np.ndarray:
    turn = np.eye(3)
    for angle, (one, other) in zip(angles, ((0, 1), (1, 2), (0, 2)), strict=True):
        step = np.eye(3)
        step[[one, other], [one, other]] = np.cos(angle)
        step[one, other], step[other, one] = -np.sin(angle), np.sin(angle)
        turn = step @ turn
    return turn


def made(told: dict[str, Any]) -> Image:
    shear = np.eye(3)
    shear[1, 2] = told["shear"]
    affine = np.eye(4)
    affine[:3, :3] = turned(told["angles"]) @ shear * told["voxel"] * (1, 1, -1 if told["flip"] else 1)
    affine[:3, 3] = told["start"]
    frame = Frame.of(affine, told["thin"])
    space = [length for axis, length in enumerate(told["space"]) if axis != told["thin"]]
    values = np.random.default_rng(0).random((1, *space), dtype=np.float32)
    return Image(values, frame.affine, Path("scan"), "nifti", None, frame)


def settled(image: Image, asked: dict[str, Any]) -> Preprocessing:
    dims = min(asked["dims"], image.ndim)
    spacing = None if asked["fit"] == "resize" and asked["size"] else asked["spacing"]
    return Preprocessing(**{**asked, "dims": dims, "spacing": spacing}, intensity="none")


def ramp(image: Image, prepared: Prepared) -> np.ndarray:
    """The place of every prepared pixel, (3, S, 1, *size), in millimetres from the source's first voxel."""
    shape = prepared.foreground.shape
    grid = shape[2:] if prepared.sliced is None else tuple(np.insert(shape[2:], prepared.sliced, shape[0]))
    index = np.stack([*np.indices(grid), np.ones(grid)])
    source = np.tensordot(prepared.matrix, index, 1)[:-1]
    places = np.tensordot(image.affine[:3, : image.ndim], source, 1)
    places = places[:, None] if prepared.sliced is None else np.moveaxis(places, prepared.sliced + 1, 1)
    return places[:, :, None]


def known(image: Image, prepared: Prepared) -> tuple[np.ndarray, np.ndarray]:
    """Of each source voxel whether what was prepared covers it, and whether between the centres of pixels."""
    index = np.stack([*np.indices(image.space), np.ones(image.space)])
    there = np.tensordot(np.linalg.inv(prepared.matrix), index, 1)[:-1]
    shape = prepared.foreground.shape
    grid = shape[2:] if prepared.sliced is None else tuple(np.insert(shape[2:], prepared.sliced, shape[0]))
    ends = np.reshape(grid, (-1, *[1] * image.ndim)) - 1
    beyond = np.maximum(-there, there - ends)
    return (beyond < 0.5 - 1e-5).all(0), (beyond < 1e-5).all(0)


def half_a_pixel(image: Image, prepared: Prepared) -> float:
    """The most millimetres by which the ramp may be off beyond the outermost centres of prepared pixels."""
    steps = image.affine[:3, : image.ndim] @ prepared.matrix[:-1, :-1]
    return float(np.linalg.norm(steps, axis=0).sum() / 2)


TOLERANCE = 2e-3  # millimetres, of images of some 50 mm in single precision
THICK: dict[str, Any] = {
    "space": (5, 4, 3), "thin": None, "angles": (0.0, 0.0, 0.0), "flip": False, "voxel": (1.0, 2.0, 3.0), "shear": 0.0,
    "start": (10.0, 20.0, 30.0),
}  # fmt: skip
KEPT = {"dims": 2, "size": None, "fit": "pad", "spacing": None, "orientation": "PIL", "slices": "coronal"}


@settings(max_examples=60, deadline=None, derandomize=True)
@example(THICK, KEPT)
@example(
    {**THICK, "space": (9, 9, 2), "voxel": (5.0, 5.0, 0.3)}, {**KEPT, "dims": 3, "size": 6}
)  # thinner than a pixel
@given(images, preparations)
def test_a_map_says_where_it_is(
    tmp_path_factory: pytest.TempPathFactory, told: dict[str, Any], asked: dict[str, Any]
) -> None:
    image = made(told)
    prepared = settled(image, asked).apply(image)
    places = np.stack([prepared.restore(one) for one in ramp(image, prepared)])
    covered, between = known(image, prepared)
    path = tmp_path_factory.mktemp("map") / "map.nii"
    space = [1 if axis == told["thin"] else length for axis, length in enumerate(told["space"])]
    readers = [in_nibabel] if told["shear"] or not has_reader() else [in_nibabel, in_itk]  # ITK lays no shear
    for axis in range(3):
        write_volume(path, places[axis], image.frame)
        found: Any = nib.load(path)
        assert list(found.shape) == space
        values = found.get_fdata().reshape(image.space)
        for affine in (reader(path) for reader in readers):
            millimetres = np.tensordot(affine[:3, :3], np.indices(space), 1)[axis].reshape(image.space)
            error = np.abs(values - millimetres)
            assert (error[between] < TOLERANCE).all()
            assert (error[covered] < half_a_pixel(image, prepared) + TOLERANCE).all()
    np.testing.assert_allclose(in_nibabel(path)[:3, 3], told["start"], rtol=1e-5, atol=1e-3)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(images, preparations)
def test_there_and_back_a_ramp_is_itself(told: dict[str, Any], asked: dict[str, Any]) -> None:
    """Off by no more than it rises over a prepared pixel and one of its own, and by nothing where none is resampled.

    That is at voxels a prepared pixel or more from the edge: nearer ones are mixed with the background around.
    """
    image = made(told)
    index = np.indices(image.space)
    slopes = image.affine[:3, : image.ndim].sum(0)
    image.pixels[0] = np.tensordot(slopes, index, 1)
    prepared = settled(image, asked).apply(image)
    back = prepared.restore(prepared.pixels)
    covered, _ = known(image, prepared)
    steps = np.abs(slopes @ prepared.matrix[:-1, :-1]).sum() + np.abs(slopes).sum()
    whole = np.isin(np.abs(prepared.matrix[:-1, :-1]), (0, 1)).all()
    bound = 1e-4 if whole else steps
    reach = np.reshape(np.abs(prepared.matrix[:-1, :-1]).sum(1) * (not whole), (-1, *[1] * image.ndim))
    ends = np.reshape(image.space, reach.shape) - 0.5
    inner = ((index - reach > -0.5) & (index + reach < ends)).all(0)
    assert (np.abs(back - image.pixels[0])[covered & inner] <= bound).all()


@settings(max_examples=40, deadline=None, derandomize=True)
@given(images.map(lambda told: {**told, "thin": None, "shear": 0.0}), preparations)
def test_a_field_that_moves_a_pixel_moves_by_its_millimetres(
    tmp_path_factory: pytest.TempPathFactory, told: dict[str, Any], asked: dict
) -> None:
    image = made(told)
    prepared = settled(image, {**asked, "dims": 3}).apply(image)
    shape = prepared.foreground.shape[2:]
    path = tmp_path_factory.mktemp("field") / "field.nii"
    covered, _ = known(image, prepared)
    for axis in range(3):
        field = np.zeros((3, *shape), dtype=np.float32)
        field[axis] = 1
        write_field(path, field_in_mm(field, prepared, image.frame), image.frame)
        found, affine = read_field(path)
        assert invertible(affine)
        moved = image.affine[:3, :3] @ prepared.matrix[:3, axis]
        np.testing.assert_allclose(found[covered], np.broadcast_to(moved, found[covered].shape), rtol=1e-4, atol=1e-4)
        stored: Any = nib.load(path)
        lps = np.asarray(stored.dataobj)[:, :, :, 0]
        np.testing.assert_array_equal(lps * np.float32([-1, -1, 1]), found)
        if has_reader():
            np.testing.assert_allclose(in_itk(path)[:3, :3], image.affine[:3, :3], atol=1e-3)


def test_a_voxel_has_the_volume_its_edges_span() -> None:
    lying = np.array([[0, 2, 0, 9], [-3, 0, 0, 9], [0, 0, 5, 9], [0, 0, 0, 1.0]])
    assert voxel_volume(lying, 3) == 30 and voxel_volume(lying, 2) == 6
    skewed = lying.copy()
    skewed[:3, 1] += skewed[:3, 0] / 3
    assert voxel_volume(skewed, 3) == pytest.approx(30) and voxel_volume(skewed, 2) == pytest.approx(6)
