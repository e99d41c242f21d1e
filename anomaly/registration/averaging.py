"""A template made of a cohort: its images are registered to their mean, again and again."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from anomaly.cohorts.results import some
from anomaly.errors import CohortError, UnreadableImage
from anomaly.images import Image, read, write_volume
from anomaly.images.image import alone
from anomaly.images.masking import masked
from anomaly.progress import Progress, progress
from anomaly.registrars.averaging import added, centred, reference, residual, without
from anomaly.registrars.laying import deformation
from anomaly.registrars.linear import linear
from anomaly.registrars.transforms import Transform
from anomaly.registration.opening import WHOLE, Way
from anomaly.streams import ordered

SAYS = "mean of a cohort by anomaly register template"
FEWEST = 2
Row = Mapping[str, Any]
Done = TypeVar("Done")


@dataclass(frozen=True)
class _Making:
    """What all rounds share: the images, how they are registered, where their fields lie meanwhile, and who works."""

    rows: Sequence[Row]
    way: Way
    folder: Path
    pool: Executor
    threads: int

    def each(self, work: Callable[[int], Done], bar: Progress | None = None) -> Iterator[Done]:
        """Do something with each image, by its number, in order."""
        for done in ordered(self.pool, work, range(len(self.rows)), ahead=self.threads):
            yield done
            if bar is not None:
                bar.advance()

    def images(self) -> Iterator[Image]:
        """All images, one after another."""
        return self.each(lambda number: _read(self.rows[number]))

    def placed(self, still: Image, bar: Progress) -> tuple[Image, list[np.ndarray]]:
        """Move all images onto a template as a whole, and take the mean of that out."""
        way = self.way

        def start(number: int) -> np.ndarray:
            return linear(_read(self.rows[number]), still, way.whole, metric=way.metric, seed=way.seed)

        return centred(still, self.images(), list(self.each(start, bar)))

    def deformed(self, still: Image, matrices: Sequence[np.ndarray], bar: Progress) -> None:
        """Deform all images onto the template, and take the mean of that out; leaves a file of the field of each."""
        registrar, total = self.way.deformable(), np.zeros((still.ndim, *still.space))

        def deform(number: int) -> np.ndarray:
            begun = Transform.linear(matrices[number], _read(self.rows[number]), still)
            assert registrar is not None
            field = deformation(begun, registrar)
            np.save(self.file(number), field)
            return field

        for field in self.each(deform, bar):
            total += field
        undone = residual(total / len(self.rows))
        for number in range(len(self.rows)):
            np.save(self.file(number), without(np.load(self.file(number)), undone))

    def mean(self, still: Image, matrices: Sequence[np.ndarray]) -> Image:
        """The mean of all images as they lie on the template now; where there is none, the least value."""

        def add(number: int) -> tuple[np.ndarray, np.ndarray]:
            field = np.load(self.file(number)) if self.file(number).exists() else None
            return added(_read(self.rows[number]), still, matrices[number], field)

        values, weight = np.zeros(still.space), np.zeros(still.space)
        for part, share in self.each(add):
            values, weight = values + part, weight + share
        there = weight > 0
        found = np.divide(values, weight, out=np.zeros(still.space), where=there)
        found[~there] = found[there].min() if there.any() else 0.0
        return replace(still, pixels=found[None].astype(np.float32), padding=None if there.all() else ~there)

    def file(self, number: int) -> Path:
        """Where the field of an image lies meanwhile."""
        return self.folder / f"{number}.npy"


def make_template(
    table: pd.DataFrame, place: Path, way: Way, rounds: int, *, workers: int | None = None
) -> Sequence[Row]:
    """Make the mean image of a cohort in its mean shape, and write it; gives the rows that took part.

    First all images are moved as a whole onto the first of them. In each round they are registered to their mean, the
    mean of their displacements is taken out, and they are averaged anew, each drawn once from its own voxels. Images
    that cannot be read, or have other axes than the first, take no part; they are named when the cohort is registered.

    Args:
        table: id, path and perhaps mask.
        place: of the file.
        way: how images are registered.
        rounds: how often the mean is made anew.
        workers: images at once; None takes one a core.

    Raises:
        CohortError: fewer than two images can be used.
    """
    threads = workers or os.cpu_count() or 1
    with ThreadPoolExecutor(threads) as pool, TemporaryDirectory() as folder:
        images: list[Any] = table.to_dict("records")
        every = _Making(images, way, Path(folder), pool, threads)
        axes = list(every.each(lambda number: _axes(every.rows[number])))
        dims = next((each for each in axes if each), 0)
        rows = [row for row, each in zip(every.rows, axes, strict=True) if dims and each == dims]
        if len(rows) < FEWEST:
            names = some([row["id"] for row in rows]) or "none"
            raise CohortError(f"of {len(axes)} images {names} can be used; a template is the mean of {FEWEST} or more")
        making = replace(every, rows=rows)
        with progress("making the template", (rounds + 1) * len(rows), unit="images") as bar:
            still, matrices = making.placed(reference(_read(rows[0])), bar)
            still = making.mean(still, matrices)
            for _ in range(rounds):
                if way.by in WHOLE:
                    still, matrices = making.placed(still, bar)
                else:
                    making.deformed(still, matrices, bar)
                still = making.mean(still, matrices)
    write_volume(place, still.pixels[0], still.frame, says=SAYS)
    return rows


def _axes(row: Row) -> int:
    """How many axes an image has; 0 where it cannot be read."""
    try:
        return _read(row).ndim
    except (UnreadableImage, OSError):
        return 0


def _read(row: Row) -> Image:
    path = Path(row["path"])
    return alone(path, lambda: masked(read(path), row.get("mask")), "read")
