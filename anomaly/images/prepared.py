"""An image as a network takes it, and the way back to the grid it came from."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from anomaly.errors import AnomalyError, UnreadableImage
from anomaly.images import intensities, placing
from anomaly.images.grids import covered, resample
from anomaly.images.image import Image
from anomaly.levels import DARKEST, OUTSIDE

ROUNDING = 1e-3  # how far beyond [-1, 1] a value may lie that was scaled elsewhere
FEWEST = 16  # prepared pixels inside a mask
FAINTEST = 0.05  # of a voxel inside a mask, how much prepared pixels inside must say of it


@dataclass(frozen=True)
class Prepared:
    """An image as a network takes it, which remembers the way back.

    pixels: (S, C, *size) float32 in [-1, 1] (any range with intensity "none"); S slices of a volume for
        dims=2, else 1. With a mask, pixels outside are exactly -1, and those inside at least -1 + 1/128.
    foreground: (S, 1, *size) bool; all True unless a foreground or a mask was asked for, or the image has padding.
    matrix: homogeneous, index on the prepared grid (before slicing) to index on the source grid; whole
        numbers are centres of pixels. source: the space of the image. sliced: the axis the slices follow.
    unit: (C,), the intensity in the source that a difference of 1 in `pixels` stands for.
    kept: which slices these are, rising, of `slices` along the axis; None for all. Those without a pixel of the mask
        are not there.
    mask: (*space) bool of the source, what of it counts; None for all.
    """

    pixels: np.ndarray
    foreground: np.ndarray
    matrix: np.ndarray
    source: tuple[int, ...]
    sliced: int | None
    unit: np.ndarray
    kept: np.ndarray | None = None
    slices: int = 1
    mask: np.ndarray | None = None

    @property
    def places(self) -> np.ndarray:
        """Which of the slices along the axis these are, (S,)."""
        return np.arange(self.slices) if self.kept is None else self.kept

    @property
    def areas(self) -> np.ndarray:
        """Pixels of each slice that count, (S,)."""
        return np.count_nonzero(self.foreground.reshape(len(self.foreground), -1), axis=1)

    def restore(self, maps: np.ndarray) -> np.ndarray:
        """Bring maps (S, 1, *size) back onto the source grid (*space), float32, by linear interpolation.

        Background, what lies outside a mask and voxels that preprocessing cut away are 0. Raises AnomalyError for
        another shape.
        """
        if maps.shape != self.foreground.shape:
            raise AnomalyError(f"maps have the shape {maps.shape}; expected {self.foreground.shape}")
        values = np.where(self.foreground, maps, 0).astype(np.float32)[:, 0]
        grid = self._grid(values)
        inverse = np.linalg.inv(self.matrix)
        restored = resample(grid, inverse, self.source)
        for axis, known in enumerate(covered(inverse, grid.shape, self.source)):
            restored[(slice(None),) * axis + (~known,)] = 0
        return restored if self.mask is None else self._within_mask(restored, inverse)

    def _within_mask(self, restored: np.ndarray, inverse: np.ndarray) -> np.ndarray:
        """A restored map, 0 outside the mask and, inside, without what the background around it took from its rim."""
        assert self.mask is not None
        share = resample(self._grid(self.foreground[:, 0].astype(np.float32)), inverse, self.source)
        return np.where(self.mask & (share > FAINTEST), restored / np.maximum(share, FAINTEST), 0).astype(np.float32)

    def _grid(self, slices: np.ndarray) -> np.ndarray:
        """Slices (S, *size) as the whole prepared grid, 0 where a slice was dropped."""
        if self.kept is not None:
            whole = np.zeros((self.slices, *slices.shape[1:]), dtype=np.float32)
            whole[self.kept] = slices
            slices = whole
        return slices[0] if self.sliced is None else np.moveaxis(slices, 0, self.sliced)


def prepare(
    image: Image,
    *,
    dims: int,
    shape: tuple[int, ...] | None,
    fit: str,
    spacing: tuple[float, ...] | None,
    orientation: str,
    slices: str,
    intensity: str,
    percentiles: tuple[float, float],
    window: tuple[float, float] | None,
    foreground: str,
    mask: str,
    channels: int,
    context: int | None = None,
) -> Prepared:
    """Prepare one image by the settings of `Preprocessing`; UnreadableImage where it does not suit them."""
    if image.ndim < dims:
        raise UnreadableImage(f"{image.path}: is a 2D picture, but volumes are expected; use dims 2")
    part, start = _box(image) if mask == "given" else (image, None)
    source = intensities.channels(part, channels)
    matrix, grid, sliced = placing.place(
        part, dims=dims, shape=shape, fit=fit, spacing=spacing, orientation=orientation, slices=slices
    )
    within = np.logical_and.reduce(np.meshgrid(*covered(matrix, part.space, grid), indexing="ij"))
    if not within.any():
        raise UnreadableImage(
            f"{image.path}: nothing of its {_by(part.space)} pixels is left on a grid of {_by(grid)}, so long and "
            "thin is it; crop it, or take fit 'resize'"
        )
    values, inside = _resampled(source, part if start is not None else None, matrix, grid)
    padded = _padded(part, matrix, grid)
    chosen = intensities.FOREGROUNDS[foreground](values.mean(axis=0), within & inside & ~padded) & ~padded & inside
    counted = chosen & within if (chosen & within).any() else within
    if start is not None and not (chosen & within).any():
        raise _too_little(image, 0, grid)
    pixels, unit = intensities.scaled(
        image, values, counted, intensity=intensity, percentiles=percentiles, window=window
    )
    pixels[:, ~within] = pixels[:, within].min() if intensity == "none" else -1
    pixels[:, ~chosen] = OUTSIDE
    prepared = _laid_out(image, pixels, chosen, matrix, sliced, unit)
    prepared = prepared if start is None else _within_mask(image, prepared, start)
    return prepared if context is None else _with_context(image, prepared, context)


def _with_context(image: Image, prepared: Prepared, context: int) -> Prepared:
    """Slices with so many neighbours on either side, and their height, as channels behind their own.

    Raises:
        UnreadableImage: the image is a picture, which has no height.
    """
    if prepared.sliced is None:
        raise UnreadableImage(
            f"{image.path}: is a picture, which has no slices beside it and no height; leave --context out, or give "
            "volumes"
        )
    own, places = prepared.pixels, prepared.places
    whole = np.full((prepared.slices + 2 * context, *own.shape[1:]), OUTSIDE, dtype=np.float32)
    whole[places + context] = own
    steps = [sign * step for step in range(1, context + 1) for sign in (-1, 1)]
    heights = (2 * places / max(1, prepared.slices - 1) - 1).astype(np.float32)
    plane = np.broadcast_to(heights[:, None, None, None], (len(own), 1, *own.shape[2:]))
    beside = [whole[places + context + step] for step in steps]
    return dataclasses.replace(prepared, pixels=np.concatenate([own, *beside, plane], axis=1))


def _box(image: Image) -> tuple[Image, np.ndarray]:
    """What of an image lies in the box around its mask, and where that begins.

    Raises:
        UnreadableImage: it has no mask.
    """
    if image.mask is None:
        raise UnreadableImage(
            f"{image.path}: has no mask, and what it is prepared for was trained with masks; give its mask by --mask "
            "or in the table's column mask"
        )
    (box,) = ndimage.find_objects(image.mask.view(np.uint8))
    start = np.array([side.start for side in box])
    affine = image.affine.copy()
    affine[:3, 3] += affine[:3, : image.ndim] @ start
    padding = None if image.padding is None else image.padding[box]
    part = dataclasses.replace(
        image, pixels=image.pixels[(slice(None), *box)], affine=affine, padding=padding, mask=image.mask[box]
    )
    return part, start


def _resampled(
    source: np.ndarray, masked: Image | None, matrix: np.ndarray, grid: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Values (C, *grid), and what of the grid lies within the mask; what lies outside has no say in a value inside."""
    if masked is None or masked.mask is None:
        return np.stack([resample(one, matrix, grid, smooth=True) for one in source]), np.ones(grid, dtype=bool)
    share = resample(masked.mask.astype(np.float32), matrix, grid, smooth=True)
    inside = share > 0.5
    values = np.stack([resample(one * masked.mask, matrix, grid, smooth=True) for one in source])
    return np.where(inside, values / np.where(inside, share, 1), values), inside


def _laid_out(
    image: Image, pixels: np.ndarray, chosen: np.ndarray, matrix: np.ndarray, sliced: int | None, unit: np.ndarray
) -> Prepared:
    """As a network takes it: a volume as it is, or its slices."""
    if sliced is None:
        return Prepared(pixels[None], chosen[None, None], matrix, image.space, None, unit)
    pixels, chosen = np.moveaxis(pixels, sliced + 1, 0), np.moveaxis(chosen, sliced, 0)
    return Prepared(
        np.ascontiguousarray(pixels), chosen[:, None], matrix, image.space, sliced, unit, slices=len(pixels)
    )


def _within_mask(image: Image, prepared: Prepared, start: np.ndarray) -> Prepared:
    """A prepared box around a mask, told by the grid of the whole image, without the slices that the mask leaves empty.

    Raises:
        UnreadableImage: next to nothing of the mask is left on the grid.
    """
    shift = np.eye(len(start) + 1)
    shift[:-1, -1] = start
    areas = prepared.areas
    if areas.sum() < FEWEST:
        raise _too_little(image, int(areas.sum()), prepared.pixels.shape[2:])
    kept = np.flatnonzero(areas)
    pixels, inside = prepared.pixels[kept], prepared.foreground[kept]
    darkest = np.where(pixels < OUTSIDE - ROUNDING, pixels, np.maximum(pixels, DARKEST))  # beyond it `scaled` refuses
    pixels = np.where(inside, darkest, OUTSIDE).astype(np.float32)
    return dataclasses.replace(
        prepared, pixels=pixels, foreground=inside, matrix=shift @ prepared.matrix,
        kept=None if prepared.sliced is None else kept, mask=image.mask,
    )  # fmt: skip


def _too_little(image: Image, count: int, grid: tuple[int, ...]) -> UnreadableImage:
    return UnreadableImage(
        f"{image.path}: its mask leaves {count} pixels on a grid of {_by(grid)}; expected {FEWEST} or more: look at "
        "the mask, or give a larger --size or another --fit"
    )


def _by(space: tuple[int, ...]) -> str:
    return " x ".join(map(str, space))


def _padded(image: Image, matrix: np.ndarray, grid: tuple[int, ...]) -> np.ndarray:
    """Say which prepared pixels are, for the most part, of padding: nothing was measured there."""
    if image.padding is None:
        return np.zeros(grid, dtype=bool)
    return resample(image.padding.astype(np.float32), matrix, grid, smooth=True) > 0.5


def scaled(prepared: Prepared, path: Path) -> Prepared:
    """Give prepared pixels back if they lie in [-1, 1] as methods expect; UnreadableImage where not."""
    low, high = prepared.pixels.min(), prepared.pixels.max()
    if max(-low, high) > 1 + ROUNDING:
        raise UnreadableImage(
            f"{path}: its values go from {low:.4g} to {high:.4g}; with intensity 'none' they are used as they are and "
            "must lie in [-1, 1]: scale them, or take another intensity"
        )
    return prepared
