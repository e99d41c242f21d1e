"""Images of any size and their label maps, read once and kept on disk while a training lasts."""

import json
import logging
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anomaly.cohorts.labels import COLUMN as LABELS
from anomaly.cohorts.results import some
from anomaly.errors import CohortError, UnreadableImage
from anomaly.files import write_whole
from anomaly.images import read
from anomaly.images.caching import AHEAD
from anomaly.images.image import alone
from anomaly.images.labels import Labels, prepared_places, read_labels
from anomaly.images.masking import masked
from anomaly.images.prepared import scaled
from anomaly.images.preprocessing import Preprocessing
from anomaly.progress import progress
from anomaly.streams import ordered

logger = logging.getLogger(__name__)
POINTS = 256
"""Marked pixels of each class that are remembered of each image, drawn by chance: windows are laid around them."""
Picture = tuple[int, int]
"""A row of the table, and one of its slices (0 of a picture or a volume)."""


@dataclass(frozen=True)
class KeptAnnotations:
    """Images and label maps on disk, each at its own size: `values` and `places` are flat memory maps.

    Of each row of the table there are `slices` pictures, or one volume, (slices, C, *space), and of those with label
    maps as many maps of places (slices, *space). `counts` (rows, K) says how many pixels each class has; `points`
    (any, 1 + dims) are slice and place of some of them, those of row r and class k from `spans[r, k, 0]` to
    `spans[r, k, 1]`.
    """

    values: np.ndarray
    places: np.ndarray
    table: pd.DataFrame
    offsets: np.ndarray
    spaces: np.ndarray
    channels: int
    counts: np.ndarray
    points: np.ndarray
    spans: np.ndarray
    lost: Mapping[str, int]

    @classmethod
    def open(cls, folder: Path) -> "KeptAnnotations":
        """Read what `keep_annotations` wrote."""
        texts = {"id": str, "subject": str, "path": str, LABELS: str}
        table = pd.read_csv(folder / "images.csv", dtype=texts, keep_default_na=False)
        facts = json.loads((folder / "images.json").read_text())
        values = np.memmap(folder / "images.raw", dtype=np.float32, mode="r")
        places = np.memmap(folder / "labels.raw", dtype=np.uint8, mode="r")
        spaces = np.array(facts["spaces"])
        sizes = [prod(space) * slices for space, slices in zip(spaces, table["slices"], strict=True)]
        marked = np.where(table[LABELS] != "", sizes, 0)
        offsets = np.stack([np.concatenate([[0], np.cumsum(each)]) for each in (sizes, marked)])
        return cls(
            values, places, table, offsets, spaces, facts["channels"], np.array(facts["counts"]),
            np.load(folder / "points.npy"), np.array(facts["spans"]), facts["lost"],
        )  # fmt: skip

    @property
    def unreadable(self) -> int:
        """How many images were lost in all."""
        return sum(self.lost.values())

    @property
    def sliced(self) -> bool:
        """Whether they are slices of volumes."""
        return bool((self.table["slices"] > 1).any())

    def rows(self, part: str) -> np.ndarray:
        """The rows of one part of the split."""
        return np.flatnonzero((self.table["split"] == part).to_numpy())

    def part(self, name: str) -> list[Picture]:
        """Row and slice of each picture (or volume) of one part of the split."""
        return [(int(row), s) for row in self.rows(name) for s in range(int(self.table["slices"].iloc[row]))]

    def of(self, row: int) -> np.ndarray:
        """The images of a row, (slices, C, *space)."""
        start, end = self.offsets[0, row : row + 2] * self.channels
        return self.values[start:end].reshape(-1, self.channels, *map(int, self.spaces[row]))

    def places_of(self, row: int) -> np.ndarray:
        """The places of their classes, (slices, *space)."""
        start, end = self.offsets[1, row : row + 2]
        return self.places[start:end].reshape(-1, *map(int, self.spaces[row]))

    def marked(self, row: int, place: int) -> np.ndarray:
        """Slice and place (n, 1 + dims) of some pixels of a class in a row."""
        start, end = self.spans[row, place]
        return self.points[start:end]


def keep_annotations(
    cohort: pd.DataFrame,
    preprocessing: Preprocessing,
    labels: Labels,
    folder: Path,
    *,
    workers: int | None = None,
) -> None:
    """Read every image and every label map once, in parallel, part by part of the split.

    Files that cannot be used are named in `errors.csv` beside the folder and left out. Nothing is done where all is
    there already.

    Args:
        cohort: id, path, subject, split, labels (a path, or ""), perhaps mask.
        preprocessing: how images are prepared.
        labels: which numbers are which class.
        folder: gets the files.
        workers: threads; None takes one a core.

    Raises:
        CohortError: none of the images with label maps, or of those without, can be used.
    """
    if (folder / "images.json").exists():
        return
    (folder.parent / "errors.csv").unlink(missing_ok=True)
    rows: list[Any] = cohort.sort_values("split", kind="stable").to_dict("records")
    kept: list[dict[str, Any]] = []
    failed: list[dict[str, Any]] = []
    lost: Counter[str] = Counter()
    facts: dict[str, Any] = {"spaces": [], "counts": [], "spans": [], "channels": 0}
    points: list[np.ndarray] = []
    outside: dict[str, list[str]] = {}
    with (
        open(folder / "images.raw", "wb") as raw, open(folder / "labels.raw", "wb") as maps,
        progress("reading images", len(rows), unit="images") as bar,
    ):  # fmt: skip
        for number, (row, found) in enumerate(zip(rows, _ready(rows, preprocessing, labels, workers), strict=True)):
            bar.advance()
            if isinstance(found, UnreadableImage):
                failed.append({"id": row["id"], "path": row["path"], "error": str(found)})
                lost[row["split"]] += 1
                continue
            pixels, places, beside = found
            for place in beside:
                outside.setdefault(labels.names[place - 1], []).append(str(row["id"]))
            raw.write(pixels.tobytes())
            maps.write(places.tobytes())
            kept.append({**row, "slices": len(pixels)})
            facts["channels"] = pixels.shape[1]
            facts["spaces"].append(list(pixels.shape[2:]))
            facts["counts"].append(np.bincount(places.ravel(), minlength=labels.count).tolist())
            facts["spans"].append(_remember(places, labels.count, points, number))
        if not maps.tell():
            maps.write(b"\0")  # a memory map cannot be empty
    if failed:
        write_whole(folder.parent / "errors.csv", pd.DataFrame(failed).to_csv(index=False))
    for name, ids in outside.items():
        logger.warning(
            "class %s is marked in %d images outside of their masks alone (%s), where it counts as background",
            name, len(ids), some(ids),
        )  # fmt: skip
    _refuse_nothing(rows, kept, failed)
    np.save(folder / "points.npy", np.concatenate(points) if points else np.zeros((0, 1 + preprocessing.dims), int))
    write_whole(folder / "images.csv", pd.DataFrame(kept).to_csv(index=False))
    write_whole(folder / "images.json", json.dumps({**facts, "lost": lost}))


def _remember(places: np.ndarray, count: int, points: list[np.ndarray], number: int) -> list[list[int]]:
    """Put some pixels of each class behind the others; from where to where, of each class."""
    start = sum(map(len, points))
    rng, spans = np.random.default_rng(number), [[start, start]]
    if not places.size:
        return spans * count
    for place in range(1, count):
        there = np.flatnonzero(places == place)
        if len(there) > POINTS:
            there = np.sort(rng.choice(there, POINTS, replace=False))
        points.append(np.stack(np.unravel_index(there, places.shape), axis=1).astype(np.int32))
        spans.append([start, start + len(there)])
        start += len(there)
    return spans


def _refuse_nothing(rows: list[Any], kept: list[Any], failed: list[Any]) -> None:
    for labelled, what in ((True, "images with label maps"), (False, "images without label maps")):
        asked = sum(bool(row[LABELS]) == labelled for row in rows)
        if asked and not any(bool(row[LABELS]) == labelled for row in kept):
            names = {row["id"] for row in rows if bool(row[LABELS]) == labelled}
            first = next(one["error"] for one in failed if one["id"] in names)
            raise CohortError(f"none of the {asked} {what} can be used; the first: {first}")


def _ready(
    rows: list[dict[str, Any]], preprocessing: Preprocessing, labels: Labels, workers: int | None
) -> Iterator[tuple[np.ndarray, np.ndarray, list[int]] | UnreadableImage]:
    def one(row: dict[str, Any]) -> tuple[np.ndarray, np.ndarray, list[int]] | UnreadableImage:
        try:
            return read_one(row, preprocessing, labels)
        except UnreadableImage as error:
            return error

    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        yield from ordered(pool, one, rows, ahead=AHEAD)


def read_one(
    row: Mapping[str, Any], preprocessing: Preprocessing, labels: Labels
) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """An image (S, C, *size) in [-1, 1] and its places of classes (S, *size); of none without a label map, (0,).

    Behind them the classes that are marked outside of its mask, and nowhere in it.

    Raises:
        UnreadableImage: either cannot be used.
    """
    image = masked(read(Path(row["path"])), row.get("mask"))
    prepared = alone(image.path, lambda: scaled(preprocessing.apply(image), image.path))
    pixels = np.ascontiguousarray(prepared.pixels, dtype=np.float32)
    if not row[LABELS]:
        return pixels, np.zeros(0, dtype=np.uint8), []
    marked = labels.places(read_labels(row[LABELS], image))
    places = alone(image.path, lambda: prepared_places(marked, labels.count, prepared))
    beside = set[int]() if image.mask is None else {*np.unique(marked)} - {*np.unique(marked[image.mask])}
    return pixels, np.ascontiguousarray(places), sorted(map(int, beside - {0}))
