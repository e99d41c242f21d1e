"""What every interval and test here gives, and whose each image is."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import norm
from scipy.stats import t as student

from anomaly.errors import EvaluationError

ROUNDING = 1e-9
# With fewer persons of a class the variance between them is known too badly for an interval to keep its promise.
FEWEST_PERSONS = 10


@dataclass(frozen=True)
class Estimate:
    """A figure with its interval: `variance` and `p_value` are NaN where the method gives none.

    `low` and `high` are both NaN where there is no honest interval at this size; then `method` says why.
    """

    value: float
    low: float
    high: float
    method: str
    variance: float = float("nan")
    p_value: float = float("nan")


@dataclass(frozen=True)
class Comparison:
    """The difference of two figures of the same images, first minus second, with its test against zero."""

    difference: float
    low: float
    high: float
    z: float
    p_value: float
    method: str


def groups_of(subject: ArrayLike | None, size: int) -> np.ndarray:
    """Subjects as 0, 1, 2 ...; each image its own subject when none are given."""
    if subject is None:
        return np.arange(size)
    names = np.asarray(subject)
    if names.shape != (size,):
        raise EvaluationError(f"got subjects of shape {names.shape} for {size} images; give one subject an image")
    return np.unique(names, return_inverse=True)[1]


def persons(groups: np.ndarray) -> int:
    """How many persons there are among images (n,) of persons numbered from 0."""
    return int(np.count_nonzero(np.bincount(groups)))


def too_few(outcome: np.ndarray, groups: np.ndarray, fewest: int = FEWEST_PERSONS) -> str:
    """Why images (n,) of these persons (n,), numbered from 0, allow no interval; nothing where they do.

    Persons with images of both classes count in each, but twice as many are needed in all.
    """
    event = outcome.astype(bool)
    cases, controls, everyone = (persons(groups[chosen]) for chosen in (event, ~event, slice(None)))
    if min(cases, controls, everyone / 2) >= fewest:
        return ""
    have = f"{everyone} persons, {cases} with the event and {controls} without"
    if (both := cases + controls - everyone) > 0:
        have += f" ({'all' if both == everyone else both} have images of both and count in each)"
    return f"no interval: {have}; {fewest} of each and {2 * fewest} in all are needed"


def require_persons(outcome: np.ndarray, groups: np.ndarray) -> None:
    """An error where images repeat persons and these are `too_few`."""
    reason = too_few(outcome, groups) if persons(groups) < groups.size else ""
    if reason:
        raise EvaluationError(f"{reason}; gather more people, more images of the same ones do not help")


def on_log_odds(value: float, error: float, freedom: float, confidence: float) -> tuple[float, float]:
    """Ends of the interval of a share between 0 and 1, symmetric on the log-odds, with a quantile of Student's t."""
    centre = float(np.log(value / (1 - value)))
    step = float(student.ppf(0.5 + confidence / 2, freedom)) * error / (value * (1 - value))
    low, high = 1 / (1 + np.exp([step - centre, -step - centre]))
    return float(low), float(high)


def freedom_of(influence: np.ndarray, variance: float | None = None) -> float:
    """Degrees of freedom of a variance made of the squares of what each person adds (K,): many where all weigh alike.

    A variance v with f degrees has itself the variance 2 v^2 / f, which is estimated here from the fourth powers. On
    the log-odds part of that error cancels, since the estimate and its variance move together; twice the degrees
    covers best in simulation (the benchmarks of the statistics say how this was chosen). `variance` is the sum of
    squares where nothing else is given.
    """
    squares = float(np.sum(influence**2))
    spread = float(np.sum(influence**4)) - squares**2 / influence.size
    return max(1.0, 4 * (squares if variance is None else variance) ** 2 / spread) if spread > 0 else float("inf")


def two_sided(difference: float, error: float) -> tuple[float, float]:
    """z and p of a difference from zero; no spread and no difference is z = 0, p = 1."""
    if error <= ROUNDING:
        z = 0.0 if abs(difference) <= ROUNDING else float(np.copysign(np.inf, difference))
    else:
        z = difference / error
    return z, float(2 * norm.sf(abs(z)))


def between(low: float, high: float, form: str = ".2f") -> str:
    """The ends of an interval as they stand in a sentence, or that there is none at this size."""
    return f"{low:{form}} to {high:{form}}" if np.isfinite([low, high]).all() else "no interval with so few persons"
