"""Cells as they are typed: which columns are numbers, what is missing, and where a comma is a decimal point."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

INVISIBLE = (
    " \t\r\n\f\v\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u202f\u3000\ufeff"
)
"""What is cut off either end of a cell: blanks of all widths, and marks that nobody sees."""
SPELLED = frozenset(
    (
        *("", "NA", "N/A", "n/a", "<NA>", "#N/A", "#NA", "#N/A N/A", "NaN", "nan", "-NaN", "-nan", "NULL", "null"),
        *("1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN"),
    )
)
"""How programs spell that a cell is missing."""
PYTHONS = "None"
"""Missing among numbers, where Python wrote it; a level among words, as in None, Mild, Severe."""
TRUTHS = {"True": True, "TRUE": True, "true": True, "False": False, "FALSE": False, "false": False}
COMMA = re.compile(r"[+-]?(?:\d+|\d{1,3}(?:\.\d{3})+)(?:,(\d+))?(?:[eE][+-]?\d+)?")
POINT = re.compile(r"[+-]?\d*\.(?!\d{3}$)\d+")


@dataclass(frozen=True)
class Columns:
    """How the columns of a table are to be taken.

    Args:
        texts: names of those that hold names.
        missing: what counts as missing in all others.
        decimal_comma: whether commas stand between the cells of none, so that they may be decimal points.
    """

    texts: frozenset[str] = frozenset()
    missing: Sequence[str] = ()
    decimal_comma: bool = False


@dataclass(frozen=True)
class Typed:
    """A table with its kinds, and what is to be said of them."""

    table: pd.DataFrame
    remarks: list[str] = field(default_factory=list)


def typed(cells: pd.DataFrame, how: Columns) -> Typed:
    """Give columns of texts their kinds.

    Names stay as they stand. Others are numbers (integers where none is missing) or truths where all of theirs are,
    else text. Decimal commas are taken for such where a column holds nothing but numbers with at most one of them, and
    either cells are not parted by commas, or it cannot be thousands that they part.
    """
    found: dict[str, Any] = {}
    counts: dict[str, int] = {}
    commas: list[str] = []
    points = how.decimal_comma and any(_has_points(cells[name]) for name in cells)
    for name in map(str, cells):
        column = cells[name]
        if name in how.texts:
            found[name] = _as_text(column.astype(object))
            continue
        coded = without(column, how.missing)
        counts[name] = int((coded.isna() & column.notna()).sum())
        if is_numeric_dtype(coded):
            found[name] = coded
            continue
        column = coded.astype(object).where(coded.notna(), "")
        found[name], comma = _kind(column, certain=not how.decimal_comma or points)
        commas += [name] if comma else []
    table = pd.DataFrame(found, index=cells.index)
    table.attrs["missing"] = {name: count for name, count in counts.items() if count}
    more = f" and {len(commas) - 3} more" if len(commas) > 3 else ""
    return Typed(table, [f"with decimal commas in {', '.join(commas[:3])}{more}"] if commas else [])


def without(column: pd.Series[Any], codes: Sequence[str]) -> pd.Series[Any]:
    """A column whose cells that hold one of these codes are missing; 999 means 999.0 as well."""
    if not len(codes):
        return column
    numbers = pd.to_numeric(pd.Series([str(code) for code in codes]), errors="coerce").dropna()
    if is_numeric_dtype(column):
        return column.where(~column.isin(numbers)) if column.isin(numbers).any() else column
    texts = column.map(str)
    coded = texts.isin([str(code).strip() for code in codes])
    if len(numbers):
        coded |= pd.to_numeric(texts, errors="coerce").isin(numbers)
    return column.where(~coded)


def retyped(column: pd.Series[Any]) -> pd.Series[Any]:
    """A column of a table in memory as numbers again, where codes for missing were all that made it text."""
    if is_numeric_dtype(column):
        return column
    known = column.dropna()
    numbers = pd.to_numeric(known, errors="coerce")
    return pd.to_numeric(column) if len(known) and numbers.notna().all() else column


def _kind(column: pd.Series[Any], certain: bool) -> tuple[pd.Series[Any], bool]:
    """A column by its kind, and whether commas were taken for decimal points."""
    spelled = column.isin(SPELLED)
    known = column[~spelled & (column != PYTHONS)]
    if known.isin(TRUTHS).all() and len(known):
        truths = known.map(TRUTHS)
        return truths.astype(bool) if len(known) == len(column) else truths.astype(object).reindex(column.index), False
    numbers = pd.to_numeric(known, errors="coerce")
    comma = False
    if numbers.isna().any() and _decimal_commas(known, certain):
        pointed = known.str.replace(".", "", regex=False).str.replace(",", ".", regex=False)
        numbers, comma = pd.to_numeric(pointed, errors="coerce"), True
    if numbers.notna().all():
        return numbers.reindex(column.index) if len(numbers) else pd.Series(np.nan, column.index), comma
    return _as_text(column, spelled), False


def _as_text(column: pd.Series[Any], missing: pd.Series[Any] | None = None) -> pd.Series[Any]:
    """Texts as pandas keeps them; a column without any stays one of text."""
    found = column.where(column != "" if missing is None else ~missing)
    return found.infer_objects() if found.notna().any() else found


def _decimal_commas(known: pd.Series[Any], certain: bool) -> bool:
    """Whether texts are numbers with decimal commas; where it must be `certain`, not such as 1,234 alone."""
    found = [COMMA.fullmatch(text) for text in known]
    if not all(found):
        return False
    behind = [each[1] for each in found if each is not None and each[1] is not None]
    return bool(behind) and (not certain or any(len(digits) != 3 for digits in behind))


def _has_points(column: pd.Series[Any]) -> bool:
    """Whether a column holds numbers with decimal points and nothing else."""
    if is_numeric_dtype(column):
        return bool(column.dtype.kind == "f" and (column.dropna() % 1 != 0).any())
    known = column[~column.isin(SPELLED)]
    if not any("." in text for text in known):
        return False
    return bool(pd.to_numeric(known, errors="coerce").notna().all()) and any(POINT.fullmatch(text) for text in known)
