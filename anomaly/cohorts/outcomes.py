"""Outcomes of persons and sides, which stand on one row of several, on all of them, or are told anew at each visit."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from anomaly.cohorts import joining
from anomaly.cohorts.joining import FEWEST
from anomaly.cohorts.results import some
from anomaly.errors import EvaluationError

AT = ("visit", "person")
_SAME = 1e-6


@dataclass(frozen=True)
class Outcomes:
    """By person and side, or by visit where the outcome is told at each.

    Args:
        by_key: the outcome by `anomaly.cohorts.origins.keys_of`; None where it is told at each visit.
        visits: key, since (the first visit of the person) and event, a row for each visit at which it is known; None
            where it is told once.
        notes: what was left out, and how the outcome was read.
    """

    by_key: pd.Series | None
    visits: pd.DataFrame | None
    notes: list[str]

    def of(self, keys: pd.Series, start: np.ndarray) -> np.ndarray:
        """The outcome (n,) of what each image is of, NaN where it is not known.

        Told at each visit, it is what came later: of those without it at `start` (n,), the time of their first image,
        whether a later visit has it, with an image or without.
        """
        if self.by_key is not None:
            return keys.map(self.by_key).to_numpy(dtype=float)
        return np.array([float(later["event"].max()) if free else np.nan for later, free in self._later(keys, start)])

    def onset(self, keys: pd.Series, start: np.ndarray) -> np.ndarray:
        """When (n,) it was first found after `start`; infinite where it was not, NaN where that is not known."""
        return np.array(
            [
                float(later.loc[later["event"] == 1, "since"].min() if later["event"].any() else np.inf)
                if free
                else np.nan
                for later, free in self._later(keys, start)
            ]
        )

    def _later(self, keys: pd.Series, start: np.ndarray) -> list[tuple[pd.DataFrame, bool]]:
        """Visits after `start` of each, and whether it was free of the outcome until then and seen again."""
        assert self.visits is not None
        own = dict(list(self.visits.groupby("key")))
        nothing = self.visits[:0]
        found = []
        for key, begin in zip(keys, start, strict=True):
            rows = own.get(key, nothing)
            before, later = rows[rows["since"] <= begin + _SAME], rows[rows["since"] > begin + _SAME]
            found.append((later, bool(len(before) and len(later) and not before["event"].any())))
        return found


def outcomes_of(
    cohort: pd.DataFrame,
    keys: pd.Series,
    since: np.ndarray,
    outcome: str,
    positive: str | None,
    notes: list[str],
    at: str | None = None,
) -> Outcomes:
    """The outcome that is asked for, of every person and side, from whichever row of a cohort has it.

    Args:
        cohort: all rows (n,), those without a score and those that are not asked about too.
        keys: (n,) person and side, as `anomaly.cohorts.origins.keys_of`.
        since: (n,) time since the person's first visit.
        at: "visit" where it is told at each, "person" where rows repeat what is known of the person; None decides:
            told at each visit if ten differ between their rows and half of all have several.

    Raises:
        EvaluationError: values that do not say which is the event; some get it from one visit to a later one, but
            fewer than ten, so that nobody can say how it was meant.
    """
    if at not in (None, *AT):
        raise EvaluationError(f"outcome_at is {at!r}; expected {' or '.join(AT)}")
    sign = outcome if positive is None else f"{outcome} {positive}"
    event = joining.events(cohort, outcome, positive, notes).to_numpy()
    known = pd.DataFrame({"key": keys.to_numpy(), "since": since, "event": event}).dropna(subset=["key", "event"])
    kinds = known.groupby("key")["event"].agg(["min", "max", "size"])
    mixed = kinds.index[kinds["min"] != kinds["max"]]
    several = int((kinds["size"] > 1).sum())
    if at == "visit" or (at is None and len(mixed) >= FEWEST and several >= len(kinds) / 2):
        told = (
            f"{sign} is told at each visit: the outcome is whether those without it at their first image have it at a "
            "later visit. Who has it at the first is left out of all that compares outcomes."
        )
        visits = known.dropna(subset=["since"]).groupby(["key", "since"])["event"].max()
        return Outcomes(None, visits.reset_index(), [told])
    converted = [key for key in mixed if _rises(known[known["key"] == key])]
    if at is None and converted:
        raise EvaluationError(
            f"{len(converted)} have rows without {sign} and later ones with it ({some(map(_said, converted))}): say "
            "whether it is told at each visit (--outcome-at visit: who gets it later) or once of a person "
            "(--outcome-at person: these contradict themselves and are left out)"
        )
    remarks = []
    if len(mixed):
        remarks.append(
            f"{len(mixed)} have rows both with and without {sign} ({some(map(_said, mixed))}): whose outcome is "
            "contradictory is left out of all that compares outcomes."
        )
    return Outcomes(kinds.loc[kinds["min"] == kinds["max"], "max"], None, remarks)


def note_left_out(ids: pd.Series, sign: str, by_visit: bool, notes: list[str]) -> None:
    """Count and name the pairs of visits whose outcome is NaN, and say why; nothing where there are none."""
    if not by_visit:
        joining.note_unknown(ids, sign, notes, "pairs")
    elif len(ids):
        notes.append(
            f"{len(ids)} pairs were left out of what compares outcomes ({some(ids)}): {sign} was there at the first "
            "image, or not told at it, or at no later visit."
        )


def _rises(own: pd.DataFrame) -> bool:
    """Whether a visit without the outcome comes before one with it."""
    without, having = (own.loc[own["event"] == state, "since"] for state in (0, 1))
    return bool(without.min() < having.max())


def _said(key: object) -> str:
    return " ".join(key) if isinstance(key, tuple) else str(key)
