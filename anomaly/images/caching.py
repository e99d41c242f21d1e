"""Normals read and prepared once, kept on disk while a training lasts."""

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anomaly.errors import CohortError, UnreadableImage
from anomaly.files import whole, write_whole
from anomaly.images import read
from anomaly.images.image import alone
from anomaly.images.likeness import described
from anomaly.images.masking import masked
from anomaly.images.prepared import scaled
from anomaly.images.preprocessing import Preprocessing
from anomaly.progress import progress
from anomaly.streams import ordered

AHEAD = 64
KINDS = "kinds.npy"


@dataclass(frozen=True)
class CachedImages:
    """Prepared images on disk: `pixels` (n, C, *space) is a memory map, `table` says whose they are.

    A row of the table covers as many images as its column `slices` says; so many images of each part of the split
    were `lost`, since they cannot be read. `kinds` (rows of the table, D) says what kind of image each is (see
    `anomaly.images.likeness`); None in a cache that an older version began.
    """

    pixels: np.ndarray
    table: pd.DataFrame
    lost: Mapping[str, int]
    kinds: np.ndarray | None = None

    @classmethod
    def open(cls, folder: Path) -> "CachedImages":
        """Read what `cache_images` wrote."""
        texts = {"id": str, "subject": str, "path": str, "class": str, "mask": str}
        table = pd.read_csv(folder / "images.csv", dtype=texts, keep_default_na=False)  # a subject may be called NA
        facts = json.loads((folder / "images.json").read_text())
        pixels = np.memmap(folder / "images.raw", dtype=np.float32, mode="r", shape=tuple(facts["shape"]))
        kinds = np.load(folder / KINDS, allow_pickle=False) if (folder / KINDS).is_file() else None
        return cls(pixels, table, facts.get("lost", {}), kinds)

    @property
    def unreadable(self) -> int:
        """How many images were lost in all."""
        return sum(self.lost.values())

    @property
    def sliced(self) -> bool:
        """Whether they are slices of volumes."""
        return bool((self.table["slices"] > 1).any())

    def part(self, name: str) -> np.ndarray:
        """The images of one part of the split, which lie together, as a view.

        Raises:
            CohortError: none of them could be read.
        """
        rows = np.flatnonzero((self.table["split"] == name).to_numpy())
        if not len(rows):
            raise CohortError(
                f"no readable image is left in the part {name!r}; give more of them, or mend those that "
                "errors.csv in the run folder names"
            )
        ends = np.concatenate([[0], np.cumsum(self.table["slices"])])
        return self.pixels[ends[rows[0]] : ends[rows[-1] + 1]]


def cache_images(
    cohort: pd.DataFrame, preprocessing: Preprocessing, folder: Path, *, workers: int | None = None
) -> None:
    """Read and prepare every image once, in parallel, into one array on disk, part by part of the split.

    Files that cannot be used are named in `errors.csv` beside the folder and left out. Nothing is done where the
    cache is already complete.

    Args:
        cohort: id, path, subject, split, perhaps mask, and whatever else is to be kept.
        preprocessing: how images become tensors.
        folder: gets the cache.
        workers: threads; None takes one a core.

    Raises:
        CohortError: no image can be read, or they have different shapes or channels.
    """
    if (folder / "images.json").exists():
        return
    (folder.parent / "errors.csv").unlink(missing_ok=True)
    rows: list[Any] = cohort.sort_values("split", kind="stable").to_dict("records")
    kept: list[dict[str, Any]] = []
    kinds: list[np.ndarray] = []
    failed: list[dict[str, Any]] = []
    lost: Counter[str] = Counter()
    shape: tuple[int, ...] = ()
    with (
        open(folder / "images.raw", "wb") as raw,
        progress("reading normals", len(rows), unit="images") as bar,
    ):
        for row, found in zip(rows, _prepared(rows, preprocessing, workers), strict=True):
            bar.advance()
            if isinstance(found, UnreadableImage):
                failed.append({"id": row["id"], "path": row["path"], "error": str(found)})
                lost[row["split"]] += 1
                continue
            pixels, kind = found
            shape = shape or pixels.shape[1:]
            if pixels.shape[1:] != shape:
                raise CohortError(
                    f"{row['path']} has shape {pixels.shape[1:]}, images before it {shape} (C, *space); "
                    "give one --size for all"
                )
            raw.write(pixels.tobytes())
            kept.append({**row, "slices": len(pixels)})
            kinds.append(kind)
    if failed:
        write_whole(folder.parent / "errors.csv", pd.DataFrame(failed).to_csv(index=False))
    if not kept:
        raise CohortError(f"none of the {len(rows)} images can be read; the first: {failed[0]['error']}")
    write_whole(folder / "images.csv", pd.DataFrame(kept).to_csv(index=False))
    with whole(folder / KINDS) as part, part.open("wb") as stream:
        np.save(stream, np.stack(kinds), allow_pickle=False)
    facts = {"shape": [sum(row["slices"] for row in kept), *shape], "lost": lost}
    write_whole(folder / "images.json", json.dumps(facts))


def first_readable(cohort: pd.DataFrame, preprocessing: Preprocessing) -> np.ndarray:
    """The first image (S, C, *size) of a table that can be read and prepared.

    Raises:
        CohortError: none can.
    """
    rows: list[Any] = cohort.to_dict("records")
    error: UnreadableImage | None = None
    for row in rows:
        found = _ready(row, preprocessing)
        if not isinstance(found, UnreadableImage):
            return found[0]
        error = error or found
    raise CohortError(f"none of the {len(rows)} images can be read; the first: {error}")


def _prepared(
    rows: list[dict[str, Any]], preprocessing: Preprocessing, workers: int | None
) -> Iterator[tuple[np.ndarray, np.ndarray] | UnreadableImage]:
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        yield from ordered(pool, lambda row: _ready(row, preprocessing), rows, ahead=AHEAD)


def _ready(row: dict[str, Any], preprocessing: Preprocessing) -> tuple[np.ndarray, np.ndarray] | UnreadableImage:
    """The pixels of an image and what kind of image it is, or why it cannot be used."""
    try:
        image = masked(read(Path(row["path"])), row.get("mask"))
        ready = alone(image.path, lambda: scaled(preprocessing.apply(image), image.path))
        kind = alone(image.path, lambda: described(image, ready), "described")
        return np.ascontiguousarray(ready.pixels, dtype=np.float32), kind
    except UnreadableImage as error:
        return error
