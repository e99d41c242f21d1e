"""Who is a case and who a control: two folders or tables, one table with an outcome, or a table of pairs."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from anomaly.cohorts.cohort import FILE_NAMES, read_cohort, split
from anomaly.cohorts.joining import events
from anomaly.cohorts.masks import COLUMN, Given, counting
from anomaly.cohorts.results import some
from anomaly.errors import AnomalyError, CohortError
from anomaly.images.finding import Globs

CONTROL, CASE = "control", "case"
TRAIN, CHOOSE = "train", "choose"
Source = Path | str | pd.DataFrame


@dataclass(frozen=True, kw_only=True)
class Sides:
    """Where cases and controls are found. Give `cases` and `controls`, or `cohort` with `outcome` or `pair`.

    Args:
        cases, controls: a folder or a table of images each.
        cohort: a table with both.
        outcome: its column that is 1 for cases and 0 for controls; rows where it is unknown are left out.
        positive: the value that counts as 1 where it holds words.
        pair: its column with the counterpart's file of each image (a painless twin, a full-dose scan); rows without
            one are left out.
        subject, subject_pattern, where, match, exclude, mask: see `read_cohort`; cases and controls have masks alike.
    """

    cases: Source | None = None
    controls: Source | None = None
    cohort: Source | None = None
    outcome: str | None = None
    positive: str | None = None
    pair: str | None = None
    subject: str | None = None
    subject_pattern: str | None = None
    where: Mapping[str, str] = field(default_factory=dict)
    match: Globs = None
    exclude: Globs = None
    mask: Given = None

    def __post_init__(self) -> None:
        two = self.cases is not None and self.controls is not None and self.cohort is None
        one = self.cohort is not None and self.cases is None and self.controls is None
        if not (two and self.outcome is None and self.pair is None) and not (
            one and (self.outcome is None) != (self.pair is None)
        ):
            raise AnomalyError(
                "say who is a case and who a control by cases and controls (two folders or tables), by cohort with "
                "outcome, or, for pairs, by cohort with pair"
            )

    def read(self, choose: float) -> pd.DataFrame:
        """One row an image: id, path, subject, label (0 or 1), part (`train` or `choose`), and `split`: part and side.

        Subjects are never in both parts; which part depends on their names alone. Pairs stand in one order on both
        sides and share a number in the column `pair`; both are the subject's.

        Raises:
            CohortError: what is there cannot be used, one side is empty, or too few subjects to hold some out.
        """
        if self.pair is not None:
            table = self._pairs()
        elif self.outcome is not None:
            table = self._by_outcome()
        else:
            table = self._two()
        told_by = dict(table.attrs)
        table["part"] = split(list(table["subject"]), choose=choose, calibrate=0)
        table["split"] = table["part"] + " " + table["label"].map({0: CONTROL, 1: CASE})
        for part in (TRAIN, CHOOSE):
            for side in (CONTROL, CASE):
                if f"{part} {side}" not in set(table["split"]):
                    people = table.loc[table["label"] == (side == CASE), "subject"].nunique()
                    more = "two at least, and better many" if people < 2 else "more of them, or another --choose"
                    raise CohortError(
                        f"no {side} is left in the part {part!r}: {people} of all subjects has one; give {more}"
                        if people == 1
                        else f"no {side} is left in the part {part!r}, of {people} subjects; give {more}"
                    )
        table.attrs |= told_by
        return table

    def _cohort(self, source: Source) -> pd.DataFrame:
        found = read_cohort(
            source, subject=self.subject, subject_pattern=self.subject_pattern, where=dict(self.where),
            match=self.match, exclude=self.exclude, mask=self.mask, missing="keep",
        )  # fmt: skip
        return counting(found)

    def _two(self) -> pd.DataFrame:
        assert self.cases is not None and self.controls is not None
        sides = [self._cohort(source) for source in (self.controls, self.cases)]
        told = [side.attrs["subjects_from"] for side in sides]
        if len({COLUMN in side for side in sides}) > 1:
            raise CohortError("only one side has masks; give those of both, or --mask none")
        table = pd.concat([side.assign(label=label) for label, side in enumerate(sides)], ignore_index=True)
        twice = table.loc[table["path"].duplicated(), "path"]
        if len(twice):
            raise CohortError(f"{len(twice)} images are both cases and controls ({some(twice)}); leave them out of one")
        if table["id"].duplicated().any():
            names = table["label"].map({0: CONTROL, 1: CASE}) + "_"
            table["subject"] = table["subject"].where(
                np.array([each != FILE_NAMES for each in told])[table["label"]], names + table["subject"]
            )
            table["id"] = names + table["id"]
        table.attrs["subjects_from"] = told[0] if told[0] == told[1] else f"{told[0]} and {told[1]}"
        table.attrs["masks_from"] = sides[0].attrs["masks_from"]
        return table

    def _by_outcome(self) -> pd.DataFrame:
        assert self.cohort is not None and self.outcome is not None
        table = self._cohort(self.cohort)
        told, masks_from = table.attrs["subjects_from"], table.attrs["masks_from"]
        label = events(table, self.outcome, self.positive, [])
        table = table[label.notna()].assign(label=label.dropna().astype(int)).reset_index(drop=True)
        if table["label"].nunique() < 2:
            raise CohortError(
                f"all images have the {self.outcome} {some(table['label'].unique())}; both sides are needed"
            )
        table.attrs |= {"subjects_from": told, "masks_from": masks_from}
        return table

    def _pairs(self) -> pd.DataFrame:
        assert self.cohort is not None and self.pair is not None
        table = self._cohort(self.cohort)
        told, masks_from = table.attrs["subjects_from"], table.attrs["masks_from"]
        if self.pair not in table:
            raise CohortError(f"the cohort has no column {self.pair!r}; its columns are {some(table.columns, 20)}")
        base = Path() if isinstance(self.cohort, pd.DataFrame) else Path(self.cohort).parent
        table = table[table[self.pair].notna() & (table[self.pair].astype(str) != "")].reset_index(drop=True)
        if table.empty:
            raise CohortError(f"no row has a counterpart in the column {self.pair!r}; fill in their files")
        table["pair"] = np.arange(len(table))
        others = [str((base / str(each)).resolve()) for each in table[self.pair]]
        counterparts = table.assign(id=table["id"] + "_counterpart", path=others, label=0)
        both = pd.concat([counterparts, table.assign(label=1)], ignore_index=True)
        both.attrs |= {"subjects_from": told, "masks_from": masks_from}
        return both


def told_apart(table: pd.DataFrame) -> str:
    """Sum up in one SHA-256 who is a case, whose an image is, and who is held out."""
    names = table[["id", "subject", "label", "part"]].to_numpy()
    rows = sorted("\t".join(map(str, row)) for row in names)
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()
