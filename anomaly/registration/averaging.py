"""A template made of a cohort: its images are registered to their mean, again and again."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from anomaly.cohorts.results import some
from anomaly.errors import AnomalyError, CohortError
from anomaly.files import naming
from anomaly.images import Image
from anomaly.images.image import alone
from anomaly.progress import Progress, progress
from anomaly.registrars.averaging import added, centred, reference, residual, without
from anomaly.registrars.base import Registrar
from anomaly.registrars.laying import deformation, overlapping, refuse_blank
from anomaly.registrars.linear import linear
from anomaly.registrars.transforms import Transform
from anomaly.registration.opening import Way
from anomaly.registration.reading import opened
from anomaly.registration.sharing import Room, one_thread_a_call
from anomaly.streams import ordered

FEWEST = 2
Row = Mapping[str, Any]
Matrices = Mapping[int, np.ndarray]
Done = TypeVar("Done")


@dataclass(frozen=True)
class _Making:
    """What all rounds share: the images, how they are registered, where their fields lie meanwhile, and who works.

    Images are known by their numbers. One that fails takes no part from then on; `failed` says why.
    """

    rows: Sequence[Row]
    way: Way
    folder: Path
    pool: Executor
    threads: int
    room: Room = field(default_factory=Room)
    failed: dict[int, str] = field(default_factory=dict)

    def each(self, work: Callable[[int], Done], bar: Progress | None = None) -> dict[int, Done]:
        """Do something with each image that takes part, several at once; what came of it, by number.

        Raises:
            CohortError: too few are left.
        """
        return dict(self.one_by_one(work, bar))

    def one_by_one(self, work: Callable[[int], Done], bar: Progress | None = None) -> Iterator[tuple[int, Done]]:
        """The same in order, none kept."""
        numbers = [number for number in range(len(self.rows)) if number not in self.failed]
        left = len(numbers)
        for number, done in zip(
            numbers, ordered(self.pool, partial(self._tried, work), numbers, ahead=self.threads), strict=True
        ):
            if isinstance(done, AnomalyError):
                self.failed[number], left = str(done), left - 1
            else:
                yield number, done
            if bar is not None:
                bar.advance()
        if left < FEWEST:
            self._refuse_few()

    def _tried(self, work: Callable[[int], Done], number: int) -> Done | AnomalyError:
        try:
            return alone(Path(self.rows[number]["path"]), partial(work, number), "laid on the template")
        except AnomalyError as error:
            return error

    def _refuse_few(self) -> None:
        names = some([row["id"] for number, row in enumerate(self.rows) if number not in self.failed]) or "none"
        why = f": {next(iter(self.failed.values()))}" if self.failed else ""
        raise CohortError(
            f"of {len(self.rows)} images {names} can be used; a template is the mean of {FEWEST} or more{why}"
        )

    def begin(self) -> Image:
        """Look at all images once, and leave out those that show nothing, or have other axes than the first."""

        def axes(number: int) -> int:
            image = self.read(number)
            refuse_blank(image)
            return image.ndim

        seen = self.each(axes)
        first = min(seen)
        for number, dims in seen.items():
            if dims != seen[first]:
                self.failed[number] = f"has {dims} axes, the first image {seen[first]}; lay like on like"
        if len(self.rows) - len(self.failed) < FEWEST:
            self._refuse_few()
        return reference(self.read(first))

    def placed(self, still: Image, bar: Progress) -> tuple[Image, Matrices]:
        """Move all images onto a template as a whole, and take the mean of that out."""
        way = self.way

        def start(number: int) -> np.ndarray:
            image = self.read(number)
            with self.room.of(image, still):
                matrix = linear(image, still, way.whole, metric=way.metric, seed=way.seed)
                overlapping(Transform.linear(matrix, image, still))
            return matrix

        found = self.each(start, bar)
        template, matrices = centred(still, (self.read(number) for number in found), list(found.values()))
        return template, dict(zip(found, matrices, strict=True))

    def deformed(self, still: Image, matrices: Matrices, registrar: Registrar, bar: Progress) -> None:
        """Deform all images onto the template, and take the mean of that out; leaves a file of the field of each."""

        def deform(number: int) -> np.ndarray:
            image = self.read(number)
            with self.room.of(image, still):
                found = deformation(Transform.linear(matrices[number], image, still), registrar)
            self.keep(number, found)
            return found

        total, numbers = np.zeros((still.ndim, *still.space)), []
        for number, found in self.one_by_one(deform, bar):
            total += found
            numbers.append(number)
        undone = residual(total / len(numbers))
        for number in numbers:
            self.keep(number, without(np.load(self.file(number)), undone))

    def mean(self, still: Image, matrices: Matrices) -> Image:
        """The mean of all images as they lie on the template now; where there is none, the least value."""

        def add(number: int) -> tuple[np.ndarray, np.ndarray]:
            found = np.load(self.file(number)) if self.file(number).exists() else None
            image = self.read(number)
            with self.room.of(image, still):
                return added(image, still, matrices[number], found)

        values, weight = np.zeros(still.space), np.zeros(still.space)
        for _, (part, share) in self.one_by_one(add):
            values, weight = values + part, weight + share
        there = weight > 0
        found = np.divide(values, weight, out=np.zeros(still.space), where=there)
        found[~there] = found[there].min() if there.any() else 0.0
        return replace(still, pixels=found[None].astype(np.float32), padding=None if there.all() else ~there)

    def read(self, number: int) -> Image:
        """One image with its mask."""
        row = self.rows[number]
        return opened(row["path"], row.get("mask"))

    def file(self, number: int) -> Path:
        """Where the field of an image lies meanwhile."""
        return self.folder / f"{number}.npy"

    def keep(self, number: int, field: np.ndarray) -> None:
        """Write that file."""
        with naming(self.file(number)):
            np.save(self.file(number), field)


def make_template(
    table: pd.DataFrame, way: Way, rounds: int, *, workers: int | None = None
) -> tuple[pd.DataFrame, Image]:
    """Make the mean image of a cohort in its mean shape.

    First all images are moved as a whole onto the first of them. In each round they are registered to their mean, the
    mean of their displacements is taken out, and they are averaged anew, each drawn once from its own voxels. Images
    that cannot be read, show nothing, have other axes than the first or cannot be laid on the mean take no part.

    Args:
        table: id, path, subject and perhaps mask.
        way: how images are registered.
        rounds: how often the mean is made anew.
        workers: images at once; None takes one a core.

    Returns:
        id, path, subject of each image and the reason why it took no part, "" where it did; and the template.

    Raises:
        CohortError: fewer than two images can be used.
    """
    threads, registrar = workers or os.cpu_count() or 1, way.deformable()
    images: list[Any] = table.to_dict("records")
    with ThreadPoolExecutor(threads) as pool, TemporaryDirectory() as folder, one_thread_a_call():
        making = _Making(images, way, Path(folder), pool, threads)
        with progress("making the template", (rounds + 1) * len(images), unit="images") as bar:
            still, matrices = making.placed(making.begin(), bar)
            still = making.mean(still, matrices)
            for _ in range(rounds):
                if registrar is None:
                    still, matrices = making.placed(still, bar)
                else:
                    making.deformed(still, matrices, registrar, bar)
                still = making.mean(still, matrices)
    reasons = [making.failed.get(number, "") for number in range(len(images))]
    told = [f"it takes no part in the template: {reason}" if reason else "" for reason in reasons]
    return table[["id", "path", "subject"]].assign(reason=told), still
