"""Shares of images for which something holds."""

import numpy as np
from numpy.typing import ArrayLike
from statsmodels.stats.proportion import proportion_confint

from anomaly.errors import EvaluationError
from anomaly.statistics.estimates import FEWEST_PERSONS, Estimate, groups_of


def proportion(successes: ArrayLike, subject: ArrayLike | None = None, *, confidence: float = 0.95) -> Estimate:
    """Share of images for which something holds, with Wilson's interval.

    With `subject` the number of images is replaced by the effective one, that which would give the
    variance seen between subjects (Korn & Graubard 1998), and by the number of subjects when all agree. One success
    or two show hardly anything of how those of a subject go together: the ends are never nearer to the middle than
    those of no success, or of nothing else, would be. Where fewer than ten subjects repeat there is no interval.
    """
    values = np.asarray(successes, dtype=np.float64)
    if values.ndim != 1 or values.size == 0 or not np.isin(values, (0, 1)).all():
        raise EvaluationError("a share needs one true or false for each of one or more images")
    share = float(values.mean())
    sums = np.bincount(groups_of(subject, values.size), weights=values - share)
    variance = float(np.sum(sums**2)) / values.size**2
    size = share * (1 - share) / variance if variance > 0 else float(sums.size)
    size = min(size, float(values.size))
    if sums.size < min(FEWEST_PERSONS, values.size):
        lacking = f"no interval: {sums.size} persons, {FEWEST_PERSONS} are needed"
        return Estimate(share, float("nan"), float("nan"), lacking, variance)
    low, high = wilson(share, size, confidence)
    if sums.size < values.size:
        low, high = min(low, wilson(1.0, sums.size, confidence)[0]), max(high, wilson(0.0, sums.size, confidence)[1])
    method = "Wilson" if subject is None else "Wilson, effective number of subjects"
    return Estimate(share, low, high, method, variance)


def wilson(share: float, size: float, confidence: float) -> tuple[float, float]:
    """Wilson's interval; at a share of 0 or 1 its end is exactly that, whatever the rounding."""
    low, high = proportion_confint(share * size, size, alpha=1 - confidence, method="wilson")
    return min(float(low), share), max(float(high), share)
