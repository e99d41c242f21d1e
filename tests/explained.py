"""Small folders of cases and controls, and explainers and classifiers trained on them in a moment."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import PIL.Image
from studies import SIDE, SOLID, values, volumes
from tiny import CPU

from anomaly.images.preprocessing import Preprocessing
from explain.runs.learning import learn
from explain.runs.run import LearnedRun
from explain.sides.sides import Sides

RANGE = Preprocessing(size=SIDE, intensity="range")
ADDITIVE = {"steps": 4, "batch": 4, "width": 4, "critic_width": 4, "critic_turns": 1, "warm_up": 2, "decay": 0.0}
CLASSIFIER = {"steps": 4, "batch": 4, "width": 4, "look_every": 2}
BOX = (slice(2, 6), slice(3, 7))


def write(path: Path, image: np.ndarray) -> str:
    """Write a picture; its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(image).save(path)
    return path.name


def two_sides(folder: Path, count: int = 20) -> Path:
    """Folders `controls` and `cases`, `twins` of the cases without their box, `masks`, and a table of all images."""
    rows = []
    for i in range(count):
        for side in ("controls", "cases"):
            healthy = values((SIDE, SIDE), seed=2 * i + (side == "cases")) // 2
            sick = healthy.copy()
            sick[BOX] += 100
            name = f"{side[:2]}{i:03d}.png"
            row = {"path": f"{side}/{name}", "subject": f"{side[:2]}{i // 2}", "sick": int(side == "cases")}
            write(folder / side / name, sick if row["sick"] else healthy)
            if row["sick"]:
                write(folder / "twins" / name, healthy)
                mask = np.zeros((SIDE, SIDE), np.uint8)
                mask[BOX] = 255
                write(folder / "masks" / name, mask)
                row |= {"twin": f"twins/{name}", "mask": f"masks/{name}"}
            rows.append(row)
    pd.DataFrame(rows).to_csv(folder / "cohort.csv", index=False)
    return folder / "cohort.csv"


def solid_sides(folder: Path) -> Sides:
    """Folders of volumes."""
    return Sides(cases=volumes(folder / "cases", 10, name="c"), controls=volumes(folder / "controls", 10, name="n"))


def explaining(sides: Sides, out: Path, method: str = "additive", **options: Any) -> LearnedRun:
    """A run on the CPU, prepared as small pictures unless told otherwise."""
    settings = options.pop("settings", CLASSIFIER if method == "classifier" else ADDITIVE)
    given = {"preprocessing": RANGE, "machine": CPU, "workers": 1, "settings": settings, **options}
    return learn(sides, out, method=method, **given)


__all__ = ["BOX", "RANGE", "SIDE", "SOLID", "explaining", "solid_sides", "two_sides", "write"]
