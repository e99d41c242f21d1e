"""Whether chances mean what they say: calibration, Brier score, and the points of a calibration curve."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from anomaly.errors import EvaluationError
from anomaly.statistics.estimates import Estimate, groups_of, persons, too_few
from anomaly.statistics.logistic import coefficient, fitted
from anomaly.statistics.metrics import checked
from anomaly.statistics.shares import proportion

# Chances of exactly 0 or 1 have no log-odds; for the recalibration alone they are taken as this far from it.
NEAREST = 1e-6


@dataclass(frozen=True)
class Calibration:
    """How chances agree with outcomes.

    `in_the_large` is the log-odds by which they are too low (0 is right), `slope` how much further apart
    they should lie (1 is right, below 1 too extreme); their p-values are against 0 and 1. `slope` is None
    where all chances are the same. `error` is the expected calibration error, `brier` the mean squared
    error, `scaled_brier` its share of what the prevalence alone would get, taken from one (1 is perfect, 0 no
    better). `curve` has a row a bin: predicted, observed, low, high, images.
    """

    in_the_large: Estimate
    slope: Estimate | None
    error: float
    brier: float
    scaled_brier: float
    curve: pd.DataFrame


def calibration(
    outcome: ArrayLike,
    probability: ArrayLike,
    subject: ArrayLike | None = None,
    *,
    bins: int = 10,
    confidence: float = 0.95,
) -> Calibration:
    """How well chances between 0 and 1 agree with outcomes; chances must not come from a model of these images.

    Calibration in the large and slope by logistic recalibration (Cox 1958, Biometrika 45; Van Calster et
    al. 2016), the slope with the intercept free; intervals by profile likelihood, or robust by subject where
    subjects repeat, none below ten of a class. The bins hold equally many images by rank, tied chances together, so
    there may be fewer; intervals of the curve are Wilson's, on the effective number of subjects.

    Raises:
        EvaluationError: one class, chances outside 0 to 1 or unknown, fewer images than bins, separation.
    """
    event, chance = checked(outcome, probability)
    if chance.min() < 0 or chance.max() > 1:
        raise EvaluationError(f"chances run from {chance.min():.3g} to {chance.max():.3g}; they must lie in 0 to 1")
    if not 1 <= bins <= event.size:
        raise EvaluationError(f"{bins} bins for {event.size} images; ask for 1 to {event.size}")
    groups = groups_of(subject, event.size)
    near = np.clip(chance, NEAREST, 1 - NEAREST)
    odds, ones = np.log(near / (1 - near)), np.ones(event.size)
    curve = _curve(event, chance, None if subject is None else groups, bins, confidence)
    brier, prevalence = float(np.mean((chance - event) ** 2)), float(event.mean())
    large = _recalibrated(event, ones[:, None], groups, [], odds, confidence)
    return Calibration(
        in_the_large=large,
        slope=_slope(event, odds, groups, confidence),
        error=float(np.average((curve["predicted"] - curve["observed"]).abs(), weights=curve["images"])),
        brier=brier,
        scaled_brier=1 - brier / (prevalence * (1 - prevalence)),
        curve=curve,
    )


def error_if_right(chance: np.ndarray, *, bins: int = 10, draws: int = 200, seed: int = 0) -> float:
    """The expected calibration error that chances (n,) have where they are right: what chance alone puts in the bins.

    The mean over `draws` of outcomes drawn from the chances themselves; `calibration` gives the error to set beside it.
    """
    inside = _bins(chance, bins)
    drawn = np.random.default_rng([seed, chance.size]).random((draws, chance.size)) < chance
    excess = np.stack([np.bincount(inside, weights=row - chance) for row in drawn])
    return float(np.abs(excess).sum(axis=1).mean() / chance.size)


def _bins(chance: np.ndarray, bins: int) -> np.ndarray:
    """Which of at most `bins` bins of equally many images each chance (n,) lies in; tied ones lie together."""
    ranked = np.sort(chance)
    # Every image tied with the first of a bin goes with it.
    edges = np.unique(ranked[np.arange(1, bins) * chance.size // bins])
    return np.searchsorted(edges, chance, side="right")


def _slope(event: np.ndarray, odds: np.ndarray, groups: np.ndarray, confidence: float) -> Estimate | None:
    if np.ptp(odds) == 0:
        return None
    # The log-odds held at slope 1 leave the coefficient as the difference from 1, and its test against 1.
    matrix = np.column_stack([odds - odds.mean(), np.ones(event.size)])
    beyond = _recalibrated(event, matrix, groups, ["the chance"], odds, confidence)
    return replace(beyond, value=beyond.value + 1, low=beyond.low + 1, high=beyond.high + 1)


def _recalibrated(
    event: np.ndarray, matrix: np.ndarray, groups: np.ndarray, names: list[str], odds: np.ndarray, confidence: float
) -> Estimate:
    """The first coefficient beside the log-odds that are held; without an interval where persons are too few."""
    lacking = too_few(event, groups) if persons(groups) < groups.size else ""
    if lacking:
        unknown = float("nan")
        return Estimate(float(fitted(event, matrix, odds)[0]), unknown, unknown, lacking)
    return coefficient(event, matrix, groups, names=names, offset=odds, confidence=confidence)


def _curve(
    event: np.ndarray, chance: np.ndarray, groups: np.ndarray | None, bins: int, confidence: float
) -> pd.DataFrame:
    inside = _bins(chance, bins)
    rows = []
    for part in np.unique(inside):
        chosen = inside == part
        share = proportion(event[chosen], None if groups is None else groups[chosen], confidence=confidence)
        rows.append((chance[chosen].mean(), share.value, share.low, share.high, int(chosen.sum())))
    return pd.DataFrame(rows, columns=["predicted", "observed", "low", "high", "images"])
