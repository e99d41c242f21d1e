"""Small pictures and volumes with structure, written as files, and a restorer that takes a moment."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
from PIL import Image

from anomaly.nets.losses import gaussian_blur

TINY: dict[str, Any] = {"width": 4, "levels": 2, "steps": 6, "batch": 2, "window": 16}


def blobs(seed: int, *space: int) -> np.ndarray:
    """Smooth structure in [0, 1]."""
    import torch

    noise = torch.randn(1, 1, *space, generator=torch.Generator().manual_seed(seed))
    smooth = gaussian_blur(noise, 1.5)[0, 0].numpy()
    found: np.ndarray = (smooth - smooth.min()) / (smooth.max() - smooth.min())
    return found


def pictures(folder: Path, count: int = 12, side: int = 24, depth: int = 8) -> Path:
    """Pictures of one size but the last, and a table with a label; gives the table."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for k in range(count):
        height = side if k < count - 1 else side + 9
        kind = np.uint8 if depth == 8 else np.uint16
        values = (blobs(k, height, side) * np.iinfo(kind).max).astype(kind)
        Image.fromarray(values).save(folder / f"p{k:02d}.png")
        rows.append({"path": f"p{k:02d}.png", "subject": f"s{k:02d}", "label": k % 2})
    pd.DataFrame(rows).to_csv(folder / "cohort.csv", index=False)
    return folder / "cohort.csv"


def volume(path: Path, values: np.ndarray, affine: np.ndarray) -> Path:
    """A NIfTI file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(values.astype(np.float32), affine), path)
    return path


def volumes(folder: Path, count: int = 5, space: tuple[int, ...] = (16, 18, 12)) -> Path:
    """Volumes whose axes run to the left, to the back and up; gives the folder."""
    affine = np.diag([-2.0, -2.0, 3.0, 1.0])
    for k in range(count):
        volume(folder / f"sub-{k:02d}_T1w.nii.gz", 1000 * blobs(k, *space), affine)
    return folder
