"""What a DICOM object takes over from all slices that it was made of, in place."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

import numpy as np
from pydicom import Dataset
from pydicom.valuerep import DS

from anomaly.images.dicom_sources import Frame
from anomaly.images.dicom_tags import filled, number, of_frame

SHOWN = ("BurnedInAnnotation", "RecognizableVisualFeatures")
BODY = (
    *("BodyPartExamined", "Laterality", "ViewPosition", "ViewCodeSequence", "AnatomicRegionSequence"),
    "PatientOrientation",
)
CALIBRATION = (
    *("ImagerPixelSpacing", "PixelSpacingCalibrationType", "PixelSpacingCalibrationDescription"),
    "EstimatedRadiographicMagnificationFactor",
)
LOSSY, LOSS = "LossyImageCompression", ("LossyImageCompressionRatio", "LossyImageCompressionMethod")
ANATOMY = "FrameAnatomySequence"


def carry_shown(data: Dataset, frames: Sequence[Frame]) -> None:
    """Say whether a person can be told from the pixels: YES if a slice says so, NO if all say NO.

    Else what was there stays: of parametric maps the standard wants a value, of other objects none.
    """
    for name in SHOWN:
        told = _told(frames, name)
        if "YES" in told:
            setattr(data, name, "YES")
        elif told == {"NO"}:
            setattr(data, name, "NO")


def carry_loss(data: Dataset, frames: Sequence[Frame]) -> None:
    """Say that pixels were compressed with a loss where a slice says so: nothing made of them is without it again.

    Ratio and method are those of the first such slice. As with `carry_shown` what is not told stays as it was.
    """
    lossy = [header for header in _headers(frames) if str(header.get(LOSSY) or "").strip() == "01"]
    if lossy:
        data.LossyImageCompression = "01"
        for name in LOSS:
            if filled(lossy[0], name):
                data[name] = deepcopy(lossy[0][name])
    elif _told(frames, LOSSY) == {"00"}:
        data.LossyImageCompression = "00"


def carry_body(data: Dataset, frames: Sequence[Frame]) -> None:
    """Say which part of the body is seen, of which side and from where, as far as all slices agree."""
    for name in BODY:
        _agreed(data, frames, name)
    sides = {_side(frame) for frame in frames}
    if len(sides) == 1 and "" not in sides:
        (data.ImageLaterality,) = sides


def carry_anatomy(shared: Dataset, frames: Sequence[Frame]) -> None:
    """Say region and side in the functional groups of all frames, where all slices tell both and agree.

    The macro (DICOM PS3.3 C.7.6.16.2.8) wants a coded region, so nothing is said by a side alone.
    """
    told = [_anatomy(frame) for frame in frames]
    if told[0] is not None and all(one == told[0] for one in told):
        shared.FrameAnatomySequence = [told[0]]


def _anatomy(frame: Frame) -> Dataset | None:
    held, region, side = _group(frame, "AnatomicRegionSequence"), Dataset(), _side(frame)
    if not side or not filled(held, "AnatomicRegionSequence"):
        return None
    region.FrameLaterality = side
    region["AnatomicRegionSequence"] = deepcopy(held["AnatomicRegionSequence"])
    return region


def _side(frame: Frame) -> str:
    """R, L, U (neither) or B (both): of the frame, the image, or the series; nothing where none tells."""
    held, header = _group(frame, "FrameLaterality"), frame.header
    told = (held.get("FrameLaterality"), header.get("ImageLaterality"), header.get("Laterality"))
    return next((text for one in told if (text := str(one or "").strip())), "")


def _group(frame: Frame, name: str) -> Dataset:
    return of_frame(frame.header, (frame.number or 1) - 1, ANATOMY, name)


def carry_spacing(data: Dataset, frames: Sequence[Frame]) -> None:
    """Say distances of pixels by the tag that the source says them by, and how they were calibrated.

    At the detector a distance is not what it is in the body, so it must not become a `PixelSpacing`; where one is
    told, it stands in `measures`, or in a single frame beside its place.
    """
    told = frames[0].place.told
    for name in (*CALIBRATION, *((told,) if told != "PixelSpacing" else ())):
        if name:
            _agreed(data, frames, name)


def measures(frames: Sequence[Frame]) -> Dataset:
    """Distances in the body in mm, as far as they are told: of pixels, of slices along their normal, and thickness."""
    item, place = Dataset(), frames[0].place
    if place.told == "PixelSpacing":
        item.PixelSpacing = [DS(float(value), auto_format=True) for value in place.spacing]
    positions = [frame.place.position for frame in frames if frame.place.position is not None]
    if len(frames) > 1 and place.directions is not None and len(positions) == len(frames):
        heights = np.array(positions, dtype=float) @ np.cross(*place.directions)
        item.SpacingBetweenSlices = DS(float(np.ptp(heights)) / (len(frames) - 1), auto_format=True)
    thick = {_thickness(frame) for frame in frames}
    if len(thick) == 1 and (known := thick.pop()):
        item.SliceThickness = DS(known, auto_format=True)
    return item


def _thickness(frame: Frame) -> float | None:
    held = of_frame(frame.header, (frame.number or 1) - 1, "PixelMeasuresSequence", "SliceThickness")
    return number(held, "SliceThickness")


def _agreed(data: Dataset, frames: Sequence[Frame], name: str) -> None:
    """Take over what all slices tell alike."""
    headers = _headers(frames)
    if filled(headers[0], name) and all(header.get(name) == headers[0].get(name) for header in headers):
        data[name] = deepcopy(headers[0][name])


def _told(frames: Sequence[Frame], name: str) -> set[str]:
    return {str(header.get(name) or "").strip().upper() for header in _headers(frames)}


def _headers(frames: Sequence[Frame]) -> list[Dataset]:
    """Each header once: all frames of one file share theirs."""
    return list({id(frame.header): frame.header for frame in frames}.values())
