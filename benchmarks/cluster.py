"""Scoring by two workers of a Dask cluster beside one, in turns: `python -m benchmarks.cluster [--images N]`.

Workers are processes of one computing thread that have begun before; what is timed is the whole call, opening the run,
with heatmaps, into a new folder; one pair is not counted. One computer of two cores or more.
"""

import argparse
import json
import tempfile
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from anomaly.runs.learning import learn
from anomaly.scoring.score import score
from benchmarks.ratios import taking_turns, timed

SIDE = 64


def drawn(folder: Path, number: int, seed: int) -> Path:
    """A folder of PNG files of noise, as quick to make as slow to score."""
    folder.mkdir()
    rng = np.random.default_rng(seed)
    for i in range(number):
        PIL.Image.fromarray(rng.integers(0, 256, (SIDE, SIDE), dtype=np.uint8)).save(folder / f"i{i:05d}.png")
    return folder


def main() -> None:
    """Print the ratio of seconds, one worker over two."""
    from distributed import LocalCluster

    parser = argparse.ArgumentParser(description=__doc__)
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

        def side(cluster: Any) -> Any:
            return timed(
                lambda: score(
                    run, images, home / f"out{next(numbers)}", cluster=cluster.scheduler_address, device="cpu",
                    workers=1, batch=asked.batch,
                )
            )  # fmt: skip

        print(json.dumps({"images": asked.images, **taking_turns(side(two), side(one), asked.pairs)}, indent=1))


if __name__ == "__main__":
    main()
