"""What is asked of scores of several visits, and what was found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from anomaly.cohorts import joining
from anomaly.cohorts.results import safe_id
from anomaly.cohorts.times import PER_YEAR
from anomaly.errors import EvaluationError
from anomaly.evaluation.section import Section
from anomaly.shown import Readable

BEFORE, AFTER, CHANGE = "_before", "_after", "_change"
LATE = 0.1
"""Years by which an image may miss the visit that it stands for."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """Columns of the cohort, as the user names them; see `evaluate_visits`."""

    visits: str
    unit: str | None = None
    order: Sequence[str] = ()
    date: str | None = None
    stable: str | None = None
    outcome: str | None = None
    positive: str | None = None
    subject: str | None = None
    where: Mapping[str, str] = field(default_factory=dict)
    missing: Sequence[str] = ()
    adjust: Sequence[str] = ()
    time: str | None = None
    event: str | None = None
    time_unit: str = "years"
    outcome_at: str | None = None
    limit: float | None = None
    smallest: float = 0.0

    def __post_init__(self) -> None:
        if (self.time is None) != (self.event is None):
            raise EvaluationError("time and event go together: name the column of each")
        if self.adjust and self.outcome is None and self.time is None:
            raise EvaluationError("adjust asks about an outcome; name it")
        if self.time_unit not in PER_YEAR:
            raise EvaluationError(f"time_unit is {self.time_unit!r}; expected one of {', '.join(PER_YEAR)}")
        if self.outcome_at is not None and self.outcome is None:
            raise EvaluationError("outcome_at tells how an outcome is to be read; name the outcome")

    @property
    def sign(self) -> str:
        """What the outcome is called in a sentence."""
        return str(self.outcome) if self.positive is None else f"{self.outcome} {self.positive}"

    @property
    def folder(self) -> str:
        """What the folder of the answers is called."""
        asked = [self.sign] if self.outcome else []
        return "_".join(["visits", *map(safe_id, [*asked, *(f"{name}-{value}" for name, value in self.where.items())])])


@dataclass(frozen=True)
class Seen:
    """Images of several visits, and pairs of them.

    Args:
        images: a row an image with a score: id, subject, unit (what is seen several times, from 0), time since the
            first image of the unit, since the first visit of the person in the cohort, key (person and side), outcome
            (of the unit, NaN where unknown), until and event (years to the event or the end of observation, since that
            first visit), again (whether it is a rescan), registered, unlike (where asked), and a column a score.
        people: rows of the cohort, in the order of `images`, with covariates as they are at the unit's first image.
        pairs: a row a unit, its last image beside its first: what `visit_pairs` tells, outcome, and of each score
            NAME_before, NAME_after, NAME_change.
        noise: pairs of images of what did not change, with the same columns; empty where nobody says who did not.
        names: scores, the main one first.
        time: what a year, or one unit of time, is called; `yearly` tells whether it is a year.
        covariates: of the pairs, at the first visit; None where none are asked for, or no model could use them.
        at_visit: key, since and event of every visit, where the outcome is told at each; else None.
        noise_from: where `noise` comes from, in words.
        maps: paths (n,) of the images' maps; None where there are none.
        already: whether the event came by the last image of each pair (1, 0, NaN unknown); None where nothing tells.
        placed: mask (pairs,) of those whose later image was brought onto the first by `anomaly register visits`.
    """

    images: pd.DataFrame
    people: pd.DataFrame
    pairs: pd.DataFrame
    noise: pd.DataFrame
    names: list[str]
    time: str
    yearly: bool
    covariates: pd.DataFrame | None
    at_visit: pd.DataFrame | None
    noise_from: str
    notes: list[str]
    file: Path
    maps: np.ndarray | None = None
    already: np.ndarray | None = None
    placed: np.ndarray | None = None

    @property
    def by_visit(self) -> bool:
        """Whether the outcome is told at each visit."""
        return self.at_visit is not None

    def change(self, name: str) -> np.ndarray:
        """Change of a score (pairs,), later minus earlier."""
        return self.pairs[f"{name}{CHANGE}"].to_numpy(dtype=float)

    @property
    def rate(self) -> np.ndarray:
        """Time between the two images of each pair (pairs,), in years or in units of time."""
        return self.pairs["years" if self.yearly else "interval"].to_numpy(dtype=float)


@dataclass(frozen=True, repr=False)
class VisitsEvaluation(Readable):
    """What `evaluate_visits` found.

    Args:
        pairs: a row for each knee, eye or person seen twice: both images, their scores, the change, who changed beyond
            the least detectable change.
        sections: the analyses, each a table, a figure and sentences.
        left_out: images that stand in no pair: id, path, subject, reason.
        headline, notes: in plain words.
        out: the folder that was written.
    """

    pairs: pd.DataFrame
    sections: list[Section]
    left_out: pd.DataFrame
    headline: str
    notes: list[str]
    out: Path

    def _in_short(self) -> tuple[str, dict[str, object]]:
        return self.headline, {
            "pairs": f"{len(self.pairs)} of {self.pairs['subject'].nunique()} persons",
            "sections": ", ".join(each.name for each in self.sections),
            "remarks": joining.remarks(self.notes),
            "folder": self.out,
        }

    def section(self, name: str) -> Section:
        """One of the analyses by name: change, noise, beyond, lesion_changes, change_and_outcome, by_visit, slopes."""
        found = {each.name: each for each in self.sections}
        if name not in found:
            raise KeyError(f"there is no analysis {name!r} here; there are {', '.join(found)}")
        return found[name]
