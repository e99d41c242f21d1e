"""Figures of maps beside scikit-learn's on the same arrays: how far apart they are, and how long each takes.

    python -m benchmarks.localisation [--pixels 1000000] [--seed 0]

A map of normal noise, higher by two standard deviations where 1 % of its pixels are marked; as it is, and rounded to
two digits, so that values tie. Then the same pixels as ten images, counted one by one.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from anomaly.statistics import regions, thresholds


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """What work gives, and the seconds it takes."""
    start = time.perf_counter()
    found = work()
    return found, time.perf_counter() - start


def by_the_library(values: np.ndarray, marked: np.ndarray) -> tuple[float, float]:
    """Average precision and AUROC by scikit-learn."""
    return float(average_precision_score(marked, values)), float(roc_auc_score(marked, values))


def in_parts(values: np.ndarray, marked: np.ndarray, parts: int) -> tuple[float, float]:
    """Average precision and AUROC of all pixels by counts of one part after another."""
    edges = thresholds.edges(values[marked])
    true, rest = np.zeros(2 * edges.size + 1, np.int64), np.zeros(2 * edges.size + 1, np.int64)
    for some, inside in zip(np.array_split(values, parts), np.array_split(marked, parts), strict=True):
        found = thresholds.counted(np.sort(some[inside]), edges)
        true += found
        rest += thresholds.counted(np.sort(some), edges) - found
    return float(thresholds.average_precision(true, rest)), float(thresholds.auroc(true, rest))


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pixels", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    rng = np.random.default_rng(asked.seed)
    marked = rng.random(asked.pixels) < 0.01
    noise = (rng.normal(size=asked.pixels) + 2 * marked).astype(np.float32)
    print(f"{asked.pixels:,} pixels, {marked.sum():,} marked\n\nmap | way | AP | AUROC | seconds\n---|---|---|---|---")
    for name, values in {"as it is": noise, "two digits": np.round(noise, 2)}.items():
        ways: dict[str, Callable[[], tuple[float, float]]] = {
            "scikit-learn": partial(by_the_library, values, marked),
            "one image": partial(thresholds.of_one, values, marked),
            "ten images, one by one": partial(in_parts, values, marked, 10),
        }
        for way, work in ways.items():
            (precision, auroc), seconds = timed(work)
            print(f"{name} | {way} | {precision:.12f} | {auroc:.12f} | {seconds:.3f}")
    side = round(asked.pixels ** (1 / 3))
    above = noise[: side**3].reshape((side,) * 3) > 2
    (_, count), seconds = timed(lambda: regions.labelled(above))
    print(f"\n{count:,} regions of {side}^3 voxels, {above.mean():.1%} of them marked: {seconds:.3f} s")


if __name__ == "__main__":
    main()
