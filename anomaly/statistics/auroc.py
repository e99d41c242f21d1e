"""The AUROC of one score and of several: interval, test and comparison, clustered by subject."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.stats import norm, rankdata, t

from anomaly.errors import EvaluationError
from anomaly.statistics.estimates import (
    FEWEST_PERSONS,
    Comparison,
    Estimate,
    freedom_of,
    groups_of,
    on_log_odds,
    persons,
    too_few,
    two_sided,
)
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
    fold: ArrayLike | None = None,
    fewest: int = FEWEST_PERSONS,
) -> Estimate:
    """AUROC with its interval and the p-value against 0.5 (no better than chance).

    `scale="plain"` is the normal interval cut at 0 and 1, as R's pROC gives it; `"logit"` is made on the
    log-odds with a quantile of Student's t, and covers better when the AUROC is near 1 or the subjects are few:
    a variance that few subjects decide is itself uncertain. The p-value is the Wald test on the same scale, so it
    is below 1 - `confidence` exactly where 0.5 lies outside the interval. Where the classes do not overlap at all
    the variance is zero and says nothing: the score interval of Newcombe 2006 (Statistics in Medicine 25,
    method 5) takes its place, on the number of subjects, and `method` says so. Where subjects repeat
    and fewer than `fewest` of them have the event, or are without it, or fewer than twice as many there are in all,
    there is no interval and no p-value, whatever the number of images.

    `fold` (n,) is for scores that come from several models, such as cross-fitted chances: images are compared within
    their fold alone and the folds' AUROCs averaged, by their number of comparisons. Pooled, a model that happened to
    see many events gives all its images high chances, and such images are those without, so that what tells nothing
    comes out below 0.5. The interval does not count the fitting.
    """
    if scale not in SCALES:
        raise EvaluationError(f"scale must be one of {', '.join(SCALES)}, got {scale!r}")
    influences = _influences(outcome, score, subject, [fold])
    aurocs, covariance = influences.covariance()
    value, variance = float(aurocs[0]), float(covariance[0, 0])
    method = "DeLong" if subject is None else "DeLong, clustered by subject"
    method += "" if scale == "plain" else f", {scale} scale, t"
    method += "" if fold is None else ", averaged over folds"
    event = np.asarray(outcome).astype(bool)
    groups = groups_of(subject, event.size)
    if persons(groups) < event.size and (lacking := too_few(event, groups, fewest)):
        return Estimate(value, float("nan"), float("nan"), lacking, variance)
    if value in (0.0, 1.0):
        return separated(event, groups, value, confidence)
    error = float(np.sqrt(max(variance, 0.0)))
    low, high, p_value = SCALES[scale](value, error, influences.freedom(variance), confidence)
    return Estimate(value, low, high, method, variance, p_value)


def _plain(value: float, error: float, freedom: float, confidence: float) -> tuple[float, float, float]:
    step = float(norm.ppf(0.5 + confidence / 2)) * error
    return max(0.0, value - step), min(1.0, value + step), two_sided(value - 0.5, error)[1]


def _logit(value: float, error: float, freedom: float, confidence: float) -> tuple[float, float, float]:
    low, high = on_log_odds(value, error, freedom, confidence)
    z = two_sided(float(np.log(value / (1 - value))), error / (value * (1 - value)))[0]
    return low, high, float(2 * t.sf(abs(z), freedom))


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
    folds: tuple[ArrayLike | None, ArrayLike | None] = (None, None),
    fewest: int = FEWEST_PERSONS,
) -> Comparison:
    """Difference of the AUROCs of two scores of the same images (paired DeLong, clustered when asked).

    Not for nested models fitted on the same images: a likelihood-ratio or Wald test compares those. No interval and
    no p-value where subjects are too few, and `folds` of the first and of the second score, as in `auroc_interval`.
    """
    both = np.stack([np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)])
    aurocs, covariance = _influences(outcome, both, subject, folds).covariance()
    difference = float(aurocs[0] - aurocs[1])
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    error = float(np.sqrt(max(float(variance), 0.0)))
    event = np.asarray(outcome).astype(bool)
    groups = groups_of(subject, event.size)
    if persons(groups) < event.size and (lacking := too_few(event, groups, fewest)):
        unknown = float("nan")
        return Comparison(difference, unknown, unknown, unknown, unknown, lacking)
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
        """Degrees of freedom of the variance of the first AUROC."""
        return freedom_of(self.cases[0] + self.controls[0], variance)


def _influences(
    outcome: ArrayLike, scores: ArrayLike, subject: ArrayLike | None, folds: Sequence[ArrayLike | None] = ()
) -> _Influences:
    rows = np.atleast_2d(np.asarray(scores, dtype=np.float64))
    event = checked(outcome, rows[0])[0]
    groups = groups_of(subject, event.size)
    cases, controls = persons(groups[event]), persons(groups[~event])
    if min(cases, controls) < 2:
        raise EvaluationError(
            f"{cases} subjects with the event and {controls} without: an interval needs two of each at least"
        )
    folds = folds or [None] * len(rows)
    parts = [_deviations(*checked(outcome, row), fold) for row, fold in zip(rows, folds, strict=True)]
    aurocs = np.array([auroc for auroc, _ in parts])
    deviations = np.stack([deviation for _, deviation in parts])
    of_cases, of_controls = (_sums(deviations * chosen, groups) for chosen in (event, ~event))
    return _Influences(aurocs, of_cases, of_controls, cases, controls)


def _deviations(event: np.ndarray, value: np.ndarray, fold: ArrayLike | None) -> tuple[float, np.ndarray]:
    """The AUROC, within folds where there are any, and how far each image (n,) moves it."""
    if fold is None:
        placement = placements(event, value)
        auroc = float(placement[event].mean())
        return auroc, (placement - auroc) / np.where(event, event.sum(), (~event).sum())
    parts = groups_of(fold, event.size)
    cases, controls = (np.bincount(parts[chosen], minlength=parts.max() + 1) for chosen in (event, ~event))
    compared, total = cases * controls, float(np.sum(cases * controls))
    if not total:
        raise EvaluationError("no fold holds images with the event and without; deal fewer folds")
    placement = np.zeros(event.size)
    for part in np.flatnonzero(compared):
        inside = np.flatnonzero(parts == part)
        placement[inside] = placements(event[inside], value[inside])
    auroc = float(np.sum((placement * controls[parts])[event]) / total)
    weight = np.where(event, controls[parts], cases[parts]) * (compared > 0)[parts] / total
    return auroc, weight * (placement - auroc)


def placements(event: np.ndarray, value: np.ndarray) -> np.ndarray:
    """For each image the share of the other class it is rightly ordered against, ties one half."""
    cases, controls = int(event.sum()), int((~event).sum())
    overall, placement = rankdata(value), np.empty(value.size)
    placement[event] = (overall[event] - rankdata(value[event])) / controls
    placement[~event] = 1 - (overall[~event] - rankdata(value[~event])) / cases
    return placement


def _sums(deviations: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Sums (K, subjects) of deviations (K, n)."""
    return np.stack([np.bincount(groups, weights=row) for row in deviations])


def separated(event: np.ndarray, groups: np.ndarray, value: float, confidence: float) -> Estimate:
    """Interval of an AUROC of exactly 0 or 1, and the Mann-Whitney p-value, whose null variance is its at 0.5.

    Newcombe 2006, method 5, on the numbers of persons with the event (n,) and without it.
    """
    z = float(norm.ppf(0.5 + confidence / 2))
    cases, controls = persons(groups[event]), persons(groups[~event])
    middle = (cases + controls) / 2

    def variance(auroc: float) -> float:
        inner = 2 * middle - 1 - 3 * (middle - 1) / ((2 - auroc) * (1 + auroc))
        return auroc * (1 - auroc) * inner / (cases * controls)

    bound = brentq(lambda a: (1 - a) ** 2 - z**2 * variance(a), 0.0, 1 - 1e-12)
    low, high = (float(bound), 1.0) if value == 1 else (0.0, 1 - float(bound))
    null = np.sqrt((cases + controls + 1) / (12 * cases * controls))
    method = "score interval (Newcombe), classes do not overlap"
    return Estimate(value, low, high, method, 0.0, two_sided(value - 0.5, float(null))[1])
