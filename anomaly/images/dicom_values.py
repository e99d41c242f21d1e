"""What the stored numbers of a DICOM file mean: rescaled or mapped to real-world values, padding told apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset
from pydicom.encaps import generate_frames
from pydicom.pixels import apply_color_lut, apply_modality_lut, pixel_array
from pydicom.uid import JPEG2000TransferSyntaxes, ParametricMapStorage

from anomaly.errors import UnreadableImage
from anomaly.images.claims import refuse_more
from anomaly.images.dicom_mapping import as_stored, mapped
from anomaly.images.dicom_tags import filled, items_of_frame, number, numbers, of_frame
from anomaly.images.image import as_float

_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_PADDING = ("PixelPadding", "FloatPixelPadding", "DoubleFloatPixelPadding")
COMPRESSED = 2**18  # how many times as long an empty frame may be as what is stored of it
JP2 = b"\0\0\0\x0cjP  "
Scale = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Values:
    """One frame: pixels (C, rows, columns) float32; padding (rows, columns) bool; what black and white stand for."""

    pixels: np.ndarray
    padding: np.ndarray
    limits: tuple[float, float] | None


def values(data: Dataset, path: Path) -> list[Values]:
    """Decode all frames of a file: rescaled, higher is brighter (MONOCHROME1 is turned round), padding marked.

    Raises UnreadableImage for a file without pixels, or with pixels that cannot be decoded or have no meaning.
    """
    if not any(name in data for name in _PIXELS):
        what = data.get("Modality") or "no modality told"
        raise UnreadableImage(f"{path}: is DICOM without an image ({what}); leave this file out")
    stored = _frames(data, path)
    padding = _padding(data, stored, path)
    return [_values(data, frame, *both, path) for frame, both in enumerate(zip(stored, padding, strict=True))]


def _frames(data: Dataset, path: Path) -> np.ndarray:
    """Decode one file's frames as stored: (F, rows, columns) or, with colours, (F, rows, columns, 3)."""
    stored = _decoded(data, path)
    if data.get("PhotometricInterpretation") == "PALETTE COLOR":
        stored = apply_color_lut(stored, data)
        colours = True
    else:
        colours = (number(data, "SamplesPerPixel") or 1) > 1
    frames = stored if stored.ndim == 3 + colours else stored[None]
    told = max(int(number(data, "NumberOfFrames") or 1), 1)
    if len(frames) != told:
        raise UnreadableImage(
            f"{path}: has {len(frames)} frames of pixels where its header (NumberOfFrames) tells {told}; export it "
            "again"
        )
    return frames


def _decoded(data: Dataset, path: Path, **options: Any) -> np.ndarray:
    if data.file_meta.TransferSyntaxUID.is_encapsulated and "PixelData" in data:
        shape = [int(number(data, name) or 1) for name in ("NumberOfFrames", "Rows", "Columns", "SamplesPerPixel")]
        refuse_more(path, shape, int(number(data, "BitsAllocated") or 8), len(data.PixelData), COMPRESSED)
    if data.file_meta.TransferSyntaxUID in JPEG2000TransferSyntaxes:
        _refuse_boxes(data, path)
    try:
        return pixel_array(data, **options)
    except (RuntimeError, NotImplementedError) as error:
        reason = (str(error).splitlines() or ["no reason told"])[0].rstrip(":")
        raise UnreadableImage(
            f"{path}: its pixels cannot be decoded ({reason}); install the missing decoder, as with "
            'pip install "pylibjpeg[all]", or export it uncompressed'
        ) from error


def _refuse_boxes(data: Dataset, path: Path) -> None:
    """Refuse a JPEG 2000 in the boxes of a .jp2 file where one has no length: pydicom would go through them forever."""
    for frame in generate_frames(data.PixelData, number_of_frames=int(number(data, "NumberOfFrames") or 1)):
        at = 0
        while frame.startswith(JP2) and at < len(frame) and frame[at + 4 : at + 8] != b"jp2c":
            length = int.from_bytes(frame[at : at + 4], "big")
            if length < 8:
                raise UnreadableImage(
                    f"{path}: its JPEG 2000 has a box of {length} bytes, expected 8 or more; it is damaged: "
                    "export it again"
                )
            at += length


def _padding(data: Dataset, stored: np.ndarray, path: Path) -> np.ndarray:
    """Say which stored values are padding: DICOM PS3.3 C.7.5.1.1.2, in stored units; (F, rows, columns) bool."""
    name = next((name for name in _PADDING if numbers(data, f"{name}Value")), None)
    if name is None or stored.ndim > 3:
        return np.zeros(stored.shape[:3], dtype=bool)
    ends = [numbers(data, f"{name}Value")[0], *numbers(data, f"{name}RangeLimit")[:1]]
    if stored.dtype.kind == "f":
        return np.isnan(stored) if np.isnan(ends[0]) else (stored >= min(ends)) & (stored <= max(ends))
    codes = [as_stored(end, stored.dtype) for end in ends]
    lowest, highest = _ends(data)
    if not ((lowest <= min(codes) and max(codes) <= highest) or data.file_meta.TransferSyntaxUID.is_compressed):
        # A code that does not fit the stored bits was cut off with the bits above them: look at these.
        stored = _decoded(data, path, correct_unused_bits=False).reshape(stored.shape)
    return (stored >= min(codes)) & (stored <= max(codes))


def _values(data: Dataset, frame: int, stored: np.ndarray, padding: np.ndarray, path: Path) -> Values:
    if stored.ndim == 3:
        top = float(np.iinfo(stored.dtype).max)
        return Values(as_float(np.moveaxis(stored, -1, 0), path), padding, (0.0, top))
    window = _window(of_frame(data, frame, "FrameVOILUTSequence", "WindowCenter"))
    scale, stated = _rescale(data, frame, path)
    mapping = items_of_frame(data, frame, "RealWorldValueMappingSequence")
    if mapping and (not stated or data.get("SOPClassUID") == ParametricMapStorage):
        pixels, line = mapped(stored, padding, mapping, path)
        # Without a rescale the window speaks of stored values; black and white are not turned round: these are numbers.
        ends = sorted(line(end) for end in window) if window and line else None
        return Values(as_float(pixels[None], path), padding, (ends[0], ends[1]) if ends else None)
    pixels = scale(stored).astype(np.float64)
    low, high = sorted(float(end) for end in scale(np.array(_ends(data))))
    # All 16 bits are seldom filled, so that without a window their range says nothing.
    limits = window or ((low, high) if _bits(data) < 16 else None)
    if data.get("PhotometricInterpretation") == "MONOCHROME1":
        pixels = low + high - pixels
        limits = (low + high - limits[1], low + high - limits[0]) if limits else None
    return Values(as_float(pixels[None], path), padding, limits)


def _rescale(data: Dataset, frame: int, path: Path) -> tuple[Scale, bool]:
    """Give what the Modality LUT, the slope and intercept or the dose grid make of stored values; is there any?"""
    names = ("ModalityLUTSequence", "RescaleSlope", "RescaleIntercept")
    holder = of_frame(data, frame, "PixelValueTransformationSequence", *names)
    if filled(holder, "ModalityLUTSequence"):
        return partial(apply_modality_lut, ds=holder), True
    slope, shift = number(holder, "RescaleSlope"), number(holder, "RescaleIntercept")
    if slope is None and shift is None:
        slope = number(data, "DoseGridScaling")
    if slope == 0:
        raise UnreadableImage(f"{path}: has a slope of 0 (RescaleSlope), which leaves one value; repair the header")
    stated = not slope is shift is None
    slope, shift = 1.0 if slope is None else slope, shift or 0.0
    return (lambda stored: stored.astype(np.float64) * slope + shift), stated


def _bits(data: Dataset) -> int:
    return int(number(data, "BitsStored") or 16)


def _ends(data: Dataset) -> tuple[int, int]:
    """Give the least and greatest value that the stored bits can hold."""
    bits = _bits(data)
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if number(data, "PixelRepresentation") else (0, 2**bits - 1)


def _window(data: Dataset) -> tuple[float, float] | None:
    """Give the first display window as (black, white): DICOM PS3.3 C.11.2.1.2, linear function."""
    centres, widths = numbers(data, "WindowCenter"), numbers(data, "WindowWidth")
    if not centres or not widths or widths[0] <= 1:
        return None
    centre, half = centres[0] - 0.5, (widths[0] - 1) / 2
    return centre - half, centre + half
