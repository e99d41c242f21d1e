"""A painted image as a file in which every stored value outside of what was painted is that of its source."""

import gzip
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from anomaly.files import write_whole
from anomaly.images import Image
from anomaly.images.pictures import write_grey
from anomaly.images.redrawn import write_redrawn
from explain.painting.stored import NIFTI, channels, of_space, stored, transparency

SAYS = "drawn by anomaly paint, not measured"
SAYS_MASK = "lesions drawn by anomaly paint, not measured"
DESCRIPTION = {348: (148, 80), 540: (240, 80)}
"""Where the two headers of NIfTI keep a description, by their own length."""
KINDS = (np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64)
"""Types of NIfTI, of which the first that holds all values of an image is taken."""


def write_painted(stem: Path, image: Image, values: np.ndarray, painted: np.ndarray, says: str = SAYS) -> Path:
    """Write an image that was painted on; its path.

    A NIfTI source gives a copy of its file, header, type and scaling as they were, in which nothing but the painted
    voxels and the description differ; a picture a PNG of its depth, with its transparency; everything else NIfTI, of a
    type that holds every value of the source: whole numbers, or 32 or 64 bits.

    Args:
        stem: path without its ending.
        image: the image that was painted on, as read.
        values: (C, *space), in its intensities.
        painted: (*space) bool.
        says: in the file's header, short, in ASCII.
    """
    path = stem.with_name(f"{stem.name}.nii.gz")
    if image.kind == "nifti" and image.path.name.lower().endswith(NIFTI):
        write_whole(path, gzip.compress(patched(image, values, painted, says), 6, mtime=0))
        return path
    if image.kind == "picture" and image.limits is not None:
        alpha = transparency(image)
        if alpha is None:
            return write_redrawn(stem, image, values, says)
        path = stem.with_name(f"{stem.name}.png")
        write_grey(path, np.stack([*np.rint(values).astype(np.uint8), alpha], -1), says=says)
        return path
    before = stored(image)
    after = before.astype(next((k for k in KINDS if (before == before.astype(k)).all()), np.float64))
    after[:, painted] = _within(values[:, painted], after.dtype)
    several = len(after) > 1
    file = image.frame.nifti(image.frame.whole(np.moveaxis(after, 0, -1) if several else after[0], several))
    file.set_data_dtype(after.dtype)
    file.header["descrip"] = says.encode("ascii")
    write_whole(path, gzip.compress(file.to_bytes(), 6, mtime=0))
    return path


def patched(image: Image, values: np.ndarray, painted: np.ndarray, says: str) -> bytes:
    """The bytes of a NIfTI file with other values where something was painted; arguments as of `write_painted`."""
    content = image.path.read_bytes()
    raw = bytearray(gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content)
    file: Any = nib.load(image.path)
    proxy = file.dataobj
    held = np.ndarray(proxy.shape, proxy.dtype, buffer=raw, offset=proxy.offset, order="F")
    slope, inter = (1.0, 0.0) if held.dtype.names else (float(proxy.slope or 1), float(proxy.inter))
    for channel, found in zip(channels(held), values, strict=True):
        voxels = of_space(channel)
        voxels[painted] = _within((found[painted].astype(np.float64) - inter) / slope, voxels.dtype)
    head = next(n for n in DESCRIPTION if int.from_bytes(raw[:4], "little") == n or int.from_bytes(raw[:4], "big") == n)
    start, length = DESCRIPTION[head]
    raw[start : start + length] = says.encode("ascii")[: length - 1].ljust(length, b"\0")
    return bytes(raw)


def _within(values: np.ndarray, kind: np.dtype[Any]) -> np.ndarray:
    """Values as a type holds them, those beyond its ends at its ends."""
    if kind.kind in "iub":
        limits = np.iinfo(kind)
        values = np.rint(values).clip(limits.min, limits.max)
    return values.astype(kind)
