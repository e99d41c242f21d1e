"""Old drawings that a critic is shown again, so that a generator cannot please it by going round in circles."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class OldFakes(nn.Module):
    """Remembers up to `size` drawn images (Shrivastava et al. 2017, section 2.3).

    While there is room each new one is kept and shown. Then half of the new ones, by chance, are kept in the place of
    an old one, which is shown instead. What is remembered is part of a checkpoint, and not of a finished run's weights.

    Args:
        shape: (C, *space) of one image.
        size: how many; 0 shows the new ones alone.
    """

    images: Tensor
    held: Tensor

    def __init__(self, shape: Sequence[int], size: int) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("images", torch.zeros(size, *shape), persistent=False)
        self.register_buffer("held", torch.zeros((), dtype=torch.long), persistent=False)

    @torch.no_grad()
    def shown(self, fakes: Tensor) -> Tensor:
        """New drawings (N, C, *space) -> as many, some of them old ones; a GPU need not wait for it."""
        if not self.size:
            return fakes
        places = torch.randint(self.size, (len(fakes),)).to(fakes.device)
        coins = (torch.rand(len(fakes)) < 0.5).to(fakes.device)
        told = []
        for new, place, coin in zip(fakes, places, coins, strict=True):
            room = self.held < self.size
            place = torch.where(room, self.held, place)[None]
            old = self.images.index_select(0, place)[0]
            self.images.index_copy_(0, place, torch.where(room | coin, new, old)[None].to(self.images))
            told.append(torch.where(coin & ~room, old.to(new), new))
            self.held.copy_((self.held + 1).clamp_max(self.size))
        return torch.stack(told)
