"""A table that grows beside another, a row an image: its row is there before the other's, and goes with it."""

import csv
import io
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from anomaly.files import write_whole


@dataclass(frozen=True)
class Beside:
    """What such a table is called (STEM.csv), and its columns, the first of which is `id`."""

    stem: str
    columns: tuple[str, ...]


class GrowingBeside:
    """The rows of one call, or of one shard of it, kept as the lines they are: there may be many.

    An id is a safe name of a file, and all else are numbers, so that the first comma ends the id, and no row has more
    than one line.

    Args:
        path: of the table.
        columns: `id` and columns of numbers.
        headed: whether the table begins with a header.
    """

    def __init__(self, path: Path, columns: Sequence[str], *, headed: bool) -> None:
        self.path, self.columns, self._headed = path, tuple(columns), headed
        self._lines = self._read()
        self._stream: TextIO | None = None

    @property
    def ids(self) -> Set[str]:
        """The images that have a whole row; asked before `keep`."""
        return self._lines.keys()

    def keep(self, ids: Set[str]) -> None:
        """Leave the rows of these images alone in the table; those of others were written before a stop."""
        lines = [self._header()] if self._headed else []
        lines += [line for name, line in self._lines.items() if name in ids]
        content = b"".join(lines)
        self._lines = {}
        if self.path.exists() and self.path.read_bytes() != content:
            write_whole(self.path, content)

    def open(self) -> None:
        """Begin to append, to a table that is made where there is none."""
        if self._headed and not self.path.exists():
            write_whole(self.path, self._header())
        self._stream = self.path.open("a", newline="", encoding="utf-8")

    def close(self) -> None:
        """End appending."""
        if self._stream is not None:
            self._stream.close()

    def add(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Append the columns of this table that rows have, and see them on their way to the disk."""
        assert self._stream is not None
        csv.DictWriter(self._stream, self.columns, extrasaction="ignore").writerows(rows)
        self._stream.flush()

    def _read(self) -> dict[str, bytes]:
        """Whole lines by id; a last one cut short, or one with a cell too few, is none."""
        content = self.path.read_bytes() if self.path.exists() else b""
        lines = content[: content.rfind(b"\n") + 1].splitlines(keepends=True)
        commas, header = len(self.columns) - 1, self._header()
        whole = (line for line in lines if line.count(b",") == commas and line != header)
        return {line.partition(b",")[0].decode(errors="replace"): line for line in whole}

    def _header(self) -> bytes:
        stream = io.StringIO(newline="")
        csv.writer(stream).writerow(self.columns)
        return stream.getvalue().encode()
