"""Draws scores of several visits: a line from the first to the last of each, and changes within noise and beyond."""

from collections.abc import Mapping

import numpy as np

from anomaly.pictures.figures import COLOURS, plot, png

_MOST_LINES = 150
_QUIET, _LOUD = 0.25, 0.9


def lines(
    time: np.ndarray, before: np.ndarray, after: np.ndarray, groups: Mapping[str, np.ndarray], labels: tuple[str, str]
) -> bytes:
    """A line from the first score to the last of each pair, by group, and the means of the groups in bold.

    Args:
        time: (n,), between both.
        before, after: (n,), the scores.
        groups: masks (n,) by name; of more than 150 pairs an even choice is drawn.
        labels: of the two axes.
    """
    figure, axes = plot(6.2, 4.4)
    for (name, chosen), colour in zip(groups.items(), COLOURS, strict=False):
        rows = np.flatnonzero(chosen)
        for row in rows[np.unique(np.linspace(0, rows.size - 1, _MOST_LINES).astype(int))] if rows.size else ():
            axes.plot([0, time[row]], [before[row], after[row]], color=colour, alpha=_QUIET, linewidth=0.7)
        if rows.size:
            ends = [0, float(time[rows].mean())], [float(before[rows].mean()), float(after[rows].mean())]
            axes.plot(*ends, color=colour, alpha=_LOUD, linewidth=3.2, marker="o", label=f"{name} (n = {rows.size})")
    axes.set_xlabel(labels[0])
    axes.set_ylabel(labels[1])
    axes.legend(title="Mean", fontsize=8.5, title_fontsize=8.5, framealpha=0.9)
    return png(figure)


def against_mean(
    before: np.ndarray, after: np.ndarray, groups: Mapping[str, np.ndarray], least: tuple[float, float, float] | None
) -> bytes:
    """Change against the mean of both images of each pair (Bland and Altman 1986), with the band of what is noise.

    Args:
        before, after: (n,), the scores.
        groups: masks (n,) by name.
        least: the least detectable change and the ends of its interval; None where it is not known.
    """
    figure, axes = plot(6.2, 4.4)
    middle, change = (before + after) / 2, after - before
    axes.axhline(0, color="0.5", linewidth=0.9)
    if least is not None:
        value, low, high = least
        axes.axhspan(-value, value, color="0.5", alpha=0.15, linewidth=0, label=f"noise: {value:.3g} either way")
        told: str | None = f"95 % interval of it: {low:.3g} to {high:.3g}"
        for end in (low, high):
            for sign in (-1, 1):
                axes.axhline(sign * end, color="0.5", linewidth=0.8, linestyle=":", label=told)
                told = None
    for (name, chosen), colour, mark in zip(groups.items(), COLOURS, ("o", "^", "s"), strict=False):
        axes.plot(middle[chosen], change[chosen], mark, color=colour, markersize=4, alpha=0.6, label=name)
    axes.set_xlabel("Mean of the two scores")
    axes.set_ylabel("Change, later minus earlier")
    axes.legend(fontsize=8.5, framealpha=0.9)
    return png(figure)
