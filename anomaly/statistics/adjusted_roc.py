"""The AUROC a score has among people of the same covariates: age or site can no longer stand in for disease."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.stats import norm, rankdata

from anomaly.errors import EvaluationError
from anomaly.statistics.auroc import placements, separated
from anomaly.statistics.design import covariate_matrix, refuse_useless
from anomaly.statistics.estimates import (
    FEWEST_PERSONS,
    Estimate,
    freedom_of,
    groups_of,
    on_log_odds,
    too_few,
)
from anomaly.statistics.metrics import checked
from anomaly.statistics.models import score_and_covariates


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
    confidence: float = 0.95,
    fewest: int = FEWEST_PERSONS,
) -> AdjustedRoc:
    """Chance that a case scores higher than a control of the same covariates (Janes & Pepe 2009, Biometrika 96).

    Scores are taken by their ranks alone: each becomes the quantile of a standard normal that its rank among all
    images stands for, so that no scale and no single far score moves the figure. A linear model of these fitted to
    the controls says where their covariates (n, p) lead, and the scatter of their residuals says how far controls
    depart from it; each case is placed in that distribution. The mean of one minus the placements is the AUROC
    (section 2), a tie counting one half. With `strata` (n,), a category such as the site, a case is compared with
    controls of its own stratum only: each has its level and its scatter, the slopes are common.

    The interval is made on the log-odds with Student's t, from the squares of what each subject adds: its cases, its
    controls, and what its controls move the slopes. Where all cases lie above all controls the interval of
    `auroc_interval` for classes that do not overlap takes its place; below `fewest` subjects of a class there is none.

    Raises:
        EvaluationError: as `metrics.checked`; no covariates and no strata; covariates that are useless, or
            useless among the controls; a stratum that has cases but fewer than two controls.
    """
    event, value = checked(outcome, score)
    matrix, names = covariate_matrix(covariates, event.size)
    if not names and strata is None:
        raise EvaluationError("neither covariates nor strata were given; the plain AUROC is what you want")
    parts, kinds = _strata(strata, event)
    score_and_covariates(value, matrix, names)  # refuses what tells nothing, by the scores as they are
    ranks = norm.ppf((rankdata(value) - 0.5) / value.size)
    scaled, _ = score_and_covariates(ranks, matrix, names)
    levels = (parts[:, None] == np.arange(len(kinds))).astype(np.float64)
    columns, controls = np.column_stack([scaled[:, 1:], levels]), int((~event).sum())
    if controls <= columns.shape[1]:
        raise EvaluationError(f"{controls} controls allow no model of {columns.shape[1]} columns; adjust for fewer")
    if names:
        refuse_useless(np.column_stack([levels[:, 1:], matrix])[~event], [*kinds[1:], *names])
    model = _Model(event, scaled[:, 0], columns, parts, len(names))
    placement, found = model.placed(model.slopes)
    place = 1 - placement[event]
    corners = _corners(place)
    return AdjustedRoc(_interval(model, found, groups_of(subject, event.size), confidence, fewest), *corners, place)


def _interval(model: "_Model", found: float, groups: np.ndarray, confidence: float, fewest: int) -> Estimate:
    influence = np.bincount(groups, weights=model.influence())
    variance = influence.size / (influence.size - 1) * float(np.sum(influence**2))
    if lacking := too_few(model.event, groups, fewest):
        return Estimate(found, float("nan"), float("nan"), lacking, variance)
    if found in (0.0, 1.0) or variance == 0:
        area = separated(model.event, groups, float(round(found)), confidence)
        return replace(area, p_value=float("nan"), method=f"covariate-adjusted, {area.method}")
    low, high = on_log_odds(found, float(np.sqrt(variance)), freedom_of(influence), confidence)
    return Estimate(found, low, high, "covariate-adjusted, influence of subjects, logit scale, t", variance)


class _Model:
    """Controls' scores (n,) by covariates and levels of strata (n, p), the first `free` of the columns covariates."""

    def __init__(self, event: np.ndarray, score: np.ndarray, columns: np.ndarray, parts: np.ndarray, free: int) -> None:
        self.event, self.score, self.columns, self.parts, self.free = event, score, columns, parts, free
        controls = columns[~event]
        # A stratum without controls has no level; the pseudo-inverse leaves it out.
        self.inverse = np.linalg.pinv(controls.T @ controls, hermitian=True)
        self.slopes = self.inverse @ (controls.T @ score[~event])
        self.members = [np.flatnonzero(parts == part) for part in np.unique(parts[event])]

    def placed(self, slopes: np.ndarray) -> tuple[np.ndarray, float]:
        """Of each image (n,) the share of its stratum's other class it is rightly ordered against, and the AUROC."""
        # Scores that tie at the same covariates must tie again after the subtraction.
        residual = np.round(self.score - self.columns @ slopes, 9)
        placement = np.full(self.event.size, np.nan)
        for inside in self.members:
            placement[inside] = placements(self.event[inside], residual[inside])
        return placement, float(np.mean(placement[self.event]))

    def influence(self) -> np.ndarray:
        """How far each image (n,) moves the AUROC."""
        event, (placement, found) = self.event, self.placed(self.slopes)
        residual = np.where(event, 0.0, self.score - self.columns @ self.slopes)
        # HC1: residuals of a fit are smaller than those of the truth.
        controls = int((~event).sum())
        spread = np.sqrt(controls / (controls - self.columns.shape[1]))
        moved = (residual[:, None] * self.columns) @ self.inverse * spread
        influence = moved @ self._steepness(np.sqrt(np.sum(moved**2, axis=0)))
        cases = int(event.sum())
        influence[event] += (placement[event] - found) / cases
        for inside in self.members:
            own, beaten = event[inside], placement[inside]
            weight = own.sum() / cases / (~own).sum()
            influence[inside[~own]] += weight * (beaten[~own] - beaten[own].mean())
        return influence

    def _steepness(self, errors: np.ndarray) -> np.ndarray:
        """The derivative (p,) of the AUROC by the slopes, over a standard error (p,) to either side.

        Levels move cases and controls of their stratum alike, and the figure not at all.
        """
        found = np.zeros(self.slopes.size)
        for k in range(self.free):
            step = np.zeros(self.slopes.size)
            step[k] = max(errors[k], 1e-6)
            found[k] = (self.placed(self.slopes + step)[1] - self.placed(self.slopes - step)[1]) / (2 * step[k])
        return found


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


def _corners(placement: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distribution of the placements as a line of steps, the area under which is one less their mean."""
    placed = np.sort(placement)
    risen = np.arange(placed.size + 1) / placed.size
    return np.append(0.0, np.append(np.repeat(placed, 2), 1.0)), np.repeat(risen, 2)
