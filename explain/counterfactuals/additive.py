"""VA-GAN: what must be added to a case so that a critic takes it for a control (Baumgartner et al. 2018)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from anomaly.nets.critics import MeanCritic
from anomaly.nets.losses import gradient_penalty
from anomaly.nets.unet import UNet
from anomaly.training.games import Player, Stage
from explain.base import Explanation
from explain.trained import TrainedExplainer, drawn

LEVELS = 4
NEARLY = 0.999
"""Of black and white, whose inverse hyperbolic tangent is infinite."""


@dataclass(kw_only=True)
class CriticisedExplainer(TrainedExplainer):
    """Base of the explainers that play a generator of case minus disease against a Wasserstein critic of controls.

    D(x1') - D(x0) + penalty (|grad D| - 1)^2 for the critic, one penalty an image, and -D(x1') and what the method
    adds for the generator, x1' the counterfactual of x1; the sign is that of Gulrajani et al. 2017.

    Args:
        critic_turns: moves of the critic in each step of the generator.
        warm_up: so many more moves before the first of the generator, in which a critic that knows nothing would
            lead it astray.
        penalty: weight of the gradient penalty.
        width: channels of the generator at full size, doubled at each halving.
        levels: sizes at which the generator looks, the full one and each of the halvings.
        critic_width: channels of the critic at full size; the deepest have sixteen times as many.
        ema: if positive, the generator at the end is a running average of its weights: w <- ema w + (1 - ema) new.
    """

    positive: ClassVar[tuple[str, ...]] = (
        *TrainedExplainer.positive,
        "critic_turns",
        "width",
        "levels",
        "critic_width",
    )
    not_negative: ClassVar[tuple[str, ...]] = (*TrainedExplainer.not_negative, "warm_up", "penalty", "ema")
    below_one: ClassVar[tuple[str, ...]] = (*TrainedExplainer.below_one, "ema")
    critic_turns: int = 5
    warm_up: int = 500
    penalty: float = 10.0
    width: int = 16
    levels: int = LEVELS
    critic_width: int = 16
    ema: float = 0.0

    def networks(self, shape: tuple[int, ...], *, out: int) -> nn.Module:
        """A generator of `out` channels, a U-Net with batch norm, and a critic without norm."""
        widths = [self.width << level for level in range(self.levels)]
        critic = MeanCritic(shape, width=self.critic_width)
        return nn.ModuleDict({"generator": UNet(shape, out=out, widths=widths), "critic": critic})

    def moves(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The counterfactual of cases (N, C, *space), and what it costs: (N,), 0 or more, weighted."""
        raise NotImplementedError(f"{type(self).__name__} writes moves(x)")

    def stages(self) -> Sequence[Stage]:
        """The critic alone for a while, then both."""
        critic = Player(name="critic", owns=[self.net_["critic"]], loss=self.critic_loss, optimiser=self.adam)
        generator = Player(
            name="generator", owns=[self.net_["generator"]], loss=self.generator_loss, optimiser=self.adam,
            schedule=self.falling, ema=self.ema,
        )  # fmt: skip
        turning = replace(critic, turns=self.critic_turns, schedule=self.falling)
        stages = [Stage(name="game", players=[turning, generator], steps=self.steps)]
        return [Stage(name="critic", players=[critic], steps=self.warm_up), *stages] if self.warm_up else stages

    def critic_loss(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """D(x1') - D(x0) + penalty (|grad D| - 1)^2."""
        controls, cases = batch
        with torch.no_grad():
            fake = self.moves(cases)[0]
        of_fake, of_real = self.criticise(torch.cat([fake, controls])).chunk(2)
        distance = of_real.mean() - of_fake.mean()
        penalty = gradient_penalty(self.net_["critic"], controls, fake).mean()
        return self.penalty * penalty - distance, {"distance": distance, "penalty": penalty}

    def generator_loss(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """-D(x1') + cost."""
        fake, cost = self.moves(batch[1])
        cost = cost.mean()
        return cost - self.criticise(fake).mean(), {"cost": cost}

    def criticise(self, x: Tensor) -> Tensor:
        """D(x) (N,)."""
        judged: Tensor = self.net_["critic"](x).float()
        return judged


@dataclass(kw_only=True)
class Additive(CriticisedExplainer):
    """The image plus a map that a generator draws, x' = x + M(x), kept small (Baumgartner et al. 2018, eq. 4 and 5).

    Defaults are the original's, whose critic moves 5 times in each step of the generator, and 100 times in the first 25
    and in every 100th. Here the critic gets some of these moves beforehand, at once (`warm_up`): not all, for they are
    dear.

    Args:
        sparsity: weight of the mean |M|; the larger, the less is changed.
        bounded: draw tanh(atanh(x) + M), which cannot leave the range of images in training either; afterwards
            nothing does.
    """

    name: ClassVar[str] = "additive"
    summary: ClassVar[str] = "VA-GAN: what to add to a case so that a critic takes it for a control; unpaired"
    cite: ClassVar[str] = "Baumgartner et al. 2018 (VA-GAN); Gulrajani et al. 2017 (WGAN-GP)"
    not_negative: ClassVar[tuple[str, ...]] = (*CriticisedExplainer.not_negative, "sparsity")
    sparsity: float = 100.0
    bounded: bool = False

    def build(self, shape: tuple[int, ...]) -> nn.Module:
        """The map's U-Net and the critic."""
        return self.networks(shape, out=shape[0])

    def moves(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x + M(x), and sparsity times the mean |M|."""
        added = self.net_["generator"](x)
        moved = torch.tanh(torch.atanh(NEARLY * x) + added) if self.bounded else x + added
        return moved, self.sparsity * added.flatten(1).abs().mean(1)

    def counterfactual(self, x: Tensor) -> Explanation:
        """x + M(x), within [-1, 1], or where the image lies beyond that, within its own range."""
        ends = x.flatten(1).aminmax(dim=1)
        low, high = (end.view(-1, *[1] * (x.ndim - 1)) for end in (ends.min.clamp(max=-1), ends.max.clamp(min=1)))
        return drawn(x, self.moves(x)[0].clamp(low, high))
