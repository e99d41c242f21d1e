"""Outcomes of persons and sides, which stand on one row of several, on all of them, or are told anew at each visit."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from anomaly.cohorts import joining
from anomaly.cohorts.joining import FEWEST
from anomaly.cohorts.results import some
from anomaly.longitudinal.question import Question


@dataclass(frozen=True)
class UnitOutcomes:
    """By person and side, or by image where the outcome is told at each visit.

    Args:
        by_key: the outcome by the values of `keys`; None where it is told at each visit, or none is asked for.
        at_visit: the outcome (n,) of each image; None where none is asked for.
        keys: columns of the table.
        by_visit: whether it is told at each visit.
        notes: what was left out, and how the outcome was read.
    """

    by_key: pd.Series | None
    at_visit: np.ndarray | None
    keys: Sequence[str]
    by_visit: bool = False
    notes: list[str] = field(default_factory=list)

    def of(self, unit: np.ndarray, time: np.ndarray, table: pd.DataFrame) -> np.ndarray:
        """The outcome (n,) of what each image is of, NaN where it is not known.

        Told at each visit, it is what came later: of those without it at their first image, whether a later one has it.
        """
        if self.by_key is None and self.at_visit is None:
            return np.full(len(unit), np.nan)
        if self.by_key is not None:
            names = _keys(table, self.keys)
            return names.map(self.by_key).to_numpy(dtype=float)
        assert self.at_visit is not None
        rows = pd.DataFrame({"unit": unit, "time": time, "event": self.at_visit})
        found = np.full(len(unit), np.nan)
        for one, own in rows[rows["unit"] >= 0].dropna(subset=["time"]).groupby("unit"):
            first, later = own.loc[own["time"] == 0, "event"], own.loc[own["time"] > 0, "event"].dropna()
            if (first == 0).any() and len(later):
                found[unit == one] = float(later.max())
        return found


def outcomes_of(
    everyone: pd.DataFrame, table: pd.DataFrame, keys: Sequence[str], question: Question, notes: list[str]
) -> UnitOutcomes:
    """The outcome that is asked for, of every person and side, from whichever row has it.

    Args:
        everyone: all rows of the cohort, those without a score too.
        table: rows of the images with a score.
        keys: columns of persons and sides, in both.

    Raises:
        EvaluationError: values that do not say which is the event.
    """
    if question.outcome is None:
        return UnitOutcomes(None, None, keys)
    event = joining.events(everyone, question.outcome, question.positive, notes)
    known = pd.DataFrame({"key": _keys(everyone, keys), "event": event}).dropna()
    kinds = known.groupby("key")["event"].agg(["min", "max", "size"])
    mixed = kinds[kinds["min"] != kinds["max"]]
    several = int((kinds["size"] > 1).sum())
    if len(mixed) >= FEWEST and several >= len(kinds) / 2:
        at_visit = joining.events(table, question.outcome, question.positive, []).to_numpy(dtype=float)
        told = (
            f"{question.sign} is told at each visit: the outcome is whether those without it at their first image have "
            "it at a later one. Who has it at the first is left out of all that compares outcomes."
        )
        return UnitOutcomes(None, at_visit, keys, True, [told])
    remarks = []
    if len(mixed):
        remarks.append(
            f"{len(mixed)} have rows both with and without {question.sign} ({some(map(_said, mixed.index))}): whose "
            "outcome is contradictory is left out of all that compares outcomes."
        )
    fine = kinds.loc[kinds["min"] == kinds["max"], "max"]
    return UnitOutcomes(fine, None, keys, False, remarks)


def _keys(table: pd.DataFrame, keys: Sequence[str]) -> pd.Series:
    """A tuple of texts a row."""
    return pd.Series([tuple(map(str, row)) for row in table[list(keys)].itertuples(index=False)], index=table.index)


def _said(key: object) -> str:
    return " ".join(key) if isinstance(key, tuple) else str(key)
