"""Pictures in colours as DICOM secondary capture, laid where the slices lie that they were drawn on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydicom import Dataset
from pydicom.tag import Tag
from pydicom.uid import (
    MultiFrameTrueColorSecondaryCaptureImageStorage,
    SecondaryCaptureImageStorage,
)

from anomaly.images.dicom_carried import carry_body, carry_loss, carry_shown, carry_spacing, measures
from anomaly.images.dicom_filing import ds, file_beside, frame_of_reference, refer, reference, write_filed
from anomaly.images.dicom_sources import Frame


def write_capture(path: Path, colours: np.ndarray, frames: Sequence[Frame], *, says: str) -> None:
    """Write colours over a source as one secondary capture object in a series of its own, in the source's study.

    Of a volume an object with a frame a slice (multi-frame true colour, DICOM PS3.3 A.8.5), in the order of positions
    along the normal, since there are readers that take the first position and count; of a picture a single-frame one.

    Args:
        path: gets the file, whole or not at all.
        colours: (rows, columns, 3) or (i, j, k, 3) uint8, on the grid of the source.
        frames: what `anomaly.images.dicom_sources.sources` gives for the source.
        says: what is said of the image, in a line.
    """
    planes = colours[None] if colours.ndim == 3 else colours.transpose(2, 1, 0, 3)
    source, data = frames[0].header, Dataset()
    data.SOPClassUID = MultiFrameTrueColorSecondaryCaptureImageStorage
    file_beside(data, source, "Anomaly overlay", 9002)
    data.ImageType, data.ConversionType = ["DERIVED", "SECONDARY", "OTHER"], "WSD"
    data.DerivationDescription = says[:1024]
    data.PatientOrientation = ""
    carry_shown(data, frames)
    carry_loss(data, frames)
    carry_body(data, frames)
    carry_spacing(data, frames)
    refer(data, frames)
    _pixels(data, np.ascontiguousarray(planes, dtype=np.uint8))
    if all(frame.placed for frame in frames):
        data.FrameOfReferenceUID, data.PositionReferenceIndicator = frame_of_reference(source), ""
    if colours.ndim == 3:
        data.SOPClassUID = SecondaryCaptureImageStorage
        _place_one(data, frames[0])
    else:
        _place_all(data, frames)
    write_filed(path, data)


def _pixels(data: Dataset, planes: np.ndarray) -> None:
    data.Rows, data.Columns = planes.shape[1:3]
    data.SamplesPerPixel, data.PhotometricInterpretation, data.PlanarConfiguration = 3, "RGB", 0
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 8, 8, 7, 0
    stored = planes.tobytes()
    data.PixelData = stored + b"\0" * (len(stored) % 2)


def _place_one(data: Dataset, frame: Frame) -> None:
    """The place of a single frame, by the tags that the source has it in; there is none where the source has none."""
    place = frame.place
    if frame.placed and place.position is not None and place.directions is not None:
        data.ImagePositionPatient, data.ImageOrientationPatient = ds(place.position), ds(place.directions.reshape(-1))
    if place.told == "PixelSpacing":
        data.PixelSpacing = ds(place.spacing)


def _place_all(data: Dataset, frames: Sequence[Frame]) -> None:
    """A position for each frame, direction and distances for all."""
    positions = np.array([frame.place.position for frame in frames], dtype=float)
    orientation, shared = Dataset(), Dataset()
    orientation.ImageOrientationPatient = ds(np.array(frames[0].place.directions, dtype=float).reshape(-1))
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures(frames)], [orientation]
    data.NumberOfFrames, data.FrameIncrementPointer = len(frames), Tag("PerFrameFunctionalGroupsSequence")
    data.SharedFunctionalGroupsSequence = [shared]
    data.PerFrameFunctionalGroupsSequence = [_groups(*both) for both in zip(frames, positions, strict=True)]


def _groups(frame: Frame, position: np.ndarray) -> Dataset:
    item, plane, derived = Dataset(), Dataset(), Dataset()
    plane.ImagePositionPatient = ds(position)
    derived.SourceImageSequence = [reference(frame)]
    item.PlanePositionSequence, item.DerivationImageSequence = [plane], [derived]
    return item
