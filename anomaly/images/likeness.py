"""What kind of image one is, in some hundred numbers: its size, its voxels, its values, its sharpness, its outline.

Nothing here knows other images. What is usual among normals is learned from these numbers in `anomaly.runs.likeness`.
"""

from itertools import pairwise

import numpy as np
from nibabel.affines import voxel_sizes

from anomaly.images.cells import shares
from anomaly.images.image import Image
from anomaly.images.prepared import Prepared

CELLS = 4
"""Cells of an outline along each side."""
LAGS = (1, 2, 4, 8)
QUANTILES = np.linspace(0.03, 0.97, 16)
SLICES = 16  # of a volume whose outline is seen, about
SEEN, BLOCK = 2**14, {2: 256, 3: 48}  # values, and the sides of a block in the middle, that are looked at
BLACK, FAINT = 1e-3, 0.05  # of a range of 2


def parts(dims: int) -> dict[str, slice]:
    """Where the numbers of each family stand in a description of a picture (2) or a volume (3)."""
    lengths = {
        "size": dims, "voxels": dims + 1, "range": 3, "histogram": len(QUANTILES) + 1, "sharpness": dims * len(LAGS),
        "outline": (1 + dims) * CELLS**dims,
    }  # fmt: skip
    ends = np.cumsum([0, *lengths.values()]).tolist()
    return {name: slice(*both) for name, both in zip(lengths, pairwise(ends), strict=True)}


def described(image: Image, prepared: Prepared) -> np.ndarray:
    """An image as its file holds it and as a network takes it, as one row of numbers (D,) float32; see `parts`.

    Size: log2 of the pixels (geometric mean), and of each axis' share but the last. Voxels: log2 of the field of view
    and of the spacing in mm, and of each axis' share of the spacing. Range: the 1st, 50th and 99th percentile of what
    is stored, within the mask. Histogram: 16 quantiles of the prepared foreground, and how much of the image is black.
    Sharpness: log2 of how the mean squared difference of pixels grows from second to first differences, and from 1 to
    2, 4 and 8 pixels apart, along each axis. Outline: see `outline`. NaN is what cannot be told. Axes are those of the
    prepared image; of a volume taken slice by slice the axis of the slices does not count.
    """
    axes = _axes(prepared)
    with np.errstate(over="ignore", invalid="ignore"):  # of values beyond all reason, which are then not told
        row = (
            _geometry(image, axes), _range(image), _histogram(prepared), _sharpness(image, axes),
            outline(prepared.pixels[:, : len(prepared.unit)]).ravel(),  # without what stands behind them as context
        )  # fmt: skip
        found = np.concatenate(row, dtype=np.float32, casting="unsafe")
    return np.where(np.isfinite(found), found, np.float32(np.nan))


def outline(pixels: np.ndarray) -> np.ndarray:
    """Where an image (S, C, *size) is bright and where it has edges: (1 + dims, 4, 4) or (1 + dims, 4, 4, 4).

    First the mean of each cell, the mean of all taken away, over their standard deviation; then for each axis the root
    of the mean absolute difference of neighbours along it, over its mean over all cells and axes. Means over
    channels, and over some of the slices, are taken first.
    """
    dims, slices = pixels.ndim - 2, pixels[:: 1 + (len(pixels) - 1) // SLICES]
    grey = slices[:, 0] if slices.shape[1] == 1 else slices.mean(axis=1)
    seen = np.zeros((1 + dims, *grey.shape), dtype=grey.dtype)
    seen[0] = grey
    for axis in range(1, 1 + dims):
        without_last = tuple(slice(None, -1 if each == axis else None) for each in range(grey.ndim))
        np.abs(np.diff(grey, axis=axis), out=seen[axis][without_last])
    cells = _cells(seen)
    bright, edges = cells[:1] - cells[0].mean(), np.sqrt(cells[1:])
    cells[:1] = bright / max(float(np.sqrt(np.square(bright).mean())), FAINT)
    cells[1:] = edges / max(float(edges.mean()), BLACK)
    return cells


def _cells(values: np.ndarray) -> np.ndarray:
    """Means of values (N, S, *space) over slices and over the cells of a grid."""
    for length in values.shape[:1:-1]:  # the last first, which lies together in memory
        values = np.moveaxis(values @ shares(length, CELLS).T, -1, 2)
    means: np.ndarray = values.mean(axis=1)
    return means


def _axes(prepared: Prepared) -> list[int]:
    """The source's axes in the order of the prepared ones, without that of the slices."""
    order = np.abs(prepared.matrix[:-1, :-1]).argmax(axis=0).tolist()
    return [axis for number, axis in enumerate(order) if number != prepared.sliced]


def _geometry(image: Image, axes: list[int]) -> list[float]:
    size = np.log2([image.space[axis] for axis in axes])
    mm = np.log2(voxel_sizes(image.affine)[axes]) if image.placed else np.full(len(axes), np.nan)
    shares = [(each - each.mean())[:-1] for each in (size, mm)]
    return [size.mean(), *shares[0], (size + mm).mean(), mm.mean(), *shares[1]]


def _range(image: Image) -> np.ndarray:
    values = image.pixels.ravel() if image.mask is None else image.pixels[:, image.mask].ravel()
    ordered = np.sort(values[:: max(1, values.size // SEEN)])
    return ordered[[int(share * (len(ordered) - 1)) for share in (0.01, 0.5, 0.99)]]


def _histogram(prepared: Prepared) -> np.ndarray:
    pixels = prepared.pixels[:, 0].ravel()
    step = max(1, pixels.size // SEEN)
    seen, counted = pixels[::step], prepared.foreground.ravel()[::step]
    inside = np.sort(seen[counted] if counted.any() else seen)
    quantiles = inside[(QUANTILES * (len(inside) - 1)).astype(int)]
    return np.append(quantiles, np.count_nonzero(seen <= BLACK - 1) / len(seen))


def _sharpness(image: Image, axes: list[int]) -> list[float]:
    """How differences grow with the distance of pixels, in a block in the middle; NaN where that is too short."""
    side = BLOCK[len(axes)]
    cut = [slice(max(0, (length - side) // 2), (length + side + 1) // 2) for length in image.space]
    if len(axes) < image.ndim:  # of the slices of a volume the three in the middle
        (other,) = set(range(image.ndim)) - set(axes)
        middle = image.space[other] // 2
        cut[other] = slice(max(0, middle - 1), middle + 2)
    block = image.pixels[0][tuple(cut)]
    found: list[float] = []
    for axis in axes:
        if block.shape[axis] <= 2 * LAGS[-1]:
            found += [np.nan] * len(LAGS)
            continue
        ahead = np.ascontiguousarray(np.moveaxis(block, axis, 0))
        apart = [_apart(ahead[1:] - ahead[:-1], 1), *(_apart(ahead, lag) for lag in LAGS)]
        found += [float(np.log2(far / near)) if near > 0 else np.nan for near, far in pairwise(apart)]
    return found


def _apart(values: np.ndarray, lag: int) -> float:
    difference = (values[lag:] - values[:-lag]).ravel()
    return float(np.dot(difference, difference)) / difference.size
