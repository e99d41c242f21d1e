"""Which images are brought onto which, to learn from: two visits of a person, or any two images; who is held out."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from anomaly.cohorts.cohort import read_cohort, split
from anomaly.cohorts.masks import COLUMN as MASK
from anomaly.cohorts.masks import Given
from anomaly.cohorts.visits import visit_pairs
from anomaly.errors import AnomalyError, CohortError, UnreadableImage
from anomaly.images import read
from anomaly.images.finding import Globs
from anomaly.images.masking import masked

logger = logging.getLogger(__name__)
TRAIN, CHOOSE, UNTOUCHED = "train", "choose", "untouched"
"""Parts: those to learn from, those held out, and these once more as they are, without a start."""
STARTS = ("rigid", "affine", "none")
ANY, VISITS = "any two images", "visits"


@dataclass(frozen=True, kw_only=True)
class Pairing:
    """Where images are found, and which of them are brought onto which.

    Args:
        images: a folder or a table.
        visits: column of visits: later images are brought onto earlier ones of the same person; None takes any two.
        start: how images are laid on one another before a network sees them, later visits on earlier ones, or, where
            any two are taken, all on the first image: "rigid" (moved and turned), "affine" (stretched as well) or
            "none", where that has been done.
        date, side, contrast, unit, order, which: of visits, see `visit_pairs`.
        subject, subject_pattern, where, match, exclude, mask: see `read_cohort`.
    """

    images: Path | str | pd.DataFrame
    visits: str | None = None
    start: str = "affine"
    date: str | None = None
    side: str | None = None
    contrast: str | None = None
    unit: str | None = None
    order: Sequence[str] | None = None
    which: str = "first"
    subject: str | None = None
    subject_pattern: str | None = None
    where: Mapping[str, str] = field(default_factory=dict)
    match: Globs = None
    exclude: Globs = None
    mask: Given = None

    def __post_init__(self) -> None:
        if self.start not in STARTS:
            raise AnomalyError(f"start is {self.start!r}; expected one of {', '.join(STARTS)}")

    @property
    def kind(self) -> str:
        """What is paired, in words."""
        return VISITS if self.visits else ANY

    def parted(self, choose: float) -> pd.DataFrame:
        """One row an image that is read: id, path, subject, mask, `onto` (a path, or ""), `group`, and its `split`.

        `onto_mask` is the mask of the image that it is laid on, its own where it is that image itself.
        What shares a group is used together or not at all. Of visits, rows of a group are the later image and the
        earlier one. Images held out stand there twice, the second time in the part "untouched", where there is a start.

        Raises:
            CohortError: what is there cannot be used, or subjects are too few to hold one out.
        """
        if not 0 < choose < 1:
            raise AnomalyError(f"choose must be above 0 and below 1, got {choose}")
        table = read_cohort(
            self.images, subject=self.subject, subject_pattern=self.subject_pattern, where=self.where,
            match=self.match, exclude=self.exclude, mask=self.mask, missing="keep",
        )  # fmt: skip
        told = dict(table.attrs)
        rows = self._of_visits(table) if self.visits else self._of_any(table)
        rows["split"] = split(list(rows["subject"]), choose=choose, calibrate=0)
        if self.start == "none":
            rows = rows.assign(onto="")
        else:
            rows = rows.assign(start=self.start)
            again = rows[rows["split"] == CHOOSE].assign(split=UNTOUCHED, onto="", onto_mask="")
            rows = pd.concat([rows, again], ignore_index=True)
        rows.attrs |= told
        return rows

    def _of_any(self, table: pd.DataFrame) -> pd.DataFrame:
        if len(table) < 3:
            raise CohortError(f"there are {len(table)} images; expected 3 or more to pair: add others")
        first = _first_readable(table)
        onto = [first["path"] if path != first["path"] else "" for path in table["path"]]
        mask = str(first[MASK]) if MASK in table else ""
        return _kept(table).assign(onto=onto, onto_mask=mask, group=table["id"])

    def _of_visits(self, table: pd.DataFrame) -> pd.DataFrame:
        found = visit_pairs(
            table, visit=str(self.visits), date=self.date, side=self.side, contrast=self.contrast, unit=self.unit,
            order=self.order, which=self.which,
        )  # fmt: skip
        for sentence in found.told():
            logger.info(sentence)
        later, earlier = (table.iloc[found.pairs[name]].reset_index(drop=True) for name in ("row", "baseline_row"))
        group = [f"{a} onto {b}" for a, b in zip(later["id"], earlier["id"], strict=True)]
        masks = list(earlier[MASK]) if MASK in table else ""
        moving = _kept(later).assign(onto=earlier["path"], onto_mask=masks, group=group)
        fixed = _kept(earlier).assign(onto="", onto_mask=masks, group=group)
        both = pd.concat([moving, fixed]).sort_index(kind="stable")
        return both.reset_index(drop=True)


def _first_readable(table: pd.DataFrame) -> "pd.Series[Any]":
    """The first row whose image can be read, for all others are laid on it; the first of all where none can."""
    for _, row in table.iterrows():
        try:
            masked(read(Path(row["path"])), row.get(MASK))
            return row
        except UnreadableImage:
            continue
    return table.iloc[0]


def _kept(table: pd.DataFrame) -> pd.DataFrame:
    return table[["id", "path", "subject", *([MASK] if MASK in table else [])]]
