"""Scoring by two workers of a Dask cluster beside one, in turns, and what is left where one of the two is killed.

    python -m benchmarks.cluster [--images 2000] [--pairs 5] [--batch 16]
    python -m benchmarks.cluster --images 48 --pairs 1 --batch 2     # a try in a minute, whose figures say nothing

Prints a table in Markdown: seconds of one worker over seconds of two, median, lowest and highest of the pairs; then,
of a scoring one of whose workers was killed (SIGKILL) when a quarter of the rows was there, how many rows are lost, how
many doubled, and how many differ from those of a scoring that nobody disturbed.

Workers are processes of one computing thread that have begun before; what is timed is the whole call, opening the run,
with heatmaps, into a new folder; one pair is not counted. One computer of two cores or more, that has nothing else to
do.
"""

import argparse
import csv
import os
import signal
import tempfile
import threading
import time
from collections import Counter
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from anomaly.runs.learning import learn
from anomaly.scoring.score import score
from benchmarks.ratios import taking_turns, timed

SIDE = 64
HEADING = (
    *("images", "batch", "pairs", "one worker / two", "lowest", "highest", "seconds of two", "of one"),
    *("killed at row", "rows lost", "doubled", "different"),
)


def drawn(folder: Path, number: int, seed: int) -> Path:
    """A folder of PNG files of noise, as quick to make as slow to score; of others where the seed is another."""
    folder.mkdir()
    rng = np.random.default_rng(seed)
    for i in range(number):
        PIL.Image.fromarray(rng.integers(0, 256, (SIDE, SIDE), dtype=np.uint8)).save(folder / f"p{seed}-{i:05d}.png")
    return folder


def rows_of(folder: Path) -> list[tuple[str, ...]]:
    """The rows of the scores in a folder that are whole, without their header."""
    try:
        content = (folder / "scores.csv").read_bytes()
    except FileNotFoundError:
        return []
    lines = content[: content.rfind(b"\n") + 1].decode().splitlines()
    return [tuple(row) for row in csv.reader(lines[1:])]


def killing(cluster: Any, out: Path, rows: int) -> tuple[threading.Thread, list[int]]:
    """A thread that kills a worker when so many rows are there, and then tells how many there were."""
    told: list[int] = []
    pids = [nanny.pid for nanny in cluster.workers.values()]

    def watch() -> None:
        while (there := len(rows_of(out))) < rows:
            time.sleep(0.002)
        os.kill(pids[0], signal.SIGKILL)
        told.append(there)

    return threading.Thread(target=watch, daemon=True), told


def compared(killed: list[tuple[str, ...]], usual: list[tuple[str, ...]]) -> tuple[int, int, int]:
    """How many rows of the usual ones are lost, how many are there more than once, how many differ."""
    found, expected = Counter(row[0] for row in killed), {row[0]: row for row in usual}
    doubled = sum(number - 1 for number in found.values())
    different = sum(row != expected.get(row[0]) for row in killed)
    return len(expected.keys() - found.keys()), doubled, different


def main() -> None:
    """Print one row."""
    from distributed import LocalCluster

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--batch", type=int, default=16)
    asked = parser.parse_args()
    plain: dict[str, Any] = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": None, "memory_limit": 0}
    with (
        tempfile.TemporaryDirectory() as name,
        LocalCluster(**plain) as one,
        LocalCluster(**plain | {"n_workers": 2}) as two,
    ):
        home, numbers = Path(name), count()
        run = learn(drawn(home / "normals", 60, 0), home / "run", method="autoencoder", settings={"steps": 20}).folder
        images = drawn(home / "images", asked.images, 1)

        def scored(cluster: Any, out: Path) -> Path:
            score(run, images, out, cluster=cluster.scheduler_address, device="cpu", workers=1, batch=asked.batch)
            return out

        def side(cluster: Any) -> Any:
            return timed(lambda: scored(cluster, home / f"out{next(numbers)}"))

        times = taking_turns(side(two), side(one), asked.pairs)
        watch, told = killing(two, home / "killed", asked.images // 4)
        watch.start()
        found = compared(rows_of(scored(two, home / "killed")), rows_of(home / "out0"))
        watch.join()
    row = (asked.images, asked.batch, asked.pairs, *times.values(), *told, *found)
    for line in (HEADING, ["---"] * len(HEADING), row):
        print(f"| {' | '.join(map(str, line))} |")


if __name__ == "__main__":
    main()
