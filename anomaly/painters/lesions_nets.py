"""The critic of painted lesions: is each patch real, and of which class is what the hole holds."""

import torch
from torch import Tensor, nn

from anomaly.nets.critics import PatchCritic
from anomaly.nets.pyramid import initialise
from anomaly.painters.lesions_filling import POOLS

LEAST = 1e-3


class LesionCritic(nn.Module):
    """Image with the hole beside it -> a logit of each patch, and one of each class for the hole (Odena et al. 2017).

    Args:
        channels: of the image.
        dims: 2 or 3.
        classes: the normal one among them.
        width: channels after the first convolution.
        halved: how often.
    """

    def __init__(self, channels: int, dims: int, *, classes: int, width: int, halved: int) -> None:
        super().__init__()
        self.patches = PatchCritic(channels + 1, dims, width=width, halved=halved)
        last = width * min(8, 1 << halved)
        self.classes = nn.Linear(last, classes)
        initialise(self.classes)

    def forward(self, x: Tensor, hole: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Images (N, C, *space) and holes (N, 1, *space) bool -> logits of patches, their weights, logits of classes.

        Patches and weights are (N, 1, *fewer), the weights of an image adding up to 1: a patch counts as much as it
        shares with the hole. Classes are (N, K).
        """
        seen = self.patches.features(torch.cat([x, 2 * hole.to(x) - 1], 1))[-1]
        logits = self.patches.head(seen)
        return logits, shared(hole, tuple(logits.shape[2:])).to(logits), self.classes(weighted(seen, hole))


def shared(hole: Tensor, grid: tuple[int, ...]) -> Tensor:
    """How much of each cell of a grid is hole, (N, 1, *grid), adding up to 1 for each image."""
    share = POOLS[len(grid)](hole.float(), grid) + LEAST * hole.flatten(1).any(1).view(-1, *[1] * (hole.ndim - 1))
    return share / share.flatten(1).sum(1).clamp_min(1e-12).view(-1, *[1] * (hole.ndim - 1))


def weighted(values: Tensor, hole: Tensor) -> Tensor:
    """The mean (N, C) of values (N, C, *grid) over the hole."""
    return (values * shared(hole, tuple(values.shape[2:])).to(values)).flatten(2).sum(2)
