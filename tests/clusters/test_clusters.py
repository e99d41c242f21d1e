"""Work dealt out to a Dask cluster: in order, each item once, whoever is killed; and clusters that are not fit."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask
import pytest
from distributed import LocalCluster

from anomaly.clusters import beginning, cluster
from anomaly.clusters.addresses import Place, place
from anomaly.clusters.beginning import share_of_cores
from anomaly.clusters.cluster import Cluster, dealt, joined
from anomaly.clusters.shards import of_shard, shard_of
from anomaly.clusters.working import Fitness, unfit, versions
from anomaly.errors import AnomalyError, ClusterError


@dataclass(frozen=True)
class Doubling:
    """Doubles numbers; kills its process at the number `kills`: once where `marker` is a path, else always."""

    kills: int = -1
    fails: int = -1
    marker: str = ""
    slow: float = 0.0

    def open(self, threads: int) -> Callable[[Sequence[int]], list[tuple[int, int]]]:
        def doubled(numbers: Sequence[int]) -> list[tuple[int, int]]:
            time.sleep(self.slow)
            if self.kills in numbers and not (self.marker and Path(self.marker).exists()):
                Path(self.marker or "/dev/null").touch()
                os.kill(os.getpid(), signal.SIGKILL)
            if self.fails in numbers:
                raise AnomalyError(f"cannot double {self.fails}")
            return [(2 * number, threads) for number in numbers]

        return doubled


@pytest.fixture(scope="module")
def local() -> Iterator[LocalCluster]:
    """Two workers, each a process, that stay."""
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50) as begun:
        yield begun


@pytest.fixture
def two(local: LocalCluster, tmp_path: Path) -> Iterator[Cluster]:
    with joined(place(local.scheduler_address), tmp_path, [tmp_path]) as found:
        yield found


# Where it is, and which shard


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("local:3", Place("local", count=3)),
        ("slurm", Place("slurm", count=1)),
        ("slurm:8", Place("slurm", count=8)),
        ("tcp://node1:8786", Place("scheduler", "tcp://node1:8786")),
        ("tls://10.0.0.1:8786", Place("scheduler", "tls://10.0.0.1:8786")),
        ("node1:8786", Place("scheduler", "tcp://node1:8786")),
        ("/shared/scheduler.json", Place("file", "/shared/scheduler.json")),
    ],
)
def test_places(text, expected):
    assert place(text) == expected


@pytest.mark.parametrize(
    "text", ["local", "local:0", "local:x", "slurm:0", "slurm:-1", "http://a:1", "node1", "", "a:b"]
)
def test_what_is_no_place_is_refused(text):
    with pytest.raises(AnomalyError, match=r"a cluster is tcp://HOST:PORT, .*got"):
        place(text)


def test_a_shard_is_told_by_the_id_alone():
    # printf b | sha256sum: 3e23e8160039594a...
    assert shard_of("b", 7) == int("3e23e8160039594a", 16) % 7 + 1
    rows = [{"id": f"i{i}"} for i in range(400)]
    parts = [of_shard(rows, (i, 4)) for i in (1, 2, 3, 4)]
    assert sorted(row["id"] for part in parts for row in part) == sorted(row["id"] for row in rows)
    assert all(80 < len(part) < 120 for part in parts)
    fewer = [row for i, row in enumerate(rows) if i % 3]
    assert of_shard(fewer, (2, 4)) == [row for row in parts[1] if row in fewer]
    assert of_shard(rows, (1, 1)) == rows


@pytest.mark.parametrize(("count", "workers"), [(0, 2), (1, 2), (5, 2), (100, 2), (1000, 3)])
def test_chunks_are_the_items_in_order(count, workers):
    chunks = dealt(range(count), workers)
    assert [item for chunk in chunks for item in chunk] == list(range(count))
    assert all(1 <= len(chunk) <= 8 for chunk in chunks)
    assert len(chunks) >= min(count, 8 * workers)


@pytest.mark.parametrize(("cores", "asked", "processes", "share"), [
    (8, "", 2, 4), (8, "", 3, 2), (8, "1", 2, 1), (8, "16", 2, 4), (2, "", 4, 1), (8, "many", 1, 8),
])  # fmt: skip
def test_processes_share_the_cores(cores, asked, processes, share, monkeypatch):
    monkeypatch.setattr(beginning.os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
    monkeypatch.setattr(beginning, "allowed_cores", lambda: None)
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert share_of_cores(processes) == share


# What a worker has to be


def test_a_worker_is_fit_that_has_the_versions_and_sees_the_disk(tmp_path):
    (tmp_path / "probe").write_text("a")
    seen = Fitness(versions(), str(tmp_path / "probe"), "a", (str(tmp_path),))
    assert unfit(seen) == ""
    others = tuple((name, "0.0") for name, _ in versions())
    told = unfit(Fitness(others, seen.probe, seen.token, seen.needs))
    assert told.startswith("has anomaly ") and "torch" in told and "expected 0.0" in told
    for probe, token in ((str(tmp_path / "gone"), "a"), (seen.probe, "b")):
        assert f"does not see what is written to {tmp_path}" in unfit(Fitness(versions(), probe, token, ()))
    told = unfit(Fitness(versions(), seen.probe, "a", (str(tmp_path), str(tmp_path / "run"))))
    assert told == f"cannot read {tmp_path / 'run'}; runs and images have to lie on a shared disk"


def test_workers_of_another_version_are_told_before_anything_begins(local, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "versions", lambda: (("anomaly", "9.9"), *versions()[1:]))
    with pytest.raises(ClusterError, match=r"2 of 2 workers cannot do this; tcp://.* has anomaly .*, expected 9\.9"):
        with joined(place(local.scheduler_address), tmp_path):
            raise AssertionError("it began")
    assert not list(tmp_path.iterdir())


def test_a_cluster_that_is_not_there_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(beginning, "ANSWER", 0.5)
    with pytest.raises(ClusterError, match=r"no scheduler answers at tcp://127\.0\.0\.1:9 within 0\.5 s"):
        with joined(place("127.0.0.1:9"), tmp_path):
            raise AssertionError("it began")
    with pytest.raises(ClusterError, match=r"gone\.json: no such scheduler file"):
        with joined(place(str(tmp_path / "gone.json")), tmp_path):
            raise AssertionError("it began")


def test_a_cluster_without_workers_is_told(tmp_path):
    with LocalCluster(n_workers=0, processes=False, dashboard_address=None, protocol="tcp") as empty:
        with pytest.raises(
            ClusterError, match=r"no worker came to the cluster tcp://.* within 0\.2 s; look at the queue"
        ):
            with joined(place(empty.scheduler_address), tmp_path, wait=0.2):
                raise AssertionError("it began")


# What it does


def test_results_come_in_order_and_once(two):
    kept: list[tuple[int, int]] = []
    two.each(Doubling(), dealt(range(100), 2), kept.append)
    assert kept == [(2 * number, 1) for number in range(100)] and two.workers == 2


def test_a_worker_killed_in_the_middle_loses_and_doubles_nothing(two, tmp_path):
    kept: list[tuple[int, int]] = []
    two.each(Doubling(kills=20, marker=str(tmp_path / "killed")), dealt(range(60), 2), kept.append)
    assert (tmp_path / "killed").exists()
    assert [number for number, _ in kept] == [2 * number for number in range(60)]


def chunks_of_five() -> list[range]:
    return [range(start, start + 5) for start in range(0, 150, 5)]


def assert_begun_in_order(kept: list[tuple[int, int]]) -> None:
    """Of `chunks_of_five`, all before number 100 but for eight chunks that were out at most, and none behind it."""
    assert kept == [(2 * number, 1) for number in range(len(kept))] and 60 <= len(kept) <= 100


def test_what_kills_every_worker_is_told_and_what_was_done_is_kept(local, two):
    kept: list[tuple[int, int]] = []
    local.scheduler.allowed_failures = 0
    try:
        with pytest.raises(ClusterError, match=r"1 workers that were killed or lost .*--batch; what was done is kept"):
            two.each(Doubling(kills=100), chunks_of_five(), kept.append)
    finally:
        local.scheduler.allowed_failures = 3
    assert_begun_in_order(kept)
    two.client.wait_for_workers(1, timeout=60)  # Dask does not always begin the other one anew


def test_what_fails_is_told_as_it_is_and_what_was_done_is_kept(two):
    kept: list[tuple[int, int]] = []
    with pytest.raises(AnomalyError, match=r"^cannot double 100$"):
        two.each(Doubling(fails=100), chunks_of_five(), kept.append)
    assert_begun_in_order(kept)


def test_a_stop_keeps_what_came_and_calls_the_others_back(two):
    kept: list[Any] = []

    def keep(result: Any) -> None:
        kept.append(result)
        if len(kept) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        two.each(Doubling(slow=0.02), [[number] for number in range(1000)], keep)
    assert kept[:3] == [(0, 1), (2, 1), (4, 1)] and len(kept) < 30
    assert kept == [(2 * number, 1) for number in range(len(kept))], "in order, for the next call to go on"
    kept.clear()
    two.each(Doubling(), [[1]], kept.append)  # it is free for other work at once
    assert kept == [(2, 1)]


# SLURM

SCRIPTS = Path(__file__).parents[2] / "docs" / "howto" / "cluster"


@pytest.mark.parametrize(("given", "shards"), [({}, "7"), ({"SHARDS": "16"}, "16")])
def test_the_script_of_shards_knows_how_many_there_are(given, shards):
    array = {"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_COUNT": "2", "SLURM_ARRAY_TASK_MAX": "7"}
    told = subprocess.run(
        ["bash", str(SCRIPTS / "score-shards.sh"), "score", "run"], capture_output=True, text=True, check=True,
        env={"PATH": os.environ["PATH"], "PYTHON": "echo", "ANOMALY": "anomaly", "SLURM_CPUS_PER_TASK": "4",
             **array, **given},
    )  # fmt: skip
    assert told.stdout == f"anomaly score run --shard 3/{shards}\n"


SBATCH = """#!/bin/sh
cp "$1" {folder}/script
setsid sh {folder}/script > {folder}/job.log 2>&1 &
echo $! > {folder}/job
echo "Submitted batch job $!"
"""
SCANCEL = '#!/bin/sh\nkill -TERM -- "-$1"\necho "$1" > {folder}/cancelled\n'


def test_slurm_wants_to_know_how_large_a_job_is(tmp_path):
    with pytest.raises(ClusterError, match=r"jobs cannot be made .*jobqueue.yaml"):
        with joined(place("slurm"), tmp_path):
            raise AssertionError("it began")


def test_jobs_are_handed_in_and_cancelled(tmp_path, monkeypatch):
    """SLURM is two scripts here, that begin what they are given and end it."""
    for name, text in (("sbatch", SBATCH), ("scancel", SCANCEL)):
        (tmp_path / "bin" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "bin" / name).write_text(text.format(folder=tmp_path))
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parents[2]), str(Path(__file__).parent)]))
    sizes = {"cores": 3, "processes": 1, "memory": "1GB", "interface": "lo", "local-directory": str(tmp_path)}
    kept: list[tuple[int, int]] = []
    with dask.config.set({f"jobqueue.slurm.{name}": value for name, value in sizes.items()}):
        with joined(place("slurm:1"), tmp_path, wait=60) as found:
            found.each(Doubling(), dealt(range(10), 1), kept.append)
    assert kept == [(2 * number, 3) for number in range(10)], "a job computes with the cores it asked for"
    assert (tmp_path / "cancelled").read_text() == (tmp_path / "job").read_text()
