"""Painted images one by one into a table that grows: what is there stays, and never by other masks."""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from anomaly.cohorts.tables import GrowingTable
from anomaly.errors import RunError, UnreadableImage
from anomaly.files import sha256_of
from anomaly.images.image import alone
from anomaly.images.labels import Labels
from anomaly.progress import progress
from anomaly.streams import ordered
from anomaly.training.machine import one_core_left
from explain.painting.canvas import Canvas

AHEAD = 2
MASKED_BY = "masked_by"
"""Column of what `marked_by` makes of the mask and the label map of a row."""
Row = Mapping[str, Any]
Painting = tuple[Canvas, Any, Any]
"""Canvas, where it was painted on the file's grid (*space) bool, and what was painted."""


class NoLesion(UnreadableImage):
    """A label map marks none of the classes: there is nothing to paint out, which is no fault of the image."""


def painted_into(
    table: GrowingTable,
    rows: Sequence[Row],
    draw: Callable[[Row], Painting],
    finish: Callable[[Row, Painting], dict[str, Any]],
    *,
    title: str,
    unit: str,
    workers: int | None,
) -> tuple[int, int]:
    """Make what a table has not yet; how many it had before, and how many had no lesion.

    Args:
        table: opened with the settings that all rows share.
        rows: id, path and `masked_by`, and `drawn_from` where path is that of the file that is made.
        draw: paints one.
        finish: writes its files, then gives its row: a row never names a file that is not there.
        title, unit: of the progress bar.
        workers: threads that write; None takes one a core.

    Raises:
        RunError: a row of before was made by another mask.
    """
    _refuse_other_masks(table, rows)
    left, without = table.left(rows), 0
    before = len(rows) - len(left)
    with (
        ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool, table, one_core_left(),
        progress(title, len(rows), done=before, unit=unit) as bar,
    ):  # fmt: skip
        for row in ordered(pool, partial(_finished, finish), _each(draw, left), ahead=AHEAD):
            if row is None:
                without += 1
            else:
                table.add([row])
            bar.advance()
    return before, without


def marked_by(*files: str) -> str:
    """A checksum of the content of files, or of folders of slices, those not named or not there among them."""
    digest = hashlib.sha256()
    for file in files:
        path = Path(file)
        parts = sorted(path.iterdir()) if file and path.is_dir() else [path] if file and path.is_file() else []
        digest.update(f"{len(parts)} ".encode())
        for part in parts:
            digest.update(bytes.fromhex(sha256_of(part)) if part.is_file() else b"-")
    return f"sha256:{digest.hexdigest()}"


def named(given: str | None, columns: Iterable[object], out: Path) -> str | None:
    """A column, or a folder from where the table lies, so that both may be moved together."""
    if given is None or given in {*columns}:
        return given
    return os.path.relpath(given, out)


def as_json(labels: Labels | None) -> dict[str, Any] | None:
    """Classes as plain values, None for none."""
    return None if labels is None else labels.as_json()


def _refuse_other_masks(table: GrowingTable, rows: Sequence[Row]) -> None:
    if not table.done:  # no row, and perhaps no table yet
        return
    kept = pd.read_csv(table.path, dtype=str, keep_default_na=False)
    before = dict(zip(kept["id"], kept[MASKED_BY], strict=True))
    for row in rows:
        name = table.name(row)
        if before.get(name, row[MASKED_BY]) != row[MASKED_BY]:
            raise RunError(
                f"{table.path} has {name} painted by another mask, or with other tissues, than the files hold now; "
                "choose another --out"
            )


def _source(row: Row) -> str:
    return str(row.get("drawn_from", row["path"]))


def _each(draw: Callable[[Row], Painting], rows: Sequence[Row]) -> Iterator[tuple[Row, Painting | str | None]]:
    for row in rows:
        try:
            yield row, alone(Path(_source(row)), partial(draw, row), "painted")
        except NoLesion:
            yield row, None
        except UnreadableImage as error:
            yield row, str(error)


def _finished(
    finish: Callable[[Row, Painting], dict[str, Any]], done: tuple[Row, Painting | str | None]
) -> dict[str, Any] | None:
    row, found = done
    if found is None:
        return None
    try:
        if not isinstance(found, str):
            return alone(Path(_source(row)), partial(finish, row, found), "written")
    except UnreadableImage as error:
        found = str(error)
    return {"id": row["id"], "path": _source(row), "error": found}
