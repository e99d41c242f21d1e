"""A study of persons with lesions of two classes, and without, from which painters of lesions learn."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import PIL.Image

from anomaly.images.preprocessing import Preprocessing
from explain.painting.cohort import Lesions

SIDE = 24
TINY: dict[str, Any] = dict(steps=6, width=4, levels=2, critic_width=4, halved=1, batch=4, window=16)
RANGE = Preprocessing(intensity="range")
LESIONS = Lesions(given="mask", column="kind")
AT = {"bright": (4, 6), "dark": (14, 12), "edge": (0, 20)}


def write(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(values.astype(np.uint8)).save(path)


def study(home: Path, *, persons: int = 24, name: str = "p") -> Path:
    """Persons with a bright lesion, a dark one at another place, or none; two of them with one at the border."""
    rows = []
    for k in range(persons):
        kind = ("bright", "dark", "")[k % 3]
        rng = np.random.default_rng(k)
        twin = rng.normal(120, 12, (SIDE, SIDE)).clip(60, 200)
        values, mask = twin.copy(), np.zeros((SIDE, SIDE))
        if kind:
            a, b = AT["edge"] if k < 2 else AT[kind]
            mask[a : a + 4, b : b + 4] = 1 if kind == "bright" else 2
            values[mask > 0] += 50 if kind == "bright" else -50
        write(home / f"images/{name}{k}.png", values)
        write(home / f"twins/{name}{k}.png", twin)
        write(home / f"masks/{name}{k}.png", mask)
        write(home / f"tissues/{name}{k}.png", 1 + (np.arange(SIDE * SIDE).reshape(SIDE, SIDE) >= SIDE * SIDE // 2))
        row = {"path": f"images/{name}{k}.png", "subject": f"{name}{k}", "kind": kind, "ill": int(bool(kind))}
        row |= {each: f"{each}/{name}{k}.png" for each in ("tissues", "twins")}
        masks = f"masks/{name}{k}.png"
        rows.append({**row, "mask": masks if kind else "", "numbers": masks})
    pd.DataFrame(rows).to_csv(home / f"{name}.csv", index=False)
    return home / f"{name}.csv"
