"""Scoring by the workers of a cluster: the bytes of one process, also where a worker is killed or the call stopped."""

import csv
import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest
from distributed import LocalCluster
from studies import broken, pictures, trained

from anomaly.errors import AnomalyError, ClusterError
from anomaly.scoring import score as scoring
from anomaly.scoring.rows import Asked
from anomaly.scoring.score import score

OPTIONS: dict[str, Any] = {"device": "cpu", "workers": 1, "batch": 2, "alpha": 0.4}


@dataclass(frozen=True)
class Killed(Asked):
    """Kills the first worker that has drawn the heatmaps of some images, before it can say so."""

    def open(self, threads: int) -> Any:
        rows, marker = super().open(threads), Path(self.out).with_suffix(".killed")

        def dying(batches: Sequence[Any]) -> list[Any]:
            found = rows(batches)
            if any(row["id"] == "i005" for batch in batches for row in batch) and not marker.exists():
                marker.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return found

        return dying


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`run/`, and `images/` of which some cannot be read."""
    home = tmp_path_factory.mktemp("home")
    trained(pictures(home / "normals", 24), home / "run", "pca", settings={"components": 4})
    broken(pictures(home / "images", 13, name="i"))
    score(home / "run", home / "images", home / "one", **OPTIONS)
    return home


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50) as begun:
        yield begun.scheduler_address


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_cluster_leaves_the_bytes_that_one_process_leaves(home, address):
    found = score(home / "run", home / "images", home / "two", cluster=address, **OPTIONS)
    assert (found.new, found.failed) == (13, 6)
    assert contents(home / "two") == contents(home / "one")
    assert len(contents(home / "one")) == 13 + 4, "heatmaps, scores, grid, errors, settings"


def test_a_worker_killed_in_the_middle_leaves_the_same_bytes(home, address, monkeypatch):
    monkeypatch.setattr(scoring, "Asked", Killed)
    score(home / "run", home / "images", home / "killed", cluster=address, **OPTIONS)
    assert (home / "killed.killed").exists()
    assert contents(home / "killed") == contents(home / "one")


def test_a_stopped_call_keeps_what_was_done_and_goes_on(home, address, monkeypatch):
    class Stopped(scoring.GrowingTable):
        def add(self, rows: Any) -> int:
            added = super().add(rows)
            if self.added >= 4:
                raise KeyboardInterrupt
            return added

    with monkeypatch.context() as patch:
        patch.setattr(scoring, "GrowingTable", Stopped)
        with pytest.raises(KeyboardInterrupt):
            score(home / "run", home / "images", home / "stopped", cluster=address, **OPTIONS)
    again = score(home / "run", home / "images", home / "stopped", cluster=address, **OPTIONS)
    assert again.before >= 4 and again.before + again.new == 13

    def rows(name: str) -> list[list[str]]:
        with (home / name / "scores.csv").open(newline="") as stream:
            return sorted(row[:3] for row in csv.reader(stream))

    assert rows("stopped") == rows("one")


def test_a_run_that_is_another_one_for_the_workers_is_refused(home):
    asked = {field.name: None for field in fields(Asked)} | {
        "heatmaps": ("png",),
        "runs": (str(home / "run"),),
        "weights": ("other",),
    }
    asked |= {"device": "cpu", "endless": False}
    with pytest.raises(AnomalyError, match=r"run holds another run where the worker is; put runs on a shared disk"):
        Asked(**asked).open(1)  # type: ignore[arg-type]


def test_a_cluster_that_is_not_there_costs_nothing_that_was_there(home, tmp_path):
    score(home / "run", home / "images", tmp_path / "out", shard=(1, 1), **OPTIONS)
    pictures(home / "images", 14, name="i")
    before = contents(tmp_path / "out")
    with pytest.raises(ClusterError, match=r"gone\.json: no such scheduler file"):
        score(home / "run", home / "images", tmp_path / "out", cluster=str(tmp_path / "gone.json"), **OPTIONS)
    assert contents(tmp_path / "out") == before
    (home / "images" / "i013.png").unlink()


def test_shards_dealt_by_position_are_not_gone_on_with(home, tmp_path):
    score(home / "run", home / "images", tmp_path, shard=(1, 2), **OPTIONS)
    facts = (tmp_path / "score.json").read_text()
    (tmp_path / "score.json").write_text(facts.replace('"sharded_by": "sha256 of the id",', ""))
    with pytest.raises(AnomalyError, match=r'sharded_by \(null there, "sha256 of the id" asked for\)'):
        score(home / "run", home / "images", tmp_path, shard=(1, 2), **OPTIONS)
