"""How much must be taken away of maps until next to nothing is left of those that labels without meaning give."""

from dataclasses import dataclass

import numpy as np

from anomaly.errors import AnomalyError
from anomaly.statistics import Estimate
from explain.checking.findings import ratio

POINTS = 64
"""Thresholds that are tried."""


@dataclass(frozen=True)
class Held:
    """The smallest threshold at which maps of nothing are small enough beside the real ones.

    Args:
        threshold: None where there is none.
        ratio: size of the maps of nothing over that of the real ones there; of those as they are, where there is none.
            Of several trainings on permuted labels the one with the largest.
        raw: the same of the maps as they are.
        at: which of the thresholds it is; None where there is none.
    """

    threshold: float | None
    ratio: Estimate
    raw: Estimate
    at: int | None


def thresholds(largest: float) -> np.ndarray:
    """What is tried, (T,): from 0 up to the largest size there is, more closely where they are small."""
    return largest * np.linspace(0, 1, POINTS) ** 2


def smallest_that_holds(
    real: np.ndarray, nothing: np.ndarray, subjects: np.ndarray, tried: np.ndarray, *, allowed: float = 0.05
) -> Held:
    """The smallest t with E (|M0| - t)+ <= allowed E (|M| - t)+, by the upper end of its 95 % interval.

    The interval is by drawing persons anew. With fewer than five of them there is none, and the ratio itself decides.
    Each training on permuted labels must hold by itself: persons say nothing of how trainings differ, so that the worst
    is what stands for others.

    Args:
        real: mean size of the real map of each image at each threshold, (n, T).
        nothing: the same by each of K trainings on permuted labels, (K, n, T).
        subjects: (n,).
        tried: the thresholds, rising, (T,).
        allowed: the share.

    Raises:
        AnomalyError: arrays that do not belong together, or hold what is not a number; nothing to decide by.
    """
    _check(real, nothing, subjects, tried, allowed)
    raw = _worst(real, nothing, subjects, 0)
    for k in range(len(tried)):
        total = real[:, k].sum()
        if total > 0 and nothing[:, :, k].sum(1).max() <= allowed * total:
            found = _worst(real, nothing, subjects, k)
            if found.value <= allowed and not found.high > allowed:
                return Held(float(tried[k]), found, raw, k)
    return Held(None, raw, raw, None)


def _worst(real: np.ndarray, nothing: np.ndarray, subjects: np.ndarray, k: int) -> Estimate:
    """Of all trainings on permuted labels the ratio that ends highest; infinite where no real map is left."""
    if not real[:, k].any():
        return Estimate(float("inf"), float("inf"), float("inf"), "no real map is left")
    with np.errstate(divide="ignore", invalid="ignore"):  # draws of persons of whom nothing is left
        found = [ratio(each[:, k], real[:, k], subjects) for each in nothing]
    return max(found, key=lambda each: (np.nan_to_num(each.high, nan=each.value), each.value))


def _check(real: np.ndarray, nothing: np.ndarray, subjects: np.ndarray, tried: np.ndarray, allowed: float) -> None:
    n, count = real.shape if real.ndim == 2 else (0, 0)
    if nothing.ndim != 3 or not len(nothing) or nothing.shape[1:] != (n, count) or len(subjects) != n or not n:
        raise AnomalyError(
            f"got sizes {real.shape} of real maps, {nothing.shape} of maps of nothing and {len(subjects)} subjects; "
            "expected (n, T), (K, n, T) and n, at least one of each"
        )
    if tried.shape != (count,) or (np.diff(tried) < 0).any():
        raise AnomalyError(f"expected {count} thresholds that rise, one for each column; got {tried.shape}")
    if not (np.isfinite(real).all() and np.isfinite(nothing).all()):
        raise AnomalyError("sizes of maps hold what is not a number: an explainer drew it, so train it anew")
    if not 0 < allowed < 1:
        raise AnomalyError(f"allowed is {allowed}; expected a share above 0 and below 1")
