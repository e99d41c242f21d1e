"""Scores that are taken anew at visits: how they go with what comes by the next one, or at any time until then."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from anomaly.errors import EvaluationError
from anomaly.statistics.design import covariate_matrix
from anomaly.statistics.estimates import Estimate, groups_of, persons
from anomaly.statistics.hazards import likeliest, require_dead, robust_by_subject
from anomaly.statistics.likelihood import wald
from anomaly.statistics.logistic import coefficient
from anomaly.statistics.metrics import checked
from anomaly.statistics.models import Covariates, exponentiated, score_and_covariates
from anomaly.statistics.partial_likelihood import PartialLikelihood
from anomaly.statistics.survival import finite_scores, followed


def odds_by_visit(
    event: ArrayLike,
    score: ArrayLike,
    visit: ArrayLike,
    covariates: Covariates = None,
    subject: ArrayLike | None = None,
    *,
    deviation: float | None = None,
    confidence: float = 0.95,
) -> Estimate:
    """How many times the odds of the event by the next visit rise with one standard deviation of the score at this one.

    A row for each image and visit at which it was still free of the event, 1 where the event was found by the next
    visit; a level for each visit, one log-odds for the score (pooled logistic with covariates that vary: D'Agostino et
    al. 1990, Statistics in Medicine 9). A visit whose rows all have the event, or none, says nothing and is left out.
    Where persons have several rows, GEE (independent) with robust errors by subject; given the past the rows of one
    knee are independent, but not those of two.

    Args:
        event, score, visit: (n,), a row each; visits are names or numbers of intervals.
        covariates: (n, p), at that visit.
        subject: (n,), whose row it is.
        deviation: of the score, that the ratio is for; that of the rows by default.

    Raises:
        EvaluationError: as `odds_ratio`; no visit with both.
    """
    happened, value = checked(event, score)
    parts = groups_of(visit, happened.size)
    share = np.bincount(parts, weights=happened) / np.bincount(parts)
    telling = ((share > 0) & (share < 1))[parts]
    if not telling.any():
        raise EvaluationError("no visit holds rows with the event by the next one and rows without; widen the visits")
    matrix, names = covariate_matrix(covariates, happened.size)
    columns, names = score_and_covariates(value[telling], matrix[telling], names)
    parts = np.unique(parts[telling], return_inverse=True)[1]
    levels = (parts[:, None] == np.arange(parts.max() + 1)).astype(np.float64)
    whose = groups_of(None if subject is None else np.asarray(subject)[telling], parts.size)
    found = coefficient(
        happened[telling], np.column_stack([columns, levels]), whose, names=names, confidence=confidence
    )
    return exponentiated(_per(found, value[telling], deviation))


def cox_by_interval(
    entry: ArrayLike,
    end: ArrayLike,
    event: ArrayLike,
    score: ArrayLike,
    covariates: Covariates = None,
    subject: ArrayLike | None = None,
    *,
    deviation: float | None = None,
    confidence: float = 0.95,
) -> Estimate:
    """How many times the hazard rises with one standard deviation of a score that changes from interval to interval.

    Cox's model in the form of Andersen and Gill 1982: a row is one image's time from `entry` to `end`, at risk after
    the one and up to the other, with the score that was known at its entry; 1 where it ends by the event. Cutting a row
    in two changes nothing but the standard deviation of the rows, which `deviation` fixes. Ties by Efron; where persons
    have several rows, robust errors by subject (Lin and Wei 1989).

    Raises:
        EvaluationError: as `cox`; rows that end before they begin.
    """
    times, happened = followed(end, event)
    came = np.asarray(entry, dtype=np.float64)
    if came.shape != times.shape or not np.isfinite(came).all():
        raise EvaluationError("give each row a finite time of entry")
    if (came >= times).any():
        raise EvaluationError(f"{int((came >= times).sum())} rows end before or when they begin; leave them out")
    value = finite_scores(score, times.size)
    columns, names = score_and_covariates(value, *covariate_matrix(covariates, times.size))
    model = PartialLikelihood(times, happened, columns, came)
    params, covariance = likeliest(model, names)
    groups = groups_of(subject, times.size)
    if persons(groups) == times.size:
        found = wald(float(params[0]), float(covariance[0, 0]), "Cox by interval, Wald", confidence=confidence)
        return exponentiated(_per(found, value, deviation))
    _refuse_few(groups, names, happened)
    found = robust_by_subject(model, params, covariance, groups, confidence)
    log, low, high = (float(each) for each in np.log([found.value, found.low, found.high]))
    logs = Estimate(log, low, high, found.method, found.variance, found.p_value)
    return exponentiated(replace(_per(logs, value, deviation), method=found.method.replace("Cox", "Cox by interval")))


def _refuse_few(groups: np.ndarray, names: Sequence[str], happened: np.ndarray) -> None:
    if persons(groups) <= len(names):
        raise EvaluationError(f"{persons(groups)} subjects allow no model of {len(names)} columns; adjust for fewer")
    require_dead(happened, groups)


def _per(found: Estimate, score: np.ndarray, deviation: float | None) -> Estimate:
    """A slope for one standard deviation of the rows as that of another deviation."""
    if deviation is None:
        return found
    if not 0 < deviation < np.inf:
        raise EvaluationError(f"the deviation must be above zero, got {deviation}")
    by = deviation / float(score.std(ddof=1))
    return replace(
        found, value=found.value * by, low=found.low * by, high=found.high * by, variance=found.variance * by**2
    )
