"""The headers that a DICOM image was made of, in the order of its slices, for what is filed beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom import Dataset, dcmread

from anomaly.errors import UnreadableImage
from anomaly.images.claims import Within
from anomaly.images.dicom import members
from anomaly.images.dicom_places import Place, places
from anomaly.images.dicom_tags import filled, is_dicom, number
from anomaly.images.image import Image
from anomaly.images.names import located
from anomaly.images.reading import READERS, read_dicom, suffix

ONE = (
    *("StudyInstanceUID", "SeriesInstanceUID", "PatientID", "PatientName", "PatientBirthDate"),
    "FrameOfReferenceUID",
)
"""What all slices of an image tell alike; ids may be empty, so names and birthdays are held against each other too."""
NEEDED = ("StudyInstanceUID", "SeriesInstanceUID", "SOPClassUID", "SOPInstanceUID")


@dataclass(frozen=True)
class Frame:
    """One slice of an image: the header that tells it, which of the file's frames it is, and where it lies.

    number: from 1; None where the file holds one.
    """

    header: Dataset
    number: int | None
    place: Place

    @property
    def placed(self) -> bool:
        """Whether the file says where in the body it lies."""
        return self.place.position is not None and self.place.directions is not None


def may_be_dicom(path: Path) -> bool:
    """Whether a path would be read as DICOM: the folder of a series, or a file by its name or its mark."""
    path = located(path)
    reader = READERS.get(suffix(path))
    if path.is_dir() or reader is read_dicom:
        return True
    return reader is None and path.is_file() and is_dicom(path)


def sources(image: Image) -> list[Frame]:
    """The frames that an image was read from, one a slice, in the order of its last axis; of a picture one.

    Slices are ordered by their position, as they were when the image was read.

    Raises:
        UnreadableImage: the image is not from DICOM, its files changed since it was read, or a header lacks what
            something filed beside it has to name.
    """
    if image.kind != "dicom":
        raise UnreadableImage(
            f"{image.path}: is no DICOM ({image.kind}), so nothing can be filed beside it as DICOM; give its series, "
            "or take other heatmaps"
        )
    path = located(image.path)
    frames = [frame for file in (members(path) if path.is_dir() else [path]) for frame in _frames(file)]
    slices = image.space[2] if image.ndim == 3 else 1
    shapes = {(number(frame.header, "Rows"), number(frame.header, "Columns")) for frame in frames}
    expected = image.space[:2] if image.ndim == 2 else (image.space[1], image.space[0])
    if len(frames) != slices or shapes != {expected}:
        raise UnreadableImage(
            f"{image.path}: has {len(frames)} slices of {sorted(shapes)} where {slices} of {expected} were read; its "
            "files were changed meanwhile: score it again"
        )
    _one_place(frames, image.path)
    return _ordered(frames)


def _frames(file: Path) -> list[Frame]:
    with Within(file) as stream:
        header = dcmread(stream, force=True, stop_before_pixels=True)
    absent = [name for name in NEEDED if not filled(header, name)]
    if absent:
        raise UnreadableImage(
            f"{file}: is without {', '.join(absent)}, by which a map filed as DICOM names its source; repair the "
            "header, or take other heatmaps"
        )
    count = max(int(number(header, "NumberOfFrames") or 1), 1)
    numbers = [None] if count == 1 else range(1, count + 1)
    return [Frame(header, k, place) for k, place in zip(numbers, places(header, count, file), strict=True)]


def _one_place(frames: Sequence[Frame], path: Path) -> None:
    """Refuse slices of several studies, patients or frames of reference: a map lies in one."""
    for name in ONE:
        found = sorted({str(frame.header.get(name) or "").rstrip("^= ") for frame in frames})
        if len(found) > 1:
            raise UnreadableImage(
                f"{path}: its slices differ in {name} ({found[0] or 'none'}, {found[1]}); expected one: give every "
                "series a folder of its own"
            )
    names = {(str(frame.header.SOPInstanceUID), frame.number) for frame in frames}
    if len(names) < len(frames):
        raise UnreadableImage(
            f"{path}: {len(frames) - len(names)} of its {len(frames)} slices have the SOPInstanceUID of another one; "
            "expected one each: export the series again"
        )


def _ordered(frames: Sequence[Frame]) -> list[Frame]:
    if len(frames) == 1:
        return list(frames)
    along, down = frames[0].place.directions if frames[0].place.directions is not None else np.eye(3)[:2]
    heights = [float(np.dot(f.place.position, np.cross(along, down))) for f in frames if f.place.position is not None]
    return [frames[k] for k in np.argsort(heights, kind="stable")]
