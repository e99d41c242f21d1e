"""How much sooner the event comes to those who score high: hazard ratios, beside covariates."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from statsmodels.duration.hazard_regression import PHReg

from anomaly.errors import EvaluationError
from anomaly.statistics.design import covariate_matrix
from anomaly.statistics.estimates import Estimate, groups_of
from anomaly.statistics.likelihood import maximised, wald
from anomaly.statistics.logistic import INDEPENDENT, coefficient
from anomaly.statistics.models import Covariates, exponentiated, score_and_covariates
from anomaly.statistics.survival import finite_scores, followed

MOST_VISITS = 40
# A logarithm of the hazard ratio of one standard deviation known no better than this is not known at all.
_FLAT = 30.0


@dataclass(frozen=True)
class Hazards:
    """A hazard ratio of one standard deviation of the score, and how well its whole model orders the times.

    `concordance` (Harrell's C) is of the model on the images it was fitted to, so it flatters.
    """

    hazard_ratio: Estimate
    concordance: float


def cox(
    time: ArrayLike,
    event: ArrayLike,
    score: ArrayLike,
    covariates: Covariates = None,
    subject: ArrayLike | None = None,
    *,
    confidence: float = 0.95,
) -> Hazards:
    """How many times the hazard of the event rises with one standard deviation of the score (Cox 1972).

    Ties by Efron 1977. The interval is Wald's; where subjects repeat its variance is the robust one by
    subject (Lin & Wei 1989), from score residuals that follow Efron's ties, as R's `coxph(cluster =)` gives
    it, and its quantile that of t with subjects less columns for degrees of freedom. `variance` is that of the
    logarithm.

    Raises:
        EvaluationError: as `survival.followed`, `odds_ratio`; a hazard ratio without bound, no convergence.
    """
    times, happened, columns, names = _columns(time, event, score, covariates)
    groups = groups_of(subject, times.size)
    params, covariance = _likeliest(times, happened, columns, names)
    method, degrees, subjects = "Cox, Wald", None, np.unique(groups).size
    if subjects < times.size:
        if subjects <= len(names):
            raise EvaluationError(f"{subjects} subjects allow no model of {len(names)} columns; adjust for fewer")
        residuals = _efron_residuals(times, happened, columns, params)
        sums = np.stack([np.bincount(groups, weights=column) for column in residuals.T])
        covariance, degrees = covariance @ (sums @ sums.T) @ covariance, subjects - len(names)
        method = "Cox, robust errors by subject (Lin & Wei, t)"
    ratio = wald(float(params[0]), float(covariance[0, 0]), method, confidence=confidence, degrees=degrees)
    return Hazards(exponentiated(ratio), concordance(times, happened, columns @ params))


def pooled_logistic(
    time: ArrayLike,
    event: ArrayLike,
    score: ArrayLike,
    covariates: Covariates = None,
    subject: ArrayLike | None = None,
    *,
    width: float = 1.0,
    confidence: float = 0.95,
) -> Estimate:
    """How many times the odds of the event in a year rise with one standard deviation of the score.

    What suits events found at yearly visits: a row for each image and each interval (of `width`, in the
    unit of `time`) that it went through free of the event or in which the event was found, a level for each
    interval, one log-odds for the score (D'Agostino et al. 1990, Statistics in Medicine 9). An interval in which
    follow-up ended before its close is not counted, nor one in which no image, or every one, has the event,
    for it says nothing. Where each image is another subject the rows' likelihood is that of the discrete hazard
    itself: profile likelihood; where subjects repeat, GEE (independent) with robust errors by subject.

    Raises:
        EvaluationError: as `survival.followed`, `odds_ratio`; a width that is not above zero.
    """
    times, happened, columns, names = _columns(time, event, score, covariates)
    if not 0 < width < np.inf:
        raise EvaluationError(f"width must be above zero, in the unit of time, got {width}")
    if times.max() / width > MOST_VISITS:
        raise EvaluationError(
            f"times run up to {times.max():g}, {times.max() / width:.0f} intervals of {width:g}, and {MOST_VISITS} is "
            "the most; give times in years, or in the unit that visits are apart"
        )
    image, visit, found = person_periods(times, happened, width)
    parts = np.unique(visit, return_inverse=True)[1]
    levels = (parts[:, None] == np.arange(parts.max() + 1)).astype(np.float64)
    groups = groups_of(subject, times.size)
    # Rows of one image are no repeats of its subject: given the past, they are independent.
    repeated = np.unique(groups).size < times.size
    return exponentiated(
        coefficient(
            found,
            np.column_stack([columns[image], levels]),
            groups[image] if repeated else np.arange(image.size),
            names=names,
            confidence=confidence,
            working=INDEPENDENT,
        )
    )


def person_periods(times: np.ndarray, events: np.ndarray, width: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of images by intervals: which image, which interval (1, 2 ...), whether the event was found in it."""
    # A visit at 3.0000001 widths is the third, whatever its binary rounding.
    lived = times / width
    last = np.where(events, np.maximum(np.ceil(lived - 1e-6), 1), np.floor(lived + 1e-6)).astype(int)
    image = np.repeat(np.arange(times.size), last)
    visit = np.arange(image.size) - np.repeat(np.cumsum(last) - last, last) + 1
    found = events[image] & (visit == last[image])
    share = np.bincount(visit, weights=found) / np.maximum(np.bincount(visit), 1)
    telling = ((share > 0) & (share < 1))[visit]
    if not telling.any():
        raise EvaluationError(f"no interval of width {width} holds images with the event and without; widen it")
    return image[telling], visit[telling], found[telling]


def concordance(times: np.ndarray, events: np.ndarray, risk: np.ndarray) -> float:
    """Chance that of two images, the one whose event came first has the higher risk (Harrell's C), ties one half.

    Pairs count where the earlier time is an event, or where both times agree and one of them is.
    """
    won, compared = 0.0, 0
    for one in np.flatnonzero(events):
        later = (times > times[one]) | ((times == times[one]) & ~events)
        won += float(np.sum(risk[later] < risk[one]) + np.sum(risk[later] == risk[one]) / 2)
        compared += int(later.sum())
    return won / compared if compared else float("nan")


def _columns(
    time: ArrayLike, event: ArrayLike, score: ArrayLike, covariates: Covariates
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]:
    """Times, events, and score and covariates in units of their deviation, with their names."""
    times, happened = followed(time, event)
    value = finite_scores(score, times.size)
    matrix, names = covariate_matrix(covariates, times.size)
    columns, names = score_and_covariates(value, matrix, names)
    return times, happened, columns, names


def _likeliest(
    times: np.ndarray, events: np.ndarray, columns: np.ndarray, names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients (p,) of the Cox model and their covariance (p, p) by its curvature."""
    model = PHReg(times, columns, status=events.astype(int), ties="efron")
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        params = maximised(
            model.loglike, model.score, lambda params: -model.hessian(params), np.zeros(columns.shape[1])
        )
        information = -model.hessian(params)
    if not np.isfinite(information).all():
        raise EvaluationError(
            "the Cox model did not converge: its hazard ratio has no bound, or a score lies far from all the others; "
            "leave that one out, or adjust for less"
        )
    curvature, directions = np.linalg.eigh(information)
    if curvature[0] < 1 / _FLAT**2:
        culprits = np.asarray(names)[np.abs(directions[:, 0]) > 0.1]
        raise EvaluationError(
            f"{' with '.join(culprits)}: orders the events without exception or all but that, so its hazard ratio "
            "has no bound; give more images, or adjust for less"
        )
    return params, np.linalg.inv(information)


def _efron_residuals(times: np.ndarray, events: np.ndarray, columns: np.ndarray, params: np.ndarray) -> np.ndarray:
    """What each image adds (n, p) to the score of Efron's partial likelihood; they sum to zero at its maximum."""
    risk = np.exp(columns @ params)
    weighted = columns * risk[:, None]
    order = np.argsort(times)
    total, moment = (np.cumsum(each[order][::-1], axis=0)[::-1] for each in (risk, weighted))
    steps = np.unique(times[events])
    first = np.searchsorted(times[order], steps)
    hazard, mean_hazard = np.zeros(len(steps) + 1), np.zeros((len(steps) + 1, columns.shape[1]))
    residuals = np.zeros(columns.shape)
    for k, step in enumerate(steps):
        dead = events & (times == step)
        # The l-th of d tied events leaves the others at risk, and l / d of all d gone (Efron 1977).
        gone = np.arange(dead.sum()) / dead.sum()
        at_risk = total[first[k]] - gone * risk[dead].sum()
        mean = (moment[first[k]] - gone[:, None] * weighted[dead].sum(axis=0)) / at_risk[:, None]
        hazard[k + 1], mean_hazard[k + 1] = np.sum(1 / at_risk), np.sum(mean / at_risk[:, None], axis=0)
        # Those with the event at this step are at risk for 1 - l / d of it: give back the rest.
        spared, spared_mean = np.sum(gone / at_risk), np.sum(gone[:, None] * mean / at_risk[:, None], axis=0)
        residuals[dead] = columns[dead] - mean.mean(axis=0)
        residuals[dead] += risk[dead, None] * (columns[dead] * spared - spared_mean)
    known = np.searchsorted(steps, times, side="right")
    lived, lived_mean = np.cumsum(hazard)[known], np.cumsum(mean_hazard, axis=0)[known]
    return residuals - risk[:, None] * (columns * lived[:, None] - lived_mean)
