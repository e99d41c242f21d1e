"""Average precision with an interval that counts persons, by what each of them adds to it."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.integrate import quad

from anomaly.statistics.auroc import separated
from anomaly.statistics.estimates import (
    FEWEST_PERSONS,
    Estimate,
    freedom_of,
    groups_of,
    on_log_odds,
    too_few,
)
from anomaly.statistics.metrics import checked


def average_precision_interval(
    outcome: ArrayLike,
    score: ArrayLike,
    subject: ArrayLike | None = None,
    *,
    confidence: float = 0.95,
    fewest: int = FEWEST_PERSONS,
) -> Estimate:
    """Average precision (as `metrics.average_precision`) with its 95 % interval, persons counting, not images.

    The variance is the sum over subjects of the squares of what each adds to the figure (its influence: the
    derivative by how much its images weigh; the infinitesimal jackknife of Efron 1982). The interval is made on the
    log-odds with a quantile of Student's t. Drawing subjects anew covers 68 to 90 % instead of 95: a draw holds an
    event several times at one score, which raises its precision. Where the classes do not overlap the figure is 1
    and the variance 0: the lower end is then that of the AUROC (`auroc_interval`), taken to the average precision
    that a score of this AUROC has at this prevalence if scores follow exponential distributions, as that interval
    supposes. Below `fewest` subjects of a class there is no interval.
    """
    event, value = checked(outcome, score)
    groups = groups_of(subject, event.size)
    found, influence = _influence(event, value)
    parts = np.bincount(groups, weights=influence)
    variance = parts.size / max(parts.size - 1, 1) * float(np.sum(parts**2))
    if lacking := too_few(event, groups, fewest):
        return Estimate(found, float("nan"), float("nan"), lacking, variance)
    if variance == 0 or found >= 1:
        area = separated(event, groups, 1.0, confidence)
        return Estimate(found, _of_exponential(area.low, float(event.mean())), 1.0, area.method)
    low, high = on_log_odds(found, float(np.sqrt(variance)), freedom_of(parts), confidence)
    method = "influence of images" if subject is None else "influence of subjects"
    return Estimate(found, low, high, f"{method}, logit scale, t", variance)


def _influence(event: np.ndarray, value: np.ndarray) -> tuple[float, np.ndarray]:
    """The average precision, and its derivative (n,) by the weight of each image.

    With R the events and C the images at or above a score, it is the mean of R / C over the events. An image adds to
    C for itself and all events below it, and to R if it is an event.
    """
    order = np.argsort(-value, kind="stable")
    last = np.append(np.flatnonzero(np.diff(value[order])), value.size - 1)
    step = np.searchsorted(last, np.arange(value.size))
    right, called = np.cumsum(event[order])[last].astype(np.float64), last + 1.0
    gained, total = np.diff(right, prepend=0.0), float(event.sum())
    found = float(np.sum(gained * right / called) / total)
    by_right, by_called = (np.cumsum((gained * each)[::-1])[::-1] for each in (1 / called, right / called**2))
    case = event[order]
    moved = case * ((right / called + by_right)[step] - found)
    influence = np.empty(value.size)
    influence[order] = (moved - by_called[step]) / total
    return found, influence


def _of_exponential(auroc: float, prevalence: float) -> float:
    """The average precision of scores of exponential distributions with this AUROC.

    The share of the controls above the score that a share s of the cases is above is s to the odds of the AUROC.
    """
    power = auroc / (1 - auroc)
    return float(quad(lambda s: prevalence * s / (prevalence * s + (1 - prevalence) * s**power), 0, 1)[0])
