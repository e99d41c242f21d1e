"""Tables that a command is given, looked at before pandas and torch are imported: columns, rows, patterns of names.

Only what is plain is refused here: text whose header can be told for sure. All else is left to the full reading.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anomaly.cohorts.patterns import pattern_of
from anomaly.cohorts.separators import LOOKED_AT, rows_of, separator_of
from anomaly.errors import AnomalyError, CohortError, EvaluationError
from anomaly.runs.settings import nearest

TEXTS = (".csv", ".tsv", ".txt")
MOST = 2**24
"""Bytes beyond which rows are not gone through twice."""


@dataclass(frozen=True)
class _Table:
    columns: list[str]
    rows: list[list[str]]
    whole: bool


def refuse_images(source: Path | None, given: Mapping[str, Any], *columns: str | None) -> None:
    """Say at once when a table or folder of images has not what is asked of it.

    Args:
        source: what images are taken from.
        given: options of the command: subject, subject_pattern and where, if it has them.
        columns: further ones that are asked for.

    Raises:
        CohortError: no such column or value, no rows, or a pattern that is none.
    """
    subject, pattern, where = given.get("subject"), given.get("subject_pattern"), given.get("where") or {}
    if subject and pattern:
        raise CohortError("both subject and subject_pattern are given; give one of them")
    if pattern:
        pattern_of(pattern)  # refuses what is none
    asked = [name for name in (subject, *where, *columns) if name]
    if source is not None and source.is_dir() and asked:
        raise CohortError(f"{source}: has no column {asked[0]!r}, for it is a folder; give a table that has it")
    refuse_table(source, asked, where)


def refuse_table(file: Path | None, columns: Iterable[str | None], where: Mapping[str, str] | None = None) -> None:
    """Say at once when a table lacks columns, rows, or every row that is to be kept.

    Raises:
        CohortError: so.
    """
    table = None if file is None else _peeked(file)
    if table is None:
        return
    for name in filter(None, columns):
        if name not in (*table.columns, "id", "path"):
            shown = ", ".join(table.columns[:20]) + (", ..." if len(table.columns) > 20 else "")
            near = nearest(name, table.columns)
            raise CohortError(f"{file}: has no column {name!r}; {near}its columns are {shown}: mend the name")
    if not table.rows:
        raise CohortError(f"{file}: has no rows; add one row an image")
    if table.whole:
        _refuse_where(file, table, where or {})


def refuse_question(cohort: Path, outcome: str | None, given: Mapping[str, Any]) -> None:
    """Say at once when an evaluation asks for no outcome, or for columns that the table of the cohort has not.

    Columns may lie in the table of scores too, which is seen later; so those are asked of the cohort that only it has.

    Raises:
        EvaluationError: there is no outcome.
        CohortError: columns are missing.
    """
    if outcome is None and not (given.get("time") and given.get("event")):
        raise EvaluationError("name the outcome, or the columns of time and event")
    followed = (given.get("time"), given.get("event"))
    several = [name.strip() for text in (given.get("strata"), given.get("adjust")) for name in (text or "").split(",")]
    plain = [name for name in several if name.isidentifier()]
    refuse_table(cohort, [outcome, *followed, given.get("match"), *plain], None)
    refuse_table(cohort, (given.get("where") or {}).keys())


def refuse_sides(given: Mapping[str, Any], pair: str | None) -> None:
    """Say at once when nothing tells cases from controls, or their tables have not what is asked.

    Raises:
        AnomalyError: nothing does.
        CohortError: as `refuse_images`.
    """
    two = given["cases"] is not None and given["controls"] is not None and given["cohort"] is None
    one = given["cohort"] is not None and given["cases"] is None and given["controls"] is None
    outcome = given["outcome"]
    if not (two and outcome is None and pair is None) and not (one and (outcome is None) != (pair is None)):
        raise AnomalyError(
            "say who is a case and who a control by --cases and --controls (two folders or tables), by --cohort with "
            "--outcome, or, for pairs, by --cohort with --pair"
        )
    for side in ("cases", "controls"):
        refuse_images(given[side], given)
    refuse_images(given["cohort"], given, outcome, pair)


def _refuse_where(file: Path | None, table: _Table, where: Mapping[str, str]) -> None:
    rows = table.rows
    for column, value in where.items():
        place = table.columns.index(column) if column in table.columns else None
        if place is None:
            continue
        there = sorted({row[place] for row in rows if place < len(row)})
        rows = [row for row in rows if place < len(row) and _same(row[place], value)]
        if not rows:
            shown = ", ".join(there[:10]) + (", ..." if len(there) > 10 else "")
            raise CohortError(f"{file}: no row is left with {column} {value}; its values there are {shown}")


def _same(cell: str, value: str) -> bool:
    """Numbers as numbers, so that 0 is 0.0; truths however they are written; else as text."""
    if cell.strip().lower() == str(value).strip().lower():
        return True
    try:
        return float(cell.replace(",", ".")) == float(value)
    except ValueError:
        return False


def _peeked(file: Path) -> _Table | None:
    """Columns and rows of a plain table; None where it is another file, or its header is not told for sure."""
    if file.suffix.lower() not in TEXTS or not file.is_file():
        return None
    try:
        with file.open("rb") as stream:
            content = stream.read(MOST)
            whole = not stream.read(1)
        text = (content if whole else content[: content.rfind(b"\n")]).decode("utf-8-sig")
        header, *rows = _rows(text)
    except (UnicodeDecodeError, OSError, ValueError, csv.Error):
        return None
    names = [name.strip() for name in header]
    sure = len(names) > 1 and all(names) and len({*names}) == len(names)
    if not sure or any(len(row) > len(names) for row in rows[:1000]):
        return None
    return _Table(names, rows, whole)


def _rows(text: str) -> Iterator[list[str]]:
    separator = separator_of(text[:LOOKED_AT])
    return (row for row in rows_of(io.StringIO(text, newline=""), separator) if any(cell.strip() for cell in row))
