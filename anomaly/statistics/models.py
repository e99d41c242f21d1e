"""How strongly a score goes with an outcome beside covariates: odds ratio, and what the score adds to them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import expit

from anomaly.errors import EvaluationError
from anomaly.statistics.design import covariate_matrix, refuse_useless
from anomaly.statistics.estimates import Estimate, groups_of, persons
from anomaly.statistics.logistic import coefficient, fitted, likelihood_ratio, per_deviation
from anomaly.statistics.metrics import checked

# Log-odds that agree to so many digits are the same.
_DIGITS = 9

Covariates = ArrayLike | pd.DataFrame | None


@dataclass(frozen=True)
class AddedValue:
    """Whether a score says more than covariates alone; the chances (n,) come from models that never saw the image.

    `fold` (n,) tells which images share a model: the AUROC of the chances is the average over folds
    (`auroc_interval(..., fold=)`).
    """

    statistic: float
    p_value: float
    method: str
    covariates_alone: np.ndarray
    with_score: np.ndarray
    fold: np.ndarray


def odds_ratio(
    outcome: ArrayLike,
    score: ArrayLike,
    covariates: Covariates = None,
    subject: ArrayLike | None = None,
    *,
    confidence: float = 0.95,
) -> Estimate:
    """How many times the odds of the outcome rise with one standard deviation of the score.

    Crude without `covariates` (n, p), else adjusted for them; the deviation is that of the images given.
    Logistic regression of images that weigh alike. Where each image is another subject, with its profile-likelihood
    interval and likelihood-ratio test; where subjects repeat, with bias-reduced robust errors by subject (see
    `logistic.coefficient`). `variance` is that of the logarithm. The odds ratio is the one over the population of
    images, nearer to 1 than that of a person.

    Raises:
        EvaluationError: one class, tied or non-finite scores, covariates that are incomplete, constant or
            collinear, separation, no convergence, fewer than ten subjects of a class where they repeat.
    """
    event, columns, names = columns_of(outcome, score, covariates)
    found = coefficient(event, columns, groups_of(subject, event.size), names=names, confidence=confidence)
    return exponentiated(found)


def added_value(
    outcome: ArrayLike,
    score: ArrayLike,
    covariates: Covariates,
    subject: ArrayLike | None = None,
    *,
    folds: int = 10,
    seed: int = 0,
) -> AddedValue:
    """What the score adds to covariates alone: a test of the nested models, and each image's chance by both.

    The test is the likelihood ratio where each image is another subject (one degree of freedom), else the
    Wald test of the score in the regression of `odds_ratio`, whose statistic is the square of t. The chances are
    cross-fitted: an image's come from models of the other folds; subjects stay whole, and are dealt out by how
    many of their images have the event. Each fold's chances are brought to one scale: that of the same model fitted
    to all images, by their rank among the images their own model was fitted to; as they come from the models, those of
    different folds cannot be compared. Hand them to `auroc_interval` with `fold`, one at a time: paired DeLong
    (`compare_aurocs`) does not hold for nested models fitted on the same images (Demler et al. 2012, Statistics in
    Medicine 31); the test here is the one of the two models.

    Raises:
        EvaluationError: as `odds_ratio`; no covariates; fewer than two subjects with or without the event.
    """
    event, columns, names = columns_of(outcome, score, covariates)
    if len(names) < 2:
        raise EvaluationError("no covariates were given, so there is nothing for the score to add to")
    groups = groups_of(subject, event.size)
    found = coefficient(event, columns, groups, names=names)
    statistic, p_value, method = found.value**2 / found.variance, found.p_value, f"Wald test, {found.method}"
    if persons(groups) == event.size:
        (statistic, p_value), method = likelihood_ratio(event, columns), "likelihood-ratio test"
    parts = _dealt(event, groups, folds, np.random.default_rng([seed]))
    alone, both = (_on_one_scale(event, each, parts) for each in (columns[:, 1:], columns))
    return AddedValue(statistic, p_value, method, alone, both, parts)


def cross_fitted(
    outcome: ArrayLike, score: ArrayLike, subject: ArrayLike | None = None, *, folds: int = 10, seed: int = 0
) -> np.ndarray:
    """The chance (n,) of the outcome by a logistic model of the score, from persons other than each image's own.

    Folds as in `added_value`.

    Raises:
        EvaluationError: one class, tied or non-finite scores, fewer than two subjects with or without the event.
    """
    event, columns, _ = columns_of(outcome, score, None)
    groups = groups_of(subject, event.size)
    return _cross_fitted(event, columns, _dealt(event, groups, folds, np.random.default_rng([seed])))


def exponentiated(found: Estimate) -> Estimate:
    """A ratio from an estimate on the scale of logarithms, whose variance stays that of the logarithm."""
    with np.errstate(over="ignore"):
        value, low, high = (float(number) for number in np.exp([found.value, found.low, found.high]))
    if not np.isfinite(high) or low == 0:
        raise EvaluationError(
            f"the logarithm of the ratio lies anywhere from {found.low:.3g} to {found.high:.3g}: "
            "too few images for this model, or a score far from all the others; adjust for less, or leave it out"
        )
    return Estimate(value, low, high, found.method, found.variance, found.p_value)


def columns_of(
    outcome: ArrayLike, score: ArrayLike, covariates: Covariates
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Outcomes, and the columns of the score, of the covariates and of an intercept, with their names."""
    event, value = checked(outcome, score)
    columns, names = score_and_covariates(value, *covariate_matrix(covariates, event.size))
    return event, np.column_stack([columns, np.ones(event.size)]), names


def score_and_covariates(value: np.ndarray, matrix: np.ndarray, names: Sequence[str]) -> tuple[np.ndarray, list[str]]:
    """Scores (n,) and covariates (n, p) as columns in units of their deviation, the score first, with their names."""
    columns = np.column_stack([per_deviation(value), matrix])
    refuse_useless(np.roll(columns, -1, axis=1), [*names, "the score"])
    return (columns - columns.mean(axis=0)) / columns.std(axis=0, ddof=1), ["the score", *names]


def _dealt(event: np.ndarray, groups: np.ndarray, folds: int, rng: np.random.Generator) -> np.ndarray:
    """The fold (n,) of each image: whole subjects, dealt out in the order of how many of their images have the event.

    Folds with unequal shares of events give unequal intercepts, which push the chances of those with the
    event below those of the others.
    """
    events = np.bincount(groups, weights=event)
    fewest = int(min((events > 0).sum(), (events == 0).sum()))
    if min(fewest, folds) < 2:
        raise EvaluationError(f"{fewest} subjects of one class and {folds} folds: cross-fitting needs two of each")
    order = np.lexsort((rng.random(events.size), events))
    parts = np.empty(events.size, int)
    parts[order] = np.arange(events.size) % min(folds, fewest)
    return parts[groups]


def _on_one_scale(event: np.ndarray, columns: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """Cross-fitted chances (n,), those of each fold as far up among all chances as among those of their own model."""
    whole = fitted(event, columns)
    # What ties in one model ties in all, whatever their rounding.
    scale = np.sort(np.round(columns @ whole, _DIGITS))
    place = np.empty(event.size)
    for part in np.unique(parts):
        inside = parts == part
        odds = np.round(columns @ fitted(event[~inside], columns[~inside], near=whole), _DIGITS)
        others = np.sort(odds[~inside])
        below = np.searchsorted(others, odds[inside], "left") + np.searchsorted(others, odds[inside], "right")
        place[inside] = below / (2 * others.size)
    return expit(np.interp(place, (np.arange(scale.size) + 0.5) / scale.size, scale))


def _cross_fitted(event: np.ndarray, columns: np.ndarray, parts: np.ndarray) -> np.ndarray:
    chance = np.empty(event.size)
    for part in np.unique(parts):
        inside = parts == part
        chance[inside] = expit(columns[inside] @ fitted(event[~inside], columns[~inside]))
    return chance
