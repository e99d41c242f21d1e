"""Puts scores beside the rows of a cohort, and reads outcomes and persons from these.

Whatever is left out is counted and named in the list `notes`, which every function here adds to.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path, PurePath

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from anomaly.cohorts.cohort import keep
from anomaly.cohorts.identities import stem
from anomaly.cohorts.results import check_unique, plain_text, safe_id, some
from anomaly.errors import EvaluationError

FEWEST = 10
SIMULATED = "All of these images are simulated: the figures say what a method can do, nothing about people."
_CODES = {f"{sign}{digit * length}" for digit in "789" for length in (1, 2, 3, 4, 5) for sign in ("", "-")}
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?")
_UNKNOWN = {".", "?", "-", "--", "na", "n/a", "nan", "null", "unknown", "missing", "not known", "unk", "#n/a"}
_WITHOUT = {"normal", "control", "healthy", "no", "none", "negative", "benign", "0"}


def join(
    scored: pd.DataFrame, people: pd.DataFrame, scores_folder: Path, cohort_folder: Path, notes: list[str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The scored images with a row in the cohort, and those rows, in one order.

    Joined on `id`, both sides as scoring writes ids (a blank or slash is `_`); else on `path`: the whole one from its
    table's folder, else a file name unique on both sides; else the cohort's ids are looked for among the names of the
    scored files, without their endings.

    Raises:
        EvaluationError: no column to join on, an id or path on several rows, ids that differ only in what file names
            cannot hold, nothing that joins.
    """
    keys = [key for key in ("id", "path") if key in scored and key in people]
    if not keys:
        raise EvaluationError(f"the cohort needs a column id (or path) to join on; got {some(people)}")
    ways: dict[str, Callable[[], np.ndarray]] = {
        "id": lambda: _match_ids(scored["id"], people["id"]),
        "path": lambda: _match_paths(scored["path"], people["path"], scores_folder, cohort_folder),
        "id, by the names of the scored files": lambda: _match_names(scored["path"], people["id"]),
    }
    for key, rows in ways.items():
        if key in keys or (key not in ("id", "path") and "id" in people and "path" in scored):
            found = rows()
            if (found >= 0).any():
                break
    else:
        raise EvaluationError(
            f"none of {len(scored)} scores joins the cohort on {' or '.join(keys)}: "
            f"scores have {some(scored[keys[0]])}, the cohort {some(people[keys[0]])}"
        )
    joined = found >= 0
    _note_coded(people, notes)
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
        others = [level for level in levels if level != str(positive)]
        codes = codes_in(others, asked=str(positive))
        if codes and len(codes) < len(others):
            raise EvaluationError(_coded(outcome, text, codes, [level for level in levels if level not in codes]))
        if len(levels) > 2:
            notes.append(f"Controls are all images whose {outcome} is not {positive}: {some(others, 6)}.")
        return (text == str(positive)).astype(float).where(text.notna())
    if set(levels) <= {"0", "1"}:
        return text.astype(float)
    if set(levels) <= {"True", "False"}:
        return (text == "True").astype(float).where(text.notna())
    raise EvaluationError(_unlike(outcome, text, levels))


def codes_in(levels: Sequence[str], asked: str = "") -> list[str]:
    """Those levels of an outcome that look like codes for missing: -9, 999, ".", NA, unknown.

    Numbers do where the levels that are none of them, and the one `asked` for, end below: 9 does beside 0 and 1, not
    among grades of 0 to 8.
    """
    sure = [level for level in levels if level not in _CODES]
    numbers = [float(level) for level in (*sure, asked) if _NUMBER.fullmatch(level)]
    top = max(numbers, default=-np.inf)
    coded = [level for level in levels if level in _CODES and (level[0] == "-" or float(level) > top + 2)]
    return coded + [level for level in levels if level.lower() in _UNKNOWN]


def _unlike(outcome: str, text: pd.Series, levels: Sequence[str]) -> str:
    """Why an outcome cannot be taken for 0 and 1, and what to do about it."""
    codes = codes_in(levels)
    if "-1" in levels and {"0", "1"} <= {*levels}:
        codes = ["-1", *codes]
    rest = [level for level in levels if level not in codes]
    if codes and {*rest} <= {"0", "1"} and rest:
        return _coded(outcome, text, codes, rest)
    likely = [level for level in rest if level.lower() not in _WITHOUT]
    told = f" (and {some(codes, 6)} look like codes for missing: --missing {','.join(codes)})" if codes else ""
    return (
        f"{outcome!r} must be 0 or 1, but holds {len(levels)} values ({some(levels, 6)}); "
        f"say which is the event, such as --positive {(likely or rest or levels)[-1]}{told}"
    )


def _coded(outcome: str, text: pd.Series, codes: Sequence[str], rest: Sequence[str]) -> str:
    rows = int(text.isin(codes).sum())
    return (
        f"{outcome!r} holds {' and '.join(rest[:6])}, and beside them {some(codes, 6)} ({rows} rows), which look like "
        f"codes for missing: add --missing {','.join(codes)} (in Python missing={list(codes)!r}), or recode them"
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


def note_unknown(ids: pd.Series, what: str, notes: list[str], kind: str = "images") -> None:
    """Count and name the images, or what `kind` says, of which something is not known; nothing where there are none."""
    if len(ids):
        notes.append(f"Of {len(ids)} {kind} {what} is not known; they were left out ({some(ids)}).")


def _note_coded(people: pd.DataFrame, notes: list[str]) -> None:
    """Tell how many cells counted as missing because a code says so."""
    counts: Mapping[str, int] = people.attrs.get("missing", {})
    if counts:
        told = some((f"{name}: {count}" for name, count in counts.items()), 8)
        notes.append(f"Cells of the cohort table that hold a code for missing, by column: {told}.")


def _match_ids(scored: pd.Series, people: pd.Series) -> np.ndarray:
    """Row of the cohort for each score by id, as files are called by it."""
    check_unique(people, "the cohort")
    ours, theirs = scored.astype(str).map(safe_id), people.astype(str).map(safe_id)
    for names, others, given, what in ((theirs, ours, people, "the cohort"), (ours, theirs, scored, "the scores")):
        meet = names.duplicated(keep=False) & names.isin({*others})
        if meet.any():
            raise EvaluationError(
                f"ids of {what} differ only in characters that file names cannot hold ({some(given[meet])}); "
                "rename them, and score these images again"
            )
    return _first(theirs, ours)


def _first(theirs: pd.Series, ours: pd.Series) -> np.ndarray:
    """Positions of the names in a column where some stand twice, though none of those that are looked for."""
    single = ~theirs.duplicated(keep=False).to_numpy()
    places = pd.Series(np.flatnonzero(single), index=theirs[single].to_numpy())
    return ours.map(places).fillna(-1).to_numpy(dtype=int)


def _match_names(paths: pd.Series, ids: pd.Series) -> np.ndarray:
    """Row of the cohort whose id is the name of a scored file, with its ending or without, one on both sides."""
    theirs = ids.astype(str).map(safe_id)
    for form in (stem, lambda path: path.name):
        names = paths.map(lambda path, form=form: safe_id(form(PurePath(str(path)))))
        found = _first(theirs, names)
        found = np.where(names.duplicated(keep=False), -1, found)
        if (found >= 0).any():
            break
    return found


def _match_paths(scored: pd.Series, people: pd.Series, scores_folder: Path, cohort_folder: Path) -> np.ndarray:
    """Row of the cohort for each score: by whole path, else by a file name that is unique on both sides."""
    whole = [str((scores_folder / str(path)).resolve()) for path in scored]
    listed = [str((cohort_folder / str(path)).resolve()) for path in people]
    if len(set(listed)) < len(listed):
        raise EvaluationError("a path stands on several rows of the cohort; give the cohort a column id")
    found = pd.Index(listed).get_indexer(pd.Index(whole))
    twice = pd.Series(whole).duplicated().to_numpy() & (found >= 0)
    if twice.any():
        raise EvaluationError(
            f"a path stands on several rows of the scores ({some(scored[twice])}); give the cohort a column id"
        )
    names, their_names = (
        pd.Series([Path(each).name for each in whole]),
        pd.Series([Path(each).name for each in listed]),
    )
    unique = their_names[~their_names.duplicated(keep=False)]
    rows = names.map(pd.Series(unique.index, index=unique.to_numpy())).to_numpy(dtype=float)
    usable = ~names.duplicated(keep=False).to_numpy() & np.isfinite(rows) & (found < 0)
    return np.where(usable, np.where(usable, rows, 0).astype(int), found)
