"""How good maps and counterfactuals are, beside a truth, a mask or the image they came from.

Every function takes a whole batch of arrays, first axis the images, and gives one number an image, (N,). All other
axes are pixels (and channels), so 2D and 3D go one way. Maps are signed; evidence for the target is positive. NaN
stands where an image allows no figure, such as one without marked pixels; take `np.nanmean` over cases. Figures over
the pixels of all images together (pooled) are in `anomaly.statistics.metrics`, realism in
`anomaly.generation.synthesis.likenesses`, with features of counterfactuals as `generated` and of controls as `real`.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from scipy.ndimage import distance_transform_edt
from scipy.stats import rankdata

from anomaly.errors import EvaluationError
from anomaly.statistics import thresholds

Change = Callable[[np.ndarray], np.ndarray]
"""What gives for images (N, C, *space) others of the same shape, such as their counterfactuals."""


def ncc(maps: ArrayLike, truths: ArrayLike) -> np.ndarray:
    """Signed normalised cross-correlation, -1 to 1: Pearson's over the pixels of one image; 0 where one is flat."""
    first, second = _alike(maps, truths)
    x, y = (each - each.mean(axis=1, dtype=np.float64, keepdims=True) for each in (first, second))
    # Not the size of x and y, which rounding keeps above 0 where a flat map has no exact mean.
    flat = (np.ptp(first, axis=1) == 0) | (np.ptp(second, axis=1) == 0)
    size = np.sqrt(np.einsum("np,np->n", x, x)) * np.sqrt(np.einsum("np,np->n", y, y))
    return np.where(flat, 0.0, np.einsum("np,np->n", x, y) / np.where(flat, 1.0, size))


def absolute_ncc(maps: ArrayLike, truths: ArrayLike) -> np.ndarray:
    """The same of |map| and |truth|, for maps that tell where but not which way."""
    return ncc(np.abs(_rows(maps, "maps")), np.abs(_rows(truths, "truths")))


def similarity(first: ArrayLike, second: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Spearman's rank correlation over the pixels of each image, of the maps and of |maps|; 0 where one is flat.

    Of maps before and after `explain.measures.faithfulness.randomised` (Adebayo et al. 2018): both near 1 tell of a map
    that explains no network, only the second of one whose sign alone comes from it.
    """
    one, other = _alike(first, second)
    pairs = (one, other), (np.abs(one), np.abs(other))
    signed, absolute = (ncc(*(rankdata(maps, axis=1) for maps in pair)) for pair in pairs)
    return signed, absolute


def pixel_average_precision(maps: ArrayLike, masks: ArrayLike) -> np.ndarray:
    """Mean precision over the marked pixels of each image, 0 to 1; a flat map gets their share; NaN without any.

    As `anomaly.statistics.metrics.average_precision` image by image: tied pixels share a threshold.
    """
    values, marked = _with_masks(maps, masks)
    return np.array([thresholds.of_one(*each)[0] for each in zip(values, marked, strict=True)])


def pointing_game(maps: ArrayLike, masks: ArrayLike, tolerance: float = 0.0) -> np.ndarray:
    """Whether the highest pixel lies in the mask, 0 or 1; NaN without marked pixels.

    Where several pixels are highest it is the share of them that hit, so that a flat map gets the prevalence and not
    luck. Zhang et al. 2018.

    Args:
        maps: (N, 1, *space) or (N, *space).
        masks: of the same shape, 0 or 1.
        tolerance: a hit is also what lies within so many pixels of the mask.
    """
    if not tolerance >= 0:
        raise EvaluationError(f"tolerance is {tolerance} pixels; expected 0 or more")
    values, marked = _with_masks(maps, masks)
    near = _widened(marked.reshape(np.shape(maps)), tolerance).reshape(marked.shape) if tolerance else marked
    highest = values == values.max(axis=1, keepdims=True)
    hits = np.count_nonzero(highest & near, axis=1) / np.count_nonzero(highest, axis=1)
    return np.where(marked.any(axis=1), hits, np.nan)


def relevance_mass(maps: ArrayLike, masks: ArrayLike) -> np.ndarray:
    """Share of the positive evidence that lies in the mask, 0 to 1; 0 where there is none, NaN without marked pixels.

    Relevance mass accuracy of Arras et al. 2022, with negative evidence left out.
    """
    values, marked = _with_masks(maps, masks)
    positive = np.maximum(values, 0)
    inside = np.where(marked, positive, 0).sum(axis=1, dtype=np.float64)
    total = positive.sum(axis=1, dtype=np.float64)
    return np.where(marked.any(axis=1), inside / np.where(total > 0, total, 1.0), np.nan)


def relevance_rank(maps: ArrayLike, masks: ArrayLike) -> np.ndarray:
    """Share of the highest pixels, as many as are marked, that are marked, 0 to 1; NaN without marked pixels.

    Pixels tied at the limit count in part, so that a flat map gets the prevalence. Relevance rank accuracy of Arras
    et al. 2022.
    """
    values, marked = _with_masks(maps, masks)
    wanted, pixels = np.count_nonzero(marked, axis=1), values.shape[1]
    place = np.minimum(pixels - wanted, pixels - 1)[:, None]
    limit = np.take_along_axis(np.sort(values, axis=1), place, axis=1)
    above, tied = values > limit, values == limit
    room = wanted - np.count_nonzero(above, axis=1)
    part = room * np.count_nonzero(tied & marked, axis=1) / np.count_nonzero(tied, axis=1)
    return _share(np.count_nonzero(above & marked, axis=1) + part, wanted)


def dice_at(maps: ArrayLike, masks: ArrayLike, threshold: float) -> np.ndarray:
    """Overlap, 0 to 1, of mask and pixels at or above a threshold fixed beforehand; as `metrics.dice` of statistics."""
    values, marked = _with_masks(maps, masks)
    found = values >= threshold
    area = np.count_nonzero(marked, axis=1) + np.count_nonzero(found, axis=1)
    return np.where(area == 0, 1.0, 2 * np.count_nonzero(marked & found, axis=1) / np.maximum(area, 1))


def validity(before: ArrayLike, after: ArrayLike, threshold: float = 0.0) -> np.ndarray:
    """Whether the target fell from above the threshold to it or below: bool (N,).

    False too where it was not above to begin with; for a flip rate take the mean over `before > threshold`.

    Args:
        before, after: the target of the images and of their counterfactuals, (N,).
        threshold: where the target changes sides; 0 for a logit.
    """
    first, second = _numbers(before, after)
    return (first > threshold) & (second <= threshold)


def effectiveness(after: ArrayLike, wanted: ArrayLike) -> np.ndarray:
    """How far the target of the counterfactuals is from what was asked for, |after - wanted|; 0 is best.

    Args:
        after: the target of the counterfactuals, (N,).
        wanted: one number for all, or (N,).
    """
    first, second = _numbers(after, np.broadcast_to(np.asarray(wanted, dtype=np.float64), np.shape(after)))
    return np.abs(first - second)


def proximity(x: ArrayLike, counterfactual: ArrayLike, within: ArrayLike | None = None) -> np.ndarray:
    """Mean |x - counterfactual|, in units of x; of controls, which should stay as they are, it measures identity.

    Args:
        x, counterfactual: images (N, C, *space), or features (N, d).
        within: only there, 0 or 1, of the shape of x or with one channel; give `~mask` for what lies outside. NaN
            where it is empty.
    """
    first, second = _alike(x, counterfactual)
    change = np.abs(first - second)
    if within is None:
        return change.mean(axis=1, dtype=np.float64)
    try:
        inside = np.broadcast_to(_binary(within), np.shape(x)).reshape(change.shape)
    except ValueError as error:
        raise EvaluationError(
            f"`within` has shape {np.shape(within)}, the images {np.shape(x)}; they must agree"
        ) from error
    return _share(np.where(inside, change, 0).sum(axis=1, dtype=np.float64), np.count_nonzero(inside, axis=1))


def sparsity(x: ArrayLike, counterfactual: ArrayLike, threshold: float = 0.05) -> np.ndarray:
    """Share of values that the counterfactual leaves alone, 0 to 1: changed by no more than the threshold.

    The default is 2.5 % of the range of images in [-1, 1]; each channel of a pixel counts by itself.
    """
    first, second = _alike(x, counterfactual)
    return np.mean(np.abs(first - second) <= threshold, axis=1)


def composition(x: np.ndarray, null: Change, times: int = 1) -> np.ndarray:
    """Mean |x - null(null(...x))|: what it costs to ask for no change, `times` over; usual are 1 and 10.

    The composition of Monteiro et al. 2023, by the mean absolute difference.

    Args:
        x: images (N, C, *space).
        null: the counterfactual for what the images already are.
        times: how often it is taken, each time of the last.
    """
    if times < 1:
        raise EvaluationError(f"times is {times}; expected 1 or more")
    changed = x
    for _ in range(times):
        changed = null(changed)
    return proximity(x, changed)


def reversibility(x: np.ndarray, there: Change, back: Change) -> np.ndarray:
    """Mean |x - back(there(x))|: what is lost on the way to the other side and back; 0 is best."""
    return proximity(x, back(there(x)))


def end_point_error(field: ArrayLike, truth: ArrayLike) -> np.ndarray:
    """Mean distance between where a displacement field and the true one lead, in pixels.

    Args:
        field, truth: (N, dims, *space), in pixels.
    """
    first, second = _alike(field, truth)
    dims = np.shape(field)[1]
    apart = (first - second).reshape(len(first), dims, -1)
    return np.sqrt(np.einsum("ndp,ndp->np", apart, apart)).mean(axis=1, dtype=np.float64)


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)


def _widened(masks: np.ndarray, tolerance: float) -> np.ndarray:
    """The masks and what lies within so many pixels of them, each image by itself."""
    if not masks.any():
        return masks
    apart = sum(masks.shape) + tolerance  # further than any two pixels of one image
    return np.asarray(distance_transform_edt(~masks, sampling=(apart, *[1] * (masks.ndim - 1))) <= tolerance)


def _rows(values: ArrayLike, name: str) -> np.ndarray:
    """(N, pixels) of finite floats; whatever comes as float32 stays so."""
    array = np.asarray(values)
    if array.ndim < 2 or not array.size:
        raise EvaluationError(f"{name} have shape {array.shape}; expected (N, ..., pixels), at least one image")
    array = array.reshape(len(array), -1)
    array = array if array.dtype.kind == "f" else array.astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
    if bad.size:
        raise EvaluationError(
            f"{name} hold NaN or infinite values in {bad.size} of {len(array)} images (the first at position "
            f"{bad[0]}); leave these images out or make them again"
        )
    return array


def _alike(first: ArrayLike, second: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Two sets of images of one shape, (N, pixels) each."""
    if np.shape(first) != np.shape(second):
        raise EvaluationError(f"got arrays of shape {np.shape(first)} and {np.shape(second)}; they must agree")
    return _rows(first, "the first"), _rows(second, "the second")


def _with_masks(maps: ArrayLike, masks: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Maps and what is marked in them, (N, pixels) float and bool."""
    if np.shape(maps) != np.shape(masks):
        raise EvaluationError(f"maps of shape {np.shape(maps)} and masks of shape {np.shape(masks)} must agree")
    values = _rows(maps, "maps")
    return values, _binary(masks).reshape(values.shape)


def _binary(masks: ArrayLike) -> np.ndarray:
    marked = np.asarray(masks)
    if marked.dtype != bool and not np.isin(marked, (0, 1)).all():
        raise EvaluationError("masks must be bool, or 0 and 1; were maps and masks exchanged?")
    return marked.astype(bool)


def _numbers(first: ArrayLike, second: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Two finite numbers an image, (N,) each."""
    a, b = (np.asarray(each, dtype=np.float64) for each in (first, second))
    if a.ndim != 1 or a.shape != b.shape or not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise EvaluationError(f"expected two finite numbers an image, (N,) each; got shapes {a.shape} and {b.shape}")
    return a, b
