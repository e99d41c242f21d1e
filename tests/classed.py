"""A cohort of three classes, and runs of a method that learns them apart in a moment."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import PIL.Image
from studies import SIDE, trained

from anomaly.generation import generate as generation
from anomaly.generation.generate import generate
from anomaly.runs.run import Run

OWN = f"{Path(__file__).parent / 'drawn_apart.py'}:Prototypes"
NAMES = ("left", "right", "upper")


def image(kind: int, seed: int, space: tuple[int, ...] = (SIDE, SIDE)) -> np.ndarray:
    """Noise, one side of which is bright: left, right or upper."""
    noise = np.random.default_rng(seed).integers(0, 60, size=space)
    sides = (np.s_[:, : SIDE // 2], np.s_[:, SIDE // 2 :], np.s_[: SIDE // 2])
    noise[sides[kind]] += 150
    return noise.astype(np.uint8)


def cohort(folder: Path, count: int = 60, first: int = 0) -> Path:
    """Images of three classes in turn, and their table with the column `finding`."""
    folder.mkdir(parents=True)
    rows = []
    for i in range(first, first + count):
        PIL.Image.fromarray(image(i % 3, i)).save(folder / f"i{i:03d}.png")
        rows.append({"path": f"i{i:03d}.png", "finding": NAMES[i % 3], "person": f"p{i}"})
    pd.DataFrame(rows).to_csv(folder / "cohort.csv", index=False)
    return folder / "cohort.csv"


def learned(normals: Path | pd.DataFrame, out: Path, **options: Any) -> Run:
    return trained(normals, out, OWN, **{"classes": "finding", "subject": "person", **options})  # type: ignore[arg-type]


def drawing(run: Path, out: Path, **options: Any) -> generation.Generated:
    return generate(run, out, **{"count": 7, "pairs": 5, "device": "cpu", "method": OWN, **options})


def as_table(home: Path) -> pd.DataFrame:
    """The cohort as a table whose paths are whole."""
    table = pd.read_csv(home / "normals" / "cohort.csv")
    return table.assign(path=[str(home / "normals" / name) for name in table["path"]])


def opened(path: Path) -> Run:
    return Run.open(path, method=OWN)
