"""Which images of whom are two visits: from a table of images with its visits, or from one of pairs."""

import logging
import os
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anomaly.cohorts.cohort import read_cohort
from anomaly.cohorts.masks import COLUMN as MASK
from anomaly.cohorts.masks import NONE, counting, with_masks
from anomaly.cohorts.results import some
from anomaly.cohorts.visits import visit_pairs
from anomaly.errors import CohortError
from anomaly.images.finding import Globs

logger = logging.getLogger(__name__)
MAP, BEFORE, BEFORE_MAP = "map", "baseline", "baseline_map"
COLUMNS = ("id", "subject", "path", BEFORE, MAP, BEFORE_MAP, "years")
IDLE = ("which", "unit", "date", "side", "contrast")
"""What a table of pairs makes nothing of."""


@dataclass(frozen=True, kw_only=True)
class Visits:
    """Where pairs of visits are found, and their maps; what `anomaly progress train` and `evaluate` are given.

    Args:
        images: a table of images (a folder names no visits), or with `visits` None a table of pairs: id, path (the
            later image), baseline (the earlier one), subject, and where known years; as `anomaly register visits`
            leaves it in `pairs.csv`.
        visits: the column of visits; None for a table of pairs.
        which: "first" pairs each later visit with the first, "next" with the one before it, "last" the last with the
            first.
        maps: where the map of each image is: a column (in a table of pairs, with one of `baseline_COLUMN` beside it), a
            folder or a pattern of files; None takes the images as maps.
        mask: masks of what counts, of each image: a column, a folder or a pattern; a pair has that of the earlier one.
            Left out, the column `mask` counts where each row has one; "none" takes none.
        subject, subject_pattern, where, match, exclude: see `read_cohort`.
        side, contrast, date, unit: see `anomaly.cohorts.visits.visit_pairs`; of a table of pairs they, and `which`, say
            nothing.
    """

    images: Path | str | pd.DataFrame
    visits: str | None = None
    which: str = "first"
    maps: str | Path | None = None
    mask: str | Path | None = None
    subject: str | None = None
    subject_pattern: str | None = None
    where: Mapping[str, str] | None = None
    match: Globs = None
    exclude: Globs = None
    side: str | None = None
    contrast: str | None = None
    date: str | None = None
    unit: str | None = None

    def found(self) -> pd.DataFrame:
        """The pairs, a row each: `COLUMNS`, `visit`, `baseline_visit` and `mask` where known, and those of the table.

        `attrs` has `subjects_from` and `masks_from`, and `left_out`: images that stand in no pair, with the reason.

        Raises:
            CohortError: the table cannot be used, or nobody has two visits.
        """
        self._refuse_idle()
        cohort = read_cohort(
            self.images, subject=self.subject, subject_pattern=self.subject_pattern, where=self.where,
            match=self.match, exclude=self.exclude, mask=_mask(self.mask, self.maps), missing="keep",
        )  # fmt: skip
        told = _told_by(cohort)
        base = Path() if isinstance(self.images, pd.DataFrame) else Path(os.path.abspath(self.images)).parent
        pairs, left = self._given(cohort, base) if self.visits is None else self._paired(cohort, base)
        pairs, left = _of_two(pairs, left)
        pairs.attrs = told
        pairs = counting(pairs)
        pairs.attrs["left_out"] = left
        return pairs

    def asked(self) -> dict[str, Any]:
        """What says which pairs and which maps these are, for `run.json`."""
        named = {name: getattr(self, name) for name in ("visits", *IDLE)}
        files = {"maps": self.maps, "mask": self.mask}
        return {**named, **{name: None if each is None else str(each) for name, each in files.items()}}

    def _refuse_idle(self) -> None:
        """Refuse what pairs visits where they are paired already."""
        idle = [name for name in IDLE if getattr(self, name) not in (None, "first")]
        if self.visits is None and idle:
            raise CohortError(
                f"{' and '.join(idle)} say which images are two visits, and a table of pairs has these; leave "
                f"{'them' if len(idle) > 1 else 'it'} out"
            )

    def _paired(self, cohort: pd.DataFrame, base: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
        cohort = cohort.assign(**{MAP: _maps(cohort, self.maps, base)})
        seen = visit_pairs(
            cohort, visit=str(self.visits), side=self.side, contrast=self.contrast, date=self.date, unit=self.unit,
            which=self.which,
        )  # fmt: skip
        for line in seen.told():
            logger.info(line)
        pairs, first = seen.pairs, cohort.iloc[seen.pairs["baseline_row"]].reset_index(drop=True)
        pairs[MAP], pairs[BEFORE_MAP] = cohort[MAP].iloc[pairs["row"]].to_numpy(), first[MAP].to_numpy()
        if MASK in cohort:
            pairs[MASK] = first[MASK].to_numpy()
        further = [name for name in cohort if name not in pairs]
        later = cohort[further].iloc[pairs["row"]].reset_index(drop=True)
        return pd.concat([pairs.drop(columns=["row", "baseline_row"]), later], axis=1), seen.left_out

    def _given(self, cohort: pd.DataFrame, base: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
        if BEFORE not in cohort:
            raise CohortError(
                f"the table of pairs has no column {BEFORE!r}; its columns are {some(cohort.columns, 20)}: give one "
                "with id, path, baseline and subject, or the column of visits of a table of images"
            )
        empty = cohort[BEFORE].isna() | (cohort[BEFORE].astype(str).str.strip() == "")
        left = cohort.loc[empty, ["id", "path", "subject"]].assign(reason="its baseline is not told")
        pairs = cohort[~empty].reset_index(drop=True)
        if pairs.empty:
            raise CohortError(f"no row of the table of pairs has a {BEFORE}; fill in the files of the earlier visits")
        pairs[BEFORE] = _files(pairs[BEFORE], base)
        column = None if self.maps is None else str(self.maps)
        if column is not None and not {column, f"{BEFORE}_{column}"} <= {*pairs}:
            raise CohortError(
                f"maps of pairs are two columns, {column!r} and '{BEFORE}_{column}'; the table has "
                f"{some(pairs.columns, 20)}"
            )
        pairs[MAP] = pairs["path"] if column is None else _files(pairs[column], base)
        pairs[BEFORE_MAP] = pairs[BEFORE] if column is None else _files(pairs[f"{BEFORE}_{column}"], base)
        years = pairs["years"] if "years" in pairs else pd.Series(np.nan, index=pairs.index)
        pairs["years"] = pd.to_numeric(years, errors="coerce")
        return pairs, left


def _of_two(pairs: pd.DataFrame, left: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The pairs without those of an image with itself, which join what is left out.

    Raises:
        CohortError: there is no other pair.
    """
    files = zip(pairs["path"], pairs[BEFORE], strict=True)
    same = np.array([os.path.realpath(later) == os.path.realpath(first) for later, first in files], dtype=bool)
    if not same.any():
        return pairs, left
    if same.all():
        raise CohortError(
            f"all {len(pairs)} pairs are of an image with itself ({some(pairs['id'])}); correct {BEFORE}, the earlier "
            "image, or path, the later one"
        )
    logger.warning("%d pairs are of an image with itself, and left out: %s", same.sum(), some(pairs["id"][same]))
    told = pairs.loc[same, ["id", "path", "subject"]].assign(reason="its baseline is the image itself")
    return pairs[~same].reset_index(drop=True), pd.concat([left, told], ignore_index=True)


def singles(
    images: Path | str | pd.DataFrame, maps: str | Path | None, mask: str | Path | None, **whose: Any
) -> pd.DataFrame:
    """Images whose next visit is not known, as rows of `Visits.found` whose later image is the same; years NaN."""
    cohort = read_cohort(images, mask=_mask(mask, maps), missing="keep", **whose)
    told = _told_by(cohort)
    base = Path() if isinstance(images, pd.DataFrame) else Path(os.path.abspath(images)).parent
    found = _maps(cohort, maps, base)
    cohort[BEFORE], cohort[MAP], cohort[BEFORE_MAP], cohort["years"] = cohort["path"], found, found, np.nan
    cohort.attrs = told
    return counting(cohort)


def _told_by(cohort: pd.DataFrame) -> dict[Hashable, Any]:
    """What says whose each image is, and what of it counts."""
    return {name: str(cohort.attrs[name]) for name in ("subjects_from", "masks_from")}


def _mask(mask: str | Path | None, maps: str | Path | None) -> str | Path | None:
    """What tells masks of what counts, where a column `mask` may hold the maps.

    Raises:
        CohortError: both want that column.
    """
    if maps is None or str(maps) != MASK:
        return mask
    if mask is not None and str(mask) != NONE:
        raise CohortError(f"maps are in the column {MASK!r}, where masks of what counts would stand; rename it")
    return NONE


def _maps(cohort: pd.DataFrame, maps: str | Path | None, base: Path) -> list[str]:
    """The file of the map of each image, "" where there is none."""
    if maps is None:
        return list(cohort["path"])
    plain = cohort.drop(columns=MASK) if MASK in cohort and str(maps) != MASK else cohort
    found = with_masks(plain, maps, base, "the images")
    by_path = dict(zip(found["path"], found[MASK], strict=True))
    return [by_path.get(path, "") for path in cohort["path"]]


def _files(column: pd.Series, base: Path) -> list[str]:
    texts = ["" if pd.isna(cell) else str(cell).strip() for cell in column]
    return [os.path.abspath(base / text) if text else "" for text in texts]
