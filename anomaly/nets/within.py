"""What of prepared images lies within their masks, found in the images themselves, and means over it.

Pixels outside a mask are exactly -1 in all channels, none inside is (`anomaly.levels`). Where images have no masks,
`None` stands for all of them.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from anomaly.levels import DARKEST, OUTSIDE


def within(x: Tensor) -> Tensor:
    """Where images (N, C, *space) lie within their masks: (N, 1, *space) bool."""
    return (x > OUTSIDE).any(1, keepdim=True)


def kept(changed: Tensor, inside: Tensor | None) -> Tensor:
    """Images (N, C, *space) that were changed, with their masks as they were: (N, 1, *space) bool, or None."""
    if inside is None:
        return changed
    return torch.where(inside, changed.clamp_min(DARKEST), OUTSIDE)


def pasted(drawn: Tensor, x: Tensor, inside: Tensor | None) -> Tensor:
    """What was drawn of an image within the mask, and the image itself outside, so that nothing differs there."""
    return drawn if inside is None else torch.where(inside, drawn, x)


def mean_within(values: Tensor, inside: Tensor | None) -> Tensor:
    """The mean (N,) of maps (N, C, *space) over the pixels that count, (N, 1, *space); 0 where none does."""
    if inside is None:
        return values.flatten(1).mean(1)
    return sum_within(values, inside) / (inside.flatten(1).sum(1) * values.shape[1]).clamp_min(1)


def sum_within(values: Tensor, inside: Tensor | None) -> Tensor:
    """The sum (N,) of maps (N, C, *space) over the pixels that count."""
    return (values if inside is None else torch.where(inside, values, 0)).flatten(1).sum(1)


def mean_of_batch(values: Tensor, inside: Tensor | None) -> Tensor:
    """The mean of maps (N, C, *space) over all pixels of the batch that count, one number."""
    if inside is None:
        return values.mean()
    return torch.where(inside, values, 0).sum() / (inside.sum() * values.shape[1]).clamp_min(1)


def cells_within(inside: Tensor, grid: tuple[int, ...]) -> Tensor:
    """Which cells of a grid count: those that lie within the mask by half, or the fullest where none does.

    Args:
        inside: (N, 1, *space) bool.
        grid: cells along each axis.

    Returns:
        (N, 1, *grid) bool.
    """
    seen = inside.float()
    if len(grid) == 2:
        share = F.adaptive_avg_pool2d(seen, grid)
    else:
        share = F.adaptive_avg_pool3d(seen, grid)  # type: ignore[arg-type]  # three sides
    least = share.flatten(1).amax(1).clamp_max(0.5).view(-1, *[1] * (share.ndim - 1))
    return (share >= least) & (share > 0)
