"""What an evaluation of segmentations says: sentences, and a page of tables."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anomaly.evaluation.lesionwise import MOST_MARKED
from anomaly.images.labels import Labels
from anomaly.reporting import sections
from anomaly.reporting.template import written
from anomaly.segmentation.judging import OUTSIDE
from anomaly.segmentation.seen import SEEN, told_of
from anomaly.segmentation.summing import ALL, FALSE, FOUND, numbers_of
from anomaly.statistics.estimates import between

HTML = "agreement.html"
FEW = f" ({between(np.nan, np.nan)})"
MERGED = 0.5
"""Share of the lesions found that lie under one piece with others, beyond which that is told."""
MEASURES = {
    "dice": "Dice", "distance95": "surface distance, 95th percentile", "distance": "surface distance, mean",
    "volume": "volume", "volume_error": "error of the volume", "missed": "images with the class, nothing found",
    "only_found": "images without the class, something found", "lesions_found": "lesions found",
    "lesions_found_well": "lesions found by a tenth", FALSE: "false lesions an image",
    "lesions_merged": "lesions that share what was found with others", "marked": "marked of images with lesions",
}  # fmt: skip


@dataclass(frozen=True)
class Page:
    """What a page is made of.

    Args:
        name: of the segmentations.
        summary, differences: tables; there may be no differences.
        sentences: in words.
        other: name of the segmentations compared with.
    """

    name: str
    summary: pd.DataFrame
    differences: pd.DataFrame | None
    sentences: tuple[str, ...]
    other: str | None


def sentences(
    told: pd.DataFrame,
    apart: pd.DataFrame | None,
    labels: Labels,
    images: pd.DataFrame,
    without: Sequence[str],
    failed: int,
    *,
    masks: str = "",
    other: pd.DataFrame | None = None,
    against: str = "the other segmentation",
) -> list[str]:
    """The main figures in words: one for each class, whom the run had seen, what lies outside of masks or was left out.

    Args:
        told, apart: means, and those of differences from another segmentation.
        labels: the classes.
        images: the table of figures, a row an image.
        without: ids of images without a label map drawn.
        failed: how many images cannot be used.
        masks: what said where they are.
        other: figures of the other segmentation.
        against: what that is called.
    """
    said = [_of_class(told, name) for name in labels.names]
    said += [_outside(images, labels, masks)] if masks else []
    said += [seen] if (seen := told_of(images)) else []
    if apart is not None:
        said += list(_differences(apart, against))
        beside = "" if other is None else told_of(other, "By the segmentation compared with: ")
        said += [beside] if beside else []
    if not any(" - " in str(of) for of in told["of"]):
        said.append(
            "No floor stands beside these figures: nothing tells which run found the label maps, or what it learned "
            "from is gone."
        )
    if (images[SEEN] == "").all():
        said.append("Whether these images were learned from is not known, for no run tells.")
    left = [f"{len(without)} images have no label map drawn"] if without else []
    left += [f"{failed} cannot be used (errors.csv names them)"] if failed else []
    if left:
        said.append(f"Left out: {' and '.join(left)}.")
    return [_once(each) for each in said]


def _once(said: str) -> str:
    """A sentence that says once that there is no interval of so few."""
    before, few, behind = said.partition(FEW)
    return before + few + behind.replace(FEW, "")


def _of_class(told: pd.DataFrame, name: str) -> str:
    rows = {(row["measure"], row["of"]): row for row in told[told["class"] == name].to_dict("records")}
    dice = rows["dice", FOUND]
    if not dice["n"]:
        false = rows["only_found", FOUND]
        return (
            f"{name}: in no image that was judged; found in {100 * false['value']:.0f} % of {false['n']} all the same."
        )
    said = (
        f"{name}: Dice {dice['value']:.3f} ({_ends(dice)}) over {dice['n']} images of {dice['subjects']} subjects that "
        "have it"
    )
    floors = [row for (measure, of), row in rows.items() if measure == "dice" and of != FOUND and " - " not in of]
    if floors:
        best = max(floors, key=lambda row: row["value"])
        more = rows["dice", f"{FOUND} - {best['of']}"]
        said += (
            f"; by {best['of']} alone, the better floor, {best['value']:.3f}, a difference of {more['value']:+.3f} "
            f"({_ends(more)})"
        )
    missed, false = (rows[each, FOUND] for each in ("missed", "only_found"))
    near, errors = (_several(told, name, each) for each in ("distance95", "volume_error"))
    if near:
        each = [
            f"{row['value']:.3g} {row['unit']} apart at the 95th percentile ({_ends(row)}){_of(row, near)}"
            for row in near
        ]
        said += f"; surfaces {' and '.join(each)} where both are"
    said += f"; nothing of it found in {100 * missed['value']:.0f} % of these images"
    if false["n"]:
        said += f", something in {100 * false['value']:.0f} % of {false['n']} images without it"
    each = [f"{row['value']:+.3g} {row['unit']} in the mean ({_ends(row)}){_of(row, errors)}" for row in errors]
    said += f"; volume off by {' and '.join(each)}"
    if ("lesions_found", FOUND) in rows and rows["lesions_found", FOUND]["n"]:
        return (
            f"{said}; {_lesions(*(rows[each, FOUND] for each in ('lesions_found', FALSE, 'lesions_merged', 'marked')))}"
        )
    return f"{said}."


def _lesions(hits: Any, false: Any, merged: Any, marked: Any) -> str:
    """Lesions found and false ones; and that covering everything finds all of them, where that is how it was done."""
    said = (
        f"{100 * hits['value']:.0f} % of {hits['n']} lesions found ({_ends(hits, scale=100)}), at {false['value']:.2g} "
        f"false ones an image ({_ends(false)})."
    )
    if marked["value"] > MOST_MARKED:
        return said + (
            f" But {marked['value']:.0f} % of the images with lesions is marked, so that what is marked runs together "
            "and finds lesions by covering everything: these numbers say nothing."
        )
    if merged["value"] > MERGED * hits["value"]:
        return said + (
            f" But {100 * merged['value']:.0f} % of the lesions lie under what was found as one with others: they run "
            "together, and are not told apart."
        )
    return said


def _outside(images: pd.DataFrame, labels: Labels, masks: str) -> str:
    """How much of what was drawn lies outside of masks, where it does not count."""
    each = []
    for name in labels.names:
        drawn, beside = (numbers_of(images[f"{name}:{part}"]) for part in ("volume", OUTSIDE))
        there, alone = drawn + beside > 0, (drawn == 0) & (beside > 0)
        if beside.any():
            share = 100 * float((beside[there] / (drawn + beside)[there]).mean())
            whole = f" (all of it in {alone.sum()} images)" if alone.any() else ""
            each.append(f"{share:.0f} % of {name}{whole}" if share >= 10 else f"{share:.2g} % of {name}{whole}")
    told = (
        f"outside of them, where nothing counts, lies in the mean {', '.join(each)}"
        if each
        else "nothing drawn lies outside"
    )
    return f"Masks by {masks}: {told}."


def _several(told: pd.DataFrame, name: str, measure: str) -> list[Any]:
    """The rows of a measure, one for each unit, of those that are known."""
    rows = told[(told["class"] == name) & (told["measure"] == measure) & (told["of"] == FOUND) & (told["n"] > 0)]
    return list(rows.to_dict("records"))


def _of(row: Any, every: Sequence[Any]) -> str:
    """Over how many images a figure is, where others are told in another unit."""
    return f" over {row['n']} images" if len(every) > 1 else ""


def _differences(apart: pd.DataFrame, against: str) -> Iterator[str]:
    names = list(dict.fromkeys(apart["class"]))
    name = ALL if ALL in names else names[0]
    row = apart[(apart["class"] == name) & (apart["measure"] == "dice")].to_dict("records")[0]
    yield (
        f"Compared: Dice ({name}) {row['value']:+.3f} ({_ends(row)}) against {against}, over {row['n']} images in both."
    )
    if len(names) > 1 and (clear := _clear(apart)) is not None:
        each = [f"{row['class']} {row['value']:+.3f} ({_ends(row)})" for row in clear]
        yield (
            f"Of {', '.join(each)} the interval leaves out 0."
            if each
            else "Of no single class does the interval of this difference leave out 0."
        )
    for one in names:
        rows = apart[apart["class"] == one].to_dict("records")
        drawn = next((row["n"] for row in rows if row["measure"] == "dice"), 0)
        both = sum(row["n"] for row in rows if row["measure"] == "distance95")
        missed = [row for row in rows if row["measure"] == "missed" and row["n"]]
        if missed and both < drawn:
            yield (
                f"Surfaces of {one} are compared in {both} of {drawn} images that have it, for in the others one of "
                f"both found nothing: images with nothing found {100 * missed[0]['value']:+.0f} %."
            )


def _clear(apart: pd.DataFrame) -> list[Any] | None:
    """The classes whose difference of Dice has an interval without 0; None where none has an interval."""
    dice = apart[(apart["measure"] == "dice") & (apart["class"] != ALL) & np.isfinite(apart["low"].astype(float))]
    clear = dice[(dice["low"] > 0) | (dice["high"] < 0)]
    return None if dice.empty else list(clear.to_dict("records"))


def _ends(row: Any, form: str = ".3g", scale: float = 1.0) -> str:
    return (
        "no interval: the same whoever is drawn"
        if row["method"].startswith("the same")
        else between(scale * row["low"], scale * row["high"], form)
    )


def page(shown: Page, out: Path) -> tuple[str, str]:
    """The page in Markdown, and as a browser opens it with the pictures that lie in `out` inside it."""
    rows = _shown(shown.summary)
    apart = [] if shown.differences is None else _shown(shown.differences)
    text = PAGE.format(
        name=shown.name,
        sentences="\n".join(f"- {each}" for each in shown.sentences),
        table=_markdown(rows),
        compared="" if not apart else f"\n## Differences from {shown.other}\n\n{_markdown(apart)}\n",
        rules=RULES,
    )
    tables = [{"title": "figures", "caption": "Means of images", **sections.table(rows)}]
    if apart:
        tables.append({"title": "differences", "caption": f"Differences from {shown.other}", **sections.table(apart)})
    pictures = {name: sections.picture(out, f"{name}.png") for name in ("agreement", "cases")}
    html = written(
        "segmentation.html", out.resolve().name, sentences=shown.sentences, tables=tables, rules=RULES, **pictures
    )  # fmt: skip
    return text, html


def _shown(table: pd.DataFrame) -> list[dict[str, object]]:
    """Rows as a reader takes them."""
    return [
        {
            "class": row["class"], "figure": MEASURES[row["measure"]], "of": row["of"],
            "mean": "none" if np.isnan(row["value"]) else f"{row['value']:.4g}",
            "unit": row["unit"], "95 % interval": _ends(row, ".4g"), "images": row["n"], "subjects": row["subjects"],
        }
        for row in table.to_dict("records")
    ]  # fmt: skip


def _markdown(rows: Sequence[dict[str, object]]) -> str:
    head = [f"| {' | '.join(rows[0])} |", f"|{' --- |' * len(rows[0])}"]
    return "\n".join([*head, *(f"| {' | '.join(map(str, row.values()))} |" for row in rows)])


RULES = (
    "Dice is over images in which the class was drawn, 0 where nothing of it was found. Distances are between the "
    "surfaces of both, each pixel's to the nearest of the other: the mean of both directions pooled, and the larger of "
    "both directions' 95th percentiles; over images in which the class was drawn and found, since a surface that is "
    "not there has no distance. Images in which only one has it are told as shares. A lesion is what hangs together of "
    "the class, corners included; it is found where any of it is marked. Where images have masks, nothing outside of "
    "them counts, drawn or found. Floors: `usual place` marks each class where "
    "it most often lies in the images learned from, `brightness` between the two brightnesses that tell it best there. "
    "Intervals by drawing whole subjects anew (of shares Wilson's), none of fewer than ten."
)
PAGE = """# How well label maps agree with those drawn

{name}

{sentences}

{table}
{compared}
{rules}

![Dice by class](agreement.png)

![the worst and the best](cases.png)
"""
