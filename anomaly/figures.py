"""Draws the figures of an evaluation as PNG bytes: no window, no state shared with the user's own plots."""

import io
from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from anomaly import metrics

# Okabe & Ito 2008: told apart by every kind of colour vision; line styles tell them apart in grey.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
STYLES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)))
_POINTS = 2000


def roc(images: pd.DataFrame, names: list[str]) -> bytes:
    """ROC curves of the first six scores; `images` has `outcome` (0/1) and a column a score."""
    figure, axes = _figure(4.9, 4.9)
    for name, colour, style in zip(names, COLOURS, STYLES, strict=False):
        known = images[name].notna()
        event, value = images.loc[known, "outcome"].to_numpy(), images.loc[known, name].to_numpy()
        false, true, _ = metrics.roc_curve(event, value)
        label = f"{name}: {metrics.auroc(event, value):.2f} (n = {event.size}, {int(event.sum())} events)"
        width = 2.2 if name == names[0] else 1.4
        kept = np.unique(np.linspace(0, false.size - 1, _POINTS).astype(int))
        axes.plot(false[kept], true[kept], color=colour, linestyle=style, linewidth=width, label=label)
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=0.9, label="chance: 0.50")
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    axes.set_xlabel("Controls called abnormal (1 − specificity)")
    axes.set_ylabel("Events called abnormal (sensitivity)")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1.0))
    axes.legend(title="Score: AUROC", loc="lower right", fontsize=7.5, title_fontsize=7.5, framealpha=0.9)
    return _png(figure)


def distribution(values: np.ndarray, groups: Mapping[str, np.ndarray]) -> bytes:
    """Histograms of the values (n,) of each named group, a mask (n,), as shares of the group."""
    figure, axes = _figure(5.6, 4.2)
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
    return _png(figure)


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="0.92")
    axes.set_axisbelow(True)
    return figure, axes


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130, facecolor="white")
    return buffer.getvalue()
