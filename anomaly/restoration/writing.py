"""A restored image as a file that says of itself that it was drawn."""

from pathlib import Path

import numpy as np

from anomaly.images import Image, write_volume
from anomaly.images.frame import Frame
from anomaly.images.pictures import write_grey

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
    stem = f"{FOLDER}/{name}_restored"
    if image.kind == "picture" and image.limits is not None and len(values) in (1, 3):
        kind = np.uint8 if image.limits[1] <= 255 or len(values) == 3 else np.uint16
        stored = np.rint(values * (np.iinfo(kind).max / image.limits[1])).astype(kind)
        write_grey(folder / f"{stem}.png", stored[0] if len(stored) == 1 else np.moveaxis(stored, 0, -1), says=SAYS)
        return f"{stem}.png"
    one = len(values) == 1
    shown = values[0] if one else np.moveaxis(values, 0, -1)
    write_volume(folder / f"{stem}.nii.gz", shown, frame, channels=not one, says=SAYS)
    return f"{stem}.nii.gz"
