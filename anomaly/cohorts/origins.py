"""Whose each row of a cohort is, and how long after the first visit of that person it was taken."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from anomaly.cohorts.times import times_of
from anomaly.cohorts.visits import SIDES
from anomaly.errors import EvaluationError

_USUAL = 0.5
"""Share of persons that start at one visit, from which on it is the first one of the study."""


@dataclass(frozen=True)
class Since:
    """Time since the first visit of each person.

    Args:
        values: (n,) in years where the visits tell years, else in their own units; NaN where a row has no person or
            tells no time.
        astray: mask (n,) of rows of persons who come later than the visit at which most of a study start: what
            happened is counted from a visit that is not in the table.
        yearly: whether they are years.
    """

    values: np.ndarray
    astray: np.ndarray
    yearly: bool


def persons_of(people: pd.DataFrame, scored: pd.DataFrame, subject: str | None) -> pd.Series:
    """Whose each image is, by the cohort or else by the scores; None where nothing says.

    Raises:
        EvaluationError: neither has the column.
    """
    name = subject or "subject"
    column = people[name] if name in people else scored[name] if name in scored else None
    if column is None:
        raise EvaluationError(
            f"neither the cohort nor the scores have a column {name!r}, and visits are of persons; name the column"
        )
    return column.astype(object).where(column.notna(), None)


def keys_of(table: pd.DataFrame, persons: pd.Series) -> pd.Series:
    """Person and side (where there is a column of sides) of each row as a tuple of texts; None without a person."""
    side = next((name for name in SIDES if name in table), None)
    sides = [()] * len(table) if side is None else [(str(each),) for each in table[side]]
    found = [None if one is None else (str(one), *other) for one, other in zip(persons, sides, strict=True)]
    return pd.Series(found, index=table.index, dtype=object)


def since_first(
    table: pd.DataFrame,
    persons: pd.Series,
    *,
    visit: str,
    date: str | None = None,
    unit: str | None = None,
    order: Sequence[str] = (),
) -> Since:
    """How long after the first visit of its person each row (n,) of a table was taken, whether or not it has an image.

    Args:
        visit, date, unit, order: as in `anomaly.cohorts.visits.visit_pairs`.

    Raises:
        CohortError: the column of visits tells no time.
    """
    times = times_of(table[visit], unit=unit, order=list(order) or None) if date is None else times_of(table[date])
    yearly = bool(np.isfinite(times.per_year))
    values = times.values / (times.per_year if yearly else 1.0)
    rows = pd.DataFrame({"person": persons.to_numpy(), "time": values})
    first = rows.groupby("person")["time"].transform("min").to_numpy(dtype=float)
    starts = rows.groupby("person")["time"].min().dropna().round(3)
    usual = starts.value_counts()
    astray = np.zeros(len(table), bool)
    if len(usual) and usual.iloc[0] >= max(_USUAL * len(starts), 2):
        astray = first > float(usual.index[0]) + 1e-3
    return Since(values - first, astray, yearly)
