"""Work dealt out to the workers of a cluster in chunks: in order, each once, whoever is killed on the way."""

import logging
import secrets
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anomaly.clusters.addresses import Place
from anomaly.clusters.beginning import client_of
from anomaly.clusters.crew import ANSWER, GO_ON, Crew
from anomaly.clusters.hand import Hand, killed
from anomaly.clusters.working import Fitness, Task, done, versions
from anomaly.errors import ClusterError
from anomaly.files import part_of, write_whole

logger = logging.getLogger(__name__)
WAIT = 300.0
"""Seconds that the first worker may take to come, and the next one where all have gone."""
RETRIES = 2
EACH, MOST = 8, 8
"""Chunks a worker, at least; and items a chunk, at most."""


@dataclass(frozen=True)
class Cluster:
    """A cluster whose workers are fit for the work.

    Args:
        client: of its scheduler.
        threads: of each worker; None where each says so itself.
        crew: who can do the work.
    """

    client: Any
    threads: int | None
    crew: Crew

    @property
    def workers(self) -> int:
        """How many fit ones there are now."""
        return len(self.crew.fit)

    def each(self, task: Task, chunks: Iterable[Sequence[Any]], keep: Callable[[Any], object]) -> None:
        """Have every chunk done by some worker; `keep` is called for one result after another, in order.

        A chunk whose worker is killed, or that fails, is done again by another. A worker that comes on the way and is
        unfit gets nothing and is named. Where the work stops (Ctrl-C, an error, a scheduler that is lost), what was
        done in order is kept; chunks that were done before their turn are done again by the next call, so that a table
        stays in order, and the others are called back; a chunk that a worker has in hand then, it finishes for nobody.

        Args:
            task: what is done to a chunk.
            chunks: of items, in order.
            keep: takes one result.

        Raises:
            ClusterError: a chunk was with several workers that were killed, no fit worker is left, or the scheduler
                was lost.
        """

        def send(chunk: Sequence[Any], workers: Collection[str]) -> Any:
            return self.client.submit(
                done, task, chunk, self.threads, self.crew.fitness, pure=False, retries=RETRIES, workers=list(workers)
            )

        hand = Hand(self.crew, send, iter(enumerate(chunks)))
        try:
            with _told():
                for results in hand:
                    for result in results:
                        keep(result)
        finally:
            hand.call_back()


@dataclass(frozen=True)
class Elsewhere:
    """A cluster that is asked for.

    Args:
        place: where it is.
        needs: files and folders that its workers are to read.
        wait: seconds that the first worker may take to come, and the next one where all have gone.
    """

    place: Place
    needs: tuple[Path | str, ...]
    wait: float = WAIT


@contextmanager
def joined(place: Place, folder: Path, needs: Iterable[Path | str] = (), *, wait: float = WAIT) -> Iterator[Cluster]:
    """A cluster whose workers have this version, and see what is needed; found, or begun for as long as this lasts.

    Args:
        place: where it is.
        folder: where workers are to write.
        needs: files and folders that they are to read.
        wait: seconds that the first worker may take to come, and the next one where all have gone.

    Raises:
        ClusterError: nobody answers, no worker comes in time, or one is unfit: another version, or another disk.
    """
    probe, token = part_of(folder.resolve() / "probe"), secrets.token_hex(16)
    there = tuple(str(Path(each).resolve()) for each in needs if Path(each).exists())
    with client_of(place) as (client, threads):
        _await(client, place, wait)
        write_whole(probe, token)
        try:
            crew = Crew(client, Fitness(versions(), str(probe), token, there), wait)
            crew.begin()
            logger.info("cluster %s: %d workers", place, len(crew.fit))
            yield Cluster(client, threads, crew)
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


@contextmanager
def _told() -> Iterator[None]:
    """What Dask raises, in a line of our own."""
    from distributed import KilledWorker

    try:
        yield
    except KilledWorker as error:
        raise ClusterError(killed(error.allowed_failures + 1)) from error
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
        with suppress(TimeoutError):  # those that came do it
            client.wait_for_workers(place.count, timeout=ANSWER)
