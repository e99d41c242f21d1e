"""How well a score separates two groups of images, and how well a map finds the marked regions.

Numpy in, float out. Outcomes are 0/1 (1 = the event), a higher score means more abnormal. Whatever
allows no honest figure (one class only, NaN, lengths that differ) is an `EvaluationError`.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata
from sklearn.metrics import average_precision_score, roc_auc_score

from anomaly.errors import EvaluationError
from anomaly.statistics import regions, thresholds

# A share such as 0.95 of 20 controls must count as 19 of them, whatever its binary rounding.
_ROUNDING = 1e-9


def checked(outcome: ArrayLike, score: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Outcomes and scores as arrays fit for a figure: (n,) bool and (n,) float64.

    Raises:
        EvaluationError: lengths differ, outcomes other than 0/1, one class only, NaN or infinite scores.
    """
    labels, values = np.asarray(outcome), np.asarray(score, dtype=np.float64)
    if labels.ndim != 1 or labels.shape != values.shape:
        raise EvaluationError(
            f"got outcomes of shape {labels.shape} and scores of shape {values.shape}; "
            "give one outcome and one score an image"
        )
    if not np.isin(labels, (0, 1)).all():
        raise EvaluationError("outcomes must be 0 or 1 and known for every image; drop or recode the others")
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        raise EvaluationError(
            f"{bad.size} of {values.size} scores are NaN or infinite (the first at position {bad[0]}); "
            "leave these images out or score them again"
        )
    events = int(labels.sum())
    if events in (0, labels.size):
        raise EvaluationError(f"{events} events among {labels.size} images: both classes are needed")
    return labels.astype(bool), values


def auroc(outcome: ArrayLike, score: ArrayLike) -> float:
    """Chance that an image with the event scores higher than one without, a tie counting one half.

    The Mann-Whitney statistic by midranks, O(n log n).
    """
    event, value = checked(outcome, score)
    cases = int(event.sum())
    rank_sum = rankdata(value)[event].sum()
    return float((rank_sum - cases * (cases + 1) / 2) / (cases * (event.size - cases)))


def partial_auroc(outcome: ArrayLike, score: ArrayLike, max_fpr: float) -> float:
    """AUROC over false positive rates from 0 to `max_fpr` alone, rescaled so that chance is 0.5 and best 1.

    McClish 1989's correction; what counts where only high specificities are of use.
    """
    event, value = checked(outcome, score)
    if not 0 < max_fpr <= 1:
        raise EvaluationError(f"max_fpr must lie in (0, 1], got {max_fpr}")
    return float(roc_auc_score(event, value, max_fpr=max_fpr))


def average_precision(outcome: ArrayLike, score: ArrayLike) -> float:
    """Mean precision over the events as the threshold falls; a score that knows nothing: the prevalence."""
    event, value = checked(outcome, score)
    return float(average_precision_score(event, value))


def roc_curve(outcome: ArrayLike, score: ArrayLike) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points of the ROC curve: false positive rate, sensitivity, and the threshold each belongs to.

    An image is called abnormal when its score is at or above the threshold; the first point is (0, 0) at
    an infinite threshold, the last (1, 1). One point a distinct score, so tied scores make a slope.
    """
    event, value = checked(outcome, score)
    order = np.argsort(-value, kind="stable")
    event, value = event[order], value[order]
    last = np.append(np.flatnonzero(np.diff(value)), value.size - 1)
    true, false = np.cumsum(event)[last], np.cumsum(~event)[last]
    return (
        np.append(0.0, false / false[-1]),
        np.append(0.0, true / true[-1]),
        np.append(np.inf, value[last]),
    )


def threshold_at_specificity(outcome: ArrayLike, score: ArrayLike, specificity: float) -> float:
    """The control score above which (strictly) an image is abnormal: specificity is at least as asked.

    With n controls it is their k-th smallest score, k = ceil(specificity * n). Controls tied with it are
    called normal, so the specificity reached is never below the one asked for. Cases play no part.
    """
    event, value = checked(outcome, score)
    if not 0 < specificity <= 1:
        raise EvaluationError(f"specificity must lie in (0, 1], got {specificity}")
    controls = np.sort(value[~event])
    return float(controls[int(np.ceil(specificity * controls.size - _ROUNDING)) - 1])


def sensitivity_at_specificity(outcome: ArrayLike, score: ArrayLike, specificity: float) -> float:
    """Share of the events scored strictly above `threshold_at_specificity`."""
    event, value = checked(outcome, score)
    return float(np.mean(value[event] > threshold_at_specificity(outcome, score, specificity)))


def dice(mask: ArrayLike, anomaly_map: ArrayLike, threshold: float) -> float:
    """Overlap, 0 to 1, of a marked region with the pixels at or above a threshold fixed beforehand.

    Twice the common pixels over the sum of both areas; 1.0 when both are empty. The threshold is the
    caller's: one chosen on the same images would flatter the method.
    """
    truth = np.asarray(mask).astype(bool)
    found = np.asarray(anomaly_map) >= threshold
    if truth.shape != found.shape:
        raise EvaluationError(f"mask of shape {truth.shape} and map of shape {found.shape} must agree")
    area = int(truth.sum() + found.sum())
    return 1.0 if area == 0 else float(2 * np.sum(truth & found) / area)


def pixel_average_precision(masks: Iterable[ArrayLike], maps: Iterable[ArrayLike]) -> float:
    """Average precision over the pixels of all images together; images may differ in size."""
    pairs = _pixel_pairs(masks, maps)
    truth = np.concatenate([mask.ravel() for mask, _ in pairs])
    return average_precision(truth, np.concatenate([values.ravel() for _, values in pairs]))


def region_overlap(masks: Iterable[ArrayLike], maps: Iterable[ArrayLike], *, max_fpr: float = 0.3) -> float:
    """How much of each marked region is found, every region counting the same whatever its size (PRO).

    At each threshold the mean share of each connected region (touching corners connect, in 2D and 3D) at
    or above it, against the share of unmarked pixels at or above it; the area below that curve from 0 to
    `max_fpr`, divided by `max_fpr`: 1.0 finds all, max_fpr / 2 finds nothing more than chance.
    Bergmann et al. 2021, "The MVTec Anomaly Detection Dataset", section 5.1. Exact: every distinct value
    of the maps is a threshold.

    Raises:
        EvaluationError: no marked region, no unmarked pixel, shapes that differ, NaN in a map.
    """
    if not 0 < max_fpr <= 1:
        raise EvaluationError(f"max_fpr must lie in (0, 1], got {max_fpr}")
    pairs = _pixel_pairs(masks, maps)
    inside = np.concatenate([values[mask] for mask, values in pairs])
    outside = np.concatenate([values[~mask] for mask, values in pairs])
    if not inside.size or not outside.size:
        raise EvaluationError("regions are scored against the rest: masks need marked and unmarked pixels")
    weights = np.concatenate([regions.weights(regions.labelled(mask)[0])[mask] for mask, _ in pairs])
    limits = thresholds.edges(inside, inside.size)
    found, rest = thresholds.weighed(inside, weights, limits), thresholds.counted(np.sort(outside), limits)
    return float(thresholds.region_overlap(found, rest, max_fpr))


def _pixel_pairs(masks: Iterable[ArrayLike], maps: Iterable[ArrayLike]) -> Sequence[tuple[np.ndarray, np.ndarray]]:
    marked = [np.asarray(mask).astype(bool) for mask in masks]
    values = [np.asarray(each, dtype=np.float64) for each in maps]
    if not marked or [mask.shape for mask in marked] != [each.shape for each in values]:
        raise EvaluationError(
            f"got {len(marked)} masks and {len(values)} maps: give one mask a map, each of its map's shape"
        )
    if not all(np.isfinite(each).all() for each in values):
        raise EvaluationError("a map holds NaN or infinite pixels; make the maps again")
    return list(zip(marked, values, strict=True))
