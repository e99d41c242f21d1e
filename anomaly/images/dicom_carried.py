"""What a DICOM object takes over from all slices that it was made of, in place."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

from pydicom import Dataset

from anomaly.images.dicom_sources import Frame
from anomaly.images.dicom_tags import filled, of_frame

SHOWN = ("BurnedInAnnotation", "RecognizableVisualFeatures")
BODY = (
    *("BodyPartExamined", "Laterality", "ViewPosition", "ViewCodeSequence", "AnatomicRegionSequence"),
    "PatientOrientation",
)
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


def carry_body(data: Dataset, frames: Sequence[Frame]) -> None:
    """Say which part of the body is seen, of which side and from where, as far as all slices agree."""
    for name in BODY:
        told = [header.get(name) for header in _headers(frames)]
        if filled(_headers(frames)[0], name) and all(one == told[0] for one in told):
            data[name] = deepcopy(_headers(frames)[0][name])
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


def _told(frames: Sequence[Frame], name: str) -> set[str]:
    return {str(header.get(name) or "").strip().upper() for header in _headers(frames)}


def _headers(frames: Sequence[Frame]) -> list[Dataset]:
    """Each header once: all frames of one file share theirs."""
    return list({id(frame.header): frame.header for frame in frames}.values())
