"""An image in memory: its values and where in the body they lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from anomaly.errors import UnreadableImage

MOST_CHANNELS = 8  # a longer channel axis is a time course or a stack of its own


@dataclass(frozen=True)
class Image:
    """One image as its file holds it, before any preprocessing.

    pixels: (C, *space) float32, values as stored. DICOM values are rescaled, and MONOCHROME1 is inverted, so
        that higher is brighter. Space is (rows, columns) for pictures and single DICOM images, (i, j, k) for
        volumes, as nibabel gives them.
    affine: (4, 4), voxel index to millimetres, x to the right, y to the front, z up (RAS+). The identity
        where the file tells no geometry. A 2D image uses it with k = 0.
    kind: "nifti", "dicom", "picture" or "array".
    limits: the values that black and white stand for: the range of an 8- or 16-bit picture, the display
        window of a DICOM image. None where the file does not tell.
    """

    pixels: np.ndarray
    affine: np.ndarray
    path: Path
    kind: str
    limits: tuple[float, float] | None = None

    @property
    def space(self) -> tuple[int, ...]:
        """The size without the channels: (rows, columns) or (i, j, k)."""
        return tuple(self.pixels.shape[1:])

    @property
    def ndim(self) -> int:
        """2 for a picture, 3 for a volume."""
        return self.pixels.ndim - 1


def as_float(values: np.ndarray, path: Path) -> np.ndarray:
    """Give numbers as float32; UnreadableImage for text, objects and complex values."""
    if values.dtype.kind not in "biuf":
        raise UnreadableImage(f"{path}: holds values of type {values.dtype}; save plain real numbers instead")
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(values, dtype=np.float32)


def checked(image: Image) -> Image:
    """Give the image back if every later step can use it, else raise UnreadableImage.

    Refused are: anything but 2 or 3 dimensions, an empty axis, NaN or infinite values, an affine that cannot
    be inverted.
    """
    path, pixels = image.path, image.pixels
    if image.ndim not in (2, 3) or 0 in pixels.shape:
        raise UnreadableImage(f"{path}: has the shape {image.space}; expected a 2D picture or a 3D volume")
    bad = pixels.size - int(np.isfinite(pixels).sum())
    if bad:
        raise UnreadableImage(
            f"{path}: {bad} of {pixels.size} voxels are NaN or infinite; replace them, for example by 0"
        )
    if not np.isfinite(image.affine).all() or abs(np.linalg.det(image.affine)) < 1e-9:
        raise UnreadableImage(f"{path}: its affine cannot be inverted; repair the header or convert it again")
    return image
