"""What was found held against what it began with: an optimiser may end worse than where it started."""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from anomaly.images import Image
from anomaly.registrars.demons import METRICS, Demons, local
from anomaly.registrars.grids import grey, measured
from anomaly.registrars.pyramid import filled
from anomaly.registrars.quality import agreement
from anomaly.registrars.transforms import RIM, moved

ENOUGH = 200_000
"""Voxels, about, that are compared."""
LEAST_COMMON = 0.1
"""Of what counts under one of two transforms, what has to count under both, so that they can be compared."""


def better(start: np.ndarray, found: np.ndarray, moving: Image, fixed: Image, metric: str) -> np.ndarray:
    """Of two matrices, voxel of the fixed image to voxel of the moving one, that under which the images agree better.

    They are compared on the voxels that count under both, for less of an image often agrees better; where these are
    few, the one wins under which more counts. What was found wins where both are alike.

    Args:
        start, found: (dims + 1, dims + 1).
        moving, fixed: the images.
        metric: "correlation" or "mutual-information".
    """
    step = max(1, round((np.prod(fixed.space) / ENOUGH) ** (1 / fixed.ndim)))
    thin = tuple(slice(None, None, step) for _ in fixed.space)
    seen = [_under(each, moving, fixed, thin) for each in (start, found)]
    both = seen[0][1] & seen[1][1]
    counts = [int(inside.sum()) for _, inside in seen]
    if both.sum() < max(2, LEAST_COMMON * max(counts)):
        return found if counts[1] >= counts[0] else start
    target = grey(fixed)[thin]
    before, after = (agreement(drawn, target, both)[metric.replace("-", "_")] for drawn, _ in seen)
    return start if after < before or (np.isnan(after) and not np.isnan(before)) else found


def _under(matrix: np.ndarray, moving: Image, fixed: Image, thin: Sequence[slice]) -> tuple[np.ndarray, np.ndarray]:
    """The moving image on the voxels of the fixed one that are compared, and where both count."""
    points = [np.arange(side)[part].reshape(-1, *(1,) * (fixed.ndim - 1 - axis))
              for axis, (side, part) in enumerate(zip(fixed.space, thin, strict=True))]  # fmt: skip
    places = moved(matrix, points)
    ends = np.array(moving.space).reshape(-1, *(1,) * moving.ndim) - 1 + RIM
    inside = np.asarray(((places >= -RIM) & (places <= ends)).all(0))
    still, theirs = measured(fixed), measured(moving)
    if still is not None:
        inside &= still[tuple(thin)]
    if theirs is not None:
        inside &= ndimage.map_coordinates(theirs.astype(np.uint8), places, order=0, mode="nearest") > 0
    return ndimage.map_coordinates(grey(moving), places, order=1, mode="nearest"), inside


def gains(before: np.ndarray, after: np.ndarray, fixed: np.ndarray, both: np.ndarray, metric: str) -> bool:
    """Whether a deformation is to be kept: the images agree as well as without it, or better.

    By correlation neighbourhoods are compared, as what deforms compares them, so that neither a coil's shading nor a
    lesion that is bright decides.

    Args:
        before, after: the moving image on the fixed grid, (*space).
        fixed: (*space).
        both: (*space) bool, what counts with and without the deformation.
        metric: "correlation" or "mutual-information".
    """
    if both.sum() < 2 or np.ptp(fixed[both]) == 0:
        return True
    three = [before, after, fixed]
    if metric == METRICS[0]:
        three = [local(filled(each, both), Demons.locality, both) for each in three]
    name = metric.replace("-", "_")
    return not agreement(three[1], three[2], both)[name] < agreement(three[0], three[2], both)[name]
