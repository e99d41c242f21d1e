"""A map as a DICOM parametric map: floats on the grid of its series, each frame where its slice lies."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset
from pydicom.tag import Tag
from pydicom.uid import MRImageStorage

from anomaly.errors import MissingPackage
from anomaly.images.dicom_carried import carry_anatomy, carry_body, carry_loss, carry_shown, carry_spacing, measures
from anomaly.images.dicom_filing import NOBODY, ds, file_beside, frame_of_reference, refer, reference, write_filed
from anomaly.images.dicom_sources import Frame

EXTRA = "pip install 'anomaly-explain[dicom]'"
WIDEST = float(np.finfo(np.float32).max)
STANDING_IN = "2.25.2"


def highdicom() -> Any:
    """The module highdicom, an extra of the project.

    Raises:
        MissingPackage: it is not installed.
    """
    try:
        import highdicom
    except ImportError as error:
        raise MissingPackage(f"heatmaps as DICOM need highdicom, which is missing: {EXTRA}") from error
    logging.getLogger("highdicom").setLevel(logging.WARNING)  # else it tells each module that it copies
    return highdicom


def write_parametric_map(
    path: Path,
    values: np.ndarray,
    frames: Sequence[Frame],
    *,
    label: str,
    unit: str,
    says: str,
    window: tuple[float, float],
) -> None:
    """Write a map as one parametric map object (DICOM PS3.3 A.75) in a series of its own, in the source's study.

    Frames lie where their slices lie (positions, directions, spacing of the source); a radiograph without a place has
    none here. The same map of the same source gives the same bytes.

    Args:
        path: gets the file, whole or not at all.
        values: (rows, columns) or (i, j, k), on the grid of the source.
        frames: what `anomaly.images.dicom_sources.sources` gives for the source.
        label: of the map, up to 16 letters.
        unit: in words; the numbers have none in UCUM's sense.
        says: what is said of the image, in a line.
        window: the values shown black and white.

    Raises:
        MissingPackage: highdicom is not installed.
    """
    placed = all(frame.placed for frame in frames)
    data = _made(_planes(values), frames, label, unit, window)
    _place(data, frames, placed)
    source = frames[0].header
    file_beside(data, source, "Anomaly map", 9001)
    data.ContentDescription, data.DerivationDescription = f"{label}: {unit}"[:64], says[:1024]
    carry_shown(data, frames)
    carry_loss(data, frames)
    carry_body(data, frames)
    carry_spacing(data, frames)
    carry_anatomy(data.SharedFunctionalGroupsSequence[0], frames)
    refer(data, frames)
    if placed:
        data.FrameOfReferenceUID = frame_of_reference(source)
    else:
        del data.FrameOfReferenceUID, data.PositionReferenceIndicator
    write_filed(path, data)


def _planes(values: np.ndarray) -> np.ndarray:
    """(frames, rows, columns) of a picture (rows, columns) or a volume (i along rows, j down columns, k)."""
    planes = values[None] if values.ndim == 2 else values.transpose(2, 1, 0)
    return np.ascontiguousarray(planes, dtype=np.float32)


def _made(planes: np.ndarray, frames: Sequence[Frame], label: str, unit: str, window: tuple[float, float]) -> Dataset:
    """The object as the library makes it for slices that stand in for the source's."""
    made = highdicom()
    mapping = made.pm.RealWorldValueMapping(
        lut_label=label, lut_explanation=unit[:64], unit=made.sr.CodedConcept("1", "UCUM", "no units"),
        value_range=(-WIDEST, WIDEST), slope=1.0, intercept=0.0,
    )  # fmt: skip
    low, high = window
    shown = made.VOILUTTransformation(window_center=(low + high) / 2, window_width=high - low)
    data: Dataset = made.pm.ParametricMap(
        [_standing_in(frame, k, planes.shape[1:]) for k, frame in enumerate(frames)], planes, NOBODY, 1, NOBODY, 1,
        "anomaly", "anomaly", "1", "1", False, [mapping], voi_lut_transformations=[shown], content_label="ANOMALY",
        content_date="19000101", content_time="000000",
    )  # fmt: skip
    del data.ContributingEquipmentSequence  # it holds the time of day
    return data


def _standing_in(frame: Frame, k: int, shape: Sequence[int]) -> Dataset:
    """A slice as the library expects it, whatever the source is or lacks; told by its number."""
    data, place = Dataset(), frame.place
    data.SOPClassUID, data.SOPInstanceUID = MRImageStorage, f"{STANDING_IN}.{k + 1}"
    data.StudyInstanceUID = data.SeriesInstanceUID = data.FrameOfReferenceUID = NOBODY
    data.Rows, data.Columns = shape
    for name in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID"):
        setattr(data, name, "")
    data.StudyDate = data.StudyTime = data.ReferringPhysicianName = ""
    data.ImagePositionPatient = ds(place.position if frame.placed and place.position is not None else (0, 0, 0))
    directions = place.directions if frame.placed and place.directions is not None else np.eye(3)[:2]
    data.ImageOrientationPatient = ds(directions.reshape(-1))
    data.PixelSpacing = ds(place.spacing)
    data.SliceThickness = 1  # for the library alone, as all distances here: `measures` says the true ones
    return data


def _place(data: Dataset, frames: Sequence[Frame], placed: bool) -> None:
    """Put the true sources in the place of those that stood in, and take out what the source does not tell; in place.

    The library has put frames into an order of its own: which slice each is, is read from its reference.
    """
    shared = data.SharedFunctionalGroupsSequence[0]
    for item in data.PerFrameFunctionalGroupsSequence:
        derived = item.DerivationImageSequence[0].SourceImageSequence[0]
        true = frames[int(str(derived.ReferencedSOPInstanceUID).rpartition(".")[2]) - 1]
        for element in reference(true):
            derived.add(element)
        if not placed:
            _without_place(item)
    shared.PixelMeasuresSequence = [measures(frames)]
    if not shared.PixelMeasuresSequence[0]:
        del shared.PixelMeasuresSequence
    if not placed:
        _counted(data, shared)


def _without_place(item: Dataset) -> None:
    for name in ("PlanePositionSequence", "PlaneOrientationSequence"):
        if name in item:
            delattr(item, name)
    item.FrameContentSequence[0].StackID, item.FrameContentSequence[0].InStackPositionNumber = "1", 1


def _counted(data: Dataset, shared: Dataset) -> None:
    """Let the one frame of an image without a place be told by its number in a stack of one."""
    if "PlaneOrientationSequence" in shared:
        del shared.PlaneOrientationSequence
    (index,) = data.DimensionIndexSequence
    index.DimensionIndexPointer, index.FunctionalGroupPointer = (
        Tag("InStackPositionNumber"),
        Tag("FrameContentSequence"),
    )
    index.DimensionDescriptionLabel = "In-Stack Position Number"
