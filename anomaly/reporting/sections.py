"""Prepares the analyses of an evaluation for the page: words, a picture, and a table a person can read."""

from pathlib import Path
from typing import Any

import numpy as np

from anomaly.reporting import gallery

# How these columns are made stands in the caption of the table.
_UNTOLD = ("method", "auroc_method", "test", "z")
WIDEST = (1400, 1400)
"""Pixels (width, height) of a figure, enough to be read enlarged."""
_LOW, _HIGH = "_low", "_high"
_DIFFERENCES = ("difference", "load_minus_score")  # whose interval is called low and high
# What three decimals would show as nothing, and what is nothing.
_SMALL, _ROUNDING = 0.0005, 1e-9
# From here on decimals say nothing.
_LARGE = 100
_TITLES = {
    "n": "images", "p_value": "p", "p_holm": "p by Holm", "auroc": "AUROC", "score_a": "score", "score_b": "against",
    "adjusted_for": "adjusted for", "in_the_large": "in the large", "ap": "average precision",
    "peak_t": "peak t", "p_corrected": "corrected p",
}  # fmt: skip
_WORDS = {"p_value": "p-value", "p_holm": "p-value", "p_corrected": "p-value"}


def prepared(folder: Path, sections: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each section as evaluation.json tells it, with its picture inside and its table as text, intervals joined."""
    return [each | table(each.get("rows", [])) | {"picture": picture(folder, each.get("figure"))} for each in sections]


def picture(folder: Path, name: str | None) -> str | None:
    """A figure that lies in the folder, as a data URI; None where it does not."""
    file = folder / name if name else None
    if file is None or not file.is_file():
        return None
    return gallery.as_uri(file.read_bytes(), widest=WIDEST, kind="PNG")


def table(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Columns and cells of rows as text, intervals joined to what they are of."""
    names = [name for name in (rows[0] if rows else {}) if name not in _UNTOLD]
    shown = [name for name in names if not _is_end(name, names)]
    columns = [
        {
            "title": _TITLES.get(name, name.replace("_", " ")),
            "number": any(isinstance(row.get(name), int | float) for row in rows),
            "word": _WORDS.get(name),
        }
        for name in shown
    ]
    return {"columns": columns, "cells": [[_cell(name, row) for name in shown] for row in rows]}


def _is_end(name: str, names: list[str]) -> bool:
    stem = name.removesuffix(_LOW).removesuffix(_HIGH)
    return (stem != name and stem in names) or (name in ("low", "high") and not {*_DIFFERENCES}.isdisjoint(names))


def _cell(name: str, row: dict[str, Any]) -> str:
    value = row.get(name)
    if value is None:
        return "–"
    if not isinstance(value, float):
        return str(value)
    if name.startswith("p_"):
        return "< 0.001" if value < 0.001 else f"{value:.3f}"
    pair = ("low", "high") if name in _DIFFERENCES else (name + _LOW, name + _HIGH)
    low, high = (row.get(end) for end in pair)
    if low is None or high is None:
        return _number(value)
    return f"{_number(value)} ({_number(low)} to {_number(high)})"


def _number(value: float) -> str:
    if not np.isfinite(value):
        return "–"
    if abs(value) >= _LARGE:
        return f"{value:,.0f}"
    return f"{value:.2g}" if _ROUNDING < abs(value) < _SMALL else f"{value:z.3f}"
