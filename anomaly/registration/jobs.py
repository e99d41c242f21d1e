"""Which image is laid on which: pairs of visits, of sides, of a cohort and its template, or just two files."""

import logging
from collections.abc import Mapping, Sequence
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
ALONE = "its other side is not there at its visit"
LEFT, RIGHT = ("left", "l", "links", "li", "os"), ("right", "r", "rechts", "re", "od")


def cohort_with(
    images: Any, maps: Given, labels: Given, persons: Mapping[str, Any]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The images of a cohort, each with its mask, map and labels in columns of these names, and those left out.

    Where there are masks, an image without one is left out; of maps and labels it has "" where it has none.

    Args:
        images: a folder or a table.
        maps, labels: a folder, a pattern of files, or a column.
        persons: the other arguments of `read_cohort`.

    Returns:
        The table; and id, path, subject, reason.
    """
    listed = read_cohort(images, missing="keep", **persons)
    table = counting(listed)
    base = Path(images).resolve().parent if isinstance(images, str | Path) else Path()
    for name, given in (("map", maps), ("labels", labels)):
        if given is None:
            table = table.drop(columns=name, errors="ignore")  # a column of that name that nobody asked for
            continue
        source = listed if str(given) in listed else table.drop(columns=COLUMN, errors="ignore")
        beside = with_masks(source, given, base, "the table")
        if not beside.attrs["masks_from"] or str(given) == NONE:
            raise CohortError(f"{given} names no {name}; give a folder, a pattern or a column")
        told = dict(zip(beside["id"], beside[COLUMN], strict=True))
        table = table[table["id"].isin(told)].reset_index(drop=True)
        table[name] = [told[one] for one in table["id"]]
    bare = (table[COLUMN] == "") if COLUMN in table else pd.Series(data=False, index=table.index)
    left_out = table.loc[bare, ["id", "path", "subject"]].assign(reason="it has no mask")
    return table[~bare].reset_index(drop=True), left_out.reset_index(drop=True)


def jobs_of_visits(table: pd.DataFrame, visits: str, timing: Mapping[str, Any]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Each follow-up beside its baseline, and the images that stand in no pair, with the reason.

    See `anomaly.cohorts.visits.visit_pairs` for `timing`.
    """
    found = visit_pairs(table, visit=visits, **timing)
    for sentence in found.told():
        logger.info(sentence)
    about = found.pairs.drop(columns=["path", "row", "baseline_row"])
    moving, fixed = (table.iloc[found.pairs[name]].reset_index(drop=True) for name in ("row", "baseline_row"))
    return _jobs(about, moving, fixed), found.left_out


def jobs_of_sides(
    table: pd.DataFrame, side: str | None, visits: str | None, to: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The other side of each person and visit beside the side that it is laid on, and who has none, with the reason.

    Raises:
        CohortError: no such column, or no pair.
    """
    name = side or next((each for each in SIDES if each in table), None)
    visit = visits or ("visit" if "visit" in table else None)
    for column in (name or "side", visit):
        if column is not None and column not in table:
            raise CohortError(f"the table has no column {column}; its columns are {some(table.columns, 20)}")
    keys = ["subject", *([visit] if visit else [])]
    words = table[name].astype(str).str.strip().str.lower()
    sides = ["left" if word in LEFT else "right" if word in RIGHT else "" for word in words]
    known = table.assign(_side=sides, _why=_unpaired(table, sides, str(name), keys))
    good = known[known["_why"] == ""]
    fixed, moving = (good[(good["_side"] == to) == same] for same in (True, False))
    both = moving.merge(fixed, on=keys, suffixes=("", "_other"))[["id", "id_other"]]
    paired = known["id"].isin({*both["id"], *both["id_other"]})
    known["_why"] = known["_why"].mask(~paired & (known["_why"] == ""), ALONE)
    left_out = known.loc[~paired, ["id", "path", "subject", "_why"]].rename(columns={"_why": "reason"})
    if both.empty:
        raise CohortError(f"nobody has both sides at one visit: {'; '.join(_counted(left_out)) or 'no images'}")
    for sentence in _counted(left_out):
        logger.info("left out: %s", sentence)
    by_id = table.set_index("id", drop=False)
    left, right = (by_id.loc[list(both[column])].reset_index(drop=True) for column in ("id", "id_other"))
    about = left[["id", *keys]].assign(side=left[name], baseline=right["path"], baseline_id=right["id"])
    return _jobs(about, left, right).assign(mirror=True), left_out.reset_index(drop=True)


def _unpaired(table: pd.DataFrame, sides: Sequence[str], name: str, keys: Sequence[str]) -> list[str]:
    """Why an image can stand in no pair of sides, whatever else is there; "" where it may."""
    why = [""] * len(table)
    cells: list[Any] = table[[name, *keys]].to_dict("records")
    for place, (row, side) in enumerate(zip(cells, sides, strict=True)):
        empty = [key for key in row if pd.isna(row[key]) or not str(row[key]).strip()]
        if empty:
            why[place] = f"its {empty[0]} is not told"
        elif not side:
            why[place] = f"its {name} is neither left nor right ({row[name]})"
    seen = table.assign(_side=sides)[[each == "" for each in why]]
    for _, rows in seen.groupby([*keys, "_side"], sort=False):
        if len(rows) > 1:
            for place in table.index.get_indexer(rows.index).tolist():
                why[place] = f"{len(rows)} images are of the {sides[place]} side at one visit; keep one of each"
    return why


def _counted(left_out: pd.DataFrame) -> list[str]:
    """How many images are left out for each reason, and which."""
    return [f"{len(rows)} images ({some(rows['id'])}): {why}" for why, rows in left_out.groupby("reason", sort=False)]


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
