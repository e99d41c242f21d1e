"""The page of a group map: where maps go with an outcome, the regions, and what the load on the map tells."""

from pathlib import Path
from typing import Any

import pandas as pd

from anomaly.cohorts.results import read_facts, read_table
from anomaly.errors import EvaluationError
from anomaly.reporting import sections

FACTS, PAGE = "association.json", "association.html"
_CAPTIONS = {
    "regions": "Each significant region, the highest t first: its size, its peak, and means over it of the adjusted "
    "difference and of the AUROC of its voxels.",
    "prediction": "How well the load on the map, cross-fitted by person, tells each outcome, beside the raw score; "
    "AUROC with 95 % interval. Its own p is left empty: the making of the map is not counted in it.",
}
_TOLD = ("headline", "sentences", "notes", "peak")  # which have a place of their own


def told(folder: Path) -> dict[str, Any]:
    """What a page says of the group map that `associate` wrote into this folder."""
    facts = read_facts(folder / FACTS)
    named = [str(facts[name]) for name in ("outcome", "positive") if facts.get(name) is not None]
    asked = {name.replace("_", " "): _short(value) for name, value in facts.items() if name not in _TOLD}
    return {
        "headline": facts.get("headline", ""),
        "sentences": facts.get("sentences", []),
        "notes": facts.get("notes", []),
        "outcome": " ".join(named),
        "alpha": facts.get("alpha"),
        "correction": facts.get("correction"),
        "voxels": facts.get("voxels", 0),
        "picture": sections.picture(folder, "association.png"),
        "regions": _table(folder, "regions"),
        "prediction": _table(folder, "prediction") if (folder / "prediction.csv").is_file() else None,
        "asked": {name: value for name, value in asked.items() if value},
        "runs": [],
    }


def _table(folder: Path, name: str) -> dict[str, Any]:
    file = folder / f"{name}.csv"
    table = _read(file).dropna(axis=1, how="all")
    records = table.astype(object).where(table.notna(), None).to_dict("records")
    rows = [{str(column): value for column, value in row.items()} for row in records]
    return sections.table(rows) | {
        "title": name,
        "caption": _CAPTIONS[name],
    }


def _read(file: Path) -> pd.DataFrame:
    """A table that may have no rows, or be gone."""
    try:
        return read_table(file, file.stem, names=["score", "outcome", "side", "sign", "unit"])
    except EvaluationError:
        return pd.DataFrame()


def _short(value: Any) -> str:
    if value is None or value == [] or value == {}:
        return ""
    if isinstance(value, dict):
        return ", ".join(f"{name} = {each}" for name, each in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
