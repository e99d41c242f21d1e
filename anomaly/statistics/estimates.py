"""What every interval and test here gives, and whose each image is."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import norm

from anomaly.errors import EvaluationError

ROUNDING = 1e-9


@dataclass(frozen=True)
class Estimate:
    """A figure with its interval: `variance` and `p_value` are NaN where the method gives none."""

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


def two_sided(difference: float, error: float) -> tuple[float, float]:
    """z and p of a difference from zero; no spread and no difference is z = 0, p = 1."""
    if error <= ROUNDING:
        z = 0.0 if abs(difference) <= ROUNDING else float(np.copysign(np.inf, difference))
    else:
        z = difference / error
    return z, float(2 * norm.sf(abs(z)))
