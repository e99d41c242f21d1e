"""What an evaluation of segmentations says: sentences, a page, a picture of Dice by class, the worst and best cases."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anomaly.errors import UnreadableImage
from anomaly.files import write_whole
from anomaly.images import read
from anomaly.images.labels import Labels, read_labels
from anomaly.pictures import heatmaps
from anomaly.reporting import sections
from anomaly.reporting.template import written
from anomaly.restorers.cards import flat
from anomaly.segmentation.cards import legend, most_marked, tinted
from anomaly.segmentation.judging import BOTH, MISSED
from anomaly.segmentation.summing import ALL, FOUND
from anomaly.statistics.estimates import between

HTML = "agreement.html"
SHOWN = 4
MEASURES = {
    "dice": "Dice", "distance95": "surface distance, 95th percentile", "distance": "surface distance, mean",
    "volume": "volume", "volume_error": "error of the volume", "missed": "images with the class, nothing found",
    "only_found": "images without the class, something found", "lesions_found": "lesions found",
    "lesions_found_well": "lesions found by a tenth", "false_lesions_an_image": "false lesions an image",
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
) -> list[str]:
    """The main figures in words: one for each class, and what was left out."""
    said = [_of_class(told, name, _unit(images, "unit of distances"), _unit(images, "unit")) for name in labels.names]
    if apart is not None:
        said += list(_differences(apart))
    if not any(" - " in str(of) for of in told["of"]):
        said.append("No floor stands beside these figures: nothing tells which run found the label maps, or what it "
                    "learned from is gone.")  # fmt: skip
    left = [f"{len(without)} images have no label map drawn"] if without else []
    left += [f"{failed} cannot be used (errors.csv names them)"] if failed else []
    if left:
        said.append(f"Left out: {' and '.join(left)}.")
    return said


def _of_class(told: pd.DataFrame, name: str, distance: str, unit: str) -> str:
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
    near, missed, false, error = (rows[each, FOUND] for each in ("distance95", "missed", "only_found", "volume_error"))
    if near["n"]:
        said += f"; surfaces {near['value']:.3g} {distance} apart at the 95th percentile ({_ends(near)}) where both are"
    said += f"; nothing of it found in {100 * missed['value']:.0f} % of these images"
    if false["n"]:
        said += f", something in {100 * false['value']:.0f} % of {false['n']} images without it"
    said += f"; volume off by {error['value']:+.3g} {unit} in the mean ({_ends(error)})"
    if ("lesions_found", FOUND) in rows and rows["lesions_found", FOUND]["n"]:
        hits, per_image = rows["lesions_found", FOUND], rows["false_lesions_an_image", FOUND]
        said += f"; {100 * hits['value']:.0f} % of {hits['n']} lesions found, at {per_image['value']:.2g} false ones"
        said += " an image"
    return f"{said}."


def _differences(apart: pd.DataFrame) -> Iterator[str]:
    names = list(dict.fromkeys(apart["class"]))
    name = ALL if ALL in names else names[0]
    row = apart[(apart["class"] == name) & (apart["measure"] == "dice")].to_dict("records")[0]
    yield (
        f"Compared: Dice ({name}) {row['value']:+.3f} ({_ends(row)}) against the other segmentation, over {row['n']} "
        "images in both."
    )


def _ends(row: Any, form: str = ".3g") -> str:
    return (
        "no interval: the same whoever is drawn"
        if row["method"].startswith("the same")
        else between(row["low"], row["high"], form)
    )


def _unit(images: pd.DataFrame, column: str) -> str:
    """The unit that all images share, or both where they differ."""
    return " or ".join(sorted({*images[column].astype(str)}))


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
            "95 % interval": _ends(row, ".4g"), "images": row["n"], "subjects": row["subjects"],
        }
        for row in table.to_dict("records")
    ]  # fmt: skip


def _markdown(rows: Sequence[dict[str, object]]) -> str:
    head = [f"| {' | '.join(rows[0])} |", f"|{' --- |' * len(rows[0])}"]
    return "\n".join([*head, *(f"| {' | '.join(map(str, row.values()))} |" for row in rows)])


def picture(path: Path, told: pd.DataFrame, means: pd.DataFrame, labels: Labels) -> None:
    """Draw Dice of each image by class, with means and intervals, floors beside; as PNG."""
    import io

    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2.4 + 1.2 * len(labels.names), 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes, rng = figure.subplots(), np.random.default_rng(0)
    dice = means[(means["measure"] == "dice") & ~means["of"].str.contains(" - ")]
    for place, name in enumerate(labels.names):
        drawn = told[f"{name}:state"].isin([BOTH, MISSED])
        each = pd.to_numeric(told.loc[drawn, f"{name}:dice"]).to_numpy(float)
        axes.plot(place + rng.uniform(-0.18, 0.18, len(each)), each, "o", color="#0072B2", alpha=0.35, markersize=3)
        for row in dice[dice["class"] == name].to_dict("records"):
            colour, mark = ("#000000", "D") if row["of"] == FOUND else ("#D55E00", "_")
            axes.plot([place], [row["value"]], mark, color=colour, markersize=5 if mark == "D" else 18)
            if row["of"] == FOUND and np.isfinite(row["low"]):
                axes.plot([place, place], [row["low"], row["high"]], color=colour, linewidth=1.5)
    axes.set_xticks(range(len(labels.names)), labels.names, rotation=30 if len(labels.names) > 4 else 0)
    axes.set_xlim(-0.6, len(labels.names) - 0.4)
    axes.set_ylim(-0.03, 1.03)
    axes.set_ylabel("Dice")
    axes.set_title("images that have the class; black: mean, orange: floors", fontsize=8)
    axes.grid(alpha=0.3, axis="y")
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=110)
    write_whole(path, stream.getvalue())


def cases(path: Path, told: pd.DataFrame, pairs: pd.DataFrame, labels: Labels) -> None:
    """Draw the worst and the best images, the truth over them, and what was found; nothing where none has a class."""
    dice = [
        pd.to_numeric(told[f"{name}:dice"], errors="coerce").where(told[f"{name}:state"].isin([BOTH, MISSED]))
        for name in labels.names
    ]
    mean = pd.concat(dice, axis=1).mean(axis=1)
    order = mean.dropna().sort_values(kind="stable").index
    if not len(order):
        return
    half = min(SHOWN, len(order) // 2) or 1
    chosen = list(dict.fromkeys([*order[:half], *order[-half:]]))
    by_path = pairs.set_index("path")
    rows: list[list[np.ndarray]] = [[], [], []]
    captions = []
    for place in chosen:
        row = by_path.loc[told.loc[place, "path"]]
        try:
            panels = _panels(str(row.name), str(row["labels"]), str(row["found"]), labels)
        except UnreadableImage:  # gone since it was judged
            continue
        for line, panel in zip(rows, panels, strict=True):
            line.append(panel)
        captions.append(f"{told.loc[place, 'id']}: {mean[place]:.2f}")
    if captions:
        sheet = heatmaps.sheet(
            rows, ["image", "drawn", "found"], title="worst first, best last, by mean Dice", captions=captions,
            footer=legend(labels), bar=False, side=128,
        )  # fmt: skip
        heatmaps.write_png(path, sheet)


def _panels(path: str, drawn: str, found: str, labels: Labels) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    image = read(Path(path))
    places = [labels.places(read_labels(each, image)) for each in (drawn, found)]
    at, values = most_marked(places[0]), image.pixels
    values = values if at is None else values[..., at]
    low, high = np.percentile(values, [0.5, 99.5])
    turned = at is not None
    grey = heatmaps.grey(flat(values, turned), (float(low), float(max(high, low + 1e-6))))
    over = [tinted(grey, flat((each if at is None else each[..., at])[None], turned)) for each in places]
    return grey, over[0], over[1]


RULES = (
    "Dice is over images in which the class was drawn, 0 where nothing of it was found. Distances are between the "
    "surfaces of both, each pixel's to the nearest of the other: the mean of both directions pooled, and the larger of "
    "both directions' 95th percentiles; over images in which the class was drawn and found, since a surface that is "
    "not there has no distance. Images in which only one has it are told as shares. A lesion is what hangs together of "
    "the class, corners included; it is found where any of it is marked. Floors: `usual place` marks each class where "
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
