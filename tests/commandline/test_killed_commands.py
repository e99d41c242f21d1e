"""Commands killed while a file is moved to its place, and given again, leave the bytes of one that was not."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
from studies import ROOT, pictures

TRAIN = ["train", "--normals", "normals", "--method", "pca", "--set", "components=2", "--size", "12", "--out", "run"]
SCORE = ["score", "run", "--images", "others", "--heatmaps", "nifti,png", "--batch", "2", "--workers", "1", "--out"]
SQUARES = ["simulate", "squares", "--count", "20", "--size", "32", "--out"]
KILLED: dict[str, tuple[list[str], list[tuple[str, str]]]] = {
    "scores": (SCORE, [("before", "o005.png"), ("after", "o009_anomaly.nii.gz")]),
    "squares": (SQUARES, [("before", "sim-train-00005.npy"), ("before", "cohort.csv")]),
}
"""By the name of their folders: commands, and the files at which each is killed in turn."""
EVALUATE = ["--cohort", "cohort.csv", "--outcome", "ill"]
EVALUATED = [("before", "evaluation.json")]


def study(home: Path) -> None:
    pictures(home / "normals", 12)
    pictures(home / "others", 40, name="o")
    names = [f"o{k:03d}" for k in range(40)]
    pd.DataFrame({"id": names, "ill": [k % 2 for k in range(40)]}).to_csv(home / "cohort.csv", index=False)


def content(folder: Path) -> dict[str, bytes]:
    """What every file holds, but for the time at which a page was made and for where the folder lies."""
    time, place = rb"\d{4}-\d\d-\d\dT\d\d:\d\d|\d+ [A-Z][a-z]+ 20\d\d", re.escape(str(folder).encode())
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): re.sub(time + b"|" + place, b"", path.read_bytes()) for path in files}


def test_the_same_command_again_leaves_the_same_bytes_and_nothing_else(tmp_path: Path) -> None:
    study(tmp_path)
    jobs: list[tuple[list[str], tuple[str, str] | None]] = [([*TRAIN, "--device", "cpu"], None)]
    for name, (words, kills) in KILLED.items():
        jobs.append(([*words, f"a/{name}"], None))
        jobs += [([*words, f"b/{name}"], kill) for kill in (*kills, None)]
    jobs.append((["evaluate", "a/scores", *EVALUATE], None))
    jobs += [(["evaluate", "b/scores", *EVALUATE], kill) for kill in (*EVALUATED, None)]
    ended = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "killed.py"), json.dumps(jobs)],
        cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout.splitlines()[-1]) == [0 if kill is None else -9 for _, kill in jobs], ended.stderr
    found = [content(tmp_path / each) for each in "ab"]
    assert found[0].keys() == found[1].keys()
    assert [name for name in found[0] if found[0][name] != found[1][name]] == []
