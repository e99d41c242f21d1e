"""Brings scores of several visits, persons and outcomes together, and pairs the visits."""

from pathlib import Path

import numpy as np
import pandas as pd

from anomaly.cohorts import joining
from anomaly.cohorts.outcomes import Outcomes, outcomes_of
from anomaly.cohorts.results import scored_trained, some
from anomaly.cohorts.visits import RESCANNED, SINGLE, VisitPairs, visit_pairs
from anomaly.errors import EvaluationError
from anomaly.evaluation.gathering import BASELINE, scores_file
from anomaly.longitudinal.followed import at_first, event_times, had_already
from anomaly.longitudinal.joined import Joined, joined_to
from anomaly.longitudinal.likeness import REGISTERED, UNLIKE, were_registered, were_unlike
from anomaly.longitudinal.question import AFTER, BEFORE, CHANGE, LATE, Question, Seen
from anomaly.longitudinal.unchanged import rescans, unchanged
from anomaly.statistics.design import design, perhaps_groups

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
    joined = joined_to(file, cohort, question, notes)
    table, people = joined.table, joined.people
    every = rescans(table, lambda which, again: _paired(table, question, which, again), question, notes)
    images, called = _images(joined, every)
    names = _scores(images, joined.scored, notes)
    images[REGISTERED] = were_registered(joined.scored, file.parent)
    if (unlike := were_unlike(joined.scored)) is not None:
        images[UNLIKE] = unlike
    told = None
    if question.outcome is not None:
        told = outcomes_of(
            joined.cohort, joined.known["key"], joined.known["since"].to_numpy(), question.outcome, question.positive,
            notes, question.outcome_at,
        )  # fmt: skip
        start = images.groupby("unit")["since"].transform("min").to_numpy()
        images["outcome"] = np.where(images["unit"] >= 0, told.of(joined.keys, start), np.nan)
    images["until"], images["event"] = event_times(joined, images, question, notes)
    first = at_first(joined, images, question)
    # Of each first image the pairs come in the order of time.
    last = every.pairs.drop_duplicates("baseline_row", keep="last").reset_index(drop=True)
    last = _with_scores(last, images, names)
    noise, noise_from = unchanged(table, images, last, every, question)
    noise = _with_scores(noise, images, names)
    notes += every.told()
    notes += told.notes if told is not None else []
    notes += [_TRAINED] if scored_trained(file) else []
    notes += [joining.SIMULATED] if joining.simulated(people) else []
    maps = _maps(joined.scored, file.parent)
    had = _had(images, last, told, question, notes)
    visits = None if told is None else _without_rescans(told.visits, images)
    seen = Seen(
        images, first, last, noise, names, called, joined.yearly, _covariates(first, last, question, notes),
        visits, noise_from, notes, file, maps, had, images[REGISTERED].to_numpy()[last["row"]],
    )  # fmt: skip
    return seen, every.left_out


def _paired(table: pd.DataFrame, question: Question, which: str, again: np.ndarray | None = None) -> VisitPairs:
    return visit_pairs(
        table, visit=question.visits, date=question.date, unit=question.unit, order=list(question.order) or None,
        which=which, repeats=again,
    )  # fmt: skip


def _images(joined: Joined, every: VisitPairs) -> tuple[pd.DataFrame, str]:
    """A row an image: what is seen several times (-1 where it has no time), the time since its first image, and since
    the first visit of its person; and what one unit of time is called."""
    size, yearly = len(joined.table), joined.yearly
    first, time = np.full(size, -1), np.full(size, np.nan)
    # Who has one image alone is watched all the same, from that image on.
    alone = every.left_out.loc[every.left_out["reason"].astype(str).str.startswith((SINGLE, RESCANNED)), "id"]
    single = joined.table["id"].isin(alone).to_numpy()
    first[single], time[single] = np.flatnonzero(single), 0.0
    long = "years" if yearly else "interval"
    for pairs in (every.pairs, every.repeats):
        before, row = pairs["baseline_row"].to_numpy(), pairs["row"].to_numpy()
        fresh = before[first[before] < 0]
        first[fresh], time[fresh] = fresh, 0.0
        first[row], time[row] = first[before], time[before] + pairs[long].to_numpy()
    unit = np.full(size, -1)
    unit[first >= 0] = np.unique(first[first >= 0], return_inverse=True)[1]
    images = pd.DataFrame({"id": joined.table["id"], "subject": joined.table["subject"], "unit": unit, "time": time})
    images["since"], images["key"], images["outcome"] = joined.since, joined.keys, np.nan
    images["again"] = np.isin(np.arange(size), every.repeats["row"])
    return images, "year" if yearly else (every.unit.removesuffix("s") or "unit")


def _scores(images: pd.DataFrame, scored: pd.DataFrame, notes: list[str]) -> list[str]:
    images["value"] = scored["value"]
    for name in (str(column) for column in scored if str(column).startswith(BASELINE)):
        values = pd.to_numeric(scored[name], errors="coerce").astype(float)
        if np.isfinite(values).all():
            images[name] = values
        else:
            notes.append(f"{name} was left out: {int((~np.isfinite(values)).sum())} of its values are not numbers.")
    return [str(name) for name in images if name == "value" or str(name).startswith(BASELINE)]


def _with_scores(pairs: pd.DataFrame, images: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Pairs with both scores and the change of each, and the outcome of what they are of."""
    pairs = pairs.copy()
    for name in names:
        before, after = (images[name].to_numpy()[pairs[row]] for row in ("baseline_row", "row"))
        pairs[f"{name}{BEFORE}"], pairs[f"{name}{AFTER}"] = before, after
        pairs[f"{name}{CHANGE}"] = after - before
    pairs["outcome"] = images["outcome"].to_numpy()[pairs["row"]]
    return pairs


def _covariates(first: pd.DataFrame, pairs: pd.DataFrame, question: Question, notes: list[str]) -> pd.DataFrame | None:
    """Covariates at the first visit of each pair, incomplete rows NaN; None where no model could use them."""
    if not question.adjust:
        return None
    rows = first.iloc[pairs["baseline_row"]].reset_index(drop=True)
    notes += perhaps_groups(rows, question.adjust)
    try:
        columns = design(rows, question.adjust)
    except EvaluationError as error:
        notes.append(f"Nothing of the pairs is adjusted: {error}.")
        return None
    lost = pairs.loc[columns.isna().any(axis=1).to_numpy(), "id"]
    if len(lost):
        notes.append(f"{len(lost)} pairs lack a covariate and were left out of all that is adjusted ({some(lost)}).")
    return columns


def _without_rescans(visits: pd.DataFrame | None, images: pd.DataFrame) -> pd.DataFrame | None:
    """Visits at which an outcome is told, but for those that are there by a rescan alone."""
    if visits is None or not images["again"].any():
        return visits
    there = images.dropna(subset=["since"]).groupby(["key", "since"], as_index=False)["again"].min()
    found = visits.merge(there, on=["key", "since"], how="left")["again"].fillna(False).to_numpy(dtype=bool)
    return visits[~found].reset_index(drop=True)


def _had(
    images: pd.DataFrame, pairs: pd.DataFrame, told: Outcomes | None, question: Question, notes: list[str]
) -> np.ndarray | None:
    """Pairs (n,) whose event came by their last image: 1, 0, or NaN where it is not known; None where nothing tells."""
    first, last = (images.iloc[pairs[row]] for row in ("baseline_row", "row"))
    if question.time is not None:
        return had_already(last["until"], last["event"], last["since"], pairs, question, notes)
    if told is None or told.visits is None:
        return None
    onset = told.onset(first["key"], first["since"].to_numpy())
    return np.where(np.isnan(onset), np.nan, (onset <= last["since"].to_numpy() + LATE).astype(float))


def _maps(scored: pd.DataFrame, folder: Path) -> np.ndarray | None:
    """Paths of maps with numbers in them, None where an image has none."""
    if "heatmap" not in scored:
        return None
    found = [
        next((str(folder / part) for part in str(cell).split(";") if part.endswith((".nii", ".nii.gz", ".npy"))), None)
        for cell in scored["heatmap"]
    ]
    return np.array(found, dtype=object) if any(found) else None
