"""Which image is laid on which: pairs of visits, of sides, of a cohort and its template, or just two files."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from anomaly.cohorts.cohort import read_cohort
from anomaly.cohorts.masks import COLUMN, NONE, Given, counting, with_masks
from anomaly.cohorts.results import some
from anomaly.cohorts.visits import SIDES, visit_pairs
from anomaly.errors import CohortError

logger = logging.getLogger(__name__)
TAKEN = ("mask", "map", "labels")
"""What lies beside an image: what of it counts, a map of it, its labels."""
LEFT, RIGHT = ("left", "l", "links", "li", "os"), ("right", "r", "rechts", "re", "od")


def cohort_with(images: Any, maps: Given, labels: Given, persons: Mapping[str, Any]) -> pd.DataFrame:
    """The images of a cohort, each with its mask, map and labels in columns of these names, "" where it has none.

    Args:
        images: a folder or a table.
        maps, labels: a folder, a pattern of files, or a column.
        persons: the other arguments of `read_cohort`.
    """
    table = counting(read_cohort(images, missing="keep", **persons))
    base = Path(images).resolve().parent if isinstance(images, str | Path) else Path()
    for name, given in (("map", maps), ("labels", labels)):
        if given is None:
            continue
        beside = with_masks(table.drop(columns=COLUMN, errors="ignore"), given, base, "the table")
        if not beside.attrs["masks_from"] or str(given) == NONE:
            raise CohortError(f"{given} names no {name}; give a folder, a pattern or a column")
        told = dict(zip(beside["id"], beside[COLUMN], strict=True))
        table = table[table["id"].isin(told)].reset_index(drop=True)
        table[name] = [told[one] for one in table["id"]]
    return table


def jobs_of_visits(table: pd.DataFrame, visits: str, timing: Mapping[str, Any]) -> pd.DataFrame:
    """Each follow-up beside its baseline; see `anomaly.cohorts.visits.visit_pairs` for `timing`."""
    found = visit_pairs(table, visit=visits, **timing)
    for sentence in found.told():
        logger.info(sentence)
    about = found.pairs.drop(columns=["path", "row", "baseline_row"])
    moving, fixed = (table.iloc[found.pairs[name]].reset_index(drop=True) for name in ("row", "baseline_row"))
    return _jobs(about, moving, fixed)


def jobs_of_sides(table: pd.DataFrame, side: str | None, visits: str | None, to: str) -> pd.DataFrame:
    """The other side of each person and visit beside the side that it is laid on.

    Raises:
        CohortError: no such column, other words than left and right, two images of one side, or no pair.
    """
    name = side or next((each for each in SIDES if each in table), None)
    visit = visits or ("visit" if "visit" in table else None)
    for column in (name, visit):
        if column is None or column not in table:
            if column is None and column is visit and name is not None:
                continue
            raise CohortError(f"the table has no column {column or 'side'}; its columns are {some(table.columns, 20)}")
    words = table[name].astype(str).str.strip().str.lower()
    known = table.assign(_side=["left" if w in LEFT else "right" if w in RIGHT else "" for w in words])
    strange = table.loc[known["_side"] == "", name]
    if len(strange):
        raise CohortError(f"{len(strange)} cells of {name} are neither left nor right ({some(strange.unique())})")
    keys = ["subject", *([visit] if visit else [])]
    fixed, moving = (known[(known["_side"] == to) == same] for same in (True, False))
    twice = known.loc[known.duplicated([*keys, "_side"], keep=False), "id"]
    if len(twice):
        raise CohortError(f"{len(twice)} images are of one side at one visit ({some(twice)}); keep one of each")
    both = moving.merge(fixed, on=keys, suffixes=("", "_other"))[["id", "id_other"]]
    if both.empty:
        raise CohortError(f"nobody has both sides at one visit: {len(moving)} and {len(fixed)} images of either side")
    alone = known.loc[~known["id"].isin({*both["id"], *both["id_other"]}), "id"]
    if len(alone):
        logger.info("%d images have no other side at their visit (%s)", len(alone), some(alone))
    by_id = known.drop(columns="_side").set_index("id", drop=False)
    left, right = (by_id.loc[list(both[column])].reset_index(drop=True) for column in ("id", "id_other"))
    about = left[["id", *keys]].assign(side=left[name], baseline=right["path"], baseline_id=right["id"])
    return _jobs(about, left, right).assign(mirror=True)


def jobs_of_template(table: pd.DataFrame, template: Path) -> pd.DataFrame:
    """Every image of a cohort beside one template."""
    fixed = pd.DataFrame({"path": [str(template)] * len(table)})
    about = table[["id", "subject"]].assign(baseline=str(template))
    return _jobs(about, table.reset_index(drop=True), fixed)


def _jobs(about: pd.DataFrame, moving: pd.DataFrame, fixed: pd.DataFrame) -> pd.DataFrame:
    found = about.reset_index(drop=True).assign(moving=list(moving["path"]), fixed=list(fixed["path"]), mirror=False)
    for name in TAKEN:
        for whose, side in (("moving", moving), ("fixed", fixed)):
            if name in side:
                found[f"{whose}_{name}"] = list(side[name])
    return found
