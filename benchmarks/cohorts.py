"""How long the statistics of cohorts and the drawing of one take: python -m benchmarks.cohorts

Ten thousand subjects of two images; a group map beside nilearn's on the same design; 200 simulated persons with two
knees at two visits. Seconds are the median of some runs on this machine; compare ratios, not seconds.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
from scipy.stats import norm

from anomaly import statistics
from anomaly.simulation import simulate
from benchmarks.association import speed
from benchmarks.coverage import PREVALENCE, heading, line, pairs

SUBJECTS = 10_000


def main() -> None:
    """Print a table in Markdown."""
    rng = np.random.default_rng(0)
    event = pairs(1, SUBJECTS, 0.7, rng)[0] < norm.ppf(PREVALENCE)
    score, whose = pairs(1, SUBJECTS, 0.7, rng)[0] + event, np.repeat(np.arange(SUBJECTS), 2)
    other = score + rng.normal(size=score.size)
    asked: dict[str, Callable[[], object]] = {
        "clustered interval of the AUROC": lambda: statistics.auroc_interval(event, score, whose, scale="logit"),
        "clustered comparison of two scores": lambda: statistics.compare_aurocs(event, score, other, whose),
        "sensitivity, 2,000 draws of subjects": lambda: statistics.sensitivity_interval(event, score, 0.9, whose),
        "average precision, 2,000 draws": lambda: statistics.average_precision_interval(event, score, whose),
        "odds ratio, GEE": lambda: statistics.odds_ratio(event, score, None, whose),
    }
    heading([f"{SUBJECTS:,} subjects, two images each", "seconds"])
    for name, ask in asked.items():
        line([name, f"{median(seconds(ask) for _ in range(3)):.3f}"])
    print("\nGroup map of 200 images of 64 x 64, one covariate, 1,000 permutations, max-t:\n")
    for name, value in speed(5, 0).items():
        print(f"- {name}: {value:.3g}")
    with tempfile.TemporaryDirectory() as folder:
        took = seconds(lambda: simulate("knees", Path(folder) / "knees"))
        images = len(list((Path(folder) / "knees" / "images").iterdir()))
    print(f"\n200 simulated persons, {images} images of 96 x 96 with masks: {took:.1f} s")


def seconds(ask: Callable[[], object]) -> float:
    """How long one call takes."""
    begun = time.perf_counter()
    ask()
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
