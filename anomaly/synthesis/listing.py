"""Which label maps there are, what they are called, what chance each is drawn with, and whether they changed."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from anomaly.cohorts.cohort import read_cohort
from anomaly.cohorts.identities import identified
from anomaly.cohorts.labels import COLUMN, base_of, with_labels
from anomaly.cohorts.masks import Given
from anomaly.cohorts.patterns import pattern_of
from anomaly.errors import CohortError
from anomaly.files import sha256_of
from anomaly.images.finding import Globs, find
from anomaly.images.names import located, spelled

PAIRED = (".hdr", ".img")


def read_maps(
    labels: Path | str | pd.DataFrame, *, column: str | None = None, mask: Given = None, **whose: Any
) -> pd.DataFrame:
    """One row a label map: id, path, subject, perhaps mask. Of a folder all images are label maps, whatever they hold.

    Raises:
        CohortError: there are none.
    """
    given = labels
    if not isinstance(labels, pd.DataFrame) and Path(labels).is_dir():
        given = _all_of(Path(os.path.abspath(labels)), whose)
    table = read_cohort(given, mask=mask, missing="keep", **whose)
    told = dict(table.attrs)
    asked = column or (COLUMN if COLUMN in table else None)
    if asked is not None and asked != "path":
        name = "the table" if isinstance(labels, pd.DataFrame) else str(labels)
        if asked not in table:
            raise CohortError(f"{name}: has no column {asked!r}; its columns are {', '.join(map(str, table.columns))}")
        table = with_labels(table, asked, base_of(labels), name)
        table = table[table[COLUMN] != ""]
        table = table.assign(path=table[COLUMN])
    table = table.drop(columns=[COLUMN], errors="ignore").reset_index(drop=True)
    twice = table["path"][table["path"].duplicated()]
    if len(twice):
        raise CohortError(f"{len(twice)} label maps are there twice, such as {twice.iloc[0]}; name each once")
    table.attrs = told
    return table


def _all_of(folder: Path, whose: dict[str, Any]) -> pd.DataFrame:
    """Every image of a folder as a table, called as `read_cohort` calls it; what was asked of paths is done here."""
    match: Globs = whose.pop("match", None)
    found = find(folder, match, whose.pop("exclude", None), all_of_it=True)
    base = folder.parent if found == [folder] else folder
    paths = [spelled(file.relative_to(base).as_posix()) for file in found]
    table = identified(pd.DataFrame({"path": paths}), str(folder), base)
    pattern = whose.pop("subject_pattern", None)
    if pattern and not whose.get("subject"):
        hits = [pattern_of(pattern).search(path) for path in paths]
        bare = [path for path, hit in zip(paths, hits, strict=True) if hit is None or not hit[1]]
        if bare:
            raise CohortError(f"{folder}: subject_pattern {pattern!r} does not match {len(bare)} paths ({bare[0]})")
        table["subject"] = [hit[1] for hit in hits if hit is not None]
    return table.assign(path=[spelled(str(file)) for file in found])


def contents_of(row: Mapping[str, Any]) -> str:
    """SHA-256 of the files of a label map and its mask, so that an edited one is known; "" of what is not there."""
    files = list[Path]()
    for name in ("path", "mask"):
        path = located(Path(str(row.get(name) or "")))
        pair = [path.with_suffix(end) for end in PAIRED] if path.suffix in PAIRED else [path]
        files += sorted(path.iterdir()) if row.get(name) and path.is_dir() else pair if row.get(name) else []
    told = [sha256_of(file) for file in files if file.is_file()]
    return told[0] if len(told) == 1 else hashlib.sha256("".join(told).encode()).hexdigest() if told else ""


def seed_of(seed: int, name: str, draw: int) -> int:
    """The seed of one draw of one label map, by its name alone, whatever else is drawn."""
    digest = hashlib.sha256(f"{seed}:{name}:{draw}".encode()).digest()
    return int.from_bytes(digest[:4], "little")


def seeds_of(seed: int, slices: int) -> list[int]:
    """The seeds of the grain of a scan's slices: of the first that of the scan, which is that of the style of all."""
    return [seed, *(seed_of(seed, "slice", k) for k in range(1, slices))]


def drawn_name(name: str, draw: int) -> str:
    """What a draw of a label map is called: the first as the map, then ID-2, ID-3, ..."""
    return name if draw == 0 else f"{name}-{draw + 1}"


def refuse_alike(ids: Sequence[str], draws: int) -> None:
    """Say plainly when the draws of one map would be called as another map is.

    Raises:
        CohortError: so.
    """
    names = {each: (one, draw) for draw in range(draws) for one in ids for each in [drawn_name(one, draw)]}
    if len(names) < len(ids) * draws:
        first = next(one for one in ids if names[one][0] != one)
        raise CohortError(f"{first} is the name of a label map and of a draw of {names[first][0]}; give other ids")
