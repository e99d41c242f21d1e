"""A small cohort with label maps, and a run that learned from it, for the tests of synthesis."""

from pathlib import Path

import numpy as np
import pandas as pd

from anomaly.images.nifti import write_volume
from anomaly.images.pictures import write_grey
from anomaly.images.preprocessing import Preprocessing
from anomaly.synthesis.learning import learn_synthesis
from anomaly.synthesis.mapped import Mapped
from anomaly.synthesis.run import SynthesizerRun
from anomaly.training.machine import Machine

TINY = {"steps": 4, "batch": 2, "width": 4, "levels": 2, "critic_width": 4, "halved": 1}
GREY = {0: 20, 3: 200, 7: 110}
"""Of the numbers of label maps."""


def drawn_map(k: int, side: int = 20) -> np.ndarray:
    """A body of class 3 with a lesion of class 7 in it, whose place hangs on k."""
    found = np.zeros((side, side), dtype=np.uint8)
    found[3:-3, 3:-4] = 3
    row, column = 5 + k % 7, 5 + (3 * k) % 8
    found[row : row + 4, column : column + 3] = 7
    return found


def cohort(folder: Path, count: int = 10, *, first: int = 0, side: int = 20, mask: bool = False) -> Path:
    """`images/`, `labels/`, perhaps `masks/`, and `cohort.csv` with two images a person."""
    rows = []
    random = np.random.default_rng(first)
    for k in range(first, first + count):
        places = drawn_map(k, side)
        image = np.vectorize(GREY.get)(places) + random.normal(0, 6, places.shape)
        for kind, values in {"images": image.clip(0, 255), "labels": places}.items():
            (folder / kind).mkdir(parents=True, exist_ok=True)
            write_grey(folder / kind / f"p{k:03d}.png", np.asarray(values).astype(np.uint8))
        row = {"path": f"images/p{k:03d}.png", "labels": f"labels/p{k:03d}.png", "subject": f"s{k // 2}"}
        if mask:
            inside = np.zeros((side, side), dtype=np.uint8)
            inside[2:-2, 1:-1] = 1
            (folder / "masks").mkdir(exist_ok=True)
            write_grey(folder / "masks" / f"p{k:03d}.png", inside * 255)
            row["mask"] = f"masks/p{k:03d}.png"
        rows.append(row)
    pd.DataFrame(rows).to_csv(folder / "cohort.csv", index=False)
    return folder / "cohort.csv"


def volumes(folder: Path, count: int = 6) -> Path:
    """The same as volumes with an affine."""
    affine = np.array([[0, -2.0, 0, 5], [1.5, 0, 0, -7], [0, 0, 3.0, 2], [0, 0, 0, 1]])
    rows = []
    for k in range(count):
        places = np.stack([drawn_map(k + z // 4) for z in range(9)], axis=-1)
        image = np.vectorize(GREY.get)(places) + np.random.default_rng(k).normal(0, 6, places.shape)
        for kind, values in {"images": image, "labels": places}.items():
            (folder / kind).mkdir(parents=True, exist_ok=True)
            write_volume(folder / kind / f"v{k}.nii.gz", values.astype(np.float32), affine)
        rows.append({"path": f"images/v{k}.nii.gz", "labels": f"labels/v{k}.nii.gz"})
    pd.DataFrame(rows).to_csv(folder / "cohort.csv", index=False)
    return folder / "cohort.csv"


def synthesizing(images: Path, out: Path, method: str = "pix2pix-labels", **asked) -> SynthesizerRun:
    """A run that learned next to nothing, at the size and range of the pictures."""
    given = {"settings": TINY, "preprocessing": Preprocessing(size=20, intensity="range")} | asked
    mask = given.pop("mask", None)
    mapped = Mapped(images=images, labels=given.pop("labels", "labels"), mask=mask)
    return learn_synthesis(mapped, out, method=method, machine=Machine(device="cpu"), choose=0.2, **given)
