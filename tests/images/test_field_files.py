from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from scipy import ndimage

from anomaly.errors import AnomalyError, UnreadableImage
from anomaly.images import Image, write_volume
from anomaly.images.fields import CONVENTION, field_in_mm, read_field, write_field
from anomaly.images.prepared import Prepared
from anomaly.images.preprocessing import Preprocessing
from anomaly.nets.fields import warp

LPS = np.diag([-1, -1, 1, 1])
SPACE = (6, 5, 4)


def oblique(order: tuple[int, ...] = (2, 0, 1), signs: tuple[int, ...] = (1, -1, 1)) -> np.ndarray:
    """Axes exchanged, turned round, of three lengths, then turned about z and x by 0.3."""
    c, s = np.cos(0.3), np.sin(0.3)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.eye(3)[:, list(order)] * np.array(signs) * np.array([0.8, 1.3, 2.5])
    affine[:3, 3] = 10, -20, 30
    return affine


def made(values: np.ndarray, affine: np.ndarray) -> Image:
    return Image(np.asarray(values, dtype=np.float32)[None], affine, Path("scan"), "nifti")


def numbered(*space: int) -> np.ndarray:
    return np.arange(np.prod(space), dtype=np.float32).reshape(space)


def fetched(values: np.ndarray, vectors: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Values at every voxel's place in millimetres plus its vector; the edge is repeated."""
    places = np.moveaxis(np.indices(values.shape), 0, -1) @ affine[:3, :3].T + affine[:3, 3] + vectors
    voxels = np.moveaxis((places - affine[:3, 3]) @ np.linalg.inv(affine[:3, :3]).T, -1, 0)
    return ndimage.map_coordinates(values.astype(np.float64), voxels, order=1, mode="nearest")


def one_pixel(prepared: Prepared, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """The field of one pixel along an axis, and the source as it looks moved by it on the prepared grid."""
    slices, _, *size = prepared.pixels.shape
    field = np.zeros((slices, len(size), *size), dtype=np.float32)
    field[:, axis] = 1
    moved = warp(torch.from_numpy(prepared.pixels), torch.from_numpy(field)).numpy()
    return field if prepared.sliced is not None else field[0], prepared.restore(moved)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize(
    ("order", "signs"), [((2, 0, 1), (1, -1, 1)), ((0, 1, 2), (-1, -1, 1)), ((1, 2, 0), (-1,) * 3)]
)
def test_a_pixel_on_the_prepared_grid_is_a_voxel_in_the_patient(
    order: tuple[int, ...], signs: tuple[int, ...], axis: int
) -> None:
    values, affine = numbered(*SPACE), oblique(order, signs)
    prepared = Preprocessing(dims=3, size=None, intensity="none").apply(made(values, affine))
    field, expected = one_pixel(prepared, axis)
    displacement = field_in_mm(field, prepared, affine)
    assert displacement.shape == (*SPACE, 3) and displacement.dtype == np.float32
    # Prepared axes point to R, A and S, from which this one is turned by no more than the scan is.
    assert displacement[0, 0, 0].argmax() == axis
    np.testing.assert_allclose(fetched(values, displacement, affine), expected, atol=1e-4)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("slices", ["axial", "sagittal", "coronal"])
def test_slices_move_within_their_planes(slices: str, axis: int) -> None:
    values, affine = numbered(*SPACE), oblique()
    prepared = Preprocessing(dims=2, size=None, slices=slices, intensity="none").apply(made(values, affine))
    field, expected = one_pixel(prepared, axis)
    displacement = field_in_mm(field, prepared, affine)
    np.testing.assert_allclose(fetched(values, displacement, affine), expected, atol=1e-4)


def test_larger_pixels_are_more_millimetres() -> None:
    affine = np.diag([0.5, 3.0, 1.0, 1.0])
    prepared = Preprocessing(size=(4, 2), fit="resize", intensity="none").apply(made(numbered(8, 6), affine))
    field = np.stack([np.full((4, 2), 1.5), np.full((4, 2), -2.0)]).astype(np.float32)
    displacement = field_in_mm(field, prepared, affine)
    # A prepared pixel is 2 rows of 0.5 mm high, and 3 columns of 3 mm wide.
    expected = np.broadcast_to([1.5 * 2 * 0.5, -2.0 * 3 * 3.0, 0.0], (8, 6, 3))
    np.testing.assert_allclose(displacement, expected, rtol=1e-6)


def test_a_tilted_picture_moves_in_its_plane() -> None:
    affine = oblique()
    prepared = Preprocessing(size=None, intensity="none").apply(made(numbered(5, 4), affine))
    size = prepared.pixels.shape[2:]
    field = np.stack([np.full(size, 2.0), np.full(size, 3.0)]).astype(np.float32)
    expected = (affine[:3, :2] @ prepared.matrix[:2, :2]) @ np.array([2.0, 3.0])
    np.testing.assert_allclose(field_in_mm(field, prepared, affine)[2, 2], expected, rtol=1e-5)


def test_nothing_moves_outside_what_was_prepared() -> None:
    prepared = Preprocessing(size=4, fit="crop", intensity="none").apply(made(numbered(8, 6), np.eye(4)))
    displacement = field_in_mm(np.ones((2, 4, 4), dtype=np.float32), prepared, np.eye(4))
    moving = np.zeros((8, 6))
    moving[2:6, 1:5] = 1
    np.testing.assert_array_equal(displacement, np.stack([moving, moving, 0 * moving], axis=-1))


def test_a_field_of_another_shape_is_refused_with_both() -> None:
    prepared = Preprocessing(size=4, fit="crop", intensity="none").apply(made(numbered(8, 6), np.eye(4)))
    with pytest.raises(AnomalyError, match=r"\(2, 8, 6\).*\(2, 4, 4\)"):
        field_in_mm(np.zeros((2, 8, 6)), prepared, np.eye(4))
    volume = Preprocessing(dims=2, size=None, intensity="none").apply(made(numbered(*SPACE), np.eye(4)))
    with pytest.raises(AnomalyError, match=r"\(2, 6, 5\).*\(4, 2, 6, 5\)"):
        field_in_mm(np.zeros((2, 6, 5)), volume, np.eye(4))


def test_a_file_comes_back_as_it_was(tmp_path: Path) -> None:
    for space in [(4, 3, 2), (4, 3)]:
        displacement = np.random.default_rng(0).normal(size=(*space, 3)).astype(np.float32)
        write_field(tmp_path / "new" / "field.nii.gz", displacement, oblique())
        found, affine = read_field(tmp_path / "new" / "field.nii.gz")
        np.testing.assert_array_equal(found, displacement)
        np.testing.assert_allclose(affine, oblique(), rtol=1e-6)
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["field.nii.gz"]


def test_the_file_is_an_itk_vector_field_in_lps(tmp_path: Path) -> None:
    displacement = np.broadcast_to(np.array([1.0, 2.0, 3.0]), (4, 3, 2, 3))
    write_field(tmp_path / "field.nii", displacement, oblique())
    file: Any = nib.load(tmp_path / "field.nii")
    assert file.shape == (4, 3, 2, 1, 3) and file.get_data_dtype() == np.float32
    assert file.header.get_intent("code")[0] == 1007
    assert file.header["descrip"].item().decode() == CONVENTION and len(CONVENTION) < 80
    assert file.header["qform_code"] == file.header["sform_code"] == 1
    assert file.header.get_xyzt_units()[0] == "mm"
    np.testing.assert_array_equal(file.get_fdata()[3, 2, 1, 0], [-1, -2, 3])
    write_field(tmp_path / "picture.nii", displacement[:, :, 0], np.eye(4))
    file = nib.load(tmp_path / "picture.nii")
    assert file.shape == (4, 3, 1, 1, 3)


def test_whoever_adds_the_vectors_to_points_in_lps_draws_the_counterfactual(tmp_path: Path) -> None:
    values, affine = numbered(*SPACE), oblique()
    prepared = Preprocessing(dims=3, size=None, intensity="none").apply(made(values, affine))
    for axis in range(3):
        field, expected = one_pixel(prepared, axis)
        write_field(tmp_path / "field.nii.gz", field_in_mm(field, prepared, affine), affine)
        file: Any = nib.load(tmp_path / "field.nii.gz")
        found = fetched(values, file.get_fdata()[:, :, :, 0], LPS @ file.affine)
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_itk_draws_the_same_counterfactual(tmp_path: Path) -> None:
    itk = pytest.importorskip("SimpleITK")
    random, affine = np.random.default_rng(0), oblique()
    values = ndimage.gaussian_filter(random.normal(size=(24, 20, 15)), 1.5).astype(np.float32)
    prepared = Preprocessing(dims=3, size=16).apply(made(values, affine))
    field = 15 * ndimage.gaussian_filter(random.normal(size=(3, 16, 16, 16)), (0, 3, 3, 3)).astype(np.float32)
    displacement = field_in_mm(field, prepared, affine)
    write_volume(tmp_path / "image.nii.gz", values, affine)
    write_field(tmp_path / "field.nii.gz", displacement, affine)
    image = itk.ReadImage(str(tmp_path / "image.nii.gz"), itk.sitkFloat32)
    vectors = itk.ReadImage(str(tmp_path / "field.nii.gz"), itk.sitkVectorFloat64)
    drawn = itk.Resample(image, image, itk.DisplacementFieldTransform(vectors), itk.sitkLinear, -99.0)
    found = itk.GetArrayFromImage(drawn).T
    seen = found != -99
    assert seen.mean() > 0.8 and np.abs(found - values)[seen].max() > 0.1
    np.testing.assert_allclose(found[seen], fetched(values, displacement, affine)[seen], atol=1e-5)


def test_what_is_no_displacement_is_refused(tmp_path: Path) -> None:
    for shape in [(4, 3, 2), (4, 3), (4, 3, 2, 1, 3)]:
        with pytest.raises(AnomalyError, match=rf"got \({shape[0]}, {shape[1]}"):
            write_field(tmp_path / "field.nii", np.zeros(shape), np.eye(4))
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    displacement = np.ones((4, 3, 2, 3), dtype=np.float32)
    write_field(tmp_path / "field.nii", displacement, np.eye(4))
    with pytest.raises(ValueError):
        write_field(tmp_path / "field.nii", 2 * displacement, np.eye(3))
    assert [file.name for file in tmp_path.iterdir()] == ["field.nii"]
    np.testing.assert_array_equal(read_field(tmp_path / "field.nii")[0], displacement)


def test_a_file_that_is_no_field_is_told(tmp_path: Path) -> None:
    write_volume(tmp_path / "map.nii", np.zeros((4, 3, 2)), np.eye(4))
    with pytest.raises(UnreadableImage, match=r"map\.nii: has intent code 0 and shape \(4, 3, 2\)"):
        read_field(tmp_path / "map.nii")
    file = nib.Nifti1Image(np.zeros((4, 3, 2, 1, 2), dtype=np.float32), np.eye(4))
    file.header.set_intent(1007)
    nib.save(file, tmp_path / "flat.nii")
    with pytest.raises(UnreadableImage, match=r"1007 and shape \(4, 3, 2, 1, 2\)"):
        read_field(tmp_path / "flat.nii")
    (tmp_path / "notes.nii").write_text("no image")
    with pytest.raises(UnreadableImage, match=r"notes\.nii"):
        read_field(tmp_path / "notes.nii")
    nib.save(nib.MGHImage(np.zeros((4, 3, 2), dtype=np.float32), np.eye(4)), tmp_path / "brain.mgz")
    with pytest.raises(UnreadableImage, match="None and shape"):
        read_field(tmp_path / "brain.mgz")
