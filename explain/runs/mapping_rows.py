"""What explanations are asked for, and their rows, a batch at a time: in this process, or in a worker of a cluster."""

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from anomaly.clusters.working import Work
from anomaly.errors import RunError, UnreadableImage
from anomaly.images.image import alone
from anomaly.images.intake import AHEAD, Ready, taken_in
from anomaly.streams import ordered
from anomaly.training.machine import computing_with, one_core_left
from explain.runs.explaining import prepare, records
from explain.runs.nothing import IfNothing
from explain.runs.records import Record, wanted, write_record
from explain.runs.source import Source, open_source

Row = dict[str, Any]
Batch = Sequence[Mapping[str, Any]]
Explained = tuple[list[Ready], list[Record]]
"""Images that were read, and the explanations of those that could be."""


@dataclass(frozen=True)
class Asked:
    """What explanations are asked for, in plain values, which travel to the workers of a cluster.

    Args:
        source, settings, target, generator, judge, baseline, controls, method, device, raw: see `open_source`; whole
            paths.
        identities: of all runs that take part; a worker that finds others there refuses.
        out: where files go.
        outputs: as asked for.
        limit: where the colours of maps end.
        workers: threads that read, and as many that write; None takes one a core of those that may be used.
    """

    source: str
    settings: Mapping[str, Any] | None
    target: str | None
    generator: str | None
    judge: str | None
    baseline: str | None
    controls: str | None
    method: str | None
    device: str
    raw: bool
    identities: Mapping[str, str]
    out: str
    outputs: tuple[str, ...]
    limit: float
    workers: int | None

    @property
    def needs(self) -> tuple[str, ...]:
        """Files and folders that are read, besides the images."""
        given = (self.source, self.target, self.generator, self.judge, self.baseline, self.controls)
        return tuple(path for path in given if path is not None and os.path.exists(path))

    def open(self, threads: int) -> Work:
        """Open what explains in a worker of a cluster: rows of batches, computed by so many threads.

        Raises:
            RunError: the folders hold other runs there.
        """
        source = open_source(
            self.source, settings=self.settings, target=self.target, generator=self.generator, judge=self.judge,
            baseline=self.baseline, controls=self.controls, method=self.method, device=self.device, raw=self.raw,
        )  # fmt: skip
        if dict(source.identities) != dict(self.identities):
            raise RunError(f"{self.source} holds another run where the worker is; put runs on a shared disk")
        mapper = Mapper(self, source, self.workers or threads)

        def rows(batches: Sequence[Batch]) -> list[list[Row]]:
            with computing_with(threads):
                return list(mapper.rows(batches))

        return rows


def whole(path: Path | str | None) -> str | None:
    """A path, or the name of what explains, that means the same in a worker of a cluster."""
    text = None if path is None else str(path)
    return os.path.abspath(text) if text is not None and (os.path.exists(text) or ".py:" in text) else text


@dataclass(frozen=True)
class Mapper:
    """What explains, opened, and what it is asked.

    Args:
        workers: threads that read, and as many that write.
    """

    asked: Asked
    source: Source
    workers: int

    def rows(self, batches: Sequence[Batch]) -> Iterator[list[Row]]:
        """Rows of one batch after another, their files written: with an `error` for images that cannot be used."""
        drawn = "png" in wanted(self.asked.outputs)
        with one_core_left(), ThreadPoolExecutor(self.workers) as pool:
            read = taken_in(batches, partial(prepare, source=self.source), pool)
            work = (explained(self.source, ready, drawn=drawn) for ready in read)
            yield from ordered(pool, lambda done: self.finish(*done), work, ahead=AHEAD)

    def finish(self, ready: Sequence[Ready], found: Sequence[Record]) -> list[Row]:
        """Write the files of a batch, then give its rows: a row never names a file that is not there."""
        told, nothing = iter(found), IfNothing.of(self.source)
        rows: list[Row] = []
        for one in ready:
            if one.image is None:
                rows.append({**one.about, "error": one.error})
                continue
            record = next(told)
            row = {**one.about, **record.figures}
            draw = partial(
                write_record, Path(self.asked.out), row, one.image, one.prepared[0], record,
                outputs=self.asked.outputs, limit=self.asked.limit, by=self.source.title,
                remark=nothing.told_of(record.figures),
            )  # fmt: skip
            try:
                rows.append({**row, "files": ";".join(alone(one.image.path, draw, "drawn"))})
            except UnreadableImage as error:
                rows.append({**one.about, "error": str(error)})
        return rows


def explained(source: Source, ready: list[Ready], *, drawn: bool) -> Explained:
    """What was read, and the explanations of what could be; walks are kept where they are drawn."""
    fine = [one.prepared[0] for one in ready if not one.error]
    images = [one.image for one in ready if one.image is not None] if drawn else None
    return ready, records(source, fine, images) if fine else []
