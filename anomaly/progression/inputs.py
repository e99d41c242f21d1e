"""What pairs of visits are made of, in short, so that nothing is taken for what was made of other files."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from anomaly.cohorts.cohort import fingerprint as of_images
from anomaly.cohorts.masks import COLUMN as MASK
from anomaly.cohorts.tables import Form, GrowingTable
from anomaly.errors import RunError
from anomaly.progression.pairing import BEFORE, BEFORE_MAP, MAP

FILES = ("path", BEFORE, MAP, BEFORE_MAP, MASK)
"""Columns of files that a pair is read from."""
INPUTS = "inputs"
"""The column of a table of results that holds what each row was made of."""
OTHERS = {
    "register.json": "pairs.csv", "change.json": "changes.csv", "progress.json": "predictions.csv",
    "evaluation_of_progress.json": "progression.csv", "score.json": "scores.csv", "restore.json": "restored.csv",
    "translate.json": "translations.csv", "run.json": "a run",
}  # fmt: skip
"""Files by which a folder tells that it is that of a command, and what this left there."""


def fingerprint(pairs: pd.DataFrame) -> str:
    """Sum up pairs in one SHA-256, the same on every machine: ids, names and sizes of all their files, and years."""
    told = [f"{i} {years}" for i, years in zip(pairs["id"], pairs["years"], strict=True)]
    parts = ["\n".join(sorted(told))]
    for name in FILES:
        if name in pairs:
            there = pairs[pairs[name].astype(str) != ""]
            parts.append(f"{name} {of_images(pd.DataFrame({'id': there['id'], 'path': there[name]}))}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def inputs_of(*rows: Mapping[str, Any], also: Sequence[str] = ()) -> str:
    """Sum up one pair in 16 letters: the paths and sizes of its files, and the years between its visits.

    Args:
        rows: of the pair, one a contrast.
        also: further columns that count.
    """
    parts: list[Any] = []
    for row in rows:
        files = {name: str(row[name]) for name in FILES if row.get(name)}
        sizes = of_images(pd.DataFrame({"id": list(files), "path": list(files.values())}))
        parts += [files, sizes, str(row["years"]), *(str(row.get(name, "")) for name in also)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def refuse_others(form: Form, out: Path) -> None:
    """Refuse a folder of another command, whose `errors.csv` this one would take away.

    Raises:
        RunError: so.
    """
    for facts, left in OTHERS.items():
        if facts != form.facts and (out / facts).exists():
            raise RunError(f"{out} holds {left} of another command ({facts}); choose another --out")


def left_of(table: GrowingTable, rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The pairs, each with its `INPUTS`, that are not in a table of results yet.

    Raises:
        RunError: one stands there that was made of other files: maps, masks, an earlier visit.
    """
    before = pd.read_csv(table.path, dtype=str, keep_default_na=False) if table.done else pd.DataFrame()
    known: dict[str, set[str]] = {}
    for done in before.to_dict("records"):
        known.setdefault(done["path"], set()).add(done[INPUTS])
    for row in rows:
        if row[INPUTS] not in known.get(row["path"], {row[INPUTS]}):
            raise RunError(
                f"{table.path} has {row['path']} with another earlier visit, map, mask or years, or its files have "
                "changed since; choose another --out"
            )
    return table.left(rows)
