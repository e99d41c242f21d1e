"""Which classes label maps hold, told before images are read; and who is held out, so that each class is learned."""

import logging
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from anomaly.cohorts.cohort import split
from anomaly.cohorts.labels import COLUMN as LABELS
from anomaly.cohorts.results import some
from anomaly.errors import AnomalyError, CohortError, UnreadableImage
from anomaly.images import labels as maps
from anomaly.images.labels import Labels
from anomaly.progress import progress
from anomaly.segmentation.annotations import LABELLED, SIDE, UNLABELLED
from anomaly.streams import ordered

logger = logging.getLogger(__name__)
TRAIN, CHOOSE = "train", "choose"
FEWEST, SHARE = 8, 0.15
"""Labelled subjects of whom some are held out where nobody says how many, and how many of them."""
AHEAD = 16


@dataclass(frozen=True)
class Held:
    """The classes of label maps, and which subjects' maps hold each.

    Args:
        labels: names and numbers of the classes.
        holders: of each class, the subjects in whose label maps it is marked.
    """

    labels: Labels
    holders: Mapping[str, frozenset[str]]


def held(table: pd.DataFrame, classes: str | None, *, workers: int | None = None) -> Held:
    """Look into all label maps: which classes there are, and who has them.

    Args:
        table: of all images, those with label maps told by their column `labels`.
        classes: as asked for; None takes each number for a class.
        workers: threads; None takes one a core.

    Raises:
        AnomalyError: a class is asked for that no label map holds, or there is none.
        CohortError: no label map can be read.
    """
    rows = table[table[LABELS] != ""]
    found, errors = [], []
    with (
        ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool,
        progress("reading label maps", len(rows), unit="files") as bar,
    ):
        for one in ordered(pool, numbers_in, list(rows[LABELS]), ahead=AHEAD):
            bar.advance()
            found.append(frozenset[int]() if isinstance(one, UnreadableImage) else one)
            errors += [one] if isinstance(one, UnreadableImage) else []
    if len(errors) == len(rows):
        raise CohortError(f"none of the {len(rows)} label maps can be used; the first: {errors[0]}")
    every = sorted(frozenset().union(*found) - {0})
    labels = Labels.found(every) if classes is None else Labels.asked(classes)
    _tell(labels, every, asked=classes is not None)
    return Held(labels, {name: _who(rows, found, numbers) for name, numbers in _each(labels)})


def parted(table: pd.DataFrame, holders: Mapping[str, frozenset[str]], choose: float | None) -> pd.DataFrame:
    """The same images with a column `split`: "train" and "choose" of those with label maps, "unlabelled".

    Who is held out depends on the subjects' names, but that nobody is held out who alone has a class. Images without
    label maps of whoever is held out are left out.

    Args:
        table: of all images.
        holders: who has each class.
        choose: share of labelled subjects held out; None takes 0.15 of eight or more, and of fewer none; 0 none.

    Raises:
        CohortError: too few subjects for the share that was asked, or no image without label map is left.
    """
    if choose is not None and not 0 <= choose < 1:
        raise AnomalyError(f"choose must be 0 or more and below 1, got {choose}")
    told, labelled = dict(table.attrs), table[SIDE] == LABELLED
    people = table.loc[labelled, "subject"]
    count = people.nunique()
    share = choose if choose is not None else SHARE if count >= FEWEST else 0.0
    parts = split(list(people), choose=share, calibrate=0)
    chosen = _without_lone({*people[parts == CHOOSE]}, holders)
    if not chosen:
        why = (
            f"there are {count} labelled subjects, fewer than {FEWEST}" if choose is None else "--choose asks for none"
        )
        logger.warning(
            "%s, so none is held out: weights are those of the last step, and nothing is said of images it has not "
            "seen", why if share == 0 else "each is the only one with a class",
        )  # fmt: skip
    held_out = table["subject"].isin(chosen)
    table = table.assign(split=np.where(labelled, np.where(held_out, CHOOSE, TRAIN), UNLABELLED))
    seen = ~labelled & held_out
    if seen.any():
        names = sorted({*table.loc[seen, "subject"]})
        logger.info(
            "%d images without label maps are left out, of subjects who are held out (%s)", seen.sum(), some(names)
        )
        table = table[~seen].reset_index(drop=True)
        if not (table[SIDE] == UNLABELLED).any() and (~labelled).any():
            raise CohortError("all images without label maps are of subjects who are held out; give --choose 0")
    table.attrs = told
    return table


def _without_lone(chosen: set[str], holders: Mapping[str, frozenset[str]]) -> set[str]:
    """Subjects to hold out, but for whoever is needed to learn a class from."""
    lone = {name: next(iter(whose)) for name, whose in holders.items() if len(whose) == 1}
    if len(lone) == 1:
        logger.warning(
            "class %s is marked in images of one subject alone (%s), who is learned from: nothing tells how well "
            "it is found in others", *next(iter(lone.items())),
        )  # fmt: skip
    elif lone:
        logger.warning(
            "%d of %d classes are marked in images of one subject alone each, who is learned from: nothing tells how "
            "well they are found in others (%s)", len(lone), len(holders),
            some([f"{name} of {subject}" for name, subject in lone.items()], 10),
        )  # fmt: skip
    for name, whose in holders.items():
        if whose and whose <= chosen:
            kept = sorted(whose)[0]
            logger.info("%s is learned from, since class %s would be held out as a whole", kept, name)
            chosen = chosen - {kept}
    return chosen


def numbers_in(path: str) -> frozenset[int] | UnreadableImage:
    """Which numbers a label map holds."""
    try:
        return maps.numbers_in(path)
    except UnreadableImage as error:
        return error
    except OSError as error:
        return UnreadableImage(f"{path}: {error}")


def _tell(labels: Labels, every: Sequence[int], *, asked: bool) -> None:
    """Say which classes there are, and which numbers are none.

    Raises:
        AnomalyError: a class has no pixel in any label map.
    """
    for name, numbers in _each(labels):
        if not {*numbers} & {*every}:
            raise AnomalyError(
                f"no label map holds class {name!r} (number {' or '.join(map(str, numbers))}); they hold "
                f"{some(every, 20) or 'nothing but 0'}: mend --classes"
            )
    known = {number for numbers in labels.numbers for number in numbers}
    if beyond := [number for number in every if number not in known]:
        logger.info("label maps hold %s as well, which is of no class here and counts as background", some(beyond, 20))
    if not asked and every != list(range(1, len(every) + 1)):
        logger.info("label maps hold the numbers %s; what is written later holds the same", some(every, 20))


def _each(labels: Labels) -> list[tuple[str, tuple[int, ...]]]:
    return list(zip(labels.names, labels.numbers, strict=True))


def _who(rows: pd.DataFrame, found: Sequence[frozenset[int]], numbers: Sequence[int]) -> frozenset[str]:
    subjects: list[Any] = list(rows["subject"])
    return frozenset(str(whose) for whose, each in zip(subjects, found, strict=True) if each & {*numbers})
