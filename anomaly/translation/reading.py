"""Images of a heap in memory, as a run takes them, with what is known of them: structures, and true translations."""

import logging
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anomaly.cohorts.results import some
from anomaly.errors import CohortError, UnreadableImage
from anomaly.images import Image, read
from anomaly.images.grids import covered, resample
from anomaly.images.image import alone
from anomaly.images.masking import masked, read_mask
from anomaly.images.prepared import Prepared
from anomaly.progress import progress
from anomaly.streams import ordered
from anomaly.translation.heaps import BESIDE
from anomaly.translation.run import TranslatorRun
from anomaly.translation.translating import prepare

logger = logging.getLogger(__name__)
MOST, MOST_BYTES = 1000, 512 * 2**20
"""Images of a heap, and what of memory they take, beyond which some are looked at, chosen by chance for good."""
AHEAD = 64


@dataclass(frozen=True)
class Heap:
    """Prepared images of one heap, a slice of a volume each.

    Args:
        pixels: (n, C, *space).
        ids, subjects: of each.
        structure: what a segmentation marks, (n, *space) bool; None where none was asked for.
        twins: how each looks in truth in the other heap, as `pixels`; None where that was not asked for.
        unreadable: id, path and error of those that cannot be used.
    """

    pixels: np.ndarray
    ids: np.ndarray
    subjects: np.ndarray
    structure: np.ndarray | None
    twins: np.ndarray | None
    unreadable: list[dict[str, str]]


def read_heap(
    run: TranslatorRun,
    cohort: pd.DataFrame,
    *,
    structure: str | None = None,
    twin: str | None = None,
    base: Path | None = None,
    workers: int | None = None,
) -> Heap:
    """Read and prepare images as the run takes them, at most 1,000 or 512 MiB of them.

    Args:
        run: says how.
        cohort: id, path, subject, perhaps mask.
        structure, twin: columns of the files of segmentations, and of true translations, as `Heaps.read` keeps them.
        base: where relative paths of these columns start from.
        workers: threads; None takes one a core.

    Raises:
        CohortError: none can be used, or the table lacks a column.
    """
    missing = [name for name in (structure, twin) if name is not None and BESIDE + name not in cohort]
    if missing:
        raise CohortError(f"the table has no column {some(missing)}; its columns are {some(cohort.columns, 20)}")
    rows: list[Any] = _picked(cohort, most_of(run.translator.shape_)).to_dict("records")
    work = partial(_one, run=run, structure=structure, twin=twin, base=base or Path())
    found, failed = [], []
    with (
        ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool,
        progress("reading", len(rows), unit="images") as bar,
    ):
        for row, one in zip(rows, ordered(pool, work, rows, ahead=AHEAD), strict=True):
            bar.advance()
            if isinstance(one, UnreadableImage):
                failed.append({"id": row["id"], "path": row["path"], "error": str(one)})
            else:
                found.append((row, one))
    if not found:
        first = failed[0]["error"] if failed else "there is none"
        raise CohortError(f"none of the {len(rows)} images can be used; the first: {first}")
    counts = [len(pixels) for _, (pixels, _, _) in found]

    def whole(which: int, asked: str | None) -> np.ndarray | None:
        return None if asked is None else np.concatenate([one[which] for _, one in found])

    pixels = whole(0, "pixels")
    assert pixels is not None
    ids, subjects = (np.repeat([str(row[name]) for row, _ in found], counts) for name in ("id", "subject"))
    return Heap(pixels, ids, subjects, whole(1, structure), whole(2, twin), failed)


def most_of(shape: Sequence[int]) -> int:
    """How many images of shape (C, *space) are looked at."""
    return max(1, min(MOST, MOST_BYTES // (4 * int(np.prod(shape)))))


def on_grid(values: np.ndarray, prepared: Prepared) -> np.ndarray:
    """What of a prepared image (S, *size) a segmentation (*space) bool of its source marks: half of a pixel or more."""
    grid = list(prepared.pixels.shape[2:])
    if prepared.sliced is not None:
        grid.insert(prepared.sliced, prepared.slices)
    share = resample(values.astype(np.float32), prepared.matrix, tuple(grid), smooth=True)
    along = covered(prepared.matrix, prepared.source, tuple(grid))
    marked = (share >= 0.5) & np.logical_and.reduce(np.meshgrid(*along, indexing="ij"))
    slices = marked[None] if prepared.sliced is None else np.moveaxis(marked, prepared.sliced, 0)[prepared.places]
    return np.asarray(slices & prepared.foreground[:, 0])


def _one(
    row: Mapping[str, Any], *, run: TranslatorRun, structure: str | None, twin: str | None, base: Path
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None] | UnreadableImage:
    try:
        image = masked(read(Path(row["path"])), row.get("mask"))
        (prepared,) = alone(image.path, lambda: prepare(image, run))
        marked = None if structure is None else on_grid(_marked(row[BESIDE + structure], image, base), prepared)
        true = None if twin is None else _twin(row[BESIDE + twin], row.get("mask"), run, prepared, base)
        return prepared.pixels, marked, true
    except UnreadableImage as error:
        return error


def _marked(cell: Any, image: Image, base: Path) -> np.ndarray:
    if pd.isna(cell) or not str(cell).strip():
        raise UnreadableImage(f"{image.path}: has no segmentation in the table; fill in its file, or leave it out")
    return read_mask(base / str(cell), image)


def _twin(cell: Any, mask: str | None, run: TranslatorRun, like: Prepared, base: Path) -> np.ndarray:
    if pd.isna(cell) or not str(cell).strip():
        raise UnreadableImage("an image has no true translation in the table; fill in its file, or leave it out")
    image = masked(read(base / str(cell)), mask)
    (prepared,) = alone(image.path, lambda: prepare(image, run))
    if prepared.pixels.shape != like.pixels.shape:
        raise UnreadableImage(
            f"{image.path}: has shape {prepared.pixels.shape} once prepared, its image {like.pixels.shape}; register it"
        )
    return prepared.pixels


def _picked(rows: pd.DataFrame, most: int) -> pd.DataFrame:
    """At most so many rows, chosen by chance but always the same."""
    return rows.iloc[np.sort(np.random.default_rng(0).permutation(len(rows))[:most])]
