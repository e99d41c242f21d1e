"""Maps of the change between two visits: the last image of each person, side and contrast beside the first."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from anomaly.cohorts import joining
from anomaly.cohorts.results import plain_text, some
from anomaly.cohorts.visits import visit_pairs
from anomaly.errors import EvaluationError

BEFORE, YEARS = "map_before", "years"


@dataclass(frozen=True, kw_only=True)
class Pairing:
    """How visits are paired: columns of the cohort, as `anomaly.cohorts.visits.visit_pairs` takes them.

    Args:
        annual: whether changes are divided by the years between both visits.
    """

    visits: str
    visit_unit: str | None = None
    visit_order: Sequence[str] = ()
    date: str | None = None
    annual: bool = False


def follow_ups(
    listed: pd.DataFrame,
    people: pd.DataFrame,
    asked: Pairing,
    *,
    subject: str | None,
    outcomes: Sequence[str],
    notes: list[str],
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Of maps and rows of the cohort (in one order) the last of each person, side and contrast.

    Returns:
        The maps with a column of those at the first visit and of the years between; the rows as they are at the first
        visit, with what is empty there taken from the last.

    Raises:
        CohortError: the visits tell no time, or nobody was seen twice.
        EvaluationError: there is no column of persons; years are not known, and changes a year are asked for.
    """
    name = subject or "subject"
    column = people[name] if name in people else listed[name] if name in listed else None
    if column is None:
        raise EvaluationError(f"visits are of persons, and there is no column {name!r}; name the column of persons")
    paths = listed["path"] if "path" in listed else listed["map"]
    table = people.assign(id=listed["id"], path=paths, subject=column.astype(object).where(column.notna(), None))
    found = visit_pairs(
        table, visit=asked.visits, date=asked.date, unit=asked.visit_unit, order=list(asked.visit_order) or None,
        which="last",
    )  # fmt: skip
    notes += found.told()
    pairs = found.pairs
    if asked.annual and pairs["years"].isna().any():
        raise EvaluationError(
            f"nobody says how long the {found.unit or 'units'} of {asked.visits} are, so that there is no change a "
            "year; give the unit of the visits, or leave annual out"
        )
    last, first = pairs["row"].to_numpy(), pairs["baseline_row"].to_numpy()
    maps = listed.iloc[last].reset_index(drop=True)
    maps[BEFORE] = listed["map"].to_numpy()[first]
    maps["map"] = maps["map"].where(maps[BEFORE].notna(), None)
    if asked.annual:
        maps[YEARS] = pairs["years"].to_numpy()
    before, after = (table.iloc[rows].reset_index(drop=True) for rows in (first, last))
    whole = before.astype(object).where(before.notna(), after.astype(object)).infer_objects()
    for outcome in outcomes:
        _refuse_changed(whole, before, after, outcome, notes)
    return maps, whole.assign(id=maps["id"])


def _refuse_changed(
    whole: pd.DataFrame, before: pd.DataFrame, after: pd.DataFrame, outcome: str, notes: list[str]
) -> None:
    """Take away outcomes that differ between both visits of a pair, and name them."""
    joining.require(whole, [outcome])
    both = before[outcome].notna() & after[outcome].notna()
    unlike = both & (before[outcome].map(plain_text) != after[outcome].map(plain_text))
    if unlike.any():
        notes.append(
            f"Of {int(unlike.sum())} pairs {outcome} differs between the visits ({some(after.loc[unlike, 'id'])}); "
            "they were left out. Where it is told at each visit, make a column of what became of it."
        )
        whole.loc[unlike, outcome] = np.nan


def facts(asked: Pairing | None) -> dict[str, Any]:
    """What is written of it."""
    if asked is None:
        return {}
    return {"visits": asked.visits, "visit_unit": asked.visit_unit, "visit_order": list(asked.visit_order)} | {
        "date": asked.date, "annual": asked.annual,
    }  # fmt: skip
