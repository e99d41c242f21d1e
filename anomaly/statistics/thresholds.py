"""Figures of maps over all thresholds, from counts of pixels alone: exact where the thresholds are all marked values.

Nothing changes for the better between two values of marked pixels: below one and down to the next a map marks more
that is not marked and nothing that is. So the values of marked pixels are all the thresholds there need be (`edges`),
and an image is no more than how many of its pixels lie at each of them and between (`counted`). Counts of images add up
to those of all of them together, so that 10^9 pixels need the memory of one image. Of more than `MOST` distinct values
those at even ranks are taken: each step of the curves then holds one in `MOST` of the marked pixels, and the AUROC is
off by at most half of that.

Counts are (..., 2 K + 1) for K edges, from the lowest: below the first edge, at it, between it and the second ...
Figures take them with any axes before, such as draws of a bootstrap.
"""

import numpy as np

MOST = 1 << 16


def edges(marked: np.ndarray, most: int = MOST) -> np.ndarray:
    """The distinct values of marked pixels (n,), rising; those at even ranks where there are more than `most`."""
    ordered = np.sort(marked, axis=None)
    found = ordered[np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))] if ordered.size else ordered
    if found.size <= most:
        return found
    return np.unique(ordered[np.linspace(0, ordered.size - 1, most).round().astype(np.intp)])


def counted(ordered: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """How many values lie between edges and at them, (2 K + 1,) of int64; values (n,) in rising order."""
    ends = np.empty(2 * edges.size + 2, dtype=np.int64)
    ends[0], ends[-1] = 0, ordered.size
    ends[1:-1:2] = np.searchsorted(ordered, edges, side="left")
    ends[2:-1:2] = np.searchsorted(ordered, edges, side="right")
    return np.diff(ends)


def weighed(values: np.ndarray, weights: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """The same of values (n,) in any order, each of which counts as much as its weight (n,): (2 K + 1,) of float64."""
    left = np.searchsorted(edges, values, side="left")
    tied = np.searchsorted(edges, values, side="right") > left
    return np.bincount(2 * left + tied, weights, 2 * edges.size + 1)


def coarser(counts: np.ndarray, every: int) -> np.ndarray:
    """Counts (..., 2 K + 1) by every so many edges alone; what lay at the others lies between those that are left."""
    kept = np.arange(0, counts.shape[-1] // 2, every)
    starts = np.append(0, np.column_stack([2 * kept + 1, 2 * kept + 2]).ravel()) if kept.size else np.zeros(1, int)
    return np.add.reduceat(counts, starts, axis=-1)


def average_precision(marked: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """Mean precision over the marked pixels as the threshold falls, (...,); NaN where none is marked.

    As scikit-learn's `average_precision_score`: tied pixels share a threshold, nothing is interpolated.

    Args:
        marked, rest: counts (..., 2 K + 1) of marked pixels and of all others.
    """
    true, false = _falling(marked), _falling(rest)
    precision = true / np.maximum(true + false, 1e-300)
    return _share((precision * marked[..., ::-1]).sum(-1), true[..., -1])


def auroc(marked: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """Chance that a marked pixel is higher than another, ties counting one half, (...,); NaN where a side is empty."""
    below = np.cumsum(rest, axis=-1, dtype=np.float64) - rest / 2
    return _share((marked * below).sum(-1), marked.sum(-1, dtype=np.float64) * rest.sum(-1, dtype=np.float64))


def dice(marked: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """Overlap (..., K) of the marked pixels with those at or above each edge; NaN where none is marked."""
    true, false = _falling(marked), _falling(rest)
    found, taken, whole = true[..., ::-1], (true + false)[..., ::-1], true[..., -1:]
    at = slice(1, None, 2)  # what has been passed once the cell at an edge is
    return np.where(whole > 0, 2 * found[..., at] / np.maximum(whole + taken[..., at], 1), np.nan)


def region_overlap(found: np.ndarray, rest: np.ndarray, max_fpr: float = 0.3) -> np.ndarray:
    """Area (...,) below the curve of found regions over unmarked pixels, from 0 to `max_fpr`, over `max_fpr` (PRO).

    Args:
        found: weights (..., 2 K + 1) of marked pixels, one over the size of their region.
        rest: counts of unmarked pixels.
        max_fpr: share of unmarked pixels where the curve ends.
    """
    x, y = (np.pad(_falling(each), [(0, 0)] * (each.ndim - 1) + [(1, 0)]) for each in (rest, found))
    x, y = (_share(each, each[..., -1:]) for each in (x, y))
    step, rise = np.diff(x), np.diff(y)
    part = np.clip((max_fpr - x[..., :-1]) / np.where(step > 0, step, 1.0), 0, 1)
    return (step * part * (y[..., :-1] + rise * part / 2)).sum(-1) / max_fpr


def of_one(values: np.ndarray, marked: np.ndarray) -> tuple[float, float]:
    """Average precision and AUROC of one map (n,) and what is marked (n,), both exact; NaN where there are none."""
    inside = values[marked]
    limits = edges(inside, inside.size)
    true = counted(np.sort(inside), limits)
    rest = counted(np.sort(values, axis=None), limits) - true
    return float(average_precision(true, rest)), float(auroc(true, rest))


def of_highest(values: np.ndarray, marked: np.ndarray, pixels: int) -> float:
    """Dice, 0 to 1, of what is marked and so many of the highest pixels (n,), those tied at the limit in part.

    Of a map whose unit is not that of another: it may mark as many pixels as that does.
    """
    if not pixels:
        return 0.0
    flat, truth = values.ravel(), marked.ravel()
    limit = np.partition(flat, flat.size - pixels)[flat.size - pixels]
    above, tied = flat > limit, flat == limit
    part = (pixels - np.count_nonzero(above)) * np.count_nonzero(tied & truth) / np.count_nonzero(tied)
    return float(2 * (np.count_nonzero(above & truth) + part) / (pixels + np.count_nonzero(truth)))


def _falling(counts: np.ndarray) -> np.ndarray:
    """What lies in a cell or above it, from the highest cell on."""
    return np.cumsum(counts[..., ::-1], axis=-1, dtype=np.float64)


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1.0), np.nan)
