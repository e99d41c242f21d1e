"""Label maps as networks take them, and the chance that each image is drawn with."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

NOWHERE = 255
"""The place of a pixel that lies outside a mask: it is of no class, and is drawn as what lies outside."""


def hot(places: Tensor, classes: int) -> Tensor:
    """Places (N, *space) of classes -> (N, K, *space), 1 in the channel of the class; 0 in all outside a mask.

    Args:
        places: whole numbers from 0 to K - 1, or `NOWHERE`.
        classes: K, the background among them.
    """
    known = places.long().clamp_max(classes)
    return F.one_hot(known, classes + 1)[..., :classes].movedim(-1, 1).float()


def inside_of(places: Tensor) -> Tensor:
    """Where maps (N, *space) lie within their masks, (N, 1, *space) bool."""
    return (places != NOWHERE).unsqueeze(1)


def by_seeds(seeds: Sequence[int], *shape: int, stream: int = 0) -> Tensor:
    """Standard normal numbers (N, *shape), of each image by its own seed, so that none depends on its batch.

    Args:
        seeds: one an image.
        shape: of the numbers of one image.
        stream: which of several independent draws of the same seed.
    """
    found = []
    for seed in seeds:
        random = torch.Generator().manual_seed((int(seed) * 1_000_003 + stream * 7_919) % 2**63)
        found.append(torch.randn(shape, generator=random))
    return torch.stack(found) if found else torch.empty(0, *shape)
