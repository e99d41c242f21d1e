"""Scores of several visits: how they change, what of it is noise, and whether it goes with an outcome."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anomaly import statistics
from anomaly.cohorts import joining
from anomaly.cohorts.results import read_facts, safe_id
from anomaly.evaluation.section import Section, records, told_as_facts
from anomaly.files import write_whole
from anomaly.longitudinal.changes import beyond, change, noise
from anomaly.longitudinal.comparing import change_and_outcome
from anomaly.longitudinal.following import by_visit
from anomaly.longitudinal.gathering import gather
from anomaly.longitudinal.lesions import changed_lesions
from anomaly.longitudinal.question import Question, Seen, VisitsEvaluation
from anomaly.longitudinal.rising import slopes
from anomaly.pictures import figures

_log = logging.getLogger(__name__)
FACTS = "evaluation.json"
_TABLES = ("visits", "left_out", "lesions_by_visit")


def evaluate_visits(
    scores: Path,
    cohort: Path | pd.DataFrame,
    *,
    visits: str,
    out: Path,
    visit_unit: str | None = None,
    visit_order: Sequence[str] = (),
    date: str | None = None,
    stable: str | None = None,
    outcome: str | None = None,
    positive: str | None = None,
    subject: str | None = None,
    where: Mapping[str, str] | None = None,
    missing: Sequence[str] = (),
    adjust: Sequence[str] = (),
    time: str | None = None,
    event: str | None = None,
    time_unit: str = "years",
    outcome_at: str | None = None,
    limit: float | None = None,
    smallest: float = 0.0,
    seed: int = 0,
) -> VisitsEvaluation:
    """How scores change between the visits of a person, what of it is noise, and what it tells; writes `out`.

    The last image of each person, side and contrast is set beside the first one. Whatever could not be paired (one
    visit only, two on one date, a wrong order) is counted and named, and so is an analysis that cannot be made.

    Args:
        scores: a `scores.csv`, or the folder that holds one; `value`, every `baseline_*` and maps are followed.
        cohort: a table with `id` (or `path`), persons and visits, joined as in `evaluate`.
        visits, visit_unit, visit_order, date: columns of the table, as `anomaly.cohorts.visits.visit_pairs` takes them.
        out: receives a folder `visits`, or `visits_OUTCOME`; its files stand in the docs (outputs).
        stable: column that is 1 (or `COLUMN=VALUE`) for rescans, or for persons who did not change, from which the
            least detectable change is made. By default those without the outcome, who may have changed.
        outcome: column of 0/1, or of other values with `positive`, on whichever row of a person and side has it.
        outcome_at: "visit" where it is told at each, "person" where once (see `anomaly.cohorts.outcomes`).
        subject: column of persons; `subject` by default.
        where, missing, adjust: as in `evaluate`; covariates count as they are at the first image.
        time, event: time from the person's first visit in the cohort, scored or not, to the event or the end of
            observation, in `time_unit`, and 1 where it was seen: how the latest score goes with what comes.
        limit: what lies above it in a map is a lesion; by default what at most 1 % of held-out normals' pixels exceed.
        smallest: lesions below this volume at both visits (mm3, mm2, pixels) are left out; else noise is counted.
        seed: of folds.

    Raises:
        EvaluationError: nothing joins, columns that are not there, values that do not say which is the event.
        CohortError: the visits tell no time, or nobody was seen twice.
    """
    question = Question(
        visits=visits, unit=visit_unit, order=joining.columns(visit_order), date=date, stable=stable, outcome=outcome,
        positive=positive, subject=subject, where=dict(where or {}), missing=missing, adjust=joining.columns(adjust),
        time=time, event=event, time_unit=time_unit, outcome_at=outcome_at, limit=limit, smallest=smallest,
    )  # fmt: skip
    return _answered(Path(scores), cohort, question, Path(out), seed)


def _answered(scores: Path, cohort: Path | pd.DataFrame, question: Question, out: Path, seed: int) -> VisitsEvaluation:
    seen, left_out = gather(scores, cohort, question)
    sign = question.sign
    quiet, known = noise(seen, sign)
    lesions, each_lesion = changed_lesions(seen, question)
    told = [
        change(seen, sign),
        quiet,
        beyond(seen, sign, known),
        change_and_outcome(seen, question, seed) if question.outcome is not None else None,
        by_visit(seen, question),
        slopes(seen, question),
        lesions,
    ]
    sections = [section for section in told if section is not None]
    notes = list(dict.fromkeys(seen.notes))
    result = VisitsEvaluation(
        _marked(seen, known), sections, left_out, _headline(sections), notes, out / question.folder
    )
    table = "table" if isinstance(cohort, pd.DataFrame) else str(Path(cohort).resolve())
    about = {"scores": str(seen.file.resolve()), "cohort": table} | asdict(question) | {"seed": seed}
    _write(result, each_lesion, about)
    return result


def _marked(seen: Seen, known: Mapping[str, statistics.Repeatability]) -> pd.DataFrame:
    """The pairs as they are written, with who changed beyond the least detectable change of the score."""
    pairs = seen.pairs.drop(columns=["row", "baseline_row"])
    pairs["value_change_per_time"] = seen.change("value") / seen.rate
    if "value" in known:
        least = known["value"].least_detectable.value
        moved = seen.change("value")
        pairs["beyond"] = np.select([moved > least, moved < -least], ["rose", "fell"], "no")
    return pairs


def _headline(sections: Sequence[Section]) -> str:
    """The change, or how the first score goes with the outcome where one is asked for."""
    found = {section.name: section.sentences for section in sections}
    first = found["change"][0]
    if "change_and_outcome" in found:
        # The second says what may be made of a change: whether it holds the outcome, and what it tells where not.
        return " ".join(found["change_and_outcome"][:2])
    return f"{first} {found['beyond'][0]}" if "beyond" in found else first


def _write(result: VisitsEvaluation, lesions: pd.DataFrame, about: dict[str, Any]) -> None:
    _clear(result.out)
    tables = {"visits": result.pairs, "left_out": result.left_out}
    tables |= {"lesions_by_visit": lesions} if len(lesions) else {}
    tables |= {section.name: section.table for section in result.sections}
    for name, table in tables.items():
        write_whole(result.out / f"{name}.csv", table.to_csv(index=False))
    made_up = joining.SIMULATED in result.notes
    for section in result.sections:
        if section.figure is not None:
            drawn = figures.stamped(section.figure, "SIMULATED") if made_up else section.figure
            write_whole(result.out / f"{section.name}.png", drawn)
    facts = about | {"headline": result.headline, "notes": result.notes, "evaluation": [], "comparison": []}
    facts["sections"] = [told_as_facts(section) for section in result.sections]
    facts["left_out"] = records(result.left_out)
    write_whole(result.out / FACTS, json.dumps(facts, indent=2, ensure_ascii=False, allow_nan=False))
    for note in result.notes:
        _log.info(note)


def _clear(folder: Path) -> None:
    """Remove what an earlier call left."""
    before = read_facts(folder / FACTS).get("sections") or ()
    for name in (*_TABLES, *(str(each.get("name")) for each in before if isinstance(each, dict))):
        for ending in (".csv", ".png"):
            (folder / f"{safe_id(name)}{ending}").unlink(missing_ok=True)
    (folder / FACTS).unlink(missing_ok=True)
