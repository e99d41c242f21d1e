"""Two visits of one person as files: read, held against one another, and written as maps, pictures and tables."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anomaly.changes.lesions import GROWN, KINDS, lesion_changes, lesion_counts
from anomaly.changes.maps import ChangeMap, change_map, joined
from anomaly.changes.matching import matched
from anomaly.changes.regions import THRESHOLD, changed_regions
from anomaly.cohorts.joining import simulated
from anomaly.errors import AnomalyError, UnreadableImage
from anomaly.files import write_whole
from anomaly.images import Image, read, write_volume
from anomaly.images.image import same_grid
from anomaly.images.masking import masked
from anomaly.pictures.changes import save_change
from anomaly.progression import irregular
from anomaly.progression.given import Given, both
from anomaly.progression.pairing import BEFORE, BEFORE_MAP, MAP
from anomaly.progression.volumes import told

logger = logging.getLogger(__name__)
IRREGULARITY = "irregularity"
AT = {IRREGULARITY: irregular.AT, "": 0.5}
"""Where maps are cut into lesions."""
YEARLY = "change_per_year"
QUIET = 5e-3
"""Noise as a share of what differs below which it is no noise: most voxels are then the same in both visits."""
REGIONS = ("increase", "decrease")
COLUMNS = ("unit", "correlation", "least", *(f"{each}{of}" for of in ("", "s", "_per_year") for each in REGIONS))
COUNTED = ("volume_before", "volume_after", "change", YEARLY, *KINDS, *(f"{kind}_change" for kind in KINDS))


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is asked of each pair of visits.

    Args:
        maps: "irregularity", "given" (each row names its maps) or "".
        at: where maps are cut into lesions.
        threshold: of the change in units of noise, beyond which it is told.
        smallest: volume of lesions and of regions below which they are left out.
        grown, least: see `lesion_changes`.
        smooth, match: see `change_map`.
        join: contrasts that make one map, the leading one first; a minus before one in which worse is darker.
    """

    maps: str = ""
    at: float | None = None
    threshold: float = THRESHOLD
    smallest: float = 0.0
    grown: float = GROWN
    least: float = 0.0
    smooth: float = 1.2
    match: str = "quantiles"
    join: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("at", "threshold", "smallest", "grown", "least", "smooth"):
            value = getattr(self, name)
            if value is not None and not np.isfinite(value):
                raise AnomalyError(f"{name} is {value}; expected a number")

    @property
    def cut(self) -> float:
        """Where maps are cut."""
        return AT.get(self.maps, AT[""]) if self.at is None else self.at


def compared(rows: Sequence[Mapping[str, Any]], asked: Asked, out: Path) -> dict[str, Any]:
    """Compare two visits, one row a contrast, and write all that is made of it; gives the row of the table.

    Raises:
        UnreadableImage: a file cannot be used, or the visits do not lie on one grid.
    """
    first, second = _visits(rows[0], None)
    found = [_change(first, second, asked)]
    found += [_change(*_visits(other, first), asked) for other in rows[1:]]
    lead, years, voxel, unit = found[0], _years(rows[0]), first.voxel, first.unit
    signs = [-1 if name.startswith("-") else 1 for name in asked.join] or [1]
    z = joined([each.z for each in found], signs, lead.inside)
    table, line = _regions(z, voxel, years, asked)
    least = asked.threshold * lead.least if len(found) == 1 else np.nan  # the joined map is in no one's intensities
    line = {"unit": unit, "correlation": lead.correlation, "least": least, **line}
    maps = {"change": z}
    if asked.maps:
        table, counted, made = _lesions(rows[0], (first, second), lead.inside, voxel, asked)
        table.insert(list(table).index("change") + 1, YEARLY, table["change"] / years)
        line = {**line, **counted, YEARLY: counted["change"] / years}
        maps |= made
    shown = np.where(lead.inside, lead.matched, _grey(first).min())
    title = f"SIMULATED: {rows[0]['id']}" if simulated(pd.DataFrame([rows[0]])) else str(rows[0]["id"])
    return {**line, "file": ";".join(_written(out, str(rows[0]["id"]), first, shown, maps, table, line, title))}


def _years(row: Mapping[str, Any]) -> float:
    """Between the visits; NaN where they are not known, or not above 0."""
    years = float(pd.to_numeric(row.get("years", np.nan), errors="coerce"))
    return years if years > 0 else np.nan


def _written(
    out: Path,
    stem: str,
    first: Image,
    shown: np.ndarray,
    maps: Mapping[str, np.ndarray],
    table: pd.DataFrame,
    line: Mapping[str, Any],
    title: str,
) -> list[str]:
    """Write maps, picture and lesions of a pair; gives the names of the files."""
    for name, each in maps.items():
        says = "anomaly: change between visits, units of noise" if name == "change" else "anomaly: irregularity"
        write_volume(out / f"{stem}_{name}.nii.gz", each, first.frame, says=says)
    brighter, darker = (told(line[name], line["unit"]) for name in REGIONS)
    footer = f"brighter {brighter}, darker {darker}"
    affine = first.affine if first.placed else None
    save_change(out / f"{stem}.png", _grey(first), shown, maps["change"], title=title, footer=footer, affine=affine)
    write_whole(out / f"{stem}_lesions.csv", table.to_csv(index=False))
    return [*(f"{stem}_{name}.nii.gz" for name in maps), f"{stem}.png", f"{stem}_lesions.csv"]


def _regions(z: np.ndarray, voxel: float, years: float, asked: Asked) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Regions that changed, and their volumes and numbers by kind."""
    table = changed_regions(z, threshold=asked.threshold, smallest=asked.smallest, voxel=voxel)
    line: dict[str, Any] = {}
    for kind in REGIONS:
        of_kind = table[table["kind"] == kind]
        volume = float(of_kind["volume"].sum())
        line |= {kind: volume, f"{kind}s": len(of_kind), f"{kind}_per_year": volume / years}
    return table, line


def _visits(row: Mapping[str, Any], lead: Image | None) -> tuple[Image, Image]:
    """The earlier image with its mask (that of the leading contrast where there is one), and the later."""
    first, second = read(Path(row[BEFORE])), read(Path(row["path"]))
    first = masked(first, row.get("mask")) if lead is None else first
    _refuse_other_grid(first, second)
    if lead is not None:
        _refuse_other_grid(lead, first)
        first = replace(first, mask=lead.mask)
    return first, second


def _refuse_other_grid(image: Image, other: Image) -> None:
    if not same_grid(image, other):
        here, there = (" x ".join(map(str, each.space)) for each in (image, other))
        where = f"{here} there, {there} here" if image.space != other.space else f"both {here}, elsewhere in space"
        raise UnreadableImage(
            f"{other.path}: does not lie on the grid of {image.path} ({where}); register them first: "
            "anomaly register visits"
        )


def _grey(image: Image) -> np.ndarray:
    """The values (*space) of an image; of a colour picture the mean of its colours."""
    if len(image.pixels) > 1 and image.kind not in ("picture", "dicom"):
        raise UnreadableImage(f"{image.path}: holds {len(image.pixels)} volumes; give one contrast a file")
    grey: np.ndarray = image.pixels.mean(0)
    return grey


def _change(first: Image, second: Image, asked: Asked) -> ChangeMap:
    before = _grey(first)
    found = change_map(
        before, _grey(second), inside=first.mask, spacing=first.edges, smooth=asked.smooth, match=asked.match
    )
    apart = np.abs(found.matched - before)[found.inside]
    much = float(np.percentile(apart[apart > 0], 90)) if apart.any() else 0.0
    if found.least < QUIET * much:
        logger.warning(
            "%s: the least change that can be told (%.2g) is next to nothing beside what differs (%.2g in a tenth), as "
            "most of what counts is the same in both visits; give a mask of what counts, or scans of both visits",
            second.path, asked.threshold * found.least, much,
        )  # fmt: skip
    return found


def _lesions(
    row: Mapping[str, Any], visits: tuple[Image, Image], inside: np.ndarray, voxel: float, asked: Asked
) -> tuple[pd.DataFrame, dict[str, Any], dict[str, np.ndarray]]:
    """The table of lesions, its counts in one row, and the maps that were made for it, by name."""
    first, made = visits[0], dict[str, np.ndarray]()
    if asked.maps == IRREGULARITY:
        before, after = (np.where(inside, _grey(each), 0) for each in visits)
        if asked.match != "none":  # never by quantiles, whatever the map of change is by
            after = matched(before, after, inside, "line")
        maps = list(irregular.irregularities(before, after, inside))
        made = dict(zip(("before", "after"), maps, strict=True))
    else:
        maps = both(_given(row[BEFORE_MAP], first), _given(row[MAP], first), asked.at)
    table = lesion_changes(
        *(each > asked.cut for each in maps), voxel=voxel, inside=inside, smallest=asked.smallest, grown=asked.grown,
        least=asked.least,
    )  # fmt: skip
    counts = lesion_counts(table)
    return table, {name: counts[name] for name in COUNTED if name in counts}, made


def _given(path: str, image: Image) -> Given:
    """A map or a mask that lies on the grid of an image."""
    if not path:
        raise UnreadableImage(f"{image.path}: there is no map for one of the visits; give both, or leave --maps out")
    found = read(Path(path))
    _refuse_other_grid(image, found)
    return Given.of(found, _grey(found))
