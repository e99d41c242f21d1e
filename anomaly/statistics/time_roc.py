"""How well a score tells, at a given time, those who have had the event from those still free of it."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from anomaly.errors import EvaluationError
from anomaly.statistics.estimates import Estimate, groups_of
from anomaly.statistics.resampling import bootstrap
from anomaly.statistics.survival import FEWEST_EVENTS, finite_scores, followed


def time_dependent_auroc(
    time: ArrayLike,
    event: ArrayLike,
    score: ArrayLike,
    at: float | Sequence[float],
    subject: ArrayLike | None = None,
    *,
    repeats: int = 500,
    seed: int = 0,
    confidence: float = 0.95,
) -> list[Estimate]:
    """AUROC at each of the times `at`: those with the event by then against those free of it after, ties one half.

    Cumulative cases, dynamic controls (Uno et al. 2007, Journal of the American Statistical Association 102;
    Hung & Chiang 2010). Who left before `at` counts as neither; who was last seen at it, free of the event, is
    a control, as is everybody who stayed to the last of visits at fixed times. A case weighs the inverse of the
    chance of still being watched just before its event (Kaplan-Meier of leaving; an event comes before a leaving
    at the same time). This supposes that leaving has nothing to do with the score. Intervals draw whole
    subjects anew, and the weights with them.

    Raises:
        EvaluationError: as `followed`; scores that are not finite; fewer than ten events by one of the times, or
            fewer than ten images watched free of it until then.
    """
    times, events = followed(time, event)
    values, groups = finite_scores(score, times.size), groups_of(subject, times.size)
    estimates = []
    for moment in np.atleast_1d(np.asarray(at, dtype=np.float64)):
        case = events & (times <= moment)
        control = (times > moment) | (~events & (times == moment))
        if min(case.sum(), control.sum()) < FEWEST_EVENTS:
            raise EvaluationError(
                f"at time {moment:g} {int(case.sum())} images have had the event and {int(control.sum())} are watched "
                f"free of it: {FEWEST_EVENTS} of each are needed; ask for another time"
            )
        statistic = _weighted_auroc(times, events, values, case, control)
        found = bootstrap(statistic, groups, case, repeats=repeats, seed=seed, confidence=confidence)
        estimates.append(replace(found, method=f"weighted by inverse censoring, {found.method}"))
    return estimates


def _weighted_auroc(
    times: np.ndarray, events: np.ndarray, values: np.ndarray, case: np.ndarray, control: np.ndarray
) -> Callable[[np.ndarray], np.ndarray]:
    """The AUROC of B weighted samples at once."""
    order = np.argsort(values, kind="stable")
    ranked = values[order]
    first, last = (np.searchsorted(ranked, values[case], side=side) for side in ("left", "right"))
    watched = _watched(times, events)

    def statistic(weights: np.ndarray) -> np.ndarray:
        counted = np.cumsum((weights * control)[:, order], axis=1)
        below = np.concatenate([np.zeros((len(weights), 1)), counted], axis=1)
        cases = weights[:, case] / watched(weights)[:, case]
        beaten = np.sum(cases * (below[:, first] + below[:, last]), axis=1) / 2
        return beaten / (cases.sum(axis=1) * counted[:, -1])

    return statistic


def _watched(times: np.ndarray, events: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """The chance (B, n) of not having left just before each image's time, under weights (B, n)."""
    order = np.lexsort((~events, times))
    ordered = times[order]
    before = np.searchsorted(ordered, times, side="left")
    steps, group = np.unique(ordered, return_inverse=True)
    start = np.searchsorted(ordered, steps)

    def chance(weights: np.ndarray) -> np.ndarray:
        drawn = weights[:, order]
        left = np.add.reduceat(drawn * ~events[order], start, axis=1)
        ended = np.add.reduceat(drawn * events[order], start, axis=1)
        at_risk = np.cumsum((left + ended)[:, ::-1], axis=1)[:, ::-1] - ended
        stay = np.cumprod(1 - left / np.maximum(at_risk, 1), axis=1)
        earlier = np.concatenate([np.ones((len(weights), 1)), stay], axis=1)
        return earlier[:, np.append(group, steps.size)[before]]

    return chance
