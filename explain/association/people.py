"""Puts maps beside the rows of a cohort: the outcome, covariates, persons and matched sets of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from anomaly.cohorts import joining
from anomaly.cohorts.outcomes import note_left_out
from anomaly.cohorts.results import read_table
from anomaly.errors import EvaluationError
from anomaly.statistics.design import column_of, design, perhaps_groups
from explain.association.maps import list_maps
from explain.association.several import about_several
from explain.association.visits import BEFORE, BY_VISIT, YEARS, Pairing, follow_ups

_OWN = ("id", "map", "image", "mask", "outcome", "subject", "match", "value", "load", "mean_of_map", "fold")


@dataclass(frozen=True)
class Sample:
    """The images that a group map is made of, a row each in every table.

    Args:
        images: id, map, outcome (0/1) and, where there are such: image (what was scored), mask (its file), subject,
            match, value, the columns to predict, and those to set beside the load.
        covariates: (n, p) as a model takes them; None where nothing is adjusted for.
    """

    images: pd.DataFrame
    covariates: np.ndarray | None

    @property
    def outcome(self) -> np.ndarray:
        """(n,) of 0/1."""
        return self.images["outcome"].to_numpy()

    def names(self, column: str) -> np.ndarray | None:
        """Names (n,) of subjects or sets; None where there are none."""
        return self.images[column].to_numpy() if column in self.images else None

    def rows(self, chosen: np.ndarray) -> "Sample":
        """The sample of some of the images."""
        covariates = None if self.covariates is None else self.covariates[chosen]
        return Sample(self.images.iloc[chosen].reset_index(drop=True), covariates)


def gather(
    maps: Path,
    cohort: Path | pd.DataFrame,
    *,
    outcome: str | None,
    subject: str | None,
    positive: str | None,
    adjust: Sequence[str],
    match: str | None,
    where: Mapping[str, str],
    missing: Sequence[str] = (),
    predict: Sequence[str],
    beside: Sequence[str],
    pairing: Pairing | None = None,
    notes: list[str],
) -> Sample:
    """Maps with a row in the cohort, whose outcome, covariates and set are known; the others are named in `notes`.

    Raises:
        EvaluationError: as `joining` and `design`; fewer than ten images with the outcome or without.
    """
    texts = [name for name in (subject, match) if name]
    told = {name: positive if name == outcome else None for name in (outcome, *predict) if name}
    listed, people, folder = _joined(maps, cohort, texts, missing, where, pairing, subject, told, notes)
    images = _images(listed, folder, pairing)
    if joining.simulated(people):
        notes.append(joining.SIMULATED)
    images["outcome"] = 1.0 if outcome is None else joining.events(people, outcome, positive, notes)
    joining.require(people, [*texts[bool(subject) :], *(column_of(name, people) for name in adjust)])
    notes += perhaps_groups(people, adjust)
    known = images["outcome"].notna() & images["map"].notna()
    if pairing is not None and outcome is not None:
        # Pairs are made of images with maps alone: what is not known is the outcome.
        sign = outcome if positive is None else f"{outcome} {positive}"
        note_left_out(images.loc[~known, "id"], sign, outcome in people.attrs.get(BY_VISIT, ()), notes)
    else:
        known = _known(images, known, f"{outcome} or map" if outcome else "the map", notes)
    if match:
        images["match"] = people[match]
        known &= _known(images, images["match"].notna(), match, notes)
    _beside(images, listed, people, beside)
    for name in predict:
        if name in {*_OWN} - {outcome}:
            raise EvaluationError(f"{name!r} is the name of another column of load.csv; rename it in the cohort")
        images[name] = joining.events(people, name, told[name], notes)
    coded = design(people[known], list(adjust)).reindex(people.index) if adjust else None
    if coded is not None:
        known &= _known(images, coded.notna().all(axis=1) | ~known, " or ".join(adjust), notes)
    kept = np.flatnonzero(known)
    sample = Sample(images, None if coded is None else coded.to_numpy()).rows(kept)
    sample.images["outcome"] = sample.images["outcome"].astype(int)
    listed, people = listed.iloc[kept].reset_index(drop=True), people.iloc[kept].reset_index(drop=True)
    groups = joining.subjects(listed, people, subject, [])
    if groups is not None:
        sample.images["subject"] = groups
    if pairing is None:
        used = {outcome, subject, match, *adjust, *predict, *beside, *where}
        notes += about_several(people, sample.names("subject"), {name for name in used if name})
    refuse_few(sample, outcome)
    return sample


def _joined(
    maps: Path,
    cohort: Path | pd.DataFrame,
    texts: Sequence[str],
    missing: Sequence[str],
    where: Mapping[str, str],
    pairing: Pairing | None,
    subject: str | None,
    outcomes: Mapping[str, str | None],
    notes: list[str],
) -> tuple[pd.DataFrame, pd.DataFrame, Path]:
    """Maps and rows of the cohort in one order, of the last visits where visits are paired; and their folder."""
    listed, folder = list_maps(maps, names=texts)
    cohort_folder = Path.cwd() if isinstance(cohort, pd.DataFrame) else Path(cohort).parent
    everyone = read_table(cohort, "cohort", names=texts, missing=missing)
    people = joining.chosen(everyone, where, notes)
    listed, people = joining.join(listed, people, folder, cohort_folder, notes)
    if pairing is not None:
        listed, people = follow_ups(
            listed, people, pairing, cohort=everyone, subject=subject, outcomes=outcomes, notes=notes
        )
    return listed, people, folder


def _images(listed: pd.DataFrame, folder: Path, pairing: Pairing | None) -> pd.DataFrame:
    """id and map of each, and map_before, years, image and mask where there are such."""
    images = pd.DataFrame({"id": listed["id"], "map": listed["map"]})
    for name in (BEFORE, YEARS):
        if pairing is not None and name in listed:
            images[name] = listed[name]
    if {"path", "heatmap"} <= set(listed):
        images["image"] = [str(folder / str(path)) for path in listed["path"]]
    if "mask" in listed:
        images["mask"] = [str(folder / path) if isinstance(path, str) and path else None for path in listed["mask"]]
    return images


def _beside(images: pd.DataFrame, listed: pd.DataFrame, people: pd.DataFrame, beside: Sequence[str]) -> None:
    """Put the raw score and the numbers to set beside the load among the columns."""
    if "value" in listed:
        images["value"] = pd.to_numeric(listed["value"], errors="coerce")
    for name in beside:
        images[name] = _numbers(listed if name in listed else people, name)


def refuse_few(sample: Sample, outcome: str | None) -> None:
    """Refuse fewer than ten images with the outcome or without, or where none is asked for fewer than ten changes."""
    if outcome is not None:
        joining.check_numbers(sample.outcome, outcome)
    elif len(sample.images) < joining.FEWEST:
        raise EvaluationError(f"{len(sample.images)} pairs of visits with maps: at least {joining.FEWEST} are needed")


def _numbers(table: pd.DataFrame, name: str) -> pd.Series:
    joining.require(table, [name])
    if name in _OWN:
        raise EvaluationError(f"{name!r} stands in load.csv already; leave it out of what is set beside")
    return pd.to_numeric(table[name], errors="coerce").astype(float)


def _known(images: pd.DataFrame, known: pd.Series, what: str, notes: list[str]) -> pd.Series:
    joining.note_unknown(images.loc[~known, "id"], what, notes)
    return known
