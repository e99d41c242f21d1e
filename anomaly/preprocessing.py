"""Bring images of any grid and scale to the grid and range a network expects, and bring its maps back."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from nibabel.affines import voxel_sizes
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform
from scipy import ndimage

from anomaly.errors import AnomalyError, UnreadableImage
from anomaly.images import Image
from anomaly.images.grids import covered, resample

LUMINANCE = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601
ROUNDING = 1e-3  # how far beyond [-1, 1] a value may lie that was scaled elsewhere
DEVIATIONS = 4.0  # "zscore": this many standard deviations from the mean become -1 and 1
SLICES = {"axial": "SI", "sagittal": "LR", "coronal": "AP"}  # the ends of the axis the slices follow


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How images become network input; saved with a run by `dataclasses.asdict`, made again by its fields.

    dims: 2 for pictures and slices of volumes, 3 for whole volumes.
    size: pixels of every axis, one number for all; None keeps each image's own size.
    fit: how an image comes to that size. "pad" scales all axes alike, in millimetres where they are known, so
        that the whole image fits, and fills up with background; "resize" stretches every axis; "crop" does
        not scale: it cuts, or fills up, around the centre.
    spacing: millimetres a pixel, one number for all axes; with it "pad" no longer magnifies, and shrinks only
        what does not fit.
    orientation: where the axes of a volume point to, such as "RAS"; "keep" leaves them. Pictures are kept.
    slices: "axial", "sagittal" or "coronal", the direction in which dims=2 takes a volume apart.
    intensity: what becomes -1 and 1. "percentile" takes `percentiles` of the foreground, "range" the range of
        the file's type or its DICOM window, "window" takes `window` (as for CT), "zscore" four standard
        deviations from the mean; what lies beyond is clipped. "none" uses values as they are. Colours share
        one scale, other channels have each their own.
    foreground: "otsu" blackens all but the largest bright structure (holes filled); "none" does not.
    channels: how many the network expects. Colours become luminance for 1, grey is repeated for 3.

    Raises AnomalyError for a setting that cannot be.
    """

    dims: int = 2
    size: int | tuple[int, ...] | None = 64
    fit: str = "pad"
    spacing: float | tuple[float, ...] | None = None
    orientation: str = "RAS"
    slices: str = "axial"
    intensity: str = "percentile"
    percentiles: tuple[float, float] = (0.5, 99.5)
    window: tuple[float, float] | None = None
    foreground: str = "none"
    channels: int = 1

    def __post_init__(self) -> None:
        _require("dims", self.dims, self.dims in (2, 3), "2 or 3")
        for name, kind in (("size", int), ("spacing", float)):
            object.__setattr__(self, name, _per_axis(name, getattr(self, name), self.dims, kind))
        for name in ("percentiles", "window"):
            object.__setattr__(self, name, _pair(name, getattr(self, name)))
        for name, choices in CHOICES.items():
            value = getattr(self, name)
            _require(name, value, value in choices, "one of " + ", ".join(choices))
        codes = "".join(sorted(self.orientation.translate(str.maketrans("LPI", "RAS"))))
        told = "three letters such as RAS, or keep"
        _require("orientation", self.orientation, codes == "ARS" or self.orientation == "keep", told)
        low, high = self.percentiles
        _require("percentiles", self.percentiles, 0 <= low < high <= 100, "low < high, from 0 to 100")
        window = self.window is not None if self.intensity == "window" else True
        _require("window", self.window, window, "(low, high), as (-1000, 400) for the lungs in CT")
        _require("channels", self.channels, self.channels >= 1, "1 or more")
        resized = self.fit == "resize" and self.size is not None and self.spacing is not None
        _require("spacing", self.spacing, not resized, "None, since fit 'resize' sets it; or use 'pad' or 'crop'")

    @property
    def shape(self) -> tuple[int, ...] | None:
        """The pixels of every axis, `dims` numbers; None where images keep their own size."""
        return self.size if isinstance(self.size, tuple) else None

    def apply(self, image: Image) -> Prepared:
        """Prepare one image; UnreadableImage where it does not suit the settings (which says the way out)."""
        if image.ndim < self.dims:
            raise UnreadableImage(f"{image.path}: is a 2D picture, but volumes are expected; use dims 2")
        source = _channels(self, image)
        matrix, grid, sliced = _place(self, image)
        within = np.logical_and.reduce(np.meshgrid(*covered(matrix, image.space, grid), indexing="ij"))
        values = np.stack([resample(one, matrix, grid, smooth=True) for one in source])
        mask = FOREGROUNDS[self.foreground](values.mean(axis=0), within)
        pixels, unit = _scaled(self, image, values, mask & within)
        pixels[:, ~within] = pixels[:, within].min() if self.intensity == "none" else -1
        pixels[:, ~mask] = -1
        if sliced is None:
            return Prepared(pixels[None], mask[None, None], matrix, image.space, None, unit)
        pixels, mask = np.moveaxis(pixels, sliced + 1, 0), np.moveaxis(mask, sliced, 0)
        return Prepared(np.ascontiguousarray(pixels), mask[:, None], matrix, image.space, sliced, unit)


@dataclass(frozen=True)
class Prepared:
    """An image as a network takes it, which remembers the way back.

    pixels: (S, C, *size) float32 in [-1, 1] (any range with intensity "none"); S slices of a volume for
        dims=2, else 1.
    foreground: (S, 1, *size) bool; all True unless a foreground was asked for.
    matrix: homogeneous, index on the prepared grid (before slicing) to index on the source grid; whole
        numbers are centres of pixels. source: the space of the image. sliced: the axis the slices follow.
    unit: (C,), the intensity in the source that a difference of 1 in `pixels` stands for.
    """

    pixels: np.ndarray
    foreground: np.ndarray
    matrix: np.ndarray
    source: tuple[int, ...]
    sliced: int | None
    unit: np.ndarray

    def restore(self, maps: np.ndarray) -> np.ndarray:
        """Bring maps (S, 1, *size) back onto the source grid (*space), float32, by linear interpolation.

        Background and voxels that preprocessing cut away are 0. Raises AnomalyError for another shape.
        """
        if maps.shape != self.foreground.shape:
            raise AnomalyError(f"maps have the shape {maps.shape}; expected {self.foreground.shape}")
        values = np.where(self.foreground, maps, 0).astype(np.float32)[:, 0]
        grid = values[0] if self.sliced is None else np.moveaxis(values, 0, self.sliced)
        inverse = np.linalg.inv(self.matrix)
        restored = resample(grid, inverse, self.source)
        for axis, known in enumerate(covered(inverse, grid.shape, self.source)):
            restored[(slice(None),) * axis + (~known,)] = 0
        return restored


def scaled(prepared: Prepared, path: Path) -> Prepared:
    """Give prepared pixels back if they lie in [-1, 1] as methods expect; UnreadableImage where not."""
    low, high = prepared.pixels.min(), prepared.pixels.max()
    if max(-low, high) > 1 + ROUNDING:
        raise UnreadableImage(
            f"{path}: its values go from {low:.4g} to {high:.4g}; with intensity 'none' they are used as they are and "
            "must lie in [-1, 1]: scale them, or take another intensity"
        )
    return prepared


def _require(name: str, value: object, fine: bool, expected: str) -> None:
    if not fine:
        raise AnomalyError(f"{name} is {value!r}; expected {expected}")


def _per_axis(name: str, value: Any, dims: int, kind: type) -> tuple[Any, ...] | None:
    """Give one positive number for every axis; None stays None."""
    if value is None:
        return None
    expected = f"one positive number, {dims} of them, or None"
    try:
        numbers = tuple(kind(one) for one in (value if isinstance(value, tuple | list) else [value]))
    except (TypeError, ValueError) as error:
        raise AnomalyError(f"{name} is {value!r}; expected {expected}") from error
    numbers = numbers * dims if len(numbers) == 1 else numbers
    _require(name, value, len(numbers) == dims and all(0 < one < np.inf for one in numbers), expected)
    return numbers


def _pair(name: str, value: Any) -> tuple[float, float] | None:
    if value is None and name == "window":
        return None
    fine = isinstance(value, tuple | list) and len(value) == 2 and value[0] < value[1]
    _require(name, value, fine, "two numbers, low < high")
    return float(value[0]), float(value[1])


def _channels(settings: Preprocessing, image: Image) -> np.ndarray:
    """Give the pixels with the number of channels asked for: luminance of colours, grey three times."""
    have, want = len(image.pixels), settings.channels
    if have == want:
        return image.pixels
    if image.kind in ("picture", "dicom") and (have, want) == (3, 1):
        return np.tensordot(LUMINANCE, image.pixels, axes=1)[None]
    if image.kind in ("picture", "dicom") and (have, want) == (1, 3):
        return np.repeat(image.pixels, 3, axis=0)
    raise UnreadableImage(f"{image.path}: has {have} channels; expected {want}: use channels {have}, or convert it")


def _place(settings: Preprocessing, image: Image) -> tuple[np.ndarray, tuple[int, ...], int | None]:
    """Work out the whole geometry as one matrix, prepared index to source index, with the prepared grid.

    Also given: the prepared axis along which a volume is taken apart, None where it is not.
    """
    axes, flipped, codes = _orient(settings, image)
    count = np.array(image.space)[axes]
    voxel = voxel_sizes(image.affine)[: image.ndim][axes]
    sliced = None
    if image.ndim > settings.dims:
        sliced = next(axis for axis, code in enumerate(codes) if code in SLICES[settings.slices])
    free = [axis for axis in range(image.ndim) if axis != sliced]
    steps, grid = np.ones(image.ndim), count.copy()
    steps[free] = _steps(settings, image, count[free], voxel[free])
    if settings.shape is None:
        grid = np.maximum(np.rint(count / steps), 1).astype(int)
    else:
        grid[free] = settings.shape
    shift = (count - 1) / 2 - steps * (grid - 1) / 2
    shift = np.where(steps == 1, np.floor(shift), shift)  # whole pixels stay whole: nothing is interpolated
    matrix = np.zeros((image.ndim + 1, image.ndim + 1))
    matrix[axes, range(image.ndim)] = np.where(flipped, -steps, steps)
    matrix[axes, -1] = np.where(flipped, count - 1 - shift, shift)
    matrix[-1, -1] = 1
    return matrix, tuple(int(n) for n in grid), sliced


def _orient(settings: Preprocessing, image: Image) -> tuple[np.ndarray, np.ndarray, str]:
    """Give every prepared axis' source axis, whether it is turned round, and the letter it points to."""
    if image.ndim == 2:
        return np.arange(2), np.zeros(2, dtype=bool), ""
    now = io_orientation(image.affine)
    letters = "".join(("LR", "PA", "IS")[int(axis)][int(sign > 0)] for axis, sign in now)
    target = letters if settings.orientation == "keep" else settings.orientation
    moves = ornt_transform(now, axcodes2ornt(target))
    axes = np.argsort(moves[:, 0])
    return axes, moves[axes, 1] < 0, target


def _steps(settings: Preprocessing, image: Image, count: np.ndarray, voxel: np.ndarray) -> np.ndarray:
    """Give the source voxels a prepared pixel spans, for every axis that is resampled."""
    spacing = None
    if settings.spacing is not None:
        unknown = image.kind in ("picture", "array") or (
            image.kind == "dicom" and np.array_equal(image.affine, np.eye(4))
        )
        if unknown:
            raise UnreadableImage(f"{image.path}: does not tell its pixel size in mm; leave out spacing")
        spacing = np.array(settings.spacing)
    if settings.shape is None:
        steps = _crop(count, voxel, count, spacing)
    else:
        steps = FITS[settings.fit](count, voxel, np.array(settings.shape), spacing)
    # Headers round: a step that strays by less than a thousandth of a voxel across the image is meant as 1.
    return np.where(np.abs(steps - 1) * count < 1e-3, 1.0, steps)


def _pad(count: np.ndarray, voxel: np.ndarray, size: np.ndarray, spacing: np.ndarray | None) -> np.ndarray:
    if spacing is None:
        return (count * voxel / size).max() / voxel
    return spacing * max(1.0, (count * voxel / (size * spacing)).max()) / voxel


def _crop(count: np.ndarray, voxel: np.ndarray, size: np.ndarray, spacing: np.ndarray | None) -> np.ndarray:
    return np.ones(len(count)) if spacing is None else spacing / voxel


def _resize(count: np.ndarray, voxel: np.ndarray, size: np.ndarray, spacing: np.ndarray | None) -> np.ndarray:
    return count / size


def _scaled(
    settings: Preprocessing, image: Image, values: np.ndarray, mask: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Map values (C, *grid) to [-1, 1] by the bounds of those within the mask; and half their distance (C,)."""
    unit = np.ones(len(values))
    if settings.intensity == "none":
        return values, unit
    colours = len(values) == 3 and image.kind in ("picture", "dicom")
    for channels in [slice(None)] if colours else [slice(c, c + 1) for c in range(len(values))]:
        part = values[channels]
        low, high = BOUNDS[settings.intensity](settings, image, part[..., mask])
        part[...] = np.clip((part - low) * (2 / (high - low)) - 1, -1, 1)
        unit[channels] = (high - low) / 2
    return values, unit


def _percentile(settings: Preprocessing, image: Image, values: np.ndarray) -> tuple[float, float]:
    low, high = np.percentile(values, settings.percentiles)
    if low == high:  # nearly all is background: the percentiles meet, the extremes need not
        low, high = values.min(), values.max()
    return _distinct(image, float(low), float(high))


def _range(settings: Preprocessing, image: Image, values: np.ndarray) -> tuple[float, float]:
    if image.limits is None:
        raise UnreadableImage(f"{image.path}: does not tell the range of its values; use another intensity")
    return image.limits


def _window(settings: Preprocessing, image: Image, values: np.ndarray) -> tuple[float, float]:
    return cast(tuple[float, float], settings.window)  # made sure of when the settings were made


def _zscore(settings: Preprocessing, image: Image, values: np.ndarray) -> tuple[float, float]:
    mean, wide = float(values.mean(dtype=np.float64)), DEVIATIONS * float(values.std(dtype=np.float64))
    return _distinct(image, mean - wide, mean + wide)


def _distinct(image: Image, low: float, high: float) -> tuple[float, float]:
    if not low < high:
        raise UnreadableImage(f"{image.path}: all pixels have the value {low:g}; leave it out, or use a window")
    return low, high


def _everything(values: np.ndarray, within: np.ndarray) -> np.ndarray:
    return np.ones(values.shape, dtype=bool)


def _otsu(values: np.ndarray, within: np.ndarray) -> np.ndarray:
    """Find the largest structure brighter than Otsu's threshold (1979, equation 14), its holes filled."""
    counts, edges = np.histogram(values[within], bins=256)
    middle = (edges[:-1] + edges[1:]) / 2
    below, above = np.cumsum(counts)[:-1], counts.sum() - np.cumsum(counts)[:-1]
    sums = np.cumsum(counts * middle)
    with np.errstate(invalid="ignore", divide="ignore"):
        gap = sums[:-1] / below - (sums[-1] - sums[:-1]) / above
        between = np.nan_to_num(below * above * gap**2)
    bright = (values > edges[1 + between.argmax()]) & within
    labels, found = ndimage.label(bright)
    if not found:
        return _everything(values, within)
    largest = 1 + np.bincount(labels.ravel())[1:].argmax()
    return ndimage.binary_fill_holes(labels == largest)


FITS: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None], np.ndarray]] = {
    "pad": _pad,
    "resize": _resize,
    "crop": _crop,
}
BOUNDS: dict[str, Callable[[Preprocessing, Image, np.ndarray], tuple[float, float]]] = {
    "percentile": _percentile,
    "range": _range,
    "window": _window,
    "zscore": _zscore,
}
FOREGROUNDS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {"none": _everything, "otsu": _otsu}
CHOICES: dict[str, Collection[str]] = {
    "fit": FITS,
    "slices": SLICES,
    "intensity": [*BOUNDS, "none"],
    "foreground": FOREGROUNDS,
}
