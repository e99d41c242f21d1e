"""Whether two folders hold the same bytes, but for times and what follows from them."""

import json
import re
from calendar import month_name
from collections.abc import Callable
from pathlib import Path


def difference(first: Path, second: Path) -> tuple[list[str], list[str]]:
    """Files that differ or are missing in the second folder, and those that it has beyond the first."""
    files = _files(first)
    there = _files(second)
    differ = [name for name in files if name not in there or content(first / name) != content(second / name)]
    return differ, sorted(there - files)


def _files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) + ("/" if path.is_dir() else "") for path in folder.rglob("*")}


def content(path: Path) -> object:
    """What a file holds, without what `LEFT_OUT` names; None for a folder."""
    if path.is_dir():
        return None
    told = LEFT_OUT.get(path.name) or LEFT_OUT.get(path.suffix)
    return path.read_bytes() if told is None else told(path.read_text())


def _json_without(*names: str) -> Callable[[str], object]:
    def read(text: str) -> object:
        facts = json.loads(text)
        return {name: value for name, value in facts.items() if name not in names}

    return read


def _column_without(name: str) -> Callable[[str], object]:
    def read(text: str) -> object:
        rows = [line.split(",") for line in text.splitlines()]
        place = rows[0].index(name) if name in rows[0] else len(rows[0])
        return [row[:place] + row[place + 1 :] for row in rows]

    return read


def _lines_without(words: str) -> Callable[[str], object]:
    pattern = re.compile(words)
    return lambda text: [line for line in text.splitlines() if not pattern.search(line)]


def _without(words: str) -> Callable[[str], object]:
    pattern = re.compile(words)
    return lambda text: pattern.sub("", text)


LEFT_OUT: dict[str, Callable[[str], object]] = {
    "run.json": _json_without("created", "checksum"),
    "training.csv": _column_without("seconds"),
    "MODEL_CARD.md": _lines_without("created|[Tt]rained"),
    ".html": _without(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d)?([+-]\d\d:\d\d|Z)?"
        rf"|(; scored on )?\d{{1,2}} ({'|'.join(month_name[1:])}) \d{{4}}"
    ),
}
"""By the name of a file or its ending: the same without the time of making, which a page leaves out where a
file's date is none, and, of run.json, its own checksum, which covers that."""
