"""Time to an event: curves of those still free of it, and whether they differ between groups."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import chi2, norm
from scipy.stats import t as student

from anomaly.errors import EvaluationError
from anomaly.statistics.estimates import FEWEST_PERSONS, groups_of, persons

FEWEST_EVENTS = 10


@dataclass(frozen=True)
class Curve:
    """The share of one group still free of the event, a step at each time (k,), from time 0 with a share of 1.

    `low` and `high` are pointwise limits, `at_risk` those observed until just before each time, `events`
    those who have theirs at it. `times` (n,) are all of the group, for the numbers at risk elsewhere.
    """

    group: object
    time: np.ndarray
    free: np.ndarray
    low: np.ndarray
    high: np.ndarray
    at_risk: np.ndarray
    events: np.ndarray
    times: np.ndarray

    def numbers_at_risk(self, at: ArrayLike) -> np.ndarray:
        """How many of the group are still watched just before each of the times asked for."""
        return np.sum(self.times >= np.asarray(at, dtype=np.float64)[..., None], axis=-1)


@dataclass(frozen=True)
class LogRank:
    """Whether groups differ in their times to the event: chi-squared over `degrees`, and how it was made."""

    statistic: float
    degrees: int
    p_value: float
    method: str


def followed(time: ArrayLike, event: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Times and events as arrays fit for a figure: (n,) float64 and (n,) bool.

    Raises:
        EvaluationError: shapes differ, times that are negative, NaN or infinite, events other than 0/1, an event
            at time 0, fewer than `FEWEST_EVENTS` events.
    """
    times, events = np.asarray(time, dtype=np.float64), np.asarray(event)
    if times.ndim != 1 or times.shape != events.shape:
        raise EvaluationError(f"got times of shape {times.shape} and events of shape {events.shape}; give one of each")
    if not np.isin(events, (0, 1)).all():
        raise EvaluationError("event must be 1 where it was seen and 0 where follow-up ended before; recode it")
    bad = np.flatnonzero(~np.isfinite(times) | (times < 0))
    if bad.size:
        raise EvaluationError(
            f"{bad.size} of {times.size} times are negative, NaN or infinite (the first at position {bad[0]}); "
            "leave these images out"
        )
    events = events.astype(bool)
    if (events & (times == 0)).any():
        raise EvaluationError(
            f"{int((events & (times == 0)).sum())} images have their event at time 0: it was there at the start; "
            "leave them out"
        )
    if events.sum() < FEWEST_EVENTS:
        raise EvaluationError(f"{int(events.sum())} events: at least {FEWEST_EVENTS} are needed to say anything")
    return times, events


def finite_scores(score: ArrayLike, size: int) -> np.ndarray:
    """Scores (n,) as float64, all of them finite and as many as there are images."""
    values = np.asarray(score, dtype=np.float64)
    if values.shape != (size,) or not size:
        raise EvaluationError(f"got scores of shape {values.shape} for {size} images; give one score an image")
    bad = int((~np.isfinite(values)).sum())
    if bad:
        raise EvaluationError(f"{bad} of {size} scores are NaN or infinite; leave these images out or score them again")
    return values


def thirds(score: ArrayLike) -> np.ndarray:
    """The third (n,) each score lies in: "low", "middle" or "high"; equal scores stay together.

    Raises:
        EvaluationError: so many ties that a third is empty, NaN or infinite scores.
    """
    values = finite_scores(score, np.size(score))
    part = np.searchsorted(np.quantile(values, [1 / 3, 2 / 3]), values, side="left")
    if np.unique(part).size < 3:
        raise EvaluationError("too many scores tie to make three groups; compare groups of your own")
    return np.array(["low", "middle", "high"])[part]


def kaplan_meier(
    time: ArrayLike,
    event: ArrayLike,
    groups: ArrayLike | None = None,
    subject: ArrayLike | None = None,
    *,
    confidence: float = 0.95,
) -> list[Curve]:
    """The curve of each group, in the order in which groups sort; one curve without groups.

    Kaplan & Meier 1958; limits on the scale of log(-log), by Greenwood's variance, which takes every image as another
    person; where subjects repeat within a group, by the sum over subjects of the squares of what each adds (Williams
    1995, Biometrics 51; Ying & Wei 1994), with Student's t of the subjects less one, and none below ten subjects. A
    group without events has no limits, and they are NaN once nobody is left.

    Raises:
        EvaluationError: as `followed`; not one group an image.
    """
    times, events = followed(time, event)
    people = groups_of(subject, times.size)
    names = np.zeros(times.size, int) if groups is None else np.asarray(groups)
    parts = groups_of(names, times.size)
    curves = []
    for part, name in enumerate(np.unique(names)):
        chosen = parts == part
        curves.append(
            _curve("all" if groups is None else name, times[chosen], events[chosen], people[chosen], confidence)
        )
    return curves


def log_rank(time: ArrayLike, event: ArrayLike, groups: ArrayLike, subject: ArrayLike | None = None) -> LogRank:
    """Test that k groups have the same hazard of the event.

    Where each image is another subject, the log-rank test (Mantel 1966; Peto & Peto 1972), with the
    hypergeometric variance. Where subjects repeat that one would count them double, so the same observed
    less expected events are given their robust variance, summed by subject (Lin & Wei 1989, Journal of the
    American Statistical Association 84: the robust score test of a Cox model at no effect, Breslow's ties).

    Raises:
        EvaluationError: as `followed`; a single group; too few subjects with events for a variance.
    """
    times, events = followed(time, event)
    parts = groups_of(groups, times.size)
    people = groups_of(subject, times.size)
    if parts.max() == 0:
        raise EvaluationError("the log-rank test compares two groups at least, got one")
    repeated = persons(people) < times.size
    inside = (parts[:, None] == np.arange(1, parts.max() + 1)).astype(np.float64)
    residuals, variance = _score_residuals(times, events, inside)
    if repeated:
        sums = np.stack([np.bincount(people, weights=column) for column in residuals.T])
        variance = sums @ sums.T
    total = residuals.sum(axis=0)
    if np.linalg.matrix_rank(variance) < len(total):
        raise EvaluationError("the groups do not overlap in time, or too few subjects have events, to test them")
    statistic = float(total @ np.linalg.solve(variance, total))
    method = "log-rank, robust by subject (Lin & Wei)" if repeated else "log-rank"
    return LogRank(statistic, len(total), float(chi2.sf(statistic, len(total))), method)


def _curve(name: object, times: np.ndarray, events: np.ndarray, people: np.ndarray, confidence: float) -> Curve:
    steps = np.unique(times)
    at_risk = times.size - np.searchsorted(np.sort(times), steps)
    happened = np.bincount(np.searchsorted(steps, times), weights=events, minlength=steps.size)
    count = persons(people)
    with np.errstate(divide="ignore", invalid="ignore"):
        free = np.cumprod(1 - happened / at_risk)
        if count == times.size:
            spread = np.cumsum(happened / (at_risk * (at_risk - happened)))
            reach = norm.ppf(0.5 + confidence / 2)
        else:
            spread = _robust_spread(times, events, people, happened, at_risk)
            reach = student.ppf(0.5 + confidence / 2, count - 1) if count >= FEWEST_PERSONS else np.nan
        width = reach * np.sqrt(spread) / np.log(free)
        low, high = free ** np.exp(-width), free ** np.exp(width)
    # Before the first event nothing is known of the scatter.
    low, high = (np.where((free > 0) & (free < 1), end, np.nan) for end in (low, high))

    def from_start(values: np.ndarray, first: float) -> np.ndarray:
        return values if steps[0] == 0 else np.append(first, values)

    return Curve(
        name,
        from_start(steps, 0.0),
        from_start(free, 1.0),
        from_start(low, np.nan),
        from_start(high, np.nan),
        from_start(at_risk, times.size),
        from_start(happened, 0.0),
        times,
    )


def _robust_spread(
    times: np.ndarray, events: np.ndarray, people: np.ndarray, happened: np.ndarray, at_risk: np.ndarray
) -> np.ndarray:
    """The variance of the logarithm of the curve at each step (k,), persons counting together.

    Until time t an image adds its event over those who stayed, less the same of what was expected of it while it was
    at risk, G: of a person, a - r G(t), r its images still at risk and a what the others came to. Squares of a and r
    change at its own times alone, so that they are summed along them.
    """
    steps, step = np.unique(times, return_inverse=True)
    stayed = at_risk - happened
    per = np.where(stayed > 0, 1 / np.maximum(stayed, 1), 0.0)
    expected = np.cumsum(per * happened / at_risk)
    order = np.lexsort((times, people))
    whose, when = np.unique(people[order], return_inverse=True)[1], step[order]
    ended = (events[order] * per[when]) - expected[when]
    start = np.searchsorted(whose, whose)
    count, came = np.bincount(whose)[whose], np.cumsum(ended)
    after = came - np.append(0.0, came)[start]
    left = count - 1 - (np.arange(whose.size) - start)
    before, at_start = after - ended, left + 1
    changes = (after**2 - before**2, after * left - before * at_start, left**2 - at_start**2)
    first = float(np.sum(np.bincount(whose) ** 2))
    squares, cross, risks = (np.cumsum(np.bincount(when, each, steps.size)) for each in changes)
    variance = squares - 2 * cross * expected + (first + risks) * expected**2
    number = int(whose[-1]) + 1
    return np.maximum(variance, 0.0) * number / max(number - 1, 1)


def _score_residuals(times: np.ndarray, events: np.ndarray, inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What each image adds to observed less expected events of each group (n, k - 1), and their null variance."""
    steps, happened = np.unique(times[events], return_counts=True)
    order = np.argsort(times)
    later = np.searchsorted(times[order], steps)
    left = np.cumsum(inside[order][::-1], axis=0)[::-1]
    at_risk = times.size - later
    share = left[later] / at_risk[:, None]
    hazard = happened / at_risk
    known = np.searchsorted(steps, times, side="right")  # steps at or before each time
    total = np.append(0.0, np.cumsum(hazard))[known]
    expected = np.vstack([np.zeros(inside.shape[1]), np.cumsum(share * hazard[:, None], axis=0)])[known]
    residuals = expected - inside * total[:, None]
    residuals[events] += inside[events] - share[known[events] - 1]
    spread = np.einsum("ki,ij->kij", share, np.eye(share.shape[1])) - share[:, :, None] * share[:, None, :]
    weight = happened * (at_risk - happened) / np.maximum(at_risk - 1, 1)
    return residuals, np.einsum("k,kij->ij", weight, spread)
