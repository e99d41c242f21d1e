"""Maps as DICOM: whichever reader opens them, a voxel lies where the voxel of its source lies."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_series import (
    AXIAL,
    COLUMNS,
    CORONAL,
    FIRST,
    GAP,
    OBLIQUE,
    PERSON,
    ROWS,
    SAGITTAL,
    SLICES,
    SPACING,
    TURNED,
    decimals,
    item,
    saved,
    series,
    slice_of,
    stored,
)
from pydicom import Dataset, dcmread
from pydicom.uid import UID, ComputedRadiographyImageStorage, CTImageStorage, EnhancedMRImageStorage, MRImageStorage

from anomaly.errors import UnreadableImage
from anomaly.images import Image, read
from anomaly.images.dicom_captures import write_capture
from anomaly.images.dicom_filing import NO_DAY, day, uid
from anomaly.images.dicom_maps import write_parametric_map
from anomaly.images.dicom_sources import may_be_dicom, sources
from anomaly.images.finding import find

MEANT = {"label": "z", "unit": "standard deviations", "says": "value 1", "window": (2.0, 8.0)}


def drawn(image: Image, out: Path) -> tuple[Path, Path]:
    """Files of a map that is the image itself less 100, and of colours that hold the number of the voxel."""
    frames, z = sources(image), image.pixels[0] - 100
    write_parametric_map(out / "map.dcm", z, frames, **MEANT)  # type: ignore[arg-type]
    colours = np.stack([z % 256, z // 256, z * 0 + 7], axis=-1).astype(np.uint8)
    write_capture(out / "overlay.dcm", colours, frames, says="value 1")
    return out / "map.dcm", out / "overlay.dcm"


def in_itk(folder: Path) -> sitk.Image:
    """A series as SimpleITK reads it, its files put in order by its own means."""
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return reader.Execute()


def points_of(path: Path) -> dict[int, np.ndarray]:
    """Where each value of a parametric map lies, by what its header says of each frame: PS3.3 C.7.6.2.1-1."""
    data, found = dcmread(path), {}
    shared = data.SharedFunctionalGroupsSequence[0]
    down, across = (float(value) for value in shared.PixelMeasuresSequence[0].PixelSpacing)
    cosines = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, dtype=float).reshape(2, 3)
    planes = data.pixel_array.reshape(-1, data.Rows, data.Columns)
    for plane, group in zip(planes, data.PerFrameFunctionalGroupsSequence, strict=True):
        position = np.array(group.PlanePositionSequence[0].ImagePositionPatient, dtype=float)
        for (row, column), value in np.ndenumerate(plane):
            found[round(float(value))] = position + column * across * cosines[0] + row * down * cosines[1]
    return found


@pytest.mark.parametrize("directions", [AXIAL, SAGITTAL, CORONAL, OBLIQUE, TURNED])
@pytest.mark.parametrize("names", [None, (4, 3, 2, 1, 0), (2, 0, 4, 1, 3)])
def test_a_voxel_lies_where_simpleitk_lays_that_of_the_source(
    tmp_path: Path, directions: Sequence[Sequence[float]], names: Sequence[int] | None
) -> None:
    folder = series(tmp_path / "series", directions, names=names)
    numbers, colours = drawn(read(folder), tmp_path / "out")
    source, overlay, points = in_itk(folder), sitk.ReadImage(str(colours)), points_of(numbers)
    array, shown = sitk.GetArrayFromImage(source) - 100, sitk.GetArrayFromImage(overlay).astype(int)
    assert len(points) == array.size == ROWS * COLUMNS * SLICES
    assert overlay.GetSize() == source.GetSize()
    for (k, j, i), value in np.ndenumerate(array):
        place = source.TransformIndexToPhysicalPoint((i, j, k))
        np.testing.assert_allclose(points[int(value)], place, atol=1e-4)
        there = overlay.TransformPhysicalPointToIndex(place)
        np.testing.assert_allclose(overlay.TransformIndexToPhysicalPoint(there), place, atol=1e-4)
        assert shown[there[2], there[1], there[0]].tolist() == [value % 256, value // 256, 7]


@pytest.mark.parametrize("directions", [AXIAL, SAGITTAL, OBLIQUE])
def test_what_is_written_is_read_back_onto_the_grid_of_the_source(
    tmp_path: Path, directions: Sequence[Sequence[float]]
) -> None:
    image = read(series(tmp_path / "series", directions))
    numbers, colours = map(read, drawn(image, tmp_path / "out"))
    np.testing.assert_allclose(numbers.affine, image.affine, atol=1e-6)
    np.testing.assert_allclose(colours.affine, image.affine, atol=1e-6)
    np.testing.assert_array_equal(numbers.pixels, image.pixels - 100)
    np.testing.assert_array_equal(colours.pixels[0] + 256 * colours.pixels[1], image.pixels[0] - 100)


def test_a_frame_names_the_slice_it_lies_on_whatever_order_the_library_gives_them(tmp_path: Path) -> None:
    folder = series(tmp_path / "series", OBLIQUE, names=(2, 0, 4, 1, 3))
    by_place = {
        tuple(np.round(np.array(data.ImagePositionPatient, dtype=float), 3)): data.SOPInstanceUID
        for data in map(dcmread, folder.iterdir())
    }
    for path in drawn(read(folder), tmp_path / "out"):
        data = dcmread(path)
        for group in data.PerFrameFunctionalGroupsSequence:
            (named,) = group.DerivationImageSequence[0].SourceImageSequence
            position = np.array(group.PlanePositionSequence[0].ImagePositionPatient, dtype=float)
            assert named.ReferencedSOPInstanceUID == by_place[tuple(np.round(position, 3))]
            assert named.ReferencedSOPClassUID == MRImageStorage
        (of,) = data.ReferencedSeriesSequence
        assert of.SeriesInstanceUID == "1.2.3.4"
        assert {each.ReferencedSOPInstanceUID for each in of.ReferencedInstanceSequence} == {*by_place.values()}


def test_person_study_and_day_are_the_source_s(tmp_path: Path) -> None:
    for path in drawn(read(series(tmp_path / "series", ContentDate="20200103", ContentTime="0910")), tmp_path / "out"):
        data = dcmread(path)
        assert {name: str(data[name].value) for name in PERSON} == PERSON
        assert (data.StudyInstanceUID, data.AccessionNumber, data.FrameOfReferenceUID) == ("1.2.3", "A7", "1.2.3.9")
        assert data.SeriesInstanceUID != "1.2.3.4" and data.file_meta.MediaStorageSOPInstanceUID == data.SOPInstanceUID
        assert (data.ContentDate, data.ContentTime) == ("20200103", "000000")
        dates = {e.value for e in data.iterall() if e.VR in ("DA", "TM", "DT") and e.value}
        assert dates <= {"20200103", "000000", "20200102", "101112", "19500102"}


def carried(tmp_path: Path, first: dict[str, object], other: dict[str, object]) -> tuple[Dataset, Dataset]:
    """Map and overlay of a series whose first slice tells one thing, and whose others tell another."""
    folder = series(tmp_path / "series", **other)  # type: ignore[arg-type]
    data = dcmread(folder / "0.dcm")
    for name, value in first.items():
        setattr(data, name, value)
    saved(folder / "0.dcm", data)
    numbers, colours = drawn(read(folder), tmp_path / "out")
    return dcmread(numbers), dcmread(colours)


@pytest.mark.parametrize("name", ["BurnedInAnnotation", "RecognizableVisualFeatures"])
@pytest.mark.parametrize(
    ("first", "other", "numbers", "colours"),
    [("YES", "NO", "YES", "YES"), ("NO", "NO", "NO", "NO"), ("NO", None, "NO", None), ("", None, "NO", None)],
)
def test_a_person_who_can_be_told_from_one_slice_can_be_told_from_all(
    tmp_path: Path, name: str, first: str, other: str | None, numbers: str, colours: str | None
) -> None:
    told = carried(tmp_path, {name: first}, {name: other} if other else {})
    assert [each.get(name) for each in told] == [numbers, colours]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ImageLaterality", "L"), ("Laterality", "R"), ("ViewPosition", "PA"), ("BodyPartExamined", "KNEE"),
        ("PatientOrientation", ["L", "F"]),
    ],
)  # fmt: skip
def test_what_all_slices_tell_is_carried_over(tmp_path: Path, name: str, value: object) -> None:
    for each in carried(tmp_path, {}, {name: value}):
        assert each.get(name) == value
    for each in carried(tmp_path / "else", {name: ["R", "F"] if "Orientation" in name else "B"}, {name: value}):
        assert not each.get(name)


@pytest.mark.parametrize(
    ("first", "other", "numbers", "colours"), [("01", "00", "01", "01"), ("00", "00", "00", "00"), ("", "", "00", None)]
)
def test_a_loss_of_one_slice_is_a_loss_of_what_is_made_of_it(
    tmp_path: Path, first: str, other: str, numbers: str, colours: str | None
) -> None:
    loss = {"LossyImageCompressionRatio": "12.5", "LossyImageCompressionMethod": "ISO_10918_1"} if first == "01" else {}
    told = carried(tmp_path, {"LossyImageCompression": first, **loss}, {"LossyImageCompression": other})
    assert [each.get("LossyImageCompression") for each in told] == [numbers, colours]
    for each in told:
        assert {name: str(each.get(name)) for name in loss} == loss


def test_how_a_patient_was_made_anonymous_is_carried_over_whole(tmp_path: Path) -> None:
    code = {"CodeValue": "113100", "CodingSchemeDesignator": "DCM", "CodeMeaning": "Basic Application Profile"}
    tags: dict[str, object] = {
        "PatientIdentityRemoved": "YES",
        "DeidentificationMethodCodeSequence": [item(**code)],
        "IssuerOfPatientIDQualifiersSequence": [item(UniversalEntityID="1.2", UniversalEntityIDType="ISO")],
        "OtherPatientIDsSequence": [item(PatientID="Q", TypeOfPatientID="TEXT")],
    }
    for each in carried(tmp_path, {}, tags):
        assert {name: each[name].value for name in tags} == tags


def test_side_and_region_are_those_of_the_image_or_of_its_frames(tmp_path: Path) -> None:
    knee = {"CodeValue": "72696002", "CodingSchemeDesignator": "SCT", "CodeMeaning": "Knee"}
    tags: dict[str, object] = {"Laterality": "R", "AnatomicRegionSequence": [item(**knee)]}
    numbers, colours = carried(tmp_path / "a", {}, tags)
    path = enhanced(tmp_path / "mr.dcm", range(SLICES))
    data = dcmread(path)
    group = item(FrameLaterality="L", AnatomicRegionSequence=[item(**knee)])
    data.SharedFunctionalGroupsSequence[0].FrameAnatomySequence = [group]
    of_frames = [dcmread(one) for one in drawn(read(saved(path, data)), tmp_path / "out")]
    assert [each.ImageLaterality for each in (numbers, colours, *of_frames)] == ["R", "R", "L", "L"]
    for each, side in ((numbers, "R"), (of_frames[0], "L")):
        (told,) = each.SharedFunctionalGroupsSequence[0].FrameAnatomySequence
        assert (told.FrameLaterality, told.AnatomicRegionSequence[0].CodeValue) == (side, "72696002")
    (side_alone, _) = carried(tmp_path / "b", {}, {"Laterality": "R"})
    assert "FrameAnatomySequence" not in side_alone.SharedFunctionalGroupsSequence[0]


@pytest.mark.parametrize("anew", [False, True])
def test_maps_laid_beside_their_series_do_not_come_back_as_images(
    tmp_path: Path, anew: bool, caplog: pytest.LogCaptureFixture
) -> None:
    folder = series(tmp_path / "series")
    image = read(folder)
    for path in drawn(image, folder):
        if anew:  # as an archive does
            saved(path, dcmread(path))
    assert find(tmp_path) == [folder]
    assert "left out 2 DICOM objects that are no images" in caplog.text and "of this program" in caplog.text
    np.testing.assert_array_equal(read(folder).pixels, image.pixels)
    assert len(sources(read(folder))) == SLICES


def test_the_map_is_of_floats_and_says_its_unit(tmp_path: Path) -> None:
    data = dcmread(drawn(read(series(tmp_path / "series")), tmp_path / "out")[0])
    (mapping,) = data.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence
    assert data.pixel_array.dtype == np.float32 and "PixelData" not in data
    assert (mapping.RealWorldValueSlope, mapping.RealWorldValueIntercept) == (1, 0)
    assert (mapping.LUTLabel, mapping.LUTExplanation) == ("z", "standard deviations")
    assert mapping.MeasurementUnitsCodeSequence[0].CodeValue == "1"


def test_the_same_map_gives_the_same_bytes_and_another_map_other_names(tmp_path: Path) -> None:
    image = read(series(tmp_path / "series"))
    first, again = drawn(image, tmp_path / "a"), drawn(image, tmp_path / "b")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]
    write_parametric_map(tmp_path / "c.dcm", image.pixels[0], sources(image), **MEANT)  # type: ignore[arg-type]
    datas = [dcmread(path) for path in (*first, tmp_path / "c.dcm")]
    assert len({data.SOPInstanceUID for data in datas}) == len({data.SeriesInstanceUID for data in datas}) == 3
    assert all(UID(data.SOPInstanceUID).is_valid and UID(data.SeriesInstanceUID).is_valid for data in datas)


@pytest.mark.parametrize("kind", ["MONOCHROME1", "MONOCHROME2"])
def test_a_radiograph_without_a_place_gets_none(tmp_path: Path, kind: str) -> None:
    tags: dict[str, object] = {
        "SOPClassUID": ComputedRadiographyImageStorage,
        "FrameOfReferenceUID": None,
        "Modality": "CR",
    }
    path = saved(
        tmp_path / "cr.dcm",
        slice_of(stored(1)[0], 1, **tags, PhotometricInterpretation=kind, ImagerPixelSpacing=decimals(SPACING)),
    )
    image = read(path)
    numbers, colours = drawn(image, tmp_path / "out")
    data, shown = dcmread(numbers), dcmread(colours)
    for each in (data, shown):
        assert "FrameOfReferenceUID" not in each
        assert not [e for e in each.iterall() if e.keyword in ("ImagePositionPatient", "ImageOrientationPatient")]
    np.testing.assert_array_equal(data.pixel_array.reshape(ROWS, COLUMNS), image.pixels[0] - 100)
    np.testing.assert_array_equal(read(numbers).pixels, image.pixels - 100)  # turned round once, never twice
    np.testing.assert_allclose(read(numbers).affine, image.affine)
    np.testing.assert_allclose(read(colours).affine, image.affine)
    assert shown.PhotometricInterpretation == "RGB" and shown.SOPClassUID == "1.2.840.10008.5.1.4.1.1.7"


@pytest.mark.parametrize("name", ["PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"])
def test_spacing_stands_in_the_tag_that_the_source_has_it_in(tmp_path: Path, name: str) -> None:
    others = {"PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"} - {name}
    tags = {name: decimals(SPACING), "PixelSpacingCalibrationType": "FIDUCIAL", "FrameOfReferenceUID": None}
    path = saved(tmp_path / "cr.dcm", slice_of(stored(1)[0], 1, **tags))
    for each in drawn(read(path), tmp_path / "out"):
        told = {e.keyword: e.value for e in dcmread(each).iterall()}
        assert told[name] == list(SPACING) and not others & {*told}
        assert told["PixelSpacingCalibrationType"] == "FIDUCIAL"
        assert read(each).measured
        np.testing.assert_allclose(read(each).affine, read(path).affine)


def test_a_ratio_of_pixels_is_kept(tmp_path: Path) -> None:
    path = saved(tmp_path / "us.dcm", slice_of(stored(1)[0], 1, FrameOfReferenceUID=None, PixelAspectRatio=[2, 1]))
    for each in drawn(read(path), tmp_path / "out"):
        np.testing.assert_allclose(read(each).affine, read(path).affine)


@pytest.mark.parametrize("thickness", ["2", None])
def test_slices_have_their_distance_along_the_normal_and_no_made_up_thickness(
    tmp_path: Path, thickness: str | None
) -> None:
    for k in range(SLICES):
        place = {"ImagePositionPatient": decimals((0, 0.8 * k, 2.5 * k)), "ImageOrientationPatient": decimals(AXIAL)}
        tags = {**place, "PixelSpacing": decimals(SPACING), **({"SliceThickness": thickness} if thickness else {})}
        saved(tmp_path / f"tilted/{k}.dcm", slice_of(stored()[k], k + 1, **tags))
    for each in drawn(read(tmp_path / "tilted"), tmp_path / "out"):
        (told,) = dcmread(each).SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
        assert float(told.SpacingBetweenSlices) == pytest.approx(2.5)
        assert told.get("SliceThickness") == (float(thickness) if thickness else None)


def test_a_single_slice_with_a_place_keeps_it(tmp_path: Path) -> None:
    image = read(series(tmp_path / "series", OBLIQUE, heights=[5.0]))
    numbers, colours = drawn(image, tmp_path / "out")
    assert image.ndim == 2
    np.testing.assert_allclose(read(numbers).affine, image.affine, atol=1e-6)
    np.testing.assert_allclose(read(colours).affine, image.affine, atol=1e-6)
    source, shown = in_itk(image.path), sitk.ReadImage(str(colours))
    np.testing.assert_allclose(shown.GetOrigin(), source.GetOrigin(), atol=1e-6)
    np.testing.assert_allclose(shown.GetDirection(), source.GetDirection(), atol=1e-6)


def test_spacing_that_is_not_told_stays_untold(tmp_path: Path) -> None:
    path = saved(tmp_path / "us.dcm", slice_of(stored(1)[0], 1, FrameOfReferenceUID=None))
    for each in drawn(read(path), tmp_path / "out"):
        assert not read(each).measured


def test_a_series_without_a_frame_of_reference_gets_one_of_its_own(tmp_path: Path) -> None:
    folder = series(tmp_path / "series", FrameOfReferenceUID=None, SOPClassUID=CTImageStorage)
    named = {dcmread(path).FrameOfReferenceUID for path in drawn(read(folder), tmp_path / "out")}
    assert named == {uid("frame of reference", "1.2.3.4")}


def test_a_tilted_gantry_and_slightly_uneven_gaps_keep_their_places(tmp_path: Path) -> None:
    heights = (0.0, 2.5, 5.1, 7.55, 10.0)
    folder = series(tmp_path / "series", OBLIQUE, heights=heights)
    points, normal = points_of(drawn(read(folder), tmp_path / "out")[0]), np.cross(*OBLIQUE)
    for k, height in enumerate(heights):
        np.testing.assert_allclose(points[k * ROWS * COLUMNS], FIRST + height * normal, atol=1e-6)
    tilted = tmp_path / "tilted"
    for k in range(SLICES):
        place = {"ImagePositionPatient": decimals((0, 0.8 * k, 2.5 * k)), "ImageOrientationPatient": decimals(AXIAL)}
        saved(tilted / f"{k}.dcm", slice_of(stored()[k], k + 1, PixelSpacing=decimals(SPACING), **place))
    points = points_of(drawn(read(tilted), tmp_path / "out")[0])
    np.testing.assert_allclose(points[4 * ROWS * COLUMNS], (0, 3.2, 10), atol=1e-6)
    np.testing.assert_allclose(read(tmp_path / "out/map.dcm").affine, read(tilted).affine, atol=1e-6)


def enhanced(path: Path, order: Sequence[int]) -> Path:
    """A multi-frame file whose frames lie in some order."""
    normal = np.cross(*OBLIQUE)
    own = [item(PlanePositionSequence=[item(ImagePositionPatient=decimals(FIRST + GAP * k * normal))]) for k in order]
    shared = item(
        PixelMeasuresSequence=[item(PixelSpacing=decimals(SPACING))],
        PlaneOrientationSequence=[item(ImageOrientationPatient=decimals(OBLIQUE))],
    )
    groups = {"PerFrameFunctionalGroupsSequence": own, "SharedFunctionalGroupsSequence": [shared]}
    values = stored()[list(order)]
    return saved(path, slice_of(values, 1, SOPClassUID=EnhancedMRImageStorage, NumberOfFrames=len(order), **groups))


def test_frames_of_a_multi_frame_file_are_named_by_their_number(tmp_path: Path) -> None:
    order = (3, 0, 4, 2, 1)
    image = read(enhanced(tmp_path / "mr.dcm", order))
    numbers, colours = drawn(image, tmp_path / "out")
    np.testing.assert_allclose(read(numbers).affine, image.affine, atol=1e-6)
    np.testing.assert_allclose(read(colours).affine, image.affine, atol=1e-6)
    data, normal = dcmread(numbers), np.cross(*OBLIQUE)
    assert len(data.SourceImageSequence) == 1 and "ReferencedFrameNumber" not in data.SourceImageSequence[0]
    for group in data.PerFrameFunctionalGroupsSequence:
        named = group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber
        position = np.array(group.PlanePositionSequence[0].ImagePositionPatient, dtype=float)
        np.testing.assert_allclose(position, FIRST + GAP * order[named - 1] * normal, atol=1e-6)


@pytest.mark.parametrize("name", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"])
def test_a_source_that_cannot_be_named_is_refused_by_what_is_missing(tmp_path: Path, name: str) -> None:
    image = read(saved(tmp_path / "a.dcm", slice_of(stored(1)[0], 1, **{name: None})))
    with pytest.raises(UnreadableImage, match=f"a.dcm: is without {name}"):
        sources(image)


@pytest.mark.parametrize(
    ("name", "value", "known"),
    [("PatientID", "P2", "P1"), ("PatientName", "Other^Name", ""), ("PatientBirthDate", "19510102", "")],
)
def test_slices_of_two_persons_are_refused(tmp_path: Path, name: str, value: str, known: str) -> None:
    with pytest.raises(UnreadableImage, match=f"differ in {name}"):
        carried(tmp_path, {name: value}, {"PatientID": known})


def test_a_name_may_be_written_with_and_without_its_empty_parts(tmp_path: Path) -> None:
    carried(tmp_path, {"PatientName": "Doe^Jane^^"}, {"PatientName": "Doe^Jane"})


def test_slices_of_one_name_are_refused(tmp_path: Path) -> None:
    same = series(tmp_path / "same", SOPInstanceUID="1.2.3.4.5")
    with pytest.raises(UnreadableImage, match="4 of its 5 slices have the SOPInstanceUID of another one"):
        sources(read(same))


def test_files_that_changed_since_they_were_read_are_refused(tmp_path: Path) -> None:
    folder = series(tmp_path / "series")
    image = read(folder)
    (folder / "4.dcm").unlink()
    with pytest.raises(UnreadableImage, match="files were changed meanwhile"):
        sources(image)


def test_what_is_no_dicom_is_refused_by_its_kind(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((4, 4), dtype=np.float32))
    with pytest.raises(UnreadableImage, match=r"a.npy: is no DICOM \(array\)"):
        sources(read(tmp_path / "a.npy"))
    assert not may_be_dicom(tmp_path / "a.npy")
    unnamed = saved(tmp_path / "IM1", slice_of(stored(1)[0], 1))
    assert may_be_dicom(unnamed) and may_be_dicom(tmp_path)


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = read(series(tmp_path / "series"))

    def stops(self: Dataset, target: object, **options: object) -> None:
        if isinstance(target, Path):
            target.write_bytes(b"half")
            raise OSError("disk full")
        real(self, target, **options)  # type: ignore[arg-type]

    real = Dataset.save_as
    monkeypatch.setattr(Dataset, "save_as", stops)
    with pytest.raises(OSError, match="disk full"):
        drawn(image, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_the_day_is_the_nearest_the_source_tells_and_fixed_where_it_tells_none() -> None:
    assert day(item(AcquisitionDate="20210304", AcquisitionTime="101112.5", StudyDate="20210101")) == (
        "20210304",
        "101112.5",
    )
    assert day(item(ContentDate="", StudyDate="20210101")) == ("20210101", "000000")
    assert day(Dataset()) == NO_DAY
