"""NIfTI files in, maps as NIfTI files out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from anomaly.errors import UnreadableImage
from anomaly.files import whole
from anomaly.images.image import MOST_CHANNELS, Image, as_float


def read_nifti(path: Path) -> Image:
    """Read a NIfTI file (or a FreeSurfer .mgz) as (C, i, j, k), or (C, i, j) where the third axis is 1 long.

    A short fourth axis (at most 8) becomes the channels. Raises UnreadableImage for a longer one.
    """
    file: Any = nib.load(path)
    values = np.asanyarray(file.dataobj)
    if values.dtype.names:  # RGB24: one record a voxel
        values = np.stack([values[name] for name in values.dtype.names], axis=-1)
        values = values.reshape((*values.shape[:-1], *(1,) * (4 - values.ndim), values.shape[-1]))
    limits = (0.0, 255.0) if values.dtype == np.uint8 else None
    pixels = _channels_first(as_float(values, path), path)
    return Image(pixels, np.asarray(file.affine, dtype=np.float64), path, "nifti", limits)


def write_volume(path: Path, values: np.ndarray, affine: np.ndarray) -> None:
    """Write a map as float32 NIfTI that opens over its image in any viewer.

    The file appears whole or not at all.
    values: (i, j, k), or (i, j), which is written with a third axis of length 1; affine: (4, 4), RAS+, mm.
    """
    volume = np.asarray(values, dtype=np.float32)
    file = nib.Nifti1Image(volume[..., None] if volume.ndim == 2 else volume, affine)
    file.set_qform(affine, code=1)
    file.set_sform(affine, code=1)
    file.header.set_xyzt_units("mm")
    with whole(path) as part:
        nib.save(file, part)


def _channels_first(values: np.ndarray, path: Path) -> np.ndarray:
    shape = values.shape
    while values.ndim > 3 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.ndim > 4 or (values.ndim == 4 and values.shape[3] > MOST_CHANNELS):
        raise UnreadableImage(
            f"{path}: has the shape {shape}; expected a 3D volume, or up to {MOST_CHANNELS} channels in the "
            "fourth axis: save one volume of the series, or its mean"
        )
    pixels = np.moveaxis(values, 3, 0) if values.ndim == 4 else values[None]
    if pixels.ndim == 4 and pixels.shape[3] == 1:
        pixels = pixels[..., 0]
    return np.ascontiguousarray(pixels)
