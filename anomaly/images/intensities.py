"""What becomes -1 and 1 of the values of an image, and what of it is foreground."""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import ndimage

from anomaly.errors import UnreadableImage
from anomaly.images.image import Image

LUMINANCE = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601
ROUNDING = 1e-6  # of a value, what dividing by shares of a mask may change
DEVIATIONS = 4.0  # "zscore": this many standard deviations from the mean become -1 and 1


def channels(image: Image, want: int) -> np.ndarray:
    """Give the pixels with the number of channels asked for: luminance of colours, grey three times."""
    have = len(image.pixels)
    if have == want:
        return image.pixels
    if image.kind in ("picture", "dicom") and (have, want) == (3, 1):
        return np.tensordot(LUMINANCE, image.pixels, axes=1)[None]
    if image.kind in ("picture", "dicom") and (have, want) == (1, 3):
        return np.repeat(image.pixels, 3, axis=0)
    raise UnreadableImage(f"{image.path}: has {have} channels; expected {want}: use channels {have}, or convert it")


def scaled(
    image: Image,
    values: np.ndarray,
    mask: np.ndarray,
    *,
    intensity: str,
    percentiles: tuple[float, float],
    window: tuple[float, float] | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Map values (C, *grid) to [-1, 1] by the bounds of those within the mask; and half their distance (C,)."""
    unit = np.ones(len(values))
    if intensity == "none":
        return values, unit
    asked = {"percentile": percentiles, "window": window}.get(intensity)
    colours = len(values) == 3 and image.kind in ("picture", "dicom")
    for channels in [slice(None)] if colours else [slice(c, c + 1) for c in range(len(values))]:
        part = values[channels]
        low, high = BOUNDS[intensity](image, part[..., mask], asked)
        part[...] = np.clip((part - low) * (2 / (high - low)) - 1, -1, 1)
        unit[channels] = (high - low) / 2
    return values, unit


def _percentile(image: Image, values: np.ndarray, asked: Any) -> tuple[float, float]:
    low, high = np.percentile(values, asked)
    if low == high:  # nearly all is background: the percentiles meet, the extremes need not
        low, high = values.min(), values.max()
    return _distinct(image, float(low), float(high))


def _range(image: Image, values: np.ndarray, asked: Any) -> tuple[float, float]:
    if image.limits is None:
        raise UnreadableImage(f"{image.path}: does not tell the range of its values; use another intensity")
    return image.limits


def _window(image: Image, values: np.ndarray, asked: Any) -> tuple[float, float]:
    return asked[0], asked[1]


def _zscore(image: Image, values: np.ndarray, asked: Any) -> tuple[float, float]:
    mean, wide = float(values.mean(dtype=np.float64)), DEVIATIONS * float(values.std(dtype=np.float64))
    return _distinct(image, mean - wide, mean + wide)


def _distinct(image: Image, low: float, high: float) -> tuple[float, float]:
    noise = ROUNDING * max(abs(low), abs(high)) if image.mask is not None else 0.0  # of resampling within a mask
    if not high - low > noise:
        raise UnreadableImage(f"{image.path}: all pixels have the value {low:g}; leave it out, or use a window")
    return low, high


def _everything(values: np.ndarray, within: np.ndarray) -> np.ndarray:
    return np.ones(values.shape, dtype=bool)


def otsu_threshold(values: np.ndarray) -> float:
    """The threshold that sets dark and bright values farthest apart (Otsu 1979, equation 14)."""
    counts, edges = np.histogram(values, bins=256)
    middle = (edges[:-1] + edges[1:]) / 2
    below, above = np.cumsum(counts)[:-1], counts.sum() - np.cumsum(counts)[:-1]
    sums = np.cumsum(counts * middle)
    with np.errstate(invalid="ignore", divide="ignore"):
        gap = sums[:-1] / below - (sums[-1] - sums[:-1]) / above
        between = np.nan_to_num(below * above * gap**2)
    return float(edges[1 + between.argmax()])


def _otsu(values: np.ndarray, within: np.ndarray) -> np.ndarray:
    """Find the largest structure brighter than Otsu's threshold, its holes filled."""
    bright = (values > otsu_threshold(values[within])) & within
    labels, found = ndimage.label(bright)
    if not found:
        return _everything(values, within)
    largest = 1 + np.bincount(labels.ravel())[1:].argmax()
    return ndimage.binary_fill_holes(labels == largest)


BOUNDS: dict[str, Callable[[Image, np.ndarray, Any], tuple[float, float]]] = {
    "percentile": _percentile,
    "range": _range,
    "window": _window,
    "zscore": _zscore,
}
FOREGROUNDS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {"none": _everything, "otsu": _otsu}
