"""What is done to maps after they are drawn: smoothed, median, rims eroded, small components removed, alone and both.

    python -m benchmarks.drawn_maps DATA --out OUT [--set children] [--detector dae] [--seed 0]

OUT is that of `benchmarks.restoring_detectors`, whose trained detector and planted lesions ("both") are taken. A row is
one way: average precision of pixels on `val` and `test`, and the Dice on `test` at the threshold that is best on `val`.
Components are removed after that threshold, so that they have no average precision.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage

from anomaly.statistics import metrics
from benchmarks.coverage import heading, line
from benchmarks.restoring_detectors import best_threshold, departures, dice, learned, lesions, of_set

WAYS: dict[str, dict[str, float]] = {
    "as drawn": {"smooth": 0},
    "smooth 1": {"smooth": 1},
    "smooth 2 (default)": {"smooth": 2},
    "smooth 3": {"smooth": 3},
    "median 3": {"smooth": 0, "median": 3},
    "median 5": {"smooth": 0, "median": 5},
    "median 5, smooth 1": {"smooth": 1, "median": 5},
    "median 3, smooth 2": {"smooth": 2, "median": 3},
    "erode 1": {"smooth": 0, "erode": 1},
    "smooth 2, erode 1": {"smooth": 2, "erode": 1},
    "smooth 2, erode 2": {"smooth": 2, "erode": 2},
    "median 5, erode 2": {"smooth": 0, "median": 5, "erode": 2},
}
SMALLEST = (0, 5, 10, 20)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--set", default="children", dest="where")
    parser.add_argument("--detector", default="dae")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    parts = of_set(asked.where, asked.data, asked.out)
    detector, _ = learned(asked.where, asked.detector, asked.seed, parts["train"], asked.out)
    ill = {split: lesions(parts[split].normals, "both", f"{asked.where} {split}") for split in ("val", "test")}
    heading(["", "pixel AP, val", "test", *(f"Dice, components of {each} or more" for each in SMALLEST)])
    for name, settings in WAYS.items():
        if settings.get("erode") and not detector.masked_:
            continue
        for setting in ("smooth", "median", "erode"):
            setattr(detector, setting, settings.get(setting, 0))
        maps = {split: departures(detector, images, parts["train"]) for split, (images, _) in ill.items()}
        found = {split: metrics.pixel_average_precision(list(ill[split][1]), list(maps[split])) for split in ill}
        best = best_threshold(ill["val"][1], maps["val"])
        shown = [dice(ill["test"][1], without_specks(maps["test"], best, least), best) for least in SMALLEST]
        line([name, *(f"{each:.3f}" for each in (*found.values(), *shown))])


def without_specks(maps: np.ndarray, threshold: float, least: int) -> np.ndarray:
    """Maps whose components above a threshold, of fewer pixels than the least, are put below it."""
    kept = maps.copy()
    for each in kept:
        labels, _ = ndimage.label(each >= threshold)
        small = np.bincount(labels.ravel()) < least
        small[0] = False
        each[small[labels]] = -np.inf
    return kept


if __name__ == "__main__":
    main()
