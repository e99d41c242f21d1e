"""Mutual information of two images on one grid, and where it pulls each voxel."""

import numpy as np
from scipy import ndimage

BINS = 32
EDGES = (0.5, 99.5)
WIDTH = 1.0
"""Bins by which the joint histogram is smoothed, so that it has slopes."""


def binned(values: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Intensities as places among the bins, from 0 to `BINS` - 1; beyond the outer percentiles at the ends."""
    low, high = np.percentile(values[inside], EDGES)
    if not high > low:
        low, high = float(values[inside].min()), float(values[inside].max())
    width = float(high - low) or 1.0
    found: np.ndarray = np.clip((values - low) / width * (BINS - 1), 0, BINS - 1)
    return found


def joint(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The joint distribution (BINS, BINS) of places among bins, each shared by the two bins beside it."""
    table = np.zeros(BINS * BINS)
    first, second = (np.minimum(each.astype(np.intp), BINS - 2) for each in (one, other))
    part, share = one - first, other - second
    for up, weight in ((0, 1 - part), (1, part)):
        for right, portion in ((0, 1 - share), (1, share)):
            table += np.bincount((first + up) * BINS + second + right, weight * portion, BINS * BINS)
    smooth: np.ndarray = ndimage.gaussian_filter(table.reshape(BINS, BINS), WIDTH, mode="constant")
    return smooth / smooth.sum()


def gain(table: np.ndarray) -> np.ndarray:
    """log p(a, b) / (p(a) p(b)) of a joint distribution; its mean is the mutual information, in nats."""
    least = 1e-12
    apart = np.outer(table.sum(1), table.sum(0))
    found: np.ndarray = np.log((table + least) / (apart + least))
    return found


def mutual_information(one: np.ndarray, other: np.ndarray, inside: np.ndarray) -> float:
    """Mutual information in nats of the voxels inside a mask (*space), of 32 bins."""
    table = joint(binned(one, inside)[inside], binned(other, inside)[inside])
    return float((table * gain(table)).sum())


def pull(moving: np.ndarray, fixed: np.ndarray, inside: np.ndarray) -> tuple[np.ndarray, float]:
    """Where each voxel of the moving image is to be fetched from for more mutual information, and how much there is.

    The derivative by displacement (Hermosillo et al. 2002, without their second smoothing): the slope of the gain along
    the moving image's intensity, times that image's gradient; 0 outside the mask.

    Returns:
        (dims, *space), of no particular length; and nats.
    """
    places = binned(moving, inside)
    a, b = places[inside], fixed[inside]
    table = joint(a, b)
    told = gain(table)
    slopes = ndimage.map_coordinates(np.gradient(told, axis=0), np.stack([a, b]), order=1, mode="nearest")
    force = np.zeros(fixed.shape, dtype=np.float32)
    force[inside] = slopes
    return np.stack([force * slope for slope in np.gradient(places)]), float((table * told).sum())
