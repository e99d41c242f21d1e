"""How much sooner the event comes to those who score high."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from anomaly import statistics
from anomaly.cohorts.joining import FEWEST
from anomaly.errors import EvaluationError
from anomaly.evaluation.gathering import Followed, Gathered, Question
from anomaly.evaluation.section import Section, ends, in_words, listed
from anomaly.pictures import figures
from anomaly.statistics.estimates import between

# One argument each: times, events, scores, covariates, subjects.
_RATIOS: dict[str, Callable[..., statistics.Estimate]] = {
    "odds_ratio": statistics.pooled_logistic,
    "hazard_ratio": lambda *arguments: statistics.cox(*arguments).hazard_ratio,
}


def survival(data: Gathered, question: Question, seed: int) -> Section | None:
    """Kaplan-Meier curves by thirds of the score, hazard ratios, and the AUROC as time goes by."""
    watched = data.followed
    if watched is None:
        return None
    at = float(watched.time[watched.event == 1].max()) if question.at is None else float(question.at)
    if at > watched.time.max():
        data.notes.append(
            f"Nobody was followed until {question.time} {at:g}; survival is told to {watched.time.max():g}."
        )
        at = float(watched.time.max())
    rows, sentences = _ratios(data, watched, list(question.adjust))
    drawn = None
    try:
        groups = statistics.thirds(watched.score)
        free = statistics.kaplan_meier(watched.time, watched.event, groups, watched.subject)
        curves = sorted(free, key=lambda curve: ["low", "middle", "high"].index(str(curve.group)))
        tested = statistics.log_rank(watched.time, watched.event, groups, watched.subject)
        sentences.insert(0, _by_thirds(curves, tested, at, question))
        drawn = figures.survival(curves, at, str(question.time))
    except EvaluationError as error:
        data.notes.append(f"No curves by thirds of the score: {error}.")
    rows += _over_time(data, watched, at, seed)
    if not rows and drawn is None:
        return None
    caption = (
        "Curves by Kaplan-Meier, their 95 % limits pointwise, by person. Ratios per standard "
        "deviation of the score: odds of the event within one unit of time (pooled logistic, the default where events "
        "are found at visits one unit, such as a year, apart), and hazard (Cox). AUROC by a time: cumulative cases "
        "against those still free, weighted for censoring. All of it supposes that leaving tells nothing of the event."
    )
    return Section("survival", "Time to the event", sentences, caption, pd.DataFrame(rows), drawn)


def _ratios(data: Gathered, watched: Followed, adjust: list[str]) -> tuple[list[dict[str, Any]], list[str]]:
    rows: list[dict[str, Any]] = []
    models: list[tuple[str, pd.DataFrame | None]] = [("nothing", None)]
    if watched.covariates is not None:
        models.append((", ".join(adjust), watched.covariates))
    for held, covariates in models:
        known = np.ones(watched.time.size, bool) if covariates is None else covariates.notna().all(axis=1).to_numpy()
        subject = None if watched.subject is None else watched.subject[known]
        arguments = (
            watched.time[known], watched.event[known], watched.score[known],
            None if covariates is None else covariates[known], subject,
        )  # fmt: skip
        about = {"adjusted_for": held, "n": int(known.sum()), "events": int(watched.event[known].sum())}
        for figure, ask in _RATIOS.items():
            try:
                found = ask(*arguments)
            except EvaluationError as error:
                data.notes.append(f"No {figure.replace('_', ' ')} adjusted for {held}: {error}.")
                continue
            named = ends("estimate", found) | {"p_value": found.p_value, "method": found.method}
            rows.append({"figure": figure} | about | named)
    return rows, [_told(row, adjust) for row in rows if row["figure"] == "hazard_ratio"]


def _told(row: dict[str, Any], adjust: list[str]) -> str:
    who = "One standard deviation more in the score goes with"
    if row["adjusted_for"] != "nothing":
        who = f"Among people of the same {listed(adjust)}, one standard deviation more goes with"
    times = f"{row['estimate']:.2f} ({between(row['estimate_low'], row['estimate_high'])}) times"
    return f"{who} {times} the hazard ({in_words(row['p_value'])})."


def _by_thirds(curves: list[statistics.Curve], tested: statistics.LogRank, at: float, question: Question) -> str:
    shortest = min(float(curve.times.max()) for curve in curves)
    at = min(at, shortest)
    called = "the event" if question.event == "event" else question.event
    shares = {str(curve.group): 1 - float(curve.free[curve.time <= at][-1]) for curve in curves}
    return (
        f"Of {sum(curve.times.size for curve in curves)} images that were followed up: by {question.time} {at:g}, "
        f"{100 * shares['high']:.0f} % of those in the highest third of the score had {called}, "
        f"{100 * shares['middle']:.0f} % in the middle and {100 * shares['low']:.0f} % in the lowest "
        f"({tested.method}, {in_words(tested.p_value)})."
    )


def _over_time(data: Gathered, watched: Followed, at: float, seed: int) -> list[dict[str, Any]]:
    """The AUROC by up to five times that have ten images with the event by then and ten still free of it."""
    times = np.unique(watched.time[watched.event == 1])
    times = times[times <= at]
    times = times if times.size <= 5 else np.quantile(times, [0.2, 0.4, 0.6, 0.8, 1.0])
    cases = np.array([np.sum((watched.time <= when) & (watched.event == 1)) for when in times])
    free = np.array([np.sum((watched.time > when) | ((watched.time == when) & (watched.event == 0))) for when in times])
    times = times[np.minimum(cases, free) >= FEWEST]
    if not times.size:
        return []
    try:
        found = statistics.time_dependent_auroc(
            watched.time, watched.event, watched.score, list(times), watched.subject
        )
    except EvaluationError as error:
        data.notes.append(f"No AUROC as time goes by: {error}.")
        return []
    return [
        {"figure": f"auroc by {when:g}", "adjusted_for": "nothing", "n": watched.time.size}
        | {"events": int(((watched.time <= when) & (watched.event == 1)).sum())}
        | ends("estimate", estimate)
        | {"p_value": estimate.p_value, "method": estimate.method}
        for when, estimate in zip(times, found, strict=True)
    ]
