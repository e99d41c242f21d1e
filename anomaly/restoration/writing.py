"""A restored image as a file that says of itself that it was drawn."""

from pathlib import Path

import numpy as np

from anomaly.images import Image
from anomaly.images.frame import Frame
from anomaly.images.redrawn import write_redrawn

FOLDER = "images"
SAYS = "drawn by anomaly restore, not measured"


def write_restored(folder: Path, name: str, image: Image, values: np.ndarray, frame: Frame) -> str:
    """Write an image restored; gives the file's name from the folder.

    A PNG of the depth of the picture it came from, 8 or 16 bits; a NIfTI file of everything else. The name ends in
    `_restored`, and the header of the file says that it was drawn.

    Args:
        folder: gets `images/`.
        name: id of the image.
        image: as read.
        values: (C, *space), in its own intensities.
        frame: where it lies.
    """
    path = write_redrawn(folder / FOLDER / f"{name}_restored", image, values, SAYS, frame)
    return f"{FOLDER}/{path.name}"
