"""Work dealt out to the workers of a cluster in chunks: in order, each once, whoever is killed on the way."""

import logging
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from anomaly.clusters.addresses import Place
from anomaly.clusters.beginning import client_of
from anomaly.clusters.working import Fitness, Task, done, unfit, versions
from anomaly.errors import ClusterError
from anomaly.files import part_of, write_whole

logger = logging.getLogger(__name__)
WAIT = 300.0
"""Seconds that the first worker may take to come."""
RETRIES = 2
AHEAD = 4
"""Chunks a worker that are handed out before their turn."""
EACH, MOST = 8, 8
"""Chunks a worker, at least; and items a chunk, at most."""
GO_ON = "what was done is kept, the same command goes on"


@dataclass(frozen=True)
class Cluster:
    """A cluster whose workers are fit for the work.

    Args:
        client: of its scheduler.
        threads: of each worker; None where each says so itself.
        fitness: what every worker was found to be and to see, and those that come later are to.
    """

    client: Any
    threads: int | None
    fitness: Fitness

    @property
    def workers(self) -> int:
        """How many there are now."""
        return len(self.client.scheduler_info(n_workers=-1)["workers"])

    def each(self, task: Task, chunks: Iterable[Sequence[Any]], keep: Callable[[Any], object]) -> None:
        """Have every chunk done by some worker; `keep` is called for one result after another, in order.

        A chunk whose worker is killed, or that fails, is done again by another. Where the work stops (Ctrl-C, an error,
        a scheduler that is lost), what was done in order is kept; chunks that were done before their turn are done
        again by the next call, so that a table stays in order, and the others are called back; a chunk that a worker
        has in hand then, it finishes for nobody.

        Args:
            task: what is done to a chunk.
            chunks: of items, in order.
            keep: takes one result.

        Raises:
            ClusterError: a chunk was with several workers that were killed, or the scheduler was lost.
        """
        hand = _Hand(self, task, iter(enumerate(chunks)))
        try:
            with _told():
                for results in hand:
                    for result in results:
                        keep(result)
        finally:
            hand.call_back()

    def submit(self, task: Task, chunk: Sequence[Any]) -> Any:
        """A future of a chunk."""
        return self.client.submit(done, task, chunk, self.threads, self.fitness, pure=False, retries=RETRIES)


@contextmanager
def joined(place: Place, folder: Path, needs: Iterable[Path | str] = (), *, wait: float = WAIT) -> Iterator[Cluster]:
    """A cluster whose workers have this version, and see what is needed; found, or begun for as long as this lasts.

    Args:
        place: where it is.
        folder: where workers are to write.
        needs: files and folders that they are to read.
        wait: seconds that the first worker may take to come.

    Raises:
        ClusterError: nobody answers, no worker comes in time, or one is unfit: another version, or another disk.
    """
    probe, token = part_of(folder.resolve() / "probe"), secrets.token_hex(16)
    there = tuple(str(Path(each).resolve()) for each in needs if Path(each).exists())
    with client_of(place) as (client, threads):
        _await(client, place, wait)
        write_whole(probe, token)
        try:
            cluster = Cluster(client, threads, Fitness(versions(), str(probe), token, there))
            _refuse_unfit(cluster)
            logger.info("cluster %s: %d workers", place, cluster.workers)
            yield cluster
        finally:
            probe.unlink(missing_ok=True)


def for_all(
    here: Callable[[Sequence[Any]], Iterable[Any]],
    task: Task,
    items: Sequence[Any],
    cluster: Cluster | None,
    keep: Callable[[Any], object],
) -> None:
    """Do a work to all items, in this process or by a cluster; `keep` takes one result after another, in order.

    Args:
        here: gives the results of items in this process.
        task: the same for workers of a cluster.
        items: what is to be worked on.
        cluster: whose workers do it; None for this process.
        keep: takes one result.
    """
    if cluster is not None:
        cluster.each(task, dealt(items, cluster.workers), keep)
        return
    for result in here(items):
        keep(result)


def dealt(items: Sequence[Any], workers: int) -> list[Sequence[Any]]:
    """Items in chunks: so many that all workers end at about the same time, of eight items at most."""
    size = min(MOST, max(1, len(items) // (EACH * max(1, workers))))
    return [items[start : start + size] for start in range(0, len(items), size)]


class _Hand:
    """Chunks that are out, and results that came before their turn."""

    def __init__(self, cluster: Cluster, task: Task, chunks: Iterator[tuple[int, Any]]) -> None:
        from distributed import as_completed

        self._cluster, self._task, self._chunks = cluster, task, chunks
        self._out: dict[Any, int] = {}
        self._came: dict[int, list[Any]] = {}
        self._next = 0
        self._completed = as_completed(with_results=True, loop=cluster.client.loop)

    def __iter__(self) -> Iterator[list[Any]]:
        self._fill()
        while self._out:
            future, results = next(self._completed)
            self._came[self._out.pop(future)] = results
            future.release()  # or its worker would hold the results
            while self._next in self._came:
                self._next += 1
                yield self._came.pop(self._next - 1)
            self._fill()

    def _fill(self) -> None:
        most = AHEAD * max(1, self._cluster.workers)  # jobs may come later than the first of them
        for number, chunk in islice(self._chunks, max(0, most - len(self._out) - len(self._came))):
            future = self._cluster.submit(self._task, chunk)
            self._out[future] = number
            self._completed.add(future)

    def call_back(self) -> None:
        """Call back what is out."""
        with suppress(Exception):  # a scheduler that is gone has nothing to call back
            self._cluster.client.cancel(list(self._out))


@contextmanager
def _told() -> Iterator[None]:
    """What Dask raises, in a line of our own."""
    from distributed import KilledWorker

    try:
        yield
    except KilledWorker as error:
        raise ClusterError(
            f"images were with {error.allowed_failures + 1} workers that were killed or lost one after another (too "
            f"little memory?); give workers more, or a smaller --batch; {GO_ON}"
        ) from error
    except CancelledError as error:
        raise ClusterError(f"the scheduler of the cluster was lost; {GO_ON}") from error


def _await(client: Any, place: Place, wait: float) -> None:
    """Wait for the first worker, and a moment for those begun with it."""
    try:
        client.wait_for_workers(1, timeout=wait)
    except TimeoutError:
        raise ClusterError(
            f"no worker came to the cluster {place} within {wait:g} s; look at the queue or begin some with "
            "`dask worker`, or wait longer (--cluster-wait)"
        ) from None
    if place.kind == "local":
        client.wait_for_workers(place.count, timeout=wait)


def _refuse_unfit(cluster: Cluster) -> None:
    begun = time.monotonic()
    try:
        answers = cluster.client.run(unfit, cluster.fitness, on_error="return")
    except Exception as error:  # whatever a worker without this program says of it
        raise ClusterError(
            f"the workers do not run this program ({error}); install there what is installed here"
        ) from error
    reasons = {worker: f"fails ({each})" if isinstance(each, Exception) else each for worker, each in answers.items()}
    bad = {worker: reason for worker, reason in reasons.items() if reason}
    logger.debug("asked %d workers in %.1f s", len(answers), time.monotonic() - begun)
    if bad:
        worker, reason = next(iter(sorted(bad.items())))
        raise ClusterError(f"{len(bad)} of {len(answers)} workers cannot do this; {worker} {reason}")
