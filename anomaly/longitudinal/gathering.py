"""Brings scores of several visits, persons and outcomes together, and pairs the visits."""

from pathlib import Path

import numpy as np
import pandas as pd

from anomaly.cohorts import joining
from anomaly.cohorts.results import read_scores, read_table, scored_trained, some
from anomaly.cohorts.times import PER_YEAR
from anomaly.cohorts.visits import SIDES, SINGLE, VisitPairs, visit_pairs
from anomaly.errors import EvaluationError
from anomaly.evaluation.gathering import BASELINE, scores_file
from anomaly.longitudinal.outcomes import UnitOutcomes, outcomes_of
from anomaly.longitudinal.question import AFTER, BEFORE, CHANGE, LATE, Question, Seen
from anomaly.longitudinal.unchanged import rescans, unchanged
from anomaly.statistics import design
from anomaly.statistics.design import column_of, perhaps_groups

_TRAINED = (
    "subjects the model was trained on were let in (allow_overlap), whose scores are too low; do not compare them."
)


def gather(scores: Path, cohort: Path | pd.DataFrame, question: Question) -> tuple[Seen, pd.DataFrame]:
    """Everything the analyses need, and the images that stand in no pair.

    Raises:
        EvaluationError: nothing joins, columns that are not there.
        CohortError: the visits tell no time, or nobody was seen twice.
    """
    notes: list[str] = []
    file = scores_file(scores)
    texts = [question.subject] if question.subject else []
    scored = read_scores(file, names=texts)
    everyone = read_table(cohort, "cohort", names=texts, missing=question.missing)
    asked = [question.visits, question.date, question.time, question.event]
    joining.require(everyone, [*asked, *(column_of(name, everyone) for name in question.adjust)])
    everyone = joining.chosen(everyone, question.where, notes)
    folder = Path.cwd() if isinstance(cohort, pd.DataFrame) else Path(cohort).parent
    scored, people = joining.join(scored, everyone, file.parent, folder, notes)
    table = people.assign(id=scored["id"], path=scored["path"] if "path" in scored else scored["id"])
    table["subject"] = _persons(scored, people, question.subject)
    every = _paired(table, question, "first")
    unit, time, yearly, called = _units(table, every)
    images = pd.DataFrame({"id": table["id"], "subject": table["subject"], "unit": unit, "time": time})
    names = _scores(images, scored, notes)
    told = _outcomes(everyone, table, question, notes)
    images["outcome"] = told.of(images["unit"].to_numpy(), time, table)
    again = rescans(table, unit, time, question.stable)
    chosen = np.flatnonzero(~again)
    pairs = _with_scores(_last(table, chosen, question), images, names)
    nearest = _with_scores(_paired(table, question, "next").pairs, images, names)
    noise, noise_from = unchanged(table, images, nearest, again, question)
    notes += [*every.told(), *told.notes]
    notes += [_TRAINED] if scored_trained(file) else []
    notes += [joining.SIMULATED] if joining.simulated(people) else []
    seen = Seen(
        images, people, pairs, noise, names, called, yearly, _covariates(people, pairs, question, notes),
        told.at_visit, noise_from, notes, file, _maps(scored, file.parent), _already(people, pairs, yearly, question),
    )  # fmt: skip
    return seen, every.left_out


def _persons(scored: pd.DataFrame, people: pd.DataFrame, subject: str | None) -> pd.Series:
    name = subject or "subject"
    column = people[name] if name in people else scored[name] if name in scored else None
    if column is None:
        raise EvaluationError(
            f"neither the cohort nor the scores have a column {name!r}, and visits are of persons; name the column"
        )
    return column.astype(object).where(column.notna(), None)


def _paired(table: pd.DataFrame, question: Question, which: str) -> VisitPairs:
    return visit_pairs(
        table, visit=question.visits, date=question.date, unit=question.unit, order=list(question.order) or None,
        which=which,
    )  # fmt: skip


def _last(table: pd.DataFrame, chosen: np.ndarray, question: Question) -> pd.DataFrame:
    """The last image of each unit beside its first, of the chosen rows of the table."""
    pairs = _paired(table.iloc[chosen].reset_index(drop=True), question, "last").pairs
    return pairs.assign(row=chosen[pairs["row"]], baseline_row=chosen[pairs["baseline_row"]])


def _units(table: pd.DataFrame, every: VisitPairs) -> tuple[np.ndarray, np.ndarray, bool, str]:
    """What is seen several times (n,), -1 where an image has no time; time since its first image; and its unit."""
    pairs = every.pairs
    yearly = bool(pairs["years"].notna().all())
    first, time = np.full(len(table), -1), np.full(len(table), np.nan)
    first[pairs["baseline_row"]] = pairs["baseline_row"]
    first[pairs["row"]] = pairs["baseline_row"]
    time[pairs["baseline_row"]] = 0.0
    time[pairs["row"]] = pairs["years" if yearly else "interval"]
    # Who has one image alone is watched all the same, from that image on.
    alone = every.left_out.loc[every.left_out["reason"].astype(str).str.startswith(SINGLE), "id"]
    single = table["id"].isin(alone).to_numpy()
    first[single], time[single] = np.flatnonzero(single), 0.0
    known = first >= 0
    unit = np.full(len(table), -1)
    unit[known] = np.unique(first[known], return_inverse=True)[1]
    return unit, time, yearly, "year" if yearly else (every.unit.removesuffix("s") or "unit")


def _scores(images: pd.DataFrame, scored: pd.DataFrame, notes: list[str]) -> list[str]:
    images["value"] = scored["value"]
    for name in (str(column) for column in scored if str(column).startswith(BASELINE)):
        values = pd.to_numeric(scored[name], errors="coerce").astype(float)
        if np.isfinite(values).all():
            images[name] = values
        else:
            notes.append(f"{name} was left out: {int((~np.isfinite(values)).sum())} of its values are not numbers.")
    return [str(name) for name in images if name == "value" or str(name).startswith(BASELINE)]


def _outcomes(everyone: pd.DataFrame, table: pd.DataFrame, question: Question, notes: list[str]) -> UnitOutcomes:
    """Outcomes of persons and sides, from whichever row of the cohort has them."""
    side = next((name for name in SIDES if name in everyone), None)
    name = question.subject or "subject"
    keys = [each for each in (name if name in everyone else None, side) if each]
    source = everyone if name in everyone else table
    return outcomes_of(source, table, keys or ["subject"], question, notes)


def _with_scores(pairs: pd.DataFrame, images: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Pairs with both scores and the change of each, and the outcome of what they are of."""
    pairs = pairs.copy()
    for name in names:
        before, after = (images[name].to_numpy()[pairs[row]] for row in ("baseline_row", "row"))
        pairs[f"{name}{BEFORE}"], pairs[f"{name}{AFTER}"] = before, after
        pairs[f"{name}{CHANGE}"] = after - before
    pairs["outcome"] = images["outcome"].to_numpy()[pairs["row"]]
    return pairs


def _covariates(people: pd.DataFrame, pairs: pd.DataFrame, question: Question, notes: list[str]) -> pd.DataFrame | None:
    """Covariates at the first visit of each pair, incomplete rows NaN."""
    if not question.adjust:
        return None
    first = people.iloc[pairs["baseline_row"]].reset_index(drop=True)
    notes += perhaps_groups(first, question.adjust)
    columns = design(first, question.adjust)
    lost = pairs.loc[columns.isna().any(axis=1).to_numpy(), "id"]
    if len(lost):
        notes.append(f"{len(lost)} pairs lack a covariate and were left out of all that is adjusted ({some(lost)}).")
    return columns


def _already(people: pd.DataFrame, pairs: pd.DataFrame, yearly: bool, question: Question) -> np.ndarray | None:
    """Pairs (n,) whose event came by their last image, by the time and event at their first."""
    if question.time is None or not yearly or question.time_unit not in PER_YEAR:
        return None
    first = people.iloc[pairs["baseline_row"]]
    time, event = (pd.to_numeric(first[name], errors="coerce") for name in (question.time, question.event))
    return (event.to_numpy() == 1) & (
        time.to_numpy() / PER_YEAR[question.time_unit] <= pairs["years"].to_numpy() + LATE
    )


def _maps(scored: pd.DataFrame, folder: Path) -> np.ndarray | None:
    """Paths of maps with numbers in them, None where an image has none."""
    if "heatmap" not in scored:
        return None
    found = [
        next((str(folder / part) for part in str(cell).split(";") if part.endswith((".nii", ".nii.gz", ".npy"))), None)
        for cell in scored["heatmap"]
    ]
    return np.array(found, dtype=object) if any(found) else None
