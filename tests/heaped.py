"""Two small heaps of pictures of different people, and a translator trained on them in a moment."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from explained import write
from studies import values
from tiny import CPU

from anomaly.images.preprocessing import Preprocessing
from anomaly.translation.heaps import Heaps
from anomaly.translation.learning import learn_translation
from anomaly.translation.run import TranslatorRun

SIDE = 12
RANGE = Preprocessing(size=SIDE, intensity="range")
TINY = {
    "form": "direct",
    "steps": 4,
    "batch": 2,
    "width": 2,
    "blocks": 1,
    "critic_width": 2,
    "halved": 0,
    "remembered": 3,
}
OPTIONS = [option for name, value in TINY.items() for option in ("--set", f"{name}={value}")]


def heap(folder: Path, name: str, count: int, *, first: int = 0, side: int = SIDE) -> Path:
    """A folder of pictures NAME000.png, ..., and beside it its table with structures and true translations."""
    rows = []
    for i in range(first, first + count):
        image = values((side, side), seed=1000 * ord(name[0]) + i)
        mask = (image > 140).astype(np.uint8) * 255
        file = f"{name}{i:03d}.png"
        write(folder / name / file, image if name[0] == "a" else image // 2)
        write(folder / "twins" / file, image // 2)
        write(folder / "bright" / file, mask)
        rows.append({"path": f"{name}/{file}", "subject": file[:-4], "same": f"twins/{file}", "mask": f"bright/{file}"})
    pd.DataFrame(rows).to_csv(folder / f"{name}.csv", index=False)
    return folder / name


def two_heaps(folder: Path, **options: Any) -> Heaps:
    """Twelve pictures "from" and ten "to"."""
    return Heaps(source=heap(folder, "a", 12), target=heap(folder, "b", 10), **options)


def translating(heaps: Heaps, out: Path, **options: Any) -> TranslatorRun:
    """A run on the CPU."""
    given = {"preprocessing": RANGE, "machine": CPU, "workers": 1, "settings": TINY, **options}
    return learn_translation(heaps, out, **given)
