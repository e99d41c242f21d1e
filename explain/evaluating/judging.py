"""Says how good explanations are: do counterfactuals flip, what do they change, do maps point at the disease."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anomaly.cohorts import joining
from anomaly.cohorts.results import read_facts, read_table, some
from anomaly.errors import EvaluationError
from anomaly.evaluation.beside import mean_of
from anomaly.evaluation.section import Section, ends, interval, told_as_facts
from anomaly.evaluation.truths import Marking
from anomaly.files import write_whole
from anomaly.pictures import figures
from anomaly.shown import Readable
from anomaly.statistics import Estimate, proportion
from anomaly.statistics.estimates import between
from explain.evaluating.beside import quality
from explain.evaluating.quality import SIGNS, measured
from explain.evaluating.truths import WITHIN, Truth

logger = logging.getLogger(__name__)
GIVEN = ("id", "subject", "path", "files")
IF_NOTHING = ("change_if_nothing", "share_if_nothing")
"""Known of all images at once, so that their means say nothing more."""
ASKED = ("target", "judge")
INSIDE = (
    "These maps were drawn within masks that were given, and are 0 outside: that they lie where a mask is says nothing."
)


@dataclass(frozen=True, repr=False)
class Judged(Readable):
    """What an evaluation of explanations found.

    Args:
        headline: the first finding.
        sections: all of them; each is a table, sentences and perhaps a figure.
        images: one row a case and map, with its figures; None where there is neither mask nor twin.
        notes: what was left out, and how.
        out: where all of it is.
    """

    headline: str
    sections: list[Section]
    images: pd.DataFrame | None
    notes: list[str]
    out: Path

    def _in_short(self) -> tuple[str, dict[str, object]]:
        sections = ", ".join(each.name for each in self.sections)
        count = None if self.images is None else self.images["id"].nunique()
        return self.headline, {
            "images": None if count is None else f"{count} whose maps are held against a mask or a twin",
            "sections": f"{sections}; {joining.remarks(self.notes)}",
            "folder": self.out,
        }


def evaluate(
    maps: Path | str,
    cohort: Path | str | pd.DataFrame | None = None,
    *,
    outcome: str | None = None,
    positive: str | None = None,
    subject: str | None = None,
    where: Mapping[str, str] | None = None,
    missing: Sequence[str] = (),
    mask: str | None = None,
    flags: int | None = None,
    labels: Sequence[int] = (),
    truth: str | None = None,
    twin: str | None = None,
    sign: str = "absolute",
    threshold: float | None = None,
    out: Path | str | None = None,
    seed: int = 0,
) -> Judged:
    """Judge explanations by what they flip, what they change, and where they point; `anomaly explain evaluate`.

    Args:
        maps: a folder that `map_images` wrote.
        cohort: a table with `id` or `path`, and the columns named below.
        outcome, positive: column of cases (1) and controls (0); left out, every image counts as a case.
        subject: column of persons, for intervals; left out, `subject`, or that of the explanations.
        where: keeps the rows of the cohort whose columns have these values.
        missing: cells of the cohort that mean that nothing is known, such as "-9".
        mask: column of files that are not 0 where the disease is, on the grid of the image.
        flags: where masks hold sums of flags (as those of simulated knees do), the flags that count.
        labels: where masks hold labels, those that count.
        truth: column of files of the healthy image minus the case.
        twin: column of files of the healthy image; the truth is image minus twin.
        sign: what of the map is evidence: "absolute", "positive" or "negative".
        threshold: of the map, for Dice; left out, half of where its colours end.
        out: gets `explanation_evaluation.csv`, `explanation_metrics.csv`, `evaluation.json` and figures; the folder of
            the maps by default.
        seed: of the bootstrap.

    Raises:
        EvaluationError: no explanations there, nothing that joins, a column that is not there, no mask or twin that
            can be used.
    """
    home, notes = Path(maps), []  # type: Path, list[str]
    out = Path(out) if out is not None else home
    if sign not in SIGNS:
        raise EvaluationError(f"sign is {sign!r}; expected one of {', '.join(SIGNS)}")
    if cohort is None and any((outcome, mask, truth, twin)):
        raise EvaluationError("outcome, mask, truth and twin are columns of a cohort; give it")
    if threshold is not None and not 0 < threshold < np.inf:
        raise EvaluationError(f"threshold is {threshold}; expected a number above 0, in units of the map")
    facts = _facts_of(home)
    table = _joined(home, cohort, outcome, positive, subject, where or {}, missing, notes, (mask, truth, twin))
    sections = [
        each
        for each in (_flips(table, facts.get("thresholds", {}), notes), _changes(table, seed, facts))
        if each is not None
    ]
    images = None
    if mask or truth or twin:
        base = Path() if isinstance(cohort, pd.DataFrame) or cohort is None else Path(cohort).parent
        asked = Truth(base, mask, Marking(flags, labels), truth, twin)
        threshold = facts["limit"] / 2 if threshold is None else threshold
        images = measured(table, home, asked, sign=sign, threshold=threshold, notes=notes)
        sections.insert(0, quality(images, sign, threshold, seed))
        if mask and facts.get(WITHIN):
            sections[0].sentences.insert(0 if not (truth or twin) else len(sections[0].sentences), INSIDE)
    if not sections:
        raise EvaluationError("there is nothing to judge: attributions change nothing, so give a mask, truth or twin")
    result = Judged(sections[0].sentences[0], sections, images, notes, out)
    _write(result, {"explanations": str((home / "explanations.csv").resolve()), "seed": seed, "outcome": outcome})
    return result


def _facts_of(maps: Path) -> dict[str, Any]:
    if not (maps / "explanations.csv").is_file():
        raise EvaluationError(f"{maps} holds no explanations.csv; give a folder that `anomaly explain map` wrote")
    facts = read_facts(maps / "explain.json")
    if "limit" not in facts or "thresholds" not in facts:
        raise EvaluationError(f"{maps / 'explain.json'} does not say how the maps were made; explain the images again")
    return facts


def _joined(
    maps: Path,
    cohort: Path | str | pd.DataFrame | None,
    outcome: str | None,
    positive: str | None,
    subject: str | None,
    where: Mapping[str, str],
    missing: Sequence[str],
    notes: list[str],
    columns: Sequence[str | None],
) -> pd.DataFrame:
    """The explanations with `label`, `subject` and the named columns of the cohort."""
    table = read_table(maps / "explanations.csv", "explanations", names=["files"])
    if table.empty:
        raise EvaluationError(f"{maps / 'explanations.csv'} has no rows: no image could be explained, see errors.csv")
    if cohort is None:
        return table.assign(label=np.nan)
    source = Path(cohort) if isinstance(cohort, str) else cohort
    people = read_table(source, "cohort", names=[subject] if subject else [], missing=missing)
    people = joining.chosen(people, where, notes)
    joining.require(people, [outcome, subject, *columns])
    base = Path() if isinstance(cohort, pd.DataFrame) else Path(cohort).parent
    table, people = joining.join(table, people, maps, base, notes)
    label = joining.events(people, outcome, positive, notes) if outcome else pd.Series(np.nan, people.index)
    if outcome:
        joining.note_unknown(table.loc[label.isna(), "id"], f"whether they have {outcome}", notes)
    subject = subject or ("subject" if "subject" in people else None)
    if subject:
        nameless = table.loc[people[subject].isna(), "id"]
        if len(nameless):
            raise EvaluationError(f"{len(nameless)} images have no {subject} ({some(nameless)}); fill in the column")
        table["subject"] = people[subject].astype(str)
    if "path" in people:  # the images may have been moved since they were explained
        now = [(base / str(path)).resolve() for path in people["path"]]
        table["path"] = [str(new) if new.is_file() else old for new, old in zip(now, table["path"], strict=True)]
    if joining.simulated(people):
        notes.append(joining.SIMULATED)
    table = table.assign(label=label, **{name: people[name] for name in columns if name})
    if outcome and not (label == 1).any():
        raise EvaluationError(f"none of {len(table)} explained images has {outcome}; explain cases as well")
    return table[table["label"].notna()].reset_index(drop=True) if outcome else table


def _sides(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Cases and, if there are any, controls; all images where nothing tells who is what."""
    if table["label"].isna().all():
        return {"images": table}
    sides = {"cases": table[table["label"] == 1], "controls": table[table["label"] == 0]}
    return {name: rows for name, rows in sides.items() if len(rows)}


def _flips(table: pd.DataFrame, thresholds: Mapping[str, float], notes: list[str]) -> Section | None:
    """Whether target and judge take cases for cases, and their counterfactuals for controls."""
    rows, sentences = [], []
    name, cases = next(iter(_sides(table).items()))
    for who in ASKED:
        if f"{who}_flipped" not in table or who not in thresholds:
            continue
        taken = cases[cases[f"{who}_before"] > thresholds[who]]
        called = "the independent judge" if who == "judge" else "the target"
        if taken.empty:
            notes.append(f"None of {len(cases)} {name} is taken for a case by {called}, so none can change sides.")
            continue
        share = proportion(taken[f"{who}_flipped"], taken["subject"])
        rows.append({"asked": who, name: len(cases), "taken_for_cases": len(taken), **ends("flipped", share)})
        sentences.append(
            f"Of {len(cases)} {name} {called} took {len(taken)} for cases; of these {interval(share)} changed sides."
        )
    if not rows:
        return None
    caption = "Share of those taken for cases whose counterfactual is not; Wilson intervals, persons counted together."
    return Section("validity", "Do counterfactuals change sides", sentences, caption, pd.DataFrame(rows))


def _changes(table: pd.DataFrame, seed: int, facts: Mapping[str, Any]) -> Section | None:
    """What is changed in cases and, where nothing should be, in controls; and all else the method says.

    Where a run of cases and controls drew them, how much would be drawn if labels meant nothing, or that nobody knows.
    """
    if "change" not in table:
        return None
    others = [
        str(name) for name in table if name not in (*GIVEN, *IF_NOTHING, "label") and not str(name).startswith(ASKED)
    ]
    numbers = [name for name in others if pd.api.types.is_numeric_dtype(table[name])]
    rows: list[dict[str, Any]] = []
    means: dict[tuple[str, str], Estimate] = {}
    for figure in numbers:
        for side, part in _sides(table).items():
            means[figure, side] = mean_of(part[figure], part["subject"], seed)
            rows.append({"figure": figure, "images_of": side, "n": len(part), **ends("mean", means[figure, side])})
    who = next(iter(_sides(table)))
    sentences = [f"{who.capitalize()} are changed by {_told(means['change', who])} on the mean, of a range of 2."]
    if ("change", "controls") in means:
        sentences.append(f"Controls, of which little should be, are changed by {_told(means['change', 'controls'])}.")
    if ("folded", who) in means:
        sentences.append(f"The fields fold {means['folded', who].value:.2%} of all pixels.")
    if facts.get("if_nothing"):
        sentences.append(facts["if_nothing"])
    caption = "Means with 95 % intervals by drawing persons anew. change: mean |image - counterfactual|, of a range of "
    caption += "2; unchanged: share of pixels changed by at most 0.05."
    return Section("changes", "What counterfactuals change", sentences, caption, pd.DataFrame(rows))


def _told(estimate: Estimate) -> str:
    """An estimate of any size as it stands in a sentence."""
    return f"{estimate.value:.3g} ({between(estimate.low, estimate.high, '.3g')})"


def _write(result: Judged, about: Mapping[str, Any]) -> None:
    made_up = joining.SIMULATED in result.notes
    for section in result.sections:
        write_whole(result.out / f"{section.name}.csv", section.table.to_csv(index=False))
        if section.figure is not None:
            picture = figures.stamped(section.figure, "SIMULATED") if made_up else section.figure
            write_whole(result.out / f"{section.name}.png", picture)
    if result.images is not None:
        write_whole(result.out / "explanation_metrics.csv", result.images.to_csv(index=False))
    for note in result.notes:
        logger.info(note)
    tables = [section.table.assign(section=section.name) for section in result.sections]
    write_whole(result.out / "explanation_evaluation.csv", pd.concat(tables).to_csv(index=False))
    facts = {**about, "headline": result.headline, "notes": result.notes}
    facts["sections"] = [told_as_facts(section) for section in result.sections]
    write_whole(result.out / "evaluation.json", json.dumps(facts, indent=2, ensure_ascii=False, allow_nan=False))
