"""What is known of a simulated study: how often each outcome comes, and how well anything could predict it."""

from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from anomaly.errors import EvaluationError
from anomaly.simulation.coefficients import Population
from anomaly.simulation.population import DEFAULT, FINDINGS, draw_population
from anomaly.statistics.logistic import fitted
from anomaly.statistics.metrics import auroc

OUTCOMES = ("progression", "incidence", "pain")
COVARIATES = ("age", "sex", "bmi")
REFERENCE_PERSONS, REFERENCE_SEED = 20_000, 2**40  # a seed that no user takes: persons of no study drawn
NOTES = {
    "oracle": "chance of the outcome given the four true findings at baseline, age, sex and BMI: a logistic "
    f"regression fitted to {REFERENCE_PERSONS} other simulated persons. The ceiling for any image: sensitivity to "
    "pain, the knee's own rate of loss and what happens later are left out, since no image shows them.",
    "sampling": "all are AUROCs of this sample: with few events a single finding may come out above the oracle",
    "findings": "each true finding at baseline alone",
    "covariates": "the same regression on age, sex and BMI alone, fitted to the same other persons: a floor",
    "mean_intensity": "mean of all pixels of the image at baseline, as stored: a floor. What scoring calls "
    "baseline_intensity is taken after preparation, where scaling each image by its own percentiles turns a bright "
    "lesion into a darker rest: another floor, and at times a higher one",
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


ABOUT = """A SIMULATED study of knees
==========================

Everything in this folder was drawn by a program. Nobody in it exists, no patient was imaged, and no figure
obtained from it says anything about real knees. It is here to try methods where the truth is known.

{persons} persons with two knees each, {images} images. They are seen every year for four years; images are made at
months {months}. Some persons leave the study, the older and those in pain a little more often.

How it comes about
- Knees differ in severity, which is in part the person's (age, BMI, female sex and chance) and in part their own.
- Severity makes effusion (fluid), marrow lesions and thinning of cartilage; many knees have none.
- Osteophytes come with age and are a decoy: they cause nothing.
- Effusion and marrow lesions hurt, the more the more sensitive the person. Both may grow or shrink over the years.
- Cartilage is lost faster with marrow lesions and effusion at baseline and with a high BMI, and by the knee's
  own rate, which nothing shows.
- Sites differ in their scanner, and a little in age and BMI: a confounder.

Files
- cohort.csv: one row an image, see below.
- images/: 2D, 8 bit grey of one scale; 3D, NIfTI with an affine in mm.
- masks/: where the findings are, the sum of 1 (effusion), 2 (marrow), 4 (thinning), 8 (osteophytes).
- labels/: what each pixel is: 1 bone, 2 cartilage, 3 meniscus, 4 muscle, 5 fat, 6 effusion, 7 marrow lesion, and
  0 all else. The findings win over the tissue that they lie in.
- twins/ (if asked for): the same scan of the same knee without effusion and marrow lesions.
- truth.json: all coefficients, counts, rates, and how well outcomes can be predicted at best.
- preview.png: some of the knees, with their findings outlined.

Columns of cohort.csv
- id, path, subject, side; visit in months; age in years at baseline, sex (1 female), bmi in kg/m2, site
- womac: pain from 0 to 20 at the visit; pain: 1 where womac is 4 or more
- normal: 1 where neither knee of the person has any pain or finding at baseline
- split: train (two thirds of the normal persons) or test (everybody else)
- at baseline only:
  pair: a number shared by both knees of a person where one has womac 0 and the other 4 or more
  progression: 1 where more cartilage than a limit was lost within four years, empty where the person left before
  time, event: years to the visit at which that was first seen (event 1), or to the last visit (event 0)
  incidence: 1 where a knee without pain at baseline had pain at month 24, 36 or 48; empty where it had pain
  at baseline, or where the person left without it
- effusion_grade, marrow_grade, cartilage_grade, osteophyte_grade: 0 to 3 as a reader would say, with errors
- true_effusion, true_marrow, true_thinning, true_osteophytes: severity, 0 none, 1 severe
- masks, labels, twin: paths; twin_difference: mean size of image minus twin; simulated: always 1
"""
