"""How often the 95 % intervals of `anomaly.statistics` hold the true AUROC, where the truth is known.

    python -m benchmarks.coverage [--repeats 400] [--seed 0]

Two images a subject, 40 % of them with the event. Event and score of a subject's two images share the intraclass
correlation; the score of an image with the event is shifted so that the AUROC between subjects is the one named.
"""

import argparse
from itertools import product

import numpy as np
from scipy.stats import norm

from anomaly.statistics import auroc_interval

SUBJECTS = (30, 100, 500)
CORRELATIONS = (0.0, 0.3, 0.7)
AUROCS = (0.6, 0.8, 0.95)
PREVALENCE = 0.4
# Scale of the interval, and whether it knows the subjects.
INTERVALS = {
    "plain": ("plain", False),
    "plain, clustered": ("plain", True),
    "logit": ("logit", False),
    "logit, clustered": ("logit", True),
}


def main() -> None:
    """Print a table in Markdown, a row for each cohort."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    error = 100 * np.sqrt(0.95 * 0.05 / arguments.repeats)
    print(f"Coverage in %, {arguments.repeats} cohorts a row; at 95 % its standard error is {error:.1f}.\n")
    columns = ["subjects", "correlation", "AUROC", *INTERVALS]
    print("| " + " | ".join(columns) + " |")
    print("|" + " ---: |" * len(columns), flush=True)
    for row, cohort in enumerate(product(SUBJECTS, CORRELATIONS, AUROCS)):
        covered = coverage(*cohort, repeats=arguments.repeats, rng=np.random.default_rng([arguments.seed, row]))
        cells = [*map(str, cohort), *(f"{100 * share:.1f}" for share in covered.values())]
        print("| " + " | ".join(cells) + " |", flush=True)


def coverage(
    subjects: int, correlation: float, auroc: float, *, repeats: int, rng: np.random.Generator
) -> dict[str, float]:
    """Share of `repeats` cohorts in which each interval holds the true AUROC."""
    events = pairs(repeats, subjects, correlation, rng) < norm.ppf(PREVALENCE)
    scores = pairs(repeats, subjects, correlation, rng) + np.sqrt(2) * norm.ppf(auroc) * events
    whose = np.repeat(np.arange(subjects), 2)
    held = dict.fromkeys(INTERVALS, 0)
    for event, score in zip(events, scores, strict=True):
        for name, (scale, clustered) in INTERVALS.items():
            found = auroc_interval(event, score, whose if clustered else None, scale=scale)
            held[name] += found.low <= auroc <= found.high
    return {name: count / repeats for name, count in held.items()}


def pairs(repeats: int, subjects: int, correlation: float, rng: np.random.Generator) -> np.ndarray:
    """Standard normal values (repeats, 2 subjects), neighbours of one subject with the correlation given."""
    shared = np.repeat(rng.normal(size=(repeats, subjects)), 2, axis=1)
    return np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * rng.normal(size=shared.shape)


if __name__ == "__main__":
    main()
