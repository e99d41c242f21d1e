"""Maps of the change between two visits: the last image of each person, side and contrast beside the first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from anomaly.cohorts import joining
from anomaly.cohorts.origins import keys_of, persons_of, since_first
from anomaly.cohorts.outcomes import outcomes_of
from anomaly.cohorts.results import plain_text
from anomaly.cohorts.visits import visit_pairs
from anomaly.errors import EvaluationError

BEFORE, YEARS = "map_before", "years"
BY_VISIT = "outcomes told at each visit"
"""Attribute of the rows that come back: the columns that were read as told anew at each visit."""


@dataclass(frozen=True, kw_only=True)
class Pairing:
    """How visits are paired: columns of the cohort, as `anomaly.cohorts.visits.visit_pairs` takes them.

    Args:
        annual: whether changes are divided by the years between both visits.
        outcome_at: "visit" where outcomes are told at each visit, "person" where once.
    """

    visits: str
    visit_unit: str | None = None
    visit_order: Sequence[str] = ()
    date: str | None = None
    annual: bool = False
    outcome_at: str | None = None


def follow_ups(
    listed: pd.DataFrame,
    people: pd.DataFrame,
    asked: Pairing,
    *,
    cohort: pd.DataFrame,
    subject: str | None,
    outcomes: Mapping[str, str | None],
    notes: list[str],
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Of maps and rows of the cohort (in one order) the last of each person, side and contrast that has a map.

    Args:
        cohort: every row of the cohort, those without a map and those not asked about too; outcomes are taken from
            whichever has them, as `anomaly.cohorts.outcomes.outcomes_of` reads them.
        outcomes: columns of outcomes, and which value is the event where they hold no 0 and 1.

    Returns:
        The maps with a column of those at the first visit and of the years between; the rows as they are at the first
        visit, with what is empty there taken from the last, and outcomes as 0 and 1 (or the event, and "other").

    Raises:
        CohortError: the visits tell no time, or nobody was seen twice.
        EvaluationError: there is no column of persons; years are not known, and changes a year are asked for; nobody
            can say whether an outcome is told at each visit.
    """
    persons = persons_of(people, listed, subject)
    table = people.assign(id=listed["id"], path=listed["path"] if "path" in listed else listed["map"], subject=persons)
    mapped = np.flatnonzero(listed["map"].notna())
    if len(mapped) < len(listed):
        joining.note_unknown(listed.loc[listed["map"].isna(), "id"], "the map", notes)
    found = visit_pairs(
        table.iloc[mapped].reset_index(drop=True), visit=asked.visits, date=asked.date, unit=asked.visit_unit,
        order=list(asked.visit_order) or None, which="last",
    )  # fmt: skip
    notes += found.told()
    pairs = found.pairs
    if asked.annual and pairs["years"].isna().any():
        raise EvaluationError(
            f"nobody says how long the {found.unit or 'units'} of {asked.visits} are, so that there is no change a "
            "year; give the unit of the visits, or leave annual out"
        )
    last, first = mapped[pairs["row"]], mapped[pairs["baseline_row"]]
    maps = listed.iloc[last].reset_index(drop=True)
    maps[BEFORE] = listed["map"].to_numpy()[first]
    if asked.annual:
        maps[YEARS] = pairs["years"].to_numpy()
    before, after = (table.iloc[rows].reset_index(drop=True) for rows in (first, last))
    whole = before.astype(object).where(before.notna(), after.astype(object)).infer_objects()
    if outcomes:
        # Where persons are named beside the maps alone, rows without a map tell nothing.
        source = cohort if (subject or "subject") in cohort else table
        owners = persons_of(cohort, listed, subject) if source is cohort else table["subject"]
        values, by_visit = _outcomes(source, owners, table, first, asked, outcomes, notes)
        whole = whole.assign(**values)
        whole.attrs[BY_VISIT] = by_visit
    return maps, whole.assign(id=maps["id"])


def _outcomes(
    cohort: pd.DataFrame,
    owners: pd.Series,
    table: pd.DataFrame,
    first: np.ndarray,
    asked: Pairing,
    outcomes: Mapping[str, str | None],
    notes: list[str],
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Outcomes of the pairs whose first images lie at the rows `first` of the table; those told at each visit."""
    joining.require(cohort, outcomes)
    keys = keys_of(cohort, owners)
    since = since_first(
        cohort, owners, visit=asked.visits, date=asked.date, unit=asked.visit_unit, order=asked.visit_order
    ).values  # fmt: skip
    places = keys_of(table, table["subject"]).iloc[first].reset_index(drop=True)
    start = _starts(table, cohort, first, keys, since, asked)
    found, by_visit = {}, []
    for name, event in outcomes.items():
        told = outcomes_of(cohort, keys, since, name, event, notes, asked.outcome_at)
        notes += told.notes
        value = told.of(places, start)
        by_visit += [name] if told.visits is not None else []
        found[name] = value if event is None else pd.Series(value).map({1.0: event, 0.0: "other"}).to_numpy()
    return found, by_visit


def _starts(
    table: pd.DataFrame, cohort: pd.DataFrame, first: np.ndarray, keys: pd.Series, since: np.ndarray, asked: Pairing
) -> np.ndarray:
    """Times (n,) of the first images since the first visits of their persons, found by person, side and visit."""
    column = asked.date or asked.visits
    times = pd.Series(since, index=pd.MultiIndex.from_arrays([keys.map(str), cohort[column].map(plain_text)]))
    times = times[~times.index.duplicated()]
    own = table.iloc[first]
    wanted = pd.MultiIndex.from_arrays([keys_of(own, own["subject"]).map(str), own[column].map(plain_text)])
    return times.reindex(wanted).to_numpy(dtype=float)


def facts(asked: Pairing | None) -> dict[str, Any]:
    """What is written of it."""
    if asked is None:
        return {}
    return {"visits": asked.visits, "visit_unit": asked.visit_unit, "visit_order": list(asked.visit_order)} | {
        "date": asked.date, "annual": asked.annual, "outcome_at": asked.outcome_at,
    }  # fmt: skip
