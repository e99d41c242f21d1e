"""Equal trainings, each in a process of its own, leave equal folders but for times and places; killed ones as well."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from explained import two_sides
from studies import ROOT

TINY = ["--size", "12", "--device", "cpu", "--workers", "1", "--seed", "5", "--save-every", "2"]
SMALL = ["--set", "width=2", "--set", "batch=4", "--steps", "4"]
TRAININGS = {
    "pca": ["train", "--normals", "controls", "--method", "pca", "--set", "components=2"],
    "vae": ["train", "--normals", "controls", "--method", "vae", *SMALL, "--set", "hidden=4", "--set", "latent=2"],
    "classifier": ["explain", "classifier", "--cases", "cases", "--controls", "controls", *SMALL],
    "additive": [
        *("explain", "train", "--cases", "cases", "--controls", "controls", *SMALL),
        *("--set", "critic_width=2", "--set", "warm_up=2", "--set", "critic_turns=1"),
    ],
}


def trained(home: Path, name: str, out: str, threads: str) -> Path:
    words = [*TRAININGS[name], *TINY, "--out", out]
    given = {"OMP_NUM_THREADS": threads, "PYTHONHASHSEED": out[-1], "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        [sys.executable, str(ROOT / "cli.py"), *words],
        cwd=home, env={**os.environ, **given}, capture_output=True, text=True,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    return home / out


def timeless(path: Path) -> object:
    """What a file holds, without times and what follows from them."""
    if path.name == "run.json":
        facts = json.loads(path.read_text())
        return {name: value for name, value in facts.items() if name not in ("created", "checksum")}
    if path.name == "training.csv":
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(path.open())]
    if path.name == "MODEL_CARD.md":
        return [
            line for line in path.read_text().splitlines() if "created" not in line and "trained" not in line.lower()
        ]
    return path.read_bytes()


@pytest.mark.parametrize(("name", "threads"), [("pca", "2"), ("vae", "1"), ("classifier", "2"), ("additive", "1")])
def test_the_same_training_leaves_the_same_bytes(name: str, threads: str, tmp_path: Path) -> None:
    two_sides(tmp_path)
    first, second = (trained(tmp_path, name, f"run{k}", threads) for k in (1, 2))
    assert_same(first, second)


def assert_same(first: Path, second: Path) -> None:
    files = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(second) for path in second.rglob("*") if path.is_file())
    assert {"run.json", "weights.safetensors"} <= {path.name for path in files}
    differ = [str(path) for path in files if timeless(first / path) != timeless(second / path)]
    assert not differ


LASTING = {"vae": 60, "additive": 6}
"""Steps; checkpoints 000001 to 000003 come after each third of them, and of the first, rows of curves between."""
KILLED: list[tuple[str, list[tuple[str, str]]]] = [
    ("vae", [("before", "/000002"), ("after", "/000002")]),
    ("vae", [("before", "MODEL_CARD.md"), ("after", "run.json")]),
    ("additive", [("before", "/000002"), ("before", "/000003")]),
]
"""Trainings, and where each is killed, before or after what a file or folder moved to its place is called."""


def test_a_training_that_was_killed_and_resumed_leaves_the_bytes_of_one_that_was_not(tmp_path: Path) -> None:
    two_sides(tmp_path)
    jobs: list[tuple[list[str], tuple[str, str] | None]] = [(lasting(name, name), None) for name in LASTING]
    for number, (name, kills) in enumerate(KILLED):
        jobs.append((lasting(name, f"killed{number}"), kills[0]))
        jobs += [([*lasting(name, f"killed{number}"), "--resume"], kill) for kill in (*kills[1:], None)]
    ended = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "killed.py"), json.dumps(jobs)],
        cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout.splitlines()[-1]) == [0 if kill is None else -9 for _, kill in jobs], ended.stderr
    for number, (name, _) in enumerate(KILLED):
        assert_same(tmp_path / name, tmp_path / f"killed{number}")


def lasting(name: str, out: str) -> list[str]:
    steps = LASTING[name]
    return [*TRAININGS[name], *TINY, "--steps", f"{steps}", "--save-every", f"{steps // 3}", "--out", out]
