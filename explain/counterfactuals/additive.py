"""VA-GAN: what must be added to a case so that a critic takes it for a control (Baumgartner et al. 2018)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from explain.base import Explanation
from explain.counterfactuals.criticised import CriticisedExplainer
from explain.trained import drawn

NEARLY = 0.999
"""Of black and white, whose inverse hyperbolic tangent is infinite."""


@dataclass(kw_only=True)
class Additive(CriticisedExplainer):
    """The image plus a map that a generator draws, x' = x + M(x), kept small (Baumgartner et al. 2018, eq. 4 and 5).

    The original's critic moves 5 times in each step of the generator, and 100 times in the first 25 and in every 100th,
    against a sparsity of 100. Of the logistic game, which is the default, a tenth of that asks as much.

    Args:
        sparsity: weight of the mean |M|; the larger, the less is changed.
        bounded: add tanh(atanh(x) + M) - x, which cannot leave the range of images in training either; afterwards
            nothing does.
    """

    name: ClassVar[str] = "additive"
    summary: ClassVar[str] = "VA-GAN: what to add to a case so that a critic takes it for a control; unpaired"
    cite: ClassVar[str] = "Baumgartner et al. 2018 (VA-GAN); Gulrajani et al. 2017 (WGAN-GP)"
    not_negative: ClassVar[tuple[str, ...]] = (*CriticisedExplainer.not_negative, "sparsity")
    sparsity: float = 10.0
    bounded: bool = False

    def build(self, shape: tuple[int, ...]) -> nn.Module:
        """The map's U-Net and the critic."""
        return self.networks(shape, out=shape[0])

    def moves(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x + M(x), and sparsity times the mean |M|."""
        added = self.net_["generator"](x)
        moved = x + added
        if self.bounded:
            before = NEARLY * x.clamp(-1, 1)
            moved = x + torch.tanh(torch.atanh(before) + added) - before
        return moved, self.sparsity * added.flatten(1).abs().mean(1)

    def counterfactual(self, x: Tensor) -> Explanation:
        """x + M(x), within [-1, 1], or where the image lies beyond that, within its own range."""
        ends = x.flatten(1).aminmax(dim=1)
        low, high = (end.view(-1, *[1] * (x.ndim - 1)) for end in (ends.min.clamp(max=-1), ends.max.clamp(min=1)))
        return drawn(x, self.moves(x)[0].clamp(low, high))
