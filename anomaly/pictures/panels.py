"""Draws figures of a map beside those of maps that take no method, and lesions found against false ones."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from anomaly.pictures.figures import COLOURS

ACROSS = 3
MARKS = ("s", "^", "v", "D")


def beside(
    table: pd.DataFrame,
    titles: Mapping[str, str],
    *,
    main: str,
    names: Sequence[str],
    column: str,
    words: str,
    signed: Sequence[str] = (),
) -> bytes:
    """A PNG of a panel a figure: a point and its interval for the map and for each floor.

    Args:
        table: figure, map, and `column` with `column`_low and `column`_high.
        titles: of the figures, in their order.
        main: the map that is held against the others; it has another colour and shape, and a line down from it.
        names: the floors, in their order.
        column: what is drawn, between 0 and 1.
        words: what it is.
        signed: figures that may lie below 0.
    """
    shown = [name for name in (main, *names) if name in set(table["map"])]
    figures = [name for name in titles if name in set(table["figure"])]
    across = 2 if len(figures) == 4 else min(ACROSS, len(figures))
    down = -(-len(figures) // across)
    figure = Figure(figsize=(1.6 + 2.7 * across, 0.9 + down * (0.7 + 0.28 * len(shown))), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(down, across, squeeze=False, sharey=True).ravel()
    for axes, name in zip(panels, figures, strict=False):
        rows = table[table["figure"] == name].set_index("map")
        _panel(axes, rows, shown, main, column)
        axes.set_title(titles[name], fontsize=9)
        low = float(table[f"{column}_low"].fillna(table[column]).min())
        axes.set_xlim(min(-0.02, low - 0.02) if name in signed else -0.02, 1.02)
    for axes in panels[len(figures) :]:
        axes.set_visible(False)
    figure.supxlabel(words, x=0.02, ha="left", fontsize=8, color="0.35")
    return _png(figure)


def _panel(axes: Any, rows: pd.DataFrame, shown: Sequence[str], main: str, column: str) -> None:
    for place, name in enumerate(reversed(shown)):
        if name not in rows.index:
            continue
        colour, mark = (COLOURS[0], "o") if name == main else ("0.35", "s")
        axes.hlines(place, rows.loc[name, f"{column}_low"], rows.loc[name, f"{column}_high"], color=colour, lw=1.8)
        axes.plot(rows.loc[name, column], place, mark, color=colour, markersize=6 if name == main else 4.5)
    axes.axvline(rows.loc[main, column], color=COLOURS[0], linewidth=0.8, linestyle=":")
    axes.set_yticks(range(len(shown)), list(reversed(shown)), fontsize=8.5)
    axes.set_ylim(-0.6, len(shown) - 0.4)
    axes.tick_params(axis="x", labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="0.92")
    axes.set_axisbelow(True)


def froc(
    table: pd.DataFrame, fixed: Mapping[str, tuple[float, float]], floors: Mapping[str, tuple[float, float]]
) -> bytes:
    """Sensitivity over false lesions an image, by both rules, and single points of fixed limits and of floors.

    Args:
        table: sensitivity, sensitivity_strict and false_per_image, a row a threshold.
        fixed: false lesions an image and sensitivity of the map at fixed limits, by name.
        floors: the same of maps that take no method.
    """
    figure = Figure(figsize=(6.2, 5.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    false = table["false_per_image"]
    axes.plot(false, table["sensitivity"], "o-", color=COLOURS[0], markersize=4, label="any of it marked")
    axes.plot(false, table["sensitivity_strict"], "s--", color=COLOURS[1], markersize=4, label="10 % of it marked")
    for mark, (name, (x, y)) in zip(("*", "P"), fixed.items(), strict=False):
        axes.plot(x, y, mark, color=COLOURS[0], markersize=12, label=name, linestyle="")
    for mark, (name, (x, y)) in zip(MARKS, floors.items(), strict=False):
        axes.plot(x, y, mark, color="0.45", markersize=6, label=name, linestyle="")
    axes.set_ylim(-0.02, 1.04)
    axes.set_xscale("symlog", linthresh=1)
    furthest = max([1.0, float(false.max()), *(x for x, _ in [*fixed.values(), *floors.values()])])
    axes.set_xlim(-0.06, 1.5 * furthest)
    axes.set_xlabel("False lesions an image (straight up to 1, then by powers of ten)")
    axes.set_ylabel("Lesions found")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="0.92")
    axes.set_axisbelow(True)
    axes.legend(fontsize=8, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.14), frameon=False)
    return _png(figure)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130, facecolor="white")
    return buffer.getvalue()
