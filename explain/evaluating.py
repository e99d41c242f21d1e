"""Says how good explanations are: do counterfactuals flip, what do they change, do maps point at the disease."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anomaly import figures, joining
from anomaly.errors import EvaluationError
from anomaly.evaluation.section import Section, ends, interval, told_as_facts
from anomaly.files import write_whole
from anomaly.results import read_facts, read_table
from anomaly.statistics import Estimate, bootstrap, proportion
from explain.quality import FLOORS, MAP, SIGNS, Truth, measured

GIVEN = ("id", "subject", "path", "files")
ASKED = ("target", "judge")
FIGURES = {
    "average_precision": "average precision of the pixels",
    "pointing_game": "peak in the mask",
    "relevance_mass": "share of the evidence in the mask",
    "dice": "Dice",
    "ncc": "correlation with the true difference",
    "absolute_ncc": "the same of sizes",
}


@dataclass(frozen=True)
class Judged:
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


def evaluate(
    maps: Path | str,
    cohort: Path | str | pd.DataFrame | None = None,
    *,
    outcome: str | None = None,
    positive: str | None = None,
    subject: str | None = None,
    where: Mapping[str, str] | None = None,
    mask: str | None = None,
    flags: int | None = None,
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
        subject: column of persons, for intervals; left out, that of the explanations.
        where: keeps the rows of the cohort whose columns have these values.
        mask: column of files that are not 0 where the disease is, on the grid of the image.
        flags: where masks hold sums of flags (as those of simulated knees do), the flags that count.
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
    facts = _facts_of(home)
    table = _joined(home, cohort, outcome, positive, subject, where or {}, notes, (mask, truth, twin))
    sections = [
        each for each in (_flips(table, facts.get("thresholds", {})), _changes(table, seed)) if each is not None
    ]
    images = None
    if mask or truth or twin:
        base = Path() if isinstance(cohort, pd.DataFrame) or cohort is None else Path(cohort).parent
        threshold = facts["limit"] / 2 if threshold is None else threshold
        images = measured(
            table, home, Truth(base, mask, flags, truth, twin), sign=sign, threshold=threshold, notes=notes
        )
        sections.insert(0, _quality(images, sign, threshold, seed))
    if not sections:
        raise EvaluationError("there is nothing to judge: attributions change nothing, so give a mask, truth or twin")
    result = Judged(sections[0].sentences[0], sections, images, notes, out)
    _write(result, {"explanations": str((home / "explanations.csv").resolve()), "seed": seed, "outcome": outcome})
    return result


def _facts_of(maps: Path) -> dict[str, Any]:
    if not (maps / "explanations.csv").is_file():
        raise EvaluationError(f"{maps} holds no explanations.csv; give a folder that `anomaly explain map` wrote")
    return {"limit": 0.1} | read_facts(maps / "explain.json")


def _joined(
    maps: Path,
    cohort: Path | str | pd.DataFrame | None,
    outcome: str | None,
    positive: str | None,
    subject: str | None,
    where: Mapping[str, str],
    notes: list[str],
    columns: Sequence[str | None],
) -> pd.DataFrame:
    """The explanations with `label`, `subject` and the named columns of the cohort."""
    table = read_table(maps / "explanations.csv", "explanations", names=["files"])
    if cohort is None:
        return table.assign(label=np.nan)
    people = joining.chosen(read_table(Path(cohort) if isinstance(cohort, str) else cohort, "cohort"), where, notes)
    joining.require(people, [outcome, subject, *columns])
    base = Path() if isinstance(cohort, pd.DataFrame) else Path(cohort).parent
    table, people = joining.join(table, people, maps, base, notes)
    label = joining.events(people, outcome, positive, notes) if outcome else pd.Series(np.nan, people.index)
    if outcome:
        joining.note_unknown(table.loc[label.isna(), "id"], f"whether they have {outcome}", notes)
    if subject:
        table["subject"] = people[subject].astype(str)
    if joining.simulated(people):
        notes.append(joining.SIMULATED)
    table = table.assign(label=label, **{name: people[name] for name in columns if name})
    return table[table["label"].notna()].reset_index(drop=True) if outcome else table


def _flips(table: pd.DataFrame, thresholds: Mapping[str, float]) -> Section | None:
    """Whether target and judge take cases for cases, and their counterfactuals for controls."""
    rows, sentences = [], []
    cases = table[table["label"] != 0]
    for who in ASKED:
        if f"{who}_flipped" not in table or who not in thresholds:
            continue
        taken = cases[cases[f"{who}_before"] > thresholds[who]]
        if taken.empty:
            continue
        share = proportion(taken[f"{who}_flipped"], taken["subject"])
        rows.append({"asked": who, "cases": len(cases), "taken_for_cases": len(taken), **ends("flipped", share)})
        called = "the independent judge" if who == "judge" else "the target"
        sentences.append(
            f"Of {len(cases)} cases {called} took {len(taken)} for cases; of these {interval(share)} changed sides."
        )
    if not rows:
        return None
    caption = "Share of cases whose counterfactual is taken for a control; Wilson intervals, persons counted together."
    return Section("validity", "Do counterfactuals change sides", sentences, caption, pd.DataFrame(rows))


def _changes(table: pd.DataFrame, seed: int) -> Section | None:
    """What is changed in cases and, where nothing should be, in controls; and all else the method says."""
    if "change" not in table:
        return None
    numbers = [name for name in table if name not in (*GIVEN, "label") and pd.api.types.is_numeric_dtype(table[name])]
    numbers = [str(name) for name in numbers if not str(name).startswith(ASKED)]
    sides = {"cases": table[table["label"] != 0], "controls": table[table["label"] == 0]}
    rows: list[dict[str, Any]] = [
        {"figure": name, "images_of": side, "n": len(part), **ends("mean", mean_of(part[name], part["subject"], seed))}
        for name in numbers
        for side, part in sides.items()
        if len(part)
    ]
    found = {(str(row["figure"]), str(row["images_of"])): float(row["mean"]) for row in rows}
    sentences = [f"Cases are changed by {found['change', 'cases']:.4f} on the mean, of a range of 2."]
    if ("change", "controls") in found:
        sentences.append(f"Controls, of which little should be, are changed by {found['change', 'controls']:.4f}.")
    if ("folded", "cases") in found:
        sentences.append(f"The fields fold {found['folded', 'cases']:.2%} of all pixels.")
    caption = "Means with 95 % intervals by drawing persons anew. change: mean |image - counterfactual|, of a range of "
    caption += "2; unchanged: share of pixels changed by at most 0.05."
    return Section("changes", "What counterfactuals change", sentences, caption, pd.DataFrame(rows))


def _quality(images: pd.DataFrame, sign: str, threshold: float, seed: int) -> Section:
    """How well the map points at the truth, and how much better than the best map that takes no method."""
    rows: list[dict[str, Any]] = []
    sentences: list[str] = []
    for figure, words in FIGURES.items():
        if figure not in images:
            continue
        wide = images.pivot(index="id", columns="map", values=figure)
        wide = wide[wide[MAP].notna()]
        if wide.empty:
            continue
        subject = images.drop_duplicates("id").set_index("id")["subject"].loc[wide.index].to_numpy()
        present = [name for name in (MAP, *FLOORS) if name in wide and wide[name].notna().all()]
        means = {name: mean_of(wide[name], subject, seed) for name in present}
        rows += [{"figure": figure, "map": name, "n": len(wide), **ends("mean", means[name])} for name in present]
        floors = [name for name in present if name != MAP]
        best = max(floors, key=lambda name: means[name].value)
        gain = mean_of(wide[MAP] - wide[best], subject, seed)
        rows[-len(present)] |= {"best_floor": best, **ends("above_it", gain)}
        sentences.append(
            f"{words[0].upper()}{words[1:]}: {interval(means[MAP])}; {best} {means[best].value:.2f}, difference "
            f"{interval(gain)}."
        )
    if not sentences:
        raise EvaluationError("no figure could be made of any map; look at the masks and maps")
    prevalence = f" Masks cover {images['prevalence'].mean():.1%} of an image." if "prevalence" in images else ""
    caption = (
        f"Means over cases with 95 % intervals by drawing persons anew. Evidence is the {sign} map; Dice at "
        f"{threshold:.3g}.{prevalence} Floors: the mean difference of cases and controls of other persons, the raw "
        "image, a Gaussian in the middle, the map blurred."
    )
    table = pd.DataFrame(rows)
    own = table[table["map"] == MAP]
    picture = figures.forest(
        [FIGURES[name] for name in own["figure"]], own[["above_it", "above_it_low", "above_it_high"]].to_numpy(),
        "Map above the best floor", none=0.0,
    )  # fmt: skip
    return Section("quality", "Do maps point at the truth", sentences, caption, table, picture)


def mean_of(values: pd.Series, subject: Any, seed: int) -> Estimate:
    """The mean of figures (n,), its interval by drawing whole persons anew; those that are NaN are left out."""
    known = np.asarray(values, dtype=np.float64)
    fine = np.isfinite(known)
    if not fine.any():
        return Estimate(float("nan"), float("nan"), float("nan"), "none is known")
    known, whose = known[fine], np.asarray(subject)[fine]
    return bootstrap(lambda weights: weights @ known / weights.sum(1), whose, np.ones(len(known)), seed=seed)


def _write(result: Judged, about: Mapping[str, Any]) -> None:
    made_up = joining.SIMULATED in result.notes
    for section in result.sections:
        write_whole(result.out / f"{section.name}.csv", section.table.to_csv(index=False))
        if section.figure is not None:
            picture = figures.stamped(section.figure, "SIMULATED") if made_up else section.figure
            write_whole(result.out / f"{section.name}.png", picture)
    if result.images is not None:
        write_whole(result.out / "explanation_metrics.csv", result.images.to_csv(index=False))
    tables = [section.table.assign(section=section.name) for section in result.sections]
    write_whole(result.out / "explanation_evaluation.csv", pd.concat(tables).to_csv(index=False))
    facts = {**about, "headline": result.headline, "notes": result.notes}
    facts["sections"] = [told_as_facts(section) for section in result.sections]
    write_whole(result.out / "evaluation.json", json.dumps(facts, indent=2, ensure_ascii=False, allow_nan=False))
