"""The AUROC of one score and of several: interval, test and comparison, clustered by subject."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.stats import norm, rankdata, t

from anomaly.errors import EvaluationError
from anomaly.statistics.estimates import Comparison, Estimate, groups_of, two_sided
from anomaly.statistics.metrics import checked


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
    return _influences(outcome, scores, subject).covariance()


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
    log-odds with a quantile of Student's t, and covers better when the AUROC is near 1 or the subjects are few:
    a variance that few subjects decide is itself uncertain. The p-value is the Wald test on the same scale, so it
    is below 1 - `confidence` exactly where 0.5 lies outside the interval. Where the classes do not overlap at all
    the variance is zero and says nothing: the score interval of Newcombe 2006 (Statistics in Medicine 25,
    method 5) takes its place, on the number of subjects, and `method` says so.
    """
    if scale not in SCALES:
        raise EvaluationError(f"scale must be one of {', '.join(SCALES)}, got {scale!r}")
    influences = _influences(outcome, score, subject)
    aurocs, covariance = influences.covariance()
    value, variance = float(aurocs[0]), float(covariance[0, 0])
    method = "DeLong" if subject is None else "DeLong, clustered by subject"
    method += "" if scale == "plain" else f", {scale} scale, t"
    if value in (0.0, 1.0):
        return _separated(outcome, subject, value, float(norm.ppf(0.5 + confidence / 2)))
    error = float(np.sqrt(max(variance, 0.0)))
    low, high, p_value = SCALES[scale](value, error, influences.freedom(variance), confidence)
    return Estimate(value, low, high, method, variance, p_value)


def _plain(value: float, error: float, freedom: float, confidence: float) -> tuple[float, float, float]:
    step = float(norm.ppf(0.5 + confidence / 2)) * error
    return max(0.0, value - step), min(1.0, value + step), two_sided(value - 0.5, error)[1]


def _logit(value: float, error: float, freedom: float, confidence: float) -> tuple[float, float, float]:
    centre, spread = float(np.log(value / (1 - value))), error / (value * (1 - value))
    step = float(t.ppf(0.5 + confidence / 2, freedom)) * spread
    ends = 1 / (1 + np.exp([step - centre, -step - centre]))
    z = two_sided(centre, spread)[0]
    return float(ends[0]), float(ends[1]), float(2 * t.sf(abs(z), freedom))


# Ends of the interval and p against 0.5, from the AUROC, its standard error, degrees of freedom and confidence.
SCALES: dict[str, Callable[[float, float, float, float], tuple[float, float, float]]] = {
    "plain": _plain,
    "logit": _logit,
}


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
    return Comparison(difference, difference - step, difference + step, *two_sided(difference, error), method)


@dataclass(frozen=True)
class _Influences:
    """What each subject adds to the deviation of K AUROCs: its cases and its controls apart, (K, subjects) each."""

    aurocs: np.ndarray
    cases: np.ndarray
    controls: np.ndarray
    case_subjects: int
    control_subjects: int

    def covariance(self) -> tuple[np.ndarray, np.ndarray]:
        """The AUROCs (K,) and their covariance (K, K)."""
        together = self.cases.shape[1]
        cross = together / (together - 1) * (self.cases @ self.controls.T)
        covariance = self.case_subjects / (self.case_subjects - 1) * (self.cases @ self.cases.T)
        covariance += self.control_subjects / (self.control_subjects - 1) * (self.controls @ self.controls.T)
        return self.aurocs, covariance + cross + cross.T

    def freedom(self, variance: float) -> float:
        """Degrees of freedom of the variance of the first AUROC: many where all subjects weigh alike.

        A variance with f degrees has itself the variance 2 variance^2 / f, which is estimated here from the fourth
        powers of the influences. On the log-odds part of that error cancels, since the estimate and its variance
        move together; twice the degrees covers best in simulation (the benchmarks of the statistics say how this was
        chosen).
        """
        influence = self.cases[0] + self.controls[0]
        spread = np.sum(influence**4) - np.sum(influence**2) ** 2 / influence.size
        return float(max(1.0, 4 * variance**2 / spread)) if spread > 0 else float("inf")


def _influences(outcome: ArrayLike, scores: ArrayLike, subject: ArrayLike | None) -> _Influences:
    rows = np.atleast_2d(np.asarray(scores, dtype=np.float64))
    event = checked(outcome, rows[0])[0]
    groups = groups_of(subject, event.size)
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
    return _Influences(aurocs, cases, controls, case_subjects, control_subjects)


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


def _separated(outcome: ArrayLike, subject: ArrayLike | None, value: float, z: float) -> Estimate:
    """Interval of an AUROC of exactly 0 or 1, and the Mann-Whitney p-value, whose null variance is its at 0.5."""
    event = np.asarray(outcome).astype(bool)
    groups = groups_of(subject, event.size)
    cases, controls = np.unique(groups[event]).size, np.unique(groups[~event]).size
    middle = (cases + controls) / 2

    def variance(auroc: float) -> float:
        inner = 2 * middle - 1 - 3 * (middle - 1) / ((2 - auroc) * (1 + auroc))
        return auroc * (1 - auroc) * inner / (cases * controls)

    bound = brentq(lambda a: (1 - a) ** 2 - z**2 * variance(a), 0.0, 1 - 1e-12)
    low, high = (float(bound), 1.0) if value == 1 else (0.0, 1 - float(bound))
    null = np.sqrt((cases + controls + 1) / (12 * cases * controls))
    method = "score interval (Newcombe), classes do not overlap"
    return Estimate(value, low, high, method, 0.0, two_sided(value - 0.5, float(null))[1])
