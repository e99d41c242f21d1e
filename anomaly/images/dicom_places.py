"""Where the frames of a DICOM file lie: by a position a frame, or by the steps from the first to the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset

from anomaly.errors import UnreadableImage
from anomaly.images.dicom_tags import filled, number, numbers, of_frame

SPLIT = "split it into a file a volume, as dcm2niix does when it converts to NIfTI, and give these"
_VECTORS = {
    0x00540010: "EnergyWindowVector",
    0x00540020: "DetectorVector",
    0x00540030: "PhaseVector",
    0x00540050: "RotationVector",
    0x00540060: "RRIntervalVector",
    0x00540070: "TimeSlotVector",
    0x00540090: "AngularViewVector",
    0x00540100: "TimeSliceVector",
}
"""What frames of nuclear medicine may count besides slices (DICOM PS3.3 C.8.4.8)."""
_TIMES = (0x00181063, 0x00181065)  # FrameTime, FrameTimeVector: a film
_KINDS = {
    "StackID": "FrameContentSequence",
    "TemporalPositionIndex": "FrameContentSequence",
    "EffectiveEchoTime": "MREchoSequence",
    "DiffusionBValue": "MRDiffusionSequence",
    "ComplexImageComponent": "MRImageFrameTypeSequence",
    "FrameType": "MRImageFrameTypeSequence",
    "ReferencedSegmentNumber": "SegmentIdentificationSequence",
}
"""What tells the volumes in an enhanced file apart, and the functional group that says it."""


@dataclass(frozen=True)
class Place:
    """Where a frame lies.

    position: mm, LPS, the centre of its first pixel; directions: (2, 3), along a row and down a column; None where
    the file does not say. spacing: between rows and between columns, in mm where `measured`, else in shares of the
    distance of columns, which is unknown. told: the tag that says the spacing; empty where none does.
    """

    position: np.ndarray | None
    directions: np.ndarray | None
    spacing: np.ndarray
    measured: bool
    told: str = ""


def places(data: Dataset, frames: int, path: Path) -> list[Place]:
    """Say where each of a file's frames lies.

    Raises UnreadableImage, with the tags that are missing, where several frames have no places in a volume, and for
    several volumes in one file.
    """
    own = data.get("PerFrameFunctionalGroupsSequence") or []
    if own and len(own) != frames:
        raise UnreadableImage(
            f"{path}: PerFrameFunctionalGroupsSequence has {len(own)} items for {frames} frames; export it again"
        )
    positions = [_position(data, frame) for frame in range(frames)]
    if frames > 1 and not any(filled(one, "PlanePositionSequence") for one in own):
        positions = list(_stepped(data, frames, path))
    if frames > 1:
        _one_volume(data, frames, path)
    return [Place(position, _directions(data, k, path), *_spacing(data, k)) for k, position in enumerate(positions)]


def _position(data: Dataset, frame: int) -> np.ndarray | None:
    held = of_frame(data, frame, "PlanePositionSequence", "ImagePositionPatient")
    return _vector(_or_detector(held, "ImagePositionPatient"), "ImagePositionPatient", 3)


def _directions(data: Dataset, frame: int, path: Path) -> np.ndarray | None:
    name = "ImageOrientationPatient"
    found = _vector(_or_detector(of_frame(data, frame, "PlaneOrientationSequence", name), name), name, 6)
    if found is None:
        return None
    directions = found.reshape(2, 3)
    if not np.allclose(directions @ directions.T, np.eye(2), atol=1e-2):
        raise UnreadableImage(
            f"{path}: {name} is {found.tolist()}; expected two directions of length 1 at right angles: repair "
            "the header"
        )
    return directions


def _or_detector(data: Dataset, name: str) -> Dataset:
    """Give the first detector of nuclear medicine where the file itself does not tell."""
    detectors = data.get("DetectorInformationSequence")
    return detectors[0] if detectors and not filled(data, name) else data


def _vector(data: Dataset, name: str, length: int) -> np.ndarray | None:
    found = np.array(numbers(data, name))
    return found if len(found) == length and np.isfinite(found).all() else None


def _spacing(data: Dataset, frame: int) -> tuple[np.ndarray, bool, str]:
    """Give the spacing of rows and of columns, whether it is in mm (in the body, at the detector, of film), its tag."""
    measures = of_frame(data, frame, "PixelMeasuresSequence", "PixelSpacing")
    told = ((measures, "PixelSpacing"), (data, "ImagerPixelSpacing"), (data, "NominalScannedPixelSpacing"))
    for holder, name in told:
        found = _vector(holder, name, 2)
        if found is not None and (found > 0).all():
            return found, True, name
    aspect = _vector(data, "PixelAspectRatio", 2)
    if aspect is None or not (aspect > 0).all():
        return np.ones(2), False, ""
    return np.array([aspect[0] / aspect[1], 1.0]), False, "PixelAspectRatio"


def _stepped(data: Dataset, frames: int, path: Path) -> np.ndarray:
    """Give positions (F, 3) of frames that have none of their own: from the first along the normal of the slices."""
    counts = _counts(data, path)
    first, directions = _position(data, 0), _directions(data, 0, path)
    steps = _steps(data, frames, first, counts, path)
    missing = [
        name
        for name, value in (
            ("ImagePositionPatient", first),
            ("ImageOrientationPatient", directions),
            ("GridFrameOffsetVector" if _is_dose(data) else "SpacingBetweenSlices (or SliceThickness)", steps),
        )
        if value is None
    ]
    if first is None or directions is None or steps is None:
        raise UnreadableImage(
            f"{path}: holds {frames} frames without positions: {', '.join(missing)} not told; of a volume, fill in "
            "these tags or convert it to NIfTI; of a film, save the frames you want as pictures"
        )
    return first + steps[:, None] * np.cross(*directions)


def _steps(
    data: Dataset, frames: int, first: np.ndarray | None, counts: np.ndarray | None, path: Path
) -> np.ndarray | None:
    """Give millimetres along the normal from the first frame to each; None where the file does not tell."""
    if _is_dose(data):
        return _dose_steps(data, frames, first, path)
    gap, thick = number(data, "SpacingBetweenSlices"), number(data, "SliceThickness")
    step = gap or thick
    if not step:
        return None
    if step < 0 and data.get("Modality") != "NM":  # only there the sign has a meaning: PS3.3 C.8.4.15
        raise UnreadableImage(f"{path}: its slices are {step:g} mm apart; expected more than 0: repair the header")
    if counts is not None and len(counts) != frames:
        raise UnreadableImage(f"{path}: SliceVector has {len(counts)} numbers for {frames} frames; export it again")
    return step * (np.arange(frames) if counts is None else counts - counts[0])


def _is_dose(data: Dataset) -> bool:
    return filled(data, "GridFrameOffsetVector") or data.get("Modality") == "RTDOSE"


def _dose_steps(data: Dataset, frames: int, first: np.ndarray | None, path: Path) -> np.ndarray | None:
    """Read offsets of a dose grid, from its first plane or, in axial planes, as z: DICOM PS3.3 C.8.8.3.2."""
    offsets, directions = np.array(numbers(data, "GridFrameOffsetVector")), _directions(data, 0, path)
    if first is None or directions is None or not len(offsets):
        return None
    if len(offsets) == frames and offsets[0] == 0:
        return offsets
    height = float(np.cross(*directions)[2])
    if len(offsets) == frames and abs(abs(height) - 1) < 1e-3 and abs(offsets[0] - first[2]) < 1e-2:
        return (offsets - offsets[0]) * np.sign(height)
    raise UnreadableImage(
        f"{path}: GridFrameOffsetVector has {len(offsets)} numbers from {offsets[0]:g} for {frames} frames; expected "
        f"one a frame, from 0 or from the z of ImagePositionPatient ({first[2]:g}) in axial planes: export it again"
    )


def _counts(data: Dataset, path: Path) -> np.ndarray | None:
    """Give the slice each frame is, where it is told; UnreadableImage for frames that count something else."""
    pointer: Any = data.get("FrameIncrementPointer")
    tags = [int(tag) for tag in ([pointer] if isinstance(pointer, int) else pointer or [])]
    if any(tag in _TIMES for tag in tags):
        raise UnreadableImage(
            f"{path}: is a film: its frames follow each other in time (FrameIncrementPointer), without positions; save "
            "the frames you want as pictures"
        )
    for tag, name in _VECTORS.items():
        if (tag in tags or name in data) and len(set(numbers(data, name))) > 1:
            found = len(set(numbers(data, name)))
            raise UnreadableImage(f"{path}: holds {found} volumes or views ({name} counts them), not one; {SPLIT}")
    counts = numbers(data, "SliceVector")
    return np.array(counts) if counts else None


def _one_volume(data: Dataset, frames: int, path: Path) -> None:
    """Refuse a file that says that its frames are several volumes; one value a frame is no volume of its own."""
    for name, group in _KINDS.items():
        told = [_told(of_frame(data, frame, group, name), name) for frame in range(frames)]
        found = sorted(set(told))
        if len(found) > 1 and (len(found) < frames or name == "StackID"):
            raise UnreadableImage(f"{path}: holds {len(found)} volumes ({name} is {_listed(found)}), not one; {SPLIT}")


def _told(data: Dataset, name: str) -> str:
    value = data.get(name)
    return (
        "\\".join(map(str, value)) if isinstance(value, Sequence) and not isinstance(value, str) else str(value or "")
    )


def _listed(found: list[str]) -> str:
    return ", ".join(f"'{one}'" for one in found[:4]) + (" ..." if len(found) > 4 else "")
