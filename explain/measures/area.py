"""How much of an image speaks for the disease: the part that is clearly brighter than in its counterfactual.

Functions take a whole batch of arrays, first axis the images, 2D or 3D by one code.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from anomaly.errors import EvaluationError

THRESHOLD = 0.25


def pain_area(
    image: ArrayLike, counterfactual: ArrayLike, *, threshold: float = THRESHOLD, tissue: ArrayLike | None = None
) -> np.ndarray:
    """Where images are brighter than their counterfactuals by a quarter of their range: the pain-associated area.

    max(0, x - counterfactual) >= threshold once both are scaled so that the least and the greatest value of x become 0
    and 1. The counterfactual is scaled by the image's range, not by its own: a bright lesion that it lacks would
    otherwise stretch all the rest of it. An image of one value has no range and no area.

    Args:
        image: (N, *space), or with channels (N, C, *space), in any units; each image has one range.
        counterfactual: of the same shape, in the same units.
        threshold: above 0, as a share of the range.
        tissue: counts only there: 0 or 1, of the same shape, or of one that broadcasts to it, such as (1, *space).

    Returns:
        bool, of the shape of the images.

    Raises:
        EvaluationError: shapes that do not agree, values that are not finite, or a threshold that is not above 0.
    """
    x, y = (np.asarray(each, dtype=np.float64) for each in (image, counterfactual))
    if x.shape != y.shape or x.ndim < 3 or not x.size:
        raise EvaluationError(
            f"images have shape {x.shape}, counterfactuals {y.shape}; expected (N, ..., *space), both alike"
        )
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise EvaluationError("images or counterfactuals hold NaN or infinite values; leave these out")
    if not threshold > 0:
        raise EvaluationError(f"threshold is {threshold}; expected a share of the range above 0")
    pixels = tuple(range(1, x.ndim))
    scale = np.ptp(x, axis=pixels, keepdims=True)
    area = (x - y >= threshold * scale) & (scale > 0)
    return area if tissue is None else area & _within(tissue, area.shape)


def area_of(area: ArrayLike, spacing: ArrayLike | None = None) -> np.ndarray:
    """How large areas are: in pixels, or in mm^2 or mm^3 where the spacing is given; (N,).

    Args:
        area: bool (N, *space) or (N, 1, *space).
        spacing: mm between pixels along each axis of space, (D,), or (N, D) where images differ.

    Raises:
        EvaluationError: the area is not bool, or the spacing does not fit it or is not above 0.
    """
    marked = np.asarray(area)
    if marked.dtype != bool or marked.ndim < 3:
        raise EvaluationError(
            f"the area is {marked.dtype} of shape {marked.shape}; expected bool (N, *space), as `pain_area` gives"
        )
    count = np.count_nonzero(marked, axis=tuple(range(1, marked.ndim)))
    if spacing is None:
        return count
    apart = np.asarray(spacing, dtype=np.float64)
    dims = apart.shape[-1] if apart.ndim else 0
    spatial = marked.shape[1:] if marked.ndim == dims + 1 else marked.shape[2:] if marked.shape[1] == 1 else ()
    if not dims or len(spatial) != dims or apart.shape[:-1] not in ((), (len(marked),)) or not (apart > 0).all():
        raise EvaluationError(
            f"spacing {apart.tolist()} does not fit areas of shape {marked.shape}; give one length above 0, in mm, for "
            "each axis of space"
        )
    return np.asarray(count * apart.prod(axis=-1))


def _within(tissue: ArrayLike, shape: Sequence[int]) -> np.ndarray:
    mask = np.asarray(tissue)
    if mask.dtype != bool and not np.isin(mask, (0, 1)).all():
        raise EvaluationError("tissue must be bool, or 0 and 1; of a map with labels give `labels == k`")
    try:
        return np.broadcast_to(mask.astype(bool), shape)
    except ValueError as error:
        raise EvaluationError(f"tissue has shape {mask.shape}, the images {tuple(shape)}; they must agree") from error
