"""Losses of segmentation: Dice of all classes but the background, and cross-entropy."""

import torch
from torch import Tensor
from torch.nn import functional as F

SMOOTH = 1e-5


def dice_loss(logits: Tensor, places: Tensor) -> Tensor:
    """1 - the mean over classes of 2 |p y| / (|p| + |y|), summed over the whole batch (Milletari et al. 2016).

    Classes that neither the batch nor the network marks count as found. The background is no class of it.

    Args:
        logits: (N, K, *space).
        places: (N, *space), whole numbers from 0 to K - 1.
    """
    shares = logits.softmax(1).flatten(2)
    marked = F.one_hot(places.flatten(1), logits.shape[1]).transpose(1, 2).to(shares)
    both, each = (shares * marked).sum((0, 2)), (shares + marked).sum((0, 2))
    return 1 - ((2 * both + SMOOTH) / (each + SMOOTH))[1:].mean()


def dice_and_entropy(logits: Tensor, places: Tensor) -> Tensor:
    """(dice_loss + cross-entropy) / 2, in single precision whatever the network computes in."""
    logits = logits.float()
    return (dice_loss(logits, places) + F.cross_entropy(logits, places)) / 2


def hard_dice(shares: Tensor, places: Tensor) -> Tensor:
    """Dice of each class but the background, (K - 1,), of the most likely class of each pixel; NaN where absent."""
    found = shares.argmax(1)
    each = []
    for place in range(1, shares.shape[1]):
        one, other = found == place, places == place
        total = one.sum() + other.sum()
        each.append(2 * (one & other).sum() / total if total else torch.full((), float("nan"), device=shares.device))
    return torch.stack(each)
