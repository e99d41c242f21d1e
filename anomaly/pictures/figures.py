"""Draws the figures of an evaluation as PNG bytes: no window, no state shared with the user's own plots."""

import io
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter, PercentFormatter
from PIL import Image as Picture
from PIL import ImageDraw, ImageFont

from anomaly.statistics import Curve, Estimate, metrics
from anomaly.statistics.estimates import between

# Okabe & Ito 2008: told apart by every kind of colour vision; line styles tell them apart in grey.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
STYLES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)))
# Below, at and above one half: the first two of these colours, whose lightness falls to either side of white.
_DIVERGING = LinearSegmentedColormap.from_list("diverging", [COLOURS[0], "white", COLOURS[1]])
_POINTS = 2000
FOREST = 30
LABEL = 44


def roc(images: pd.DataFrame, names: list[str]) -> bytes:
    """ROC curves of the first six scores; `images` has `outcome` (0/1) and a column a score."""
    figure, axes = _square()
    for name, colour, style in zip(names, COLOURS, STYLES, strict=False):
        known = images[name].notna()
        event, value = images.loc[known, "outcome"].to_numpy(), images.loc[known, name].to_numpy()
        false, true, _ = metrics.roc_curve(event, value)
        label = f"{name}: {metrics.auroc(event, value):.2f} (n = {event.size}, {int(event.sum())} events)"
        width = 2.2 if name == names[0] else 1.4
        kept = np.unique(np.linspace(0, false.size - 1, _POINTS).astype(int))
        axes.plot(false[kept], true[kept], color=colour, linestyle=style, linewidth=width, label=label)
    axes.legend(title="Score: AUROC", loc="lower right", fontsize=7.5, title_fontsize=7.5, framealpha=0.9)
    return png(figure)


def distribution(values: np.ndarray, groups: Mapping[str, np.ndarray]) -> bytes:
    """Histograms of the values (n,) of each named group, a mask (n,), as shares of the group."""
    figure, axes = plot(5.6, 4.2)
    low, high = float(values.min()), float(values.max())
    edges = np.linspace(low, high if high > low else low + 1, 31)
    for (label, chosen), colour in zip(groups.items(), COLOURS, strict=False):
        share = np.histogram(values[chosen], edges)[0] / chosen.sum()
        axes.stairs(share, edges, fill=True, alpha=0.25, color=colour)
        axes.stairs(share, edges, linewidth=1.8, color=colour, label=f"{label} (n = {chosen.sum()})")
    axes.set_xlabel("Anomaly score (value; higher = further from normal)")
    axes.set_ylabel("Share of the group's images")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.margins(y=0.15)
    axes.legend(fontsize=9, framealpha=0.9)
    return png(figure)


def forest(labels: Sequence[str], numbers: np.ndarray, what: str, *, none: float, logarithmic: bool = False) -> bytes:
    """A figure (n, 3) of value, low and high as a point and a line a row; `none` is where there is no effect."""
    numbers = np.asarray(numbers, dtype=float)[:FOREST]
    figure, axes = plot(6.8, 1.4 + 0.34 * len(numbers))
    places = np.arange(len(numbers))[::-1]
    axes.hlines(places, numbers[:, 1], numbers[:, 2], color=COLOURS[0], linewidth=1.8)
    axes.plot(numbers[:, 0], places, "o", color=COLOURS[0], markersize=6)
    axes.axvline(none, color="0.5", linewidth=0.9, linestyle="--")
    if logarithmic:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(10, (1, 1.5, 2, 3, 5, 7)))
        axes.xaxis.set_major_formatter(FormatStrFormatter("%g"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_yticks(places, [_short(label) for label in labels[: len(numbers)]], fontsize=8.5)
    axes.set_ylim(-0.7, len(numbers) - 0.3)
    axes.set_xlabel(f"{what}\n95 % interval; dashed: no effect", fontsize=9)
    return png(figure)


def curves(points: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> bytes:
    """ROC curves given by their points: false positive rate and sensitivity, by name."""
    figure, axes = _square()
    for (label, (false, true)), colour, style in zip(points.items(), COLOURS, STYLES, strict=False):
        axes.plot(false, true, color=colour, linestyle=style, linewidth=1.8, label=label)
    axes.legend(title="Score: AUROC", loc="lower right", fontsize=7.5, title_fontsize=7.5, framealpha=0.9)
    return png(figure)


def calibration(curve: pd.DataFrame) -> bytes:
    """Observed against predicted chances; `curve` has predicted, observed, low, high and images, a row a bin."""
    figure, axes = plot(4.9, 4.9)
    top = min(1.0, 1.08 * float(curve[["predicted", "high"]].to_numpy().max()))
    axes.plot([0, top], [0, top], color="0.6", linewidth=0.9, label="right")
    axes.vlines(curve["predicted"], curve["low"], curve["high"], color=COLOURS[0], linewidth=1.5)
    axes.plot(curve["predicted"], curve["observed"], "o-", color=COLOURS[0], linewidth=1, label="observed (95 %)")
    axes.set(xlim=(0, top), ylim=(0, top), aspect="equal")
    axes.set_xlabel("Chance by the model")
    axes.set_ylabel("Share with the outcome")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1.0))
    axes.legend(loc="upper left", fontsize=8.5, framealpha=0.9)
    return png(figure)


def survival(groups: Sequence[Curve], at: float, what: str) -> bytes:
    """Kaplan-Meier curves with their limits up to a time, and below them how many are still observed."""
    figure, axes = plot(5.8, 4.4, layout=None)
    ticks = np.linspace(0, at, 5)
    for place, (curve, colour, style) in enumerate(zip(groups, COLOURS, STYLES, strict=False)):
        axes.step(curve.time, curve.free, where="post", color=colour, linestyle=style, label=str(curve.group))
        axes.fill_between(curve.time, curve.low, curve.high, step="post", color=colour, alpha=0.15, linewidth=0)
        for tick, left in zip(ticks, curve.numbers_at_risk(ticks), strict=True):
            axes.annotate(
                str(left), (tick, 0), (0, -44 - 12 * place), xycoords=("data", "axes fraction"),
                textcoords="offset points", color=colour, fontsize=8, ha="center", annotation_clip=False,
            )  # fmt: skip
    lowest = min(float(np.nanmin([1.0, *curve.low[curve.time <= at]])) for curve in groups)
    axes.set_xticks(ticks)
    axes.set(xlim=(0, 1.03 * at), ylim=(max(0.0, lowest - 0.05), 1.01))
    axes.set_xlabel(what)
    axes.annotate(
        "still observed",
        (0, 0),
        (-34, -32),
        xycoords="axes fraction",
        textcoords="offset points",
        fontsize=8,
        color="0.3",
    )
    axes.set_ylabel("Share without the event")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.legend(fontsize=8.5, framealpha=0.9, loc="lower left")
    # Room for the numbers below the axis, which the layout does not know of.
    figure.subplots_adjust(left=0.15, right=0.97, top=0.97, bottom=0.2 + 0.04 * len(groups))
    return png(figure)


def grid(aurocs: np.ndarray, parts: Mapping[str, Estimate]) -> bytes:
    """AUROCs of the cells of a grid (rows, columns) in colour and as numbers, its outermost ring parted off by a line.

    Args:
        aurocs: 0 to 1; colours run from 0 to 1 in every figure, and are white at 0.5.
        parts: what stands above the grid, by name, with its interval where there is one.
    """
    figure, axes = plot(5.4, 5.2)
    rows, columns = aurocs.shape
    shown = axes.imshow(aurocs, _DIVERGING, vmin=0, vmax=1)
    for (row, column), auroc in np.ndenumerate(aurocs):
        ink = "white" if auroc < 0.03 else "black"  # whichever stands out more
        axes.text(column, row, f"{auroc:.2f}", ha="center", va="center", fontsize=8.5, color=ink)
    axes.add_patch(Rectangle((0.5, 0.5), columns - 2, rows - 2, fill=False, edgecolor="black", linewidth=2))
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.set(xticks=[], yticks=[])
    axes.set_xlabel("cells of the prepared image; within the line the inside, around it the ring", fontsize=8)
    told = [
        f"{name} {area.value:.2f}" + (f" ({between(area.low, area.high)})" if np.isfinite(area.low) else "")
        for name, area in parts.items()
    ]
    axes.set_title("\n".join("     ".join(told[k : k + 2]) for k in range(0, len(told), 2)), fontsize=9)
    figure.colorbar(shown, ax=axes, shrink=0.8, ticks=[0, 0.25, 0.5, 0.75, 1], label="AUROC (0.50: chance)")
    return png(figure)


def stamped(content: bytes, words: str) -> bytes:
    """A PNG with words in its lower right corner, so that a picture of what was simulated cannot be taken for more."""
    picture = Picture.open(io.BytesIO(content)).convert("RGB")
    font = ImageFont.load_default(15)
    ImageDraw.Draw(picture).text((picture.width - 6, picture.height - 4), words, "#b00000", font, "rs")
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def plot(width: float, height: float, layout: Literal["constrained"] | None = "constrained") -> tuple[Figure, Axes]:
    """An empty figure, inches wide and high, in the style of all of them."""
    figure = Figure(figsize=(width, height), layout=layout)
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="0.92")
    axes.set_axisbelow(True)
    return figure, axes


def _square() -> tuple[Figure, Axes]:
    """The frame of a ROC curve, with the line of chance."""
    figure, axes = plot(4.9, 4.9)
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=0.9, label="chance: 0.50")
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    axes.set_xlabel("Controls called abnormal (1 − specificity)")
    axes.set_ylabel("Events called abnormal (sensitivity)")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1.0))
    return figure, axes


def _short(label: str) -> str:
    return label if len(label) <= LABEL else f"{label[: LABEL - 1]}…"


def png(figure: Figure) -> bytes:
    """A figure as the bytes of its file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130, facecolor="white")
    return buffer.getvalue()
