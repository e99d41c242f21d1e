"""Tables appended row by row, so that a stopped call goes on where it was: `scores.csv` and its like, `errors.csv`."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from anomaly.cohorts.beside import Beside, GrowingBeside
from anomaly.errors import RunError
from anomaly.files import naming, write_first, write_whole

ERRORS = ("id", "path", "error")
INFORMATION = ("runs", "map_limits", "if_nothing")
"""Settings that may differ between calls: a run folder that was moved holds the same weights, and older versions told
less of it."""


@dataclass(frozen=True)
class Form:
    """What a table is called and begins with.

    Args:
        stem: of its file, STEM.csv.
        facts: the file that holds the settings all rows share.
        first: its first columns; id and path are among them.
        files: the column that names files in the folder, with semicolons between.
    """

    stem: str
    facts: str
    first: tuple[str, ...]
    files: str


SCORES = Form(
    "scores", "score.json", ("id", "subject", "path", "value", "z", "p_value", "flagged", "heatmap"), "heatmap"
)


class GrowingTable:
    """The tables of one call, or of one shard of it, in a folder.

    Opening it reads what an earlier call left: a last line cut short is dropped, and so is a row one of whose files is
    gone, to be made again. The files come with the first row, or when the call ends well: what stopped before leaves no
    header without rows, which looks like a result of nothing.

    Args:
        form: which table.
        folder: gets the tables; made if it is not there.
        settings: what all rows of a table must share (runs, alpha, heatmaps).
        columns: names of the columns behind the usual ones.
        shard: (i, N). Only the first shard's table has a header, so `cat` in the order of names joins them.
        beside: a second table, which takes its columns from the same rows. An image without a row there is made again,
            unless the first table was begun without the second: then it goes on without.

    Raises:
        RunError: the folder is a file, or holds rows made with other settings, or a table that cannot be continued.
    """

    def __init__(
        self,
        form: Form,
        folder: Path,
        *,
        settings: Mapping[str, Any],
        columns: Sequence[str],
        shard: tuple[int, int] = (1, 1),
        beside: Beside | None = None,
    ) -> None:
        self.form, self.folder, self.columns = form, folder, (*form.first, *columns)
        which, shards = shard
        width = len(str(shards))
        suffix = "" if shards == 1 else f"-{which:0{width}d}-of-{shards}"
        self.path, self.errors = folder / f"{form.stem}{suffix}.csv", folder / f"errors{suffix}.csv"
        self._headed, self.joined = which == 1, shards > 1
        self.added, self.failed = 0, 0
        if folder.is_file():
            raise RunError(f"{folder} is a file; choose another --out")
        folder.mkdir(parents=True, exist_ok=True)
        self._agree(settings)
        self._beside: GrowingBeside | None = None
        if beside is not None:
            second = folder / f"{beside.stem}{suffix}.csv"
            self._beside = GrowingBeside(second, beside.columns, headed=self._headed)
        kept = self._kept()
        self.done = {row["id"]: row["path"] for row in kept}
        self._ids = {row["path"]: row["id"] for row in kept}
        self._others = self._of_other_shards(shards)
        self.refused = self._refused()
        if self.path.exists():
            self._rewrite(kept)
        if self._beside is not None:
            self._beside.keep(self.done.keys())
        self._begun = False
        self._rows: TextIO | None = None
        self._errors: TextIO | None = None

    def left(self, rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """The images that are not in the table yet: neither their ids nor, under another id, their files.

        A file whose id changed may have come from another shard, in whose table it stays.

        Raises:
            RunError: an id stands there for another image.
        """
        left = [row for row in rows if row["path"] not in self._ids and row["path"] not in self._others]
        for row in left:
            if row["id"] in self.done:
                raise RunError(
                    f"{self.path} has {self.done[row['id']]} as {row['id']}, which now is {row['path']}; "
                    "choose another --out"
                )
        return left

    def name(self, row: Mapping[str, Any]) -> str:
        """The id under which an image stands in the table, or is to stand there."""
        return self._ids.get(row["path"], row["id"])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._begin()
            self._opened()
        elif self._first and not (self.joined or self.done or self._begun):
            (self.folder / self.form.facts).unlink(missing_ok=True)  # settings of nothing would keep others out
        for stream in (self._rows, self._errors, self._beside):
            if stream is not None:
                stream.close()

    def _begin(self) -> None:
        """The errors of an earlier call go when this one has something to say."""
        if self._begun:
            return
        self._begun = True
        self.errors.unlink(missing_ok=True)
        if self._headed and self.joined:  # even without errors of its own it heads those of the other shards
            self._add_errors([])

    def _opened(self) -> TextIO:
        """The table, begun where it is not there."""
        if self._rows is None:
            if self._beside is not None:
                self._beside.open()
            if self._headed and not self.path.exists():
                self._rewrite([])
            self._rows = self.path.open("a", newline="", encoding="utf-8")
        return self._rows

    def add(self, rows: Sequence[Mapping[str, Any]]) -> int:
        """Append rows but those that stood here before, and count them; those with an `error` go to the other table."""
        new = [row for row in rows if row["path"] not in self._ids and row["path"] not in self._others]
        with naming(self.path):
            self._begin()
            self._add(new)
        return len(new)

    def _add(self, rows: Sequence[Mapping[str, Any]]) -> None:
        fine = [row for row in rows if "error" not in row]
        bad = [row for row in rows if "error" in row]
        if fine:
            stream = self._opened()
            if self._beside is not None:
                self._beside.add(fine)
            csv.DictWriter(stream, self.columns, extrasaction="ignore").writerows(fine)
            stream.flush()
        if bad:
            self._add_errors(bad)
        self.added += len(fine)
        self.failed += len(bad)

    def _add_errors(self, rows: Sequence[Mapping[str, Any]]) -> None:
        if self._errors is None:
            self._errors = self.errors.open("w", newline="", encoding="utf-8")
            if self._headed:
                csv.writer(self._errors).writerow(ERRORS)
        csv.DictWriter(self._errors, ERRORS, extrasaction="ignore").writerows(rows)
        self._errors.flush()

    def _agree(self, settings: Mapping[str, Any]) -> None:
        path = self.folder / self.form.facts
        self._first = not path.exists() and write_first(path, json.dumps(dict(settings), indent=1) + "\n")
        if self._first:
            return
        before = _settings(path)  # also of a shard that began at the same moment
        changed = [name for name in settings if name not in INFORMATION and settings[name] != before.get(name)]
        if changed:
            told = [_told(name, before.get(name), settings[name]) for name in changed]
            raise RunError(
                f"{self.folder} holds {self.form.stem} made with another {' and '.join(told)}; choose another --out"
            )

    def _kept(self) -> list[dict[str, str]]:
        if not self.path.exists():
            return []
        content = self.path.read_bytes()
        lines = content[: content.rfind(b"\n") + 1].decode()
        reader = csv.DictReader(io.StringIO(lines, newline=""), fieldnames=None if self._headed else self.columns)
        rows = list(reader)
        if self._headed and lines and tuple(reader.fieldnames or ()) != self.columns:
            raise RunError(f"{self.path} has columns {reader.fieldnames}, expected {list(self.columns)}; move it away")
        if rows and self._beside is not None and not self._beside.path.exists():
            self._beside = None  # begun by a version that kept none: nobody's scores are to be made again for that
        return [row for row in rows if self._is_whole(row)]

    def _refused(self) -> set[str]:
        """Files that an earlier call could not use; a last line cut short is passed over."""
        if not self.errors.exists():
            return set()
        content = self.errors.read_bytes()
        lines = io.StringIO(content[: content.rfind(b"\n") + 1].decode(errors="replace"), newline="")
        found = csv.DictReader(lines, fieldnames=None if self._headed else ERRORS)
        return {row["path"] for row in found if row.get("path")}

    def _of_other_shards(self, shards: int) -> set[str]:
        """Files that stand in the tables of other shards, but for a last line cut short."""
        paths: set[str] = set()
        for table in self.folder.glob(f"{self.form.stem}-*-of-{shards}.csv") if shards > 1 else ():
            if table != self.path:
                content = table.read_bytes()
                lines = content[: content.rfind(b"\n") + 1].decode()
                found = csv.DictReader(io.StringIO(lines, newline=""), fieldnames=self.columns)
                paths |= {row["path"] for row in found if row.get("path")}
        return paths

    def _is_whole(self, row: Mapping[str, str]) -> bool:
        if any(row.get(name) is None for name in self.columns):
            return False
        if self._beside is not None and row["id"] not in self._beside.ids:
            return False
        return all((self.folder / name).exists() for name in row[self.form.files].split(";") if name)

    def _rewrite(self, rows: Sequence[Mapping[str, str]]) -> None:
        stream = io.StringIO(newline="")
        writer = csv.DictWriter(stream, self.columns)
        if self._headed:
            writer.writeheader()
        writer.writerows(rows)
        content = stream.getvalue().encode()
        if not self.path.exists() or self.path.read_bytes() != content:
            write_whole(self.path, content)


def write_errors(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write `errors.csv` where no table is begun, since no image can be used."""
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, ERRORS, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    write_whole(folder / "errors.csv", stream.getvalue())


def _told(name: str, before: Any, now: Any) -> str:
    """A setting that differs, with both values where a person can read them."""
    short = len(f"{before}{now}") < 60
    return f"{name} ({json.dumps(before)} there, {json.dumps(now)} asked for)" if short else name


def _settings(path: Path) -> dict[str, Any]:
    try:
        settings = json.loads(path.read_text())
    except ValueError as error:
        raise RunError(f"{path} cannot be read ({error}); remove the folder, or choose another --out") from error
    if not isinstance(settings, dict):
        raise RunError(f"{path} cannot be read (it holds no settings); remove the folder, or choose another --out")
    return settings
