"""From pixels to cells: averages on a coarse grid, in two dimensions or in the three planes of a volume."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

AT_ONCE = 2**18  # values of slices that features are taken of at once: what is seen of them is many times as many


def averaged(maps: Tensor, cells: int) -> Tensor:
    """Average maps (N, K, *space) on a grid of cells (N, K, *grid); a side shorter than `cells` keeps its pixels."""
    grid = tuple(min(cells, side) for side in maps.shape[2:])
    if len(grid) == 2:
        return F.adaptive_avg_pool2d(maps, grid)
    return F.adaptive_avg_pool3d(maps, grid)  # type: ignore[arg-type]  # three sides


def resampled(maps: Tensor, grid: Sequence[int]) -> Tensor:
    """Bring maps (N, K, i, j, k) to a grid: by averages where it is coarser along every axis, else linearly."""
    if all(side >= wanted for side, wanted in zip(maps.shape[2:], grid, strict=True)):
        return F.adaptive_avg_pool3d(maps, tuple(grid))  # type: ignore[arg-type]  # three sides
    return F.interpolate(maps, size=list(grid), mode="trilinear", align_corners=False)


def grey(x: Tensor) -> Tensor:
    """Images (N, C, *space) in [-1, 1] as one channel in [0, 1]: the mean of the channels."""
    return (x.mean(1, keepdim=True) + 1) / 2


class Planes(nn.Module):
    """Features of pictures, taken of every slice of a volume in three directions, and averaged on cells.

    As Zhao and Pietikainen 2007 (TPAMI 29, LBP-TOP) do for texture: a volume is seen in its three planes, and each
    cell has the channels of all of them.

    Args:
        features: pictures (N, C, H, W) -> (N, K, h, w).
        cells: along each axis, at most.
    """

    def __init__(self, features: nn.Module, cells: int) -> None:
        super().__init__()
        self.features, self.cells = features, cells

    def forward(self, x: Tensor) -> Tensor:
        """Volumes (N, C, i, j, k) -> (N, 3 K, *cells)."""
        return torch.cat([self._across(x, axis) for axis in range(3)], dim=1)

    def _across(self, x: Tensor, axis: int) -> Tensor:
        """The features of the planes across one axis, (N, K, *cells)."""
        stacked = x.movedim(2 + axis, 1)  # (N, slices, C, ...)
        flat = stacked.flatten(0, 1)
        maps = torch.cat([self.features(part) for part in flat.split(max(1, AT_ONCE // flat[0].numel()))])
        maps = maps.unflatten(0, stacked.shape[:2]).transpose(1, 2).movedim(2, 2 + axis)  # (N, K, ...), in place again
        return resampled(maps, [min(self.cells, side) for side in x.shape[2:]])
