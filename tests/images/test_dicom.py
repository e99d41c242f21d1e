"""DICOM as strangers write it: every file is built here, with pydicom, and read back to the right value."""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.uid import (
    UID,
    CTImageStorage,
    EnhancedMRImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    NuclearMedicineImageStorage,
    ParametricMapStorage,
    RTDoseStorage,
    generate_uid,
)

from anomaly.errors import UnreadableImage
from anomaly.images import Image, find, read
from anomaly.images.dicom import entries, is_dicom
from anomaly.images.preprocessing import Preprocessing

AXIAL = [1, 0, 0, 0, 1, 0]
PLACE = {"ImageOrientationPatient": AXIAL, "ImagePositionPatient": [-5, 7, 9], "PixelSpacing": [0.5, 0.25]}


def made(values: np.ndarray, *, signed: bool = False, bits: int = 16, **tags: object) -> Dataset:
    data = Dataset()
    data.SOPClassUID, data.SOPInstanceUID, data.Modality = CTImageStorage, generate_uid(), "CT"
    data.SeriesInstanceUID = "1.2.3"
    data.Rows, data.Columns = values.shape[-2:]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, bits, bits - 1, int(signed)
    if values.ndim == 3:
        data.NumberOfFrames = len(values)
    data.PixelData = values.astype("<i2" if signed else "<u2").tobytes()
    for name, value in tags.items():
        setattr(data, name, value)
    return data


def saved(path: Path, data: Dataset, syntax: UID = ExplicitVRLittleEndian, *, mark: bool = True) -> Path:
    path.parent.mkdir(exist_ok=True, parents=True)
    if syntax == ExplicitVRBigEndian and "PixelData" in data:
        data.PixelData = np.frombuffer(data.PixelData, "<u2").astype(">u2").tobytes()
    if mark:
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = syntax
        data.save_as(path, enforce_file_format=True)
    else:
        data.save_as(path, implicit_vr=syntax.is_implicit_VR, little_endian=syntax.is_little_endian)
    return path


def dicom(path: Path, values: np.ndarray, **tags: object) -> Path:
    return saved(path, made(np.asarray(values), **tags))  # type: ignore[arg-type]


def item(**tags: object) -> Dataset:
    data = Dataset()
    for name, value in tags.items():
        setattr(data, name, value)
    return data


def series(folder: Path, positions: Sequence[Sequence[float]], **tags: object) -> Path:
    for k, position in enumerate(positions):
        place = {**PLACE, "ImagePositionPatient": list(position), **tags}
        dicom(folder / f"{k}.dcm", np.full((4, 6), k + 1), **place)
    return folder


def enhanced(path: Path, heights: Sequence[float], frames: Sequence[Dataset] | None = None, **tags: object) -> Path:
    own = [Dataset() for _ in heights] if frames is None else list(frames)
    for frame, height in zip(own, heights, strict=True):
        frame.PlanePositionSequence = [item(ImagePositionPatient=[0, 0, height])]
    shared = item(
        PixelMeasuresSequence=[item(PixelSpacing=[1, 1])],
        PlaneOrientationSequence=[item(ImageOrientationPatient=AXIAL)],
    )
    values = np.arange(len(heights))[:, None, None] * np.ones((1, 2, 2))
    groups = {"PerFrameFunctionalGroupsSequence": own, "SharedFunctionalGroupsSequence": [shared]}
    return dicom(path, values, SOPClassUID=EnhancedMRImageStorage, **{**groups, **tags})


def refused(path: Path) -> str:
    with pytest.raises(UnreadableImage) as caught:
        read(path)
    told = str(caught.value)
    assert str(path) in told and "\n" not in told and "damaged" not in told
    return told


def spaced(image: Image) -> None:
    Preprocessing(dims=image.ndim, size=None, spacing=1.0, intensity="none").apply(image)


# Files without preamble and mark


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_a_file_without_preamble_is_read(tmp_path: Path, syntax: UID) -> None:
    values = np.arange(6).reshape(2, 3) + 300
    path = saved(tmp_path / "IM7", made(values, **PLACE), syntax, mark=False)
    assert path.read_bytes()[128:132] != b"DICM" and is_dicom(path)
    assert (read(path).pixels[0] == values).all()
    assert (read(path.rename(tmp_path / "a.dcm")).pixels[0] == values).all()


def test_a_file_that_begins_with_its_file_meta_is_read(tmp_path: Path) -> None:
    values = np.arange(6).reshape(2, 3)
    path = dicom(tmp_path / "whole", values)
    (tmp_path / "cut").write_bytes(path.read_bytes()[132:])
    assert (read(tmp_path / "cut").pixels[0] == values).all()


@pytest.mark.parametrize("ending", ["", ".dcm"])
def test_slices_without_preamble_count_in_their_series(tmp_path: Path, ending: str) -> None:
    for k in range(12):
        data = made(np.full((4, 6), k), **{**PLACE, "ImagePositionPatient": [0, 0, k]})
        saved(tmp_path / "s" / f"IM{k}{ending}", data, mark=k % 3 == 0)
    assert find(tmp_path) == [tmp_path / "s"]
    image = read(tmp_path / "s")
    assert image.space == (6, 4, 12)
    assert image.pixels[0, 0, 0].tolist() == list(range(12))


def test_a_folder_of_files_without_preamble_is_a_series(tmp_path: Path) -> None:
    for k in range(3):
        data = made(np.full((4, 6), k), **{**PLACE, "ImagePositionPatient": [0, 0, k]})
        saved(tmp_path / "s" / f"IM{k}", data, ImplicitVRLittleEndian, mark=False)
    assert find(tmp_path) == [tmp_path / "s"]
    assert read(tmp_path / "s").space == (6, 4, 3)


def test_a_file_named_dicom_that_is_none_is_not_dropped_from_its_series(tmp_path: Path) -> None:
    series(tmp_path / "s", [[0, 0, k] for k in range(4)])
    (tmp_path / "s" / "3.dcm").write_bytes(b"\0" * 900)
    told = refused(tmp_path / "s")
    assert "1 of 4 files" in told and "3.dcm" in told
    assert find(tmp_path) == [tmp_path / "s"]


def test_a_header_cut_short_is_named_and_does_not_end_the_search(tmp_path: Path) -> None:
    series(tmp_path / "s", [[0, 0, k] for k in range(4)])
    whole = (tmp_path / "s" / "2.dcm").read_bytes()
    for length in range(0, 500, 7):
        (tmp_path / "s" / "2.dcm").write_bytes(whole[:length])
        assert find(tmp_path) == [tmp_path / "s"]
        with pytest.raises(UnreadableImage):
            read(tmp_path / "s")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x08\x00",
        b"\x08\x00\x16\x00UI\x1a\x00" + b"no class of any object    ",
        b"\x08\x00\x05\x00CS\xff\xffISO_IR 100",
        b"\x02\x00\x00\x00" * 400,
        bytes(range(256)) * 40,
        b"\x08\x00\x00\x00" + b"\xff" * 4000,
        b"II*\x00" + b"\x08\x00" * 400,
    ],
)
def test_other_files_are_not_taken_for_dicom(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    assert not is_dicom(tmp_path / "x")


def test_random_files_are_not_taken_for_dicom(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    start = time.process_time()
    for first in (b"\x08\x00", b"\x02\x00", b"\x00\x08"):
        for _ in range(200):
            (tmp_path / "x").write_bytes(first + rng.bytes(5000))
            assert not is_dicom(tmp_path / "x")
    assert time.process_time() - start < 5


# Padding


def body(outside: int) -> np.ndarray:
    """A CT slice as stored: air, a body, lungs, and what a round field of view does not cover."""
    y, x = np.mgrid[-32:32, -32:32]
    values = np.full((64, 64), -1000)
    values[np.hypot(x, y) < 24] = 40
    values[np.hypot(x - 8, y) < 8] = -850
    values[np.hypot(x, y) >= 31] = outside
    return values


def contrast(image: Image) -> float:
    prepared = Preprocessing(size=None, orientation="keep").apply(image).pixels[0, 0]
    return float(prepared[32, 20] - prepared[32, 40])


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_padding_is_background_and_out_of_the_percentiles(tmp_path: Path, signed: bool, syntax: UID) -> None:
    shift = 0 if signed else 3000  # of stored values: unsigned scanners add it
    data = made(
        body(-2000) + shift, signed=signed, PixelPaddingValue=-2000 + shift, RescaleSlope=1, RescaleIntercept=-shift
    )
    image = read(saved(tmp_path / "a.dcm", data, syntax))
    clean = read(dicom(tmp_path / "b.dcm", body(-1000), signed=True))
    assert image.padding is not None and (image.padding == (body(1) == 1)).all()
    np.testing.assert_array_equal(image.pixels, clean.pixels)
    assert contrast(image) == contrast(clean) == pytest.approx(2 * 890 / 1040, abs=1e-3)
    prepared = Preprocessing(size=None).apply(image)
    assert (prepared.pixels[0, 0][image.padding] == -1).all()
    assert (prepared.restore(np.ones((1, 1, 64, 64)))[image.padding] == 0).all()


def test_padding_has_a_range_in_stored_units(tmp_path: Path) -> None:
    values = np.array([[0, 5, 9, 10, 11, 4000]])
    tags = {"PixelPaddingValue": 10, "PixelPaddingRangeLimit": 5, "RescaleSlope": 2, "RescaleIntercept": -8}
    image = read(dicom(tmp_path / "a.dcm", values, **tags))
    assert image.padding.tolist() == [[False, True, True, True, False, False]]
    assert image.pixels.tolist() == [[[-8, -8, -8, -8, 14, 7992]]]
    assert read(dicom(tmp_path / "b.dcm", values, PixelPaddingRangeLimit=5)).padding is None
    assert read(dicom(tmp_path / "c.dcm", values, PixelPaddingValue=None)).padding is None
    assert read(dicom(tmp_path / "d.dcm", values, PixelPaddingValue=77)).padding is None


def test_the_sign_of_the_padding_tag_may_be_wrong(tmp_path: Path) -> None:
    data = made(np.array([[-2000, -1000, 40]]), signed=True)
    data.add_new("PixelPaddingValue", "US", 65536 - 2000)
    assert read(saved(tmp_path / "a.dcm", data)).padding.tolist() == [[True, False, False]]


def test_padding_beyond_the_stored_bits_is_seen(tmp_path: Path) -> None:
    values = np.array([[65536 - 2000, 24, 1064, 2096]])  # -2000 in twelve bits would be 2096
    image = read(dicom(tmp_path / "a.dcm", values, bits=12, PixelPaddingValue=65536 - 2000))
    assert image.padding.tolist() == [[True, False, False, False]]
    assert image.pixels.tolist() == [[[24, 24, 1064, 2096]]]


def test_padding_of_monochrome1_becomes_dark(tmp_path: Path) -> None:
    tags = {"PhotometricInterpretation": "MONOCHROME1", "PixelPaddingValue": 0}
    image = read(dicom(tmp_path / "a.dcm", np.array([[0, 100, 4095]]), bits=12, **tags))
    assert image.pixels.tolist() == [[[0, 3995, 0]]] and image.padding.tolist() == [[True, False, False]]


def test_padding_of_a_series_takes_the_least_value_of_all_slices(tmp_path: Path) -> None:
    for k, values in enumerate(([[-2000, -2000]], [[-1000, 5]], [[-2000, -1010]])):
        place = {**PLACE, "ImagePositionPatient": [0, 0, k]}
        dicom(tmp_path / "s" / f"{k}.dcm", np.array(values), signed=True, PixelPaddingValue=-2000, **place)
    image = read(tmp_path / "s")
    assert image.pixels[0, :, 0].T.tolist() == [[-1010, -1010], [-1000, 5], [-1010, -1010]]
    assert image.padding[:, 0].T.tolist() == [[True, True], [False, False], [True, False]]
    told = dicom(tmp_path / "all.dcm", np.full((2, 2), -2000), signed=True, PixelPaddingValue=-2000)
    assert "padding alone" in refused(told)


@pytest.mark.parametrize("code", [np.nan, -3.0e38])
def test_padding_of_floats(tmp_path: Path, code: float) -> None:
    data = made(np.zeros((1, 3)), FloatPixelPaddingValue=code, BitsAllocated=32)
    del data.PixelData, data.BitsStored, data.HighBit, data.PixelRepresentation
    data.FloatPixelData = np.array([code, 0.5, 2], dtype="<f4").tobytes()
    image = read(saved(tmp_path / "a.dcm", data))
    assert image.pixels.tolist() == [[[0.5, 0.5, 2]]] and image.padding.tolist() == [[True, False, False]]


# Values


@pytest.mark.parametrize(
    "name",
    [
        *("RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth", "PixelSpacing", "NumberOfFrames"),
        *("ImagerPixelSpacing", "PixelAspectRatio", "ImagePositionPatient", "ImageOrientationPatient", "HighBit"),
        *("PixelPaddingValue", "PixelPaddingRangeLimit", "ModalityLUTSequence", "RealWorldValueMappingSequence"),
        *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "Modality", "SeriesInstanceUID"),
        *(
            "DoseGridScaling",
            "GridFrameOffsetVector",
            "FrameIncrementPointer",
            "SpacingBetweenSlices",
            "SliceThickness",
        ),
        *("DetectorInformationSequence", "SliceVector", "SeriesDescription", "PlanarConfiguration", "WindowCenter"),
    ],
)
def test_a_tag_without_value_is_as_if_absent(tmp_path: Path, name: str) -> None:
    values = np.arange(6).reshape(2, 3)
    absent = read(dicom(tmp_path / "absent.dcm", values))
    empty = made(values)
    setattr(empty, name, None)
    image = read(saved(tmp_path / "empty.dcm", empty))
    np.testing.assert_array_equal(image.pixels, absent.pixels)
    np.testing.assert_array_equal(image.affine, absent.affine)
    assert image.limits == absent.limits and image.measured == absent.measured
    assert len(entries(tmp_path, [tmp_path / "absent.dcm", tmp_path / "empty.dcm"])) == 2


def test_one_of_slope_and_intercept_alone_counts(tmp_path: Path) -> None:
    values = np.array([[0, 100]])
    assert read(dicom(tmp_path / "a.dcm", values, RescaleSlope=2)).pixels.tolist() == [[[0, 200]]]
    tags = {"RescaleSlope": None, "RescaleIntercept": -1024}
    assert read(dicom(tmp_path / "b.dcm", values, **tags)).pixels.tolist() == [[[-1024, -924]]]
    assert "slope of 0" in refused(dicom(tmp_path / "c.dcm", values, RescaleSlope=0, RescaleIntercept=1))


def test_empty_tags_of_a_frame_fall_back_to_those_of_all_frames_and_of_the_file(tmp_path: Path) -> None:
    own = [item(PixelValueTransformationSequence=[item(RescaleSlope=None, RescaleIntercept=None)]) for _ in range(2)]
    own[1].PixelValueTransformationSequence = [item(RescaleSlope=5, RescaleIntercept=1)]
    image = read(enhanced(tmp_path / "a.dcm", [0, 1], own, RescaleSlope=3, RescaleIntercept=7))
    assert image.pixels[0, 0, 0].tolist() == [7, 6]  # 0 * 3 + 7, 1 * 5 + 1


def test_more_frames_than_the_header_tells_are_refused(tmp_path: Path) -> None:
    path = dicom(tmp_path / "a.dcm", np.zeros((2, 3, 4)), NumberOfFrames=None)
    assert "2 frames of pixels" in refused(path) and "NumberOfFrames" in refused(path)


def test_overlays_in_the_unused_bits_are_no_values(tmp_path: Path) -> None:
    values = np.array([[5, 4095, 0]])
    image = read(dicom(tmp_path / "a.dcm", values | 0x8000, bits=12))
    assert image.pixels.tolist() == [values.tolist()]


def test_thirty_two_bits(tmp_path: Path) -> None:
    values = np.array([[0, 70000, 2**24]], dtype="<u4")
    tags = {"BitsAllocated": 32, "BitsStored": 32, "HighBit": 31, "PixelData": values.tobytes()}
    assert read(dicom(tmp_path / "a.dcm", values, **tags)).pixels.tolist() == [values.tolist()]


def mapping(unit: str = "mm2/s", low: int = 0, high: int = 4000, **tags: object) -> Dataset:
    codes = [item(CodeValue=unit, CodingSchemeDesignator="UCUM", CodeMeaning=unit)]
    ends = {"RealWorldValueFirstValueMapped": low, "RealWorldValueLastValueMapped": high}
    return item(MeasurementUnitsCodeSequence=codes, **{**ends, **tags})


LINE = {"RealWorldValueSlope": 0.001, "RealWorldValueIntercept": -1.0}


@pytest.mark.parametrize("where", ["file", "shared", "frame"])
def test_real_world_values_of_parametric_maps(tmp_path: Path, where: str) -> None:
    own, shared = Dataset(), Dataset()
    data = made(
        np.array([[0, 1000, 4000]]), SOPClassUID=ParametricMapStorage, RescaleSlope=1, RescaleIntercept=0,
        PerFrameFunctionalGroupsSequence=[own], SharedFunctionalGroupsSequence=[shared],
        WindowCenter=2000.5, WindowWidth=2001,
    )  # fmt: skip
    {"file": data, "shared": shared, "frame": own}[where].RealWorldValueMappingSequence = [mapping(**LINE)]
    image = read(saved(tmp_path / "a.dcm", data))
    np.testing.assert_allclose(image.pixels, [[[-1, 0, 3]]], atol=1e-6)
    np.testing.assert_allclose(image.limits, (0, 2), atol=1e-6)


def test_real_world_values_by_table_by_range_and_of_the_first_unit(tmp_path: Path) -> None:
    values = np.array([[2, 3, 4, 10, 11]])
    table = mapping("1", 2, 4, RealWorldValueLUTData=[0.5, 0.25, 0.125])
    line = mapping("1", 10, 20, RealWorldValueSlope=2.0, RealWorldValueIntercept=1.0)
    other = mapping("%", 0, 20, RealWorldValueSlope=100.0, RealWorldValueIntercept=0.0)
    tags = {"RealWorldValueMappingSequence": [table, other, line]}
    assert read(dicom(tmp_path / "a.dcm", values, **tags)).pixels.tolist() == [[[0.5, 0.25, 0.125, 21, 23]]]
    told = refused(dicom(tmp_path / "b.dcm", values + 1, **tags))
    assert "1 pixels hold 5 to 5" in told and "RealWorldValueMappingSequence" in told
    assert read(dicom(tmp_path / "c.dcm", values + 1, PixelPaddingValue=5, **tags)).pixels[0, 0, 2] == 0.125
    short = mapping("1", 2, 20, RealWorldValueLUTData=[0.5])
    assert "1 values" in refused(dicom(tmp_path / "d.dcm", values, RealWorldValueMappingSequence=[short]))
    none = mapping("1", 2, 20)
    assert "RealWorldValueSlope" in refused(dicom(tmp_path / "e.dcm", values, RealWorldValueMappingSequence=[none]))


def test_a_rescale_goes_before_real_world_values_where_the_image_is_no_map(tmp_path: Path) -> None:
    tags = {"RealWorldValueMappingSequence": [mapping(**LINE)], "RescaleSlope": 2, "RescaleIntercept": -1024}
    assert read(dicom(tmp_path / "a.dcm", np.array([[100]]), **tags)).pixels.tolist() == [[[-824]]]
    tags = {"RealWorldValueMappingSequence": [mapping(**LINE)], "RescaleSlope": None}
    np.testing.assert_allclose(read(dicom(tmp_path / "b.dcm", np.array([[100]]), **tags)).pixels, -0.9)


def test_signed_real_world_values(tmp_path: Path) -> None:
    line = mapping("1", -10, 10, RealWorldValueSlope=0.5, RealWorldValueIntercept=0.0)
    data = made(np.array([[-10, 0, 10]]), signed=True, RealWorldValueMappingSequence=[line])
    assert read(saved(tmp_path / "a.dcm", data)).pixels.tolist() == [[[-5, 0, 5]]]


# Places of frames


VOLUME = np.arange(3)[:, None, None] * 10 + np.arange(6).reshape(2, 3)
CBCT = {**PLACE, "SpacingBetweenSlices": 0.4, "SliceThickness": 1.0}


def volume(path: Path, **tags: object) -> Image:
    image = read(dicom(path, VOLUME, **tags))
    assert image.space == (3, 2, 3)
    return image


def voxel(image: Image, x: float, y: float, z: float) -> float:
    """The value at a place in the body, in DICOM's millimetres (LPS)."""
    index = np.linalg.inv(image.affine) @ [-x, -y, z, 1]
    at = tuple(np.rint(index[:3]).astype(int))
    np.testing.assert_allclose(index[:3], at, atol=1e-6)
    return float(image.pixels[0][at])


def test_frames_of_a_dental_ct_follow_each_other_along_the_normal(tmp_path: Path) -> None:
    image = volume(tmp_path / "a.dcm", **CBCT)
    assert voxel(image, -5 + 2 * 0.25, 7 + 0.5, 9 + 2 * 0.4) == 25
    image = volume(tmp_path / "b.dcm", **{**CBCT, "SpacingBetweenSlices": None})
    assert voxel(image, -5, 7, 9 + 2 * 1.0) == 20
    down = {**CBCT, "ImageOrientationPatient": [1, 0, 0, 0, -1, 0]}  # the normal points to the feet
    assert voxel(volume(tmp_path / "c.dcm", **down), -5, 7 - 0.5, 9 - 0.4) == 13


@pytest.mark.parametrize("offsets", [[0, 2, 4], [9, 11, 13]])
def test_frames_of_a_dose_have_offsets_and_its_values_are_scaled(tmp_path: Path, offsets: list[float]) -> None:
    tags = {**PLACE, "SOPClassUID": RTDoseStorage, "Modality": "RTDOSE", "DoseGridScaling": 0.5}
    image = volume(tmp_path / "a.dcm", **tags, GridFrameOffsetVector=offsets)
    assert voxel(image, -5 + 0.25, 7, 9 + 4) == 21 / 2


def test_offsets_of_a_dose_may_run_down(tmp_path: Path) -> None:
    tags = {**PLACE, "SOPClassUID": RTDoseStorage, "Modality": "RTDOSE"}
    assert voxel(volume(tmp_path / "a.dcm", **tags, GridFrameOffsetVector=[0, -2, -4]), -5, 7, 9 - 4) == 20
    assert "3 to 9" not in refused(dicom(tmp_path / "b.dcm", VOLUME, **tags, GridFrameOffsetVector=[3, 6, 9]))
    assert "GridFrameOffsetVector" in refused(dicom(tmp_path / "c.dcm", VOLUME, **tags))
    assert "GridFrameOffsetVector" in refused(dicom(tmp_path / "d.dcm", VOLUME, **tags, GridFrameOffsetVector=[0, 1]))


def nuclear(**tags: object) -> dict[str, object]:
    place = {name: PLACE[name] for name in ("ImageOrientationPatient", "ImagePositionPatient")}
    return {
        "SOPClassUID": NuclearMedicineImageStorage, "Modality": "NM", "PixelSpacing": [4, 4],
        "DetectorInformationSequence": [item(**place)], "SpacingBetweenSlices": 4, **tags,
    }  # fmt: skip


def test_frames_of_nuclear_medicine_take_the_place_of_the_detector(tmp_path: Path) -> None:
    assert voxel(volume(tmp_path / "a.dcm", **nuclear()), -5 + 4, 7, 9 + 2 * 4) == 21
    turned = volume(tmp_path / "b.dcm", **nuclear(FrameIncrementPointer=0x00540080, SliceVector=[3, 2, 1]))
    assert voxel(turned, -5, 7, 9 - 2 * 4) == 20
    assert voxel(volume(tmp_path / "c.dcm", **nuclear(SpacingBetweenSlices=-4)), -5, 7, 9 - 2 * 4) == 20


def test_nuclear_medicine_that_is_no_volume_is_refused_by_its_vector(tmp_path: Path) -> None:
    told = refused(dicom(tmp_path / "a.dcm", VOLUME, **nuclear(TimeSlotVector=[1, 1, 2])))
    assert "2 volumes or views (TimeSlotVector" in told and "dcm2niix" in told
    assert "AngularViewVector" in refused(dicom(tmp_path / "b.dcm", VOLUME, **nuclear(AngularViewVector=[1, 2, 3])))


@pytest.mark.parametrize("absent", ["ImagePositionPatient", "ImageOrientationPatient"])
def test_frames_without_places_are_refused_with_the_tags_that_are_missing(tmp_path: Path, absent: str) -> None:
    told = refused(dicom(tmp_path / "a.dcm", VOLUME, **{**CBCT, absent: None}))
    assert f"without positions: {absent} not told" in told and "NIfTI" in told
    bare = refused(dicom(tmp_path / "b.dcm", VOLUME, **PLACE))
    assert "without positions: SpacingBetweenSlices (or SliceThickness) not told" in bare


def test_a_film_is_refused_as_one(tmp_path: Path) -> None:
    told = refused(dicom(tmp_path / "a.dcm", VOLUME, **CBCT, FrameIncrementPointer=0x00181063, FrameTime=40))
    assert "film" in told and "FrameIncrementPointer" in told
    assert "apart" in refused(dicom(tmp_path / "b.dcm", VOLUME, **{**CBCT, "SpacingBetweenSlices": -1}))


def test_two_volumes_in_one_file_are_refused_by_name_with_advice_for_a_file(tmp_path: Path) -> None:
    def content(**tags: object) -> Dataset:
        return item(FrameContentSequence=[item(**tags)])

    stacks = [content(StackID=str(1 + k // 3)) for k in range(6)]
    told = refused(enhanced(tmp_path / "a.dcm", [0, 1, 2, 3, 4, 5], stacks))
    assert "2 volumes (StackID is '1', '2')" in told and "dcm2niix" in told and "folder" not in told
    times = [content(TemporalPositionIndex=1 + k // 3) for k in range(6)]
    told = refused(enhanced(tmp_path / "b.dcm", [0, 1, 2, 0.5, 1.5, 2.5], times))  # would interleave without a word
    assert "2 volumes (TemporalPositionIndex is '1', '2')" in told
    echoes = [item(MREchoSequence=[item(EffectiveEchoTime=5.0 * (1 + k % 2))]) for k in range(6)]
    assert "EffectiveEchoTime is '10.0', '5.0'" in refused(enhanced(tmp_path / "c.dcm", [0, 0, 1, 1, 2, 2], echoes))
    told = refused(enhanced(tmp_path / "d.dcm", [0, 0, 1, 1]))
    assert "lie where another one lies" in told and "dcm2niix" in told and "folder" not in told
    each = [content(TemporalPositionIndex=1 + k) for k in range(3)]
    assert read(enhanced(tmp_path / "e.dcm", [0, 1, 2], each)).space == (2, 2, 3)


def test_a_frame_without_a_position_among_others_is_refused(tmp_path: Path) -> None:
    path = enhanced(tmp_path / "a.dcm", [0, 1, 2])
    data = dcmread(path)
    del data.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence
    assert "1 of its 3 slices" in refused(saved(path, data))
    del data.PerFrameFunctionalGroupsSequence[1]
    assert "2 items for 3 frames" in refused(saved(path, data))


def test_multi_frame_files_in_one_folder_are_images_of_their_own(tmp_path: Path) -> None:
    files = [dicom(tmp_path / f"{k}.dcm", VOLUME, **CBCT) for k in range(3)]
    assert find(tmp_path) == files


def test_a_large_enhanced_file_is_read_in_no_time(tmp_path: Path) -> None:
    path = enhanced(tmp_path / "a.dcm", list(range(600)))
    start = time.process_time()
    assert read(path).space == (2, 2, 600)
    assert time.process_time() - start < 10


# Spacing and straightness


def test_unknown_spacing_is_unknown(tmp_path: Path) -> None:
    values = np.arange(6).reshape(2, 3)
    place = {name: PLACE[name] for name in ("ImageOrientationPatient", "ImagePositionPatient")}
    for k, tags in enumerate(({}, place, {**place, "PixelSpacing": None}, {"PixelSpacing": [0, 0]})):
        image = read(dicom(tmp_path / f"{k}.dcm", values, **tags))
        assert not image.measured
        with pytest.raises(UnreadableImage, match=f"{k}.dcm: does not tell its pixel size in mm"):
            spaced(image)


@pytest.mark.parametrize("name", ["PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"])
def test_a_spacing_of_one_millimetre_is_known(tmp_path: Path, name: str) -> None:
    image = read(dicom(tmp_path / "a.dcm", np.arange(6).reshape(2, 3) / 6, **{name: [1, 1]}))
    assert image.measured
    spaced(image)
    other = read(dicom(tmp_path / "b.dcm", np.zeros((2, 3)), **{name: [0.8, 0.2]}))
    np.testing.assert_allclose(np.diag(other.affine)[:2], [0.8, 0.2])


def test_the_shape_of_a_pixel_counts_where_its_size_is_unknown(tmp_path: Path) -> None:
    image = read(dicom(tmp_path / "a.dcm", np.arange(32).reshape(4, 8), PixelAspectRatio=[2, 1]))
    assert not image.measured
    prepared = Preprocessing(size=8, intensity="none").apply(image)
    assert (np.diag(prepared.matrix)[:2] == [0.5, 1]).all()


def test_a_volume_of_unknown_spacing_is_not_stretched(tmp_path: Path) -> None:
    image = read(series(tmp_path / "s", [[0, 0, 3 * k] for k in range(6)], PixelSpacing=None))
    assert not image.measured
    prepared = Preprocessing(dims=3, size=6, orientation="keep").apply(image)
    assert (np.abs(np.diag(prepared.matrix))[:3] == 1).all()
    with pytest.raises(UnreadableImage, match="pixel size"):
        spaced(image)


def test_a_spacing_that_changes_within_a_series_is_refused(tmp_path: Path) -> None:
    folder = series(tmp_path / "s", [[0, 0, k] for k in range(4)])
    dicom(
        folder / "2.dcm", np.zeros((4, 6)), **{**PLACE, "ImagePositionPatient": [0, 0, 2], "PixelSpacing": [0.6, 0.25]}
    )
    assert "PixelSpacing" in refused(folder) and "0.5 x 0.25 to 0.6 x 0.25 mm" in refused(folder)
    dicom(folder / "2.dcm", np.zeros((4, 6)), **{**PLACE, "ImagePositionPatient": [0, 0, 2], "PixelSpacing": None})
    assert "PixelSpacing" in refused(folder)


@pytest.mark.parametrize(
    "shifts",
    [
        [0, 0, 0, 0, 1, 1, 1, 1],
        [0, 1, 0, 1, 0, 1, 0, 1],
        [0, 0, 0, 1, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 1],
        [0, 0.1, 0.4, 0.9, 1.6, 2.5, 3.6, 4.9],
    ],
)
@pytest.mark.parametrize("axis", [0, 1])
def test_slices_shifted_sideways_are_refused(tmp_path: Path, shifts: list[float], axis: int) -> None:
    positions = np.array([[0, 0, 2 * k] for k in range(8)], dtype=float)
    positions[:, axis] += shifts
    told = refused(series(tmp_path / "s", positions.tolist()))
    assert "shifted sideways" in told and "ImagePositionPatient" in told


def test_a_tilted_gantry_is_sheared_and_rounding_is_nothing(tmp_path: Path) -> None:
    image = read(series(tmp_path / "s", [[0, 0.7 * k, 2 * k] for k in range(5)]))
    np.testing.assert_allclose(image.affine[:3, 2], [0, -0.7, 2])
    assert voxel(image, 5 * 0.25, 3 * 0.5 + 3 * 0.7, 6) == 4
    jitter = np.random.default_rng(0).uniform(-0.01, 0.01, (9, 3))
    assert read(series(tmp_path / "t", ([[0, 0, 2]] * np.arange(9)[:, None] + jitter).tolist())).space == (6, 4, 9)


def test_a_slice_of_another_size_or_an_impossible_direction_is_named(tmp_path: Path) -> None:
    folder = series(tmp_path / "s", [[0, 0, k] for k in range(4)])
    dicom(folder / "2.dcm", np.zeros((4, 4)), **{**PLACE, "ImagePositionPatient": [0, 0, 2]})
    assert "no stack" in refused(folder)
    zero = dicom(tmp_path / "a.dcm", np.zeros((2, 2)), **{**PLACE, "ImageOrientationPatient": [0] * 6})
    assert "ImageOrientationPatient" in refused(zero)


# The same file in ITK


def in_itk(path: Path | list[Path]) -> tuple[np.ndarray, np.ndarray]:
    """Values (i, j, k) and the affine, LPS, as SimpleITK reads a file or the sorted files of a series."""
    itk = pytest.importorskip("SimpleITK")
    itk.ProcessObject.SetGlobalWarningDisplay(False)
    image = itk.ReadImage([str(one) for one in path] if isinstance(path, list) else str(path))
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return itk.GetArrayFromImage(image).T, affine


def oblique() -> list[float]:
    a, b = np.deg2rad(20), np.deg2rad(-35)
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    turn = turn @ np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    return [*turn[:, 0], *turn[:, 1]]


@pytest.mark.parametrize("directions", [AXIAL, [0, 1, 0, 0, 0, -1], [1, 0, 0, 0, -1, 0], oblique()])
@pytest.mark.parametrize("kind", ["dental", "dose", "series", "nuclear"])
def test_values_lie_where_itk_has_them(tmp_path: Path, directions: list[float], kind: str) -> None:
    tags = {**CBCT, "ImageOrientationPatient": [round(float(one), 9) for one in directions], "RescaleSlope": 2}
    tags["RescaleIntercept"], scale = -30, 1.0
    if kind == "dose":
        scale = 0.25  # which ITK leaves to its user
        tags |= {"SOPClassUID": RTDoseStorage, "Modality": "RTDOSE", "GridFrameOffsetVector": [0, 0.4, 0.8]}
        tags |= {"DoseGridScaling": 0.25, "RescaleSlope": None, "RescaleIntercept": None}
    if kind == "nuclear":
        place = {name: tags.pop(name) for name in ("ImageOrientationPatient", "ImagePositionPatient")}
        tags |= {"SOPClassUID": NuclearMedicineImageStorage, "Modality": "NM", "SpacingBetweenSlices": -0.4}
        tags["DetectorInformationSequence"] = [item(**place)]
    if kind == "series":
        normal, files = np.cross(directions[:3], directions[3:]), []
        for k in range(3):
            position = (np.array([-5, 7, 9]) + 0.4 * k * normal).round(9).tolist()
            files.append(dicom(tmp_path / "s" / f"{k}.dcm", VOLUME[k], **{**tags, "ImagePositionPatient": position}))
        image, (values, affine) = read(tmp_path / "s"), in_itk(files)
    else:
        path = dicom(tmp_path / "a.dcm", VOLUME, **tags)
        image, (values, affine) = read(path), in_itk(path)
    for index in np.ndindex(3, 2, 3):
        x, y, z, _ = affine @ [*index, 1]
        assert voxel(image, x, y, z) == pytest.approx(float(values[index]) * scale)
