"""How much sooner the event comes to those who score high: hazard ratios, beside covariates."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from anomaly.errors import EvaluationError
from anomaly.statistics.design import covariate_matrix
from anomaly.statistics.estimates import FEWEST_PERSONS, Estimate, groups_of, persons
from anomaly.statistics.likelihood import maximised, wald
from anomaly.statistics.logistic import coefficient
from anomaly.statistics.models import Covariates, exponentiated, score_and_covariates
from anomaly.statistics.partial_likelihood import PartialLikelihood, concordance
from anomaly.statistics.survival import finite_scores, followed

MOST_VISITS = 40
# A logarithm of the hazard ratio of one standard deviation known no better than this is not known at all.
_FLAT = 30.0
# Numbers of matrices of persons that are held at once (160 MB).
_MOST = 20_000_000


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

    Ties by Efron 1977. The interval is Wald's; where subjects repeat, by what each subject adds to the slope of the
    partial likelihood (Lin & Wei 1989; residuals that follow Efron's ties), corrected for its own leverage as in
    `logistic.coefficient`, with Student's t of subjects less columns. `variance` is that of the logarithm, there
    without the correction, as R's `coxph(cluster =)` gives it.

    Raises:
        EvaluationError: as `survival.followed`, `odds_ratio`; a hazard ratio without bound, no convergence.
    """
    times, happened, columns, names = _columns(time, event, score, covariates)
    groups = groups_of(subject, times.size)
    model = PartialLikelihood(times, happened, columns)
    params, covariance = likeliest(model, names)
    fits, subjects = concordance(times, happened, columns @ params), persons(groups)
    if subjects < times.size:
        if subjects <= len(names):
            raise EvaluationError(f"{subjects} subjects allow no model of {len(names)} columns; adjust for fewer")
        require_dead(happened, groups)
        return Hazards(robust_by_subject(model, params, covariance, groups, confidence), fits)
    ratio = wald(float(params[0]), float(covariance[0, 0]), "Cox, Wald", confidence=confidence)
    return Hazards(exponentiated(ratio), fits)


def require_dead(events: np.ndarray, groups: np.ndarray) -> None:
    """An error where images repeat persons and these, or those with the event, are too few; all may have it."""
    dead, everyone = persons(groups[events]), persons(groups)
    if min(dead, everyone / 2) < FEWEST_PERSONS:
        raise EvaluationError(
            f"no interval: {everyone} persons, {dead} with the event; {2 * FEWEST_PERSONS} are needed, and of them "
            f"{FEWEST_PERSONS}; gather more people, more images of the same ones do not help"
        )


def robust_by_subject(
    model: PartialLikelihood, params: np.ndarray, covariance: np.ndarray, groups: np.ndarray, confidence: float
) -> Estimate:
    """The hazard ratio of the first column with errors that count persons (n,), numbered from 0 (see `cox`)."""
    slopes = np.stack([np.bincount(groups, weights=column) for column in model.residuals(params).T], axis=1)
    plain, width = float(np.sum((slopes @ covariance[:, 0]) ** 2)), len(params)
    corrected = slopes
    if slopes.size * width <= _MOST:  # of more persons none has a leverage worth the memory
        left = np.eye(width) - model.shares(params, groups) @ covariance
        corrected = np.linalg.solve(left, slopes[:, :, None])[:, :, 0]
    variance = float(np.sum((corrected @ covariance[:, 0]) ** 2))
    method, degrees = "Cox, robust errors by subject (Lin & Wei, bias-reduced, t)", len(slopes) - width
    found = wald(float(params[0]), variance, method, confidence=confidence, degrees=degrees)
    return replace(exponentiated(found), variance=plain)


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
    repeated = persons(groups) < times.size
    return exponentiated(
        coefficient(
            found,
            np.column_stack([columns[image], levels]),
            groups[image] if repeated else np.arange(image.size),
            names=names,
            confidence=confidence,
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


def _columns(
    time: ArrayLike, event: ArrayLike, score: ArrayLike, covariates: Covariates
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]:
    """Times, events, and score and covariates in units of their deviation, with their names."""
    times, happened = followed(time, event)
    value = finite_scores(score, times.size)
    matrix, names = covariate_matrix(covariates, times.size)
    columns, names = score_and_covariates(value, matrix, names)
    return times, happened, columns, names


def likeliest(model: PartialLikelihood, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients (p,) of the Cox model and their covariance (p, p) by its curvature."""
    with np.errstate(all="ignore"):
        params = maximised(model.height, model.slope, model.information, np.zeros(len(names)))
        information = model.information(params)
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
