"""DeFI-GAN: how a case must be deformed so that a critic takes it for a control (Bigolin Lanfredi et al. 2020)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from anomaly.nets.fields import bending, folded_share, integrate, length, roughness, warp
from explain.base import Explanation
from explain.counterfactuals.criticised import CriticisedExplainer
from explain.trained import drawn

COSTS = {"roughness": roughness, "bending": bending}


@dataclass(kw_only=True)
class Deformation(CriticisedExplainer):
    """The image displaced by a field that a generator draws, x'(p) = x(p + phi(p)); nothing is painted, all moves.

    The field costs the roughness of Bigolin Lanfredi et al. 2020 (section 2.2), or how much it bends. Roughness, a sum
    of absolute differences, does not mind where a field changes, so that growth gathers at edges; a field that does not
    bend costs nothing, and so turns, shears and grows as a whole. Of an image of twice the side the same bending, in
    pixels, is a quarter: take four times the weight, of roughness the same. The original's settings, beside those of
    its game, are `cost=roughness smoothness=25 diffeomorphic=False`, for 224 pixels. Diagnostics: "displacement", the
    mean length of the field in pixels, and "folded", the share of pixels where it folds space over itself.

    Args:
        smoothness: weight of that cost; the default is for bending at 56 pixels. The paper takes 25 of roughness on its
            toy images, 224 pixels, 10 on brains.
        cost: "roughness" or "bending".
        reach: displacement that an output of 1 stands for, as a share of the smallest side: about what is expected.
        diffeomorphic: take the output for a velocity, integrated by scaling and squaring, so that space cannot fold.
    """

    name: ClassVar[str] = "deformation"
    summary: ClassVar[str] = "DeFI-GAN: how to deform a case so that a critic takes it for a control; unpaired"
    cite: ClassVar[str] = "Bigolin Lanfredi et al. 2020 (DeFI-GAN); diffeomorphic: Arsigny et al. 2006"
    positive: ClassVar[tuple[str, ...]] = (*CriticisedExplainer.positive, "reach")
    not_negative: ClassVar[tuple[str, ...]] = (*CriticisedExplainer.not_negative, "smoothness")
    choices: ClassVar[Mapping[str, Iterable[str]]] = {**CriticisedExplainer.choices, "cost": COSTS}
    levels: int = 5
    lr: float = 1e-3
    slope: float = 1e-4
    smoothness: float = 5.0
    cost: str = "bending"
    reach: float = 0.05
    diffeomorphic: bool = True

    def build(self, shape: tuple[int, ...]) -> nn.Module:
        """The field's U-Net and the critic."""
        return self.networks(shape, out=len(shape) - 1)

    def field(self, x: Tensor) -> Tensor:
        """phi(x) (N, dims, *space), in pixels."""
        given = self.net_["generator"](x).float() * (self.reach * min(x.shape[2:]))
        return integrate(given) if self.diffeomorphic else given

    def moves(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x(p + phi(p)), and smoothness times what phi costs."""
        field = self.field(x)
        return warp(x, field), self.smoothness * COSTS[self.cost](field)

    def on_the_way(self, x: Tensor, share: Tensor) -> Tensor:
        """x(p + share phi(p)): moved part of the way, where a blend would show everything twice."""
        return warp(x, share * self.field(x))

    def counterfactual(self, x: Tensor) -> Explanation:
        """x(p + phi(p)), with phi."""
        field = self.field(x)
        moved = length(field).flatten(1).mean(1)
        return drawn(x, warp(x, field), field, displacement=moved, folded=folded_share(field))
