"""DICOM: one file, the folder of one series, or a multi-frame file that is a volume."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset

from anomaly.errors import UnreadableImage
from anomaly.images.dicom_geometry import Slice, picture, stack
from anomaly.images.dicom_places import places
from anomaly.images.dicom_tags import OUR_CLASS, OURS, is_dicom, number, numbers, opened
from anomaly.images.dicom_values import values
from anomaly.images.image import Image

__all__ = ["entries", "is_dicom", "read_dicom", "read_series"]

_ENDINGS = (".dcm", ".dicom", ".ima")
_HEADER = [
    *("SeriesInstanceUID", "SeriesDescription", "ImagePositionPatient", "NumberOfFrames"),
    *("SOPClassUID", "Modality", "Rows", "Manufacturer", "ManufacturerModelName"),
]
_DRAWN = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.66.4",  # segmentation
        "1.2.840.10008.5.1.4.1.1.66.7",  # label map segmentation
        "1.2.840.10008.5.1.4.1.1.66.5",  # surface segmentation
    }
)
"""Classes of objects that people or programs drew on images; SOPClassUID, DICOM PS3.6 annex A."""


@dataclass(frozen=True)
class _Head:
    """What decides to which image a file belongs; `error` says why its header cannot be read.

    beside: what kind of object the file is where it is no image of anybody (a segmentation, a report, contours), or
        one that this program drew.
    """

    series: str = ""
    description: str = "unnamed"
    in_stack: bool = False
    error: str = ""
    beside: str = ""


def entries(folder: Path, files: Sequence[Path]) -> dict[Path, list[Path]]:
    """Say which paths stand for the images among one folder's DICOM files, each with the files it is made of.

    The folder, where files are slices of a stack; every file, where they have no position in space
    (radiographs), hold a volume each (multi-frame), or each is a series of its own. Segmentations, structured
    reports and whatever else lies beside images and is none (see `beside`) must have been taken out.
    """
    heads = {file: _head(file) for file in files}
    if len({head.series for head in heads.values()}) == len(heads) or not any(h.in_stack for h in heads.values()):
        return {file: [file] for file in heads}
    return {folder: list(heads)}


def beside(files: Sequence[Path]) -> dict[Path, str]:
    """DICOM files that lie beside images and are none, and what they are: "SEG", "SR", a map of this program."""
    return {file: head.beside for file in files if (head := _head(file)).beside}


def read_dicom(path: Path) -> Image:
    """Read one file: (C, rows, columns), or (C, i, j, k) for a multi-frame file that says where its frames lie."""
    slices = _slices(path)
    return picture(slices[0], path) if len(slices) == 1 else stack(slices, path)


def read_series(folder: Path) -> Image:
    """Read a folder's DICOM files as one volume (1, i, j, k), i along rows, j down columns, k across slices.

    Slices are put in order by their position. Raises UnreadableImage for two series in one folder (naming both), for
    files that have the name of DICOM and are none, slices of unlike sizes, spacings or directions, slices shifted
    sideways, two images in one place, and missing slices.
    """
    heads = _heads(folder)
    files = list(heads)
    broken = [file for file, head in heads.items() if head.error]
    if len(broken) == len(files):
        raise UnreadableImage(
            f"{folder}: is a folder without DICOM files that can be read; give a file, or the series' folder"
        )
    if broken:
        raise UnreadableImage(
            f"{folder}: {len(broken)} of {len(files)} files cannot be read as DICOM ({broken[0].name}: "
            f"{heads[broken[0]].error}); copy them again, or take out what is no slice"
        )
    _one_series(folder, list(heads.values()))
    slices = [one for file in files for one in _slices(file)]
    return picture(slices[0], folder) if len(slices) == 1 else stack(slices, folder)


def members(folder: Path) -> list[Path]:
    """The files that the volume of a folder is made of, by name; what lies beside images and is none left out."""
    return list(_heads(folder))


def _heads(folder: Path) -> dict[Path, _Head]:
    files = [f for f in sorted(folder.iterdir()) if f.is_file() and f.name[0] != "." and _belongs(f)]
    return {file: head for file in files if not (head := _head(file)).beside}


def _belongs(file: Path) -> bool:
    """Whether a file of a series' folder is a slice by its name or by what is in it."""
    return file.name.upper() != "DICOMDIR" and (file.suffix.lower() in _ENDINGS or is_dicom(file))


def _one_series(folder: Path, heads: Sequence[_Head]) -> None:
    counts: dict[str, int] = {}
    for head in heads:
        counts[head.series] = counts.get(head.series, 0) + 1
    if len(counts) > 1:
        names = {head.series: f"{head.description} {head.series or '(no series told)'}" for head in reversed(heads)}
        most = sorted(counts, key=lambda series: -counts[series])[:3]
        told = "; ".join(f"{names[series]}: {counts[series]} files" for series in most)
        raise UnreadableImage(f"{folder}: holds {len(counts)} series ({told}); give every series a folder of its own")


def _head(file: Path) -> _Head:
    try:
        data = opened(file, header=_HEADER)
        single = (number(data, "NumberOfFrames") or 1) <= 1
        return _Head(
            str(data.get("SeriesInstanceUID") or ""),
            str(data.get("SeriesDescription") or "unnamed"),
            single and bool(numbers(data, "ImagePositionPatient")),
            beside=_beside(data),
        )
    except Exception as error:  # a damaged header makes the library raise almost anything
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return _Head(error=reason.removeprefix(f"{file}: "))


def _beside(data: Dataset) -> str:
    kind = str(data.get("SOPClassUID") or "")
    if kind in _DRAWN or (kind and not data.get("Rows")):
        return str(data.get("Modality") or "an object without pixels")
    if _is_ours(data):
        return f"{data.get('SeriesDescription') or 'a map'}, of this program"
    return ""


def _is_ours(data: Dataset) -> bool:
    wrote = str(data.file_meta.get("ImplementationClassUID") or "")
    return wrote == OUR_CLASS or (data.get("Manufacturer"), data.get("ManufacturerModelName")) == (OURS, OURS)


def _slices(path: Path) -> list[Slice]:
    data = opened(path)
    shown = values(data, path)
    return [Slice(*both) for both in zip(shown, places(data, len(shown), path), strict=True)]
