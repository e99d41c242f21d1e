"""What is left of what was found: the largest piece of a class, and no piece smaller than was asked."""

from collections.abc import Iterable

import numpy as np

from anomaly.statistics import regions


def cleaned(
    places: np.ndarray, *, largest: Iterable[int] = (), smallest: float = 0.0, voxel: float = 1.0
) -> np.ndarray:
    """Places of classes (*space) without the pieces that are not wanted; these become background.

    A piece is what hangs together of one class, corners included.

    Args:
        places: uint8, 0 for the background.
        largest: classes of which the largest piece alone is kept; of several as large the first.
        smallest: pieces of less than this, in the unit of `voxel`, are taken away.
        voxel: the volume of a voxel.
    """
    kept, asked = places.copy(), set(largest)
    for place in np.unique(places[places > 0]).tolist():
        if place not in asked and smallest <= voxel:
            continue
        pieces, count = regions.labelled(places == place)
        sizes = regions.sizes(pieces, count)
        fine = sizes * voxel >= smallest
        if place in asked:
            fine &= np.arange(count) == sizes.argmax()
        kept[(pieces > 0) & ~np.concatenate([[True], fine])[pieces]] = 0
    return kept
