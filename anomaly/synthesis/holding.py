"""Images with their label maps in memory, as a run takes them, and what is drawn of the same maps."""

import logging
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from anomaly.errors import CohortError, UnreadableImage
from anomaly.progress import progress
from anomaly.streams import ordered
from anomaly.synthesis.reading import read_pair
from anomaly.synthesis.run import SynthesizerRun

logger = logging.getLogger(__name__)
MOST, MOST_BYTES = 1000, 512 * 2**20
"""Pictures and slices, and what of memory they take, beyond which some are looked at, chosen by chance for good."""
AHEAD = 4


@dataclass(frozen=True)
class Held:
    """Prepared images with their label maps, a slice of a volume each.

    Args:
        pixels: (n, C, *space).
        places: (n, *space), 255 outside masks.
        ids, subjects: of each.
        unreadable: id, path and error of those that cannot be used.
        left: images that were not looked at, for there were too many.
    """

    pixels: np.ndarray
    places: np.ndarray
    ids: np.ndarray
    subjects: np.ndarray
    unreadable: list[dict[str, str]]
    left: int = 0

    def part(self, chosen: np.ndarray) -> "Held":
        """Some of them."""
        return Held(self.pixels[chosen], self.places[chosen], self.ids[chosen], self.subjects[chosen], [])


def read_held(run: SynthesizerRun, cohort: pd.DataFrame, *, workers: int | None = None) -> Held:
    """Read and prepare images and label maps as the run takes them, at most 1,000 slices or 512 MiB of them.

    Volumes are taken whole, one at least; that not all were looked at is told.

    Raises:
        CohortError: none can be used.
    """
    shape = run.synthesizer.shape_
    most = max(1, min(MOST, MOST_BYTES // (4 * int(np.prod(shape)))))
    order = np.random.default_rng(0).permutation(len(cohort))
    every: list[Any] = cohort.to_dict("records")
    rows = [every[k] for k in order]
    found, failed, slices, looked = list[Any](), list[dict[str, str]](), 0, 0
    with (
        ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool,
        progress("reading", len(rows), unit="images") as bar,
    ):
        for row, one in zip(rows, ordered(pool, partial(_one, run=run), rows, ahead=AHEAD), strict=False):
            if not isinstance(one, UnreadableImage) and found and slices + len(one[0]) > most:
                break
            looked += 1
            bar.advance()
            if isinstance(one, UnreadableImage):
                failed.append({"id": row["id"], "path": row["path"], "error": str(one)})
            else:
                found.append((row, one))
                slices += len(one[0])
    if looked < len(rows):
        told = "looked at %d of %d images (%d slices), chosen by chance: all are too many"
        logger.warning(told, looked, len(rows), slices)
    place = {row["id"]: k for k, row in enumerate(every)}
    found.sort(key=lambda each: place[each[0]["id"]])
    if not found:
        raise CohortError(f"none of the {len(rows)} images can be used; the first: {failed[0]['error']}")
    counts = [len(pixels) for _, (pixels, _) in found]
    ids, subjects = (np.repeat([str(row[name]) for row, _ in found], counts) for name in ("id", "subject"))
    pixels, places = (np.concatenate([one[k] for _, one in found]) for k in (0, 1))
    return Held(pixels, places, ids, subjects, failed, len(rows) - looked)


def _one(row: Any, *, run: SynthesizerRun) -> tuple[np.ndarray, np.ndarray] | UnreadableImage:
    try:
        pixels, places, _ = read_pair(row, run.preprocessing, run.labels)
        if pixels.shape[1:] != run.synthesizer.shape_:
            raise UnreadableImage(
                f"{row['path']}: has shape {pixels.shape[1:]} once prepared; expected {run.synthesizer.shape_}"
            )
        return pixels, places
    except UnreadableImage as error:
        return error
