"""Tables as people have them: what parts the cells, in which letters they are written, what of them is a number.

Every table that is given to a command is read here, and what it was taken for is told in one line where it is not
plain CSV in UTF-8.
"""

from __future__ import annotations

import csv
import gzip
import importlib.util
import io
import logging
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_bool_dtype, is_numeric_dtype

from anomaly.cohorts.cells import INVISIBLE, SPELLED, Columns, typed
from anomaly.cohorts.separators import LOOKED_AT, SEPARATORS, rows_of, separator_of, widths

LOGGER = logging.getLogger(__name__)
MANY = 100
"""Cells behind the last name by which a row is no mistake of one comma."""
SPARSE, SMALL = 8, 2**16
"""Cells of a table for each byte of its file, beside so many, were all rows as wide as the widest: more cost memory."""
CONTROL = re.compile("[\x00-\x08\x0e-\x1f]")
OTHERS: tuple[tuple[bytes, str], ...] = (
    (b"PK\x03\x04", "an Excel or OpenDocument workbook"),
    (b"\xd0\xcf\x11\xe0", "an Excel workbook of the old kind"),
    (b"PAR1", "a Parquet table"),
    (b"$FL", "an SPSS table"),
    (b"<stata_dta>", "a Stata table"),
    (b"%PDF", "a PDF document"),
)
HOW = "save it as CSV (in Excel: File, Save As, CSV UTF-8)"


class NoTable(ValueError):
    """A file that is no table, or not one that can be understood; the message names what is wrong, not the file."""


@dataclass
class _Form:
    """What a table was taken for, as far as it is not plain CSV in UTF-8."""

    separator: str = ","
    encoding: str = ""
    extras: list[str] = field(default_factory=list)

    def words(self) -> str:
        parted = "" if self.separator == "," else f"parted by {SEPARATORS[self.separator]}"
        return ", ".join(each for each in (parted, self.encoding, *self.extras) if each)


@dataclass
class _Cells:
    """A header and the rows below it, whose columns are numbers from 0; there may be more of these than names."""

    header: list[str]
    rows: pd.DataFrame


def read_sheet(file: Path, texts: Iterable[str], missing: Sequence[str] = ()) -> pd.DataFrame:
    """A table from a file: the columns called `texts` as they stand, the others as numbers where all of theirs are.

    Cells may be parted by commas, semicolons, tabs, bars or blanks, numbers may have decimal commas, letters may be
    UTF-8 (with a mark or without), UTF-16 or Windows-1252. Blanks at either end of a cell or a name are cut off;
    separators behind the last cell, rows and columns without anything and row numbers (of R, pandas) are left out.
    A column with anything that is no number is text throughout, so that 1 and "1" are never two values.

    Args:
        file: CSV, TSV, the same compressed by gzip, or .xlsx where openpyxl is installed.
        texts: columns of names; only an empty cell of theirs is missing.
        missing: cells that count as missing in all other columns, such as "-9"; `attrs["missing"]` counts them.

    Raises:
        NoTable: it cannot be read, a name stands on two columns, a row has more cells than there are names.
        FileNotFoundError: there is no such file.
    """
    form, names = _Form(), frozenset(texts)
    content = file.read_bytes()
    cells = _workbook(file, form) if _is_workbook(file, content) else _parted(_text(content, form), names, form)
    table = _named(cells, form)
    found = typed(table, Columns(texts=names, missing=tuple(missing), decimal_comma=form.separator != ","))
    form.extras += found.remarks
    if told := form.words():
        LOGGER.info("%s: taken for a table %s", file, told)
    return found.table


def refuse_twice(names: Iterable[object]) -> None:
    """Refuse columns of one name: nobody could say which of them is meant.

    Raises:
        NoTable: naming them.
    """
    twice = [f"{count} columns called {name!r}" for name, count in Counter(names).items() if count > 1]
    if twice:
        raise NoTable(f"it has {' and '.join(twice[:3])}; rename them, or leave all but one out")


def _is_workbook(file: Path, content: bytes) -> bool:
    kind = next((name for mark, name in OTHERS if content.startswith(mark)), "")
    if content.startswith(OTHERS[0][0]) and file.suffix.lower() in (".xlsx", ".xlsm"):
        if importlib.util.find_spec("openpyxl") is not None:
            return True
        raise NoTable(f"it is {kind}; {HOW}, or install openpyxl, which reads it")
    if kind:
        raise NoTable(f"it is {kind}; {HOW}")
    return False


def _workbook(file: Path, form: _Form) -> _Cells:
    """The first sheet of a workbook, as texts."""
    sheets: dict[str, pd.DataFrame] = pd.read_excel(file, sheet_name=None, header=None, dtype=str, na_filter=False)
    full = [name for name, sheet in sheets.items() if len(sheet)]
    if len(full) != 1:
        raise NoTable(f"the workbook has {len(full)} sheets that are not empty; expected one: save it as CSV")
    form.extras.append(f"in the sheet {full[0]} of an Excel workbook")
    sheet = sheets[full[0]]
    return _Cells([str(name).strip(INVISIBLE) for name in sheet.iloc[0]], sheet.iloc[1:].reset_index(drop=True))


def _text(content: bytes, form: _Form) -> str:
    """The letters of a file, by its mark, else as UTF-8, else as Windows-1252."""
    if content.startswith(b"\x1f\x8b"):
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise NoTable(f"its compression is damaged ({error}); copy it again") from error
    marks = ((b"\xff\xfe\0\0", "utf-32"), (b"\0\0\xfe\xff", "utf-32"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
    encoding = next((name for mark, name in marks if content.startswith(mark)), "")
    if not encoding and b"\0" in content[:1000]:  # every other byte of Latin letters in UTF-16
        halves = {"utf-16-be": content[:1000:2], "utf-16-le": content[1:1000:2]}
        encoding = next((name for name, half in halves.items() if 2 * half.count(0) > len(half)), "")
    try:
        text = content.decode(encoding or "utf-8-sig")
        form.encoding = f"in {encoding.upper()[:6]}" if encoding else ""
    except UnicodeDecodeError:
        text = content.decode("cp1252", "replace")
        form.encoding = "in Windows-1252"
    text = text.rstrip("\x1a")  # the end of a file of DOS
    if CONTROL.search(text) or (encoding and "\ufffd" in text):
        raise NoTable(f"it is no text; {HOW}")
    return text


def _parted(text: str, names: frozenset[str], form: _Form) -> _Cells:
    """The cells of a text, columns that are not `names` as numbers where all of theirs are."""
    first, _, rest = text.lstrip("\ufeff\r\n").partition("\n")
    asked = re.fullmatch(r'"?sep=(.)"?[,;\t]*', first.strip("\r "), re.IGNORECASE)
    text = rest if asked else text  # a line for Excel is no part of the table
    if text.lstrip()[:1] == "<":
        raise NoTable(f"it is an HTML or XML page; {HOW}")
    form.separator = asked[1] if asked and asked[1] in SEPARATORS else separator_of(text[:LOOKED_AT])
    lines = _Lines(text if "\n" in text else text.replace("\r", "\n"))
    try:
        header = next((row for row in rows_of(lines, form.separator) if any(map(str.strip, row))), None)
        if header is None:
            raise NoTable("it is empty")
        header = [name.strip(INVISIBLE) for name in header]
        refuse_twice(name for name in header if name)
        return _Cells(header, _rows_of(lines.rest(), header, names, form.separator))
    except (csv.Error, pd.errors.ParserError) as error:
        raise NoTable(f"its quotes or lines are damaged ({str(error).splitlines()[0]}); {HOW}") from error


class _Lines:
    """The lines of a text one by one, and what is left of it; without the four bytes a letter that StringIO takes."""

    def __init__(self, text: str) -> None:
        self.text, self.place = text, 0

    def __iter__(self) -> Iterator[str]:
        while self.place < len(self.text):
            start, end = self.place, self.text.find("\n", self.place) + 1
            self.place = end or len(self.text)
            yield self.text[start : self.place]

    def rest(self) -> bytes:
        return self.text[self.place :].encode()


def _rows_of(body: bytes, header: list[str], names: frozenset[str], separator: str) -> pd.DataFrame:
    """What stands below a header, in one go, so that a column is of one kind however long it is."""
    body = body.rstrip(f"{separator} \t\r\n".encode())  # rows of separators alone, as Excel leaves them at the end
    width = max(widths(body, separator) | {len(header)})
    if not body:
        return pd.DataFrame(columns=range(width), dtype=object)
    if width > len(header) + MANY:
        _refuse_wide(body, len(header), separator)
    if width > len(header) + 1 and (body.count(b"\n") + 1) * width > SPARSE * len(body) + SMALL:
        raise NoTable(f"a row has {width} cells, the header {len(header)} names; are there line ends missing?")
    others = [place for place, name in enumerate(header) if name and name not in names]
    known = width == len(header)  # else nobody knows yet which name stands over which column
    columns: dict[str, Any] = {"dtype": str}
    if known:
        columns["dtype"] = {place: str for place in range(width) if place not in others}
        columns["na_values"] = dict.fromkeys(others, SPELLED)
    rows = pd.read_csv(
        io.BytesIO(body), sep=r"\s+" if separator == " " else separator, header=None, names=range(width),
        index_col=False, keep_default_na=False, skipinitialspace=True, low_memory=False, **columns
    )  # fmt: skip
    for place in rows:
        if not is_numeric_dtype(rows[place]) or is_bool_dtype(rows[place]):  # truths too: None may be a level
            rows[place] = [_cut(cell) for cell in rows[place].astype(object)]
    return rows


def _refuse_wide(body: bytes, names: int, separator: str) -> None:
    """Refuse a row that goes on long behind the last name, as where line ends are lost: each column takes time."""
    for number, row in enumerate(rows_of(io.TextIOWrapper(io.BytesIO(body), "utf-8", newline=""), separator), start=1):
        width = next((len(row) - k for k, cell in enumerate(reversed(row)) if cell.strip()), 0)
        if width > names + MANY:
            raise NoTable(f"row {number} has {width} cells, the header {names} names; are there line ends missing?")


def _cut(cell: object) -> str:
    return cell.strip(INVISIBLE) if isinstance(cell, str) else "" if pd.isna(cell) else str(cell)  # type: ignore[call-overload]


def _named(cells: _Cells, form: _Form) -> pd.DataFrame:
    """The rows below the header, by its names; row numbers, and what is empty, left out."""
    header, rows = cells.header, cells.rows
    filled = np.column_stack([_filled(rows[place]) for place in rows]) if len(rows) else np.ones((0, rows.shape[1]))
    named = np.array([bool(name) for name in header] + [False] * (rows.shape[1] - len(header)))
    kept = np.flatnonzero(named | (filled.any(axis=0) if len(rows) else False))
    rows = rows.iloc[np.flatnonzero(filled.any(axis=1)), kept].set_axis(range(len(kept)), axis=1).reset_index(drop=True)
    surplus = int((kept >= len(header)).sum())
    header = [header[place] if place < len(header) else "" for place in kept]
    if surplus:
        header = _shifted(header, rows, form, surplus)
    if header and header[0] == "" and len(header) > 1:
        header, rows = _without_numbers(header, rows, form)
    header = [name or f"column {number}" for number, name in enumerate(header, start=1)]
    refuse_twice(header)
    return rows.set_axis(header, axis=1)


def _filled(column: pd.Series[Any]) -> np.ndarray:
    return (column.notna() if is_numeric_dtype(column) else column.astype(object) != "").to_numpy(dtype=bool)


def _shifted(header: list[str], rows: pd.DataFrame, form: _Form, surplus: int) -> list[str]:
    """The header of a table with one name less than its rows have cells, as R's `write.table` makes it.

    That cells of a CSV hold commas of their own looks the same: there the first must be row numbers.
    """
    last = _filled(rows[len(header) - 1])
    numbered = list(rows[0]) == [str(number) for number in range(1, len(rows) + 1)]
    named = rows[0].is_unique and (numbered or form.separator != ",") and "" not in header[:-1]
    if surplus > 1 or last.mean() < 0.5 or not named:
        raise NoTable(
            f"row {int(last.argmax()) + 1} has {len(header)} cells, the header {len(header) - surplus} "
            f"names; put cells that hold {SEPARATORS[form.separator]} in quotes, or name all columns"
        )
    return ["", *header[:-1]]


def _without_numbers(header: list[str], rows: pd.DataFrame, form: _Form) -> tuple[list[str], pd.DataFrame]:
    """Leave out a first column without a name that numbers the rows; where it names them, call it `id`."""
    numbers = pd.to_numeric(rows[0], errors="coerce").notna().all()
    if not numbers and "id" not in header:
        form.extras.append("its row names as ids")
        return ["id", *header[1:]], rows
    form.extras.append(f"its row {'numbers' if numbers else 'names'} left out")
    rows = rows.drop(columns=0)
    return header[1:], rows.set_axis(range(rows.shape[1]), axis=1)
