"""How often every 95 % interval that a command prints holds the truth, persons having one or several images.

    python -m benchmarks.coverage --every [--repeats 120] [--seed 0]

The outcome is the image's, or the person's with some images unlike the person. Score, age (a person's), outcome,
time to the event and a second score share something of the person. The truth is the figure of 60,000 persons drawn
in the same way. Cohorts are drawn anew until both classes hold ten persons; with fewer there is no interval.
"""

import sys
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import norm

from anomaly import statistics
from anomaly.errors import EvaluationError
from benchmarks.coverage import Share, heading, line

MANY = 60_000
PERSONS = (25, 60, 200, 500)
# Whose the outcome is, how many of its images are unlike the person, images a person.
DESIGNS: list[tuple[str, float, tuple[int, ...]]] = [
    ("image", 0.0, (1,)),
    ("image", 0.0, (2,)),
    ("image", 0.0, (1, 2, 3, 4, 5, 6)),
    ("person", 0.0, (2,)),
    ("person", 0.0, (1, 2, 3, 4, 5, 6)),
    ("person", 0.02, (2,)),
    ("person", 0.05, (1, 2, 3, 4, 5, 6)),
    ("person", 0.1, (2,)),
    ("person", 0.3, (2,)),
]
# Persons and images each, below and at the least that has an interval.
FEW = ((2, 30), (4, 30), (8, 6), (8, 30), (12, 6), (12, 30), (20, 6), (20, 30), (10, 1), (14, 1), (20, 1))
BY = 2.0  # a time by which many have had their event


class Cohort(NamedTuple):
    """Arrays (n,) of images."""

    outcome: np.ndarray
    score: np.ndarray
    other: np.ndarray
    covariates: pd.DataFrame
    subject: np.ndarray | None
    time: np.ndarray
    event: np.ndarray
    flagged: np.ndarray
    match: np.ndarray


def drawn(persons: int, level: str, unlike: float, images: tuple[int, ...], rng: np.random.Generator) -> Cohort:
    """A cohort of this kind."""
    whose = np.repeat(np.arange(persons), rng.choice(images, persons))
    trait, age = rng.normal(size=(2, persons))[:, whose]
    score, other = (0.8 * trait + 0.6 * rng.normal(size=whose.size) + 0.3 * age for _ in range(2))
    sex = rng.integers(0, 2, persons)[whose]
    chance = 1 / (1 + np.exp(0.2 - 0.4 * age - (1.2 * trait if level == "person" else 1.1 * score)))
    luck = rng.random(persons)[whose] if level == "person" else rng.random(whose.size)
    outcome = (luck < chance) ^ (rng.random(whose.size) < unlike)
    level_of = 0.6 * rng.normal(size=persons)[whose]
    times = np.ceil(4 * 4 * rng.exponential(np.exp(-0.6 * score - level_of))) / 4
    left = np.ceil(4 * rng.uniform(1, 9, persons)[whose]) / 4
    covariates = pd.DataFrame({"age": age, "sex": sex + 0.0})
    flagged = score + rng.normal(size=whose.size) > 1
    match = whose if len(images) > 1 or images[0] > 1 else whose // 2
    subject = None if images == (1,) else whose
    return Cohort(outcome, score, other, covariates, subject, np.minimum(times, left), times <= left, flagged, match)


def _added(cohort: Cohort, which: str) -> statistics.Estimate:
    found = _nested(cohort)
    chance = found.covariates_alone if which == "alone" else found.with_score
    return statistics.auroc_interval(cohort.outcome, chance, cohort.subject, scale="logit", fold=found.fold)


_LAST: list[tuple[Cohort, statistics.AddedValue]] = []


def _nested(cohort: Cohort) -> statistics.AddedValue:
    if not _LAST or _LAST[0][0] is not cohort:
        _LAST[:] = [(cohort, statistics.added_value(cohort.outcome, cohort.score, cohort.covariates, cohort.subject))]
    return _LAST[0][1]


def _free(cohort: Cohort) -> statistics.Estimate:
    third = statistics.thirds(cohort.score)
    curve = statistics.kaplan_meier(cohort.time, cohort.event, third, cohort.subject)[0]
    at = np.searchsorted(curve.time, BY, side="right") - 1
    return statistics.Estimate(float(curve.free[at]), float(curve.low[at]), float(curve.high[at]), "")


def _difference(cohort: Cohort) -> statistics.Estimate:
    found = statistics.compare_aurocs(cohort.outcome, cohort.score, cohort.other, cohort.subject)
    return statistics.Estimate(found.difference, found.low, found.high, found.method)


def _mean(cohort: Cohort) -> statistics.Estimate:
    values = 1 / (1 + np.exp(-cohort.score))
    subject = np.arange(values.size) if cohort.subject is None else cohort.subject
    draws = 400 if values.size < MANY else 2
    return statistics.bootstrap(lambda w: w @ values / w.sum(axis=1), subject, np.ones(values.size), repeats=draws)


FIGURES: dict[str, Callable[[Cohort], statistics.Estimate]] = {
    "AUROC": lambda c: statistics.auroc_interval(c.outcome, c.score, c.subject, scale="logit"),
    "difference of two AUROCs": _difference,
    "average precision": lambda c: statistics.average_precision_interval(c.outcome, c.score, c.subject),
    "sensitivity at 90 %": lambda c: statistics.sensitivity_interval(c.outcome, c.score, 0.9, c.subject, repeats=400),
    "sensitivity at 95 %": lambda c: statistics.sensitivity_interval(c.outcome, c.score, 0.95, c.subject, repeats=400),
    "share flagged": lambda c: statistics.proportion(c.flagged, c.subject),
    "odds ratio, crude": lambda c: statistics.odds_ratio(c.outcome, c.score, None, c.subject),
    "odds ratio, adjusted": lambda c: statistics.odds_ratio(c.outcome, c.score, c.covariates, c.subject),
    "AUROC of covariates, cross-fitted": lambda c: _added(c, "alone"),
    "AUROC of covariates and score, cross-fitted": lambda c: _added(c, "both"),
    "AUROC among people alike": lambda c: statistics.adjusted_auroc(c.outcome, c.score, c.covariates, c.subject).auroc,
    "concordance within sets": lambda c: (
        statistics.matched_concordance(c.outcome, c.score, c.match, c.subject, draws=9).concordance
    ),
    "conditional odds ratio": lambda c: statistics.conditional_odds_ratio(c.outcome, c.score, c.match),
    "share free of the event, highest third": _free,
    "hazard ratio, crude": lambda c: statistics.cox(c.time, c.event, c.score, None, c.subject).hazard_ratio,
    "hazard ratio, adjusted": lambda c: statistics.cox(c.time, c.event, c.score, c.covariates, c.subject).hazard_ratio,
    "odds ratio within a unit of time": lambda c: statistics.pooled_logistic(
        c.time, c.event, c.score, c.covariates, c.subject
    ),
    "AUROC by a time": lambda c: statistics.time_dependent_auroc(c.time, c.event, c.score, BY, c.subject)[0],
    "mean of a figure of images": _mean,
}


# Per standard deviation of the images given, so that the truth is that of one unit of the score times theirs.
RATIOS = [name for name in FIGURES if "ratio" in name]


def tables(repeats: int, seed: int) -> None:
    """Print in Markdown: every figure by the number of persons, odds ratios by design, and AUROCs of few persons."""
    held: dict[tuple[str, int, int], tuple[int, int]] = {}
    units = []
    for row, design in enumerate(DESIGNS):
        truth = truths(drawn(MANY, *design, np.random.default_rng([seed, row])))
        units.append(truth["odds ratio, crude"])
        for persons in PERSONS:
            rng = np.random.default_rng([seed, row, persons])
            for name, counts in coverage(persons, design, truth, repeats=repeats, rng=rng).items():
                held[name, persons, row] = counts
            print(f"{design}, {persons} persons: done", file=sys.stderr, flush=True)
    _print(held, units, repeats)
    print("\nAUROC on the log-odds as if no number of persons were too few, 600 cohorts:\n")
    heading(["persons", "images each", "holds the truth"])
    for persons, images in FEW:
        line([persons, images, few(persons, images, np.random.default_rng([seed, persons, images]))])


def _print(held: dict[tuple[str, int, int], tuple[int, int]], units: list[float], repeats: int) -> None:
    rows = range(len(DESIGNS))
    print(f"Coverage in % over {len(DESIGNS)} designs of {repeats} cohorts each (standard error):\n")
    heading(["figure", *(f"{persons} persons" for persons in PERSONS), "lowest design", "highest"])
    for name in FIGURES:
        pooled = [_pooled([held[name, persons, row] for row in rows]) for persons in PERSONS]
        each = [_share(held[name, persons, row]) for persons in PERSONS for row in rows]
        known = [Share(share) for share in each if share is not None]
        line([name, *pooled, *((min(known), max(known)) if known else ("–", "–"))])
    print("\nOdds ratios, crude / adjusted for age and sex, by design:\n")
    heading(["outcome of", "images unlike", "images", "truth of one unit", *(f"{n} persons" for n in PERSONS)])
    for row, (level, unlike, images) in enumerate(DESIGNS):
        kinds = ("crude", "adjusted")
        cells = [" / ".join(_said(held[f"odds ratio, {kind}", persons, row]) for kind in kinds) for persons in PERSONS]
        line([f"the {level}", f"{100 * unlike:.0f} %", _sizes(images), f"{units[row]:.2f}", *cells])


def few(persons: int, images: int, rng: np.random.Generator, *, repeats: int = 600) -> Share:
    """How often the interval of an AUROC of 0.8 holds it; of several images a tenth is unlike the person."""
    held = count = 0
    while count < repeats:
        whose = np.repeat(np.arange(persons), images)
        event = (rng.random(persons) < 0.5)[whose] ^ (rng.random(whose.size) < 0.1 * (images > 1))
        score = np.sqrt(0.5) * (rng.normal(size=persons)[whose] + rng.normal(size=whose.size))
        score += np.sqrt(2) * norm.ppf(0.8) * event
        try:
            found = statistics.auroc_interval(event, score, whose, scale="logit", fewest=2)
        except EvaluationError:  # fewer than two persons of a class
            continue
        count += 1
        held += found.low <= 0.8 <= found.high
    return Share(held / count)


def truths(cohort: Cohort, names: list[str] | None = None) -> dict[str, float]:
    """The figures of a cohort so large that they are the truth; those that it does not allow are left out."""
    found = {}
    for name in names or FIGURES:
        try:
            found[name] = FIGURES[name](cohort).value
        except EvaluationError:
            continue
        if name in RATIOS:
            found[name] **= 1 / cohort.score.std(ddof=1)
    return found


def coverage(
    persons: int,
    design: tuple[str, float, tuple[int, ...]],
    truth: dict[str, float],
    *,
    repeats: int,
    rng: np.random.Generator,
) -> dict[str, tuple[int, int]]:
    """Of each figure how many of its intervals hold the truth, and how many intervals there were."""
    held = {name: [0, 0] for name in FIGURES}
    for _ in range(repeats):
        cohort = drawn(persons, *design, rng)
        while _fewest(cohort) < 10:
            cohort = drawn(persons, *design, rng)
        for name, true in truth.items():
            try:
                found = FIGURES[name](cohort)
            except EvaluationError:
                continue
            if np.isfinite(found.low):
                true = true ** cohort.score.std(ddof=1) if name in RATIOS else true
                held[name][0] += found.low <= true <= found.high
                held[name][1] += 1
    return {name: (counts[0], counts[1]) for name, counts in held.items()}


def _fewest(cohort: Cohort) -> int:
    whose = np.arange(cohort.outcome.size) if cohort.subject is None else cohort.subject
    return min(np.unique(whose[chosen]).size for chosen in (cohort.outcome, ~cohort.outcome))


def _share(counts: tuple[int, int]) -> float | None:
    """The share that holds the truth; none where there were too few intervals to say."""
    return counts[0] / counts[1] if counts[1] >= 100 else None


def _pooled(counts: list[tuple[int, int]]) -> str:
    enough = [each for each in counts if each[1] >= 100]
    return _said((sum(each[0] for each in enough), sum(each[1] for each in enough)))


def _said(counts: tuple[int, int]) -> str:
    share = _share(counts)
    if share is None:
        return "–"
    return f"{100 * share:.1f} ({100 * np.sqrt(0.95 * 0.05 / counts[1]):.1f})"


def _sizes(images: tuple[int, ...]) -> str:
    return str(images[0]) if len(images) == 1 else f"{images[0]} to {images[-1]}"
