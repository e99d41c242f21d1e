"""What parts the cells of a table, and how many cells its rows have."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from itertools import islice

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars", " ": "blanks"}
SAMPLE, LOOKED_AT = 100, 2**18
"""Rows, and letters, by which the separator is chosen."""


def rows_of(lines: Iterable[str], separator: str) -> Iterator[list[str]]:
    """The cells of each row, quotes taken off."""
    return csv.reader(lines, delimiter=separator, skipinitialspace=True)


def widths(body: bytes, separator: str) -> set[int]:
    """How many cells rows have."""
    if b'"' in body or separator == " ":
        return {len(row) for row in rows_of(io.TextIOWrapper(io.BytesIO(body), "utf-8", newline=""), separator)}
    mark = separator.encode()
    return {part.count(mark) + 1 for line in io.BytesIO(body) for part in line.rstrip(b"\r\n").split(b"\r")}


def separator_of(text: str) -> str:
    """What parts the cells: of what the header holds, that which gives all rows as many cells, and most of them."""
    best, most = ",", (0.0, 0)
    for separator in (",", ";", "\t", "|"):
        cells = _first_widths(text, separator)
        if cells and cells[0] > 1:
            even = sum(width in (cells[0], cells[0] + 1) for width in cells) / len(cells)
            best, most = max((best, most), (separator, (even, cells[0])), key=lambda each: each[1])
    if most[1]:
        return best
    blanks = _first_widths(text, " ")
    even = len(blanks) > 1 and blanks[0] > 1 and {*blanks} <= {blanks[0], blanks[0] + 1} and len({*blanks[1:]}) == 1
    return " " if even else ","


def _first_widths(text: str, separator: str) -> list[int]:
    """Cells in each of the first rows, those without anything behind the last separator not counted."""
    found: list[int] = []
    try:
        for row in islice(rows_of(io.StringIO(text, newline=""), separator), SAMPLE):
            while row and not row[-1].strip():
                row.pop()
            found += [len(row)] if row else []
    except csv.Error:  # told when all of it is read
        pass
    return found
