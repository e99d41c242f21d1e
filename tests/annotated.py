"""Small images with bright discs and dark boxes, their label maps, and segmenters that learn them in a moment."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
from explained import write
from tiny import CPU

from anomaly.images.preprocessing import Preprocessing
from anomaly.segmentation.annotations import Annotations
from anomaly.segmentation.learning import learn_segmentation
from anomaly.segmentation.run import SegmenterRun

SIDE = 24
TINY: dict[str, Any] = {"width": 4, "levels": 2, "steps": 4, "batch": 4, "window": 16, "augment": "none"}
SHORT: dict[str, Any] = {**TINY, "width": 8, "steps": 60, "batch": 8, "lr": 1e-2, "dropout": 0.0}
OPTIONS = [option for name, value in TINY.items() for option in ("--set", f"{name}={value}")]
RANGE = Preprocessing(size=None, intensity="range")
DISC, BOX = 2, 5
"""The numbers of label maps."""


def drawn(seed: int, space: tuple[int, ...] = (SIDE, SIDE), *, disc: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """An image of 8 bits with a bright disc (or ball) and a dark box, and its label map."""
    rng = np.random.default_rng(seed)
    image, places = rng.normal(110, 8, space), np.zeros(space, np.uint8)
    grid = np.stack(np.meshgrid(*map(np.arange, space), indexing="ij"))
    if disc:
        middle = [rng.integers(4, side - 4) for side in space]
        inside = ((grid - np.reshape(middle, (-1,) + (1,) * len(space))) ** 2).sum(0) <= 9
        image[inside], places[inside] = 200, DISC
    corner = [int(rng.integers(0, side - 4)) for side in space]
    box = tuple(slice(a, a + 4) for a in corner)
    image[box], places[box] = 40, BOX
    return image.clip(0, 255).astype(np.uint8), places


def pictures(folder: Path, count: int, *, first: int = 0, side: int = SIDE, name: str = "s", normal: int = 0) -> Path:
    """Folders `images` and `maps`, and a table of both with subjects; the last `normal` of them have no disc."""
    rows = []
    for i in range(first, first + count):
        image, places = drawn(i, (side, side), disc=i < first + count - normal)
        file = f"{name}{i:03d}.png"
        write(folder / "images" / file, image)
        write(folder / "maps" / file, places)
        rows.append({"path": f"images/{file}", "subject": f"{name}{i}", "drawn": f"maps/{file}", "site": i % 2})
    pd.DataFrame(rows).to_csv(folder / "cohort.csv", index=False)
    return folder / "cohort.csv"


def volumes(folder: Path, count: int, *, space: tuple[int, ...] = (16, 18, 12)) -> Path:
    """The same of volumes whose voxels are 1 x 2 x 3 mm."""
    rows = []
    affine = np.diag([-1.0, 2.0, 3.0, 1.0])
    for i in range(count):
        image, places = drawn(i, space)
        for kind, values in (("images", image), ("maps", places)):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(values, affine), folder / kind / f"v{i}.nii.gz")
        rows.append({"path": f"images/v{i}.nii.gz", "subject": f"v{i}", "drawn": f"maps/v{i}.nii.gz"})
    pd.DataFrame(rows).to_csv(folder / "cohort.csv", index=False)
    return folder / "cohort.csv"


def learned(source: Path, out: Path, *, labels: str = "drawn", **options: Any) -> SegmenterRun:
    """A run on the CPU, of images at their own size."""
    names = ("classes", "unlabelled", "labelled_where", "unlabelled_where", "mask", "where", "subject")
    asked = {name: options.pop(name) for name in names if name in options}
    given: dict[str, Any] = {
        "preprocessing": RANGE, "machine": CPU, "workers": 1, "settings": TINY, **options,
    }  # fmt: skip
    return learn_segmentation(Annotations(labelled=source, labels=labels, **asked), out, **given)
