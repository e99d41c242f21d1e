"""Scores that are taken anew at each visit beside an event: what the latest of them says of what comes next."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from anomaly import statistics
from anomaly.cohorts.times import PER_YEAR
from anomaly.errors import EvaluationError
from anomaly.evaluation.section import Section, ends, in_words, listed
from anomaly.longitudinal.question import LATE, Question, Seen
from anomaly.pictures import figures
from anomaly.statistics import design
from anomaly.statistics.estimates import between
from anomaly.statistics.hazards import MOST_VISITS

_ROUNDING = 1e-6


@dataclass(frozen=True)
class Rows:
    """Stretches of time, each with the image that was the latest at its beginning.

    Args:
        image: (n,) places of images.
        begin, end: (n,) years since the first image.
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
        "each stretch of time. Odds: pooled logistic by visit, a level each, right where events are found at visits "
        "(D'Agostino et al. 1990). Hazard: Cox with a score that varies (Andersen and Gill 1982). Both suppose that "
        "the score of an image holds until the next one, and that leaving tells nothing of the event; what the score "
        "tells of an event soon after is no prediction of a late one."
    )
    return Section("by_visit", "The latest score and what comes next", sentences, caption, table, drawn)


def _from_times(seen: Seen, question: Question) -> Rows:
    """Stretches between images of each unit, the last of them up to its event or the end of observation."""
    per = PER_YEAR.get(question.time_unit)
    if per is None:
        raise EvaluationError(
            f"the unit of {question.time} is {question.time_unit!r}; expected days, weeks, months or years"
        )
    if not seen.yearly:
        raise EvaluationError(
            f"nobody says how long a {seen.time} is, so that visits cannot be set beside {question.time}; give "
            "--visit-unit"
        )
    keys = seen.images[["unit", "time"]].assign(
        until=pd.to_numeric(seen.people[question.time], errors="coerce").astype(float) / per,
        event=pd.to_numeric(seen.people[question.event], errors="coerce").astype(float),
        image=np.arange(len(seen.images)),
    )
    found, lost, late = [], 0, 0
    for _, own in keys[keys["unit"] >= 0].sort_values("time").groupby("unit", sort=True):
        told = own.dropna(subset=["until", "event"])
        if told.empty or told["until"].nunique() > 1 or told["event"].nunique() > 1:
            lost += 1
            continue
        until, event = float(told["until"].iloc[0]), bool(told["event"].iloc[0])
        before = own[own["time"] < until]
        late += len(own) - len(before)
        if before.empty:
            continue
        ends_ = [*before["time"][1:], until]
        found += [
            (image, begin, end, event and end == until)
            for image, begin, end in zip(before["image"], before["time"], ends_, strict=True)
        ]
    if lost:
        seen.notes.append(f"{lost} have no {question.time} or {question.event}, or several, and were not followed.")
    if late:
        seen.notes.append(
            f"{late} images were taken at or after {question.time} and say nothing of what comes "
            f"({question.time} is taken in {question.time_unit} from the first image)."
        )
    if not found:
        raise EvaluationError(f"no image was taken before {question.time} of anybody")
    columns = np.array(found, dtype=float).T
    return Rows(columns[0].astype(int), columns[1], columns[2], columns[3].astype(bool))


def _from_visits(seen: Seen, question: Question) -> Rows:
    """Stretches from each image free of the outcome to the next image, at which it was there or not."""
    event = seen.at_visit
    assert event is not None
    rows = seen.images[["unit", "time"]].assign(event=event, image=np.arange(len(seen.images)))
    found = []
    for _, own in rows[rows["unit"] >= 0].dropna(subset=["event"]).sort_values("time").groupby("unit", sort=True):
        for first, second in zip(own.itertuples(), list(own.itertuples())[1:], strict=False):
            if first.event:
                break
            found.append((first.image, first.time, second.time, second.event))
    if not found:
        raise EvaluationError(f"nobody was free of {question.sign} at one image and seen again")
    columns = np.array(found, dtype=float).T
    return Rows(columns[0].astype(int), columns[1], columns[2], columns[3].astype(bool))


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
        for year in range(years):
            # Visits are not held to the day: an image that is a little late still begins its year.
            latest = own[np.flatnonzero(rows.begin[own] <= year + LATE)[-1]]
            found.append((rows.image[latest], year, year + 1, event and year == years - 1))
    if not found:
        raise EvaluationError("nobody was followed for a whole year after an image")
    columns = np.array(found, dtype=float).T
    return Rows(columns[0].astype(int), columns[1], columns[2], columns[3].astype(bool))


def _ratios(seen: Seen, question: Question, figure: str, rows: Rows) -> list[dict[str, Any]]:
    score = seen.images["value"].to_numpy()
    whose = seen.images["subject"].astype(str).to_numpy()
    first = seen.images["time"].to_numpy() == 0
    deviation = float(score[first].std(ddof=1))
    models: list[tuple[str, pd.DataFrame | None]] = [("nothing", None)]
    if question.adjust:
        models.append((", ".join(question.adjust), design(seen.people, question.adjust)))
    found = []
    for held, covariates in models:
        known = np.ones(rows.image.size, bool)
        if covariates is not None:
            known = covariates.notna().all(axis=1).to_numpy()[rows.image]
        image = rows.image[known]
        matrix = None if covariates is None else covariates.iloc[image]
        try:
            if figure == "odds_ratio":
                visit = np.round(rows.begin[known], 3) if question.time is not None else _order(seen, image)
                told = statistics.odds_by_visit(
                    rows.event[known], score[image], visit, matrix, whose[image], deviation=deviation
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


def _order(seen: Seen, image: np.ndarray) -> np.ndarray:
    """Which image of its own (n,), from 0."""
    known = seen.images[seen.images["unit"] >= 0]
    return known.groupby("unit")["time"].rank(method="first").reindex(seen.images.index).to_numpy()[image]


def _told(row: dict[str, Any], called: str, seen: Seen, question: Question) -> str:
    times = f"{row['estimate']:.2f} ({between(row['estimate_low'], row['estimate_high'])}) times"
    who = "One standard deviation more in the latest score goes with"
    if row["adjusted_for"] != "nothing":
        who = f"Among people of the same {listed(list(question.adjust))}, one standard deviation more goes with"
    until = "within the next year" if question.time is not None else "by the next image"
    what = f"the odds of {called} {until}" if row["figure"] == "odds_ratio" else f"the hazard of {called}"
    return f"{who} {times} {what} ({in_words(row['p_value'])}; {row['events']} events, {row['persons']} persons)."
