"""Scores of images beside the rows of a cohort, whose other rows tell outcomes, times and covariates too."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from anomaly.cohorts import joining
from anomaly.cohorts.origins import Since, keys_of, persons_of, since_first
from anomaly.cohorts.results import read_scores, read_table
from anomaly.longitudinal.question import Question
from anomaly.statistics.design import column_of

_SINCE, _ASTRAY = "years since the first visit", "came later than the study began"


@dataclass(frozen=True)
class Joined:
    """Scores beside the cohort.

    Args:
        scored: rows (n,) of the scores.
        people: rows (n,) of the cohort.
        table: the same with id, path and subject, to pair visits by.
        keys, since, astray: of these rows, see `anomaly.cohorts.origins`.
        cohort: every row that can tell an outcome or a time: of the whole cohort, those not asked about too.
        known: keys and since of these.
        yearly: whether times are years.
    """

    scored: pd.DataFrame
    people: pd.DataFrame
    table: pd.DataFrame
    keys: pd.Series
    since: np.ndarray
    astray: np.ndarray
    cohort: pd.DataFrame
    known: pd.DataFrame
    yearly: bool


def joined_to(file: Path, cohort: Path | pd.DataFrame, question: Question, notes: list[str]) -> Joined:
    """Scores beside the cohort, with what its other rows can tell; what is left out is told in `notes`.

    Raises:
        EvaluationError: nothing joins, columns that are not there.
        CohortError: the visits tell no time.
    """
    texts = [question.subject] if question.subject else []
    scored = read_scores(file, names=texts)
    whole = read_table(cohort, "cohort", names=texts, missing=question.missing)
    asked = [question.visits, question.date, question.time, question.event]
    joining.require(whole, [*asked, *(column_of(name, whole) for name in question.adjust)])
    named = (question.subject or "subject") in whole
    if named:
        # Before any row is left out: what happened is counted from the first visit, whether asked about or not.
        since = _since(whole, persons_of(whole, scored, question.subject), question)
        whole = whole.assign(**{_SINCE: since.values, _ASTRAY: since.astray})
    everyone = joining.chosen(whole, question.where, notes)
    folder = Path.cwd() if isinstance(cohort, pd.DataFrame) else Path(cohort).parent
    scored, people = joining.join(scored, everyone, file.parent, folder, notes)
    persons = persons_of(people, scored, question.subject)
    if not named:
        since = _since(people, persons, question)
        people = people.assign(**{_SINCE: since.values, _ASTRAY: since.astray})
        if question.time is not None or question.outcome is not None:
            notes.append(
                "Persons are named in the scores alone: times are counted from their first image with a score, and "
                "rows of the cohort without one tell nothing."
            )
    source = whole if named else people.assign(**{question.subject or "subject": persons})
    keys = keys_of(source, persons_of(source, source, question.subject))
    known = pd.DataFrame({"key": keys, "since": source[_SINCE]}).reset_index(drop=True)
    own = people.drop(columns=[_SINCE, _ASTRAY])
    table = own.assign(id=scored["id"], path=scored["path"] if "path" in scored else scored["id"], subject=persons)
    return Joined(
        scored, own, table, keys_of(people, persons), people[_SINCE].to_numpy(dtype=float),
        people[_ASTRAY].to_numpy(dtype=bool), source.drop(columns=[_SINCE, _ASTRAY]), known, since.yearly,
    )  # fmt: skip


def _since(table: pd.DataFrame, persons: pd.Series, question: Question) -> Since:
    return since_first(
        table, persons, visit=question.visits, date=question.date, unit=question.unit, order=question.order
    )
