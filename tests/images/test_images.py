import errno
import logging
import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
import PIL.Image
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from anomaly.errors import CohortError, UnreadableImage
from anomaly.images import Image, find, read, write_volume
from anomaly.images.arrays import write_array
from anomaly.images.image import alone
from anomaly.images.pictures import write_grey

STRANGERS = [
    file
    for folder in (
        Path(pydicom.__file__).parent / "data" / "test_files",
        Path(nib.__file__).parent / "tests" / "data",
    )
    for file in sorted(folder.rglob("*"))
    if file.is_file() and "__pycache__" not in file.parts
]


def picture(path: Path, values: np.ndarray, mode: str | None = None) -> Path:
    image = PIL.Image.fromarray(values)
    (image.convert(mode) if mode else image).save(path)
    return path


def nifti(path: Path, values: np.ndarray, affine: np.ndarray | None = None) -> Path:
    nib.save(nib.Nifti1Image(values, np.eye(4) if affine is None else affine), path)
    return path


def dicom(path: Path, values: np.ndarray, **tags: object) -> Path:
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID, data.SOPInstanceUID, data.Modality = CTImageStorage, generate_uid(), "CT"
    data.Rows, data.Columns = values.shape[-2:]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
    data.PixelData = values.astype("<u2").tobytes()
    for name, value in tags.items():
        setattr(data, name, value)
    data.save_as(path, enforce_file_format=True)
    return path


def series(folder: Path, uid: str, heights: list[float], **tags: object) -> None:
    folder.mkdir(exist_ok=True)
    for number, height in enumerate(heights):
        values = np.full((2, 3), 10 * height) + np.arange(6).reshape(2, 3)
        dicom(
            folder / f"{uid}-{number}.dcm",
            values,
            SeriesInstanceUID=uid,
            SeriesDescription=f"scan {uid}",
            ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
            ImagePositionPatient=[-5, 7, height],
            PixelSpacing=[0.5, 0.25],
            **tags,
        )


def refused(path: Path) -> str:
    with pytest.raises(UnreadableImage) as caught:
        read(path)
    told = str(caught.value)
    assert str(path) in told and "\n" not in told
    return told


# Pictures


def test_a_picture_keeps_its_rows_and_columns(tmp_path: Path) -> None:
    values = np.arange(6, dtype=np.uint8).reshape(2, 3)
    image = read(picture(tmp_path / "a.png", values))
    assert image.space == (2, 3) and image.ndim == 2 and image.kind == "picture"
    assert image.limits == (0, 255) and image.pixels.dtype == np.float32
    np.testing.assert_array_equal(image.pixels[0], values)
    np.testing.assert_array_equal(image.affine, np.eye(4))


@pytest.mark.parametrize("ending", ["png", "tif", "tiff"])
def test_sixteen_bits_are_kept(tmp_path: Path, ending: str) -> None:
    values = np.array([[0, 1, 256], [4097, 65534, 65535]], dtype=np.uint16)
    image = read(picture(tmp_path / f"a.{ending}", values))
    np.testing.assert_array_equal(image.pixels[0], values)
    assert image.limits == (0, 65535)


def test_a_jpeg_is_read_as_grey(tmp_path: Path) -> None:
    image = read(picture(tmp_path / "a.JPG", np.full((8, 16), 77, dtype=np.uint8)))
    assert image.space == (8, 16)
    assert np.abs(image.pixels - 77).max() <= 1


def test_colours_are_three_channels_and_transparency_is_dropped(tmp_path: Path) -> None:
    values = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    image = read(picture(tmp_path / "a.png", values))
    np.testing.assert_array_equal(image.pixels, np.moveaxis(values[..., :3], -1, 0))


def test_a_palette_of_greys_is_grey_and_one_of_colours_is_not(tmp_path: Path) -> None:
    grey = np.array([[0, 50], [100, 200]], dtype=np.uint8)
    assert read(picture(tmp_path / "grey.png", grey, "P")).pixels.tolist() == [grey.tolist()]
    colour = np.zeros((2, 2, 3), dtype=np.uint8)
    colour[..., 0] = 255
    assert read(picture(tmp_path / "red.png", colour, "P")).pixels[:, 0, 0].tolist() == [255, 0, 0]


def test_black_and_white_is_0_and_255(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.png", np.array([[0, 255]], dtype=np.uint8), "1")
    assert read(path).pixels.tolist() == [[[0, 255]]]


def test_a_float_tiff_is_kept_and_tells_no_limits(tmp_path: Path) -> None:
    image = read(picture(tmp_path / "a.tif", np.array([[-1.5, 2.25]], dtype=np.float32)))
    assert image.pixels.tolist() == [[[-1.5, 2.25]]] and image.limits is None


def test_several_pages_are_refused_with_their_number(tmp_path: Path) -> None:
    pages = [PIL.Image.fromarray(np.zeros((2, 2), dtype=np.uint8)) for _ in range(3)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    assert "3 pages" in refused(tmp_path / "a.tif")


# NIfTI and arrays


@pytest.mark.parametrize("ending", ["nii", "nii.gz"])
def test_a_volume_keeps_its_axes_and_affine(tmp_path: Path, ending: str) -> None:
    values = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    affine = np.array([[0, -2.0, 0, 5], [1, 0, 0, 6], [0, 0, 3, 7], [0, 0, 0, 1]])
    image = read(nifti(tmp_path / f"a.{ending}", values, affine))
    np.testing.assert_array_equal(image.pixels[0], values)
    np.testing.assert_array_equal(image.affine, affine)
    assert (image.kind, image.limits, image.ndim) == ("nifti", None, 3)


def test_one_slice_is_a_2d_image(tmp_path: Path) -> None:
    values = np.arange(6, dtype=np.float32).reshape(2, 3, 1)
    assert read(nifti(tmp_path / "a.nii", values)).pixels.tolist() == [values[..., 0].tolist()]


def test_a_short_fourth_axis_is_channels_and_a_long_one_is_refused(tmp_path: Path) -> None:
    values = np.arange(48, dtype=np.float32).reshape(2, 3, 4, 2)
    image = read(nifti(tmp_path / "a.nii", values))
    np.testing.assert_array_equal(image.pixels, np.moveaxis(values, 3, 0))
    assert "(2, 2, 2, 9)" in refused(nifti(tmp_path / "b.nii", np.zeros((2, 2, 2, 9), dtype=np.float32)))


def test_rgb_voxels_are_channels(tmp_path: Path) -> None:
    values = np.zeros((2, 3, 4), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    values["G"] = 7
    image = read(nifti(tmp_path / "a.nii", values))
    assert image.pixels.shape == (3, 2, 3, 4) and image.pixels[:, 0, 0, 0].tolist() == [0, 7, 0]


def test_a_written_map_opens_over_its_image(tmp_path: Path) -> None:
    affine = np.array([[-1.5, 0.25, 0, 10], [0.25, 1.5, 0, -20], [0, 0, 2.5, 30], [0, 0, 0, 1]])
    values = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)
    write_volume(tmp_path / "a.nii.gz", values, affine)
    image = read(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(image.pixels[0], values)
    np.testing.assert_allclose(image.affine, affine, atol=1e-6)
    np.testing.assert_allclose(nib.load(tmp_path / "a.nii.gz").get_qform(), affine, atol=1e-5)
    write_volume(tmp_path / "b.nii.gz", values[..., 0], affine)
    assert nib.load(tmp_path / "b.nii.gz").shape == (3, 4, 1)


def test_a_map_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(nib, "save", full)
    with pytest.raises(OSError, match="disk full"):
        write_volume(tmp_path / "a.nii.gz", np.zeros((2, 2, 2)), np.eye(4))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4), (2, 3, 4, 5)])
def test_arrays_are_read_by_their_dimensions(tmp_path: Path, shape: tuple[int, ...]) -> None:
    values = np.arange(np.prod(shape), dtype=np.float64).reshape(shape)
    np.save(tmp_path / "a.npy", values)
    np.savez(tmp_path / "a.npz", scan=values)
    for name in ("a.npy", "a.npz"):
        image = read(tmp_path / name)
        np.testing.assert_array_equal(image.pixels, values if len(shape) == 4 else values[None])
        assert (image.kind, image.limits) == ("array", None)


def test_arrays_that_are_no_image_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "objects.npy", np.array([{}, None]), allow_pickle=True)
    np.save(tmp_path / "text.npy", np.array([["a", "b"]]))
    np.save(tmp_path / "row.npy", np.zeros(5))
    np.savez(tmp_path / "two.npz", a=np.zeros((2, 2)), b=np.zeros((2, 2)))
    assert "plain numbers" in refused(tmp_path / "objects.npy")
    assert "<U1" in refused(tmp_path / "text.npy")
    assert "(5,)" in refused(tmp_path / "row.npy")
    assert "2 arrays (a, b)" in refused(tmp_path / "two.npz")


# DICOM


def test_rescaled_values_and_window(tmp_path: Path) -> None:
    stored = np.array([[0, 100, 4095]])
    path = dicom(
        tmp_path / "a.dcm",
        stored,
        RescaleSlope=2,
        RescaleIntercept=-1024,
        WindowCenter=[40, 300],
        WindowWidth=[401, 1500],
    )
    image = read(path)
    assert image.pixels.tolist() == [[[-1024, -824, 7166]]]
    assert image.limits == (-160.5, 239.5)  # 40 - 0.5 - 400 / 2, 40 - 0.5 + 400 / 2
    assert image.kind == "dicom"


def test_monochrome1_is_turned_round(tmp_path: Path) -> None:
    values = np.array([[0, 95, 4095]])
    image = read(dicom(tmp_path / "a.dcm", values, PhotometricInterpretation="MONOCHROME1"))
    assert image.pixels.tolist() == [[[4095, 4000, 0]]] and image.limits == (0, 4095)
    window = {"WindowCenter": 100.5, "WindowWidth": 201}
    image = read(dicom(tmp_path / "b.dcm", values, PhotometricInterpretation="MONOCHROME1", **window))
    assert image.limits == (3895, 4095)  # 4095 - 200, 4095 - 0


def test_a_single_file_keeps_rows_and_columns_and_its_place(tmp_path: Path) -> None:
    values = np.arange(6).reshape(2, 3)
    place = {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "ImagePositionPatient": [-5, 7, 9]}
    image = read(dicom(tmp_path / "no_ending", values, PixelSpacing=[0.8, 0.25], **place))
    np.testing.assert_array_equal(image.pixels[0], values)
    # One row down is 0.8 mm to the back, one column on 0.25 mm to the left.
    np.testing.assert_allclose(image.affine @ [1, 2, 0, 1], [5 - 2 * 0.25, -7 - 0.8, 9, 1])


def test_a_shuffled_series_is_put_in_order(tmp_path: Path) -> None:
    series(tmp_path / "s", "1.2.3", [6, 0, 9, 3])
    image = read(tmp_path / "s")
    assert image.space == (3, 2, 4)
    assert image.pixels[0, 0, 0].tolist() == [0, 30, 60, 90]
    assert image.pixels[0, :, 1, 0].tolist() == [3, 4, 5]
    np.testing.assert_allclose(image.affine @ [2, 1, 3, 1], [5 - 2 * 0.25, -7 - 1 * 0.5, 9, 1])


def test_a_series_along_another_direction_has_the_affine_of_its_positions(tmp_path: Path) -> None:
    for k in range(3):  # sagittal: rows run to the back, columns run down, slices go to the left
        dicom(
            tmp_path / f"{k}.dcm",
            np.full((2, 2), k),
            SeriesInstanceUID="1.2",
            ImageOrientationPatient=[0, 1, 0, 0, 0, -1],
            ImagePositionPatient=[4 - 2 * k, 1, 8],
            PixelSpacing=[1, 1],
        )
    image = read(tmp_path)
    slices = image.pixels[0, 0, 0]
    k = int(np.flatnonzero(slices == 2)[0])
    np.testing.assert_allclose(image.affine @ [1, 1, k, 1], [-0.0, -2, 7, 1], atol=1e-12)


def test_an_enhanced_file_is_a_volume(tmp_path: Path) -> None:
    def nested(**tags: object) -> list[Dataset]:
        data = Dataset()
        for name, value in tags.items():
            setattr(data, name, value)
        return [data]

    shared = nested(
        PixelMeasuresSequence=nested(PixelSpacing=[1, 1]),
        PlaneOrientationSequence=nested(ImageOrientationPatient=[1, 0, 0, 0, 1, 0]),
        PixelValueTransformationSequence=nested(RescaleSlope=3, RescaleIntercept=1, RescaleType="US"),
    )
    frames = [nested(PlanePositionSequence=nested(ImagePositionPatient=[0, 0, height]))[0] for height in (4, 0, 2)]
    path = dicom(
        tmp_path / "a.dcm",
        np.arange(3)[:, None, None] * np.ones((1, 2, 2)),
        NumberOfFrames=3,
        SharedFunctionalGroupsSequence=shared,
        PerFrameFunctionalGroupsSequence=frames,
    )
    assert read(path).pixels[0, 0, 0].tolist() == [4, 7, 1]  # frames 1, 2, 0; times 3 plus 1
    assert "without positions" in refused(dicom(tmp_path / "b.dcm", np.zeros((3, 2, 2)), NumberOfFrames=3))


def test_two_series_in_one_folder_are_named_with_their_counts(tmp_path: Path) -> None:
    series(tmp_path / "s", "1.2.3", [0, 3])
    series(tmp_path / "s", "1.2.4", [0, 3, 6])
    told = refused(tmp_path / "s")
    assert "scan 1.2.3 1.2.3: 2 files" in told and "scan 1.2.4 1.2.4: 3 files" in told


def test_a_missing_slice_and_a_doubled_one_are_refused(tmp_path: Path) -> None:
    series(tmp_path / "gap", "1.2", [0, 3, 9])
    assert "3 to 6 mm" in refused(tmp_path / "gap")
    series(tmp_path / "double", "1.2", [0, 3, 3])
    assert "1 of 3 images" in refused(tmp_path / "double")


# Whatever else is met


@pytest.mark.parametrize("path", STRANGERS, ids=lambda path: path.name)
def test_files_of_strangers_are_read_or_refused(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image = read(path)
        except UnreadableImage as error:
            assert str(path) in str(error) and "\n" not in str(error)
            return
    assert image.ndim in (2, 3) and image.pixels.dtype == np.float32
    assert image.affine.shape == (4, 4) and 0 not in image.pixels.shape


def test_some_strangers_are_read() -> None:
    assert len(STRANGERS) > 100
    folder = Path(pydicom.__file__).parent / "data" / "test_files"
    image = read(folder / "CT_small.dcm")
    assert image.space == (128, 128) and image.pixels.min() < -800


def test_bad_files_are_refused_in_one_line(tmp_path: Path) -> None:
    whole = nifti(tmp_path / "whole.nii.gz", np.random.default_rng(0).normal(size=(9, 9, 9)))
    (tmp_path / "cut.nii.gz").write_bytes(whole.read_bytes()[:2000])
    plain = nifti(tmp_path / "plain.nii", np.ones((9, 9, 9)))
    (tmp_path / "cut.nii").write_bytes(plain.read_bytes()[:2000])
    (tmp_path / "text.nii.gz").write_text("not an image")
    (tmp_path / "text.dcm").write_text("not an image")
    (tmp_path / "text.xyz").write_text("not an image")
    (tmp_path / "empty.png").touch()
    for name in ("cut.nii.gz", "cut.nii", "text.nii.gz"):
        assert "damaged" in refused(tmp_path / name)
    assert "no DICOM" in refused(tmp_path / "text.dcm")
    assert "no known format" in refused(tmp_path / "text.xyz")
    assert "0 bytes" in refused(tmp_path / "empty.png")
    assert "no such file" in refused(tmp_path / "absent.png")
    assert "without DICOM" in refused(tmp_path)


def test_nan_voxels_are_counted(tmp_path: Path) -> None:
    values = np.ones((3, 3, 3), dtype=np.float32)
    values[0, 0, :2], values[1, 1, 1] = np.nan, np.inf
    assert "3 of 27 voxels" in refused(nifti(tmp_path / "a.nii", values))


def test_an_affine_without_inverse_is_refused(tmp_path: Path) -> None:
    file = nib.Nifti1Image(np.ones((2, 2, 2), dtype=np.float32), None)
    file.set_sform(np.diag([1.0, 0, 1, 1]), code=1)
    file.set_qform(np.eye(4), code=0)
    file.to_filename(tmp_path / "a.nii")
    assert "affine" in refused(tmp_path / "a.nii")


def test_a_constant_image_can_be_read(tmp_path: Path) -> None:
    image = read(picture(tmp_path / "a.png", np.full((4, 4), 9, dtype=np.uint8)))
    assert isinstance(image, Image) and image.pixels.max() == image.pixels.min() == 9


# Finding


def test_find_lists_images_and_passes_over_the_rest(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    values = np.zeros((2, 2), dtype=np.uint8)
    for folder in ("b", "a/deep", ".hidden"):
        (tmp_path / folder).mkdir(parents=True)
        picture(tmp_path / folder / "x.png", values)
    picture(tmp_path / "b" / "._x.png", values)
    (tmp_path / "b" / "x.json").write_text("{}")
    (tmp_path / "b" / "cohort.csv").write_text("path")
    dicom(tmp_path / "b" / "IM0001", values)
    series(tmp_path / "c", "1.2", [0, 3])
    with caplog.at_level(logging.INFO):
        found = find(tmp_path)
    assert [file.relative_to(tmp_path).as_posix() for file in found] == [
        "a/deep/x.png",
        "b/IM0001",
        "b/x.png",
        "c",
    ]
    assert "passed over 2 files" in caplog.text


def test_find_passes_over_the_page_that_generate_makes_and_over_no_other_of_its_name(tmp_path: Path) -> None:
    for folder in ("drawn", "drawn/images", "own"):
        (tmp_path / folder).mkdir()
        picture(tmp_path / folder / "sheet.png", np.zeros((2, 2), dtype=np.uint8))
        picture(tmp_path / folder / "x.png", np.zeros((2, 2), dtype=np.uint8))
    (tmp_path / "drawn" / "generated.json").write_text("{}")
    assert [file.relative_to(tmp_path).as_posix() for file in find(tmp_path)] == [
        "drawn/images/sheet.png", "drawn/images/x.png", "drawn/x.png", "own/sheet.png", "own/x.png"
    ]  # fmt: skip


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_grey_pictures_come_back_in_the_depth_they_were_written_in(tmp_path: Path, kind: type) -> None:
    values = np.array([[0, 1, 2], [3, 200, np.iinfo(kind).max]], dtype=kind)
    write_grey(tmp_path / "x.png", values)
    again = read(tmp_path / "x.png")
    assert (again.pixels == values).all() and again.limits == (0, np.iinfo(kind).max)


def test_masks_and_colours_are_written_as_pictures(tmp_path: Path) -> None:
    write_grey(tmp_path / "mask.png", np.array([[True, False]]))
    assert read(tmp_path / "mask.png").pixels.tolist() == [[[255, 0]]]
    colours = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    write_grey(tmp_path / "colours.png", colours)
    assert (read(tmp_path / "colours.png").pixels == np.moveaxis(colours, -1, 0)).all()


def test_arrays_come_back_as_they_were_written(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
    write_array(tmp_path / "x.npy", values)
    assert (read(tmp_path / "x.npy").pixels == values).all()
    assert [path.name for path in tmp_path.iterdir()] == ["x.npy"]


def test_radiographs_in_one_folder_are_images_of_their_own(tmp_path: Path) -> None:
    files = [dicom(tmp_path / f"{n}.dcm", np.zeros((2, 2)), SeriesInstanceUID="1.2") for n in range(3)]
    assert find(tmp_path) == files


def test_mixed_series_are_one_entry_that_cannot_be_read(tmp_path: Path) -> None:
    series(tmp_path / "s", "1.2.3", [0, 3])
    series(tmp_path / "s", "1.2.4", [0, 3])
    assert find(tmp_path) == [tmp_path / "s"]
    assert "2 series" in refused(tmp_path / "s")


def test_find_follows_links_without_going_round(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    picture(tmp_path / "data" / "x.png", np.zeros((2, 2), dtype=np.uint8))
    (tmp_path / "data" / "up").symlink_to(tmp_path, target_is_directory=True)
    assert len(find(tmp_path / "data")) == 1
    (tmp_path / "cohort").mkdir()
    (tmp_path / "cohort" / "link").symlink_to(tmp_path / "data", target_is_directory=True)
    assert find(tmp_path / "cohort") == [tmp_path / "cohort" / "link" / "x.png"]


def test_a_folder_that_is_empty_or_absent_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CohortError, match="holds no image"):
        find(tmp_path)
    with pytest.raises(CohortError, match="no such folder"):
        find(tmp_path / "absent")


@pytest.mark.parametrize(
    ("error", "own"),
    [
        (OSError("image file is truncated"), True),
        (OSError(errno.EIO, "Input/output error", "scans/a"), True),
        (OSError(errno.EIO, "Input/output error", "scans/a/1.dcm"), True),
        (PermissionError(errno.EACCES, "Permission denied", "scores/a.png"), False),
        (OSError(errno.ENOSPC, "No space left on device"), False),
        (OSError(errno.EDQUOT, "Disk quota exceeded", "scans/a"), False),
    ],
)
def test_what_a_system_says_of_an_image_is_its_own_failure_but_a_full_disk_is_not(error: OSError, own: bool) -> None:
    def work() -> None:
        raise error

    with pytest.raises(UnreadableImage if own else type(error)) as told:
        alone(Path("scans/a"), work)
    assert (told.value.__cause__ is error) if own else (told.value is error)
