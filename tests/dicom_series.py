"""Series of DICOM made here, tiny, whose every voxel has a value and a place of its own."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage

AXIAL = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
SAGITTAL = ((0.0, 1.0, 0.0), (0.0, 0.0, -1.0))
CORONAL = ((1.0, 0.0, 0.0), (0.0, 0.0, -1.0))
OBLIQUE = ((0.8, 0.6, 0.0), (-0.36, 0.48, 0.8))
TURNED = ((0.28, 0.96, 0.0), (0.576, -0.168, -0.8))
ROWS, COLUMNS, SLICES = 4, 6, 5
SPACING, GAP = (0.7, 0.3), 2.5
HEIGHTS = (0.0, 2.5, 5.0, 7.5, 10.0)
FIRST = np.array([-31.25, 12.5, 70.125])
PERSON = {"PatientName": "Müller^Ö", "PatientID": "P1", "PatientSex": "F", "PatientBirthDate": "19500102"}


def item(**tags: object) -> Dataset:
    data = Dataset()
    for name, value in tags.items():
        setattr(data, name, value)
    return data


def slice_of(values: np.ndarray, number: int, **tags: object) -> Dataset:
    data = item(
        SpecificCharacterSet="ISO_IR 192", SOPClassUID=MRImageStorage, SOPInstanceUID=f"1.2.3.4.{number}",
        Modality="MR",
        StudyInstanceUID="1.2.3", SeriesInstanceUID="1.2.3.4", FrameOfReferenceUID="1.2.3.9", StudyDate="20200102",
        StudyTime="101112", StudyID="S", AccessionNumber="A7", ReferringPhysicianName="", SeriesNumber=3, **PERSON,
        SamplesPerPixel=1, PhotometricInterpretation="MONOCHROME2", BitsAllocated=16, BitsStored=12, HighBit=11,
        PixelRepresentation=0, Rows=values.shape[-2], Columns=values.shape[-1],
        PixelData=values.astype("<u2").tobytes(),
    )  # fmt: skip
    for name, value in tags.items():
        if value is None:
            delattr(data, name)
        else:
            setattr(data, name, value)
    return data


def saved(path: Path, data: Dataset) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
    data.file_meta.MediaStorageSOPInstanceUID = UID("1.2.3")
    data.save_as(path, enforce_file_format=True)
    return path


def stored(slices: int = SLICES) -> np.ndarray:
    """(slices, rows, columns), every voxel of a value of its own."""
    return 100 + np.arange(slices * ROWS * COLUMNS).reshape(slices, ROWS, COLUMNS)


def decimals(values: object) -> list[str]:
    return [f"{value:.10g}" for value in np.ravel(values)]  # type: ignore[call-overload]


def series(
    folder: Path,
    directions: Sequence[Sequence[float]] = AXIAL,
    *,
    names: Sequence[int] | None = None,
    heights: Sequence[float] = HEIGHTS,
    **tags: object,
) -> Path:
    """A series whose slices lie at heights along their normal; `names` orders its files and numbers otherwise."""
    normal, values = np.cross(directions[0], directions[1]), stored(len(heights))
    for k, (height, name) in enumerate(zip(heights, names or range(len(heights)), strict=True)):
        place = {
            "ImagePositionPatient": decimals(FIRST + height * normal),
            "ImageOrientationPatient": decimals(directions),
            "PixelSpacing": decimals(SPACING),
            "SliceThickness": "2",
        }
        saved(folder / f"{name}.dcm", slice_of(values[k], name + 1, **{**place, **tags}))
    return folder
