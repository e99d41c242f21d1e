"""Figures with their intervals as they stand in sentences, and means of which too few persons allow none."""

from typing import Any

import numpy as np

from anomaly.errors import EvaluationError
from anomaly.statistics.estimates import Estimate, between
from anomaly.statistics.linear import mean_with_interval

_LONGEST = 6
"""Figures with more zeros than these before or behind the point are told as powers of ten."""


def signed(row: dict[str, Any], name: str) -> str:
    """A figure of a table's row with its sign."""
    return _figure(row[name], row[f"{name}_low"], row[f"{name}_high"], "+")


def wide(found: Estimate) -> str:
    """An estimate with its sign."""
    return _figure(found.value, found.low, found.high, "+")


def digits(found: Estimate) -> str:
    """An estimate that has no sign."""
    return _figure(found.value, found.low, found.high, "")


def _figure(value: float, low: float, high: float, sign: str) -> str:
    """A figure and its interval with one number of decimals, three digits of the largest of them."""
    largest = max((abs(each) for each in (value, low, high) if np.isfinite(each)), default=0.0)
    first = int(np.floor(np.log10(largest))) if largest > 0 else 0
    form = f"{sign}.{max(2 - first, 0)}f" if -_LONGEST < first < _LONGEST else f"{sign}.3g"
    return f"{value:{form}} ({between(low, high, form)})"


def mean_of(values: np.ndarray, subject: np.ndarray) -> Estimate:
    """The mean of values (n,) of persons (n,); without an interval, and why, where these are too few."""
    try:
        return mean_with_interval(values, np.unique(subject.astype(str), return_inverse=True)[1])
    except EvaluationError as error:
        return Estimate(float(values.mean()) if values.size else np.nan, np.nan, np.nan, str(error))
