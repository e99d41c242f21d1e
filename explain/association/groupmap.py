"""Where the maps of images with the outcome differ from those of images without: the tests of one group map."""

from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.stats import t as student

from anomaly.errors import EvaluationError
from anomaly.progress import progress
from anomaly.statistics.permutation import Plan, corrected_p, shuffled
from explain.association.clusters import Enhance, clusters, height, tfce
from explain.association.voxels import residuals, t_maps, voxel_auroc

CORRECTIONS = ("max-t", "cluster", "tfce")
_HELD = 16_000_000  # numbers of t held at once: 64 MB


@dataclass(frozen=True)
class GroupMap:
    """What was found in each voxel of the mask, (V,).

    Args:
        difference: mean of the images with the outcome minus those without, adjusted; in units of the maps.
        t: of that difference.
        auroc: chance that an image with the outcome is higher here than one without; not adjusted.
        p: corrected for all voxels (family-wise), two-sided.
        p_extent: the same by the extent of clusters; for the correction by clusters alone.
        threshold: the t that clusters were cut at; None for the other corrections.
    """

    difference: np.ndarray
    t: np.ndarray
    auroc: np.ndarray
    p: np.ndarray
    p_extent: np.ndarray | None
    threshold: float | None


def group_map(
    maps: np.ndarray,
    outcome: np.ndarray,
    plan: Plan,
    mask: np.ndarray,
    *,
    correction: str = "max-t",
    permutations: int = 1000,
    cluster_threshold: float = 0.001,
    robust: bool = True,
    seed: int = 0,
    shown: bool = False,
    maxima: np.ndarray | None = None,
) -> GroupMap:
    """Test maps (n, V), the voxels of `mask` (*space), for the outcome (n,) of 0/1 in the model `plan`.

    Shufflings hold a constant amount of memory, whatever their number. nilearn's `permuted_ols` gives the same
    for one image a subject with pooled variance; ours serves the other designs too, and is faster.

    Args:
        correction: `max-t` (each voxel by its height), `cluster` (mass above the threshold) or `tfce`.
        permutations: shufflings beside the data as they are; the smallest p is 1 / (1 + permutations).
        cluster_threshold: below 1 an uncorrected two-sided p, else a t.
        robust: the variance of `voxels.t_maps`.
        shown: whether a bar tells how far it has come.
        maxima: (statistics, permutations), what the shufflings gave, where shards did them (`maxima_of_shard`).

    Raises:
        EvaluationError: no such correction, or a threshold or number of permutations that makes no sense.
    """
    enhance, threshold = _enhancing(plan, correction, permutations, cluster_threshold, robust)
    unit, lengths = residuals(plan, maps)
    rows = np.arange(unit.shape[0])[None]
    coefficient, t = t_maps(plan, unit, rows, np.ones_like(rows), robust=robust)
    observed = enhance(_volumes(t, mask))[:, 0, mask]
    if maxima is None:
        maxima = _maxima(plan, unit, mask, enhance, permutations, robust=robust, seed=seed, shown=shown)
    p = [corrected_p(each, best) for each, best in zip(observed, maxima, strict=True)]
    difference = coefficient[0] * lengths / plan.length
    extent, cut = (p[1], threshold) if correction == "cluster" else (None, None)
    return GroupMap(difference, t[0], voxel_auroc(maps, outcome), p[0], extent, cut)


def maxima_of_shard(
    maps: np.ndarray,
    plan: Plan,
    mask: np.ndarray,
    shard: tuple[int, int],
    *,
    correction: str = "max-t",
    permutations: int = 1000,
    cluster_threshold: float = 0.001,
    robust: bool = True,
    seed: int = 0,
    shown: bool = False,
) -> np.ndarray:
    """The largest statistics of the shufflings of shard (i, N), as `group_map` makes them: (statistics, shufflings).

    Shufflings are made in portions of a hundred, or fewer where maps are large; a shard takes every N-th portion, so
    that those of all shards are what one process makes, to the bit. Where there are fewer portions than shards, some
    shards have none.
    """
    enhance, _ = _enhancing(plan, correction, permutations, cluster_threshold, robust)
    unit, _ = residuals(plan, maps)
    return _maxima(plan, unit, mask, enhance, permutations, robust=robust, seed=seed, shown=shown, shard=shard)


def _enhancing(
    plan: Plan, correction: str, permutations: int, cluster_threshold: float, robust: bool
) -> tuple[Enhance, float]:
    """What is made of maps of t, and the t that clusters are cut at."""
    if correction not in CORRECTIONS:
        raise EvaluationError(f"the correction must be one of {', '.join(CORRECTIONS)}, got {correction!r}")
    if permutations < 1 or cluster_threshold <= 0:
        raise EvaluationError(
            f"expected a positive number of permutations and a positive cluster threshold, got {permutations} and "
            f"{cluster_threshold}"
        )
    threshold = t_threshold(plan, cluster_threshold, robust)
    ways: dict[str, Enhance] = {"max-t": height, "cluster": partial(clusters, threshold=threshold), "tfce": tfce}
    return ways[correction], threshold


def _maxima(
    plan: Plan,
    unit: np.ndarray,
    mask: np.ndarray,
    enhance: Enhance,
    permutations: int,
    *,
    robust: bool,
    seed: int,
    shown: bool,
    shard: tuple[int, int] = (1, 1),
) -> np.ndarray:
    """The largest statistics of shufflings, those of one shard: all are drawn, since that is quick."""
    rng, found = np.random.default_rng([seed, 1]), []
    with progress("Permutations", permutations, unit="permutations", shown=shown) as bar:
        for place, number in enumerate(_portions(permutations, mask.size)):
            rows = shuffled(plan, number, rng)
            if place % shard[1] == shard[0] - 1:
                t = t_maps(plan, unit, *rows, robust=robust)[1]
                best = enhance(_volumes(t, mask))
                found.append(best.reshape(len(best), number, -1).max(axis=2))
            bar.advance(number)
    if not found:  # fewer portions than shards
        return np.empty((len(enhance(np.zeros((1, *mask.shape), np.float32))), 0), np.float32)
    return np.concatenate(found, axis=1)


def t_threshold(plan: Plan, cluster_threshold: float, robust: bool) -> float:
    """The t of an uncorrected two-sided p; a threshold of 1 or more is a t already."""
    if cluster_threshold >= 1:
        return cluster_threshold
    freedom = min(plan.freedom, int(plan.blocks.max())) if robust else plan.freedom
    return float(student.isf(cluster_threshold / 2, freedom))


def _volumes(t: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Maps (B, V) laid out in space, zero outside the mask."""
    if mask.all():
        return t.reshape(-1, *mask.shape)
    volumes = np.zeros((len(t), *mask.shape), dtype=np.float32)
    volumes[:, mask] = t
    return volumes


def _portions(total: int, voxels: int) -> list[int]:
    size = max(1, min(100, _HELD // voxels))
    return [size] * (total // size) + [total % size] * bool(total % size)
