"""Puts scores beside the rows of a cohort, and reads outcomes and persons from these.

Whatever is left out is counted and named in the list `notes`, which every function here adds to.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from anomaly.cohorts.cohort import keep
from anomaly.cohorts.results import check_unique, some
from anomaly.errors import EvaluationError

FEWEST = 10
SIMULATED = "All of these images are simulated: the figures say what a method can do, nothing about people."
_WITHOUT = {"normal", "control", "healthy", "no", "none", "negative", "benign", "0"}


def join(
    scored: pd.DataFrame, people: pd.DataFrame, scores_folder: Path, cohort_folder: Path, notes: list[str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The scored images with a row in the cohort, and those rows, in one order.

    Joined on `id`, else on `path`: the whole one from its table's folder, else a file name unique on both sides.

    Raises:
        EvaluationError: no column to join on, an id or path on several rows, nothing that joins.
    """
    keys = [key for key in ("id", "path") if key in scored and key in people]
    if not keys:
        raise EvaluationError(f"the cohort needs a column id (or path) to join on; got {some(people)}")
    for key in keys:
        if key == "id":
            check_unique(people["id"], "the cohort")
            found = pd.Index(people["id"]).get_indexer(pd.Index(scored["id"]))
        else:
            found = _match_paths(scored["path"], people["path"], scores_folder, cohort_folder)
        if (found >= 0).any():
            break
    else:
        raise EvaluationError(
            f"none of {len(scored)} scores joins the cohort on {' or '.join(keys)}: "
            f"scores have {some(scored[keys[0]])}, the cohort {some(people[keys[0]])}"
        )
    joined = found >= 0
    notes.append(f"{joined.sum()} of {len(scored)} scores joined the cohort on {key}.")
    if not joined.all():
        lost = scored.loc[~joined, "id"]
        notes.append(
            f"{len(lost)} scored images have no row in the cohort, or none that is kept, and were left out "
            f"({some(lost)})."
        )
    if people.shape[0] > joined.sum():
        notes.append(f"{people.shape[0] - joined.sum()} rows of the cohort have no score.")
    return scored[joined].reset_index(drop=True), people.iloc[found[joined]].reset_index(drop=True)


def events(people: pd.DataFrame, outcome: str, positive: str | None, notes: list[str]) -> pd.Series:
    """1.0 for the event, 0.0 without, NaN where unknown, for each row of the cohort.

    Raises:
        EvaluationError: no such column, or values that do not say which is the event.
    """
    if outcome not in people:
        raise EvaluationError(f"the cohort has no column {outcome!r}; it has {some(people, 12)}")
    column = people[outcome]
    text = column.map(plain_text).where(column.notna())
    text = text.where(text != "")
    levels = sorted(text.dropna().unique())
    if positive is not None:
        if str(positive) not in levels:
            raise EvaluationError(f"{outcome!r} holds {some(levels, 6)}, never {positive!r}; name one of these")
        if len(levels) > 2:
            others = [level for level in levels if level != str(positive)]
            notes.append(f"Controls are all images whose {outcome} is not {positive}: {some(others, 6)}.")
        return (text == str(positive)).astype(float).where(text.notna())
    if set(levels) <= {"0", "1"}:
        return text.astype(float)
    if set(levels) <= {"True", "False"}:
        return (text == "True").astype(float).where(text.notna())
    likely = [level for level in levels if level.lower() not in _WITHOUT]
    raise EvaluationError(
        f"{outcome!r} must be 0 or 1, but holds {len(levels)} values ({some(levels, 6)}); "
        f"say which is the event, such as --positive {(likely or levels)[-1]}"
    )


def subjects(scored: pd.DataFrame, people: pd.DataFrame, subject: str | None, notes: list[str]) -> np.ndarray | None:
    """Names of the persons where images are to count by person; None for one image a person.

    Raises:
        EvaluationError: no such column in either table, or images without a name in it.
    """
    name = subject or "subject"
    column = people[name] if name in people else scored[name] if name in scored else None
    if column is None and subject is not None:
        raise EvaluationError(f"neither the cohort nor the scores have a column {subject!r}; got {some(people, 12)}")
    if column is None:
        notes.append("Intervals are plain DeLong: no subject is named, so each image counts as another person.")
        return None
    if column.isna().any():
        which = scored.loc[column.isna().to_numpy(), "id"]
        raise EvaluationError(f"{len(which)} images have no {name} ({some(which)}); fill in the column")
    people_count, total = column.nunique(), len(column)
    if subject is None and people_count == total:
        notes.append(
            f"Intervals are plain DeLong: no two of the {total} images share a subject name "
            "(subjects may have been taken from the file names)."
        )
        return None
    why = "as asked" if subject else "as some persons have several images"
    notes.append(f"Intervals are clustered by {name}, {why}: {total} images of {people_count} persons.")
    return column.astype(str).to_numpy()


def check_numbers(event: ArrayLike, what: str) -> None:
    """Refuse fewer than ten events or ten controls (n,) of 0/1: no figure made of them means anything."""
    events = int(np.sum(event))
    controls = np.size(np.asarray(event)) - events
    if min(events, controls) < FEWEST:
        raise EvaluationError(
            f"{events} events and {controls} controls for {what!r}: at least {FEWEST} of each are needed "
            "for a figure that means anything"
        )


def require(people: pd.DataFrame, columns: Iterable[str | None]) -> None:
    """Refuse a cohort without one of the columns that are asked for."""
    absent = [name for name in columns if name is not None and name not in people]
    if absent:
        raise EvaluationError(f"the cohort has no column {', '.join(map(repr, absent))}; it has {some(people, 20)}")


def chosen(people: pd.DataFrame, where: Mapping[str, str], notes: list[str]) -> pd.DataFrame:
    """The rows of a cohort whose columns have these values; all of them where none are asked for."""
    if not where:
        return people
    require(people, where)
    kept = keep(people, where, "the cohort").reset_index(drop=True)
    asked = " and ".join(f"{name} {value}" for name, value in where.items())
    notes.append(f"{len(kept)} of {len(people)} rows of the cohort have {asked}; only these are used.")
    return kept


def simulated(people: pd.DataFrame) -> bool:
    """Whether all rows of a cohort say that their image was drawn by a program."""
    return "simulated" in people and bool((people["simulated"].map(plain_text) == "1").all())


def columns(names: str | Sequence[str]) -> tuple[str, ...]:
    """Names of columns, given as they are or as one text with commas."""
    parts = names.split(",") if isinstance(names, str) else names
    return tuple(name.strip() for name in parts if name.strip())


def remarks(notes: Sequence[str]) -> str:
    """How many notes a finding has, and whether one of them says that all is simulated."""
    told = "1 note" if len(notes) == 1 else f"{len(notes) or 'no'} notes"
    return told + ("; these images are SIMULATED" if SIMULATED in notes else "")


def note_unknown(ids: pd.Series, what: str, notes: list[str]) -> None:
    """Count and name the images of which something is not known; nothing where there are none."""
    if len(ids):
        notes.append(f"Of {len(ids)} images {what} is not known; they were left out ({some(ids)}).")


def plain_text(value: object) -> str:
    """A value as a person would type it: 1 for 1.0."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()


def _match_paths(scored: pd.Series, people: pd.Series, scores_folder: Path, cohort_folder: Path) -> np.ndarray:
    """Row of the cohort for each score: by whole path, else by a file name that is unique on both sides."""
    whole = [str((scores_folder / str(path)).resolve()) for path in scored]
    listed = [str((cohort_folder / str(path)).resolve()) for path in people]
    if len(set(listed)) < len(listed):
        raise EvaluationError("a path stands on several rows of the cohort; give the cohort a column id")
    found = pd.Index(listed).get_indexer(pd.Index(whole))
    names, their_names = (
        pd.Series([Path(each).name for each in whole]),
        pd.Series([Path(each).name for each in listed]),
    )
    unique = their_names[~their_names.duplicated(keep=False)]
    rows = names.map(pd.Series(unique.index, index=unique.to_numpy())).to_numpy(dtype=float)
    usable = ~names.duplicated(keep=False).to_numpy() & np.isfinite(rows) & (found < 0)
    return np.where(usable, np.where(usable, rows, 0).astype(int), found)
