"""Which label map that was found belongs to which that was drawn: tables, columns and folders of both."""

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from anomaly.cohorts.cohort import read_cohort
from anomaly.cohorts.labels import COLUMN as LABELS
from anomaly.cohorts.labels import base_of, with_labels
from anomaly.cohorts.results import some
from anomaly.errors import CohortError, EvaluationError
from anomaly.images.labels import Labels
from anomaly.segmentation.annotations import Source

logger = logging.getLogger(__name__)
FOUND, TABLE, FACTS = "found", "segmentations.csv", "segment.json"
NAMES = ("file", "segmentation")
"""Columns of a table that name the label map which was found."""


@dataclass(frozen=True)
class Pairs:
    """Label maps that were found beside those that were drawn.

    Args:
        table: id, subject, path (of the image), found, labels; paths are absolute.
        without: ids of images that have no label map drawn.
        classes: of the segmenter that found them; None where nothing tells.
        runs: folders of the runs that found them, as far as that is told.
    """

    table: pd.DataFrame
    without: tuple[str, ...]
    classes: Labels | None
    runs: tuple[Path, ...]


def paired(segmentations: Path | str, labels: str | Path, cohort: Source | None = None) -> Pairs:
    """Find both label maps of each image.

    Args:
        segmentations: `segmentations.csv`, or the folder that holds it; a table of others with `path` and
            `segmentation`; or, with a cohort, a folder of label maps that are called as its images.
        labels: those drawn: a column of the cohort (without one, of the table itself), or a folder.
        cohort: table of the images, joined on path, else on id.

    Raises:
        CohortError: no label map was found, or drawn, or both are one file.
        EvaluationError: a folder without a table, and no cohort.
    """
    place = Path(segmentations)
    if place.is_dir() and (place / TABLE).is_file():
        place = place / TABLE
    if place.is_dir():
        if cohort is None:
            raise EvaluationError(
                f"{place} holds no {TABLE}; give a folder that `anomaly segment apply` wrote, or --cohort with the "
                "images whose label maps these are"
            )
        rows = with_labels(read_cohort(cohort, mask="none", missing="keep"), place, base_of(cohort), str(cohort))
        rows = rows.rename(columns={LABELS: FOUND})
        rows = rows[rows[FOUND] != ""].reset_index(drop=True)
    else:
        rows = _table(place)
    told = _drawn(rows, labels, cohort, place)
    rows = rows.assign(**{LABELS: told})
    without = rows.loc[rows[LABELS] == "", "id"]
    rows = rows[rows[LABELS] != ""].reset_index(drop=True)
    if rows.empty:
        raise CohortError(f"none of {len(without)} segmentations has a label map by {labels}; look at ids and paths")
    if len(without):
        logger.warning("%d images have no label map by %s and are left out: %s", len(without), labels, some(without))
    same = rows.loc[rows[FOUND] == rows[LABELS], "id"]
    if len(same):
        raise CohortError(f"{len(same)} segmentations are named as their own truth ({some(same)}); name those drawn")
    return Pairs(rows[["id", "subject", "path", FOUND, LABELS]], tuple(without), *_facts(place))


def _table(place: Path) -> pd.DataFrame:
    """Rows of a table of label maps that were found, their paths absolute."""
    cohort = read_cohort(place, mask="none", missing="keep")
    column = next((name for name in NAMES if name in cohort), None)
    if column is None:
        raise EvaluationError(
            f"{place} has no column {' or '.join(NAMES)}, which names label maps; its columns are "
            f"{some(cohort.columns, 20)}"
        )
    rows = with_labels(cohort, column, place.absolute().parent, str(place)).rename(columns={LABELS: FOUND})
    return rows[rows[FOUND] != ""].reset_index(drop=True)


def _drawn(rows: pd.DataFrame, labels: str | Path, cohort: Source | None, place: Path) -> list[str]:
    """The label map drawn of each row, or ""."""
    if cohort is None or str(labels) not in (table := read_cohort(cohort, mask="none", missing="keep")):
        base = place if place.is_dir() else place.absolute().parent
        return list(with_labels(rows, labels, base, str(place), missing="keep")[LABELS])
    table = with_labels(table, labels, base_of(cohort), str(cohort))
    by_path, by_id = (dict(zip(table[name], table[LABELS], strict=True)) for name in ("path", "id"))
    return [by_path.get(path) or by_id.get(name, "") for path, name in zip(rows["path"], rows["id"], strict=True)]


def _facts(place: Path) -> tuple[Labels | None, tuple[Path, ...]]:
    """Classes and runs, as `segment.json` beside a table tells them."""
    folder = place if place.is_dir() else place.parent
    try:
        told: dict[str, Any] = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        return Labels.from_json(told["classes"]), tuple((folder / each).resolve() for each in told["runs"])
    except (OSError, ValueError, KeyError, TypeError):
        return None, ()
