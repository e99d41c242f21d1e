"""From an image to the styles that draw it (Tov et al. 2021): one w, and how each layer departs from it."""

import torch
from torch import Tensor, nn

from anomaly.nets.pyramid import initialise
from anomaly.nets.residual import Trunk
from anomaly.nets.styled import in_full


class StyleEncoder(nn.Module):
    """Image -> w+ (N, styles, latent): w, and a small step aside for each layer, 0 before it has learned.

    Args:
        shape: (C, *space) of one image.
        latent: length of w.
        styles: layers that take one.
        width: channels at full size.
        aside: whether layers may depart from w at all.
    """

    def __init__(self, shape: tuple[int, ...], *, latent: int, styles: int, width: int, aside: bool) -> None:
        super().__init__()
        self.trunk = Trunk(shape, width=width, norm="batch")
        self.w = nn.Linear(self.trunk.features, latent)
        self.aside = nn.Linear(self.trunk.features, styles * latent) if aside else None
        self.styles, self.latent = styles, latent
        initialise(self)
        with torch.no_grad():
            for part in (self.w, self.aside):
                if part is not None:
                    part.weight.mul_(0.1 if part is self.w else 0.0)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Images (N, C, *space) -> w (N, latent) from its mean, and steps aside (N, styles, latent)."""
        seen = self.trunk(x)
        w = in_full(self.w(seen))
        if self.aside is None:
            return w, torch.zeros(len(x), self.styles, self.latent, device=x.device, dtype=w.dtype)
        return w, in_full(self.aside(seen)).view(-1, self.styles, self.latent)
