"""What was drawn of a label map, on the grid of its file, marked as drawn."""

import dataclasses
from pathlib import Path

import numpy as np

from anomaly.images import Image
from anomaly.images.prepared import Prepared
from anomaly.images.preprocessing import Preprocessing
from anomaly.images.redrawn import write_redrawn

SYNTHESIZED = "_synthesized"
WHITE = 255.0


def back_on_grid(drawn: np.ndarray, image: Image, prepared: Prepared, preprocessing: Preprocessing) -> np.ndarray:
    """Images (S, C, *size) in [-1, 1] of a label map on its own grid, (C, *space), in intensities of a file.

    Black to white are those of the window where the run has one, else 0 to 255 of pictures and 0 to 1 of volumes: a
    label map says nothing of intensities. What the network did not see is black.
    """
    shares = np.stack([prepared.restore((drawn[:, c : c + 1] + 1) / 2) for c in range(drawn.shape[1])]).clip(0, 1)
    low, high = preprocessing.window if preprocessing.intensity == "window" and preprocessing.window else (0.0, 1.0)
    if picture(image) and preprocessing.intensity != "window":
        high = WHITE
    values: np.ndarray = (low + shares * (high - low)).astype(np.float32)
    return values


def picture(image: Image) -> bool:
    """Whether what is drawn of a label map is written as a picture."""
    return image.kind == "picture"


def write_drawn(out: Path, name: str, image: Image, values: np.ndarray, says: str) -> Path:
    """Write an image (C, *space) drawn of a label map: PNG of 8 bits for a picture, NIfTI for everything else."""
    limits = (0.0, WHITE) if picture(image) and values.min() >= 0 and values.max() <= WHITE else None
    own = dataclasses.replace(image, limits=limits)
    return write_redrawn(out / f"{name}{SYNTHESIZED}", own, values, says)
