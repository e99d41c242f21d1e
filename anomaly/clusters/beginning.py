"""Clusters found or begun: a client of the scheduler, and the threads that each of its workers may use."""

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from anomaly.clusters.addresses import FILE, LOCAL, SLURM, Place
from anomaly.clusters.crew import ANSWER
from anomaly.errors import ClusterError, MissingPackage
from anomaly.training.computer import allowed_cores

logger = logging.getLogger(__name__)
SLURM_NEEDS = (
    "say how large a job is in ~/.config/dask/jobqueue.yaml, as\njobqueue:\n  slurm:\n    cores: 8\n    memory: 16GB"
)


@contextmanager
def client_of(place: Place) -> Iterator[tuple[Any, int | None]]:
    """A client of the scheduler, and threads a worker (None: as many as each worker says it has).

    Workers that are begun here end with the block; a scheduler that was there before, and its workers, stay.

    Raises:
        ClusterError: no scheduler answers, or jobs cannot be handed in.
        MissingPackage: dask is not installed.
    """
    try:
        from distributed import Client
    except ImportError:
        raise MissingPackage("--cluster needs Dask; pip install 'anomaly-explain[cluster]'") from None
    with _quiet():
        if place.kind == LOCAL:
            with _local(place.count) as cluster, Client(cluster, set_as_default=False) as client:
                yield client, share_of_cores(place.count)
        elif place.kind == SLURM:
            with _slurm(place.count) as cluster, Client(cluster, set_as_default=False) as client:
                yield client, None
        else:
            with _found(place) as client:
                yield client, None


def share_of_cores(processes: int) -> int:
    """Threads of each of so many processes on this computer: no more in all than cores, and OMP_NUM_THREADS at most."""
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    cores = min(there, allowed_cores() or there)
    if processes > cores:
        logger.warning("local:%d has more processes than the %g cores here; that is no faster", processes, cores)
    share = max(1, int(cores // processes))
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return min(share, int(asked)) if asked.isdigit() and int(asked) else share


def _local(processes: int) -> Any:
    from distributed import LocalCluster

    with _no_word_of_ports():
        return LocalCluster(
            n_workers=processes, threads_per_worker=1, processes=True, memory_limit=0, dashboard_address=None,
            silence_logs=logging.CRITICAL, preload=["anomaly.clusters.patience"],
        )  # fmt: skip


def _slurm(jobs: int) -> Any:
    try:
        from dask_jobqueue import SLURMCluster
    except ImportError:
        raise MissingPackage("--cluster slurm needs dask-jobqueue; pip install 'anomaly-explain[cluster]'") from None
    try:
        with _no_word_of_ports():
            cluster = SLURMCluster(silence_logs=logging.CRITICAL)
    except ValueError as error:  # cores or memory are not told
        raise ClusterError(f"jobs cannot be made ({str(error).splitlines()[0]}); {SLURM_NEEDS}") from error
    try:
        cluster.scale(jobs=jobs)
    except BaseException:
        cluster.close()
        raise
    return cluster


def _found(place: Place) -> Any:
    from distributed import Client

    how = "begin one with `dask scheduler`, or mend --cluster"
    if place.kind == FILE and not Path(place.where).is_file():
        raise ClusterError(f"{place.where}: no such scheduler file; {how} (`dask scheduler --scheduler-file FILE`)")
    given = {"scheduler_file": place.where} if place.kind == FILE else {"address": place.where}
    try:
        return Client(**given, timeout=ANSWER, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ClusterError(f"no scheduler answers at {place} within {ANSWER:g} s ({reason}); {how}") from error


@contextmanager
def _no_word_of_ports() -> Iterator[None]:
    """A scheduler whose page of progress finds its port taken takes another, which is nobody's concern."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Port .* is already in use")
        yield


@contextmanager
def _quiet() -> Iterator[None]:
    """What Dask says of lost workers and closed connections is told by us, in a line."""
    names = ("distributed", "distributed.scheduler", "distributed.client", "distributed.nanny", "distributed.core")
    before = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)
