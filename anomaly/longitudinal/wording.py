"""Figures with their intervals as they stand in sentences, and means of which too few persons allow none."""

from typing import Any

import numpy as np

from anomaly.errors import EvaluationError
from anomaly.statistics.estimates import Estimate, between
from anomaly.statistics.linear import mean_with_interval


def signed(row: dict[str, Any], name: str) -> str:
    """A figure of a table's row with its sign."""
    return f"{row[name]:+.3g} ({between(row[f'{name}_low'], row[f'{name}_high'], '+.3g')})"


def wide(found: Estimate) -> str:
    """An estimate with its sign."""
    return f"{found.value:+.3g} ({between(found.low, found.high, '+.3g')})"


def digits(found: Estimate) -> str:
    """An estimate that has no sign."""
    return f"{found.value:.3g} ({between(found.low, found.high, '.3g')})"


def mean_of(values: np.ndarray, subject: np.ndarray) -> Estimate:
    """The mean of values (n,) of persons (n,); without an interval, and why, where these are too few."""
    try:
        return mean_with_interval(values, np.unique(subject.astype(str), return_inverse=True)[1])
    except EvaluationError as error:
        return Estimate(float(values.mean()) if values.size else np.nan, np.nan, np.nan, str(error))
