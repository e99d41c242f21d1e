"""What the program costs beside the bare minimum: training, scoring, memory; all as ratios in one run.

    python -m benchmarks.throughput DATA [--only training scoring memory]

DATA is a folder of pictures (a few hundred or more). Both sides of a ratio take turns, so a machine whose speed
drifts drifts for both; the median of the pairs is reported.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from anomaly import Preprocessing, Run, learn, score
from anomaly.cohorts.cohort import read_cohort
from anomaly.detectors import Autoencoder
from anomaly.images import read
from anomaly.training.batches import Batches
from benchmarks.ratios import taking_turns, timed

SCORED = 2000


def main() -> None:
    """Print one line of JSON for each measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--only", nargs="+", choices=list(MEASUREMENTS), default=list(MEASUREMENTS))
    parser.add_argument("--peak-of", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peak_of is not None:
        _score_and_tell_peak(arguments.run, arguments.data)
        return
    paths = list(read_cohort(arguments.data)["path"])
    for name in arguments.only:
        print(
            json.dumps({"measurement": name, "threads": torch.get_num_threads(), **MEASUREMENTS[name](paths)}),
            flush=True,
        )


def training(paths: list[str]) -> dict[str, object]:
    """Steps of the program's loop against a bare PyTorch loop, same network, same loss, same batches."""
    images = torch.from_numpy(np.concatenate([Preprocessing().apply(read(Path(p))).pixels for p in paths[:640]]))
    results: dict[str, object] = {}
    for objective in ("l2", "ssim"):
        detector = Autoencoder(objective=objective, steps=40)

        def ours(detector: Autoencoder = detector) -> None:
            detector.fit(images, images[:8])

        def bare(detector: Autoencoder = detector) -> None:
            detector.net_ = detector.build((1, 64, 64)).train()
            batches = Batches(images, size=64)
            optimiser = torch.optim.Adam(detector.net_.parameters(), lr=1e-3)
            for step in range(40):
                optimiser.zero_grad(set_to_none=True)
                loss = detector.loss(batches[step])
                loss.backward()
                optimiser.step()

        results[objective] = taking_turns(timed(ours), timed(bare))
    return results


def scoring(paths: list[str]) -> dict[str, object]:
    """Images a second of `score` against reading, preparing and the detector's forward pass alone."""
    results: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as place:
        run = _small_run(paths, Path(place))
        folder = _folder_of(paths, SCORED, Path(place) / "images")
        opened = Run.open(run)
        number = iter(range(10_000))

        def bare() -> None:
            chunk: list[np.ndarray] = []
            for path in sorted(folder.iterdir()):
                chunk.append(opened.preprocessing.apply(read(path)).pixels)
                if len(chunk) == 32:
                    opened.detector.score(torch.from_numpy(np.concatenate(chunk)))
                    chunk.clear()

        for heatmaps in ("none", "png"):

            def ours(heatmaps: str = heatmaps) -> None:
                score(run, folder, Path(place) / f"scores{next(number)}", heatmaps=(heatmaps,), allow_overlap=True)

            results[heatmaps] = taking_turns(timed(ours), timed(bare))
    return results


def memory(paths: list[str]) -> dict[str, object]:
    """Peak resident memory of scoring 3,000 images against 300, each in a process of its own (Linux)."""
    with tempfile.TemporaryDirectory() as place:
        run = _small_run(paths, Path(place))
        peaks = {}
        for count in (300, 3000):
            folder = _folder_of(paths, count, Path(place) / str(count))
            command = [
                sys.executable, "-m", "benchmarks.throughput", str(folder), "--peak-of", str(count),
                "--run", str(run),
            ]  # fmt: skip
            told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            peaks[count] = json.loads(told.splitlines()[-1])["megabytes"]
    return {"megabytes": peaks, "ratio": round(peaks[3000] / peaks[300], 3)}


MEASUREMENTS: dict[str, Callable[[list[str]], dict[str, object]]] = {
    "training": training,
    "scoring": scoring,
    "memory": memory,
}


def _small_run(paths: list[str], place: Path) -> Path:
    folder = _folder_of(paths, 300, place / "normals")
    learn(folder, place / "run", settings={"steps": 20})
    return place / "run"


def _folder_of(paths: list[str], count: int, folder: Path) -> Path:
    """A folder of so many pictures, the given ones again and again under new names."""
    folder.mkdir(parents=True)
    for i in range(count):
        source = Path(paths[i % len(paths)]).resolve()
        (folder / f"{folder.name}{i:05d}{source.suffix}").symlink_to(source)
    return folder


def _score_and_tell_peak(run: Path, folder: Path) -> None:
    with tempfile.TemporaryDirectory() as place:
        score(run, folder, Path(place) / "scores")
    # Not getrusage: its peak is inherited from the process that started this one.
    status = Path("/proc/self/status").read_text()
    print(json.dumps({"megabytes": int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) / 1024}))


if __name__ == "__main__":
    main()
