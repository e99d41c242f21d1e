"""From coarse to fine: images and fields with fewer voxels over the same field of view."""

from collections.abc import Iterator, Sequence

import numpy as np
from scipy import ndimage

LEAST_SIDE = 12
"""Voxels of an axis below which it is not halved any more."""


def levels(space: Sequence[int], spacing: Sequence[float], count: int) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Levels from the coarsest to 0, the image itself, and by how much each axis is coarser there.

    Axes of thick slices are halved later than the others, and none below a dozen voxels.
    """
    before: tuple[int, ...] = ()
    for level in reversed(range(count)):
        step = min(spacing) * 2**level
        factors = tuple(
            max(1, min(2 ** round(max(0.0, np.log2(step / own))), side // LEAST_SIDE))
            for own, side in zip(spacing, space, strict=True)
        )
        if factors != before:
            yield level, factors
        before = factors


def drawn(values: np.ndarray, field: np.ndarray) -> np.ndarray:
    """values(p + field(p)), linear, the edge repeated outside."""
    places = np.indices(values.shape, dtype=np.float32) + field
    found: np.ndarray = ndimage.map_coordinates(values, places, order=1, mode="nearest")
    return found


def filled(values: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Values (*space), outside a mask those of the nearest voxel inside, so that there is no edge."""
    if inside.all() or not inside.any():
        return values
    nearest = ndimage.distance_transform_edt(~inside, return_distances=False, return_indices=True)
    found: np.ndarray = values[tuple(nearest)]
    return found


def coarser(values: np.ndarray, factors: Sequence[int]) -> np.ndarray:
    """An image smoothed, and then with fewer voxels along each axis, over the same field of view."""
    if max(factors) == 1:
        return values
    blurred = ndimage.gaussian_filter(values, [0.5 * factor if factor > 1 else 0 for factor in factors], mode="nearest")
    return resized(blurred, [max(1, round(side / factor)) for side, factor in zip(values.shape, factors, strict=True)])


def resized(values: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Values (*space) linearly interpolated to another number of voxels over the same field of view."""
    axes = [(np.arange(new) + 0.5) * (old / new) - 0.5 for new, old in zip(size, values.shape, strict=True)]
    places = np.stack(np.meshgrid(*axes, indexing="ij"))
    found: np.ndarray = ndimage.map_coordinates(values, places, order=1, mode="nearest")
    return found


def to_grid(field: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """A field (dims, *space) in voxels on a grid of another number of voxels over the same field of view."""
    if tuple(size) == field.shape[1:]:
        return field
    steps = [new / old for new, old in zip(size, field.shape[1:], strict=True)]
    return np.stack([resized(part, size) * step for part, step in zip(field, steps, strict=True)]).astype(np.float32)
