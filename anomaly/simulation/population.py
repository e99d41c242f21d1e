"""Draws the people of a simulated knee study: who they are, what their knees have, and what becomes of them.

No images here. Everything follows from the coefficients of a `Population`, so the truth is known in full. Knees of
one person resemble each other because a part of their severity, the covariates and the sensitivity to pain are the
person's own.
"""

import numpy as np
import pandas as pd
from scipy.special import expit

from anomaly.errors import CohortError
from anomaly.simulation.coefficients import Finding, Population

MONTHS = (0, 12, 24, 36, 48)
FINDINGS = ("effusion", "marrow", "thinning", "osteophytes")
GRADED = dict(zip(FINDINGS, ("effusion_grade", "marrow_grade", "cartilage_grade", "osteophyte_grade"), strict=True))
FEWEST = 10
FROM_MONTH = 24  # pain that comes earlier does not count as incidence: one bad year is no onset
PAIR_GAP = 4
TRAINING_SHARE = 2 / 3
DEFAULT = Population()
_COVARIATES, _KNEES, _YEARS, _PAIN, _LEAVING, _READING, _SPLIT = range(7)


def draw_population(persons: int, *, seed: int, sites: int = 3, population: Population = DEFAULT) -> pd.DataFrame:
    """Draw a study: one row for each of the two knees of every person at each of the yearly visits planned.

    The first persons of a larger study with the same seed are the same persons (but for `split` and `pair`).

    Columns:
        person (from 0), knee (0 right, 1 left), visit (months), attended (bool); age (years, at baseline),
        sex (1 female), bmi, site (from 0), sensitivity (SD), severity (SD, of the knee); the four findings and
        `loss` (of cartilage since baseline) as they are at the visit; womac (0-20) and pain (0/1) at the visit;
        the readings (0-3); normal, split (of the person). On rows at baseline only: pair, progression, incidence,
        time (years), event; missing (NA) elsewhere and where not known.

    Raises:
        CohortError: fewer than 10 persons, no site, or a seed below 0.
    """
    if persons < FEWEST or sites < 1 or seed < 0:
        raise CohortError(
            f"got {persons} persons, {sites} sites, seed {seed}; give {FEWEST} persons, 1 site, seed 0 or more"
        )
    people = _people(persons, seed, sites, population)
    findings, severity = _findings(people, seed, population)
    womac = _womac(people, findings, seed, population)
    attended = _attended(people, womac, seed, population)
    columns = {
        "person": np.arange(persons)[:, None, None],
        "knee": np.arange(2)[:, None],
        "visit": np.array(MONTHS),
        "attended": attended[:, None],
        **{name: values[:, None, None] for name, values in people.items()},
        "severity": severity[:, :, None],
        **findings,
        "womac": womac,
        "pain": (womac >= population.painful).astype(int),
        **_readings(findings, seed, population),
    }
    shape = (persons, 2, len(MONTHS))
    table = pd.DataFrame({name: np.broadcast_to(values, shape).ravel() for name, values in columns.items()})
    normal = _normal(womac, findings)
    table["normal"] = np.repeat(normal.astype(int), 2 * len(MONTHS))
    table["split"] = np.repeat(_split(normal, seed), 2 * len(MONTHS))
    for name, values in _outcomes(womac, findings["loss"], attended, population).items():
        table[name] = _at_baseline(values)
    return table


def _noise(seed: int, stream: int, *shape: int) -> np.ndarray:
    """Standard normal numbers, person by person, so that more persons do not change the first."""
    return np.random.default_rng([seed, stream]).standard_normal(shape)


def _people(persons: int, seed: int, sites: int, p: Population) -> dict[str, np.ndarray]:
    z = _noise(seed, _COVARIATES, persons, 3)
    chance = np.random.default_rng([seed, _COVARIATES, 1]).random((persons, 2))
    site = (chance[:, 0] * sites).astype(int)
    from_middle = site - (sites - 1) / 2
    age = np.rint(p.age + p.site_age * from_middle + p.age_sd * z[:, 0]).clip(p.youngest, p.oldest)
    bmi = (p.bmi + p.site_bmi * from_middle + p.bmi_sd * z[:, 1]).clip(p.leanest, p.heaviest).round(1)
    sex = (chance[:, 1] < p.women).astype(int)
    return {"age": age.astype(int), "sex": sex, "bmi": bmi, "site": site, "sensitivity": z[:, 2]}


def _findings(people: dict[str, np.ndarray], seed: int, p: Population) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The findings and the loss of cartilage (persons, 2, visits), and the severity of the knees (persons, 2)."""
    persons, names = len(people["age"]), len(FINDINGS)
    # For each knee: its severity, its own rate of loss, and each finding; last comes what both knees share.
    z = _noise(seed, _KNEES, persons, 3, 2 + names)
    own, common = z[:, :2], z[:, 2:]
    years = _noise(seed, _YEARS, persons, 2, len(MONTHS), names)
    age, bmi = (people["age"] - p.age) / p.age_sd, (people["bmi"] - p.bmi) / p.bmi_sd
    person = p.severity_age * age + p.severity_bmi * bmi + p.severity_female * (people["sex"] - p.women)
    severity = (person + p.severity_person * common[:, 0, 0])[:, None] + p.severity_knee * own[..., 0]
    found = {}
    for k, name in enumerate(FINDINGS):
        one: Finding = getattr(p, name)
        itself = np.sqrt(one.shared) * common[..., 2 + k] + np.sqrt(1 - one.shared) * own[..., 2 + k]
        start = one.start + one.severity * severity + one.age * age[:, None] + one.spread * itself
        change = one.growth * severity[..., None] + one.wander * years[..., k]
        found[name] = (start[..., None] + _since_baseline(change)).clip(0, p.most).round(4)
    rate = p.loss_start + p.loss_marrow * found["marrow"][..., 0] + p.loss_effusion * found["effusion"][..., 0]
    rate = rate + p.loss_bmi * bmi[:, None] + p.loss_knee * own[..., 1]
    loss = _since_baseline((rate[..., None] + p.loss_year * years[..., FINDINGS.index("thinning")]).clip(0))
    return {**found, "thinning": (found["thinning"] + loss).clip(0, p.most).round(4), "loss": loss}, severity


def _since_baseline(yearly: np.ndarray) -> np.ndarray:
    """Sums over the years (..., visits); nothing has changed at baseline."""
    return np.cumsum(np.where(np.arange(yearly.shape[-1]) > 0, yearly, 0.0), axis=-1)


def _womac(people: dict[str, np.ndarray], findings: dict[str, np.ndarray], seed: int, p: Population) -> np.ndarray:
    """Pain (persons, 2, visits), whole points from 0 to 20."""
    fresh = _noise(seed, _PAIN, len(people["age"]), 2, len(MONTHS))
    state = fresh.copy()
    for t in range(1, len(MONTHS)):
        state[..., t] = p.pain_memory * state[..., t - 1] + np.sqrt(1 - p.pain_memory**2) * fresh[..., t]
    pressure = p.pain_start + p.pain_effusion * findings["effusion"] + p.pain_marrow * findings["marrow"]
    pressure = pressure + p.pain_sensitivity * people["sensitivity"][:, None, None] + p.pain_knee * state
    return np.rint(20 * -np.expm1(-pressure.clip(0) / p.pain_bend)).astype(int)


def _attended(people: dict[str, np.ndarray], womac: np.ndarray, seed: int, p: Population) -> np.ndarray:
    """Whether a person comes to each visit (persons, visits); who left does not return."""
    age = (people["age"] - p.age) / p.age_sd
    leaving = expit(p.leave_start + p.leave_age * age[:, None] + p.leave_pain * womac.max(axis=1)[:, :-1])
    chance = np.random.default_rng([seed, _LEAVING]).random(leaving.shape)
    stays = np.cumprod(chance >= leaving, axis=1).astype(bool)
    return np.concatenate([np.ones((len(stays), 1), dtype=bool), stays], axis=1)


def _readings(findings: dict[str, np.ndarray], seed: int, p: Population) -> dict[str, np.ndarray]:
    """Grades from 0 to 3 as a radiologist gives them, some of them wrong."""
    error = p.misread * _noise(seed, _READING, *findings["loss"].shape, len(FINDINGS))
    return {
        GRADED[name]: np.rint(3 * findings[name] + error[..., k]).clip(0, 3).astype(int)
        for k, name in enumerate(FINDINGS)
    }


def _normal(womac: np.ndarray, findings: dict[str, np.ndarray]) -> np.ndarray:
    """Whether a person (persons,) has no pain at all and no finding in either knee at baseline."""
    found = sum(findings[name][..., 0] for name in FINDINGS) + womac[..., 0]
    return np.asarray((found == 0).all(axis=1))


def _split(normal: np.ndarray, seed: int) -> np.ndarray:
    """train for two thirds of the normal persons, test for everybody else."""
    who = np.random.default_rng([seed, _SPLIT]).permutation(np.flatnonzero(normal))
    split = np.full(len(normal), "test", dtype=object)
    split[who[: int(np.ceil(TRAINING_SHARE * len(who)))]] = "train"
    return split


def _outcomes(womac: np.ndarray, loss: np.ndarray, attended: np.ndarray, p: Population) -> dict[str, np.ndarray]:
    """What the study gets to know of each knee (persons, 2), NaN where it does not."""
    came = attended[:, None]
    stayed = came[..., -1]
    progressed = (loss > p.progression) & came
    seen = progressed.any(axis=2)
    last = np.where(seen, progressed.argmax(axis=2), came.sum(axis=2) - 1)
    pain = (womac >= p.painful) & came
    onset = pain[..., np.array(MONTHS) >= FROM_MONTH].any(axis=2)
    incidence = np.where(onset, 1.0, np.where(stayed, 0.0, np.nan))
    ends = womac[..., 0]
    paired = (abs(ends[:, 0] - ends[:, 1]) >= PAIR_GAP) & (ends.min(axis=1) == 0)
    return {
        "pair": np.broadcast_to(np.where(paired, np.cumsum(paired), np.nan)[:, None], ends.shape),
        "progression": np.where(seen, 1.0, np.where(stayed, 0.0, np.nan)),
        "incidence": np.where(pain[..., 0], np.nan, incidence),
        "time": np.array(MONTHS)[last] / 12.0,
        "event": seen.astype(float),
    }


def _at_baseline(values: np.ndarray) -> pd.arrays.IntegerArray:
    """Whole numbers on the rows of the first visit, NA on the others and for NaN, so that no knee counts twice."""
    spread = np.full((*values.shape, len(MONTHS)), np.nan)
    spread[..., 0] = values
    return pd.array(spread.ravel(), dtype="Int64")
