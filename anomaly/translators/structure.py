"""Whether a translated image still shows the same person: edges, shared information, a segmentation, what changed.

Images are (n, C, *space) in [-1, 1]; `inside` (n, 1, *space) bool says what counts, None for all. A figure is NaN where
an image does not tell it.
"""

import numpy as np

from anomaly.levels import OUTSIDE

BINS = 64
CHANGED = 0.05
"""Of a range of 2: a pixel that moves by no more counts as unchanged."""


def counted(x: np.ndarray, masked: bool) -> np.ndarray | None:
    """What of images lies within their masks; None where they have none."""
    return np.asarray((x > OUTSIDE).any(1, keepdims=True)) if masked else None


def edges_kept(x: np.ndarray, y: np.ndarray, inside: np.ndarray | None = None) -> np.ndarray:
    """Correlation (n,) of the steepness of two images over their pixels: 1 where all edges are where they were.

    Steepness is the length of the gradient by central differences, the mean over channels; pixels beside the edge of a
    mask do not count, for there the mask is steepest.
    """
    told = np.full(len(x), np.nan)
    for i, (one, other) in enumerate(zip(x, y, strict=True)):
        within = _deep(inside[i, 0]) if inside is not None else np.ones(one.shape[1:], dtype=bool)
        a, b = _steepness(one)[within], _steepness(other)[within]
        if a.size and a.std() > 0 and b.std() > 0:
            told[i] = np.corrcoef(a, b)[0, 1]
    return told


def shared_information(x: np.ndarray, y: np.ndarray, inside: np.ndarray | None = None) -> np.ndarray:
    """Normalised mutual information (n,) of two images, (H(x) + H(y)) / H(x, y): 1 for strangers, 2 where each tells
    the other (Studholme et al. 1999, equation 8); of histograms of 64 bins from -1 to 1, channels beside one another.

    It asks for no likeness of values: an image turned to its negative keeps all.
    """
    told = np.full(len(x), np.nan)
    for i, (one, other) in enumerate(zip(x, y, strict=True)):
        within = np.ones(one.shape[1:], dtype=bool) if inside is None else inside[i, 0]
        joint, _, _ = np.histogram2d(one[:, within].ravel(), other[:, within].ravel(), BINS, [[-1, 1], [-1, 1]])
        whole = _entropy(joint)
        if whole > 0:
            told[i] = (_entropy(joint.sum(0)) + _entropy(joint.sum(1))) / whole
    return told


def changed(x: np.ndarray, y: np.ndarray, inside: np.ndarray | None = None) -> np.ndarray:
    """Share (n,) of pixels that differ by more than 0.05 in some channel, of a range of 2."""
    moved = (np.abs(x - y) > CHANGED).any(1, keepdims=True)
    if inside is None:
        return moved.reshape(len(x), -1).mean(1)
    within = inside.reshape(len(x), -1)
    with np.errstate(invalid="ignore"):
        return np.asarray((moved.reshape(len(x), -1) & within).sum(1) / within.sum(1))


def dice(found: np.ndarray, true: np.ndarray) -> np.ndarray:
    """2 |A and B| / (|A| + |B|) of segmentations (n, ...) bool, (n,); NaN where both are empty."""
    a, b = (each.reshape(len(each), -1).astype(bool) for each in (found, true))
    with np.errstate(invalid="ignore"):
        return np.asarray(2 * (a & b).sum(1) / (a.sum(1) + b.sum(1)))


def told_by_brightness(x: np.ndarray, true: np.ndarray, inside: np.ndarray | None = None) -> np.ndarray:
    """Chance (n,) that a pixel of a structure is brighter than one outside it, ties by half: 0.5 where it is invisible.

    It needs no threshold and no segmenter, and does not change where brightness keeps its order.

    Args:
        x: the images; channels are averaged.
        true: the structure, (n, *space) bool.
        inside: what counts.
    """
    told = np.full(len(x), np.nan)
    for i, (values, structure) in enumerate(zip(x.mean(1), true, strict=True)):
        within = np.ones_like(structure, dtype=bool) if inside is None else inside[i, 0]
        ours, theirs = values[structure & within], values[~structure & within]
        if ours.size and theirs.size:
            theirs = np.sort(theirs)
            below, upto = (np.searchsorted(theirs, ours, side) for side in ("left", "right"))
            told[i] = (below + upto).mean() / (2 * theirs.size)
    return told


def _steepness(image: np.ndarray) -> np.ndarray:
    """(C, *space) -> (*space)."""
    axes = [axis for axis in range(1, image.ndim) if image.shape[axis] > 1]
    squares = [np.square(np.gradient(image.astype(np.float64), axis=axis)) for axis in axes]
    return np.asarray(np.sqrt(np.sum(squares, axis=0)).mean(0))


def _deep(inside: np.ndarray) -> np.ndarray:
    """Those pixels of a mask whose neighbours along all axes lie within it too."""
    deep = inside.copy()
    for axis in range(inside.ndim):
        for step in (-1, 1):
            deep &= np.roll(inside, step, axis)
    return deep


def _entropy(counts: np.ndarray) -> float:
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log(share)).sum())
