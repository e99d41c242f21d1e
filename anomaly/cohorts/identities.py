"""What images are called: by the column `id` of a table, else by where their files lie.

An id is made of the image's own path alone, so that it stays the same whatever lies beside or stands in other rows: the
folders from the one that was given, or from the table's, and the file's name without its ending, joined by `_`. A
folder called `images` is left out, and of BIDS names the folders that the name says again; of a path that leads
elsewhere only the last folder is taken. Only where two would have one id neither has it: both are told apart by more of
their paths, and nobody else's id changes.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath

import pandas as pd

from anomaly.cohorts.results import plain_text, safe_id
from anomaly.errors import CohortError
from anomaly.images.reading import READERS, suffix

LONGEST = 180
"""Bytes of an id that is made of a path: a file's name holds 255, and what is drawn of an image is called longer."""
NOTHING_NEW = re.compile(r"(?:sub|ses)-[A-Za-z0-9]+|images")
DATATYPES = {"anat", "beh", "dwi", "eeg", "fmap", "func", "ieeg", "meg", "micr", "motion", "mrs", "nirs", "perf", "pet"}
LONGEST_OWN = 210
"""Bytes of an id that a table gives: 45 are left for what is put before and behind it in names of files."""
Form = Callable[["Place"], str]


@dataclass(frozen=True)
class Place:
    """Where a file lies: its path as it is, of what of it names can be made, and whether it leads elsewhere."""

    whole: str
    path: PurePosixPath
    elsewhere: bool

    @property
    def sum(self) -> str:
        """Eight digits that follow from the whole path alone."""
        return hashlib.sha256(self.whole.encode("utf-8", "backslashreplace")).hexdigest()[:8]


def identified(table: pd.DataFrame, name: str, base: Path | None) -> pd.DataFrame:
    """Give a table a column `id` of safe file names, made from its paths where it has none.

    Args:
        table: with a column `path`.
        name: of its file, for messages.
        base: the folder that paths start from, which says nothing of who is who; None takes them as they stand.

    Raises:
        CohortError: ids of its own that are missing, too long, or differ only in what file names cannot hold.
    """
    if "id" not in table:
        return table.assign(id=_made([_place(path, base) for path in table["path"]]))
    ids = list(filled(table, "id", name))
    safe = [safe_id(one) for one in ids]
    long = [one for one in safe if len(one.encode()) > LONGEST_OWN]
    if long:
        raise CohortError(f"{name}: {len(long)} ids are longer than {LONGEST_OWN} bytes ({long[0]}); shorten them")
    if len(set(safe)) < len(set(ids)):
        raise CohortError(f"{name}: ids differ only in characters that file names cannot hold; rename them")
    return table.assign(id=safe)


def filled(table: pd.DataFrame, column: str, name: str) -> pd.Series[str]:
    """A column of names as text.

    Raises:
        CohortError: a row has none.
    """
    texts = table[column].map(plain_text)
    empty = int((table[column].isna() | (texts == "")).sum())
    if empty:
        raise CohortError(f"{name}: {empty} rows have no {column}; fill them in or leave them out")
    return texts


def stem(path: PurePath) -> str:
    """Give the name without its ending; names such as 1.2.840 (a series' folder) have none."""
    ending = suffix(path)
    return path.name.removesuffix(path.name[-len(ending) :]) if ending in READERS else path.name


def _made(places: Sequence[Place]) -> list[str]:
    """Ids of the first form; where they meet, of the next, and so on. A name that two would have goes to nobody."""
    ids, taken, left = [""] * len(places), set[str](), list(range(len(places)))
    for form in FORMS:
        for which in left:
            ids[which] = _fitting(form(places[which]), places[which])
        counts = Counter(ids[which] for which in left)
        left = [which for which in left if counts[ids[which]] > 1 or ids[which] in taken]
        taken |= {*counts}
    return ids


def _fitting(name: str, place: Place) -> str:
    """A name as files may be called by it, not too long for one."""
    made = safe_id(name)
    if len(made.encode()) <= LONGEST:
        return made
    return f"{made.encode()[: LONGEST - 9].decode(errors='ignore')}_{place.sum}"


def _place(path: str, base: Path | None) -> Place:
    """A path from the base where it leads there, else as it stands."""
    whole = Path(os.path.normpath(path))
    if base is not None:
        absolute = Path(os.path.abspath(base / path))
        whole = absolute.relative_to(base) if absolute.is_relative_to(base) else whole
    told = whole.as_posix()
    parts = PurePosixPath(told).parts
    elsewhere = whole.is_absolute() or whole.parts[:1] == ("..",)
    short = PurePosixPath(*(part.strip("/\\:") for part in parts if part.strip("/\\:.")))
    return Place(told, short, elsewhere)


def _telling(path: PurePosixPath) -> list[str]:
    """The folders of a path, but for `images` and what a BIDS name says again: subject, session, kind of data."""
    entities = set(stem(path).split("_"))
    said = {*entities, "images"}
    folders = [part for part in path.parent.parts if part not in said or not NOTHING_NEW.fullmatch(part)]
    of_bids = any(each.startswith("sub-") for each in entities)
    return folders[:-1] if of_bids and path.parent.name in DATATYPES else folders


FORMS: tuple[Form, ...] = (
    lambda place: "_".join([*_telling(place.path)[-1 if place.elsewhere else 0 :], stem(place.path)]),
    lambda place: "__".join([*place.path.parent.parts, stem(place.path)]),
    lambda place: "__".join(place.path.parts),
    lambda place: f"{'__'.join(place.path.parts)}_{place.sum}",
)
"""Each says more of a path than the one before it; the last is one of its own for every path."""
