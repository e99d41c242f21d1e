"""How well one image lies on another: by their intensities, by labels, and by the field itself."""

from collections.abc import Mapping

import numpy as np
import torch

from anomaly.nets.fields import compose, folded_share, invert, length
from anomaly.registrars.information import mutual_information


def agreement(moving: np.ndarray, fixed: np.ndarray, inside: np.ndarray) -> Mapping[str, float]:
    """Correlation and mutual information (nats, 32 bins) of two images (*space) inside a mask; NaN of fewer than 2."""
    nothing = {"correlation": float("nan"), "mutual_information": float("nan")}
    if inside.sum() < 2 or np.ptp(moving[inside]) == 0 or np.ptp(fixed[inside]) == 0:
        return nothing
    correlation = float(np.corrcoef(moving[inside], fixed[inside])[0, 1])
    return {"correlation": correlation, "mutual_information": mutual_information(moving, fixed, inside)}


def soundness(field: np.ndarray, deformation: np.ndarray) -> Mapping[str, float]:
    """The share of a whole field that folds, and how far there and back ends from the start, in voxels.

    The way back undoes the affine part in closed form, which is exact for every turn, and the deformation numerically,
    without which nothing can be carried from the fixed image to the moving one. What is left over is that of the
    deformation alone, the mean of both orders. Voxels that leave the grid, there or back, do not count; NaN where all
    do.

    Args:
        field: (dims, *space) in voxels, affine part and deformation in one.
        deformation: (dims, *space) in voxels of the fixed image, before the affine part; 0 where nothing was deformed.
    """
    whole, there = (torch.from_numpy(np.ascontiguousarray(each, dtype=np.float32))[None]
                    for each in (field, deformation))  # fmt: skip
    back = invert(there)
    return {"folded": float(folded_share(whole)[0]), "inverse_consistency": _there_and_back(there, back)}


def _there_and_back(there: torch.Tensor, back: torch.Tensor) -> float:
    """Mean voxels from the start of both orders, of voxels that stay on the grid."""
    total, count = 0.0, 0
    for first, second in ((there, back), (back, there)):
        stays = _stays(second)
        total += float(length(compose(first, second))[0, 0][stays].sum())
        count += int(stays.sum())
    return total / count if count else float("nan")


def _stays(field: torch.Tensor) -> torch.Tensor:
    """(*space) bool, of which voxels a field (1, dims, *space) ends within the outer centres of the grid."""
    found = torch.ones(field.shape[2:], dtype=torch.bool, device=field.device)
    for axis, side in enumerate(field.shape[2:]):
        place = torch.arange(side, device=field.device).view(-1, *(1,) * (field.ndim - 3 - axis)) + field[0, axis]
        found &= (place >= 0) & (place <= side - 1)
    return found


def dice(one: np.ndarray, other: np.ndarray) -> float:
    """The mean over labels (whole numbers, 0 is none) of twice their overlap over their sum; NaN without labels."""
    labels = np.union1d(np.unique(one), np.unique(other))
    found = [2 * ((one == each) & (other == each)).sum() / ((one == each).sum() + (other == each).sum())
             for each in labels if each != 0]  # fmt: skip
    return float(np.mean(found)) if found else float("nan")
