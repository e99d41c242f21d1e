"""How often the 95 % intervals of `anomaly.statistics` hold the true AUROC, where the truth is known.

    python -m benchmarks.coverage [--repeats 2000] [--seed 0]
    python -m benchmarks.coverage --every --repeats 120

The second of them is about every interval that a command prints, odds ratios above all: see `benchmarks.intervals`.
The first:

Two images a subject, 40 % of them with the event. Event and score of a subject's two images share the intraclass
correlation; the score of an image with the event is shifted so that the AUROC between subjects is the one named.
Then cohorts unlike these, which the intervals were not chosen by, and the difference of two equally good scores.
"""

import argparse
from collections.abc import Callable, Iterable, Sequence
from itertools import product
from typing import Any

import numpy as np
from scipy.stats import norm

from anomaly.statistics import auroc_interval, compare_aurocs

SUBJECTS = (30, 100, 500)
CORRELATIONS = (0.0, 0.3, 0.7)
AUROCS = (0.6, 0.8, 0.95)
PREVALENCE = 0.4
# How a standard normal value becomes a score whose AUROC is the one given.
SCORES: dict[str, Callable[[np.ndarray, np.ndarray, float], np.ndarray]] = {
    "normal": lambda value, event, auroc: value + np.sqrt(2) * norm.ppf(auroc) * event,
    "exponential": lambda value, event, auroc: -norm.logsf(value) * np.where(event, auroc / (1 - auroc), 1),
}
OTHERS: list[dict[str, Any]] = [
    dict(zip(("subjects", "sizes", "correlation", "prevalence", "auroc", "scores"), each, strict=True))
    for each in (
        (40, (1,), 0.0, 0.4, 0.8, "normal"),
        (100, (1,), 0.0, 0.15, 0.75, "normal"),
        (60, (1, 2, 3, 4), 0.5, 0.3, 0.7, "normal"),
        (60, (1, 2, 3, 4), 0.5, 0.3, 0.9, "normal"),
        (80, (2,), 0.5, 0.25, 0.8, "exponential"),
        (80, (2,), 0.5, 0.25, 0.93, "exponential"),
        (200, (2,), 0.6, 0.1, 0.85, "exponential"),
    )
]
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
    parser.add_argument("--repeats", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", action="store_true", help="every interval that a command prints instead")
    arguments = parser.parse_args()
    if arguments.every:
        from benchmarks.intervals import tables  # it takes its tables from here

        tables(arguments.repeats, arguments.seed)
        return
    error = 100 * np.sqrt(0.95 * 0.05 / arguments.repeats)
    print(f"Coverage in %, {arguments.repeats} cohorts a row; at 95 % its standard error is {error:.1f}.\n")
    columns = ["subjects", "correlation", "AUROC", *INTERVALS]
    heading(columns)
    for row, cohort in enumerate(product(SUBJECTS, CORRELATIONS, AUROCS)):
        covered = coverage(*cohort, repeats=arguments.repeats, rng=np.random.default_rng([arguments.seed, row]))
        line([*cohort, *covered.values()])
    print("\nCohorts unlike these:\n")
    heading(["subjects", "images a subject", "correlation", "prevalence", "AUROC", "scores", *INTERVALS])
    for row, other in enumerate(OTHERS):
        rng = np.random.default_rng([arguments.seed, 100 + row])
        line([*other.values(), *elsewhere(**other, repeats=arguments.repeats, rng=rng).values()])
    print("\nDifference of two scores of the same AUROC that correlate 0.5, clustered:\n")
    heading(["subjects", "correlation", "AUROC", "holds zero"])
    for row, cohort in enumerate(product(SUBJECTS, CORRELATIONS, AUROCS)):
        rng = np.random.default_rng([arguments.seed, 200 + row])
        line([*cohort, difference(*cohort, repeats=arguments.repeats, rng=rng)])


def heading(columns: Sequence[str]) -> None:
    """The head of a table in Markdown."""
    print("| " + " | ".join(columns) + " |\n|" + " ---: |" * len(columns), flush=True)


def line(cells: Sequence[object]) -> None:
    """A row of it; the last ones, shares, in per cent."""
    said = [f"{100 * cell:.1f}" if isinstance(cell, Share) else str(cell) for cell in cells]
    print("| " + " | ".join(said) + " |", flush=True)


class Share(float):
    """A share of cohorts."""


def coverage(
    subjects: int, correlation: float, auroc: float, *, repeats: int, rng: np.random.Generator
) -> dict[str, float]:
    """Share of `repeats` cohorts in which each interval holds the true AUROC."""
    events = pairs(repeats, subjects, correlation, rng) < norm.ppf(PREVALENCE)
    scores = pairs(repeats, subjects, correlation, rng) + np.sqrt(2) * norm.ppf(auroc) * events
    return _held(events, scores, [np.repeat(np.arange(subjects), 2)] * repeats, auroc)


def elsewhere(
    subjects: int,
    sizes: Sequence[int],
    correlation: float,
    prevalence: float,
    auroc: float,
    scores: str,
    *,
    repeats: int,
    rng: np.random.Generator,
) -> dict[str, float]:
    """The same for other sizes, prevalences and scores; cohorts without ten of each class are drawn anew."""
    events, values, whose = list[np.ndarray](), list[np.ndarray](), list[np.ndarray]()
    while len(events) < repeats:
        groups = np.repeat(np.arange(subjects), rng.choice(sizes, subjects))
        event = _correlated(groups, correlation, rng) < norm.ppf(prevalence)
        value = _correlated(groups, correlation, rng)
        if min(event.sum(), (~event).sum()) >= 10:
            events.append(event)
            values.append(SCORES[scores](value, event, auroc))
            whose.append(groups)
    return _held(events, values, whose, auroc)


def difference(subjects: int, correlation: float, auroc: float, *, repeats: int, rng: np.random.Generator) -> float:
    """Share of cohorts in which the interval of the difference of two equally good scores holds zero."""
    events = pairs(repeats, subjects, correlation, rng) < norm.ppf(PREVALENCE)
    common = pairs(repeats, subjects, correlation, rng)
    first, second = (
        (common + pairs(repeats, subjects, correlation, rng)) / np.sqrt(2) + np.sqrt(2) * norm.ppf(auroc) * events
        for _ in range(2)
    )
    whose = np.repeat(np.arange(subjects), 2)
    found = (compare_aurocs(*each, whose) for each in zip(events, first, second, strict=True))
    return Share(sum(one.low <= 0 <= one.high for one in found) / repeats)


def _held(
    events: Iterable[np.ndarray], scores: Iterable[np.ndarray], whose: Iterable[np.ndarray], auroc: float
) -> dict[str, float]:
    held = dict.fromkeys(INTERVALS, 0)
    count = 0
    for event, score, groups in zip(events, scores, whose, strict=True):
        count += 1
        for name, (scale, clustered) in INTERVALS.items():
            found = auroc_interval(event, score, groups if clustered else None, scale=scale)
            held[name] += found.low <= auroc <= found.high
    return {name: Share(covered / count) for name, covered in held.items()}


def _correlated(groups: np.ndarray, correlation: float, rng: np.random.Generator) -> np.ndarray:
    shared = rng.normal(size=groups.max() + 1)[groups]
    return np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * rng.normal(size=groups.size)


def pairs(repeats: int, subjects: int, correlation: float, rng: np.random.Generator) -> np.ndarray:
    """Standard normal values (repeats, 2 subjects), neighbours of one subject with the correlation given."""
    shared = np.repeat(rng.normal(size=(repeats, subjects)), 2, axis=1)
    return np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * rng.normal(size=shared.shape)


if __name__ == "__main__":
    main()
