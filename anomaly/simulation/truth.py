"""What is known of a simulated study: how often each outcome comes, and how well anything could predict it."""

from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from anomaly.errors import EvaluationError
from anomaly.metrics import auroc
from anomaly.simulation.coefficients import Population
from anomaly.simulation.population import DEFAULT, FINDINGS, draw_population
from anomaly.statistics.logistic import fitted

OUTCOMES = ("progression", "incidence", "pain")
COVARIATES = ("age", "sex", "bmi")
REFERENCE_PERSONS, REFERENCE_SEED = 20_000, 2**40  # a seed that no user takes: persons of no study drawn
NOTES = {
    "oracle": "chance of the outcome given the four true findings at baseline, age, sex and BMI: a logistic "
    f"regression fitted to {REFERENCE_PERSONS} other simulated persons. The ceiling for any image: sensitivity to "
    "pain, the knee's own rate of loss and what happens later are left out, since no image shows them.",
    "findings": "each true finding at baseline alone",
    "covariates": "the same regression on age, sex and BMI alone, fitted to the same other persons: a floor",
    "mean_intensity": "mean of all pixels of the image at baseline: a floor",
    "knees": "knees at baseline whose outcome is known; test: those with split=test",
}


def facts(knees: pd.DataFrame, *, sites: int, population: Population = DEFAULT) -> dict[str, Any]:
    """Counts, rates and AUROCs of a study, for `truth.json`; everything about the simulation that can be told.

    Args:
        knees: rows at baseline as `draw_population` gives them, with a column `mean_intensity`.
        sites: of the study.
        population: what it was drawn with.

    An AUROC is null where a group has one class only.
    """
    person = knees.drop_duplicates("person")
    groups = {"all": knees, "test": knees[knees["split"] == "test"]}
    return {
        "persons": len(person),
        "normal_persons": int(person["normal"].sum()),
        "train_persons": int((person["split"] == "train").sum()),
        "knees": len(knees),
        "pairs": int(knees["pair"].nunique()),
        "prevalence": {name: _rounded((knees[name] > 0).mean()) for name in FINDINGS},
        "outcomes": {
            outcome: {name: _figures(group, outcome, sites, population) for name, group in groups.items()}
            for outcome in OUTCOMES
        },
        "notes": NOTES,
    }


def expected(knees: pd.DataFrame, outcome: str, columns: tuple[str, ...], sites: int, population: Population) -> Any:
    """Log odds (n,) of an outcome given these columns, from persons other than those of any study."""
    return _matrix(knees, columns) @ _weights(outcome, columns, sites, population)


def _figures(knees: pd.DataFrame, outcome: str, sites: int, population: Population) -> dict[str, Any]:
    known = knees[knees[outcome].notna()]
    event = known[outcome].to_numpy(dtype=float)
    scores = {
        "oracle": expected(known, outcome, FINDINGS + COVARIATES, sites, population),
        **{name: known[name].to_numpy() for name in FINDINGS},
        "covariates": expected(known, outcome, COVARIATES, sites, population),
        "mean_intensity": known["mean_intensity"].to_numpy(),
    }
    return {
        "knees": len(known),
        "persons": int(known["person"].nunique()),
        "events": int(event.sum()),
        "rate": _rounded(event.mean()) if len(event) else None,
        "auroc": {name: _auroc(event, score) for name, score in scores.items()},
    }


def _auroc(event: np.ndarray, score: np.ndarray) -> float | None:
    try:
        return _rounded(auroc(event, score))
    except EvaluationError:
        return None


@cache
def _weights(outcome: str, columns: tuple[str, ...], sites: int, population: Population) -> np.ndarray:
    others = _reference(sites, population)
    known = others[others[outcome].notna()]
    return fitted(known[outcome].to_numpy(dtype=float), _matrix(known, columns))


@cache
def _reference(sites: int, population: Population) -> pd.DataFrame:
    table = draw_population(REFERENCE_PERSONS, seed=REFERENCE_SEED, sites=sites, population=population)
    return table[table["visit"] == 0]


def _matrix(knees: pd.DataFrame, columns: tuple[str, ...]) -> np.ndarray:
    return np.column_stack([knees[list(columns)].to_numpy(dtype=float), np.ones(len(knees))])


def _rounded(value: float) -> float:
    """To four digits: what lies beyond hangs on the machine's arithmetic, and the same seed gives the same bytes."""
    return round(float(value), 4)
