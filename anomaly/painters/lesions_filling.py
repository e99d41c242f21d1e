"""A hole filled smoothly from what surrounds it, on the device of the images: where a painter begins."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

POOLS: dict[int, Callable[..., Tensor]] = {2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}
MODES = {2: "bilinear", 3: "trilinear"}
NONE = 1e-6


def filled(x: Tensor, hole: Tensor) -> Tensor:
    """Images whose holes hold the mean of what is known around, the nearer the more; (N, C, *space).

    Known pixels are averaged to half the size again and again, each with how much of it is known, and what a hole lacks
    is taken from the half as large one (pull and push: Gortler et al. 1996, The Lumigraph, section 3.4.2). Known pixels
    stay as they are; an image that is nothing but hole becomes 0.

    Args:
        x: (N, C, *space).
        hole: (N, 1, *space) bool, what is not known.
    """
    return torch.where(hole, _pushed(torch.where(hole, 0, x), (~hole).to(x)), x)


def _pushed(sums: Tensor, known: Tensor) -> Tensor:
    """Means of a level, where nothing is known those of the next.

    Args:
        sums: values times how much of them is known.
        known: 0 to 1.
    """
    mean = sums / known.clamp_min(NONE)
    space = tuple(sums.shape[2:])
    if max(space) == 1:
        return mean
    half = tuple(-(-side // 2) for side in space)
    pool = POOLS[len(space)]
    coarse = _pushed(pool(sums, half), pool(known, half))
    beyond = F.interpolate(coarse, size=space, mode=MODES[len(space)], align_corners=False)
    return known * mean + (1 - known) * beyond
