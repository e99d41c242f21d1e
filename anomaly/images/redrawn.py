"""An image that a network has changed, in the intensities and on the grid of its own file, and marked as drawn."""

from pathlib import Path

import numpy as np

from anomaly.images.frame import Frame
from anomaly.images.image import Image
from anomaly.images.nifti import write_volume
from anomaly.images.pictures import write_grey
from anomaly.images.prepared import Prepared


def changed(image: Image, prepared: Prepared, change: np.ndarray) -> np.ndarray:
    """What is left of an image (C, *space), in its own intensities, once a change has been taken from it.

    The change is brought to the image's grid, so that the image keeps what is finer than the grid of the network.

    Args:
        image: as read.
        prepared: as the network took it.
        change: image minus what was drawn, on the prepared grid, (S, C, *size); colours get one change for all channels
            where the network saw them grey.
    """
    channels = [prepared.restore(change[:, c : c + 1]) * prepared.unit[c] for c in range(change.shape[1])]
    per_channel = np.stack(channels)
    if len(per_channel) != len(image.pixels):
        per_channel = per_channel.mean(0, keepdims=True)
    left: np.ndarray = image.pixels - per_channel.astype(np.float32)
    return within_limits(image, left)


def within_limits(image: Image, values: np.ndarray) -> np.ndarray:
    """Values (C, *space) of an image, clipped to those that its file can hold."""
    # The window in which a DICOM image is shown bounds nothing.
    return values if image.limits is None or image.kind == "dicom" else values.clip(*image.limits)


def write_redrawn(stem: Path, image: Image, values: np.ndarray, says: str = "", frame: Frame | None = None) -> Path:
    """Write an image that was redrawn (C, *space): a PNG of the depth of its picture, NIfTI for everything else.

    Args:
        stem: path without its ending.
        image: the image it was made of, for its kind and where it lies.
        values: (C, *space), in the intensities of the image.
        says: in the file's header, that it was drawn and by what; short, in ASCII.
        frame: where it lies; None for where the image lies.

    Returns:
        The path.
    """
    if image.kind == "picture" and image.limits is not None and len(values) in (1, 3):
        path = stem.with_name(f"{stem.name}.png")
        kind = np.uint8 if image.limits[1] <= 255 or len(values) == 3 else np.uint16
        scale = np.iinfo(kind).max / image.limits[1]
        stored = np.rint(values * scale).astype(kind)
        write_grey(path, stored[0] if len(stored) == 1 else np.moveaxis(stored, 0, -1), says=says)
        return path
    path = stem.with_name(f"{stem.name}.nii.gz")
    one = len(values) == 1
    shown = values[0] if one else np.moveaxis(values, 0, -1)
    write_volume(path, shown, image.frame if frame is None else frame, channels=not one, says=says)
    return path
