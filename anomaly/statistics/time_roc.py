"""How well a score tells, at a given time, those who have had the event from those still free of it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from anomaly.errors import EvaluationError
from anomaly.statistics.auroc import separated
from anomaly.statistics.estimates import FEWEST_PERSONS, Estimate, freedom_of, groups_of, on_log_odds, too_few
from anomaly.statistics.survival import FEWEST_EVENTS, finite_scores, followed


def time_dependent_auroc(
    time: ArrayLike,
    event: ArrayLike,
    score: ArrayLike,
    at: float | Sequence[float],
    subject: ArrayLike | None = None,
    *,
    confidence: float = 0.95,
    fewest: int = FEWEST_PERSONS,
) -> list[Estimate]:
    """AUROC at each of the times `at`: those with the event by then against those free of it after, ties one half.

    Cumulative cases, dynamic controls (Uno et al. 2007, Journal of the American Statistical Association 102;
    Hung & Chiang 2010). Who left before `at` counts as neither; who was last seen at it, free of the event, is
    a control, as is everybody who stayed to the last of visits at fixed times. A case weighs the inverse of the
    chance of still being watched just before its event (Kaplan-Meier of leaving; an event comes before a leaving
    at the same time). This supposes that leaving has nothing to do with the score.

    The interval is made on the log-odds with Student's t, from the squares of what each subject adds: its cases, its
    controls, and what its leaving or staying moves the weights (Blanche, Dartigues & Jacqmin-Gadda 2013, Statistics in
    Medicine 32). Below `fewest` subjects on either side there is none.

    Raises:
        EvaluationError: as `followed`; scores that are not finite; fewer than ten events by one of the times, or
            fewer than ten images watched free of it until then.
    """
    times, events = followed(time, event)
    values, groups = finite_scores(score, times.size), groups_of(subject, times.size)
    leaving = _Leaving(times, events)
    return [
        _at(float(moment), times, events, values, groups, leaving, confidence, fewest)
        for moment in np.atleast_1d(np.asarray(at, dtype=np.float64))
    ]


def _at(
    moment: float,
    times: np.ndarray,
    events: np.ndarray,
    values: np.ndarray,
    groups: np.ndarray,
    leaving: "_Leaving",
    confidence: float,
    fewest: int,
) -> Estimate:
    case = events & (times <= moment)
    control = (times > moment) | (~events & (times == moment))
    if min(case.sum(), control.sum()) < FEWEST_EVENTS:
        raise EvaluationError(
            f"at time {moment:g} {int(case.sum())} images have had the event and {int(control.sum())} are watched "
            f"free of it: {FEWEST_EVENTS} of each are needed; ask for another time"
        )
    weight = np.where(case, 1 / leaving.watched, control)
    weight /= np.where(case, weight[case].sum(), control.sum())
    deviation = np.zeros(times.size)
    deviation[case] = _share_below(values[case], values[control], weight[control])
    found = float(np.sum((weight * deviation)[case]))
    deviation[control] = 1 - _share_below(values[control], values[case], weight[case])
    influence = weight * (deviation - found) * (case | control)
    influence += leaving.moved(influence * case)
    parts = np.bincount(groups, weights=influence)
    variance = parts.size / max(parts.size - 1, 1) * float(np.sum(parts**2))
    either = case | control
    if lacking := too_few(case[either], groups[either], fewest):
        return Estimate(found, float("nan"), float("nan"), lacking, variance)
    if not 0 < found < 1 or variance == 0:
        return separated(case[either], groups[either], float(round(found)), confidence)
    low, high = on_log_odds(found, float(np.sqrt(variance)), freedom_of(parts), confidence)
    return Estimate(found, low, high, "weighted by inverse censoring, influence of subjects, logit scale, t", variance)


def _share_below(values: np.ndarray, others: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """For each value the share, by weights that add up to one, of the others below it, ties one half."""
    order = np.argsort(others, kind="stable")
    summed = np.append(0.0, np.cumsum(weights[order]))
    ranked = others[order]
    low, high = (summed[np.searchsorted(ranked, values, side=side)] for side in ("left", "right"))
    return (low + high) / 2


class _Leaving:
    """The Kaplan-Meier curve of leaving: the chance (n,) of being watched until just before each image's time."""

    def __init__(self, times: np.ndarray, events: np.ndarray) -> None:
        self.steps, self.step = np.unique(times, return_inverse=True)
        self.left = ~events
        count = np.bincount(self.step)
        leaving = np.bincount(self.step, weights=self.left)
        # An event comes before a leaving at the same time: it is no longer at risk of leaving then.
        at_risk = np.cumsum(count[::-1])[::-1] - (count - leaving)
        self.hazard = leaving / np.maximum(at_risk, 1)
        self.staying = at_risk - leaving
        self.watched = np.append(1.0, np.cumprod(1 - self.hazard))[self.step]

    def moved(self, share: np.ndarray) -> np.ndarray:
        """What each image (n,) moves by leaving or staying, where those who had the event hold these shares (n,).

        A weight is the inverse of the curve just before its time, and the logarithm of the curve moves by
        - (left - watched * hazard) / staying at each step.
        """
        later = np.append(np.cumsum(np.bincount(self.step, weights=share)[::-1])[::-1][1:], 0.0)
        per = np.where(self.staying > 0, later / np.maximum(self.staying, 1), 0.0)
        lived = np.append(0.0, np.cumsum(per * self.hazard))
        return np.where(self.left, per[self.step], 0.0) - lived[self.step + self.left]
