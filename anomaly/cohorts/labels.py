"""Which label map belongs to an image: by a column of the table, or by the names in a folder of label maps."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd

from anomaly.cohorts import truth_files
from anomaly.cohorts.results import some
from anomaly.errors import CohortError, EvaluationError
from anomaly.images.names import located, spelled

COLUMN = "labels"
logger = logging.getLogger(__name__)


def with_labels(
    table: pd.DataFrame, given: str | Path, base: Path, name: str, *, missing: str = "error"
) -> pd.DataFrame:
    """A cohort with a column `labels`: the absolute path of each label map, or "" where an image has none.

    Args:
        table: id, path (absolute), subject and whatever else, as `read_cohort` gives it; label maps that lie among the
            images are no images, and are left out.
        given: a column of the table, whose paths begin from `base`, or a folder of label maps, which are found as the
            truths of `anomaly.cohorts.truth_files` are.
        base: the folder that paths of the table begin from.
        name: of the table, for messages.
        missing: "error" refuses a table whose images have no label map at all; "keep" does not.

    Raises:
        CohortError: no such column or folder, or no image has a label map.
    """
    told = dict(table.attrs)
    if str(given) in table:
        cells = ["" if pd.isna(cell) else str(cell).strip() for cell in table[str(given)]]
        found = [spelled(str(located(Path(os.path.abspath(base / cell))))) if cell else "" for cell in cells]
    else:
        folder = next((each for each in (Path(given), base / given) if each.is_dir()), None)
        if folder is None:
            raise CohortError(
                f"{name}: has no column {str(given)!r}, and there is no folder of that name; its columns are "
                f"{some(table.columns, 20)}"
            )
        table, found = _by_folder(table, folder.resolve())
    table = table.assign(**{COLUMN: found})
    among = {path for path in found if path} & {*table["path"]}
    table = table[~table["path"].isin(among)].reset_index(drop=True)
    table.attrs = told
    if missing == "error" and not any(found):
        raise CohortError(f"{name}: no image has a label map by {given}; fill in their files")
    return table


def maps_among(paths: Iterable[str], folder: Path) -> set[str]:
    """Which of the images of a table are label maps, since they lie where these are.

    In a folder of label maps among the images all files are such. Where every image lies in that folder, a file is one
    that is called as another image of the table, with the words of a label map behind (`p1_seg.nii.gz`).

    Args:
        paths: of all images.
        folder: of label maps.
    """
    every = {path: Path(path).resolve() for path in paths}
    inside = {path for path, file in every.items() if file.is_relative_to(folder)}
    if len(inside) < len(every):
        return inside
    known = {truth_files.stem(file) for file in every.values()}
    return {path for path, file in every.items() if {*_shorter(truth_files.stem(file))} & known}


def _shorter(name: str) -> Iterator[str]:
    """A name without one of the words of label maps behind it, without two, and so on."""
    while (short := truth_files.WORD.sub("", name)) != name:
        yield (name := short)


def base_of(source: Path | str | pd.DataFrame) -> Path:
    """The folder that paths of a table begin from; of a folder of images itself."""
    if isinstance(source, pd.DataFrame):
        return Path()
    path = Path(os.path.abspath(source))
    return path if path.is_dir() else path.parent


def _by_folder(table: pd.DataFrame, folder: Path) -> tuple[pd.DataFrame, list[str]]:
    told, maps = dict(table.attrs), maps_among(table["path"], folder)
    table = table[~table["path"].isin(maps)].reset_index(drop=True)
    table.attrs = told
    try:
        found, notes = truth_files.beside(folder, table)
    except EvaluationError as error:
        raise CohortError(str(error).replace("is the truth of", "is the label map of")) from None
    for note in notes:
        logger.warning(note)
    return table, ["" if path is None else spelled(str(located(path))) for path in found]
