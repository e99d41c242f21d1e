"""DICOM: one file, the folder of one series, or a multi-frame file that is a volume."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from anomaly.errors import UnreadableImage
from anomaly.images.dicom_geometry import Slice, picture, stack
from anomaly.images.dicom_places import places
from anomaly.images.dicom_tags import is_dicom, number, numbers, opened
from anomaly.images.dicom_values import values
from anomaly.images.image import Image

__all__ = ["entries", "is_dicom", "read_dicom", "read_series"]

_ENDINGS = (".dcm", ".dicom", ".ima")
_HEADER = ["SeriesInstanceUID", "SeriesDescription", "ImagePositionPatient", "NumberOfFrames"]


@dataclass(frozen=True)
class _Head:
    """What decides to which image a file belongs; `error` says why its header cannot be read."""

    series: str = ""
    description: str = "unnamed"
    in_stack: bool = False
    error: str = ""


def entries(folder: Path, files: Sequence[Path]) -> list[Path]:
    """Say which paths stand for the images among one folder's DICOM files: the folder, or every file.

    The folder, where files are slices of a stack; every file, where they have no position in space
    (radiographs), hold a volume each (multi-frame), or each is a series of its own.
    """
    if len(files) < 2:
        return list(files)
    heads = [_head(file) for file in files]
    if len({head.series for head in heads}) == len(files) or not any(head.in_stack for head in heads):
        return list(files)
    return [folder]


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
    files = [f for f in sorted(folder.iterdir()) if f.is_file() and f.name[0] != "." and _belongs(f)]
    heads = {file: _head(file) for file in files}
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
        )
    except Exception as error:  # a damaged header makes the library raise almost anything
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return _Head(error=reason.removeprefix(f"{file}: "))


def _slices(path: Path) -> list[Slice]:
    data = opened(path)
    shown = values(data, path)
    return [Slice(*both) for both in zip(shown, places(data, len(shown), path), strict=True)]
