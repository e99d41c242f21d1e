"""Whether the score at the first visit, its change, or both tell who has an outcome; beside covariates."""

from typing import Any

import numpy as np
import pandas as pd

from anomaly import statistics
from anomaly.cohorts import joining
from anomaly.errors import EvaluationError
from anomaly.evaluation.gathering import BASELINE, REVERSED
from anomaly.evaluation.section import Section, ends, in_words, interval, listed
from anomaly.longitudinal.question import AFTER, BEFORE, Question, Seen
from anomaly.pictures import figures
from anomaly.statistics import metrics
from anomaly.statistics.estimates import between

FIRST, CHANGED, LAST = "first score", "change", "last score"
_FITTED = ", fitting not counted"


def change_and_outcome(seen: Seen, question: Question, seed: int) -> Section | None:
    """AUROCs of the first score, its change and both, of covariates and of what takes no method; what each adds."""
    known = seen.pairs["outcome"].notna().to_numpy()
    event = seen.pairs["outcome"].to_numpy(dtype=float)[known]
    joining.note_unknown(seen.pairs.loc[~known, "id"], question.sign, seen.notes)
    try:
        joining.check_numbers(event, f"the pairs of visits and {question.sign}")
    except EvaluationError as error:
        seen.notes.append(f"Change and {question.sign} were not compared: {error}.")
        return None
    scores = _plain(seen, event, known)
    whose = seen.pairs["subject"].to_numpy()[known]
    rows = [_row(name, event, score, whose) for name, score in scores.items()]
    sentences = [_told(rows, question.sign), _against(event, scores, whose), _faster(seen, event, known, question)]
    models: dict[str, tuple[list[str], pd.DataFrame | None]] = {f"{FIRST} and {CHANGED}": ([FIRST], None)}
    if seen.covariates is not None:
        matrix = seen.covariates[known]
        models |= {"covariates": ([], matrix), "covariates and both": ([FIRST], matrix)}
    for name, (held, covariates) in models.items():
        more, said = _model(seen, name, event, scores, held, covariates, whose, seed, question)
        rows += more
        sentences += said
    more, said = _still_free(seen, event, known, scores, whose, question)
    rows += more
    table = pd.DataFrame(rows)
    drawn = figures.forest(
        list(table["predictor"]), table[["auroc", "auroc_low", "auroc_high"]].to_numpy(), "AUROC", none=0.5
    )
    caption = (
        "AUROC of each for the outcome, 95 % intervals by person. Models (several scores, covariates) are cross-fitted "
        "by person; their intervals do not count the fitting. If the outcome begins before the last image the change "
        "holds part of it: what it tells then is not a prediction."
    )
    return Section(
        "change_and_outcome", f"Change and {question.sign}", [*filter(None, sentences), *said], caption, table, drawn
    )


def _plain(seen: Seen, event: np.ndarray, known: np.ndarray) -> dict[str, np.ndarray]:
    """Scores of the pairs with a known outcome; what takes no method the way round that tells more."""
    pairs = seen.pairs[known]
    found = {FIRST: pairs[f"value{BEFORE}"].to_numpy(), CHANGED: seen.change("value")[known]}
    if np.ptp(seen.rate[known]) > 0:
        found[f"change a {seen.time}"] = found[CHANGED] / seen.rate[known]
    found[LAST] = pairs[f"value{AFTER}"].to_numpy()
    for name in seen.names:
        if name.startswith(BASELINE):
            moved = seen.change(name)[known]
            lower = metrics.auroc(event, moved) < 0.5
            found[f"change of {name}{REVERSED if lower else ''}"] = -moved if lower else moved
    return found


def _row(name: str, event: np.ndarray, score: np.ndarray, whose: np.ndarray) -> dict[str, Any]:
    area = statistics.auroc_interval(event, score, whose, scale="logit")
    about = {"predictor": name, "n": event.size, "events": int(event.sum())} | ends("auroc", area)
    return about | {"p_value": area.p_value, "method": area.method}


def _told(rows: list[dict[str, Any]], sign: str) -> str:
    found = {row["predictor"]: row for row in rows}
    parts = [
        f"{found[name]['auroc']:.2f} ({between(found[name]['auroc_low'], found[name]['auroc_high'])}) for the {words}"
        for name, words in ((FIRST, "score at the first visit"), (CHANGED, "change"), (LAST, "score at the last"))
    ]
    return f"Of {rows[0]['n']} pairs {rows[0]['events']} have {sign}. The AUROC is {', '.join(parts)}."


def _against(event: np.ndarray, scores: dict[str, np.ndarray], whose: np.ndarray) -> str:
    found = statistics.compare_aurocs(event, scores[CHANGED], scores[FIRST], whose)
    verdict = "is not shown to differ from"
    if found.p_value < 0.05:
        verdict = "tells it better than" if found.difference > 0 else "tells it worse than"
    return (
        f"The change {verdict} the first score: difference {found.difference:+.2f} "
        f"({between(found.low, found.high, '+.2f')}, {in_words(found.p_value)})."
    )


def _faster(seen: Seen, event: np.ndarray, known: np.ndarray, question: Question) -> str:
    """By how much more the score rose with the outcome, crude and among people alike."""
    whose, rate = seen.pairs["subject"].to_numpy()[known], seen.change("value")[known] / seen.rate[known]
    try:
        crude = statistics.mean_difference(rate, event, None, whose)
        told = f"With {question.sign} the score rose by {_wide(crude)} more a {seen.time} ({in_words(crude.p_value)})"
        if seen.covariates is None:
            return f"{told}."
        complete = seen.covariates[known].notna().all(axis=1).to_numpy()
        matrix = seen.covariates[known][complete]
        alike = statistics.mean_difference(rate[complete], event[complete], matrix, whose[complete])
        named = listed(list(question.adjust))
        return f"{told}; among people of the same {named} by {_wide(alike)} ({in_words(alike.p_value)})."
    except EvaluationError as error:
        seen.notes.append(f"By how much more the score rose with {question.sign} is not told: {error}.")
        return ""


def _still_free(
    seen: Seen,
    event: np.ndarray,
    known: np.ndarray,
    scores: dict[str, np.ndarray],
    whose: np.ndarray,
    question: Question,
) -> tuple[list[dict[str, Any]], list[str]]:
    """The same of those free of the event at the last image, for whom alone the change is a prediction."""
    if seen.already is None:
        return [], [
            f"If {question.sign} begins before the last image, the change holds part of it and predicts nothing; give "
            "--time and --event to see what it tells of those still free of it."
        ]
    had = seen.already[known]
    free = ~had
    told = f"Of the {int(event.sum())} with {question.sign} {int((had & (event == 1)).sum())} had it by the last image"
    try:
        joining.check_numbers(event[free], f"those free of {question.sign} at the last image")
    except EvaluationError as error:
        return [], [f"{told}, so that the change holds part of it; the others are too few to be told alone ({error})."]
    kept = {name: scores[name][free] for name in (FIRST, CHANGED, LAST)}
    rows = [_row(f"{name}, free until the last image", event[free], score, whose[free]) for name, score in kept.items()]
    parts = [f"{row['auroc']:.2f} ({between(row['auroc_low'], row['auroc_high'])})" for row in rows]
    return rows, [
        f"{told}, so that the change holds part of it. Among the {int(free.sum())} free of it until then, for whom "
        f"alone it predicts, the AUROC of the first score is {parts[0]}, of the change {parts[1]}, of the last score "
        f"{parts[2]}."
    ]


def _model(
    seen: Seen,
    name: str,
    event: np.ndarray,
    scores: dict[str, np.ndarray],
    held: list[str],
    covariates: pd.DataFrame | None,
    whose: np.ndarray,
    seed: int,
    question: Question,
) -> tuple[list[dict[str, Any]], list[str]]:
    """The AUROC of a cross-fitted model, and whether the change adds to what is held in it."""
    base = pd.DataFrame({each: scores[each] for each in held})
    if covariates is not None:
        base = pd.concat([base, covariates.reset_index(drop=True)], axis=1)
    fine = base.notna().all(axis=1).to_numpy()
    added_score = scores[CHANGED] if held else scores[FIRST]
    try:
        found = statistics.added_value(event[fine], added_score[fine], base[fine], whose[fine], seed=seed)
    except EvaluationError as error:
        seen.notes.append(f"{name.capitalize()}: no model of the outcome: {error}.")
        return [], []
    chance = found.with_score if held else found.covariates_alone
    area = statistics.auroc_interval(event[fine], chance, whose[fine], scale="logit", fold=found.fold)
    about = {"predictor": name, "n": int(fine.sum()), "events": int(event[fine].sum())} | ends("auroc", area)
    row = about | {"p_value": np.nan, "method": area.method + _FITTED}
    verdict = "adds" if found.p_value < 0.05 else "is not shown to add"
    what = "the change" if held else "the first score"
    beside = [f"the {each}" for each in held] + (list(question.adjust) if covariates is not None else [])
    told = (
        f"Beside {listed(beside)}, {what} {verdict} to what tells {question.sign} ({in_words(found.p_value)}): "
        f"{'all together' if held else 'these alone'} have an AUROC of {interval(area)}."
    )
    return [row], [told]


def _wide(found: statistics.Estimate) -> str:
    return f"{found.value:+.3g} ({between(found.low, found.high, '+.3g')})"
