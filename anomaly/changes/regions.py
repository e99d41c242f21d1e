"""Regions of a map of change that rise above its noise, one by one."""

import numpy as np
import pandas as pd
from scipy import ndimage

from anomaly.changes.lesions import AXES
from anomaly.errors import AnomalyError
from anomaly.statistics.regions import labelled

THRESHOLD = 5.0
"""Of z, beyond which change is told: see docs/benchmarks/change.md for what it finds and what it misses."""
KINDS = ("increase", "decrease")


def changed(z: np.ndarray, threshold: float = THRESHOLD, smallest: float = 0.0, voxel: float = 1.0) -> np.ndarray:
    """Where a map of change is beyond the threshold in regions of at least a size: 1 brighter, -1 darker, 0 else.

    Args:
        z: (*space), as `change_map` gives it.
        threshold: of |z|, above 0.
        smallest: volume of a region below which it is left out.
        voxel: volume of one voxel.
    """
    if not threshold > 0:
        raise AnomalyError(f"threshold is {threshold}; expected a number above 0, as {THRESHOLD:g}")
    found = np.zeros(z.shape, dtype=np.int8)
    for sign in (1, -1):
        labels, count = labelled(sign * z > threshold)
        kept = np.bincount(labels.ravel(), minlength=count + 1) * voxel >= smallest
        kept[0] = False
        found[kept[labels]] = sign
    return found


def changed_regions(
    z: np.ndarray, *, threshold: float = THRESHOLD, smallest: float = 0.0, voxel: float = 1.0
) -> pd.DataFrame:
    """One row a region that became brighter or darker beyond the threshold, the largest first.

    Returns:
        A table with region (from 1), kind ("increase" or "decrease"), volume, mean and peak of z, and centre_i,
        centre_j, centre_k (mean index of its voxels, from 0). Without regions it has these columns and no row.
    """
    where, rows = changed(z, threshold, smallest, voxel), list[dict[str, object]]()
    for kind, sign in zip(KINDS, (1, -1), strict=True):
        labels, count = labelled(where == sign)
        numbers = np.arange(1, count + 1)
        volumes = np.bincount(labels.ravel(), minlength=count + 1)[1:] * float(voxel)
        means, peaks = ndimage.mean(z, labels, numbers), ndimage.maximum(sign * z, labels, numbers)
        centres = ndimage.center_of_mass(labels > 0, labels, numbers)
        for volume, mean, peak, centre in zip(volumes, means, peaks, centres, strict=True):
            at = {f"centre_{axis}": float(place) for axis, place in zip(AXES, centre, strict=False)}
            rows.append({"kind": kind, "volume": volume, "mean": float(mean), "peak": sign * float(peak), **at})
    names = ["region", "kind", "volume", "mean", "peak", *(f"centre_{axis}" for axis in AXES[: z.ndim])]
    if not rows:
        kinds = {"region": "int64", "kind": "str"}
        return pd.DataFrame({name: pd.Series(dtype=kinds.get(name, "float64")) for name in names})
    table = pd.DataFrame(rows).sort_values("volume", ascending=False, kind="stable", ignore_index=True)
    return table.assign(region=np.arange(1, len(table) + 1))[names]
