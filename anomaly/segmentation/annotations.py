"""Images with label maps, and images without: who is where, who is held out, and what is told of both."""

import hashlib
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from anomaly.cohorts.cohort import FILE_NAMES, NO_SUBJECTS, read_cohort
from anomaly.cohorts.labels import COLUMN as LABELS
from anomaly.cohorts.labels import base_of, maps_among, with_labels
from anomaly.cohorts.masks import COLUMN as MASK
from anomaly.cohorts.masks import NONE, Given, counting, told_in_short
from anomaly.cohorts.results import some
from anomaly.errors import CohortError
from anomaly.files import sha256_of
from anomaly.images.finding import Globs

logger = logging.getLogger(__name__)
Source = Path | str | pd.DataFrame
SIDE, LABELLED, UNLABELLED = "side", "labelled", "unlabelled"


@dataclass(frozen=True, kw_only=True)
class Annotations:
    """Where images with label maps, and images without, are found.

    Args:
        labelled: a folder or a table of images that have label maps.
        labels: of these: a column of the table, or a folder of label maps that are called as their images.
        classes: which numbers are which class, as "effusion=6,bone=1" or "tumour=1+4"; None takes each number for a
            class of its own.
        unlabelled: a folder or a table of images without, for methods that learn from such as well.
        labelled_where, unlabelled_where: rows of the one and of the other table to keep, beside those of `where`.
        subject, subject_pattern, where, match, exclude, mask: see `read_cohort`; both sides have masks, or neither.
    """

    labelled: Source
    labels: str | Path
    classes: str | None = None
    unlabelled: Source | None = None
    labelled_where: Mapping[str, str] = field(default_factory=dict)
    unlabelled_where: Mapping[str, str] = field(default_factory=dict)
    subject: str | None = None
    subject_pattern: str | None = None
    where: Mapping[str, str] = field(default_factory=dict)
    match: Globs = None
    exclude: Globs = None
    mask: Given = None

    def read(self) -> pd.DataFrame:
        """One row an image: id, path, subject, side ("labelled" or "unlabelled"), labels (a path, or ""), mask.

        Images of `labelled` that have no label map are left out, and named.

        Raises:
            CohortError: what is there cannot be used, or only one side has masks.
        """
        sides = [self._labelled()]
        if self.unlabelled is not None:
            sides.append(self._unlabelled(sides[0]))
        if len({MASK in each for each in sides}) > 1:
            raise CohortError("only one of --labelled and --unlabelled has masks; give those of both, or --mask none")
        table = pd.concat(sides, ignore_index=True)
        if table["id"].duplicated().any():
            table["id"] = table[SIDE] + "_" + table["id"]
        told = list(dict.fromkeys(each.attrs["subjects_from"] for each in sides))
        table.attrs = {"subjects_from": " and ".join(told), "masks_from": sides[0].attrs["masks_from"]}
        return table

    def _labelled(self) -> pd.DataFrame:
        every = self._one(self.labelled, self.labelled_where)
        found = counting(with_labels(every, self.labels, base_of(self.labelled), _named(self.labelled)))
        told, bare = dict(found.attrs), list(found.loc[found[LABELS] == "", "id"])
        if bare:
            logger.warning(
                "%d of %d labelled images have no label map and are left out: %s", len(bare), len(found), some(bare)
            )
        found = found[found[LABELS] != ""].assign(**{SIDE: LABELLED}).reset_index(drop=True)
        found.attrs = told
        return found

    def _unlabelled(self, labelled: pd.DataFrame) -> pd.DataFrame:
        assert self.unlabelled is not None
        found = counting(self._one(self.unlabelled, self.unlabelled_where))
        told, maps = found.attrs, {*labelled[LABELS]}
        folder = next(
            (each for each in (Path(self.labels), base_of(self.labelled) / self.labels) if each.is_dir()), None
        )
        if folder is not None:
            maps |= maps_among(found["path"], folder.resolve())
        found = found[~found["path"].isin(maps)]
        twice = found["path"].isin(labelled["path"])
        if twice.any():
            logger.info(
                "%d images are there with and without label maps; they are taken for labelled ones alone", twice.sum()
            )
        found = found[~twice].assign(**{LABELS: "", SIDE: UNLABELLED}).reset_index(drop=True)
        if found.empty:
            raise CohortError(
                "all images of --unlabelled are label maps, or labelled images; give images without label maps"
            )
        found.attrs = told
        return found

    def _one(self, source: Source, where: Mapping[str, str]) -> pd.DataFrame:
        # The column of label maps may be called mask: then it does not say what of an image counts.
        mask = NONE if self.mask is None and str(self.labels) == MASK else self.mask
        return read_cohort(
            source, subject=self.subject, subject_pattern=self.subject_pattern, where={**self.where, **where},
            match=self.match, exclude=self.exclude, mask=mask, missing="keep",
        )  # fmt: skip


def tell(table: pd.DataFrame) -> None:
    """Say who is on both sides, where masks are from, and where nothing tells whose an image is."""
    sides = table.groupby("subject")[SIDE].nunique()
    both = list(sides.index[sides > 1])
    if both:
        logger.info(
            "%d of %d subjects have images with and images without label maps (%s)", len(both), len(sides), some(both)
        )
    if FILE_NAMES in table.attrs["subjects_from"]:
        logger.warning("%sparts of one person land on both sides of the split", NO_SUBJECTS)
    if MASK in table:
        logger.info(told_in_short(table))


def told_apart(table: pd.DataFrame) -> str:
    """Sum up in one SHA-256 which image has which label map, with what in it, whose it is, and who is held out."""
    told = ["\t".join([*row[:-1], Path(row[-1]).name, _content(row[-1])]) for row in _rows(table)]
    return hashlib.sha256("\n".join(sorted(told)).encode()).hexdigest()


def _rows(table: pd.DataFrame) -> Iterable[list[str]]:
    for row in table.to_dict("records"):
        yield [*(str(row[name]) for name in ("id", "subject", SIDE, "split")), str(row[LABELS])]


def _content(path: str) -> str:
    """SHA-256 of a label map, or of all files of a series; a map drawn anew often has the size of the old one."""
    place = Path(path)
    files = sorted(place.iterdir()) if path and place.is_dir() else [place]
    return " ".join(sha256_of(file) for file in files if file.is_file()) if path else ""


def _named(source: Source) -> str:
    return "the table" if isinstance(source, pd.DataFrame) else str(source)
