"""What is written for an image lies where the image lies, for every reader: nibabel, and ITK where it is installed."""

from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from anomaly.errors import UnreadableImage
from anomaly.images import Image, read, write_volume
from anomaly.images.fields import field_in_mm, read_field, write_field
from anomaly.images.frame import Frame, orthogonal, upright
from anomaly.images.image import invertible
from anomaly.images.preprocessing import Preprocessing

ANGLE = 0.3
TURN = np.array([[np.cos(ANGLE), -np.sin(ANGLE), 0], [np.sin(ANGLE), np.cos(ANGLE), 0], [0, 0, 1]])


def lying(at: tuple[float, float, float], turn: Any = None, zooms: Any = (2, 3, 4)) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = (np.eye(3) if turn is None else turn) @ np.diag(zooms)
    affine[:3, 3] = at
    return affine


SFORM, QFORM = lying((10, 20, 30)), lying((-5, -6, -7), TURN)
SHEARED, LEFT = lying((1, 2, 3)), lying((90, 2, 3))
SHEARED[1, 2], LEFT[0, 0] = 1.5, -2


@dataclass(frozen=True)
class Given:
    """A NIfTI file by what its header says."""

    sform: np.ndarray
    qform: np.ndarray
    codes: tuple[int, int]
    space: tuple[int, ...] = (4, 5, 6)
    units: str = "mm"
    zooms: tuple[float, ...] = (2, 3, 4)

    def write(self, path: Path) -> Path:
        values = np.random.default_rng(0).random(self.space, dtype=np.float32)
        file: Any = nib.Nifti1Image(values, None)
        file.header.set_zooms(self.zooms)
        file.header.set_sform(self.sform, self.codes[0])
        file.header.set_qform(self.qform, self.codes[1])
        file.header.set_xyzt_units(self.units)
        nib.save(file, path)
        return path


MICRONS, METRES = (500.0, 600.0, 700.0), (0.002, 0.003, 0.004)
GIVEN = {
    **{f"codes {s} {q}": Given(SFORM, QFORM, (s, q)) for s, q in product(range(5), range(5))},
    "left-handed": Given(LEFT, LEFT, (1, 1)),
    "sheared": Given(SHEARED, upright(SHEARED), (1, 1)),
    "micrometres": Given(*[lying((1e3, 2e3, 3e3), None, MICRONS)] * 2, (1, 1), units="micron", zooms=MICRONS),
    "metres": Given(
        lying((0.1, 0.2, 0.3), None, METRES), lying((0, 0, 0), TURN, METRES), (2, 1), units="meter", zooms=METRES
    ),
    "sagittal slice": Given(SFORM, QFORM, (1, 1), (1, 5, 6)),
    "coronal slice": Given(SFORM, QFORM, (2, 1), (4, 1, 6)),
    "axial slice": Given(SFORM, QFORM, (4, 0), (4, 5, 1)),
}


def in_nibabel(path: Path) -> np.ndarray:
    file: Any = nib.load(path)
    return np.asarray(file.affine)


def in_itk(path: Path) -> np.ndarray:
    """Index to millimetres, RAS+, as ITK takes a file."""
    itk = pytest.importorskip("SimpleITK")
    found = itk.ReadImage(str(path))
    affine = np.eye(4)
    affine[:3, :3] = np.array(found.GetDirection()).reshape(3, 3) * found.GetSpacing()
    affine[:3, 3] = found.GetOrigin()
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


@pytest.mark.parametrize("name", GIVEN)
def test_a_map_lies_on_its_source_in_nibabel_and_itk(name: str, tmp_path: Path) -> None:
    source = GIVEN[name].write(tmp_path / "source.nii")
    image = read(source)
    write_volume(tmp_path / "map.nii.gz", np.ones(image.space), image.frame)
    before: Any = nib.load(source)
    after: Any = nib.load(tmp_path / "map.nii.gz")
    assert after.shape == before.shape
    for form in ("sform", "qform"):
        assert after.header[f"{form}_code"] == before.header[f"{form}_code"]
        np.testing.assert_array_equal(getattr(after, f"get_{form}")(), getattr(before, f"get_{form}")())
    assert after.header.get_xyzt_units()[0] == before.header.get_xyzt_units()[0]
    np.testing.assert_array_equal(after.affine, before.affine)
    np.testing.assert_allclose(in_itk(tmp_path / "map.nii.gz"), in_itk(source), atol=1e-5)


@pytest.mark.parametrize("name", GIVEN)
def test_affines_are_in_millimetres_and_the_frame_knows_what_itk_takes(name: str, tmp_path: Path) -> None:
    given = GIVEN[name]
    image = read(given.write(tmp_path / "source.nii"))
    scale = {"mm": 1.0, "micron": 1e-3, "meter": 1e3}[given.units]
    whole = in_nibabel(tmp_path / "source.nii")
    whole[:3] *= scale
    single = given.space.index(1) if 1 in given.space else 2
    order = [*(axis for axis in range(3) if axis != single), single, 3]
    np.testing.assert_allclose(image.affine, whole[:, order], rtol=1e-6)
    assert image.space == tuple(length for length in given.space if length > 1)
    np.testing.assert_allclose(image.frame.in_itk(), in_itk(tmp_path / "source.nii")[:, order], atol=1e-4)


@pytest.mark.parametrize("name", ["codes 1 1", "codes 2 1", "codes 4 0", "codes 0 3", "metres", "left-handed"])
def test_a_field_moves_the_image_in_itk_as_it_does_here(name: str, tmp_path: Path) -> None:
    itk = pytest.importorskip("SimpleITK")
    given = GIVEN[name]
    image = read(given.write(tmp_path / "source.nii"))
    prepared = Preprocessing(dims=3, size=None, orientation="keep", intensity="none").apply(image)
    shift = np.zeros((3, *image.space), dtype=np.float32)
    shift[0] = 1.0  # one voxel along i, everywhere
    write_field(tmp_path / "field.nii.gz", field_in_mm(shift, prepared, image.frame), image.frame)
    still = itk.ReadImage(str(tmp_path / "source.nii"))
    vectors = itk.Cast(itk.ReadImage(str(tmp_path / "field.nii.gz")), itk.sitkVectorFloat64)
    moved = itk.GetArrayFromImage(itk.Resample(still, still, itk.DisplacementFieldTransform(vectors))).T
    np.testing.assert_allclose(moved[:-1], image.pixels[0, 1:], atol=1e-4)
    found, affine = read_field(tmp_path / "field.nii.gz")
    np.testing.assert_allclose(found, np.broadcast_to(affine[:3, 0], (*image.space, 3)), rtol=1e-4, atol=1e-6)


def test_a_frame_of_an_affine_says_it_in_both_forms(tmp_path: Path) -> None:
    write_volume(tmp_path / "map.nii", np.ones((4, 5, 6)), QFORM)
    file: Any = nib.load(tmp_path / "map.nii")
    assert file.header["sform_code"] == file.header["qform_code"] == 1
    np.testing.assert_allclose(in_itk(tmp_path / "map.nii"), QFORM, atol=1e-5)
    np.testing.assert_allclose(file.affine, QFORM, atol=1e-6)


def test_a_tilted_gantry_is_exact_in_nibabel_and_upright_in_itk(tmp_path: Path) -> None:
    write_volume(tmp_path / "map.nii", np.ones((4, 5, 6)), SHEARED)
    np.testing.assert_allclose(in_nibabel(tmp_path / "map.nii"), SHEARED, atol=1e-6)
    found = in_itk(tmp_path / "map.nii")
    assert orthogonal(found) and not orthogonal(SHEARED)
    np.testing.assert_allclose(found[:, [0, 1, 3]], SHEARED[:, [0, 1, 3]], atol=1e-5)  # slices are where they are
    assert np.linalg.norm(found[:3, 2]) == pytest.approx(np.linalg.norm(SHEARED[:3, 2]), rel=1e-6)


def test_a_frame_that_an_image_no_longer_has_is_not_written(tmp_path: Path) -> None:
    image = read(GIVEN["codes 2 1"].write(tmp_path / "source.nii"))
    moved = Image(image.pixels, lying((0, 0, 0)), image.path, image.kind, None, image.source)
    np.testing.assert_array_equal(moved.frame.affine, lying((0, 0, 0)))
    assert isinstance(image.frame, Frame) and image.frame is image.source


@pytest.mark.parametrize("zoom", [9e-7, 5e-4, 1.0, 1e6])
def test_small_voxels_are_invertible_and_flat_ones_are_not(zoom: float) -> None:
    assert invertible(lying((0, 0, 0), TURN, (zoom, zoom, zoom)))
    flat = lying((0, 0, 0), TURN, (zoom, zoom, zoom))
    flat[:3, 2] = flat[:3, 1]
    assert not invertible(flat) and not invertible(lying((0, 0, 0), None, (zoom, zoom, 0)))
    assert not invertible(lying((np.nan, 0, 0)))


def test_spacing_of_a_file_in_metres_is_millimetres(tmp_path: Path) -> None:
    image = read(GIVEN["metres"].write(tmp_path / "source.nii"))
    prepared = Preprocessing(dims=3, size=None, spacing=1.0).apply(image)
    assert prepared.pixels.shape == (1, 1, 8, 15, 24)


def test_a_grid_beyond_all_memory_is_refused_by_name(tmp_path: Path) -> None:
    image = read(GIVEN["codes 1 1"].write(tmp_path / "source.nii"))
    with pytest.raises(UnreadableImage, match=r"source.nii: would have .* give a larger --spacing or a --size"):
        Preprocessing(dims=3, size=None, spacing=1e-3).apply(image)


def test_one_slice_is_prepared_like_the_slice_of_its_volume(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((4, 5, 6), dtype=np.float32)
    affine = lying((0, 0, 0), np.diag([-1, 1, 1]) @ TURN)
    nib.save(nib.Nifti1Image(values, affine), tmp_path / "volume.nii")
    nib.save(nib.Nifti1Image(values[:, :, 2:3], affine), tmp_path / "slice.nii")
    kept = Preprocessing(size=None, intensity="none")
    volume, alone = kept.apply(read(tmp_path / "volume.nii")), kept.apply(read(tmp_path / "slice.nii"))
    np.testing.assert_array_equal(alone.pixels[0], volume.pixels[2])
    back = alone.restore(alone.pixels[:, :1])
    np.testing.assert_array_equal(back, values[:, :, 2])


@pytest.mark.parametrize("axis", range(3))
def test_a_thin_volume_is_a_picture_whichever_axis_is_thin(axis: int, tmp_path: Path) -> None:
    space = tuple(1 if k == axis else 4 + k for k in range(3))
    values = np.random.default_rng(0).random(space, dtype=np.float32)
    nib.save(nib.Nifti1Image(values, lying((1, 2, 3))), tmp_path / "thin.nii")
    np.save(tmp_path / "thin.npy", values)
    for name in ("thin.nii", "thin.npy"):
        image = read(tmp_path / name)
        np.testing.assert_array_equal(image.pixels[0], values.squeeze())
        assert Preprocessing(size=8).apply(image).pixels.shape == (1, 1, 8, 8)
        with pytest.raises(UnreadableImage, match="is a 2D picture, but volumes are expected"):
            Preprocessing(dims=3, size=8).apply(image)
