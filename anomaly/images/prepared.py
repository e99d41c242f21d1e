"""An image as a network takes it, and the way back to the grid it came from."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from anomaly.errors import AnomalyError, UnreadableImage
from anomaly.images import intensities, placing
from anomaly.images.grids import covered, resample
from anomaly.images.image import Image

ROUNDING = 1e-3  # how far beyond [-1, 1] a value may lie that was scaled elsewhere


@dataclass(frozen=True)
class Prepared:
    """An image as a network takes it, which remembers the way back.

    pixels: (S, C, *size) float32 in [-1, 1] (any range with intensity "none"); S slices of a volume for
        dims=2, else 1.
    foreground: (S, 1, *size) bool; all True unless a foreground was asked for, or the image has padding.
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
    channels: int,
) -> Prepared:
    """Prepare one image by the settings of `Preprocessing`; UnreadableImage where it does not suit them."""
    if image.ndim < dims:
        raise UnreadableImage(f"{image.path}: is a 2D picture, but volumes are expected; use dims 2")
    source = intensities.channels(image, channels)
    matrix, grid, sliced = placing.place(
        image, dims=dims, shape=shape, fit=fit, spacing=spacing, orientation=orientation, slices=slices
    )
    within = np.logical_and.reduce(np.meshgrid(*covered(matrix, image.space, grid), indexing="ij"))
    if not within.any():
        raise UnreadableImage(
            f"{image.path}: nothing of its {_by(image.space)} pixels is left on a grid of {_by(grid)}, so long and "
            "thin is it; crop it, or take fit 'resize'"
        )
    values = np.stack([resample(one, matrix, grid, smooth=True) for one in source])
    padded = _padded(image, matrix, grid)
    mask = intensities.FOREGROUNDS[foreground](values.mean(axis=0), within & ~padded) & ~padded
    counted = mask & within if (mask & within).any() else within
    pixels, unit = intensities.scaled(
        image, values, counted, intensity=intensity, percentiles=percentiles, window=window
    )
    pixels[:, ~within] = pixels[:, within].min() if intensity == "none" else -1
    pixels[:, ~mask] = -1
    if sliced is None:
        return Prepared(pixels[None], mask[None, None], matrix, image.space, None, unit)
    pixels, mask = np.moveaxis(pixels, sliced + 1, 0), np.moveaxis(mask, sliced, 0)
    return Prepared(np.ascontiguousarray(pixels), mask[:, None], matrix, image.space, sliced, unit)


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
