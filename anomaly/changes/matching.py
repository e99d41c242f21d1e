"""The second visit in the intensities of the first, by what the two images share."""

import numpy as np

MATCHES = ("quantiles", "line", "none")
QUANTILES = np.linspace(10, 90, 161)
"""Percentiles that tell how the intensities of two visits go together. Beyond lies what a disease may have changed,
bright or dark: percentiles there would give both visits the same lesions."""
TRIMMED, ROUNDS, FEWEST = 2.5, 5, 30


def matched(first: np.ndarray, second: np.ndarray, counts: np.ndarray, match: str) -> np.ndarray:
    """The second image in the intensities of the first, 0 outside."""
    a, b = first[counts], second[counts]
    if np.ptp(b) == 0:
        changed = np.full_like(b, np.median(a))
    elif match == "quantiles":
        changed = _by_quantiles(a, b)
    else:
        changed = on_a_line(a, b)
    out = np.zeros_like(first)
    out[counts] = changed
    return out


def _by_quantiles(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """b with the percentiles of a, told by what did not change alone; beyond the last of them along the robust line."""
    line = on_a_line(a, b)
    kept = _near(a, line)
    from_, to = np.percentile(b[kept], QUANTILES), np.percentile(a[kept], QUANTILES)
    levels, places = np.unique(from_, return_inverse=True)
    wanted = np.bincount(places, to) / np.bincount(places)  # of ties, their mean
    beyond = np.ptp(line) / np.ptp(b) * ((b - levels[-1]).clip(min=0) + (b - levels[0]).clip(max=0))
    return np.interp(b, levels, wanted) + beyond


def on_a_line(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """b scaled and shifted to a by what most voxels say: mean and spread of those that lie near the line.

    Least squares would take the noise of b for a smaller scale, and leave a change wherever the image is bright.
    """
    usual = _between(a) & _between(b)
    if not _tells(a, b, usual):
        usual = np.ones(a.shape, bool)
    taken, changed = usual, b
    for _ in range(ROUNDS):
        scale = a[taken].std() / max(b[taken].std(), np.finfo(float).tiny)
        changed = scale * (b - b[taken].mean()) + a[taken].mean()
        nearest = _near(a, changed) & usual
        if not _tells(a, b, nearest) or np.array_equal(nearest, taken):
            break
        taken = nearest
    return changed


def _tells(a: np.ndarray, b: np.ndarray, which: np.ndarray) -> bool:
    """Whether some voxels are enough for a line, and of several values: most of a mask may be empty."""
    return bool(which.sum() >= FEWEST and np.ptp(a[which]) and np.ptp(b[which]))


def _between(values: np.ndarray) -> np.ndarray:
    """Which lie between the outer percentiles: the lesions of both visits would pull the line by their brightness."""
    low, high = np.percentile(values, (QUANTILES[0], QUANTILES[-1]))
    return (values >= low) & (values <= high)


def _near(a: np.ndarray, changed: np.ndarray) -> np.ndarray:
    """Which voxels differ by no more than most do."""
    apart = np.abs(a - changed - np.median(a - changed))
    return apart <= max(TRIMMED * spread(a - changed), np.finfo(float).tiny)


def spread(values: np.ndarray, around: float | None = None) -> float:
    """Robust standard deviation: 1.4826 times the median distance from the median; the plain one where that is 0."""
    middle = np.median(values) if around is None else around
    robust = 1.4826 * float(np.median(np.abs(values - middle)))
    return robust or float(np.sqrt(np.square(values - middle).mean()))
