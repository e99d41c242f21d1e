"""Intervals by drawing whole subjects anew, for figures that have no formula of their own."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import norm
from scipy.stats import t as student

from anomaly.statistics.estimates import Estimate, groups_of

# One resample of 20,000 images is 160 kB of weights: this many numbers are held at once (32 MB).
_CHUNK = 4_000_000


def bootstrap(
    statistic: Callable[[np.ndarray], np.ndarray],
    subject: ArrayLike,
    outcome: ArrayLike,
    *,
    repeats: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
    bca: bool = False,
) -> Estimate:
    """Interval of any figure by drawing whole subjects, those with an event apart from those without.

    `statistic` takes weights (B, n), how often each image is in each of B draws, and returns (B,) figures.
    Percentile interval, or with `bca` the bias-corrected accelerated one (Efron 1987), whose acceleration
    leaves out one subject at a time. Of m subjects (the fewer of those with and without an event) the draws scatter by
    sqrt((m - 1) / m) too little, and their scatter is itself uncertain: the percentiles lie as far out as Student's t
    asks (Hesterberg 2015, The American Statistician 69, the expanded percentile interval). One draw more or less
    changes the last digit: the seed is yours.
    """
    groups = groups_of(subject, np.size(np.asarray(outcome)))
    holds_event = np.bincount(groups, weights=np.asarray(outcome, dtype=np.float64)) > 0
    strata = [np.flatnonzero(holds_event), np.flatnonzero(~holds_event)]
    value = float(statistic(np.ones((1, groups.size)))[0])
    rng, draws = np.random.default_rng(seed), []
    for size in _chunks(repeats, groups.size):
        counts = np.zeros((size, holds_event.size))
        for members in filter(len, strata):
            even = np.full(len(members), 1 / len(members))
            counts[:, members] = rng.multinomial(len(members), even, size=size)
        draws.append(statistic(counts[:, groups]))
    figures = np.concatenate(draws)
    tails = _expanded(confidence, min(map(len, filter(len, strata))))
    if bca:
        tails = _bca_tails(value, figures, _leave_one_out(statistic, groups), tails)
    low, high = np.quantile(figures, tails)
    method = f"bootstrap of subjects ({'BCa' if bca else 'percentile'}, {repeats:,} draws, seed {seed})"
    return Estimate(value, float(low), float(high), method, float(figures.var(ddof=1)))


def _expanded(confidence: float, subjects: int) -> np.ndarray:
    """The two tails of the draws that an interval of this confidence ends at."""
    if subjects < 2:
        return np.array([0.5 - confidence / 2, 0.5 + confidence / 2])
    reach = student.ppf(0.5 + confidence / 2, subjects - 1) * np.sqrt(subjects / (subjects - 1))
    return np.asarray(norm.cdf([-reach, reach]))


def _leave_one_out(statistic: Callable[[np.ndarray], np.ndarray], groups: np.ndarray) -> np.ndarray:
    members, figures, start = np.arange(groups.max() + 1), [], 0
    for size in _chunks(members.size, groups.size):
        left_out = members[start : start + size, None]
        figures.append(statistic((groups != left_out).astype(np.float64)))
        start += size
    return np.concatenate(figures)


def _bca_tails(value: float, figures: np.ndarray, jackknife: np.ndarray, tails: np.ndarray) -> np.ndarray:
    """Efron 1987, equation 2.3; draws equal to the estimate count one half towards the bias."""
    below = np.mean(figures < value) + np.mean(figures == value) / 2
    bias = norm.ppf(np.clip(below, 0.5 / figures.size, 1 - 0.5 / figures.size))
    spread = jackknife.mean() - jackknife
    scale = np.sum(spread**2) ** 1.5
    acceleration = np.sum(spread**3) / (6 * scale) if scale > 0 else 0.0
    shifted = bias + norm.ppf(tails)
    return norm.cdf(bias + shifted / (1 - acceleration * shifted))


def _chunks(repeats: int, size: int) -> Sequence[int]:
    step = max(1, _CHUNK // max(size, 1))
    return [min(step, repeats - start) for start in range(0, repeats, step)]
