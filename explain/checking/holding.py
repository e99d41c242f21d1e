"""How much must be taken away of maps until next to nothing is left of those that labels without meaning give."""

from dataclasses import dataclass

import numpy as np

from anomaly.errors import AnomalyError
from anomaly.statistics import Estimate
from explain.checking.findings import FEWEST_SUBJECTS, at_most, ratio

POINTS = 64
"""Thresholds that are tried."""
LEAST = 0.01
"""Share of the real maps that must be left: of the few pixels that lie beyond, chance says which maps hold them."""


@dataclass(frozen=True)
class Held:
    """The smallest threshold from which on maps of nothing are small enough beside the real ones.

    Args:
        threshold: None where there is none.
        ratio: size of the maps of nothing over that of the real ones, each person at the threshold that was chosen
            without that person; of maps as they are, where there is none. Of several trainings on permuted labels the
            one with the largest.
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


def by_person(sizes: np.ndarray, subjects: np.ndarray) -> np.ndarray:
    """Mean over the images of each person, (..., n, T) -> (..., m, T), so that each person counts once."""
    persons, whose = np.unique(np.asarray(subjects, dtype=str), return_inverse=True)
    shares = (whose == np.arange(len(persons))[:, None]) / np.bincount(whose)[:, None]
    return np.asarray(shares @ sizes)


def smallest_that_holds(
    real: np.ndarray, nothing: np.ndarray, subjects: np.ndarray, tried: np.ndarray, *, allowed: float = 0.05
) -> Held:
    """The smallest t from which on sum (|M0| - t)+ <= allowed sum (|M| - t)+ over persons, by a 95 % interval.

    The thresholds are given: whoever cuts them by all persons, as `calibrate` does by what real maps show, lets each
    half say what the other one chooses from, though not what it chooses.

    Persons are parted by lot. Each half chooses by itself, from the largest threshold down: as long as sum M0 - allowed
    M is at most 0 by the upper end of its interval, persons drawn anew, wherever half of the persons and a hundredth
    of the real maps are left. The first failure ends it, so that looking often makes nothing hold. The larger of the
    two is taken, at which it holds in both halves; told is the ratio of each half at what the other one chose, which
    must be at most `allowed` as well. Where fewer than five persons are asked there is no interval, and it must hold of
    each of them; so few in all are not parted.

    A person counts once, whatever the number of images. Each training on permuted labels must hold by itself: persons
    say nothing of how trainings differ, so that the worst is what stands for others.

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
    real, nothing = by_person(real, subjects), by_person(nothing, subjects)
    raw = _worst(real[:, 0], nothing[:, :, 0])
    halves = _parted(len(real))
    chosen = [_smallest(real[half], nothing[:, half], allowed) for half in halves]
    columns, everyone = np.zeros(len(real), dtype=int), np.arange(len(real))
    for half, other in zip(halves, reversed(chosen), strict=True):
        if other is None:
            return Held(None, raw, raw, None)
        columns[half] = other
    at, told = int(columns.max()), _worst(real[everyone, columns], nothing[:, everyone, columns])
    if told.value > allowed or not all(_enough(real[half, at], real[half]) for half in halves):
        return Held(None, raw, raw, None)
    return Held(float(tried[at]), told, raw, at)


def _parted(count: int) -> list[np.ndarray]:
    """Two halves of so many persons, by lot; all of them in one where they are few."""
    mixed = np.random.default_rng(0).permutation(count)
    return [mixed] if count < FEWEST_SUBJECTS else [mixed[::2], mixed[1::2]]


def _smallest(real: np.ndarray, nothing: np.ndarray, allowed: float) -> int | None:
    """Which threshold is the first from which on all hold at which enough is left; None where the last does not."""
    found = None
    for k in reversed(range(real.shape[1])):
        if _enough(real[:, k], real):
            if not _holds(real[:, k], nothing[:, :, k], allowed):
                break
            found = k
    return found


def _enough(left: np.ndarray, real: np.ndarray) -> bool:
    """Whether something is left in at least half of the persons, and a least share of the whole."""
    whole = real[:, 0].sum()
    return bool(whole > 0 and 2 * np.count_nonzero(left) >= len(left) and left.sum() >= LEAST * whole)


def _holds(left: np.ndarray, nothing: np.ndarray, allowed: float) -> bool:
    """Whether each of the trainings on permuted labels leaves little enough, (K, m) beside (m,)."""
    if len(left) < FEWEST_SUBJECTS:
        return bool((nothing <= allowed * left).all())
    return all(at_most(each, left, np.arange(len(left)), allowed) for each in nothing)


def _worst(real: np.ndarray, nothing: np.ndarray) -> Estimate:
    """Of all trainings on permuted labels, (K, m), the ratio that ends highest."""
    found = [ratio(each, real, np.arange(len(real))) for each in nothing]
    return max(found, key=lambda each: (each.value if np.isnan(each.high) else each.high, each.value))


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
    if not real[:, 0].any():
        raise AnomalyError("the real maps are 0 in all images, so that nothing can be small beside them")
    if not 0 < allowed < 1:
        raise AnomalyError(f"allowed is {allowed}; expected a share above 0 and below 1")
