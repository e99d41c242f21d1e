"""Sensitivity at a specificity that is fixed, with an interval that counts the uncertainty of the threshold."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from anomaly.errors import EvaluationError
from anomaly.statistics.estimates import (
    FEWEST_PERSONS,
    ROUNDING,
    Estimate,
    freedom_of,
    groups_of,
    on_log_odds,
    persons,
    too_few,
)
from anomaly.statistics.metrics import checked, sensitivity_at_specificity, threshold_at_specificity
from anomaly.statistics.resampling import bootstrap
from anomaly.statistics.shares import wilson

# Of so many subjects with the event and without it the formula and the draws agree, and draws take long.
DRAWN_UP_TO = 2000
# A threshold that fewer subjects without the event are expected to pass is not known.
FEWEST_ABOVE = 1.5


def sensitivity_interval(
    outcome: ArrayLike,
    score: ArrayLike,
    specificity: float,
    subject: ArrayLike | None = None,
    *,
    repeats: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
    fewest: int = FEWEST_PERSONS,
) -> Estimate:
    """Sensitivity at a fixed specificity (as `metrics.sensitivity_at_specificity`), with its interval.

    Whole subjects are drawn anew and the threshold is set again on each draw's controls, so its
    uncertainty is counted in. Where all draws agree (all events found, or none) Wilson's interval over
    the subjects with events takes the bootstrap's place. Where each class has more than `DRAWN_UP_TO` subjects,
    nothing is drawn: see `_by_slope`. No interval below `fewest` subjects of a class, nor where fewer than
    1.5 / (1 - specificity) subjects without the event (15 for 90 %, 30 for 95 %) set the threshold.
    """
    event, value = checked(outcome, score)
    groups = groups_of(subject, event.size)
    statistic = _weighted_sensitivity(event, value, specificity)
    cases, controls = (persons(groups[chosen]) for chosen in (event, ~event))
    lacking = too_few(event, groups, fewest)
    if not lacking and fewest >= FEWEST_PERSONS and controls * (1 - specificity) < FEWEST_ABOVE - ROUNDING:
        needed = f"{np.ceil(FEWEST_ABOVE / (1 - specificity) - ROUNDING):.0f}" if specificity < 1 else "endless"
        lacking = f"no interval: {controls} persons without the event set the threshold, {needed} are needed"
    if lacking:
        return Estimate(float(statistic(np.ones((1, event.size)))[0]), float("nan"), float("nan"), lacking)
    if min(cases, controls) > DRAWN_UP_TO:
        found = _by_slope(event, value, specificity, groups, confidence)
        if found is not None:
            return found
    estimate = bootstrap(statistic, groups, event, repeats=repeats, seed=seed, confidence=confidence)
    if estimate.low < estimate.high:
        return estimate
    low, high = wilson(estimate.value, cases, confidence)
    return replace(estimate, low=low, high=high, method="Wilson")


def _by_slope(
    event: np.ndarray, value: np.ndarray, specificity: float, groups: np.ndarray, confidence: float
) -> Estimate | None:
    """The interval of many subjects, by what each adds; nothing where the sensitivity or its slope is at an end.

    A case adds whether it is found; a control whether it lies above the threshold, times the slope of the ROC curve
    there (Pepe 2003, section 5.2.2): the difference of sensitivities at two standard errors of the specificity to
    either side, over that of the specificities.
    """
    threshold = threshold_at_specificity(event, value, specificity)
    found, above = sensitivity_at_specificity(event, value, specificity), value > threshold
    cases, controls = int(event.sum()), int((~event).sum())
    parts = np.bincount(groups, weights=(above - (1 - specificity)) * ~event) / controls
    reach = 2 * float(np.sqrt(np.sum(parts**2)))
    ranked = np.sort(value[~event])
    ends = [ranked[int(np.clip(np.ceil(at * controls) - 1, 0, controls - 1))] for at in specificity + reach * _SIDES]
    caught = [np.mean(value[event] > end) for end in ends]
    false = [np.mean(value[~event] > end) for end in ends]
    if not 0 < found < 1 or false[0] <= false[1]:
        return None
    slope = (caught[0] - caught[1]) / (false[0] - false[1])
    influence = np.bincount(groups, weights=(above - found) * event) / cases - slope * parts
    variance = groups.max() / max(groups.max() - 1, 1) * float(np.sum(influence**2))
    low, high = on_log_odds(found, float(np.sqrt(variance)), freedom_of(influence), confidence)
    return Estimate(found, low, high, "influence of subjects, logit scale, t", variance)


_SIDES = np.array([-1.0, 1.0])


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
        threshold = np.sum(below < specificity * below[:, -1:] - ROUNDING, axis=1)
        missed = np.cumsum(weights[:, cases], axis=1)
        before = not_above[threshold]
        share = np.take_along_axis(missed, np.maximum(before - 1, 0)[:, None], axis=1)[:, 0] / missed[:, -1]
        return 1 - np.where(before > 0, share, 0.0)

    return statistic
