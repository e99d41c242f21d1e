"""Chooses the scored images that a page shows, and lists all of them for its table."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd

from anomaly.reporting import gallery
from anomaly.reporting.template import figure, p_value

_KEPT = 4  # significant digits in the table of all images
_LISTED = {
    "id": "image", "value": "value", "z": "z", "p_value": "p", "flagged": "flagged",
    "unlike_p": "p of being unlike", "unlike": "unlike what was learned",
}  # fmt: skip
_CHOICES = {
    "flagged": ("flagged", "flagged"), "unlike": ("unlike", "unlike what was learned"),
    "case": ("outcome", "with the outcome"), "control": ("outcome", "without the outcome"),
}  # fmt: skip
_FALSE_POSITIVES = "Those flagged among them are false positives: look for what else is unusual in them."
_FALSE_NEGATIVES = "Those not flagged among them are false negatives: look for what the detector did not see."
_UNLIKE = "Look at these first: what is unlike all that was learned gets a value that says little of disease."


def truth(value: Any) -> bool:
    """Whether a cell says yes."""
    return str(value).strip().lower() in ("true", "1", "1.0")


def unlike(scores: pd.DataFrame) -> pd.Series:
    """Why each image is unlike what was learned, in words; empty where it is not, or where nobody asked."""
    told = scores["unlike"] if "unlike" in scores else pd.Series("", index=scores.index)
    return told.where(told.notna(), "").astype(str).str.strip()


def shown(scores: pd.DataFrame, home: Path, outcomes: Mapping[str, int], outcome: str | None) -> list[dict[str, Any]]:
    """The groups of images that a page shows, each with a title and cards.

    Those at both ends; where an outcome is known, the controls that score highest and the cases that score lowest;
    and those that are unlike what was learned, the least likely first.
    """
    most, least = gallery.extremes(scores)
    parts: list[tuple[str, str | None, pd.DataFrame, int]]
    parts = [("Most abnormal", None, most, len(scores)), ("Least abnormal", None, least, len(scores))]
    known = scores["id"].map(outcomes)
    ordered = scores.sort_values("value", ascending=False, kind="stable")
    for title, about, side, chosen in (
        ("Highest of those without", _FALSE_POSITIVES, 0, ordered),
        ("Lowest of those with", _FALSE_NEGATIVES, 1, ordered.iloc[::-1]),
    ):
        rows = chosen[known.reindex(chosen.index) == side]
        parts.append((f"{title} {outcome}", about, rows.head(gallery.SHOWN), len(rows)))
    strange = scores[unlike(scores) != ""]
    if "unlike_p" in strange:
        strange = strange.sort_values("unlike_p", kind="stable")
    parts.append(("Unlike what was learned", _UNLIKE, strange.head(gallery.SHOWN), len(strange)))
    return [
        {"title": title, "about": about, "of": of, "cards": _cards(rows, home, outcomes, outcome)}
        for title, about, rows, of in parts
    ]


def _cards(rows: pd.DataFrame, home: Path, outcomes: Mapping[str, int], outcome: str | None) -> list[dict[str, Any]]:
    """What is said and shown of each image."""
    told = zip(rows.iterrows(), unlike(rows), strict=True)
    return [_card(row, home, reason, outcomes.get(row["id"]), outcome) for (_, row), reason in told]


def _card(row: pd.Series, home: Path, reason: str, side: int | None, outcome: str | None) -> dict[str, Any]:
    told = [f"value {figure(row['value'], 3)}"]
    told += [f"z {figure(row['z'])}"] if row.get("z") is not None else []
    told += [f"p {p_value(row['p_value'])}"] if row.get("p_value") is not None else []
    flagged = truth(row.get("flagged"))
    tags = ["flagged"] if flagged else []
    tags += [] if side is None else [f"{'with' if side == 1 else 'without'} {outcome}"]
    return {
        "id": row["id"],
        "told": ", ".join(told),
        "flagged": flagged,
        "tags": tags,
        "unlike": reason,
        "picture": gallery.picture(row, home),
        "alt": f"Image {row['id']} with its anomaly map, value {figure(row['value'], 3)}",
    }


def listed(scores: pd.DataFrame, home: Path, page: Path, outcomes: Mapping[str, int], outcome: str) -> dict[str, Any]:
    """All images for the table of a page in the folder `page`: its columns, its rows, and what can be chosen.

    A row ends in the address of the image's heatmap as it lies from the page, where there is a picture.
    """
    scores = scores.sort_values("value", ascending=False, kind="stable").reset_index(drop=True)
    table = pd.DataFrame({"id": scores["id"].astype(str)})
    for name in ("value", "z", "p_value"):
        if name in scores:
            table[name] = _rounded(scores[name])
    if "flagged" in scores:
        table["flagged"] = np.where(scores["flagged"].map(truth), "yes", "no")
    if outcomes:
        table["outcome"] = scores["id"].map(outcomes).map({1: "with", 0: "without"})
    if "unlike_p" in scores:
        table["unlike_p"] = _rounded(scores["unlike_p"])
    if "unlike" in scores:
        table["unlike"] = unlike(scores)
    links = _links(scores, home, page)
    names, titles = [str(name) for name in table], _LISTED | {"outcome": outcome}
    rows = table.astype(object).where(table.notna(), None).to_numpy().tolist()
    return {
        "columns": [
            {"name": name, "title": titles[name], "number": pd.api.types.is_numeric_dtype(table[name])}
            for name in names
        ],
        "rows": [[*row, link] for row, link in zip(rows, links, strict=True)],
        "linked": any(links),
        "choices": {name: told for name, (column, told) in _CHOICES.items() if column in table},
    }


def _rounded(column: pd.Series) -> pd.Series:
    numbers = pd.to_numeric(column, errors="coerce").astype(float)
    return numbers.map(lambda value: float(f"{value:.{_KEPT}g}") if np.isfinite(value) else np.nan)


def _links(scores: pd.DataFrame, home: Path, page: Path) -> list[str | None]:
    """Where the picture of each heatmap lies, from the page."""
    if "heatmap" not in scores:
        return [None] * len(scores)
    try:
        away = os.path.relpath(home.resolve(), page.resolve())
    except ValueError:  # another drive
        return [None] * len(scores)
    there = {str(file.relative_to(home)) for folder in _folders(scores, home) for file in folder.glob("*.png")}
    return [_link(cell, away, there) for cell in scores["heatmap"]]


def _folders(scores: pd.DataFrame, home: Path) -> set[Path]:
    cells = scores["heatmap"].dropna().astype(str)
    return {home / Path(name.strip()).parent for cell in cells for name in cell.split(";")}


def _link(cell: Any, away: str, there: set[str]) -> str | None:
    names = [name.strip() for name in cell.split(";")] if isinstance(cell, str) else []
    name = next((name for name in names if name in there), None)
    return None if name is None else quote(Path(away, name).as_posix())
