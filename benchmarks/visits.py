"""What two visits tell of progression on simulated knees, and how often intervals about visits hold the truth.

    python -m benchmarks.visits [--out OUT] [--persons 300] [--cohort-seed 0] [--seed 0] [--only NAME ...]
    python -m benchmarks.visits --coverage [--repeats 1000]

The first: detectors learn from the baseline images of `split=train` and score months 0 and 24 of `split=test`;
`anomaly evaluate --visits` says what the score at month 0, its change, and both tell of progression within 48 months,
beside the oracle, which knows every true finding at baseline, and the covariates. Part of the progression is seen by
month 24, so the change holds part of the outcome: the rows `free until the last image` leave those knees out.

The second: cohorts drawn with a known truth.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit

import anomaly
from anomaly.cohorts.results import read_table
from anomaly.images.preprocessing import Preprocessing
from anomaly.simulation import simulate
from anomaly.simulation.population import DEFAULT, FINDINGS
from anomaly.simulation.truth import COVARIATES, expected
from anomaly.statistics import auroc_interval, cox_by_interval, odds_by_visit, repeatability, slopes
from anomaly.statistics.repeatability import REACH
from benchmarks.coverage import Share, heading, line

DETECTORS: dict[str, dict[str, Any]] = {"texture": {}, "pca": {}, "autoencoder": {"value_from": "l2_excess"}}
PERSONS = (20, 50, 200)
EFFECT = 0.5
SLOPES = ((12, 1, False), (10, 2, False), (24, 1, True), (60, 2, True))
"""Persons, knees a person, and whether two groups of them are compared."""


def main() -> None:
    """Print tables in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("benchmark_out/visits"))
    parser.add_argument("--persons", type=int, default=300)
    parser.add_argument("--cohort-seed", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", default=list(DETECTORS))
    parser.add_argument("--coverage", action="store_true", help="how often intervals hold the truth, instead")
    parser.add_argument("--repeats", type=int, default=1000)
    arguments = parser.parse_args()
    if arguments.coverage:
        coverage(arguments.repeats, arguments.seed)
        return
    folder = arguments.out / f"cohort{arguments.cohort_seed}"
    cohort = simulate("knees", folder, count=arguments.persons, seed=arguments.cohort_seed)
    heading(["score", "knees", "events", "AUROC for progression", "95 %", "method"])
    bounds(cohort)
    for name in arguments.only:
        told(cohort, arguments.out / name, name, arguments.seed)


def bounds(cohort: Path) -> None:
    """The rows of the oracle and of the covariates, of the knees of `split=test` that came back at month 24."""
    table = read_table(cohort, "cohort")
    back = table.loc[table["visit"] == 24, ["subject", "side"]].drop_duplicates()
    first = table[(table["visit"] == 0) & (table["split"] == "test") & table["progression"].notna()]
    first = first.merge(back, on=["subject", "side"])
    knees = first.rename(columns={f"true_{name}": name for name in FINDINGS})
    for name, columns in (("oracle", FINDINGS + COVARIATES), ("age, sex, BMI", COVARIATES)):
        score = expected(knees, "progression", columns, knees["site"].nunique(), DEFAULT)
        found = auroc_interval(first["progression"], score, first["subject"], scale="logit")
        events = int(first["progression"].sum())
        interval = f"{found.low:.2f}-{found.high:.2f}"
        line([f"truth: {name}", len(first), events, f"{found.value:.3f}", interval, "fitted to other persons"])


def told(cohort: Path, out: Path, name: str, seed: int) -> None:
    """The rows of one detector."""
    run = anomaly.learn(
        cohort, out / "run", method=name, settings=DETECTORS[name], seed=seed,
        preprocessing=Preprocessing(size=96, intensity="range"),
        where={"split": "train", "visit": "0"}, subject="subject", resume=True,
    )  # fmt: skip
    scores = anomaly.score(
        run.folder, cohort, out / "scores", where={"split": "test"}, subject="subject", heatmaps=["nifti"]
    ).path
    found = anomaly.evaluate_visits(
        scores, cohort, visits="visit", visit_unit="months", outcome="progression", time="time", event="event",
        adjust=COVARIATES, out=out, seed=seed,
    )  # fmt: skip
    for row in found.section("change_and_outcome").table.to_dict("records"):
        interval = f"{row['auroc_low']:.2f}-{row['auroc_high']:.2f}"
        line([f"{name}: {row['predictor']}", row["n"], row["events"], f"{row['auroc']:.3f}", interval, row["method"]])
    for section in ("noise", "lesion_changes", "by_visit"):
        print("\n" + "\n".join(found.section(section).sentences) + "\n")


def coverage(repeats: int, seed: int) -> None:
    """Least detectable change: its interval, and the share of new stable pairs that it holds; then the two ratios."""
    error = 100 * np.sqrt(0.95 * 0.05 / repeats)
    print(f"In %, {repeats} cohorts a row; at 95 % the standard error is {error:.1f}.\n")
    heading(["persons", "pairs a person", "correlation of changes", "changes", "interval holds", "new pairs inside"])
    cases = [(1, 0.0, "normal"), (2, 0.0, "normal"), (2, 0.7, "normal"), (1, 0.0, "t of 6"), (2, 0.7, "t of 6")]
    for place, persons in enumerate(PERSONS):
        for row, (pairs, shared, kind) in enumerate(cases):
            rng = np.random.default_rng([seed, place, row])
            line([persons, pairs, shared, kind, *_noise(persons, pairs, shared, kind, repeats, rng)])
    print()
    heading(["persons, two knees each", "odds by the next visit", "Cox by interval", "not told"])
    for place, persons in enumerate((30, 100, 300)):
        rng = np.random.default_rng([seed, 100 + place])
        line([persons, *_ratios(persons, repeats, rng)])
    print()
    heading(["persons", "knees a person", "slope of", "mixed model", "independent model"])
    for row, (persons, sides, grouped) in enumerate(SLOPES):
        rng = np.random.default_rng([seed, 200 + row])
        what = "difference of two groups" if grouped else "everybody"
        line([persons, sides, what, *_slopes(persons, sides, grouped, repeats, rng)])


def _noise(
    persons: int, pairs: int, shared: float, kind: str, repeats: int, rng: np.random.Generator
) -> tuple[Share, Share]:
    people, held, inside = np.repeat(np.arange(persons), pairs), 0, []
    fresh = _changes(np.repeat(np.arange(200_000), 1), 0.0, kind, rng)
    for _ in range(repeats):
        before = rng.normal(size=people.size)
        found = repeatability(before, before + _changes(people, shared, kind, rng), people).least_detectable
        held += found.low <= REACH / np.sqrt(2) <= found.high
        inside.append(np.mean(np.abs(fresh) <= found.value))
    return Share(held / repeats), Share(float(np.mean(inside)))


def _changes(people: np.ndarray, shared: float, kind: str, rng: np.random.Generator) -> np.ndarray:
    """Changes of variance one; of a person they share their size too where they have long tails."""
    count = int(people.max()) + 1
    common = rng.normal(size=count)[people]
    change = np.sqrt(shared) * common + np.sqrt(1 - shared) * rng.normal(size=people.size)
    return change if kind == "normal" else change / np.sqrt(1.5 * (rng.chisquare(6, count) / 6)[people])


def _ratios(persons: int, repeats: int, rng: np.random.Generator) -> tuple[Share, Share, int]:
    held, failed, tried = {"odds": 0, "hazard": 0}, 0, 0
    ways: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "odds": lambda score: np.where(rng.random(score.size) < expit(-1.5 + EFFECT * score), 0.5, 1.5),
        "hazard": lambda score: rng.exponential(size=score.size) / (0.25 * np.exp(EFFECT * score)),
    }
    for _ in range(repeats):
        for name, wait in ways.items():
            person, year, end, event, score = _visited(persons, wait, rng)
            try:
                if name == "odds":
                    found = odds_by_visit(event, score, year, None, person, deviation=1.0)
                else:
                    found = cox_by_interval(year, end, event, score, None, person, deviation=1.0)
            except anomaly.AnomalyError:
                failed += 1
                continue
            held[name] += found.low <= np.exp(EFFECT) <= found.high
            tried += 1
    told = max(tried / 2, 1)
    return Share(held["odds"] / told), Share(held["hazard"] / told), failed


def _slopes(persons: int, sides: int, grouped: bool, repeats: int, rng: np.random.Generator) -> tuple[Share, Share]:
    """Slopes of nothing on average, over three visits a year apart; persons have a level and a slope, knees a level."""
    visits, knees = 3, persons * sides
    people, knee = np.repeat(np.arange(persons), sides * visits), np.repeat(np.arange(knees), visits)
    time = np.tile(np.arange(float(visits)), knees)
    group = (people < persons // 2).astype(float) if grouped else None
    name, held = "difference" if grouped else "all", np.zeros(2)
    for _ in range(repeats):
        own = rng.normal(size=persons)[people] + 0.3 * rng.normal(size=persons)[people] * time
        value = own + 0.5 * rng.normal(size=knees)[knee] + 0.3 * rng.normal(size=time.size)
        found = slopes(value, time, people, group, unit=knee)
        held += [part[name].low <= 0 <= part[name].high for part in (found.mixed, found.marginal)]
    return Share(held[0] / repeats), Share(held[1] / repeats)


def _visited(
    persons: int, wait: Callable[[np.ndarray], np.ndarray], rng: np.random.Generator
) -> tuple[np.ndarray, ...]:
    """Two knees a person seen yearly for four years, until the event; the scores of a person correlate."""
    people = np.repeat(np.arange(persons), 2)
    shared, rows = rng.normal(size=persons)[people], []
    free = np.ones(people.size, bool)
    for year in range(4):
        score = 0.6 * shared + 0.8 * rng.normal(size=people.size)
        waited = wait(score)
        event = waited < 1
        kept = np.flatnonzero(free)
        table = {"person": people, "year": np.full(people.size, year), "end": np.minimum(year + waited, year + 1)}
        rows.append(pd.DataFrame(table | {"event": event, "score": score}).iloc[kept])
        free &= ~event
    return tuple(pd.concat(rows).to_numpy(dtype=float).T)


if __name__ == "__main__":
    main()
