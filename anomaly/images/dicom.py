"""DICOM: one file, the folder of one series, or a multi-frame file with positions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError
from pydicom.pixels import apply_color_lut, apply_modality_lut, pixel_array

from anomaly.errors import UnreadableImage
from anomaly.images.image import Image, as_float

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
UNEVEN = 0.1  # share of the usual gap by which gaps between slices may differ; more means a missing slice


@dataclass(frozen=True)
class _Slice:
    pixels: np.ndarray  # (C, rows, columns)
    limits: tuple[float, float] | None
    position: np.ndarray | None  # mm, LPS, centre of the first pixel
    directions: np.ndarray | None  # (2, 3): along a row, down a column
    spacing: np.ndarray  # mm between rows, mm between columns


def is_dicom(path: Path) -> bool:
    """Tell by its mark whether a file is DICOM, whatever its name."""
    with path.open("rb") as file:
        file.seek(128)
        return file.read(4) == b"DICM"


def entries(folder: Path, files: Sequence[Path]) -> list[Path]:
    """Say which paths stand for the images among one folder's DICOM files: the folder, or every file.

    The folder, where files are slices of a stack; every file, where they have no position in space
    (radiographs, multi-frame volumes) or each is a series of its own.
    """
    if len(files) < 2:
        return list(files)
    headers = [_header(file) for file in files]
    series = {header.get("SeriesInstanceUID") for header in headers}
    if len(series) == len(files) or not any("ImagePositionPatient" in header for header in headers):
        return list(files)
    return [folder]


def read_dicom(path: Path) -> Image:
    """Read one file: (C, rows, columns), or (C, i, j, k) for a multi-frame file that positions its frames."""
    slices = _slices(path)
    return _picture(slices[0], path) if len(slices) == 1 else _stack(slices, path)


def read_series(folder: Path) -> Image:
    """Read a folder's DICOM files as one volume (1, i, j, k), i along rows, j down columns, k across slices.

    Slices are put in order by their position. Raises UnreadableImage for two series in one folder (naming
    both), slices of unlike sizes or directions, two images in one place, and missing slices.
    """
    files = [f for f in sorted(folder.iterdir()) if f.is_file() and f.name[0] != "." and _has_mark(f)]
    if not files:
        raise UnreadableImage(f"{folder}: is a folder without DICOM files; give a file, or the series' folder")
    headers = [_header(file) for file in files]
    names = Counter(f"{h.get('SeriesDescription', 'unnamed')} {h.get('SeriesInstanceUID')}" for h in headers)
    if len(names) > 1:
        told = "; ".join(f"{name}: {count} files" for name, count in names.most_common(3))
        raise UnreadableImage(f"{folder}: holds {len(names)} series ({told}); give every series a folder of its own")
    slices = [one for file in files for one in _slices(file)]
    return _picture(slices[0], folder) if len(slices) == 1 else _stack(slices, folder)


def _has_mark(file: Path) -> bool:
    return file.name.upper() != "DICOMDIR" and is_dicom(file)


def _header(file: Path) -> Dataset:
    tags = ["SeriesInstanceUID", "SeriesDescription", "ImagePositionPatient"]
    try:
        return dcmread(file, stop_before_pixels=True, specific_tags=tags)
    except (InvalidDicomError, OSError, EOFError):
        return Dataset()  # the reader of the pixels will say what is wrong with it


def _slices(path: Path) -> list[_Slice]:
    try:
        data = dcmread(path)
    except InvalidDicomError as error:
        raise UnreadableImage(f"{path}: is no DICOM file (its mark is missing); export it again") from error
    if not any(name in data for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        what = data.get("Modality") or "no modality told"
        raise UnreadableImage(f"{path}: is DICOM without an image ({what}); leave this file out")
    return [_slice(data, frame, values, path) for frame, values in enumerate(_frames(data, path))]


def _frames(data: Dataset, path: Path) -> np.ndarray:
    """Decode one file's frames as stored: (F, rows, columns) or, with colours, (F, rows, columns, 3)."""
    try:
        stored = pixel_array(data)
    except (RuntimeError, NotImplementedError) as error:
        reason = (str(error).splitlines() or ["no reason told"])[0].rstrip(":")
        raise UnreadableImage(
            f"{path}: its pixels cannot be decoded ({reason}); install the missing decoder, as with "
            'pip install "pylibjpeg[all]", or export it uncompressed'
        ) from error
    if data.get("PhotometricInterpretation") == "PALETTE COLOR":
        stored = apply_color_lut(stored, data)
    return stored if int(data.get("NumberOfFrames") or 1) > 1 else stored[None]


def _slice(data: Dataset, frame: int, stored: np.ndarray, path: Path) -> _Slice:
    pixels, limits = _values(data, frame, stored, path)
    measures = _group(data, frame, "PixelMeasuresSequence")
    spacing = measures.get("PixelSpacing") or data.get("ImagerPixelSpacing") or (1, 1)
    position = _group(data, frame, "PlanePositionSequence").get("ImagePositionPatient")
    directions = _group(data, frame, "PlaneOrientationSequence").get("ImageOrientationPatient")
    return _Slice(
        pixels,
        limits,
        np.array(position, dtype=float) if position else None,
        np.array(directions, dtype=float).reshape(2, 3) if directions else None,
        np.array(spacing, dtype=float),
    )


def _group(data: Dataset, frame: int, name: str) -> Dataset:
    """Give what the file says of one frame: for it alone, for all frames, or (classic files) at the top."""
    own, shared = data.get("PerFrameFunctionalGroupsSequence"), data.get("SharedFunctionalGroupsSequence")
    for holder in (own[frame] if own else None, shared[0] if shared else None):
        if holder is not None and holder.get(name):
            return holder[name][0]
    return data


def _values(data: Dataset, frame: int, stored: np.ndarray, path: Path) -> tuple[np.ndarray, tuple[float, float] | None]:
    """Rescale one frame and turn MONOCHROME1 round, so that higher is brighter; give (C, rows, columns)."""
    if stored.ndim == 3:
        top = float(np.iinfo(stored.dtype).max)
        return as_float(np.moveaxis(stored, -1, 0), path), (0.0, top)
    scale = _group(data, frame, "PixelValueTransformationSequence")
    pixels = apply_modality_lut(stored, scale).astype(np.float64)
    bits, signed = int(data.get("BitsStored") or 16), bool(data.get("PixelRepresentation"))
    ends = np.array([-(2 ** (bits - 1)), 2 ** (bits - 1) - 1] if signed else [0, 2**bits - 1])
    low, high = sorted(float(end) for end in apply_modality_lut(ends, scale))
    # All 16 bits are seldom filled, so that without a window their range says nothing.
    limits = _window(_group(data, frame, "FrameVOILUTSequence")) or ((low, high) if bits < 16 else None)
    if data.get("PhotometricInterpretation") == "MONOCHROME1":
        pixels = low + high - pixels
        limits = (low + high - limits[1], low + high - limits[0]) if limits else None
    return as_float(pixels[None], path), limits


def _window(data: Dataset) -> tuple[float, float] | None:
    """Give the first display window as (black, white): DICOM PS3.3 C.11.2.1.2, linear function."""
    centres, widths = (np.atleast_1d(data.get(name) or []) for name in ("WindowCenter", "WindowWidth"))
    if not len(centres) or not len(widths) or float(widths[0]) <= 1:
        return None
    centre, half = float(centres[0]) - 0.5, (float(widths[0]) - 1) / 2
    return centre - half, centre + half


def _picture(one: _Slice, path: Path) -> Image:
    """Make an image (C, rows, columns) of a single slice."""
    affine = np.diag([*one.spacing, 1.0, 1.0])
    if one.position is not None and one.directions is not None:
        along, down = one.directions
        affine[:3] = np.stack([down, along, np.cross(down, along), one.position], axis=1)
        affine[:3, :2] *= one.spacing
        affine = LPS_TO_RAS @ affine
    return Image(one.pixels, affine, path, "dicom", one.limits)


def _stack(slices: Sequence[_Slice], path: Path) -> Image:
    """Order slices by position and make a volume of them, LPS to RAS: DICOM PS3.3 equation C.7.6.2.1-1."""
    positions, directions = _geometry(slices, path)
    along, down = directions
    heights = positions @ np.cross(along, down)
    order = np.argsort(heights, kind="stable")
    gaps = np.diff(heights[order])
    if gaps.min() < 1e-3:
        raise UnreadableImage(
            f"{path}: {int((gaps < 1e-3).sum())} of {len(slices)} images lie where another one lies (several "
            "echoes or times?); give every volume a folder of its own"
        )
    if np.ptp(gaps) > UNEVEN * np.median(gaps):
        raise UnreadableImage(
            f"{path}: gaps between slices go from {gaps.min():.4g} to {gaps.max():.4g} mm; copy the missing slices"
        )
    first, last = positions[order[0]], positions[order[-1]]
    affine = np.eye(4)
    affine[:3] = np.stack([along, down, (last - first) / (len(slices) - 1), first], axis=1)
    affine[:3, :2] *= slices[0].spacing[::-1]
    pixels = np.stack([slices[i].pixels.transpose(0, 2, 1) for i in order], axis=-1)
    windows = [one.limits for one in slices if one.limits]
    limits = (min(low for low, _ in windows), max(high for _, high in windows)) if windows else None
    return Image(pixels, LPS_TO_RAS @ affine, path, "dicom", limits)


def _geometry(slices: Sequence[_Slice], path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Give positions (S, 3) and the directions (2, 3) all slices share; UnreadableImage where they do not."""
    positions = [one.position for one in slices if one.position is not None]
    directions = [one.directions for one in slices if one.directions is not None]
    if len(positions) < len(slices) or len(directions) < len(slices):
        raise UnreadableImage(
            f"{path}: holds {len(slices)} frames without positions (a film?); save the frames as files of their own"
        )
    sizes = sorted({one.pixels.shape for one in slices})
    turned = sum(not np.allclose(one, directions[0], atol=1e-3) for one in directions)
    if len(sizes) > 1 or turned:
        raise UnreadableImage(
            f"{path}: its slices are no stack (sizes {sizes[:3]}, {turned} of {len(slices)} in another "
            "direction); take the scout images out"
        )
    return np.stack(positions), directions[0]
