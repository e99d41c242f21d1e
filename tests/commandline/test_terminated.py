"""SIGTERM, as SLURM sends it: what was done is kept, the exit code and a line say so, the same command goes on."""

import os
import signal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from studies import calling, pictures, trained

from anomaly.cohorts import tables
from anomaly.commandline import exits

WORDS = "score run --images images --out out --heatmaps none --batch 2 --device cpu --workers 1"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    trained(pictures(home / "normals", 12), home / "run")
    pictures(home / "images", 12, name="i")
    return home


def terminated_at(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have this process be sent SIGTERM when so many rows of a table are written."""
    add = tables.GrowingTable.add

    def adding(self: tables.GrowingTable, rows: Any) -> int:
        if self.added >= number:
            os.kill(os.getpid(), signal.SIGTERM)
        return add(self, rows)

    monkeypatch.setattr(tables.GrowingTable, "add", adding)


@pytest.mark.parametrize("number", [0, 4])
def test_a_scoring_that_is_terminated_says_so_and_goes_on(home, monkeypatch, capsys, number):
    run = calling(home, monkeypatch, capsys)
    before = signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patch:
        terminated_at(number, patch)
        code, _, errors = run(WORDS)
    assert code == 143 and "Traceback" not in errors
    assert "stopped by SIGTERM; what was done is kept, the same command goes on" in errors
    assert signal.getsignal(signal.SIGTERM) is before
    if number == 0:
        assert not (home / "out").exists(), "no table without rows that looks like a result"
        return
    assert len(pd.read_csv(home / "out" / "scores.csv")) == 4
    code, out, _ = run(WORDS)
    assert code == 0 and "(8 new, 4 from before, 0 unreadable)" in out
    assert list(pd.read_csv(home / "out" / "scores.csv")["id"]) == [f"i{i:03d}" for i in range(12)]


def test_a_forked_process_ends_as_it_would_have(home, monkeypatch, capsys):
    with exits._stopping_when_terminated():
        child = os.fork()
        if child == 0:
            os.kill(os.getpid(), signal.SIGTERM)
            os._exit(70)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM


@pytest.mark.parametrize("cluster", ["tcp://127.0.0.1:9", "gone.json"])
def test_a_cluster_that_is_not_there_leaves_nothing_that_looks_like_a_result(home, monkeypatch, capsys, cluster):
    monkeypatch.setattr("anomaly.clusters.beginning.ANSWER", 0.3)
    run = calling(home, monkeypatch, capsys)
    code, _, errors = run(f"{WORDS} --out new --cluster {cluster}")
    assert code == 1 and "error: " in errors and cluster in errors and not (home / "new").exists()
