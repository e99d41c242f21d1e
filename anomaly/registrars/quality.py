"""How well one image lies on another: by their intensities, by labels, and by the field itself."""

from collections.abc import Mapping

import numpy as np
import torch

from anomaly.nets.fields import folded_share, inverse_consistency, invert
from anomaly.registrars.information import mutual_information


def agreement(moving: np.ndarray, fixed: np.ndarray, inside: np.ndarray) -> Mapping[str, float]:
    """Correlation and mutual information (nats, 32 bins) of two images (*space) inside a mask; NaN of fewer than 2."""
    nothing = {"correlation": float("nan"), "mutual_information": float("nan")}
    if inside.sum() < 2 or np.ptp(moving[inside]) == 0 or np.ptp(fixed[inside]) == 0:
        return nothing
    correlation = float(np.corrcoef(moving[inside], fixed[inside])[0, 1])
    return {"correlation": correlation, "mutual_information": mutual_information(moving, fixed, inside)}


def soundness(field: np.ndarray) -> Mapping[str, float]:
    """Of a field (dims, *space) in voxels: the share that folds, and how far there and back ends from the start.

    The way back is the field's numerical inverse, without which nothing can be carried from the fixed image to the
    moving one. Voxels that would leave the grid there or back do not count; NaN where all would.
    """
    there = torch.from_numpy(np.ascontiguousarray(field, dtype=np.float32))[None]
    folded = float(folded_share(there)[0])
    return {"folded": folded, "inverse_consistency": float(inverse_consistency(there, invert(there))[0])}


def dice(one: np.ndarray, other: np.ndarray) -> float:
    """The mean over labels (whole numbers, 0 is none) of twice their overlap over their sum; NaN without labels."""
    labels = np.union1d(np.unique(one), np.unique(other))
    found = [2 * ((one == each) & (other == each)).sum() / ((one == each).sum() + (other == each).sum())
             for each in labels if each != 0]  # fmt: skip
    return float(np.mean(found)) if found else float("nan")
