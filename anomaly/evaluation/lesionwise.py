"""Lesion by lesion: how many a map finds, and how many it marks that are none, by limit and by size."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from anomaly.evaluation.beside import ratio_of, share_of
from anomaly.evaluation.floors import ALIKE, MAP
from anomaly.evaluation.localisation import MAX_FPR
from anomaly.evaluation.section import Section, ends
from anomaly.evaluation.tallying import Looked
from anomaly.pictures.panels import froc
from anomaly.statistics import regions

ANY, WELL = "found", "found_well"
_RULES = (
    "A lesion is what hangs together of the truth, corners included (26 neighbours, in pictures 8). It is found where "
    "any of it is marked (Carass et al. 2017), and by the stricter rule where 10 % of it are (Commowick et al. 2018). "
    "A false lesion is what hangs together of what is marked and holds nothing of the truth. "
)

MOST_MARKED = 30.0
"""Of an image in per cent; where more is marked, lesions run together and are found by covering all."""


def lesionwise(looked: Looked, limits: Mapping[str, float], seed: int) -> Section | None:
    """Sensitivity against false lesions at limits that held-out normals fixed; None where there are none."""
    if not limits:
        return None
    rows = []
    sentences = []
    for limit in limits:
        for name, own in looked.images.groupby("map", sort=False):
            if name != ALIKE:
                rows.append(_of_images(own, str(name), limit, seed))
        rows += _by_size(looked, limit)
        sentences.append(_told(rows, limit, looked))
    table = pd.DataFrame(rows)
    caption = _RULES + (
        "Limits: at most 5 % or 1 % of the pixels of held-out normals exceed them. Floors mark as many pixels of an "
        "image as the map does. Sizes: the thirds of these lesions. 95 % intervals: of shares Wilson's, persons "
        "counted together, of false lesions by drawing persons anew; none with fewer than ten persons."
    )
    return Section("lesions", "Lesion by lesion", sentences, caption, table)


def curve(looked: Looked, limits: Mapping[str, float], seed: int) -> Section:
    """Lesions found against false ones an image as the threshold falls, from the tenth that the map marks highest."""
    whose = looked.lesions["subject"].to_numpy()
    one, image = np.ones(len(whose)), np.ones(len(looked.subjects))
    rows: list[dict[str, Any]] = []
    for place, step in enumerate(looked.steps):
        shares = looked.shares[:, place]
        row: dict[str, Any] = {"threshold": float(step)}
        row |= ends("sensitivity", share_of(shares > 0, one, whose))
        row |= ends("sensitivity_strict", share_of(shares >= regions.ENOUGH, one, whose))
        row |= ends("false_per_image", ratio_of(looked.false[:, place].astype(float), image, looked.subjects, seed))
        rows.append(row | {"marked": float(looked.rest[place])})
    table = pd.DataFrame(rows)
    half = table[table["sensitivity"] >= 0.5].iloc[0]
    sentences = [
        f"Where the map finds half of all {len(whose)} lesions it marks {_few(half['false_per_image'])} places an "
        f"image that are none, and {100 * half['marked']:.1f} % of the other {looked.pixel}s; to find all of them it "
        f"marks {100 * table['marked'].iloc[-1]:.1f} % of these."
    ]
    caption = _RULES + (
        "Each point is a tenth more of the lesions, by their highest value of the map; the thresholds are those "
        "values, so they have seen the truth. Where much is marked it runs together and false lesions become fewer, "
        "so the curve is drawn as far as 30 % of all other pixels are (column `marked`)."
    )
    usable = table[(table["marked"] <= MAX_FPR) | (table.index == 0)]
    fixed = {f"at the limit for {limit} %": _point(looked, limit, MAP) for limit in limits}
    floors = {
        f"{name}, as many {looked.pixel}s": _point(looked, next(iter(limits)), str(name))
        for name in looked.images["map"].unique()
        if limits and name not in (MAP, ALIKE)
    }
    drawn = froc(usable, fixed, floors)
    return Section("froc", "Lesions found against false ones", sentences, caption, table, drawn)


def _of_images(own: pd.DataFrame, name: str, limit: str, seed: int) -> dict[str, Any]:
    """Figures of one map or floor at one limit."""
    subject, lesions = own["subject"].to_numpy(), own["lesions"].to_numpy()
    row: dict[str, Any] = {"limit": f"{limit} %", "map": name, "size": "all", "lesions": int(lesions.sum())}
    for figure, what in (("sensitivity", ANY), ("sensitivity_strict", WELL)):
        row |= ends(figure, share_of(own[f"{what}_at_{limit}"], lesions, subject))
    false = own[f"false_at_{limit}"].to_numpy(float)
    return row | ends("false_per_image", ratio_of(false, np.ones(len(own)), subject, seed))


def _by_size(looked: Looked, limit: str) -> list[dict[str, Any]]:
    """The map's sensitivity in each third of the lesions by size; nothing where too many are of one size."""
    lesions, unit, scale = looked.lesions, f"{looked.pixel}s", 1.0
    size = lesions["pixels"].to_numpy(float)
    if lesions["size"].notna().all():
        unit, scale = ("mm2", 1.0) if looked.dims == 2 else ("ml", 1e-3)
        size = lesions["size"].to_numpy(float) * scale
    if len(np.unique(size)) < 3:
        return []
    part, rows = np.searchsorted(np.quantile(size, [1 / 3, 2 / 3]), size, side="left"), []
    for third in np.unique(part):
        chosen = part == third
        shares, whose = lesions.loc[chosen, f"share_at_{limit}"].to_numpy(), lesions.loc[chosen, "subject"].to_numpy()
        row: dict[str, Any] = {"limit": f"{limit} %", "map": MAP, "lesions": int(chosen.sum())}
        row["size"] = f"{size[chosen].min():.3g} to {size[chosen].max():.3g} {unit}"
        for figure, least in (("sensitivity", 0.0), ("sensitivity_strict", regions.ENOUGH)):
            found = (shares > 0) if not least else shares >= least
            row |= ends(figure, share_of(found, np.ones(len(whose)), whose))
        rows.append(row)
    return rows


def _told(rows: list[dict[str, Any]], limit: str, looked: Looked) -> str:
    own = [row for row in rows if row["limit"] == f"{limit} %"]
    all_of, floors = own[0], [row for row in own[1:] if row["map"] != MAP]
    sizes = [row for row in own if row["size"] != "all"]
    best = max(floors, key=lambda row: row["sensitivity"], default=None)
    beside = "" if best is None else (
        f" The best floor, {best['map']}, finds {100 * best['sensitivity']:.0f} % with as many {looked.pixel}s, at "
        f"{_few(best['false_per_image'])} false ones."
    )  # fmt: skip
    ill = looked.images[(looked.images["map"] == MAP) & (looked.images["lesions"] > 0)]
    marked = 100 * float(ill[f"marked_at_{limit}"].mean())
    much = (
        f" But the map marks {marked:.0f} % of these images there, so that what is marked runs together and finds "
        "lesions by covering everything: these numbers say nothing."
        if marked > MOST_MARKED
        else f" The map marks {marked:.2g} % of these images there."
    )
    by_size = "; ".join(f"{row['size']}: {100 * row['sensitivity']:.0f} % of {row['lesions']}" for row in sizes)
    return (
        f"At the limit that at most {limit} % of normal {looked.pixel}s exceed, {_share(all_of, 'sensitivity')} of "
        f"{all_of['lesions']} lesions are found ({100 * all_of['sensitivity_strict']:.0f} % by the stricter rule), at "
        f"{_number(all_of, 'false_per_image')} false lesions an image.{much}{beside}"
        f"{f' By size, {by_size}.' if by_size else ''}"
    )


def _share(row: dict[str, Any], name: str) -> str:
    value, low, high = (100 * row[each] for each in (name, f"{name}_low", f"{name}_high"))
    return f"{value:.0f} %" + (f" ({low:.0f} to {high:.0f} %)" if np.isfinite([low, high]).all() else "")


def _number(row: dict[str, Any], name: str) -> str:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return _few(row[name]) + (f" ({_few(low)} to {_few(high)})" if np.isfinite([low, high]).all() else "")


def _few(number: float) -> str:
    """A number in three figures, or whole."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def _point(looked: Looked, limit: str, name: str) -> tuple[float, float]:
    """False lesions an image and the share of lesions found, of one map at one limit."""
    own = looked.images[looked.images["map"] == name]
    return float(own[f"false_at_{limit}"].mean()), float(own[f"found_at_{limit}"].sum() / own["lesions"].sum())
