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
from anomaly.errors import EvaluationError
from anomaly.evaluation import adjustment, chances, discrimination, matching, shortcuts
from anomaly.evaluation.gathering import Gathered, Question, gather, scores_file
from anomaly.evaluation.section import Section, records, told_as_facts
from anomaly.evaluation.survival import survival
from anomaly.evaluation.thirds import in_thirds
from anomaly.evaluation.truthful import TruthAsked, Truthful, beside_truth
from anomaly.evaluation.truths import Marking
from anomaly.files import write_whole
from anomaly.pictures import figures
from anomaly.shown import Readable
from anomaly.statistics.design import column_of

_log = logging.getLogger(__name__)
FACTS = "evaluation.json"
_ALWAYS = ("evaluation", "comparison", "evaluated", "roc", "distribution", "truth_images", "truth_lesions")
ALONE = "truth"
"""What the folder of a comparison with a truth is called where no outcome is asked for."""


@dataclass(frozen=True, repr=False)
class Evaluation(Readable):
    """What `evaluate` found: the tables it wrote, the images they are made of, and remarks in plain words.

    Where a truth was given, `maps` has a row an image and map (or floor), and `lesions` a row a lesion; where no
    outcome was asked for, `table` and `comparison` are empty.
    """

    table: pd.DataFrame
    comparison: pd.DataFrame
    sections: list[Section]
    images: pd.DataFrame
    headline: str
    notes: list[str]
    out: Path
    figure: str = ""
    beside: str = ""
    maps: pd.DataFrame | None = None
    lesions: pd.DataFrame | None = None

    def _in_short(self) -> tuple[str, dict[str, object]]:
        count, persons = len(self.images), self.images["subject"].nunique()
        of = f" of {persons} persons" if persons < count else ""
        what = "with a truth" if self.table.empty else f"{(self.images['outcome'] == 1).sum()} with the outcome"
        sections = ", ".join(each.name for each in self.sections)
        return self.figure or self.headline, {
            "beside it": self.beside,
            "images": f"{count}{of}, {what}",
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
    cohort: Path | pd.DataFrame | None = None,
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
    truth: Path | str | None = None,
    labels: Sequence[int] = (),
    flags: int | None = None,
    out: Path,
    seed: int = 0,
    scale: str = "logit",
) -> Evaluation:
    """How well scores tell those with an outcome from those without, and maps where the disease is; writes `out`.

    Args:
        scores: a `scores.csv`, or the folder that holds one; `value` and every `baseline_*` are evaluated, and where
            `grid.csv` lies beside, from where in the image the score comes. A
            baseline that is lower with the outcome is judged by its opposite, named `baseline_*_reversed`:
            what a trivial score could tell is the floor, whichever way it points.
        cohort: a table with `id` (or `path`, where there is no id) and the outcome; not needed where the truth of
            maps, in a folder, is all that is asked for.
        outcome: column of 0/1, or of any two values with `positive` naming the event. Left out where `time` and
            `event` are given, when it is the event by the time `at`, and where a truth is all that is asked for.
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
        truth: masks that are not 0 where the disease is, which the maps are held against: a column of the cohort, or
            a folder whose files are called as the images are (see `anomaly.cohorts.truth_files`). Where
            `scores.csv` has a column `mask`, only what lies inside that counts.
        labels, flags: of truths that hold labels, or sums of flags, those that count.
        out: receives a folder called by the outcome, the value of `positive` and the rows of `where`, so that several
            outcomes stand beside one another; in it evaluation.csv, comparison.csv, evaluated.csv, evaluation.json,
            roc.png, distribution.png, and a table and a figure of each further analysis, with a truth
            truth_images.csv and truth_lesions.csv as well. What an earlier call for the same outcome left there is
            replaced as a whole. With a truth and no outcome the folder is called `truth`.
        seed: of the bootstrap behind average precision and sensitivities, of folds and of sign flips.
        scale: of the AUROC's interval, `plain` or `logit` (see `statistics.auroc_interval`).

    Raises:
        EvaluationError: nothing joins, the outcome is not one of two values, fewer than ten events or
            controls, scores that are NaN or infinite, a column that is not there, covariates that are constant or
            collinear, negative times; no map with numbers in it, no truth that can be used. An analysis that the
            numbers do not allow is left out and named in the notes.
    """
    file = scores_file(Path(scores))
    of_outcome: dict[str, Any] = {
        "positive": positive, "adjust": joining.columns(adjust), "match": match, "strata": joining.columns(strata),
        "event": event, "at": at, "compare": compare,
    }  # fmt: skip
    people: dict[str, Any] = {"subject": subject, "where": dict(where or {}), "missing": missing}
    if truth is not None:
        asked = TruthAsked(truth=str(truth), marking=Marking(flags, labels), **people)
        if outcome is None and time is None:
            _refuse_without(of_outcome, "outcome")
            return _of_truth(file, cohort, asked, Path(out), seed)
    else:
        _refuse_without({"labels": labels, "flags": flags}, "truth")
    if cohort is None:
        raise EvaluationError("the outcome is a column of a cohort; give its table")
    del of_outcome["compare"]
    question = Question(outcome=outcome, time=time, **people, **of_outcome)
    data = gather(file, cohort, question, compare)
    shown = None if truth is None else beside_truth(file, cohort, asked, seed)
    return _of_outcome(data, cohort, question, shown, Path(out), seed=seed, scale=scale)


def _of_outcome(
    data: Gathered,
    cohort: Path | pd.DataFrame,
    question: Question,
    shown: Truthful | None,
    out: Path,
    *,
    seed: int,
    scale: str,
) -> Evaluation:
    """All that is said of scores beside an outcome, and what was said of maps beside a truth."""
    names, called = [column_of(name) for name in question.adjust], str(question.outcome or question.event)
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
        *(shown.sections if shown else ()),
        shortcuts.where_from(data, question.sign, scale),
        stratified,
        adjustment.odds(data, names, question.sign),
        in_thirds(data, question.sign),
        adjustment.added(data, added, names, scale),
        adjustment.adjusted_roc(data, names),
        matching.matched(data, question.match, question.sign, seed),
        survival(data, question, seed),
        chances.calibrated(data, question.sign, seed),
    ]
    found = [section for section in sections if section is not None]
    notes = list(dict.fromkeys([*data.notes, *(shown.notes if shown else ())]))
    result = Evaluation(
        pd.DataFrame(rows + within), compared, found, data.images, headline, notes, out / question.folder, figure,
        beside, shown.images if shown else None, shown.lesions if shown else None,
    )  # fmt: skip
    tables = {"evaluation": result.table, "comparison": result.comparison, "evaluated": result.images}
    event = data.event == 1
    groups = {f"without {question.sign}": ~event, f"with {question.sign}": event}
    drawn = {
        "roc": figures.roc(data.images, data.names),
        "distribution": figures.distribution(data.images["value"].to_numpy(), groups),
    }
    asked = asdict(question) | {"outcome": called, "seed": seed} | (shown.asked if shown else {})
    _write(result, tables, drawn, _sources(data.file, cohort) | asked)
    return result


def _of_truth(file: Path, cohort: Path | pd.DataFrame | None, asked: TruthAsked, out: Path, seed: int) -> Evaluation:
    """What is said of maps beside a truth, where no outcome is asked for."""
    shown = beside_truth(file, cohort, asked, seed)
    own = shown.images.drop_duplicates("id")[["id", "subject", "lesions"]].reset_index(drop=True)
    folder = out / "_".join([ALONE, *(safe_id(f"{name}-{value}") for name, value in asked.where.items())])
    result = Evaluation(
        pd.DataFrame(), pd.DataFrame(), shown.sections, own, shown.headline, shown.notes, folder,
        maps=shown.images, lesions=shown.lesions,
    )  # fmt: skip
    people = {"subject": asked.subject, "where": dict(asked.where), "missing": list(asked.missing), "seed": seed}
    _write(result, {}, {}, _sources(file, cohort) | shown.asked | people)
    return result


def _refuse_without(asked: Mapping[str, Any], what: str) -> None:
    """Refuse what only means something beside what was not given."""
    given = [name for name, value in asked.items() if value is not None and value != () and value != []]
    if given:
        raise EvaluationError(f"{', '.join(given)} {'asks' if len(given) == 1 else 'ask'} about {what}; name it")


def _sources(file: Path, cohort: Path | pd.DataFrame | None) -> dict[str, Any]:
    """Which tables were read."""
    table = "table" if isinstance(cohort, pd.DataFrame) else None if cohort is None else str(Path(cohort).resolve())
    return {"scores": str(file.resolve()), "cohort": table}


def _write(
    result: Evaluation, tables: Mapping[str, pd.DataFrame], drawn: Mapping[str, bytes], about: dict[str, Any]
) -> None:
    _clear(result.out)
    # The comparison is a section too; its table is the same.
    tables = {**tables, **{section.name: section.table for section in result.sections}}
    if result.maps is not None and result.lesions is not None:
        tables |= {"truth_images": result.maps, "truth_lesions": result.lesions}
    for name, table in tables.items():
        write_whole(result.out / f"{name}.csv", table.to_csv(index=False))
    pictures = {section.name: section.figure for section in result.sections if section.figure is not None}
    made_up = joining.SIMULATED in result.notes
    for name, picture in {**pictures, **drawn}.items():
        write_whole(result.out / f"{name}.png", figures.stamped(picture, "SIMULATED") if made_up else picture)
    listed = {name: records(tables[name]) if name in tables else [] for name in ("evaluation", "comparison")}
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
