"""The images that a check looks at: read and prepared while they stream, or a fixed sample of them."""

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from anomaly.errors import CohortError
from anomaly.images.intake import intake
from anomaly.progress import progress
from anomaly.training.batches import chunks, evenly
from explain.runs.explaining import prepare
from explain.runs.mapping import BATCH
from explain.runs.source import Source

FEWEST_IMAGES, FEWEST_SUBJECTS = 8, 2
"""Of a sample."""

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Sample:
    """Prepared images with whose they are.

    Args:
        pixels: (n, C, *space).
        subjects: (n,).
        sliced: they are slices of volumes.
        errors: id, path and error of those that cannot be read.
    """

    pixels: np.ndarray
    subjects: np.ndarray
    sliced: bool
    errors: list[dict[str, Any]] = field(default_factory=list)

    def require(self) -> None:
        """Refuse samples too small to say how alike maps of different images are.

        Raises:
            CohortError: fewer than 8 images, or 2 subjects.
        """
        people = len(set(self.subjects))
        if len(self.pixels) < FEWEST_IMAGES or people < FEWEST_SUBJECTS:
            raise CohortError(
                f"there are {len(self.pixels)} images of {people} subjects to check by{_first(self.errors)}; expected "
                f"{FEWEST_IMAGES} or more of {FEWEST_SUBJECTS} or more: give others, or a larger --count"
            )


def spread(rows: Sequence[Row], count: int) -> list[Row]:
    """So many of the rows, evenly spread."""
    return [rows[k] for k in evenly(len(rows), count)]


def streamed(
    source: Source, rows: Sequence[Row], workers: int | None, errors: list[dict[str, Any]]
) -> Iterator[list[tuple[Row, np.ndarray]]]:
    """A few images at a time, each (S, C, *size) with its row; S slices of a volume taken apart, else 1.

    Args:
        source: says how they are prepared.
        rows: with id, subject and path.
        workers: threads that read; None takes one a core.
        errors: gets those that cannot be read.
    """
    with (
        ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool,
        progress("explaining", len(rows), unit="images") as bar,
    ):
        for group in intake(rows, partial(prepare, source=source), pool, BATCH):
            errors += [{"id": one.row["id"], "path": one.row["path"], "error": one.error} for one in group if one.error]
            fine = [(one.row, one.prepared[0].pixels) for one in group if not one.error]
            if fine:
                yield fine
            bar.advance(len(group))


def sampled(source: Source, table: pd.DataFrame, count: int, workers: int | None) -> Sample:
    """Up to `count` images, evenly spread; of volumes taken apart the middle slice.

    Raises:
        CohortError: none of them can be read.
    """
    errors: list[dict[str, Any]] = []
    rows: list[Any] = table.to_dict("records")
    read = [one for group in streamed(source, spread(rows, count), workers, errors) for one in group]
    if not read:
        raise CohortError(f"none of {len(rows)} images can be read{_first(errors)}; give others")
    pixels = np.concatenate([middle(each) for _, each in read])
    subjects = np.array([row["subject"] for row, _ in read])
    return Sample(pixels, subjects, any(len(each) > 1 for _, each in read), errors)


def middle(slices: np.ndarray) -> np.ndarray:
    """Of slices (S, ...) the middle one, (1, ...)."""
    return slices[len(slices) // 2 :][:1]


def _first(errors: list[dict[str, Any]]) -> str:
    return f" ({len(errors)} cannot be read, the first: {errors[0]['error']})" if errors else ""


def maps_of(source: Source, pixels: np.ndarray) -> np.ndarray:
    """The maps (n, 1, *space) of prepared images."""
    parts = [source.explain(x).map.float().cpu().numpy() for x in chunks(pixels, source.device)]
    return np.concatenate(parts)
