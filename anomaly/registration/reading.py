"""An image with its mask, as registration takes it: one contrast, or the colours of a picture."""

from pathlib import Path

from anomaly.errors import UnreadableImage
from anomaly.images import Image, read
from anomaly.images.masking import masked

COLOURS = ("picture", "dicom")
"""Kinds of files whose channels are colours, of which the mean says what is there."""


def opened(path: Path | str, mask: str | None) -> Image:
    """One image, and its mask with it.

    Raises:
        UnreadableImage: either cannot be read, or the image holds several volumes.
    """
    image = read(Path(path))
    if len(image.pixels) > 1 and image.kind not in COLOURS:
        raise UnreadableImage(f"{image.path}: holds {len(image.pixels)} volumes; give one contrast a file")
    return masked(image, mask)
