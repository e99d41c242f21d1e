"""What files store, each value of its own type: by which an image that was painted on is held against its source."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import PIL.Image

from anomaly.errors import UnreadableImage
from anomaly.images import Image, read
from anomaly.images.image import single
from anomaly.images.pictures import FORMATS

NIFTI = (".nii", ".nii.gz")


def stored(image: Image) -> np.ndarray:
    """Values (C, *space) of the file of an image, of the type it stores them in where that is known.

    NIfTI as stored, before its scaling; arrays of their own type; pictures with their transparency as a last channel;
    everything else as read, in 32 bits.
    """
    if image.kind == "nifti" and image.path.name.lower().endswith(NIFTI):
        return np.stack([of_space(each) for each in channels(nib.load(image.path).dataobj.get_unscaled())])  # type: ignore[attr-defined]
    if image.kind == "array":
        return _array(image.path)
    alpha = transparency(image)
    return image.pixels if alpha is None else np.concatenate([image.pixels, alpha[None]])


def differing(image: Image, written: Path) -> np.ndarray:
    """Where (*space) a written image stores something else than its source; everywhere if it has other channels."""
    before, after = stored(image), stored(read(written))
    if before.shape != after.shape:
        return np.ones(image.space, dtype=bool)
    found: np.ndarray = (before != after).any(0)
    return found


def transparency(image: Image) -> np.ndarray | None:
    """The transparency (rows, columns) uint8 of a picture of 8 bits; None where it has none.

    Raises:
        UnreadableImage: its file holds another format by now than those that are read.
    """
    if image.kind != "picture" or image.limits is None or image.limits[1] > 255:
        return None
    try:
        file = PIL.Image.open(image.path, formats=FORMATS)
    except PIL.UnidentifiedImageError:
        raise UnreadableImage(f"{image.path}: holds no {', '.join(FORMATS)} any more; was it written over?") from None
    with file:
        return np.asarray(file.convert("RGBA"))[..., 3] if file.has_transparency_data else None


def channels(values: np.ndarray) -> list[np.ndarray]:
    """Views of the channels of (i, j, k[, 1 ...][, C]), as `read_nifti` tells them; of records, a channel a field."""
    if values.dtype.names:
        return [values[name] for name in values.dtype.names]
    while values.ndim > 3 and values.shape[-1] == 1:
        values = values[..., 0]
    return [values[..., c] for c in range(values.shape[3])] if values.ndim == 4 else [values]


def of_space(channel: np.ndarray) -> np.ndarray:
    """A view without the axis of space that is 1 long, which an image has not."""
    while channel.ndim > 3 and channel.shape[-1] == 1:
        channel = channel[..., 0]
    dropped = single(channel.shape)
    return channel if dropped is None else channel.squeeze(dropped)


def _array(path: Path) -> np.ndarray:
    """As `read_array` lays it out."""
    content: Any = np.load(path, allow_pickle=False)
    values = content if isinstance(content, np.ndarray) else content[content.files[0]]
    values = values if values.ndim == 4 else values[None]
    thin = single(values.shape[1:])
    return np.asarray(values if thin is None else values.squeeze(thin + 1))
