"""What a map of t is judged by: its height at a voxel, the clusters above a threshold, or both without one.

Maps come in batches (B, *space), two- or three-dimensional; voxels touch by their faces, and those above zero
never join those below.
"""

from collections.abc import Callable

import numpy as np
from scipy import ndimage

EXTENT, HEIGHT, STEP = 0.5, 2.0, 0.1
"""Exponents of threshold-free cluster enhancement and the step of its integral, in units of t."""

Enhance = Callable[[np.ndarray], np.ndarray]


def height(t: np.ndarray) -> np.ndarray:
    """The size of t: (1, B, *space)."""
    return np.abs(t)[None]


def clusters(t: np.ndarray, threshold: float) -> np.ndarray:
    """Mass (sum of the height above the threshold) and extent (voxels) of each voxel's cluster, (2, B, *space).

    Zero where the size of t does not exceed the threshold. Nichols & Holmes 2002; mass: Bullmore et al. 1999.
    """
    found = np.zeros((2, t.size), dtype=np.float32)
    for side in (t, -t):
        above, labels = _components(side, threshold)
        mass = np.bincount(labels, weights=side.reshape(-1)[above] - threshold)
        found[0, above], found[1, above] = mass[labels], np.bincount(labels)[labels]
    return found.reshape(2, *t.shape)


def tfce(t: np.ndarray) -> np.ndarray:
    """Threshold-free cluster enhancement of t on either side of zero, (1, B, *space).

    Integral over heights h of extent(h)^0.5 h^2 dh with dh = 0.1 (Smith & Nichols 2009, NeuroImage 44, equation 1);
    the last, incomplete step of a voxel counts for nothing, in the data and in every shuffling alike.
    """
    found = np.zeros(t.size, dtype=np.float32)
    for side in (t, -t):
        for step in range(1, int(side.max() / STEP) + 1):
            above, labels = _components(side, step * STEP)
            gain = np.bincount(labels) ** EXTENT * ((step * STEP) ** HEIGHT * STEP)
            found[above] += gain.astype(np.float32)[labels]
    return found.reshape(1, *t.shape)


def _components(t: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Where t is above the threshold, as positions in C order, and the number of each such voxel's cluster."""
    mask = t > threshold
    high = np.flatnonzero(mask.reshape(len(t), -1).any(axis=1))
    faces = np.zeros((3,) * t.ndim, dtype=bool)
    faces[1] = ndimage.generate_binary_structure(t.ndim - 1, 1)
    labels = ndimage.label(mask[high], faces)[0].reshape(-1)
    above, size = np.flatnonzero(labels), mask[0].size
    return high[above // size] * size + above % size, labels[above]
