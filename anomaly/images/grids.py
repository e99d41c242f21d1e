"""Move values from one voxel grid to another, there and back by a matrix and its inverse.

A matrix is homogeneous, (D + 1, D + 1), and maps indices of the new grid to indices of the old one. Axes may
be exchanged, turned round, scaled and shifted, but not rotated. Whole numbers are centres of voxels.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

EDGE = 0.5 + 1e-6  # a voxel reaches half its width from its centre


def _axes(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Take a matrix apart: for every output axis its input axis, step and start."""
    linear, offset = matrix[:-1, :-1], matrix[:-1, -1]
    axes = np.abs(linear).argmax(axis=0)
    return axes, linear[axes, range(len(axes))], offset[axes]


def covered(matrix: np.ndarray, source: tuple[int, ...], grid: tuple[int, ...]) -> list[np.ndarray]:
    """Say, along every axis of the grid, which indices lie on a voxel of the source."""
    places = [start + step * np.arange(n) for _, step, start, n in zip(*_axes(matrix), grid, strict=True)]
    ends = [source[axis] - 1 for axis in _axes(matrix)[0]]
    return [(x >= -EDGE) & (x <= end + EDGE) for x, end in zip(places, ends, strict=True)]


def resample(values: np.ndarray, matrix: np.ndarray, grid: tuple[int, ...], *, smooth: bool = False) -> np.ndarray:
    """Interpolate values on the grid, where `matrix` maps its index to theirs; exact where nothing moves.

    smooth: blur first where the grid is coarser, by a Gaussian of (step - 1) / 2 voxels, at most the length of an
        axis, against aliasing; where it is four times coarser or more, blocks of voxels are averaged before, which is
        faster.
    """
    axes, steps, starts = _axes(matrix)
    turned = np.flip(values.transpose(axes), axis=tuple(np.flatnonzero(steps < 0)))
    starts = np.where(steps < 0, np.array(turned.shape) - 1 - starts, starts)
    steps = np.abs(steps)
    if turned.shape == grid and (steps == 1).all() and (starts == 0).all():
        return np.array(turned, dtype=np.float32, order="C")
    if smooth and (steps > 1).any():
        turned, steps, starts = _blocks(turned, steps, starts)
        turned = ndimage.gaussian_filter(turned, np.clip((steps - 1) / 2, 0, turned.shape), mode="nearest")
    return ndimage.affine_transform(
        turned, np.diag(steps), starts, output_shape=grid, output=np.float32, order=1, mode="nearest"
    )


def _blocks(values: np.ndarray, steps: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Average blocks of voxels until steps are below four, and count steps and starts in blocks."""
    sizes = np.clip(steps // 2, 1, values.shape).astype(int)  # no block is longer than its axis
    for axis, size in enumerate(sizes):
        if size > 1:
            width = [(0, -values.shape[axis] % size if other == axis else 0) for other in range(values.ndim)]
            filled = np.pad(values, width, mode="edge")
            blocks = filled.reshape(*filled.shape[:axis], -1, size, *filled.shape[axis + 1 :])
            values = blocks.mean(axis=axis + 1)
    # A block's centre lies (size - 1) / 2 voxels behind its first voxel.
    return values, steps / sizes, (starts - (sizes - 1) / 2) / sizes
