"""Intervals and tests for scores of images, honest when one person gives several images.

Throughout, `outcome` is (n,) of 0/1, a score (n,), `subject` (n,) of names or numbers: images of one
subject are correlated and count together. Leave `subject` out only where each image is another person.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.stats import norm, rankdata
from statsmodels.stats.proportion import proportion_confint

from anomaly.errors import EvaluationError
from anomaly.metrics import checked

# One resample of 20,000 images is 160 kB of weights: this many numbers are held at once (32 MB).
_CHUNK = 4_000_000
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Estimate:
    """A figure with its interval: `variance` and `p_value` are NaN where the method gives none."""

    value: float
    low: float
    high: float
    method: str
    variance: float = float("nan")
    p_value: float = float("nan")


@dataclass(frozen=True)
class Comparison:
    """The difference of two figures of the same images, first minus second, with its test against zero."""

    difference: float
    low: float
    high: float
    z: float
    p_value: float
    method: str


def auroc_covariance(
    outcome: ArrayLike, scores: ArrayLike, subject: ArrayLike | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """AUROCs (K,) of K scores (K, n) of the same images, and their (K, K) covariance.

    Without `subject`: DeLong, DeLong & Clarke-Pearson 1988, by midranks (Sun & Xu 2014, algorithm 2),
    O(K n log n). With it: the sum over subjects of Obuchowski 1997 (Biometrics 53, equations 4-5), where
    a subject may hold cases, controls or both. One image a subject gives DeLong exactly, and a subject
    written down twice changes nothing.

    Raises:
        EvaluationError: as `metrics.checked`; fewer than two subjects with the event or without it.
    """
    rows = np.atleast_2d(np.asarray(scores, dtype=np.float64))
    event = checked(outcome, rows[0])[0]
    groups = _groups(subject, event.size)
    parts = [_placements(*checked(outcome, row)) for row in rows]
    aurocs = np.array([placement[event].mean() for placement in parts])
    deviations = np.stack(parts) - aurocs[:, None]
    cases, case_subjects = _sums(deviations[:, event], groups, event)
    controls, control_subjects = _sums(deviations[:, ~event], groups, ~event)
    if min(case_subjects, control_subjects) < 2:
        raise EvaluationError(
            f"{case_subjects} subjects with the event and {control_subjects} without: "
            "an interval needs two of each at least"
        )
    together = groups.max() + 1
    cross = together / (together - 1) * (cases @ controls.T)
    covariance = case_subjects / (case_subjects - 1) * (cases @ cases.T)
    covariance += control_subjects / (control_subjects - 1) * (controls @ controls.T)
    return aurocs, covariance + cross + cross.T


def auroc_interval(
    outcome: ArrayLike,
    score: ArrayLike,
    subject: ArrayLike | None = None,
    *,
    confidence: float = 0.95,
    scale: str = "plain",
) -> Estimate:
    """AUROC with its interval and the p-value against 0.5 (no better than chance).

    `scale="plain"` is the normal interval cut at 0 and 1, as R's pROC gives it; `"logit"` is made on the
    log-odds and covers better when the AUROC is near 1 or the subjects are few. The p-value is the Wald test
    on the same scale, so it is below 1 - `confidence` exactly where 0.5 lies outside the interval. Where the
    classes do not overlap at all the variance is zero and says nothing: the score interval of Newcombe 2006
    (Statistics in Medicine 25, method 5) takes its place, on the number of subjects, and `method` says so.
    """
    if scale not in SCALES:
        raise EvaluationError(f"scale must be one of {', '.join(SCALES)}, got {scale!r}")
    aurocs, covariance = auroc_covariance(outcome, score, subject)
    value, variance = float(aurocs[0]), float(covariance[0, 0])
    method = "DeLong" if subject is None else "DeLong, clustered by subject"
    method += "" if scale == "plain" else f", {scale} scale"
    z = float(norm.ppf(0.5 + confidence / 2))
    if value in (0.0, 1.0):
        return _separated(outcome, subject, value, z)
    error = float(np.sqrt(max(variance, 0.0)))
    low, high, p_value = SCALES[scale](value, error, z)
    return Estimate(value, low, high, method, variance, p_value)


def _plain(value: float, error: float, z: float) -> tuple[float, float, float]:
    return max(0.0, value - z * error), min(1.0, value + z * error), _two_sided(value - 0.5, error)[1]


def _logit(value: float, error: float, z: float) -> tuple[float, float, float]:
    centre, spread = float(np.log(value / (1 - value))), error / (value * (1 - value))
    ends = 1 / (1 + np.exp([z * spread - centre, -z * spread - centre]))
    return float(ends[0]), float(ends[1]), _two_sided(centre, spread)[1]


# Ends of the interval and p against 0.5, from the AUROC, its standard error and the normal quantile.
SCALES: dict[str, Callable[[float, float, float], tuple[float, float, float]]] = {"plain": _plain, "logit": _logit}


def compare_aurocs(
    outcome: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    subject: ArrayLike | None = None,
    *,
    confidence: float = 0.95,
) -> Comparison:
    """Difference of the AUROCs of two scores of the same images (paired DeLong, clustered when asked).

    Not for nested models fitted on the same images: a likelihood-ratio or Wald test compares those.
    """
    both = np.stack([np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)])
    aurocs, covariance = auroc_covariance(outcome, both, subject)
    difference = float(aurocs[0] - aurocs[1])
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    error = float(np.sqrt(max(float(variance), 0.0)))
    step = float(norm.ppf(0.5 + confidence / 2)) * error
    method = "paired DeLong" if subject is None else "paired DeLong, clustered by subject"
    return Comparison(difference, difference - step, difference + step, *_two_sided(difference, error), method)


def proportion(successes: ArrayLike, subject: ArrayLike | None = None, *, confidence: float = 0.95) -> Estimate:
    """Share of images for which something holds, with Wilson's interval.

    With `subject` the number of images is replaced by the effective one, that which would give the
    variance seen between subjects (Korn & Graubard 1998), and by the number of subjects when all agree.
    """
    values = np.asarray(successes, dtype=np.float64)
    if values.ndim != 1 or values.size == 0 or not np.isin(values, (0, 1)).all():
        raise EvaluationError("a share needs one true or false for each of one or more images")
    share = float(values.mean())
    sums = np.bincount(_groups(subject, values.size), weights=values - share)
    variance = float(np.sum(sums**2)) / values.size**2
    size = share * (1 - share) / variance if variance > 0 else float(sums.size)
    size = min(size, float(values.size))
    low, high = _wilson(share, size, confidence)
    method = "Wilson" if subject is None else "Wilson, effective number of subjects"
    return Estimate(share, low, high, method, variance)


def _wilson(share: float, size: float, confidence: float) -> tuple[float, float]:
    """Wilson's interval; at a share of 0 or 1 its end is exactly that, whatever the rounding."""
    low, high = proportion_confint(share * size, size, alpha=1 - confidence, method="wilson")
    return min(float(low), share), max(float(high), share)


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
        statistic, _groups(subject, event.size), event, repeats=repeats, seed=seed, confidence=confidence
    )
    if estimate.low < estimate.high:
        return estimate
    people = np.unique(_groups(subject, event.size)[event]).size
    low, high = _wilson(estimate.value, people, confidence)
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
    return bootstrap(statistic, _groups(subject, event.size), event, repeats=repeats, seed=seed)


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
    groups = _groups(subject, np.size(np.asarray(outcome)))
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
        threshold = np.sum(below < specificity * below[:, -1:] - _ROUNDING, axis=1)
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


def _placements(event: np.ndarray, value: np.ndarray) -> np.ndarray:
    """For each image the share of the other class it is rightly ordered against, ties one half."""
    cases, controls = int(event.sum()), int((~event).sum())
    overall, placement = rankdata(value), np.empty(value.size)
    placement[event] = (overall[event] - rankdata(value[event])) / controls
    placement[~event] = 1 - (overall[~event] - rankdata(value[~event])) / cases
    return placement


def _sums(deviations: np.ndarray, groups: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, int]:
    """Sums (K, subjects) of deviations over the chosen images, by their number; and who has any."""
    size = int(groups.max()) + 1
    sums = np.stack([np.bincount(groups[chosen], weights=row, minlength=size) for row in deviations])
    return sums / chosen.sum(), np.unique(groups[chosen]).size


def _groups(subject: ArrayLike | None, size: int) -> np.ndarray:
    """Subjects as 0, 1, 2 ...; each image its own subject when none are given."""
    if subject is None:
        return np.arange(size)
    names = np.asarray(subject)
    if names.shape != (size,):
        raise EvaluationError(f"got subjects of shape {names.shape} for {size} images; give one subject an image")
    return np.unique(names, return_inverse=True)[1]


def _two_sided(difference: float, error: float) -> tuple[float, float]:
    """z and p of a difference from zero; no spread and no difference is z = 0, p = 1."""
    if error <= _ROUNDING:
        z = 0.0 if abs(difference) <= _ROUNDING else float(np.copysign(np.inf, difference))
    else:
        z = difference / error
    return z, float(2 * norm.sf(abs(z)))


def _separated(outcome: ArrayLike, subject: ArrayLike | None, value: float, z: float) -> Estimate:
    """Interval of an AUROC of exactly 0 or 1, and the Mann-Whitney p-value, whose null variance is its at 0.5."""
    event = np.asarray(outcome).astype(bool)
    groups = _groups(subject, event.size)
    cases, controls = np.unique(groups[event]).size, np.unique(groups[~event]).size
    middle = (cases + controls) / 2

    def variance(auroc: float) -> float:
        inner = 2 * middle - 1 - 3 * (middle - 1) / ((2 - auroc) * (1 + auroc))
        return auroc * (1 - auroc) * inner / (cases * controls)

    bound = brentq(lambda a: (1 - a) ** 2 - z**2 * variance(a), 0.0, 1 - 1e-12)
    low, high = (float(bound), 1.0) if value == 1 else (0.0, 1 - float(bound))
    null = np.sqrt((cases + controls + 1) / (12 * cases * controls))
    method = "score interval (Newcombe), classes do not overlap"
    return Estimate(value, low, high, method, 0.0, _two_sided(value - 0.5, float(null))[1])


def _chunks(repeats: int, size: int) -> Sequence[int]:
    step = max(1, _CHUNK // max(size, 1))
    return [min(step, repeats - start) for start in range(0, repeats, step)]
