"""An image in memory: its values and where in the body they lie."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from anomaly.errors import UnreadableImage
from anomaly.images.frame import Frame

Done = TypeVar("Done")
FLAT = 1e-6  # of a cube, what is left of its volume where its edges are skewed beyond use
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""Of a disk or a quota; whatever else a system says of a file is that image's own failure."""
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
    source: what the file says of its geometry, codes and units included; None where the affine says all.
    measured: False where the file was to tell the size of its pixels in millimetres, and does not: its affine then
        counts pixels.
    padding: (*space) bool, where nothing was measured (DICOM pads the corners of a round field of view); `pixels` has
        the least measured value there. None where all was.
    mask: (*space) bool, what of the image counts, such as the brain; None where all does.
    """

    pixels: np.ndarray
    affine: np.ndarray
    path: Path
    kind: str
    limits: tuple[float, float] | None = None
    source: Frame | None = None
    measured: bool = True
    padding: np.ndarray | None = None
    mask: np.ndarray | None = None

    @property
    def frame(self) -> Frame:
        """How whatever is written for this image has to lie: as its file lies, or by its affine."""
        if self.source is None or not np.array_equal(self.source.affine, self.affine):
            return Frame(self.affine)
        return self.source

    @property
    def space(self) -> tuple[int, ...]:
        """The size without the channels: (rows, columns) or (i, j, k)."""
        return tuple(self.pixels.shape[1:])

    @property
    def placed(self) -> bool:
        """Whether its file told where it lies; an identity is told as well by a format that always tells."""
        return self.measured and self.kind not in ("picture", "array")

    @property
    def edges(self) -> tuple[float, ...] | None:
        """Millimetres along each axis of space; None where its file does not tell."""
        lengths = np.linalg.norm(self.affine[:3, :3], axis=0)[: self.ndim]
        return tuple(lengths.tolist()) if self.placed else None

    @property
    def voxel(self) -> float:
        """The volume of a voxel, in `unit`."""
        return voxel_volume(self.affine, self.ndim) if self.placed else 1.0

    @property
    def unit(self) -> str:
        """Of volumes: mm3, or mm2 of pictures and slices, where its file tells how large a voxel is; else pixels."""
        return f"mm{self.ndim}" if self.placed else "pixels"

    @property
    def ndim(self) -> int:
        """2 for a picture, 3 for a volume."""
        return self.pixels.ndim - 1


def alone(path: Path, work: Callable[[], Done], doing: str = "prepared") -> Done:
    """Do what touches one image; whatever goes wrong is that image's own failure.

    Raises:
        UnreadableImage: with the file's name, for every error but those below and a request to stop.
        OSError: a disk is full, or the error names another file, as the one that is written.
    """
    try:
        return work()
    except UnreadableImage:
        raise
    except Exception as error:  # libraries raise almost anything on a file that nobody foresaw
        if isinstance(error, OSError) and (error.errno in FULL or _elsewhere(error, path)):
            raise
        reason = (str(error).strip().splitlines() or [""])[0]
        raise UnreadableImage(
            f"{path}: cannot be {doing} ({type(error).__name__}: {reason}); look at it, and leave it out"
        ) from error


def _elsewhere(error: OSError, path: Path) -> bool:
    named = Path(error.filename) if isinstance(error.filename, (str, Path)) else path
    return named != path and path not in named.parents


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
    if not invertible(image.affine):
        raise UnreadableImage(f"{path}: its affine cannot be inverted; repair the header or convert it again")
    return image


def invertible(affine: np.ndarray) -> bool:
    """Whether an affine says where voxels lie: no axis without length, none in the plane of the others."""
    linear = affine[:3, :3]
    lengths = np.linalg.norm(linear, axis=0)
    if not np.isfinite(affine).all() or not (lengths > 0).all():
        return False
    return bool(abs(np.linalg.det(linear / lengths)) > FLAT)


def same_grid(image: Image, other: Image) -> bool:
    """Whether two images have one shape, and affines that agree within a thousandth of a millimetre."""
    return image.space == other.space and bool(np.allclose(image.affine, other.affine, rtol=0, atol=1e-3))


def voxel_volume(affine: np.ndarray, dims: int) -> float:
    """The volume of a voxel in mm3, or the area of a pixel in mm2; of a skewed one too (a tilted gantry).

    Args:
        affine: (4, 4), voxel index to millimetres.
        dims: 3 of volumes, 2 of pictures and slices, whose pixel the first two columns span.
    """
    first, second, third = affine[:3, :3].astype(float).T
    across = np.cross(first, second)
    return float(np.linalg.norm(across) if dims == 2 else abs(across @ third))


def located(affine: np.ndarray) -> bool:
    """Whether the files told where in the body voxels lie."""
    return not np.array_equal(affine, np.eye(4))


def single(space: tuple[int, ...]) -> int | None:
    """Which of three axes is 1 long, so that a volume is a picture; the last of several; None for none."""
    return max((axis for axis, length in enumerate(space) if length == 1 and len(space) == 3), default=None)
