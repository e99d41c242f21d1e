"""DICOM segmentations, made here with pydicom, as label maps of a series, of its NIfTI file and of one slice."""

from collections.abc import Mapping
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.pixels.utils import pack_bits
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, SegmentationStorage

from anomaly.errors import UnreadableImage
from anomaly.images import read
from anomaly.images.labels import numbers_in, read_labels

LABEL_MAP_STORAGE = "1.2.840.10008.5.1.4.1.1.66.7"
SPACE = (10, 8, 6)
"""Columns, rows and slices, as a series is read: along a row, down a column, across slices."""
LABELS = np.zeros(SPACE, np.uint8)
LABELS[2:6, 2:6, 1:5], LABELS[7:9, 3:5, 2:4] = 1, 4
TURNED = [0.0, 1.0, 0.0, 0.0, 0.0, -1.0]
"""Rows run backwards in the body and columns down it: sagittal slices."""


def stored(path: Path, data: Dataset, pixels: bytes) -> Path:
    data.PixelData = pixels
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)
    return path


def header(kind: str, bits: int, modality: str) -> Dataset:
    data = Dataset()
    data.SOPClassUID, data.SOPInstanceUID, data.Modality, data.SeriesInstanceUID = kind, "1.2.9", modality, "1.2.3"
    data.Rows, data.Columns = SPACE[1], SPACE[0]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = bits, bits, bits - 1, 0
    return data


def position(k: float) -> list[float]:
    return [2.5 * k - 4.0, 7.0, 9.0]


def series(folder: Path) -> Path:
    for k in range(SPACE[2]):
        data = header(CTImageStorage, 16, "CT")
        data.SOPInstanceUID = f"1.2.9.{k}"
        data.PixelSpacing, data.ImageOrientationPatient, data.ImagePositionPatient = [0.5, 0.75], TURNED, position(k)
        values = np.random.default_rng(k).integers(0, 999, SPACE[1::-1]).astype("<u2")
        stored(folder / f"{k}.dcm", data, values.tobytes())
    return folder


def item(**tags: object) -> Dataset:
    data = Dataset()
    for name, value in tags.items():
        setattr(data, name, value)
    return data


def segmentation(path: Path, frames: Mapping[tuple[int, float], np.ndarray], kind: str = "BINARY") -> Path:
    """A SEG of frames (rows, columns) by segment and slice, in this order."""
    whole = kind == "LABELMAP"
    data = header(LABEL_MAP_STORAGE if whole else SegmentationStorage, 8 if kind != "BINARY" else 1, "SEG")
    data.SegmentationType, data.NumberOfFrames = kind, len(frames)
    shared = Dataset()
    shared.PlaneOrientationSequence = [item(ImageOrientationPatient=TURNED)]
    shared.PixelMeasuresSequence = [item(PixelSpacing=[0.5, 0.75], SliceThickness=2.5)]
    data.SharedFunctionalGroupsSequence = [shared]
    own = []
    for number, k in frames:
        one = item(PlanePositionSequence=[item(ImagePositionPatient=position(k))])
        if not whole:
            one.SegmentIdentificationSequence = [item(ReferencedSegmentNumber=number)]
        own.append(one)
    data.PerFrameFunctionalGroupsSequence = own
    pixels = np.stack(list(frames.values())).astype(np.uint8)
    packed = pack_bits(pixels.ravel()) if kind == "BINARY" else pixels.tobytes()
    return stored(path, data, packed + b"\0" * (len(packed) % 2))


def by_segment(labels: np.ndarray) -> dict[tuple[int, float], np.ndarray]:
    """The frames that are not empty, segment by segment, the last slice first."""
    frames = {(n, float(k)): (labels[..., k] == n).T for n in (1, 4) for k in reversed(range(SPACE[2]))}
    return {which: frame for which, frame in frames.items() if frame.any()}


def by_slice(labels: np.ndarray) -> dict[tuple[int, float], np.ndarray]:
    return {(0, float(k)): labels[..., k].T for k in range(SPACE[2]) if labels[..., k].any()}


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
def test_frames_are_laid_where_they_lie_as_the_numbers_of_their_segments(tmp_path: Path, kind: str) -> None:
    image = read(series(tmp_path / "ct"))
    path = segmentation(tmp_path / "seg.dcm", (by_segment if kind == "BINARY" else by_slice)(LABELS), kind)
    assert image.space == SPACE
    found = read_labels(path, image)
    assert found.dtype == np.int32 and (found == LABELS).all() and numbers_in(path) == {0, 1, 4}
    # The same in a NIfTI file of the series, whose voxels run otherwise.
    other = nib.Nifti1Image(image.pixels[0].transpose(2, 0, 1)[:, ::-1], image.affine[:, [2, 0, 1, 3]])
    affine = other.affine.copy()
    affine[:3, 3] += affine[:3, 1] * (SPACE[0] - 1)
    affine[:, 1] *= -1
    nib.save(nib.Nifti1Image(np.asarray(other.dataobj), affine), tmp_path / "ct.nii.gz")
    turned = read_labels(path, read(tmp_path / "ct.nii.gz"))
    assert (turned == LABELS.transpose(2, 0, 1)[:, ::-1]).all()


def test_what_is_no_label_map_of_the_image_is_refused_by_name(tmp_path: Path) -> None:
    image, frames = read(series(tmp_path / "ct")), by_segment(LABELS)
    over = {**frames, (4, 2.0): (LABELS[..., 2] > 0).T}
    shifted = {(n, k + 0.25): frame for (n, k), frame in frames.items()}
    beyond = {(n, k + 3): frame for (n, k), frame in frames.items()}
    for told, made in {
        "seg.dcm: segments 1 and 4 overlap in 16 pixels": segmentation(tmp_path / "a" / "seg.dcm", over),
        "frame 1 lies between the voxels of ct, 0.25 voxels": segmentation(tmp_path / "b" / "seg.dcm", shifted),
        "frame 1 marks what lies outside of ct": segmentation(tmp_path / "c" / "seg.dcm", beyond),
        "of the type FRACTIONAL; expected BINARY or LABELMAP": segmentation(
            tmp_path / "d" / "seg.dcm", frames, "FRACTIONAL"
        ),
    }.items():
        with pytest.raises(UnreadableImage, match=told):
            read_labels(made, image)
