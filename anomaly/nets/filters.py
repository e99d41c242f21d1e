"""Filters of maps that keep edges: the median, and the foreground without its rim; 2D and 3D."""

import torch
from torch import Tensor
from torch.nn import functional as F

POOL = {2: F.max_pool2d, 3: F.max_pool3d}
AT_ONCE = 2**25
"""Values that a median sorts at once: of volumes the windows are many times as large as they are."""


def median(x: Tensor, width: int) -> Tensor:
    """The median of a window around each pixel, edges repeated.

    Args:
        x: (N, C, *space).
        width: pixels along each side of the window, odd; 1 leaves the maps as they are.
    """
    if width <= 1:
        return x
    dims, reach = x.ndim - 2, width // 2
    padded = F.pad(x, [reach, reach] * dims, mode="replicate")
    slabs = max(1, AT_ONCE // (x[:, :, 0].numel() * width**dims))
    return torch.cat(
        [_median(padded[:, :, at : at + slabs + 2 * reach], width) for at in range(0, x.shape[2], slabs)], 2
    )


def _median(padded: Tensor, width: int) -> Tensor:
    windows = padded
    for axis in range(2, padded.ndim):
        windows = windows.unfold(axis, width, 1)
    return windows.flatten(padded.ndim).median(-1).values


def eroded(inside: Tensor, reach: int) -> Tensor:
    """What of a foreground (N, 1, *space) bool lies more than `reach` pixels, along each axis, from all that does not.

    The edge of the image is no edge of the foreground.
    """
    if reach <= 0:
        return inside
    dims = inside.ndim - 2
    outside = F.pad((~inside).float(), [reach, reach] * dims, mode="constant", value=0.0)
    return POOL[dims](outside, 2 * reach + 1, stride=1) == 0
