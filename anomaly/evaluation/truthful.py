"""What maps are worth beside a truth: finds the files of each scored image, and makes the sections of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from anomaly.cohorts import joining, truth_files
from anomaly.cohorts.results import read_facts, read_scores, read_table, some
from anomaly.errors import EvaluationError
from anomaly.evaluation.examples import examples
from anomaly.evaluation.lesionwise import curve, lesionwise
from anomaly.evaluation.localisation import headline, localised
from anomaly.evaluation.looking import Case, map_file
from anomaly.evaluation.section import Section
from anomaly.evaluation.tallying import looked_at
from anomaly.evaluation.truths import Marking, told_values

LIMITS = {"0.05": "5", "0.01": "1"}
"""Limits that scoring writes into its facts, `map_limits`, and what they are called here: percent."""


@dataclass(frozen=True, kw_only=True)
class TruthAsked:
    """Where the truth is, and whose images are judged.

    Args:
        truth: a column of the cohort, or a folder.
        marking: which values of masks count.
        subject: column of persons; left out, `subject` of the cohort or of the scores.
        where: keeps the rows of the cohort whose columns have these values.
        missing: cells of the cohort that mean that nothing is known.
    """

    truth: str
    marking: Marking
    subject: str | None = None
    where: Mapping[str, str]
    missing: Sequence[str] = ()

    @property
    def facts(self) -> dict[str, Any]:
        """What was asked, as it is kept."""
        return {"truth": self.truth, "labels": list(self.marking.labels), "flags": self.marking.flags}


@dataclass(frozen=True)
class Truthful:
    """What was found: a headline, the sections, a row an image and map, a row a lesion, remarks, and what was asked."""

    headline: str
    sections: list[Section]
    images: pd.DataFrame
    lesions: pd.DataFrame
    notes: list[str]
    asked: dict[str, Any]


def beside_truth(file: Path, cohort: Path | pd.DataFrame | None, asked: TruthAsked, seed: int) -> Truthful:
    """Judge the maps of a table of scores by a truth.

    Args:
        file: the `scores.csv`.
        cohort: the table that has the column of truths; None where they lie in a folder.
        asked: what is asked.
        seed: of the bootstrap.

    Raises:
        EvaluationError: no such column or folder, no maps but pictures, no truth that can be used or marks anything.
    """
    notes: list[str] = []
    table = _joined(file, cohort, asked, notes)
    cases = _cases(table, file, notes)
    limits = _limits(file, notes)
    looked = looked_at(cases, asked.marking, limits, notes)
    notes += told_values(looked.values, asked.marking)
    main = localised(looked, limits, seed)
    found = [main, lesionwise(looked, limits, seed), curve(looked, limits, seed)]
    sections = [each for each in found if each is not None] + examples(looked.images, cases, asked.marking)
    return Truthful(headline(main, looked), sections, looked.images, looked.lesions, notes, asked.facts)


def _joined(file: Path, cohort: Path | pd.DataFrame | None, asked: TruthAsked, notes: list[str]) -> pd.DataFrame:
    """The scores with a column `truth` of absolute paths, None where there is none, and `subject`."""
    scored = read_scores(file, names=["mask", *([asked.subject] if asked.subject else [])])
    if "path" not in scored or "heatmap" not in scored:
        raise EvaluationError(f"{file} needs the columns path and heatmap, as scoring writes; got {some(scored, 12)}")
    scored["path"] = [str((file.parent / str(each)).resolve()) for each in scored["path"]]
    if "mask" in scored:
        named = [each if isinstance(each, str) else "" for each in scored["mask"]]
        scored["mask"] = [str((file.parent / each).absolute()) if each else "" for each in named]
    people = None
    if cohort is None and asked.where:
        raise EvaluationError("where asks for columns of a cohort; give its table")
    if cohort is not None:
        names = [asked.truth, *([asked.subject] if asked.subject else [])]
        people = read_table(cohort, "cohort", names=names, missing=asked.missing)
        people = joining.chosen(people, asked.where, notes)
        base = Path.cwd() if isinstance(cohort, pd.DataFrame) else Path(cohort).parent
        scored, people = joining.join(scored, people, file.parent, base, notes)
        if joining.simulated(people):
            notes.append(joining.SIMULATED)
    scored["subject"] = _subjects(scored, people, asked.subject)
    if people is not None and asked.truth in people:
        truths: list[Any] = [
            (base / each).absolute() if isinstance(each, str) and each else None for each in people[asked.truth]
        ]
        scored["truth"] = truths
    else:
        scored["truth"] = _in_folder(scored, people, asked.truth, notes)
    return scored


def _in_folder(scored: pd.DataFrame, people: pd.DataFrame | None, truth: str, notes: list[str]) -> list[Any]:
    folder = Path(truth)
    if not folder.is_dir():
        column = "a column needs the table it is in, as --cohort" if people is None else f"it has {some(people, 20)}"
        raise EvaluationError(f"truth is {truth!r}: there is no such folder, nor such a column of the cohort; {column}")
    found, told = truth_files.beside(folder.resolve(), scored)
    notes += told
    return list(found)


def _subjects(scored: pd.DataFrame, people: pd.DataFrame | None, subject: str | None) -> "pd.Series[Any]":
    """Whose image each is: as asked, else by the column `subject`, else each another person's."""
    for table in (people, scored):
        name = subject or "subject"
        if table is not None and name in table:
            nameless = scored.loc[table[name].isna().to_numpy(), "id"]
            if len(nameless):
                raise EvaluationError(f"{len(nameless)} images have no {name} ({some(nameless)}); fill in the column")
            return pd.Series(table[name].astype(str).to_numpy(), scored.index)
    if subject is not None:
        raise EvaluationError(f"neither the cohort nor the scores have a column {subject!r}")
    return scored["id"]


def _cases(scored: pd.DataFrame, file: Path, notes: list[str]) -> list[Case]:
    """The images that have both a map with numbers in it and a truth."""
    maps = scored["heatmap"].map(map_file)
    if maps.isna().all():
        raise EvaluationError(
            f"{file} names no map with numbers in it ({some(scored['heatmap'].dropna().unique()) or 'none at all'}); "
            "score again, into a new --out, with --heatmaps nifti"
        )
    without = scored["truth"].isna()
    if without.all():
        raise EvaluationError(f"none of {len(scored)} scored images has a truth; fill in the column")
    if without.any():
        notes.append(
            f"{int(without.sum())} of {len(scored)} images have no truth and were left out of the comparison with it "
            f"({some(scored.loc[without, 'id'])}); an image without disease has an empty mask as its truth."
        )
    mapless = maps.isna() & ~without
    if mapless.any():
        notes.append(
            f"{int(mapless.sum())} images have a truth but no map with numbers in it and were left out "
            f"({some(scored.loc[mapless, 'id'])})."
        )
    if (without | mapless).all():
        raise EvaluationError(f"none of {len(scored)} images has both a map and a truth; {notes[-1]}")
    masks = scored["mask"] if "mask" in scored else pd.Series("", scored.index)
    rows = scored.assign(file=maps, within=masks)[~without & ~mapless]
    return [
        Case(
            str(row.id),
            str(row.subject),
            Path(str(row.path)),
            file.parent / str(row.file),
            Path(str(row.truth)),
            Path(str(row.within)) if row.within else None,
        )
        for row in rows.itertuples()
    ]


def _limits(file: Path, notes: list[str]) -> dict[str, float]:
    """Values of the map that few pixels of held-out normals exceed, by percent; none, with a note, where untold."""
    told = read_facts(file.parent / "score.json").get("map_limits")
    known = told if isinstance(told, dict) else {}
    found = {name: float(known[share]) for share, name in LIMITS.items() if isinstance(known.get(share), int | float)}
    if not found:
        notes.append(
            f"No limit of the map was fixed on held-out normals: {file.parent / 'score.json'} tells none (scores of "
            "an older version, or from elsewhere). Dice is told at its best threshold alone, which has seen the truth; "
            "score again for the others."
        )
    return found
