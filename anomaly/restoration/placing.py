"""Where a restored image lies: back in the order of its file's axes, perhaps on a finer grid, voxel centres right."""

from collections.abc import Sequence

import numpy as np

from anomaly.images import Image
from anomaly.images.frame import Frame
from anomaly.images.prepared import Prepared


def turned_back(
    values: np.ndarray,
    image: Image,
    prepared: Prepared,
    steps: Sequence[int] | None = None,
    starts: Sequence[float] | None = None,
) -> tuple[np.ndarray, Frame]:
    """What was drawn as a network takes it, in the order of the source's axes, and where that lies.

    Args:
        values: (S, C, *size), of a volume taken slice by slice its slices in front.
        image: as read.
        prepared: the same as a network took it, on its own grid.
        steps: along each of the axes (*size), how many pixels of `values` one of the source spans; None for 1.
        starts: where the centre of the first pixel of the source lies on the grid of `values`.

    Returns:
        (C, *space) and the frame to write it in: the source's own where nothing but the order changed.
    """
    dims, sliced = image.ndim, prepared.sliced
    along = np.ones(dims), np.zeros(dims)
    free = [axis for axis in range(dims) if axis != sliced]
    for whole, given in zip(along, (steps, starts), strict=True):
        if given is not None:
            whole[free] = given
    grid = values[0] if sliced is None else np.moveaxis(values, 0, sliced + 1)
    sides = np.array(grid.shape[1:])
    linear = np.rint(prepared.matrix[:-1, :-1])
    places = np.abs(linear).argmax(axis=1)  # of each axis of the source, the prepared one
    turned = linear[range(dims), places] < 0
    found = np.flip(grid.transpose(0, *(1 + places)), tuple(1 + np.flatnonzero(turned)))
    coarse = np.eye(dims + 1)
    coarse[:-1, :-1], coarse[:-1, -1] = np.diag(1 / along[0]), -along[1] / along[0]
    order = np.zeros((dims + 1, dims + 1))  # from the order found to the prepared one
    order[places, range(dims)] = np.where(turned, -1, 1)
    order[places, -1] = np.where(turned, sides[places] - 1, 0)
    order[-1, -1] = 1
    to_source = prepared.matrix @ coarse @ order
    if np.array_equal(to_source, np.eye(dims + 1)) and found.shape[1:] == image.space:
        return np.ascontiguousarray(found), image.frame
    return np.ascontiguousarray(found), Frame(_moved(image, to_source), None, image.frame.dropped)


def _moved(image: Image, to_source: np.ndarray) -> np.ndarray:
    """The affine of a grid by a matrix (D + 1, D + 1) from its index to that of the source."""
    whole = np.eye(4)
    axes = [*range(image.ndim), 3]
    whole[np.ix_(axes, axes)] = to_source
    affine: np.ndarray = image.affine @ whole
    return affine
