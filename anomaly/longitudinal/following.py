"""Scores that are taken anew at each visit beside an event: what the latest of them says of what comes next."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from anomaly import statistics
from anomaly.errors import EvaluationError
from anomaly.evaluation.section import Section, ends, in_words, listed
from anomaly.longitudinal.question import LATE, Question, Seen
from anomaly.pictures import figures
from anomaly.statistics import design
from anomaly.statistics.estimates import between
from anomaly.statistics.hazards import MOST_VISITS

_ROUNDING = 1e-6
_UNLIKE = 1.5
"""Stretches that are more than so many times longer than others have a level of their own."""


@dataclass(frozen=True)
class Rows:
    """Stretches of time, each with the image that was the latest at its beginning.

    Args:
        image: (n,) places of images.
        begin, end: (n,) years since the first visit of the person.
        event: (n,) whether the event came at the end.
    """

    image: np.ndarray
    begin: np.ndarray
    end: np.ndarray
    event: np.ndarray


def by_visit(seen: Seen, question: Question) -> Section | None:
    """Odds of the event by the next visit, and its hazard, by the latest score; None without a time of events."""
    if question.time is None and not seen.by_visit:
        return None
    called = question.event if question.time is not None else question.sign
    try:
        stretches = _from_times(seen, question) if question.time is not None else _from_visits(seen, question)
        models = {"odds_ratio": _by_year(seen, stretches) if question.time is not None else stretches}
    except EvaluationError as error:
        seen.notes.append(f"How scores of each visit go with {called} is not told: {error}.")
        return None
    models["hazard_ratio"] = stretches
    rows = [row for figure, found in models.items() for row in _ratios(seen, question, figure, found)]
    if not rows:
        return None
    table = pd.DataFrame(rows)
    sentences = [_told(row, str(called), seen, question) for row in rows]
    labels = [f"{row['figure'].replace('_', ' ')}, adjusted for {row['adjusted_for']}" for row in rows]
    numbers = table[["estimate", "estimate_low", "estimate_high"]].to_numpy()
    drawn = figures.forest(labels, numbers, "Ratio per standard deviation", none=1.0, logarithmic=True)
    caption = (
        "Ratios for one standard deviation of the score at the first image, by the latest score at the beginning of "
        "each stretch of time. Odds: pooled logistic, a level for each visit and length of the stretch, right where "
        "events are found at visits (D'Agostino et al. 1990). Hazard: Cox with a score that varies (Andersen and "
        "Gill 1982). Both suppose that the score of an image holds until the next one, and that leaving tells nothing "
        "of the event; what the score tells of an event soon after is no prediction of a late one."
    )
    return Section("by_visit", "The latest score and what comes next", sentences, caption, table, drawn)


def _from_times(seen: Seen, question: Question) -> Rows:
    """Stretches between images of each unit, the last of them up to its event or the end of observation."""
    if not seen.yearly:
        raise EvaluationError(
            f"nobody says how long a {seen.time} is, so that visits cannot be set beside {question.time}; give "
            "--visit-unit"
        )
    keys = seen.images[["unit", "since", "until", "event"]].assign(image=np.arange(len(seen.images)))
    found, lost, late = [], 0, 0
    followed = (keys["unit"] >= 0) & ~seen.images["again"]
    for _, own in keys[followed].sort_values("since").groupby("unit", sort=True):
        until, event = own[["until", "event"]].iloc[0]
        if np.isnan(until) or np.isnan(event):
            lost += 1
            continue
        # The image at which the event was found may be dated a little before it, and would foretell it.
        before = own[own["since"] < until - (LATE if event else _ROUNDING)]
        late += len(own) - len(before)
        if before.empty:
            continue
        ends_ = [*before["since"][1:], until]
        found += [
            (image, begin, end, bool(event) and end == until)
            for image, begin, end in zip(before["image"], before["since"], ends_, strict=True)
        ]
    if lost:
        seen.notes.append(f"{lost} have no {question.time} or {question.event}, or several, and were not followed.")
    if late:
        seen.notes.append(
            f"{late} images were taken at or after {question.time}, or less than {LATE:g} years before the event, and "
            f"say nothing of what comes ({question.time} is taken in {question.time_unit} from a person's first visit)."
        )
    if not found:
        raise EvaluationError(f"no image was taken before {question.time} of anybody")
    columns = np.array(found, dtype=float).T
    return Rows(columns[0].astype(int), columns[1], columns[2], columns[3].astype(bool))


def _from_visits(seen: Seen, question: Question) -> Rows:
    """Stretches from each visit free of the outcome to the next one at which it is known, with the latest image."""
    assert seen.at_visit is not None
    told = dict(list(seen.at_visit.sort_values("since").groupby("key")))
    images = seen.images[(seen.images["unit"] >= 0) & ~seen.images["again"]].dropna(subset=["since", "key"])
    found = []
    for _, own in images.sort_values("since", kind="stable").groupby("unit", sort=True):
        visits = told.get(own["key"].iloc[0])
        if visits is None:
            continue
        since = own["since"].to_numpy(dtype=float)
        for (begin, had), (end, event) in pairwise(visits[["since", "event"]].to_numpy(dtype=float)):
            if had:
                break
            latest = int(np.searchsorted(since, begin + _ROUNDING, side="right")) - 1
            if latest >= 0:
                found.append((own.index[latest], begin, end, event))
    if not found:
        raise EvaluationError(f"nobody was free of {question.sign} at one visit with an image and seen again")
    columns = np.array(found, dtype=float).T
    return Rows(columns[0].astype(int), columns[1], columns[2], columns[3].astype(bool))


def _levels(rows: Rows) -> np.ndarray:
    """A number (n,) for each visit and length of the stretch after it: lengths of a level differ by a half at most."""
    length = rows.end - rows.begin
    usual = float(np.median(length))
    visit, wide = np.round(rows.begin / usual), np.round(np.log(length / usual) / np.log(_UNLIKE))
    return np.unique(np.stack([visit, wide]), axis=1, return_inverse=True)[1].reshape(-1)


def _by_year(seen: Seen, rows: Rows) -> Rows:
    """A row for each year that somebody went through free of the event or in which it was found, with the latest image
    at its beginning; a year in which observation ended before its close is not counted, as in `pooled_logistic`."""
    if rows.end.max() > MOST_VISITS:
        raise EvaluationError(f"times run up to {rows.end.max():g} years; say which unit they are in: --time-unit")
    unit, found = seen.images["unit"].to_numpy()[rows.image], []
    for one in np.unique(unit):
        own = np.flatnonzero(unit == one)
        end, event = float(rows.end[own].max()), bool(rows.event[own].any())
        years = int(max(np.ceil(end - _ROUNDING), 1)) if event else int(np.floor(end + _ROUNDING))
        # Visits are not held to the day: an image that is a little late still begins its year.
        begun = int(max(np.ceil(float(rows.begin[own].min()) - LATE), 0))
        for year in range(begun, years):
            latest = own[np.flatnonzero(rows.begin[own] <= year + LATE)[-1]]
            found.append((rows.image[latest], year, year + 1, event and year == years - 1))
    if not found:
        raise EvaluationError("nobody was followed for a whole year after an image")
    columns = np.array(found, dtype=float).T
    return Rows(columns[0].astype(int), columns[1], columns[2], columns[3].astype(bool))


def _ratios(seen: Seen, question: Question, figure: str, rows: Rows) -> list[dict[str, Any]]:
    score = seen.images["value"].to_numpy()
    whose = seen.images["subject"].astype(str).to_numpy()
    first = (seen.images["time"].to_numpy() == 0) & ~seen.images["again"].to_numpy()
    deviation = float(score[first].std(ddof=1))
    levels = np.round(rows.begin, 3) if question.time is not None else _levels(rows)
    found = []
    for adjusted in ((), question.adjust)[: 1 + bool(question.adjust)]:
        held = ", ".join(adjusted) or "nothing"
        try:
            covariates = design(seen.people.iloc[rows.image], adjusted) if adjusted else None
            known = np.ones(rows.image.size, bool) if covariates is None else covariates.notna().all(axis=1).to_numpy()
            image = rows.image[known]
            matrix = None if covariates is None else covariates[known]
            if figure == "odds_ratio":
                told = statistics.odds_by_visit(
                    rows.event[known], score[image], levels[known], matrix, whose[image], deviation=deviation
                )
            else:
                told = statistics.cox_by_interval(
                    rows.begin[known], rows.end[known], rows.event[known], score[image], matrix, whose[image],
                    deviation=deviation,
                )  # fmt: skip
        except EvaluationError as error:
            seen.notes.append(f"No {figure.replace('_', ' ')} by the latest score, adjusted for {held}: {error}.")
            continue
        about = {
            "figure": figure,
            "adjusted_for": held,
            "rows": int(image.size),
            "events": int(rows.event[known].sum()),
        }
        about |= {"persons": int(np.unique(whose[image]).size)}
        found.append(about | ends("estimate", told) | {"p_value": told.p_value, "method": told.method})
    return found


def _told(row: dict[str, Any], called: str, seen: Seen, question: Question) -> str:
    times = f"{row['estimate']:.2f} ({between(row['estimate_low'], row['estimate_high'])}) times"
    who = "One standard deviation more in the latest score goes with"
    if row["adjusted_for"] != "nothing":
        who = f"Among people of the same {listed(list(question.adjust))}, one standard deviation more goes with"
    until = "within the next year" if question.time is not None else "by the next visit"
    what = f"the odds of {called} {until}" if row["figure"] == "odds_ratio" else f"the hazard of {called}"
    return f"{who} {times} {what} ({in_words(row['p_value'])}; {row['events']} events, {row['persons']} persons)."
