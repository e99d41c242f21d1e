"""Which label map that was found belongs to which that was drawn: tables, columns and folders of both."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from anomaly.cohorts.cohort import read_cohort
from anomaly.cohorts.labels import COLUMN as LABELS
from anomaly.cohorts.labels import base_of, with_labels
from anomaly.cohorts.masks import COLUMN as MASK
from anomaly.cohorts.masks import NONE, Given, counting
from anomaly.cohorts.results import some
from anomaly.errors import CohortError, EvaluationError
from anomaly.images.labels import Labels
from anomaly.segmentation.absent import failed_before, refuse_twice, strays, unfound
from anomaly.segmentation.annotations import Source

logger = logging.getLogger(__name__)
FOUND, TABLE, FACTS, COHORT = "found", "segmentations.csv", "segment.json", "cohort.csv"
NAMES = ("file", "segmentation")
"""Columns of a table that name the label map which was found."""


@dataclass(frozen=True)
class Pairs:
    """Label maps that were found beside those that were drawn.

    Args:
        table: id, subject, path (of the image), found, labels, mask (a path, or ""); paths are absolute.
        without: ids of images that have no label map drawn.
        classes: of the segmenter that found them; None where nothing tells.
        runs: folders of the runs that found them, as far as that is told.
        masks: what said where masks are, in words; "" where the whole of each image counts.
        absent: ids of images of the cohort that have no segmentation.
        count: of how many images these are.
        extra: names of files in a folder of label maps that fit no image.
    """

    table: pd.DataFrame
    without: tuple[str, ...]
    classes: Labels | None
    runs: tuple[Path, ...]
    masks: str = ""
    absent: tuple[str, ...] = ()
    count: int = 0
    extra: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Facts:
    """What `segment.json` beside a table tells: classes, runs, and by what they were given masks; None of what it
    does not."""

    classes: Labels | None = None
    runs: tuple[Path, ...] = ()
    masks: str | None = None


def paired(
    segmentations: Path | str,
    labels: str | Path,
    cohort: Source | None = None,
    *,
    mask: Given = None,
    where: Mapping[str, str] | None = None,
) -> Pairs:
    """Find both label maps of each image.

    Args:
        segmentations: `segmentations.csv`, or the folder that holds it; a table of others with `path` and
            `segmentation`; or, with a cohort, a folder of label maps that are called as its images.
        labels: those drawn: a column of the cohort (without one, of the table itself), or a folder.
        cohort: table of the images, joined on path, else on id.
        mask: see `read_cohort`, of the cohort (without one, of the table itself). Left out, masks are those that the
            segmenter was given; of what other programs found, those of a column `mask`.
        where: rows of the cohort (without one, of the table itself) to keep.

    Raises:
        CohortError: no label map was found, or drawn, or both are one file, or an image has several.
        EvaluationError: a folder without a table, and no cohort.
    """
    place = Path(segmentations)
    if place.is_dir() and (place / TABLE).is_file():
        place = place / TABLE
    given = NONE if mask is None and str(labels) == MASK else mask  # the column of label maps may be called mask
    images = None
    if cohort is not None:
        images = counting(read_cohort(cohort, mask=given, where=where, missing="keep"))
    if place.is_dir():
        if cohort is None or images is None:
            raise EvaluationError(
                f"{place} holds no {TABLE}; give a folder that `anomaly segment apply` wrote, or --cohort with the "
                "images whose label maps these are"
            )
        rows = with_labels(images, place, base_of(cohort), str(cohort)).rename(columns={LABELS: FOUND})
        rows = rows[rows[FOUND] != ""].reset_index(drop=True)
    else:
        rows = _table(place, given, where) if images is None else _known(_table(place, NONE, None), images, where)
    refuse_twice(rows, str(cohort if place.is_dir() else place))
    facts = _facts(place)
    told, masks = (
        _drawn(rows, labels, images, cohort, place),
        _masked(rows if images is None else images, given, facts, place),
    )
    rows = rows.assign(**{LABELS: told, MASK: [""] * len(rows) if masks is None else _joined(rows, masks, MASK)})
    absent, count = _absent(rows, labels, images, cohort, place, where)
    known = {path for name in (FOUND, LABELS, MASK, "path") for path in rows[name]}
    extra = strays(place, known) if place.is_dir() and not where else ()
    without = rows.loc[rows[LABELS] == "", "id"]
    rows = rows[rows[LABELS] != ""].reset_index(drop=True)
    if rows.empty:
        raise CohortError(f"none of {len(without)} segmentations has a label map by {labels}; look at ids and paths")
    if len(without):
        logger.warning("%d images have no label map by %s and are left out: %s", len(without), labels, some(without))
    same = rows.loc[rows[FOUND] == rows[LABELS], "id"]
    if len(same):
        raise CohortError(f"{len(same)} segmentations are named as their own truth ({some(same)}); name those drawn")
    told_by = "" if masks is None else str(masks.attrs["masks_from"])
    rows = rows[["id", "subject", "path", FOUND, LABELS, MASK]]
    return Pairs(rows, tuple(without), facts.classes, facts.runs, told_by, absent, count, extra)


def _absent(
    rows: pd.DataFrame,
    labels: str | Path,
    images: pd.DataFrame | None,
    cohort: Source | None,
    place: Path,
    where: Mapping[str, str] | None,
) -> tuple[tuple[str, ...], int]:
    """Ids of images without a segmentation, of how many; without a cohort those that the table itself says."""
    if cohort is not None and images is not None:
        return unfound(rows, images, labels, cohort, str(cohort))
    told = [*rows.attrs.get("bare", ())]
    if not where and (place.parent / FACTS).is_file():
        told += [each for each in failed_before(place, rows) if each not in told]
    return tuple(told), len(rows) + len(told)


def _table(place: Path, mask: Given, where: Mapping[str, str] | None) -> pd.DataFrame:
    """Rows of a table of label maps that were found, their paths absolute."""
    cohort = counting(read_cohort(place, mask=mask, where=where, missing="keep"))
    column = next((name for name in NAMES if name in cohort), None)
    if column is None:
        raise EvaluationError(
            f"{place} has no column {' or '.join(NAMES)}, which names label maps; its columns are "
            f"{some(cohort.columns, 20)}"
        )
    found = with_labels(cohort, column, place.absolute().parent, str(place))
    rows = cohort.assign(**{FOUND: _joined(cohort, found, LABELS)})  # it may have a column labels of its own
    kept = rows[rows[FOUND] != ""].reset_index(drop=True)
    kept.attrs = {**cohort.attrs, "bare": list(rows.loc[rows[FOUND] == "", "id"])}
    return kept


def _known(rows: pd.DataFrame, images: pd.DataFrame, where: Mapping[str, str] | None) -> pd.DataFrame:
    """The rows that are in the cohort, where some of this are asked for."""
    if not where:
        return rows
    kept = rows[rows["path"].isin(images["path"]) | rows["id"].isin(images["id"])].reset_index(drop=True)
    if kept.empty:
        told = ", ".join(f"{name} {value}" for name, value in where.items())
        raise CohortError(f"none of {len(rows)} segmentations is of an image with {told}; look at ids and paths")
    return kept


def _drawn(
    rows: pd.DataFrame, labels: str | Path, images: pd.DataFrame | None, cohort: Source | None, place: Path
) -> list[str]:
    """The label map drawn of each row, or ""."""
    if cohort is not None and images is not None and str(labels) in images:
        known = with_labels(images, labels, base_of(cohort), str(cohort))
        refuse_twice(known[known["path"].isin(rows["path"])], str(cohort), LABELS)
        return _joined(rows, known, LABELS)
    folders = (Path(labels), base_of(place) / labels)
    if cohort is None and str(labels) not in rows and not any(each.is_dir() for each in folders):
        raise CohortError(
            f"{place}: has no column {str(labels)!r}, and there is no folder of that name; give --cohort TABLE, "
            f"that of the images whose column {labels} names label maps, or --labels with their folder"
        )
    base = base_of(cohort) if cohort is not None else base_of(place)
    return _joined(rows, with_labels(rows, labels, base, str(place), missing="keep"), LABELS)


def _joined(rows: pd.DataFrame, table: pd.DataFrame, column: str) -> list[str]:
    """What a table says of each row in a column, by path, else by id; "" where it says nothing."""
    by_path, by_id = (dict(zip(table[name], table[column], strict=True)) for name in ("path", "id"))
    return [by_path.get(path) or by_id.get(name, "") for path, name in zip(rows["path"], rows["id"], strict=True)]


def _masked(images: pd.DataFrame, given: Given, facts: _Facts, place: Path) -> pd.DataFrame | None:
    """A table with masks, which say where images count; None where all of each does."""
    if given is None and facts.masks == "":
        if MASK in images:
            logger.info(
                "the column mask is not used, for these were segmented without masks; if it is meant, give --mask"
            )
        return None
    if MASK in images:
        return images
    beside = base_of(place) / COHORT
    if given is None and facts.masks and beside.is_file():
        table = counting(read_cohort(beside, mask=MASK, missing="keep"))
        table.attrs["masks_from"] = facts.masks
        return table
    return None


def _facts(place: Path) -> _Facts:
    """What `segment.json` beside a table tells."""
    folder = place if place.is_dir() else place.parent
    try:
        told: dict[str, Any] = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        runs = tuple((folder / each).resolve() for each in told["runs"])
        return _Facts(Labels.from_json(told["classes"]), runs, str(told.get("mask", "")))
    except (OSError, ValueError, KeyError, TypeError):
        return _Facts()
