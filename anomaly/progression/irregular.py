"""Irregularity of two visits on one scale, so that lesions that come make those that were there no smaller."""

import numpy as np

from anomaly.detectors.irregularity import PERCENTILES, irregularity_map

ENDS = (0.5, 99.9)
"""Percentiles of the first visit's irregularity that are 0 and 1."""
AT = 0.8
"""Where it is cut into lesions; chosen with `ENDS` on one person: docs/benchmarks/change.md."""


def irregularities(before: np.ndarray, after: np.ndarray, inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The irregularity of both visits, of which 0 and 1 are low and high percentiles of the first.

    The percentiles 0.5 and 99.5 of the first visit say which intensities are dark and bright at both, and those of its
    irregularity (`ENDS`), where the scale begins and ends; what lies beyond is 0 or 1.

    Args:
        before: image (*space) of the first visit.
        after: image of the second, in the intensities of the first. They must come from a straight line: percentiles
            that are brought onto one another leave no lesion that the first has not.
        inside: what counts, bool (*space).

    Returns:
        Both maps (*space) float32 in [0, 1], 0 outside.
    """
    low, high = np.percentile(before[inside], PERCENTILES)
    maps = [irregularity_map(each, inside, stretch=False, limits=(low, high)) for each in (before, after)]
    bottom, top = np.percentile(maps[0][inside], ENDS)
    width = max(top - bottom, np.finfo(np.float32).tiny)
    first, second = (np.where(inside, (each - bottom) / width, 0).clip(0, 1).astype(np.float32) for each in maps)
    return first, second
