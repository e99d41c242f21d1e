"""Where the pixels of a prepared image lie: one matrix from its grid to the grid of the source."""

from collections.abc import Callable

import numpy as np
from nibabel.affines import voxel_sizes
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

from anomaly.errors import UnreadableImage
from anomaly.images.image import Image

MOST_PIXELS = 2**30  # 4 GiB of single precision
SLICES = {"axial": "SI", "sagittal": "LR", "coronal": "AP"}  # the ends of the axis the slices follow


def place(
    image: Image,
    *,
    dims: int,
    shape: tuple[int, ...] | None,
    fit: str,
    spacing: tuple[float, ...] | None,
    orientation: str,
    slices: str,
) -> tuple[np.ndarray, tuple[int, ...], int | None]:
    """Work out the whole geometry as one matrix, prepared index to source index, with the prepared grid.

    Also given: the prepared axis along which a volume is taken apart, None where it is not. The settings are those
    of `Preprocessing`, completed: `shape` and `spacing` have a number for every prepared axis, or are None.
    """
    axes, flipped, codes = _orient(image, orientation)
    count = np.array(image.space)[axes]
    voxel = voxel_sizes(image.affine)[: image.ndim][axes]
    if image.ndim == 3 and not image.measured:  # millimetres across slices say nothing beside unknown ones within
        voxel = np.ones(3)
    sliced = None
    if image.ndim > dims:
        sliced = next(axis for axis, code in enumerate(codes) if code in SLICES[slices])
    free = [axis for axis in range(image.ndim) if axis != sliced]
    steps, grid = np.ones(image.ndim), count.copy()
    steps[free] = _steps(image, count[free], voxel[free], shape, fit, spacing)
    if shape is None:
        grid = np.maximum(np.rint(count / steps), 1).astype(int)
    else:
        grid[free] = shape
    if np.prod(grid, dtype=float) > MOST_PIXELS:
        raise UnreadableImage(
            f"{image.path}: would have {' x '.join(map(str, grid))} pixels, more than {MOST_PIXELS:,}; give a larger "
            f"--spacing or a --size (its own spacing is {' x '.join(f'{one:.4g}' for one in voxel)} mm)"
        )
    # Centre on centre; but an image thinner than a pixel would lie between the two in the middle of an even grid.
    middle = np.where(count < steps, grid // 2, (grid - 1) / 2)
    shift = (count - 1) / 2 - steps * middle
    shift = np.where(steps == 1, np.floor(shift), shift)  # whole pixels stay whole: nothing is interpolated
    matrix = np.zeros((image.ndim + 1, image.ndim + 1))
    matrix[axes, range(image.ndim)] = np.where(flipped, -steps, steps)
    matrix[axes, -1] = np.where(flipped, count - 1 - shift, shift)
    matrix[-1, -1] = 1
    return matrix, tuple(int(n) for n in grid), sliced


def _orient(image: Image, orientation: str) -> tuple[np.ndarray, np.ndarray, str]:
    """Give every prepared axis' source axis, whether it is turned round, and the letter it points to.

    A picture that says how it lies in the body (a slice, by its NIfTI or DICOM header) is turned like the slice of a
    volume; where the file says nothing (its affine is upright, of spacings alone) it stays as it is.
    """
    if image.ndim == 2 and not _lies(image.affine):
        return np.arange(2), np.zeros(2, dtype=bool), ""
    now = io_orientation(image.affine)
    letters = "".join(("LR", "PA", "IS")[int(axis)][int(sign > 0)] for axis, sign in now)
    target = letters if orientation == "keep" else orientation
    moves = ornt_transform(now, axcodes2ornt(target))
    axes = np.argsort(moves[:, 0])
    if image.ndim == 2:
        axes = axes[axes != 2]
    return axes, moves[axes, 1] < 0, target


def _lies(affine: np.ndarray) -> bool:
    """Whether an affine says more than spacings."""
    return not np.array_equal(affine, np.diag(np.abs(np.diag(affine))))


def _steps(
    image: Image,
    count: np.ndarray,
    voxel: np.ndarray,
    shape: tuple[int, ...] | None,
    fit: str,
    spacing: tuple[float, ...] | None,
) -> np.ndarray:
    """Give the source voxels a prepared pixel spans, for every axis that is resampled."""
    wanted = None
    if spacing is not None:
        if not image.placed:
            raise UnreadableImage(f"{image.path}: does not tell its pixel size in mm; leave out spacing")
        wanted = np.array(spacing)
    if shape is None:
        steps = _crop(count, voxel, count, wanted)
    else:
        steps = FITS[fit](count, voxel, np.array(shape), wanted)
    # Headers round: a step that strays by less than a thousandth of a voxel across the image is meant as 1.
    return np.where(np.abs(steps - 1) * count < 1e-3, 1.0, steps)


def _pad(count: np.ndarray, voxel: np.ndarray, size: np.ndarray, spacing: np.ndarray | None) -> np.ndarray:
    if spacing is None:
        return (count * voxel / size).max() / voxel
    return spacing * max(1.0, (count * voxel / (size * spacing)).max()) / voxel


def _crop(count: np.ndarray, voxel: np.ndarray, size: np.ndarray, spacing: np.ndarray | None) -> np.ndarray:
    return np.ones(len(count)) if spacing is None else spacing / voxel


def _resize(count: np.ndarray, voxel: np.ndarray, size: np.ndarray, spacing: np.ndarray | None) -> np.ndarray:
    return count / size


def centred(orientation: str, spacing: tuple[float, ...] | None, space: tuple[int, ...]) -> np.ndarray:
    """A grid of its own for a volume that has no source: (4, 4), index to millimetres, RAS+, its centre at 0.

    Axes point to the letters of `orientation` (RAS for "keep"), by `spacing` where that has three numbers, or 1 mm.
    """
    letters = "RAS" if orientation == "keep" else orientation
    steps = spacing if spacing is not None and len(spacing) == 3 else (1.0, 1.0, 1.0)
    affine = np.eye(4)
    affine[:3, :3] = 0
    for axis, (along, sign) in enumerate(axcodes2ornt(letters)):
        affine[int(along), axis] = sign * steps[axis]
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(space) - 1) / 2)
    return affine


FITS: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None], np.ndarray]] = {
    "pad": _pad,
    "resize": _resize,
    "crop": _crop,
}
