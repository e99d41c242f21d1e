"""What in a folder this program made itself, so that no call takes its own pictures for images of people."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

FACTS: dict[str, tuple[str, ...]] = {
    "run.json": ("format", "checksum"),
    "score.json": ("weights", "alpha", "heatmaps"),
    "explain.json": ("source", "outputs", "thresholds"),
    "generated.json": ("run", "method", "seed"),
    "translate.json": ("translator", "back"),
    "translation.json": ("translator", "sentences"),
    "synthesize.json": ("synthesizer", "draws"),
    "synthesis.json": ("synthesizer", "sentences"),
    "progress.json": ("forecaster", "draws"),
    "association.json": ("headline", "permutations"),
    "evaluation.json": ("headline", "notes"),
    "check.json": ("check", "passed"),
    "checkpoint/plan.json": ("fingerprint", "preprocessing"),
}
"""Files that say that a folder is ours, and what must stand in them."""
PARTS = {
    "score.json": ("heatmaps",),
    "explain.json": ("maps",),
    "progress.json": ("maps", "pictures"),
    "run.json": ("samples", "checkpoint"),
    "checkpoint/plan.json": ("samples", "checkpoint"),
}
"""Folders of pictures that lie beside these facts."""
PAGES = {
    "sheet.png": ("generated.json", "synthesis.json", "translation.json"),
    "preview.png": ("run.json", "truth.json"),
    "training.png": ("run.json", "checkpoint/plan.json"),
    "check.png": ("check.json",),
    "association.png": ("association.json",),
    **{f"{name}.nii.gz": ("association.json",) for name in ("t", "p_corrected", "significant")},
    **{f"{name}.nii.gz": ("association.json",) for name in ("mean_difference", "auroc")},
    "roc.png": ("evaluation.json",),
    "distribution.png": ("evaluation.json",),
    **{f"{name}.png": ("evaluation.json",) for name in ("truth", "froc", "truth_best", "truth_worst")},
}
"""Files that lie beside the images of a folder that holds one of these facts too."""
MAPS = "_anomaly.nii.gz"


def told_by(folder: Path) -> str:
    """Which file says that a folder holds what this program made; "" where none does."""
    return next((name for name, keys in FACTS.items() if _says(folder / name, keys)), "")


def drawn(folder: Path) -> bool:
    """Whether a folder called `heatmaps` is one that scoring drew."""
    if folder.name != "heatmaps":
        return False
    beside = any(folder.parent.glob("scores*.csv")) or (folder.parent / "score.json").is_file()
    return beside or any(folder.glob(f"*{MAPS}"))


def parts(folder: Path) -> set[str]:
    """Names of the folders of pictures that this program drew into a folder given to it."""
    there = [name for name in PARTS if _says(folder / name, FACTS[name])]
    return {part for name in there for part in PARTS[name] if (folder / part).is_dir()}


def pages(folder: Path, names: Collection[str]) -> set[str]:
    """Those of a folder's files that this program laid beside its images."""
    found = {name for name in names if any((folder / beside).is_file() for beside in PAGES.get(name, ()))}
    if "evaluation.json" in names:
        sections = _facts(folder / "evaluation.json").get("sections")
        listed = [each.get("name") for each in sections or () if isinstance(each, dict)]
        found |= {f"{name}.png" for name in listed} & {*names}
    return found


def _says(path: Path, keys: tuple[str, ...]) -> bool:
    return path.is_file() and all(key in _facts(path) for key in keys)


def _facts(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
