"""What images are called: by the column `id` of a table, else by where their files lie.

In a folder an id is made of its own path alone, so that it stays the same whatever lies beside: the folders from the
one that was given, and the file's name without its ending, joined by `_`. A folder called `images` is left out, and
of BIDS names the folders that the name says again. Only where two would have one id are they told apart by more of
their paths.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path, PurePath, PurePosixPath

import pandas as pd

from anomaly.cohorts.results import plain_text, safe_id
from anomaly.errors import CohortError
from anomaly.images.reading import READERS, suffix

LONGEST = 180
"""Bytes of an id that is made of a path: a file's name holds 255, and what is drawn of an image is called longer."""
NOTHING_NEW = re.compile(r"(?:sub|ses)-[A-Za-z0-9]+|images")
DATATYPES = {"anat", "beh", "dwi", "eeg", "fmap", "func", "ieeg", "meg", "micr", "motion", "mrs", "nirs", "perf", "pet"}
Form = Callable[[PurePosixPath], str]


def identified(table: pd.DataFrame, name: str, folder: bool) -> pd.DataFrame:
    """Give a table a column `id` of safe file names, made from the paths of a folder or a table where it has none.

    Raises:
        CohortError: ids of its own that are missing, or differ only in what file names cannot hold.
    """
    if "id" not in table:
        return table.assign(id=_made([_relative(path) for path in table["path"]], IN_FOLDERS if folder else IN_TABLES))
    ids = list(filled(table, "id", name))
    safe = [safe_id(one) for one in ids]
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


def _made(paths: Sequence[PurePosixPath], forms: Sequence[Form]) -> list[str]:
    """Ids of the first form; where they meet, of the next, and so on."""
    ids = [_fitting(forms[0](path), path) for path in paths]
    for form in forms[1:]:
        meet = pd.Series(ids).duplicated(keep=False)
        if not meet.any():
            break
        longer = zip(paths, ids, meet, strict=True)
        ids = [_fitting(form(path), path) if again else one for path, one, again in longer]
    return ids


def _fitting(name: str, path: PurePosixPath) -> str:
    """A name as files may be called by it, not too long for one."""
    made = safe_id(name)
    if len(made.encode()) <= LONGEST:
        return made
    return f"{made.encode()[: LONGEST - 9].decode(errors='ignore')}_{_sum(path)}"


def _sum(path: PurePosixPath) -> str:
    return hashlib.sha256(str(path).encode("utf-8", "backslashreplace")).hexdigest()[:8]


def _relative(path: str) -> PurePosixPath:
    parts = PurePosixPath(Path(path).as_posix()).parts
    return PurePosixPath(*(part.strip("/\\:") for part in parts if part.strip("/\\:.")))


def _telling(path: PurePosixPath) -> list[str]:
    """The folders of a path, but for `images` and what a BIDS name says again: subject, session, kind of data."""
    entities = set(stem(path).split("_"))
    said = {*entities, "images"}
    folders = [part for part in path.parent.parts if part not in said or not NOTHING_NEW.fullmatch(part)]
    of_bids = any(each.startswith("sub-") for each in entities)
    return folders[:-1] if of_bids and path.parent.name in DATATYPES else folders


_LONGER: tuple[Form, ...] = (
    lambda path: "__".join([*path.parent.parts, stem(path)]),
    lambda path: "__".join(path.parts),
    lambda path: f"{'__'.join(path.parts)}_{_sum(path)}",
)
IN_FOLDERS: tuple[Form, ...] = (lambda path: "_".join([*_telling(path), stem(path)]), *_LONGER)
IN_TABLES: tuple[Form, ...] = (stem, lambda path: "_".join([*path.parent.parts, stem(path)]), *_LONGER)
