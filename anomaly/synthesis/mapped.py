"""Images and their label maps: who has one, which numbers are classes, who is held out."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from anomaly.cohorts.cohort import FILE_NAMES, NO_SUBJECTS, read_cohort, split
from anomaly.cohorts.labels import COLUMN, base_of, with_labels
from anomaly.cohorts.masks import COLUMN as MASK
from anomaly.cohorts.masks import Given, counting, told_in_short
from anomaly.cohorts.results import some
from anomaly.errors import CohortError, UnreadableImage
from anomaly.images import read
from anomaly.images.finding import Globs
from anomaly.images.labels import Labels, held_by
from anomaly.progress import progress

logger = logging.getLogger(__name__)
TRAIN, CHOOSE = "train", "choose"


@dataclass(frozen=True, kw_only=True)
class Mapped:
    """Where images and their label maps are found.

    Args:
        images: a folder or a table of images.
        labels: their label maps: a column of the table, or a folder in which they are found by name.
        subject, subject_pattern, where, match, exclude, mask: see `read_cohort`.
    """

    images: Path | str | pd.DataFrame
    labels: str | Path
    subject: str | None = None
    subject_pattern: str | None = None
    where: Mapping[str, str] = field(default_factory=dict)
    match: Globs = None
    exclude: Globs = None
    mask: Given = None

    def read(self) -> pd.DataFrame:
        """One row an image that has a label map: id, path, subject, labels, perhaps mask.

        Raises:
            CohortError: what is there cannot be used, or no image has a label map.
        """
        found = counting(
            read_cohort(
                self.images, subject=self.subject, subject_pattern=self.subject_pattern, where=self.where,
                match=self.match, exclude=self.exclude, mask=self.mask, missing="keep",
            )
        )  # fmt: skip
        told = dict(found.attrs)
        name = "the table" if isinstance(self.images, pd.DataFrame) else str(self.images)
        found = with_labels(found, self.labels, base_of(self.images), name)
        without = found[COLUMN] == ""
        if without.any():
            logger.warning(
                "%d of %d images have no label map and are left out (%s)", without.sum(), len(found),
                some(found.loc[without, "id"]),
            )  # fmt: skip
        found = found[~without].reset_index(drop=True)
        found.attrs = told
        return found

    def parted(self, choose: float) -> pd.DataFrame:
        """The same with the column `split`, "train" or "choose", which depends on the subjects' names alone.

        Raises:
            CohortError: too few subjects.
        """
        table = self.read()
        told = dict(table.attrs)
        table["split"] = split(list(table["subject"]), choose=choose, calibrate=0)
        table.attrs = told
        return table


def tell(table: pd.DataFrame) -> None:
    """Say where nothing tells whose an image is, and where masks are from."""
    if FILE_NAMES in table.attrs["subjects_from"]:
        logger.warning("%sparts of one person land on both sides of the split", NO_SUBJECTS)
    if MASK in table:
        logger.info(told_in_short(table))


def numbers_held(files: list[str]) -> list[int]:
    """Every number that label maps hold, those that cannot be read left aside.

    Raises:
        CohortError: none can be read.
    """
    held, error = set[int](), None
    with progress("reading label maps", len(files), unit="maps") as bar:
        for file in files:
            bar.advance()
            try:
                held |= set(held_by([np.rint(read(Path(file)).pixels[0])]))
            except UnreadableImage as told:
                error = error or told
    if not held:
        raise CohortError(f"none of the {len(files)} label maps can be read; the first: {error}")
    return sorted(number for number in held if number >= 0)


def classes_of(files: list[str], asked: str | None) -> tuple[Labels, list[int]]:
    """Which numbers are classes, and which others of the files count as background.

    Args:
        files: of label maps.
        asked: as `Labels.asked` takes it; None makes each number its own class.
    """
    return classes_among(set(numbers_held(files)), asked)


def classes_among(held: set[int], asked: str | None) -> tuple[Labels, list[int]]:
    """The same of the numbers that label maps hold.

    Raises:
        CohortError: no map holds a class that is asked for.
    """
    labels = Labels.found(held) if asked is None else Labels.asked(asked)
    named = {number for numbers in labels.numbers for number in numbers}
    for name, numbers in zip(labels.names, labels.numbers, strict=True):
        if not set(numbers) & held:
            raise CohortError(
                f"no label map holds the class {name} ({', '.join(map(str, numbers))}); they hold "
                f"{', '.join(map(str, sorted(held)))}"
            )
    return labels, sorted(held - named - {0})
