"""Draws the precision-recall curve as SVG, in the colours of the page, dark or light."""

from pathlib import Path

import numpy as np
import pandas as pd

from anomaly.cohorts.results import read_table
from anomaly.reporting.template import template

_SHOWN, _POINTS = 3, 300
# Of the drawing, in its own units: the square that both shares from 0 to 1 span, and where it begins.
_SIDE, _LEFT, _TOP = 320, 72, 14


def precision_recall(event: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Recall and precision (k,) at each of the k different scores (n,) as threshold, from the highest; events 0/1 (n,).

    Images that tie pass a threshold together.
    """
    order = np.argsort(-score, kind="stable")
    found = np.cumsum(event[order] == 1)
    last = np.flatnonzero(np.append(np.diff(score[order]) != 0, True))
    return found[last] / max(int(found[-1]), 1), found[last] / (last + 1)


def curve(folder: Path, names: list[str]) -> str | None:
    """The precision-recall curves of the first three scores in evaluated.csv as SVG; None where it has none."""
    file = folder / "evaluated.csv"
    table = read_table(file, "evaluation") if file.is_file() else pd.DataFrame()
    names = [name for name in names if name in table][:_SHOWN]
    if not names or not {0, 1} <= set(table["outcome"]):
        return None
    lines = [{"name": name, "path": _path(table, name)} for name in names]
    share = float(table["outcome"].mean())
    ticks = [{"told": f"{100 * at:.0f} %", "x": _x(at), "y": _y(at)} for at in np.linspace(0, 1, 6)]
    facts = {"lines": lines, "ticks": ticks, "share": share, "chance": _y(share), "side": _SIDE}
    return template("curve.html").render(facts | {"left": _LEFT, "top": _TOP})


def _path(table: pd.DataFrame, name: str) -> str:
    known = table[table[name].notna()]
    recall, precision = precision_recall(known["outcome"].to_numpy(), known[name].to_numpy(dtype=float))
    kept = np.unique(np.linspace(0, recall.size - 1, _POINTS).astype(int))
    return "M" + " L".join(f"{_x(x):.1f} {_y(y):.1f}" for x, y in zip(recall[kept], precision[kept], strict=True))


def _x(share: float) -> float:
    return round(_LEFT + _SIDE * share, 1)


def _y(share: float) -> float:
    return round(_TOP + _SIDE * (1 - share), 1)
