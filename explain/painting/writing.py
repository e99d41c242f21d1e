"""A painted image as a file in which every stored value outside of what was painted is that of its source."""

import gzip
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from anomaly.files import write_whole
from anomaly.images import Image
from anomaly.images.frame import Frame
from anomaly.images.image import single
from anomaly.images.nifti import write_volume
from anomaly.images.pictures import write_grey
from anomaly.images.redrawn import write_redrawn

SAYS = "drawn by anomaly paint, not measured"
NIFTI = (".nii", ".nii.gz")
DESCRIPTION = {348: (148, 80), 540: (240, 80)}
"""Where the two headers of NIfTI keep a description, by their own length."""
WHOLE = (np.uint8, np.int16, np.uint16, np.int32)


def write_painted(stem: Path, image: Image, values: np.ndarray, painted: np.ndarray, says: str = SAYS) -> Path:
    """Write an image that was painted on; its path.

    A NIfTI source gives a copy of its file, header, type and scaling as they were, in which nothing but the painted
    voxels and the description differ; a picture a PNG of its depth; everything else NIfTI, of whole numbers where the
    source holds whole numbers.

    Args:
        stem: path without its ending.
        image: the image that was painted on, as read.
        values: (C, *space), in its intensities.
        painted: (*space) bool.
        says: in the file's header, short, in ASCII.
    """
    path = stem.with_name(f"{stem.name}.nii.gz")
    if image.kind == "picture":
        return write_redrawn(stem, image, values, says)
    if image.kind == "nifti" and image.path.name.lower().endswith(NIFTI):
        write_whole(path, gzip.compress(patched(image, values, painted, says), 6, mtime=0))
        return path
    kind = next((k for k in WHOLE if (image.pixels == image.pixels.astype(k)).all()), None)
    if kind is None:
        return write_redrawn(stem, image, values, says)
    stored = np.rint(values).clip(np.iinfo(kind).min, np.iinfo(kind).max).astype(kind)
    _write_typed(
        path, stored[0] if len(stored) == 1 else np.moveaxis(stored, 0, -1), image.frame, len(stored) > 1, says
    )
    return path


def patched(image: Image, values: np.ndarray, painted: np.ndarray, says: str) -> bytes:
    """The bytes of a NIfTI file with other values where something was painted; arguments as of `write_painted`."""
    content = image.path.read_bytes()
    raw = bytearray(gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content)
    file: Any = nib.load(image.path)
    proxy = file.dataobj
    stored = np.ndarray(proxy.shape, proxy.dtype, buffer=raw, offset=proxy.offset, order="F")
    fields = stored.dtype.names
    channels = [stored[name] for name in fields] if fields else _channels(stored)
    slope, inter = (1.0, 0.0) if fields else (float(proxy.slope or 1), float(proxy.inter))
    for channel, found in zip(channels, values, strict=True):
        voxels = _of_space(channel)
        back = (found[painted].astype(np.float64) - inter) / slope
        if voxels.dtype.kind in "iub":
            limits = np.iinfo(voxels.dtype)
            back = np.rint(back).clip(limits.min, limits.max)
        voxels[painted] = back.astype(voxels.dtype)
    head = next(n for n in DESCRIPTION if int.from_bytes(raw[:4], "little") == n or int.from_bytes(raw[:4], "big") == n)
    start, length = DESCRIPTION[head]
    raw[start : start + length] = says.encode("ascii")[: length - 1].ljust(length, b"\0")
    return bytes(raw)


def write_places(path_stem: Path, image: Image, places: np.ndarray) -> Path:
    """Write places of classes (*space) on the grid of an image: a PNG beside a picture, else NIfTI; its path."""
    if image.kind == "picture":
        path = path_stem.with_name(f"{path_stem.name}.png")
        write_grey(path, places.astype(np.uint8))
        return path
    path = path_stem.with_name(f"{path_stem.name}.nii.gz")
    _write_typed(path, places.astype(np.uint8), image.frame, False, "lesions that were drawn")
    return path


def _write_typed(path: Path, values: np.ndarray, frame: Frame, channels: bool, says: str) -> None:
    if values.dtype.kind not in "iu":
        write_volume(path, values, frame, channels=channels, says=says)
        return
    file = frame.nifti(frame.whole(values, channels))
    file.set_data_dtype(values.dtype)
    file.header["descrip"] = says.encode("ascii")
    write_whole(path, gzip.compress(file.to_bytes(), 6, mtime=0))


def _channels(stored: np.ndarray) -> list[np.ndarray]:
    """Views of the channels of (i, j, k[, 1 ...][, C]), as `read_nifti` tells them."""
    while stored.ndim > 3 and stored.shape[-1] == 1:
        stored = stored[..., 0]
    return [stored[..., c] for c in range(stored.shape[3])] if stored.ndim == 4 else [stored]


def _of_space(channel: np.ndarray) -> np.ndarray:
    """A view without the axis of space that is 1 long, which an image has not."""
    while channel.ndim > 3 and channel.shape[-1] == 1:
        channel = channel[..., 0]
    dropped = single(channel.shape)
    return channel if dropped is None else channel.squeeze(dropped)
