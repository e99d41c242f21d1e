"""Joins scores to a cohort table and says, with honest intervals, how well they tell an outcome.

Labels meet scores here and nowhere else. Whatever was left out (images that did not join, outcomes that
are missing) is counted and named in `Evaluation.notes` and in `evaluation.json`.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anomaly.cohorts import joining
from anomaly.cohorts.results import read_facts, safe_id
from anomaly.evaluation import adjustment, chances, discrimination, matching, shortcuts
from anomaly.evaluation.gathering import Question, gather
from anomaly.evaluation.section import Section, records, told_as_facts
from anomaly.evaluation.survival import survival
from anomaly.evaluation.thirds import in_thirds
from anomaly.files import write_whole
from anomaly.pictures import figures
from anomaly.shown import Readable
from anomaly.statistics.design import column_of

_log = logging.getLogger(__name__)
FACTS = "evaluation.json"
_ALWAYS = ("evaluation", "comparison", "evaluated", "roc", "distribution")


@dataclass(frozen=True, repr=False)
class Evaluation(Readable):
    """What `evaluate` found: the tables it wrote, the images they are made of, and remarks in plain words."""

    table: pd.DataFrame
    comparison: pd.DataFrame
    sections: list[Section]
    images: pd.DataFrame
    headline: str
    notes: list[str]
    out: Path
    figure: str = ""
    beside: str = ""

    def _in_short(self) -> tuple[str, dict[str, object]]:
        count, persons = len(self.images), self.images["subject"].nunique()
        of = f" of {persons} persons" if persons < count else ""
        sections = ", ".join(each.name for each in self.sections)
        return self.figure or self.headline, {
            "beside it": self.beside,
            "images": f"{count}{of}, {(self.images['outcome'] == 1).sum()} with the outcome",
            "sections": f"{sections or 'none'}; {joining.remarks(self.notes)}",
            "folder": self.out,
        }

    def section(self, name: str) -> Section:
        """One of the analyses beside the main table, by name: odds, added_value, matched, survival ..."""
        found = {each.name: each for each in self.sections}
        if name not in found:
            raise KeyError(f"there is no analysis {name!r} here; there are {', '.join(found)}")
        return found[name]


def evaluate(
    scores: Path,
    cohort: Path | pd.DataFrame,
    *,
    outcome: str | None = None,
    subject: str | None = None,
    positive: str | None = None,
    where: Mapping[str, str] | None = None,
    missing: Sequence[str] = (),
    adjust: Sequence[str] = (),
    match: str | None = None,
    strata: Sequence[str] = (),
    time: str | None = None,
    event: str | None = None,
    at: float | None = None,
    compare: Sequence[Path] = (),
    out: Path,
    seed: int = 0,
    scale: str = "logit",
) -> Evaluation:
    """How well the scores of a table tell those with an outcome from those without; writes `out`.

    Args:
        scores: a `scores.csv`, or the folder that holds one; `value` and every `baseline_*` are evaluated, and where
            `grid.csv` lies beside, from where in the image the score comes. A
            baseline that is lower with the outcome is judged by its opposite, named `baseline_*_reversed`:
            what a trivial score could tell is the floor, whichever way it points.
        cohort: a table with `id` (or `path`, where there is no id) and the outcome.
        outcome: column of 0/1, or of any two values with `positive` naming the event. Left out where `time` and
            `event` are given: then it is the event by the time `at`.
        subject: column naming persons, for clustered intervals. Left out, the column `subject` serves
            where some person has several images; where none has, or there is none, plain DeLong.
        where: keeps the rows of the cohort whose columns have these values.
        missing: cells of the cohort that mean that nothing is known, such as "-9"; not asked of columns of names.
        adjust: columns to adjust for: odds ratios, what the score adds to them, the ROC among people alike. The
            covariates alone become a baseline.
        match: column naming matched sets, within which cases are compared with controls.
        strata: columns within whose values everything is said again; numbers are cut at their thirds.
        time, event: columns of the time to the event or to the end of observation, and of 1 where it was seen.
        at: by when the outcome counts where none is named, and until when survival is told; by default the time at
            which both groups are large, and the last time of an event.
        compare: other `scores.csv` of the same images, each named by its folder or its file.
        out: receives a folder called by the outcome, the value of `positive` and the rows of `where`, so that several
            outcomes stand beside one another; in it evaluation.csv, comparison.csv, evaluated.csv, evaluation.json,
            roc.png, distribution.png, and a table and a figure of each further analysis. What an earlier call for
            the same outcome left there is replaced as a whole.
        seed: of the bootstrap behind average precision and sensitivities, of folds and of sign flips.
        scale: of the AUROC's interval, `plain` or `logit` (see `statistics.auroc_interval`).

    Raises:
        EvaluationError: nothing joins, the outcome is not one of two values, fewer than ten events or
            controls, scores that are NaN or infinite, a column that is not there, covariates that are constant or
            collinear, negative times. An analysis that the numbers do not allow is left out and named in the notes.
    """
    question = Question(
        outcome=outcome, positive=positive, subject=subject, where=dict(where or {}), missing=missing,
        adjust=joining.columns(adjust), match=match, strata=joining.columns(strata), time=time, event=event, at=at,
    )  # fmt: skip
    data, names = gather(Path(scores), cohort, question, compare), [column_of(name) for name in question.adjust]
    called = str(outcome or event)
    added = adjustment.covariates_alone(data, seed)
    everyone = np.ones(len(data.images), bool)
    about = {"outcome": called, "stratum": "all"}
    rows = [
        {"score": name} | about | discrimination.row(data, name, everyone, seed=seed, scale=scale)
        for name in data.names
    ]
    compared = discrimination.pairs(data)
    figure, meaning = discrimination.headline(rows[0], question.sign)
    beside = discrimination.against_trivial(rows, compared)
    headline = f"{figure}: {meaning}{f'; {beside}' if beside else ''}."
    within, stratified = discrimination.strata(data, question.strata, called, seed=seed, scale=scale)
    sections = [
        discrimination.against(compared),
        shortcuts.where_from(data, question.sign, scale),
        stratified,
        adjustment.odds(data, names, question.sign),
        in_thirds(data, question.sign),
        adjustment.added(data, added, names, scale),
        adjustment.adjusted_roc(data, names),
        matching.matched(data, match, question.sign, seed),
        survival(data, question, seed),
        chances.calibrated(data, question.sign, seed),
    ]
    found = [section for section in sections if section is not None]
    table, folder = pd.DataFrame(rows + within), Path(out) / question.folder
    result = Evaluation(table, compared, found, data.images, headline, data.notes, folder, figure, beside)
    named = "table" if isinstance(cohort, pd.DataFrame) else str(Path(cohort).resolve())
    asked = asdict(question) | {"outcome": called, "seed": seed}
    _write(result, data.names, question.sign, {"scores": str(data.file.resolve()), "cohort": named} | asked)
    return result


def _write(result: Evaluation, names: list[str], sign: str, about: dict[str, Any]) -> None:
    _clear(result.out)
    tables = {"evaluation": result.table, "comparison": result.comparison, "evaluated": result.images}
    # The comparison is a section too; its table is the same.
    tables |= {section.name: section.table for section in result.sections}
    for name, table in tables.items():
        write_whole(result.out / f"{name}.csv", table.to_csv(index=False))
    event = result.images["outcome"].to_numpy() == 1
    groups = {f"without {sign}": ~event, f"with {sign}": event}
    drawn = {section.name: section.figure for section in result.sections if section.figure is not None}
    drawn["roc"] = figures.roc(result.images, names)
    drawn["distribution"] = figures.distribution(result.images["value"].to_numpy(), groups)
    made_up = joining.SIMULATED in result.notes
    for name, picture in drawn.items():
        write_whole(result.out / f"{name}.png", figures.stamped(picture, "SIMULATED") if made_up else picture)
    listed = {name: records(tables[name]) for name in ("evaluation", "comparison")}
    facts = about | {"headline": result.headline, "notes": result.notes} | listed
    facts["sections"] = [told_as_facts(section) for section in result.sections]
    write_whole(result.out / FACTS, json.dumps(facts, indent=2, ensure_ascii=False, allow_nan=False))
    for note in result.notes:
        _log.info(note)


def _clear(folder: Path) -> None:
    """Remove what an earlier evaluation left: a table of an analysis that is not asked for now would seem to be one."""
    before = read_facts(folder / FACTS).get("sections") or ()
    names = [*_ALWAYS, *(str(each.get("name")) for each in before if isinstance(each, dict))]
    for name in names:
        for ending in (".csv", ".png"):
            (folder / f"{safe_id(name)}{ending}").unlink(missing_ok=True)
    (folder / FACTS).unlink(missing_ok=True)
