"""Regions of a truth, one by one: which of them a map finds, and what it marks beside them.

Pixels that touch, at their corners too, are of one region: 8 neighbours in pictures, 26 in volumes.
"""

import numpy as np
from scipy import ndimage

ENOUGH = 0.1
"""Share of a region that must be marked by the stricter rule: alpha of Commowick et al. 2018."""


def labelled(marked: np.ndarray) -> tuple[np.ndarray, int]:
    """Regions of what is marked (*space): their numbers from 1, int32 (*space), 0 elsewhere; and how many there are."""
    labels = np.zeros(marked.shape, dtype=np.int32)
    boxes = ndimage.find_objects(np.asarray(marked, bool).view(np.uint8))
    if not boxes:
        return labels, 0
    box = boxes[0]  # numbering costs what lies in it
    count = ndimage.label(marked[box], structure=np.ones((3,) * marked.ndim, bool), output=labels[box])
    return labels, int(count)


def sizes(labels: np.ndarray, count: int) -> np.ndarray:
    """Pixels of each region, (count,)."""
    return np.bincount(labels.ravel(), minlength=count + 1)[1:]


def weights(labels: np.ndarray) -> np.ndarray:
    """1 / size on the pixels of each region, 0 elsewhere, so that every region weighs one."""
    areas = np.bincount(labels.ravel())
    each = np.where(np.arange(areas.size) > 0, 1 / np.maximum(areas, 1), 0.0)
    return each[labels]


def highest(values: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    """The highest value of each region, (count,)."""
    inside = labels > 0
    found = np.full(count + 1, -np.inf, dtype=values.dtype)
    np.maximum.at(found, labels[inside], values[inside])
    return found[1:]


def shares(above: np.ndarray, labels: np.ndarray, areas: np.ndarray) -> np.ndarray:
    """Share of each region (count,) that a map marks (*space).

    Found is a region of which any pixel is (Carass et al. 2017, NeuroImage 148: lesion true positive rate), by the
    stricter rule one of which `ENOUGH` is (Commowick et al. 2018, Scientific Reports 8:13650, the first condition).
    """
    return np.bincount(labels[above], minlength=areas.size + 1)[1:] / areas


def beside(above: np.ndarray, labels: np.ndarray) -> int:
    """How many regions of what a map marks (*space) hold no pixel of any region of the truth."""
    found, count = labelled(above)
    touched = np.unique(found[(labels > 0) & above])
    return count - touched.size
