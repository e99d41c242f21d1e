"""NIfTI files in, maps as NIfTI files out."""

from __future__ import annotations

from math import inf
from pathlib import Path
from struct import unpack
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.arrayproxy import ArrayProxy
from nibabel.openers import Opener

from anomaly.errors import UnreadableImage
from anomaly.files import whole
from anomaly.images.claims import DEFLATED, refuse_more
from anomaly.images.frame import Frame, of_nifti
from anomaly.images.image import MOST_CHANNELS, Image, as_float, single

COMPRESSED = (".gz", ".mgz")


def read_nifti(path: Path) -> Image:
    """Read a NIfTI file (or FreeSurfer's .mgz) as (C, i, j, k); an axis of space that is 1 long is dropped.

    A short fourth axis (at most 8) becomes the channels. Raises UnreadableImage for a longer one.
    """
    _refuse_extensions(path)
    file: Any = nib.load(path)
    _refuse_more(file, path)
    stored = file.dataobj
    if not stored.dtype.names:
        values = np.asanyarray(stored)
    else:  # RGB24: one record a voxel, which has no slope, whatever the header says (nifti1.h, on scl_slope)
        values = stored.get_unscaled()
        values = np.stack([values[name] for name in values.dtype.names], axis=-1)
        values = values.reshape((*values.shape[:-1], *(1,) * (4 - values.ndim), values.shape[-1]))
    limits = (0.0, 255.0) if values.dtype == np.uint8 else None
    pixels, dropped = _channels_first(as_float(values, path), path)
    affine = np.asarray(file.affine, dtype=np.float64)
    is_nifti = isinstance(file.header, nib.Nifti1Header)
    frame = of_nifti(file.header, affine, dropped) if is_nifti else Frame.of(affine, dropped)
    return Image(pixels, frame.affine, path, "nifti", limits, frame)


def write_volume(
    path: Path, values: np.ndarray, where: Frame | np.ndarray, *, channels: bool = False, says: str = ""
) -> None:
    """Write a map as float32 NIfTI that opens over its image in any viewer.

    The file appears whole or not at all.

    Args:
        values: (i, j, k), or (i, j) of a picture, which is written with a third axis of length 1 where its file has it;
            with a last axis of channels where `channels` says so.
        where: `Image.frame` of the image it belongs to, or an affine (4, 4), index to millimetres, RAS+.
        says: what its header is to say of it (`descrip`), up to 79 letters of ASCII.
    """
    frame = where if isinstance(where, Frame) else Frame(where)
    file = frame.nifti(frame.whole(np.asarray(values, dtype=np.float32), channels))
    file.header["descrip"] = says.encode("ascii")
    with whole(path) as part:
        nib.save(file, part)


def _refuse_extensions(path: Path) -> None:
    """Refuse a header one of whose extensions would be longer than the file: nibabel takes memory for it first."""
    beside = [path.with_suffix(end) for end in (".hdr", ".HDR")] if path.suffix.lower() == ".img" else []
    header = next((one for one in beside if one.is_file()), path)
    held = header.stat().st_size * (DEFLATED if header.suffix.lower() in COMPRESSED else 1)
    with Opener(str(header)) as file:
        start = file.read(544)
        one = start[344:348] in (b"n+1\0", b"ni1\0")
        flag = 348 if one else 540
        if len(start) < flag + 4 or start[flag] == 0 or not (one or start[4:7] in (b"n+2", b"ni2")):
            return
        order = "<" if unpack("<i", start[:4])[0] == flag else ">"
        single = start[345:346] == b"+" if one else start[5:6] == b"+"
        offset = unpack(f"{order}f", start[108:112]) if one else unpack(f"{order}q", start[168:176])
        end = offset[0] if single else inf
        file.seek(flag + 4)
        while file.tell() + 16 <= end and len(part := file.read(8)) == 8:
            length = unpack(f"{order}i", part[:4])[0]
            refuse_more(path, [max(length, 0)], 8, held)
            file.seek(max(length - 8, 0), 1)


def _refuse_more(file: Any, path: Path) -> None:
    """Refuse a header that claims more voxels than there can be; MINC's own libraries look by themselves."""
    proxy, held = file.dataobj, file.file_map.get("image")
    if not isinstance(proxy, ArrayProxy) or held is None or held.filename is None:
        return
    ratio = DEFLATED if Path(held.filename).suffix.lower() in COMPRESSED else 1
    room = max(Path(held.filename).stat().st_size * ratio - proxy.offset, 0)
    refuse_more(path, proxy.shape, 8 * proxy.dtype.itemsize, room // ratio, ratio)


def _channels_first(values: np.ndarray, path: Path) -> tuple[np.ndarray, int | None]:
    """(C, *space), and which axis of space was dropped because it is 1 long."""
    shape = values.shape
    while values.ndim > 3 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.ndim > 4 or (values.ndim == 4 and values.shape[3] > MOST_CHANNELS):
        raise UnreadableImage(
            f"{path}: has the shape {shape}; expected a 3D volume, or up to {MOST_CHANNELS} channels in the "
            "fourth axis: save one volume of the series, or its mean"
        )
    pixels = np.moveaxis(values, 3, 0) if values.ndim == 4 else values[None]
    dropped = single(pixels.shape[1:])
    return np.ascontiguousarray(pixels if dropped is None else pixels.squeeze(dropped + 1)), dropped
