"""Writes a changed image as its own source was stored: format, depth, geometry and untouched values are kept."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from anomaly.errors import UnreadableImage
from anomaly.files import whole
from anomaly.images import Image, write_volume
from anomaly.images.arrays import write_array
from anomaly.images.pictures import write_grey
from anomaly.images.reading import suffix


def write_like(image: Image, folder: Path, name: str, pixels: np.ndarray, mask: np.ndarray) -> str:
    """Write `pixels` (C, *space) into a folder, where only those in `mask` (*space) differ from `image`; its file name.

    NIfTI keeps header, type and every stored value outside the mask (FreeSurfer's .mgz becomes NIfTI); 8- and
    16-bit pictures become PNG of the same depth; arrays and pictures of other depths become `.npy` float32 (uint8
    stays); DICOM becomes float32 NIfTI, its values rescaled and MONOCHROME1 inverted. Whole numbers are rounded,
    and held within the range of their type.

    Raises:
        UnreadableImage: colours in NIfTI or DICOM.
    """
    if image.kind == "nifti":
        return _as_nifti(image, folder, name, pixels, mask)
    if image.kind == "dicom":
        if len(pixels) > 1:
            raise UnreadableImage(f"{image.path}: has {len(pixels)} channels; save it as a grey image")
        write_volume(folder / f"{name}.nii.gz", pixels[0], image.frame)
        return f"{name}.nii.gz"
    depth = {(0.0, 255.0): np.uint8, (0.0, 65535.0): np.uint16}.get(image.limits or (0.0, 0.0))
    stored = pixels if depth is None else _whole_numbers(pixels, np.dtype(depth))
    if image.kind == "picture" and depth is not None:
        write_grey(folder / f"{name}.png", np.moveaxis(stored, 0, -1) if len(stored) > 1 else stored[0])
        return f"{name}.png"
    write_array(folder / f"{name}.npy", stored if stored.ndim == 4 and len(stored) > 1 else stored[0])
    return f"{name}.npy"


def write_mask(image: Image, folder: Path, name: str, mask: np.ndarray) -> str:
    """Write a mask (*space): PNG of 0 and 255 beside pictures and 2D arrays, NIfTI beside all others; its file name."""
    if image.ndim == 2 and image.kind in ("picture", "array"):
        write_grey(folder / f"{name}.png", mask)
        return f"{name}.png"
    write_volume(folder / f"{name}.nii.gz", mask, image.frame)
    return f"{name}.nii.gz"


def _as_nifti(image: Image, folder: Path, name: str, pixels: np.ndarray, mask: np.ndarray) -> str:
    file: Any = nib.load(image.path)
    stored = np.array(file.dataobj.get_unscaled())
    if stored.dtype.names:
        raise UnreadableImage(f"{image.path}: holds colours; save it as a grey image")
    slope, shift = file.dataobj.slope, file.dataobj.inter
    changed = (np.moveaxis(pixels, 0, -1).reshape(stored.shape).astype(np.float64) - shift) / slope
    new = changed.astype(stored.dtype) if stored.dtype.kind == "f" else _whole_numbers(changed, stored.dtype)
    here = np.broadcast_to(mask[..., None], (*mask.shape, len(pixels))).reshape(stored.shape)
    header = nib.Nifti1Header.from_header(file.header)
    header.set_data_dtype(stored.dtype)
    path = folder / f"{name}{'.nii' if suffix(image.path) == '.nii' else '.nii.gz'}"
    copy = nib.Nifti1Image(np.where(here, new, stored), file.affine, header)
    copy.header.set_slope_inter(slope, shift)  # an image made in memory forgets the scale of its header
    with whole(path) as part:
        nib.save(copy, part)
    return path.name


def _whole_numbers(values: np.ndarray, kind: np.dtype[Any]) -> np.ndarray:
    limits = np.iinfo(kind)
    return np.clip(np.rint(values), limits.min, limits.max).astype(kind)
