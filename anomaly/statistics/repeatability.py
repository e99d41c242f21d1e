"""How much a score moves where nothing has changed: the noise of two images of one person, and what lies beyond it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import chi2, norm
from scipy.stats import f as fisher

from anomaly.errors import EvaluationError
from anomaly.statistics.estimates import FEWEST_PERSONS, Estimate, groups_of, persons
from anomaly.statistics.linear import mean_with_interval
from anomaly.statistics.shares import proportion

REACH = float(norm.ppf(0.975) * np.sqrt(2))
"""Within-person standard deviations that two images of one unchanged person differ by at most, 95 times in 100."""


@dataclass(frozen=True)
class Repeatability:
    """What pairs of images of unchanged persons tell of the noise.

    Args:
        within: the within-person standard deviation, in units of the score.
        least_detectable: the least change that is more than noise, in units of the score: 1.96 sqrt(2) `within`.
        correlation: intraclass correlation, the share of the variance that is not noise; at most 1.
        drift: mean change, later minus earlier, which should be 0.
        inside: share of these pairs that changed by no more than `least_detectable`: 0.95 where changes are normal.
    """

    within: Estimate
    least_detectable: Estimate
    correlation: Estimate
    drift: Estimate
    inside: Estimate


def repeatability(
    before: ArrayLike, after: ArrayLike, subject: ArrayLike | None = None, *, confidence: float = 0.95
) -> Repeatability:
    """The noise of a score from its values (n,) in two images each of persons who did not change.

    The within-person variance is that of a one-way analysis of variance, sum d^2 / 2n of the changes d (Bland and
    Altman 1996, BMJ 313), drift and all: a scanner that drifts is noise to whoever looks at one person. Its interval
    is by chi-square, with fewer degrees of freedom where pairs of one person go together (two changes that correlate r
    count as 2 / (1 + r^2)) and where changes have longer tails than normal ones, whichever leaves fewer. The
    intraclass correlation is that of one image, ICC(1) (Shrout and Fleiss 1979), with an interval by F where each
    pair is another person.

    Raises:
        EvaluationError: values that are not finite, or of unequal number; fewer than ten pairs or persons; no change
            in any pair.
    """
    first, second = _pairs(before, after)
    groups = groups_of(subject, first.size)
    people = persons(groups)
    if people < FEWEST_PERSONS:
        raise EvaluationError(
            f"{first.size} pairs of {people} persons who did not change; {FEWEST_PERSONS} persons are needed to say "
            "what noise is"
        )
    change = second - first
    # The shared size of scores times the rounding of their digits is no noise of theirs.
    if np.abs(change).max() <= 1e-12 * np.abs(np.concatenate([first, second])).max():
        raise EvaluationError("no score changed in any pair of images; these are copies, not two images of one person")
    degrees = degrees_of(change, groups)
    variance = float(np.mean(change**2) / 2)
    tails = chi2.ppf([0.5 + confidence / 2, 0.5 - confidence / 2], degrees)
    low, high = np.sqrt(degrees * variance / tails)
    method = f"chi-square, {degrees:.3g} degrees of freedom of {first.size} pairs"
    deviation = float(np.sqrt(variance))
    within = Estimate(deviation, float(low), float(high), method)
    least = Estimate(REACH * deviation, REACH * float(low), REACH * float(high), method)
    inside = proportion(np.abs(change) <= least.value, None if subject is None else groups)
    drift = mean_with_interval(change, groups, confidence=confidence)
    return Repeatability(within, least, _correlation(first, second, people, confidence), drift, inside)


def degrees_of(change: np.ndarray, groups: np.ndarray) -> float:
    """How many independent normal changes tell as much of their variance as changes (n,) of persons (n,) from 0."""
    sizes = np.bincount(groups)
    squares, sums = np.bincount(groups, change**2), np.bincount(groups, change)
    variance, others = float(np.mean(change**2)), float(np.sum(sizes * (sizes - 1)))
    shared = float(np.sum(sums**2 - squares)) / (others * variance) if others else 0.0
    normal = change.size**2 / (change.size + others * min(shared**2, 1.0))
    count = persons(groups)
    off = squares - variance * sizes
    spread = float(np.sum(off**2)) * count / (count - 1) / (change.size * variance) ** 2
    return min(normal, 2 / spread) if spread > 0 else normal


def _correlation(first: np.ndarray, second: np.ndarray, people: int, confidence: float) -> Estimate:
    middle, count = (first + second) / 2, first.size
    between = 2 * float(middle.var(ddof=1))
    inside = float(np.mean((second - first) ** 2) / 2)
    value = (between - inside) / (between + inside)
    if people < count:
        return Estimate(value, np.nan, np.nan, "ICC(1); no interval where persons give several pairs")
    ratio = between / inside
    tail = 0.5 + confidence / 2
    low = ratio / fisher.ppf(tail, count - 1, count)
    high = ratio * fisher.ppf(tail, count, count - 1)
    return Estimate(value, (low - 1) / (low + 1), (high - 1) / (high + 1), "ICC(1), F")


def _pairs(before: ArrayLike, after: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    first, second = (np.asarray(each, dtype=np.float64) for each in (before, after))
    if first.ndim != 1 or first.shape != second.shape:
        raise EvaluationError(f"got values of shapes {first.shape} and {second.shape}; give one before and one after")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise EvaluationError("values before and after must be finite numbers; leave the pairs of others out")
    return first, second
