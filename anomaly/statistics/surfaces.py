"""How far the surfaces of two marked regions lie apart, by distance transforms; 2D and 3D, pixels of any edges.

The surface of a region are its pixels of which a neighbour across an edge (a face of a voxel) is not marked; beyond the
image nothing is. Distances are those between centres of such pixels, each to the nearest of the other surface, in the
unit of the edges. So two regions that share a surface are 0 apart, and two that touch are as far apart as a pixel is
long. MONAI takes the same surface. Others differ: `surface-distance` (DeepMind) takes surface elements between pixels,
weighted by their area, and SimpleITK's Hausdorff distance is over all marked pixels, not over their surface.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

NEAR = 95.0


@dataclass(frozen=True)
class Apart:
    """How far two surfaces lie apart, in the unit of the edges; all NaN where one of them is not there.

    Args:
        mean: of all distances from one to the other and back, pooled: the average symmetric surface distance.
        near: the larger of both directions' percentiles (95 unless told otherwise), as Huttenlocher et al. 1993 take
            the larger of the ranked distances.
        most: the largest distance of all, the Hausdorff distance.
        to, back: how many pixels the two surfaces have.
    """

    mean: float
    near: float
    most: float
    to: int
    back: int


def surface(marked: np.ndarray) -> np.ndarray:
    """The pixels of a region (*space) bool that have a neighbour across an edge which is not marked."""
    inside: np.ndarray = ndimage.binary_erosion(marked, ndimage.generate_binary_structure(marked.ndim, 1))
    return np.asarray(marked, bool) & ~inside


def distances(one: np.ndarray, other: np.ndarray, edges: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """From each pixel of the surface of one region to the nearest of the other's, and back.

    Args:
        one, other: bool (*space), neither of them empty.
        edges: length of a pixel along each axis.
    """
    both = np.asarray(one, bool) | np.asarray(other, bool)
    (box,) = ndimage.find_objects(both.view(np.uint8))  # beyond it there is no surface, and nothing nearer
    a, b = surface(np.asarray(one, bool)[box]), surface(np.asarray(other, bool)[box])
    from_b, from_a = (ndimage.distance_transform_edt(~each, sampling=tuple(edges)) for each in (b, a))
    return from_b[a], from_a[b]


def apart(one: np.ndarray, other: np.ndarray, edges: Sequence[float], *, percentile: float = NEAR) -> Apart:
    """How far the surfaces of two regions lie apart; arguments as of `distances`, but that a region may be empty.

    Percentiles are interpolated linearly between the distances.
    """
    if not np.any(one) or not np.any(other):
        return Apart(np.nan, np.nan, np.nan, int(surface(one).sum()), int(surface(other).sum()))
    to, back = distances(one, other, edges)
    near = max(float(np.percentile(to, percentile)), float(np.percentile(back, percentile)))
    pooled = np.concatenate([to, back])
    return Apart(float(pooled.mean()), near, float(pooled.max()), len(to), len(back))
