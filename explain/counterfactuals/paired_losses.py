"""What paired generators are trained by, beside the distance of pixels; each one number an image, (N,)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PATCHES = 256
TEMPERATURE = 0.07
LONG = 256
"""Length of what a head gives."""


def judgement(logits: Tensor, real: bool) -> Tensor:
    """Cross-entropy of a patch critic's logits (N, 1, *patches) with all of them real, or all of them not."""
    return F.softplus(-logits.float() if real else logits.float()).flatten(1).mean(1)


def feature_distance(first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
    """Mean absolute difference of features (N, C, *space), summed over the layers (Armanious et al. 2020)."""
    pairs = zip(first, second, strict=True)
    return torch.stack([(a.float() - b.float()).abs().flatten(1).mean(1) for a, b in pairs]).sum(0)


def gram(features: Tensor) -> Tensor:
    """Mean products of channels over the pixels, (N, C, *space) -> (N, C, C)."""
    flat = features.float().flatten(2)
    return flat @ flat.mT / flat.shape[2]


def style_distance(first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
    """Squared difference of Gram matrices over 4 C^2, summed over the layers (Armanious et al. 2020)."""
    pairs = zip(first, second, strict=True)
    each = [(gram(a) - gram(b)).square().flatten(1).sum(1) / (4 * a.shape[1] ** 2) for a, b in pairs]
    return torch.stack(each).sum(0)


def contrast(queries: Tensor, keys: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """How hard each query is to match with its own key among those of the same image (Park et al. 2020, eq. 2 and 3).

    Cross-entropy over the keys with the right one as truth; log P where all are alike. Keys are not differentiated.

    Args:
        queries: (N, P, d) of length 1: P places of the image drawn.
        keys: (N, P, d) of length 1, at the same places of the image it was drawn from.
        temperature: divides their products.
    """
    likeness = queries @ keys.detach().mT / temperature
    return (likeness.logsumexp(2) - likeness.diagonal(dim1=1, dim2=2)).mean(1)


class PatchContrast(nn.Module):
    """Patches of an image and of what was drawn from it, compared by features of a network's layers.

    Args:
        channels: of each of the layers.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Linear(each, LONG), nn.ReLU(), nn.Linear(LONG, LONG)) for each in channels
        )

    def forward(self, drawn: Sequence[Tensor], origin: Sequence[Tensor]) -> Tensor:
        """The mean over the layers of `contrast` at up to 256 random places, features (N, C, *space) of both; (N,)."""
        costs = []
        for head, a, b in zip(self.heads, drawn, origin, strict=True):
            places = torch.randperm(a[0, 0].numel(), device=a.device)[:PATCHES]
            queries, keys = (F.normalize(head(at(each, places)).float(), dim=2) for each in (a, b))
            costs.append(contrast(queries, keys))
        return torch.stack(costs).mean(0)


def at(features: Tensor, places: Tensor) -> Tensor:
    """Features (N, C, *space) at P places, (N, P, C)."""
    return features.flatten(2)[:, :, places].mT
