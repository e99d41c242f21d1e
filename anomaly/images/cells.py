"""Cells of a grid that lies over an image of any size."""

from functools import cache

import numpy as np


@cache
def shares(length: int, cells: int) -> np.ndarray:
    """The share of each cell along an axis that each of its pixels makes up, (cells, length) float32.

    All cells are equally long; a pixel that the border of two cuts counts in both by its parts.
    """
    edges, pixels = np.linspace(0, length, cells + 1)[:, None], np.arange(length)
    overlap = np.minimum(edges[1:], pixels + 1) - np.maximum(edges[:-1], pixels)
    return (np.maximum(overlap, 0) * (cells / length)).astype(np.float32)
