"""Intervals by drawing whole subjects anew, for figures that have no formula of their own."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import norm

from anomaly.errors import EvaluationError
from anomaly.statistics.estimates import ROUNDING, Estimate, groups_of
from anomaly.statistics.metrics import checked
from anomaly.statistics.shares import wilson

# One resample of 20,000 images is 160 kB of weights: this many numbers are held at once (32 MB).
_CHUNK = 4_000_000


def sensitivity_interval(
    outcome: ArrayLike,
    score: ArrayLike,
    specificity: float,
    subject: ArrayLike | None = None,
    *,
    repeats: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Estimate:
    """Sensitivity at a fixed specificity (as `metrics.sensitivity_at_specificity`), with its interval.

    Whole subjects are drawn anew and the threshold is set again on each draw's controls, so its
    uncertainty is counted in. Where all draws agree (all events found, or none) Wilson's interval over
    the subjects with events takes the bootstrap's place.
    """
    event, value = checked(outcome, score)
    statistic = _weighted_sensitivity(event, value, specificity)
    estimate = bootstrap(
        statistic, groups_of(subject, event.size), event, repeats=repeats, seed=seed, confidence=confidence
    )
    if estimate.low < estimate.high:
        return estimate
    people = np.unique(groups_of(subject, event.size)[event]).size
    low, high = wilson(estimate.value, people, confidence)
    return replace(estimate, low=low, high=high, method="Wilson")


def average_precision_interval(
    outcome: ArrayLike,
    score: ArrayLike,
    subject: ArrayLike | None = None,
    *,
    repeats: int = 2000,
    seed: int = 0,
) -> Estimate:
    """Average precision (as `metrics.average_precision`) with its 95 % interval by drawing whole subjects."""
    event, value = checked(outcome, score)
    statistic = _weighted_precision(event, value)
    return bootstrap(statistic, groups_of(subject, event.size), event, repeats=repeats, seed=seed)


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
    leaves out one subject at a time. One draw more or less changes the last digit: the seed is yours.
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
    tails = np.array([0.5 - confidence / 2, 0.5 + confidence / 2])
    if bca:
        tails = _bca_tails(value, figures, _leave_one_out(statistic, groups), tails)
    low, high = np.quantile(figures, tails)
    method = f"bootstrap of subjects ({'BCa' if bca else 'percentile'}, {repeats:,} draws, seed {seed})"
    return Estimate(value, float(low), float(high), method, float(figures.var(ddof=1)))


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


def _weighted_sensitivity(
    event: np.ndarray, value: np.ndarray, specificity: float
) -> Callable[[np.ndarray], np.ndarray]:
    """The sensitivity at `specificity` of B weighted samples at once; the rule of `metrics`, by weights."""
    if not 0 < specificity <= 1:
        raise EvaluationError(f"specificity must lie in (0, 1], got {specificity}")
    controls, cases = np.flatnonzero(~event), np.flatnonzero(event)
    controls = controls[np.argsort(value[controls], kind="stable")]
    cases = cases[np.argsort(value[cases], kind="stable")]
    not_above = np.searchsorted(value[cases], value[controls], side="right")

    def statistic(weights: np.ndarray) -> np.ndarray:
        below = np.cumsum(weights[:, controls], axis=1)
        threshold = np.sum(below < specificity * below[:, -1:] - ROUNDING, axis=1)
        missed = np.cumsum(weights[:, cases], axis=1)
        before = not_above[threshold]
        share = np.take_along_axis(missed, np.maximum(before - 1, 0)[:, None], axis=1)[:, 0] / missed[:, -1]
        return 1 - np.where(before > 0, share, 0.0)

    return statistic


def _weighted_precision(event: np.ndarray, value: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """The average precision of B weighted samples at once."""
    order = np.argsort(-value, kind="stable")
    last = np.append(np.flatnonzero(np.diff(value[order])), value.size - 1)

    def statistic(weights: np.ndarray) -> np.ndarray:
        called = np.cumsum(weights[:, order], axis=1)[:, last]
        right = np.cumsum(weights[:, order] * event[order], axis=1)[:, last]
        gained = np.diff(right, axis=1, prepend=0.0)
        return np.sum(gained * right / np.maximum(called, 1), axis=1) / right[:, -1]

    return statistic


def _chunks(repeats: int, size: int) -> Sequence[int]:
    step = max(1, _CHUNK // max(size, 1))
    return [min(step, repeats - start) for start in range(0, repeats, step)]
