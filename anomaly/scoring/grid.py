"""What is kept of every map beside its score: means in the cells of a grid, and what the image was like as a file."""

from typing import Any

import numpy as np

from anomaly.cohorts.grid import CELLS, INTENSITIES, SIDE, SIZES
from anomaly.images import Image
from anomaly.images.cells import shares


def cell_means(maps: np.ndarray) -> np.ndarray:
    """Means of maps (N, 1, *space) over the cells of an 8 x 8 grid, (N, 8, 8) float32; of a batch at once.

    The grid lies over the image as it was prepared, padding and blackened background included. All cells have the
    same area: a pixel that the border of two cells cuts counts in both by its shares, so that the mean of all cells is
    the mean of the map at any size. Maps of volumes are averaged over their first axis before.
    """
    flat = maps[:, 0].mean(axis=1) if maps.ndim == 5 else maps[:, 0]
    rows, columns = flat.shape[1:]
    means: np.ndarray = shares(rows, SIDE) @ flat @ shares(columns, SIDE).T
    return means


def grid_row(cells: np.ndarray, image: Image) -> dict[str, Any]:
    """One row of `grid.csv`: the cells (8, 8) of an image's map to six digits, size and brightness of its file."""
    row = {name: f"{mean:.6g}" for name, mean in zip(CELLS, cells.ravel().tolist(), strict=True)}
    row |= {name: str(length) for name, length in zip(SIZES, image.space, strict=False)}
    return row | dict(zip(INTENSITIES, intensities(image.pixels), strict=True))


def intensities(pixels: np.ndarray) -> tuple[float, float]:
    """Mean of the outermost eighth of an image (C, *space) on every side, and of all of it, as stored.

    An axis of fewer than three pixels has no sides.
    """
    edges = [max(1, round(length / SIDE)) if length > 2 else 0 for length in pixels.shape[1:]]
    inside = [slice(edge, length - edge) for edge, length in zip(edges, pixels.shape[1:], strict=True)]
    middle = pixels[(slice(None), *inside)]
    # Double precision, in which sums of whole numbers are exact: black borders have to come out equal.
    total, within = float(pixels.sum(dtype=np.float64)), float(middle.sum(dtype=np.float64))
    mean, outside = total / pixels.size, pixels.size - middle.size
    return (total - within) / outside if outside else mean, mean
