"""The scripts that the pages give for a training on several computers, run with two processes on this one."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file
from studies import ROOT, SIDE, pictures, trained

SCRIPTS = ROOT / "docs" / "howto" / "cluster"
SETTINGS = {"steps": 5, "batch": 8}
PLAIN = """
from dataclasses import dataclass
from typing import ClassVar
from torch import nn
from anomaly.detectors import TrainedDetector

@dataclass(kw_only=True)
class Plain(TrainedDetector):
    name: ClassVar[str] = "plain"  # no batch normalisation, whose statistics are of a process's own share

    def build(self, shape):
        return nn.Sequential(nn.Conv2d(shape[0], 4, 3, padding=1), nn.Tanh(), nn.Conv2d(4, shape[0], 3, padding=1))

    def loss(self, x):
        return (self.net_(x) - x).square().mean()

    def error(self, x):
        return (self.net_(x) - x).abs().mean(1, keepdim=True)
"""
SRUN = """#!/bin/sh
export SLURM_STEP_ID=0 SLURM_NTASKS=2 SLURM_NTASKS_PER_NODE=1 SLURM_NNODES=2 SLURM_LOCALID=0
test "$SRUN_CPUS_PER_TASK" = 3 || exit 1
SLURM_PROCID=0 SLURM_NODEID=0 "$@" & first=$!
SLURM_PROCID=1 SLURM_NODEID=1 "$@" & second=$!
wait $first && wait $second
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`normals/`, and in `one/` what one process learns of them."""
    home = tmp_path_factory.mktemp("home")
    (home / "plain.py").write_text(PLAIN)
    trained(pictures(home / "normals", 30), home / "one", f"{home / 'plain.py'}:Plain", settings=SETTINGS)
    return home


def called(script: str, home: Path, out: str, **given: object) -> "subprocess.Popen[str]":
    """A script that trains as `home` did, on the processor."""
    words = ["train", "--normals", home / "normals", "--out", home / out, "--device", "cpu"]
    words += ["--method", f"{home / 'plain.py'}:Plain"]
    words += ["--size", SIDE, *(word for name, value in SETTINGS.items() for word in ("--set", f"{name}={value}"))]
    settings = {"PYTHON": sys.executable, "ANOMALY": ROOT / "cli.py", "PYTHONPATH": ROOT, "GLOO_SOCKET_IFNAME": "lo"}
    return subprocess.Popen(
        ["bash", str(SCRIPTS / script), *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, **{name: str(value) for name, value in {**settings, **given}.items()}},
    )  # fmt: skip


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def compare(home: Path, out: str) -> None:
    """Both were shown the same batches and averaged their gradients, so weights differ by rounding alone."""
    one, two = (load_file(home / name / "weights.safetensors") for name in ("one", out))
    assert one.keys() == two.keys()
    for name, value in one.items():
        assert (value.float() - two[name].float()).abs().max() < 1e-5, name


def test_torchrun_on_two_computers_learns_what_one_process_learns(home):
    port = free_port()
    ranks = [called("train-torchrun.sh", home, "torchrun", NODES=2, NODE_RANK=i, PORT=port) for i in (0, 1)]
    told = [each.communicate(timeout=600)[0] for each in ranks]
    assert [each.returncode for each in ranks] == [0, 0], told
    assert "run: " in told[0] and "run: " not in told[1]
    compare(home, "torchrun")


def test_slurm_with_two_tasks_learns_what_one_process_learns(home, tmp_path):
    """SLURM is a script here that begins two tasks."""
    (tmp_path / "srun").write_text(SRUN)
    (tmp_path / "srun").chmod(0o755)
    search = f"{tmp_path}:{os.environ['PATH']}"
    job = called("train-slurm.sh", home, "slurm", PATH=search, MASTER_ADDR="127.0.0.1", MASTER_PORT=free_port(),
                 SLURM_CPUS_PER_TASK=3)  # fmt: skip
    told = job.communicate(timeout=600)[0]
    assert job.returncode == 0 and told.count("run: ") == 1, told
    compare(home, "slurm")
