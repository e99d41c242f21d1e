"""Losses of segmentation: Dice of all classes but the background, and cross-entropy; over what counts alone."""

import torch
from torch import Tensor
from torch.nn import functional as F

SMOOTH = 1e-5


def dice_loss(logits: Tensor, places: Tensor, counted: Tensor | None = None, *, background: bool = False) -> Tensor:
    """1 - the mean over classes of 2 |p y| / (|p| + |y|), summed over the whole batch (Drozdzal et al. 2016, eq. 2).

    A class that nothing of the batch marks adds a constant, and next to no slope.

    Args:
        logits: (N, K, *space).
        places: (N, *space), whole numbers from 0 to K - 1.
        counted: (N, *space) bool, which pixels count; None for all.
        background: whether it is one of the classes.
    """
    shares = logits.softmax(1)
    marked = torch.zeros_like(shares).scatter_(1, places[:, None], 1)
    if counted is not None:
        shares, marked = (torch.where(counted[:, None], each, 0) for each in (shares, marked))
    axes = (0, *range(2, logits.ndim))
    both, each = (shares * marked).sum(axes), shares.sum(axes) + marked.sum(axes)
    return 1 - ((2 * both + SMOOTH) / (each + SMOOTH))[0 if background else 1 :].mean()


def entropy(logits: Tensor, places: Tensor, counted: Tensor | None = None) -> Tensor:
    """Cross-entropy, the mean over pixels that count; 0 where none does."""
    if counted is None:
        return F.cross_entropy(logits, places)
    of_each = F.cross_entropy(logits, places, reduction="none")
    return torch.where(counted, of_each, 0).sum() / counted.sum().clamp_min(1)


def dice_and_entropy(logits: Tensor, places: Tensor, counted: Tensor | None = None) -> Tensor:
    """(dice_loss + cross-entropy) / 2, in single precision whatever the network computes in."""
    logits = logits.float()
    return (dice_loss(logits, places, counted) + entropy(logits, places, counted)) / 2


def hard_dice(shares: Tensor, places: Tensor) -> Tensor:
    """Dice of each class but the background, (K - 1,), of the most likely class of each pixel; NaN where absent."""
    both, total = overlap(shares, places)
    return torch.where(total > 0, 2 * both / total, torch.nan)


def overlap(shares: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """Pixels of each class but the background that are found and marked, and found plus marked, (K - 1,) each."""
    found = shares.argmax(1)
    pairs = [(found == place, places == place) for place in range(1, shares.shape[1])]
    both, total = zip(*(((one & other).sum(), one.sum() + other.sum()) for one, other in pairs), strict=True)
    return torch.stack(both).cpu().double(), torch.stack(total).cpu().double()
