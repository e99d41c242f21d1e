"""Tables and the drawing of `benchmarks.segmentation`: Dice, surface distance, the share of the gap closed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from anomaly.pictures.figures import COLOURS, STYLES
from benchmarks.coverage import heading, line

FLOOR, CEILING = "supervised", "ceiling"
Rows = Sequence[dict[str, Any]]


def told(rows: Rows, file: Path, split: str) -> None:
    """Print the tables in Markdown, and draw Dice against the number of annotated knees."""
    for which in ("knees", "tumours"):
        own = [row for row in rows if row["key"]["set"] == which and row["key"]["split"] == split]
        own = [row for row in own if not row["key"]["set_by_hand"]]
        for place in [name for name in ("site Y", "site X", "patient") if own and name in own[0]]:
            print(f"\n{which}, {place}\n")
            table(own, place)
            if which == "knees" and place == "site Y":
                drawn(own, place, file)


def table(rows: Rows, place: str) -> None:
    """A row for each method and number of annotated knees: means over seeds; `missed` has no part in distances."""
    names = [name for name in rows[0][place] if name != "mean"]
    head = ["method", "annotated", "seeds", *names, "mean Dice", "distance, mm", "missed"]
    heading([*head, "gap closed", "least to most", "s"])
    for method, count in sorted({(row["key"]["method"], row["key"]["annotated"]) for row in rows}, key=_order):
        own = [row for row in rows if (row["key"]["method"], row["key"]["annotated"]) == (method, count)]
        dice = [f"{np.mean([row[place][name]['dice'] for row in own]):.3f}" for name in names]
        means = np.array([row[place]["mean"]["dice"] for row in own])
        closed = [share for row in own if (share := gap_closed(rows, row, place)) is not None]
        line(
            [
                method, count, len(own), *dice, f"{means.mean():.3f} ({means.min():.3f} to {means.max():.3f})",
                f"{np.nanmean([row[place]['mean']['distance'] for row in own]):.2f}",
                f"{np.mean([row[place]['mean']['missed'] for row in own]):.3f}",
                f"{np.mean(closed):.2f}" if closed else "",
                f"{min(closed):.2f} to {max(closed):.2f}" if closed else "",
                f"{np.mean([row['processor_seconds'] for row in own]):.0f}",
            ]
        )  # fmt: skip


def gap_closed(rows: Rows, row: dict[str, Any], place: str) -> float | None:
    """(method - floor) / (ceiling - floor) of mean Dice at one seed; None of floor and ceiling, or where one lacks."""
    key = row["key"]
    ends = []
    for method, count in ((FLOOR, key["annotated"]), (CEILING, None)):
        like = [
            other[place]["mean"]["dice"]
            for other in rows
            if other["key"]["method"] == method
            and other["key"]["seed"] == key["seed"]
            and count in (None, other["key"]["annotated"])
        ]
        ends.append(like[0] if like else None)
    low, high = ends
    if key["method"] in (FLOOR, CEILING) or low is None or high is None:
        return None
    return float((row[place]["mean"]["dice"] - low) / (high - low))


def drawn(rows: Rows, place: str, file: Path) -> None:
    """Mean Dice against annotated knees: a line a method through the means, a dot a seed; the ceiling across."""
    figure = Figure(figsize=(5.6, 4.2), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    methods = sorted({row["key"]["method"] for row in rows} - {CEILING}, key=lambda name: _order((name, 0)))
    for method, colour, style in zip(methods, COLOURS, STYLES, strict=False):
        points: dict[int, list[float]] = {}
        for row in rows:
            if row["key"]["method"] == method:
                points.setdefault(row["key"]["annotated"], []).append(row[place]["mean"]["dice"])
        counts = sorted(points)
        axes.plot(counts, [np.mean(points[k]) for k in counts], color=colour, linestyle=style, label=method)
        for count in counts:
            axes.plot([count] * len(points[count]), points[count], ".", color=colour, markersize=4)
    most = [row[place]["mean"]["dice"] for row in rows if row["key"]["method"] == CEILING]
    if most:
        axes.axhline(float(np.mean(most)), color="0.4", linewidth=1, label="supervised, all labels of both sites")
    axes.set_xscale("log")
    counts = sorted({row["key"]["annotated"] for row in rows if row["key"]["method"] != CEILING})
    axes.set_xticks(counts, [str(count) for count in counts], minor=False)
    axes.minorticks_off()
    axes.set_xlabel("annotated knees of site X")
    axes.set_ylabel("mean Dice, knees of site Y")
    axes.legend(fontsize=8)
    figure.savefig(file)


def _order(pair: tuple[str, int]) -> tuple[int, int]:
    names = (FLOOR, "mean-teacher", "unimatch", "stylised", CEILING)
    return names.index(pair[0]), pair[1]
