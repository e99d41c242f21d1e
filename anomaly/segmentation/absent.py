"""Images that an evaluation does not reach, by name: no segmentation, files of no image, two rows for one image."""

import csv
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from anomaly.cohorts.labels import COLUMN as LABELS
from anomaly.cohorts.labels import base_of, with_labels
from anomaly.cohorts.results import number, some
from anomaly.errors import CohortError
from anomaly.images import find
from anomaly.images.names import located, spelled
from anomaly.segmentation.annotations import Source

ERRORS = "errors.csv"


def refuse_twice(table: pd.DataFrame, name: str, column: str = "") -> None:
    """Say plainly when a table has several rows for one image: no one of them may win in silence.

    Args:
        table: path, and the column.
        name: of the table.
        column: rows that are alike in it are one; "" where all rows of an image are several.

    Raises:
        CohortError: so.
    """
    rows = table.drop_duplicates(["path", column]) if column else table
    twice = list(dict.fromkeys(rows.loc[rows["path"].duplicated(), "path"]))
    if twice:
        raise CohortError(
            f"{name}: {number(len(twice), 'image')} ({some(Path(each).name for each in twice)}) of several rows"
            f"{' with different ' + column if column else ''}; leave one row for each image, or keep some by --where, "
            "such as those of one rater"
        )


def unfound(
    rows: pd.DataFrame, images: pd.DataFrame, labels: str | Path, cohort: Source, name: str
) -> tuple[tuple[str, ...], int]:
    """Ids of images of the cohort with a label map drawn that have no segmentation, and of how many these are."""
    try:
        every = with_labels(images, labels, base_of(cohort), name, missing="keep")
    except CohortError:  # no file of the folder fits an image, which is refused where label maps are asked for
        return (), len(rows)
    every = every[(every[LABELS] != "") | every["path"].isin(rows["path"])]
    lacking = every[~every["path"].isin(rows["path"]) & ~every["id"].isin(rows["id"])]
    return tuple(lacking["id"]), len(every)


def failed_before(place: Path, rows: pd.DataFrame) -> tuple[str, ...]:
    """Ids of images that `errors.csv` beside a table says could not be segmented."""
    try:
        with (place.parent / ERRORS).open(newline="", encoding="utf-8") as stream:
            told = [(row["id"], row["path"]) for row in csv.DictReader(stream)]
    except (OSError, KeyError, ValueError):
        return ()
    return tuple(name for name, path in told if name not in {*rows["id"]} and path not in {*rows["path"]})


def strays(folder: Path, used: set[str]) -> tuple[str, ...]:
    """Names of files in a folder of label maps that are of no image.

    Args:
        folder: of them.
        used: absolute paths of those that are, and of whatever else may lie there.
    """
    files = [(spelled(str(located(each))), each) for each in find(folder.resolve(), all_of_it=True)]
    known = {str(Path(each).resolve()) for each in used if each}
    return tuple(each.name for path, each in files if path not in used and str(each.resolve()) not in known)


def told_absent(absent: Sequence[str], count: int, extra: Sequence[str]) -> list[str]:
    """The same in sentences.

    Args:
        absent: ids of images without a segmentation.
        count: of how many images these are.
        extra: names of files that are of no image.
    """
    said = []
    if absent:
        have = "has" if len(absent) == 1 else "have"
        said.append(
            f"{len(absent)} of {count} images of the cohort {have} no segmentation, so these figures are without: "
            f"{some(absent, 10)}."
        )
    if extra:
        said.append(f"{number(len(extra), 'file')} of the segmentations fit no image and say nothing: {some(extra)}.")
    return said
