"""Connected parts of label maps: the largest of each class kept, or small ones dropped; numpy and scipy alone."""

from collections.abc import Callable, Iterable

import numpy as np
from scipy import ndimage

from anomaly.errors import AnomalyError


def largest_only(places: np.ndarray, *, classes: Iterable[int] | None = None) -> np.ndarray:
    """A label map that keeps the largest connected part of each class; the rest becomes background.

    For what there is one of, an organ or a bone; never for lesions, of which all but one would be gone. Of parts of
    equal size the one that comes first, by the order of voxels, is kept.

    Args:
        places: (*space), whole numbers, 0 the background; is left as it is.
        classes: of which this is done; None for all but the background.
    """
    return _kept(places, classes, lambda sizes: np.arange(len(sizes)) == np.argmax(sizes))


def without_small(
    places: np.ndarray, smallest: float, *, voxel: float = 1.0, classes: Iterable[int] | None = None
) -> np.ndarray:
    """A label map without connected parts that are smaller than `smallest`, which become background.

    Args:
        places: as for `largest_only`.
        smallest: size that is kept, in voxels, or in units of `voxel`.
        voxel: volume (area) of one.
        classes: of which this is done; None for all but the background.
    """
    if not (smallest >= 0 and voxel > 0):
        raise AnomalyError(f"expected a smallest size of 0 or more and voxels above 0, got {smallest} and {voxel}")
    return _kept(places, classes, lambda sizes: sizes * voxel >= smallest)


def _kept(places: np.ndarray, classes: Iterable[int] | None, chosen: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """The label map with those parts that are chosen by the sizes of all parts of a class."""
    if places.ndim not in (2, 3) or not np.issubdtype(places.dtype, np.integer):
        raise AnomalyError(f"expected a label map of whole numbers, 2D or 3D; got {places.shape} {places.dtype}")
    found = places.copy()
    touching = np.ones((3,) * places.ndim)  # diagonal neighbours hang together
    for place in np.unique(places) if classes is None else classes:
        if place == 0:
            continue
        parts, count = ndimage.label(places == place, touching)
        if count:
            sizes = np.bincount(parts.ravel(), minlength=count + 1)[1:]
            found[np.isin(parts, 1 + np.flatnonzero(~chosen(sizes)))] = 0
    return found
