"""Whether the score at the first visit, its change, or both tell who has an outcome; beside covariates."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from anomaly import statistics
from anomaly.cohorts import joining
from anomaly.cohorts.outcomes import note_left_out
from anomaly.errors import EvaluationError
from anomaly.evaluation.gathering import BASELINE
from anomaly.evaluation.section import Section, ends, in_words, interval, listed
from anomaly.longitudinal.question import AFTER, BEFORE, Question, Seen
from anomaly.longitudinal.wording import wide
from anomaly.pictures import figures
from anomaly.statistics.estimates import between

FIRST, CHANGED, LAST = "first score", "change", "last score"
_FITTED = ", fitting not counted"
_FREE = ", free until the last image"


@dataclass(frozen=True)
class Compared:
    """Pairs (n,) with a known outcome.

    Args:
        event: the outcome, 0 or 1.
        scores: (n,) by name.
        whose: persons.
        rate: change of the score in one unit of time.
        covariates: a row a pair; None where nothing is adjusted for.
        had: whether the event came by the last image (1, 0, NaN unknown); None where nothing tells.
    """

    event: np.ndarray
    scores: dict[str, np.ndarray]
    whose: np.ndarray
    rate: np.ndarray
    covariates: pd.DataFrame | None
    had: np.ndarray | None

    def of(self, chosen: np.ndarray) -> "Compared":
        """Some of them."""
        covariates = None if self.covariates is None else self.covariates[chosen].reset_index(drop=True)
        had = None if self.had is None else self.had[chosen]
        scores = {name: score[chosen] for name, score in self.scores.items()}
        return Compared(self.event[chosen], scores, self.whose[chosen], self.rate[chosen], covariates, had)

    @property
    def holds(self) -> bool:
        """Whether the change of some holds the outcome, or may, as far as anything tells."""
        return self.had is not None and not bool((self.had == 0).all())


def change_and_outcome(seen: Seen, question: Question, seed: int) -> Section | None:
    """AUROCs of the first score, its change and both, of covariates and of what takes no method; what each adds."""
    known = seen.pairs["outcome"].notna().to_numpy()
    note_left_out(seen.pairs.loc[~known, "id"], question.sign, seen.by_visit, seen.notes)
    everybody = _compared(seen, known)
    try:
        joining.check_numbers(everybody.event, f"the pairs of visits and {question.sign}")
    except EvaluationError as error:
        seen.notes.append(f"Change and {question.sign} were not compared: {error}.")
        return None
    rows = [_row(name, everybody, score) for name, score in everybody.scores.items()]
    sentences = [_told_first(rows[0], question.sign)]
    judged, more, said = _judged(everybody, question)
    rows += more
    sentences += [*said, _told_change(rows, everybody), _faster(seen, everybody, question)]
    if judged is not None:
        sentences.append(_against(judged, everybody.holds))
        more, said = _models(seen, judged, question, seed, _FREE if everybody.holds else "")
        rows += more
        sentences += said
    table = pd.DataFrame(rows)
    drawn = figures.forest(
        list(table["predictor"]), table[["auroc", "auroc_low", "auroc_high"]].to_numpy(), "AUROC", none=0.5
    )
    caption = (
        "AUROC of each for the outcome, 95 % intervals by person; below 0.5 it is lower with the outcome. Models "
        "(several scores, covariates) are cross-fitted by person; their intervals do not count the fitting. If the "
        "outcome begins before the last image the change holds part of it: what it tells then is not a prediction."
    )
    found = [*filter(None, sentences)]
    return Section("change_and_outcome", f"Change and {question.sign}", found, caption, table, drawn)


def _compared(seen: Seen, known: np.ndarray) -> Compared:
    pairs, rate = seen.pairs[known], seen.change("value")[known] / seen.rate[known]
    scores = {FIRST: pairs[f"value{BEFORE}"].to_numpy(), CHANGED: seen.change("value")[known]}
    if np.ptp(seen.rate[known]) > 0:
        scores[f"change a {seen.time}"] = rate
    scores[LAST] = pairs[f"value{AFTER}"].to_numpy()
    scores |= {f"change of {name}": seen.change(name)[known] for name in seen.names if name.startswith(BASELINE)}
    covariates = None if seen.covariates is None else seen.covariates[known].reset_index(drop=True)
    had = None if seen.already is None else seen.already[known]
    return Compared(pairs["outcome"].to_numpy(dtype=float), scores, pairs["subject"].to_numpy(), rate, covariates, had)


def _judged(everybody: Compared, question: Question) -> tuple[Compared | None, list[dict[str, Any]], list[str]]:
    """Those whose change is a prediction as far as is known, None where too few; their figures, and what to know."""
    sign = question.sign
    if everybody.had is None:
        return (
            everybody,
            [],
            [
                f"If {sign} begins before the last image, the change holds part of it and predicts nothing; give "
                "--time and --event to see what it tells of those still free of it."
            ],
        )
    if not everybody.holds:
        return everybody, [], [f"All were free of {question.event or sign} until the last image: the change predicts."]
    free = everybody.of(everybody.had == 0)
    had = int(((everybody.had == 1) & (everybody.event == 1)).sum())
    told = f"Of the {int(everybody.event.sum())} with {sign} {had} had it by the last image"
    try:
        joining.check_numbers(free.event, f"those free of {sign} at the last image")
    except EvaluationError as error:
        return (
            None,
            [],
            [f"{told}, so that the change holds part of it; the others are too few to be told alone ({error})."],
        )
    rows = [_row(f"{name}{_FREE}", free, free.scores[name]) for name in (FIRST, CHANGED, LAST)]
    parts = [f"{row['auroc']:.2f} ({between(row['auroc_low'], row['auroc_high'])})" for row in rows]
    return (
        free,
        rows,
        [
            f"{told}, so that the change holds part of it. Among the {free.event.size} free of it until then, for whom "
            f"alone it predicts, the AUROC of the first score is {parts[0]}, of the change {parts[1]}, of the last "
            f"score {parts[2]}."
        ],
    )


def _told_first(row: dict[str, Any], sign: str) -> str:
    return (
        f"Of {row['n']} pairs {row['events']} have {sign}. The AUROC of the score at the first visit is "
        f"{row['auroc']:.2f} ({between(row['auroc_low'], row['auroc_high'])})."
    )


def _told_change(rows: list[dict[str, Any]], everybody: Compared) -> str:
    found = {row["predictor"]: row for row in rows}
    parts = [
        f"{found[name]['auroc']:.2f} ({between(found[name]['auroc_low'], found[name]['auroc_high'])})"
        for name in (CHANGED, LAST)
    ]
    whose = "Of everybody, the outcome that was there already included, the" if everybody.holds else "The"
    return f"{whose} AUROC of the change is {parts[0]}, of the score at the last visit {parts[1]}."


def _row(name: str, compared: Compared, score: np.ndarray) -> dict[str, Any]:
    event = compared.event
    area = statistics.auroc_interval(event, score, compared.whose, scale="logit")
    about = {"predictor": name, "n": event.size, "events": int(event.sum())} | ends("auroc", area)
    # How many had the outcome when the last of the images that it is made of was taken.
    there = np.nan if compared.had is None else int(((compared.had == 1) & (event == 1)).sum())
    return about | {"holding": 0 if name.startswith(FIRST) else there, "p_value": area.p_value, "method": area.method}


def _against(compared: Compared, some: bool) -> str:
    scores = compared.scores
    found = statistics.compare_aurocs(compared.event, scores[CHANGED], scores[FIRST], compared.whose)
    verdict = "is not shown to differ from"
    if found.p_value < 0.05:
        verdict = "tells it better than" if found.difference > 0 else "tells it worse than"
    return (
        f"{'Among those free of it the' if some else 'The'} change {verdict} the first score: difference "
        f"{found.difference:+.2f} ({between(found.low, found.high, '+.2f')}, {in_words(found.p_value)})."
    )


def _faster(seen: Seen, compared: Compared, question: Question) -> str:
    """By how much more the score rose with the outcome, crude and among people alike."""
    whose, rate, event = compared.whose, compared.rate, compared.event
    try:
        crude = statistics.mean_difference(rate, event, None, whose)
        told = f"With {question.sign} the score rose by {wide(crude)} more a {seen.time} ({in_words(crude.p_value)})"
        if compared.covariates is None:
            return f"{told}."
        complete = compared.covariates.notna().all(axis=1).to_numpy()
        matrix = compared.covariates[complete]
        alike = statistics.mean_difference(rate[complete], event[complete], matrix, whose[complete])
        named = listed(list(question.adjust))
        return f"{told}; among people of the same {named} by {wide(alike)} ({in_words(alike.p_value)})."
    except EvaluationError as error:
        seen.notes.append(f"By how much more the score rose with {question.sign} is not told: {error}.")
        return ""


def _models(
    seen: Seen, compared: Compared, question: Question, seed: int, who: str
) -> tuple[list[dict[str, Any]], list[str]]:
    models: dict[str, tuple[list[str], pd.DataFrame | None]] = {f"{FIRST} and {CHANGED}": ([FIRST], None)}
    if compared.covariates is not None:
        models["covariates"] = ([], compared.covariates)
        models["covariates and both"] = ([FIRST], compared.covariates)
    rows, sentences = list[dict[str, Any]](), list[str]()
    for name, (held, covariates) in models.items():
        more, said = _model(seen, f"{name}{who}", compared, held, covariates, seed, question)
        rows += more
        sentences += said
    return rows, sentences


def _model(
    seen: Seen,
    name: str,
    compared: Compared,
    held: list[str],
    covariates: pd.DataFrame | None,
    seed: int,
    question: Question,
) -> tuple[list[dict[str, Any]], list[str]]:
    """The AUROC of a cross-fitted model, and whether the change adds to what is held in it."""
    event, scores, whose = compared.event, compared.scores, compared.whose
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
