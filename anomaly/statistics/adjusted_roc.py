"""The AUROC a score has among people of the same covariates: age or site can no longer stand in for disease."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.stats import norm

from anomaly.errors import EvaluationError
from anomaly.statistics.design import covariate_matrix, refuse_useless
from anomaly.statistics.estimates import Estimate, groups_of
from anomaly.statistics.metrics import checked
from anomaly.statistics.models import score_and_covariates
from anomaly.statistics.resampling import bootstrap


@dataclass(frozen=True)
class AdjustedRoc:
    """The covariate-adjusted AUROC with its interval, and the corners of its curve from (0, 0) to (1, 1).

    `placement` (cases,) is the share of comparable controls that score higher than each case, in the order
    of the images.
    """

    auroc: Estimate
    false_positive_rate: np.ndarray
    sensitivity: np.ndarray
    placement: np.ndarray


def adjusted_auroc(
    outcome: ArrayLike,
    score: ArrayLike,
    covariates: ArrayLike | pd.DataFrame | None = None,
    subject: ArrayLike | None = None,
    *,
    strata: ArrayLike | None = None,
    repeats: int = 500,
    seed: int = 0,
    confidence: float = 0.95,
) -> AdjustedRoc:
    """Chance that a case scores higher than a control of the same covariates (Janes & Pepe 2009, Biometrika 96).

    A linear model fitted to the controls says what score their covariates (n, p) lead to, and the scatter of
    their residuals says how far controls depart from it; each case is placed in that distribution. The mean
    of one minus the placements is the AUROC (section 2), a tie counting one half. With `strata` (n,), a
    category such as the site, a case is compared with controls of its own stratum only: each has its level
    and its scatter, the slopes are common. The interval is made on the log-odds from the variance of draws of whole
    subjects, the model fitted to each draw; ends at the quantiles of the draws fall short near an AUROC of 1.

    Raises:
        EvaluationError: as `metrics.checked`; no covariates and no strata; covariates that are useless, or
            useless among the controls; a stratum that has cases but fewer than two controls; controls of so few
            subjects that a draw may hold none.
    """
    event, value = checked(outcome, score)
    matrix, names = covariate_matrix(covariates, event.size)
    if not names and strata is None:
        raise EvaluationError("neither covariates nor strata were given; the plain AUROC is what you want")
    parts, kinds = _strata(strata, event)
    levels = (parts[:, None] == np.arange(len(kinds))).astype(np.float64)
    scaled, _ = score_and_covariates(value, matrix, names)
    columns = np.column_stack([scaled[:, 1:], levels])
    controls = int((~event).sum())
    if controls <= columns.shape[1]:
        raise EvaluationError(f"{controls} controls allow no model of {columns.shape[1]} columns; adjust for fewer")
    if names:
        refuse_useless(np.column_stack([levels[:, 1:], matrix])[~event], [*kinds[1:], *names])
    place = _placing(event, scaled[:, 0], columns, parts)
    groups = groups_of(subject, event.size)
    found = bootstrap(_mean_rank(event, place), groups, event, repeats=repeats, seed=seed, confidence=confidence)
    placement = place(np.ones((1, event.size)))[0, event]
    if not np.isfinite(found.variance):
        raise EvaluationError("controls come from so few subjects that draws of subjects hold none; gather more")
    return AdjustedRoc(_on_log_odds(found, confidence), *_corners(placement), placement)


def _on_log_odds(found: Estimate, confidence: float) -> Estimate:
    """The estimate with its interval made symmetric on the log-odds, from the variance of the draws."""
    spread = found.value * (1 - found.value)
    method = f"covariate-adjusted, logit scale, variance by {found.method.replace('percentile, ', '')}"
    if spread == 0:
        return replace(found, method=f"covariate-adjusted, {found.method}")
    step = float(norm.ppf(0.5 + confidence / 2)) * np.sqrt(found.variance) / spread
    centre = np.log(found.value / (1 - found.value))
    low, high = (float(end) for end in 1 / (1 + np.exp([step - centre, -step - centre])))
    return replace(found, low=low, high=high, method=method)


def _strata(strata: ArrayLike | None, event: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """The stratum (n,) of each image as 0, 1, 2 ... and what each is called."""
    if strata is None:
        return np.zeros(event.size, int), ["all"]
    names = pd.Series(np.asarray(strata))
    if names.shape != event.shape or names.isna().any():
        raise EvaluationError(f"got {names.notna().sum()} known strata for {event.size} images; give one each")
    parts, kinds = pd.factorize(names, sort=True)
    cases, controls = (np.bincount(parts[chosen], minlength=len(kinds)) for chosen in (event, ~event))
    alone = np.flatnonzero((controls < 2) & (cases > 0))
    if alone.size:
        raise EvaluationError(
            f"stratum {kinds[alone[0]]!r} has {cases[alone[0]]} cases and {controls[alone[0]]} controls; two controls "
            "at least are needed: join strata, or leave it out"
        )
    return parts, [f"stratum {kind}" for kind in kinds]


def _placing(
    event: np.ndarray, score: np.ndarray, columns: np.ndarray, parts: np.ndarray
) -> Callable[[np.ndarray], np.ndarray]:
    """The placements (B, n) among the controls of its stratum of every image, under weights (B, n)."""
    controls, width = columns[~event], columns.shape[1]
    products = (controls[:, :, None] * controls[:, None, :]).reshape(len(controls), -1)
    targets = controls * score[~event, None]
    members = [np.flatnonzero(parts == part) for part in np.unique(parts)]

    def place(weights: np.ndarray) -> np.ndarray:
        counted = weights[:, ~event]
        gram = (counted @ products).reshape(-1, width, width)
        # A draw may hold no control of some stratum or site; the pseudo-inverse then leaves it out.
        slopes = np.linalg.pinv(gram, hermitian=True) @ (counted @ targets)[:, :, None]
        # Scores that tie at the same covariates must tie again after the subtraction.
        residual = np.round(score - slopes[:, :, 0] @ columns.T, 9)
        placement, reference = np.empty(weights.shape), weights * ~event
        for inside in members:
            placement[:, inside] = _share_above(residual[:, inside], reference[:, inside])
        return placement

    return place


def _share_above(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """In each row, the share of the weights that lies above each value, half of what ties; NaN without any weight."""
    order = np.argsort(values, axis=1)
    ranked, counted = np.take_along_axis(values, order, axis=1), np.take_along_axis(weights, order, axis=1)
    total, here = np.cumsum(counted, axis=1), np.arange(values.shape[1])
    starts = np.diff(ranked, axis=1, prepend=np.nan) != 0
    first = np.maximum.accumulate(np.where(starts, here, 0), axis=1)
    ends = np.append(starts[:, 1:], np.ones((len(values), 1), bool), axis=1)
    last = np.minimum.accumulate(np.where(ends, here, here[-1])[:, ::-1], axis=1)[:, ::-1]
    before = np.take_along_axis(total - counted, first, axis=1)
    with np.errstate(invalid="ignore"):
        share = 1 - (before + np.take_along_axis(total, last, axis=1)) / (2 * total[:, -1:])
    placed = np.empty(values.shape)
    np.put_along_axis(placed, order, share, axis=1)
    return placed


def _mean_rank(event: np.ndarray, place: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    """One minus the mean placement of the cases that have controls to be placed among, in each draw."""

    def statistic(weights: np.ndarray) -> np.ndarray:
        placement = place(weights)[:, event]
        placed = np.isfinite(placement)
        cases = weights[:, event] * placed
        return 1 - np.sum(cases * np.where(placed, placement, 0), axis=1) / cases.sum(axis=1)

    return statistic


def _corners(placement: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distribution of the placements as a line of steps, the area under which is one less their mean."""
    placed = np.sort(placement)
    risen = np.arange(placed.size + 1) / placed.size
    return np.append(0.0, np.append(np.repeat(placed, 2), 1.0)), np.repeat(risen, 2)
