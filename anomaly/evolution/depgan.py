"""DEP-GAN: the evolution of a disease drawn from its map now, with noise, against two critics; 2D or 3D."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn

from anomaly.evolution.evolving import AFTER, BEFORE, Batch, Evolving, flipped
from anomaly.nets.critics import MeanCritic
from anomaly.nets.losses import gradient_penalty
from anomaly.training.games import Loss, Player

NOISE = 32
JUDGED = ("next", "change")
"""What each of the two critics is shown."""


@dataclass(kw_only=True)
class DEPGAN(Evolving):
    """Draws how the map of a disease evolves until the next visit, one of the ways it may (Rachmadi et al. 2020).

    A residual U-Net sees the map now, the image beside it if there is one, and at every level noise z of 32 numbers
    and the time until the next visit. Two Wasserstein critics judge what it draws: one the map of the next visit, one
    the change. In training the noise counts that comes nearest of several; asked, it gives mean and spread of as many.
    The volume and Dice terms are soft (see `anomaly.evolution.measures`); the original's have no gradient.

    Args:
        width: channels at full size; 32 in the original.
        levels: sizes of the network, the full one and each of the halvings.
        steps: of the network that draws.
        batch: pairs in a batch; 16 in the original.
        lr: learning rate of Adam (0, 0.9), falling by half a cosine for the network, and staying for the critics.
        threshold: above which a pixel of a map (0 to 1) is disease: 0.5 of probabilities and masks; take 0.178 for
            irregularity.
        temperature: of the sigmoid in place of that step; 0 takes a tenth of the way from the threshold to the nearer
            end of [0, 1].
        l1: weight of the mean absolute error of the change.
        l2: weight of its mean square.
        volume: weight of the squared error of the volume, in units of the mean volume.
        dice: weight of 1 - Dice of what is disease at the next visit.
        adversarial: weight of what the critics say; 0 leaves them out.
        penalty: weight of the gradient penalty.
        turns: of the critics in each step.
        critic_width: channels of the critics after their first convolution.
        best: draws in training, of which the nearest is learned from.
        ema: share of the running average of weights that each step leaves.
        flips: whether pairs are mirrored by chance, along each axis.
        look_every: steps between two looks at the persons held out.
        patience: looks without a better one after which training ends.
    """

    name: ClassVar[str] = "dep-gan"
    summary: ClassVar[str] = "DEP-GAN: draws how a disease evolves until the next visit, with noise; two critics"
    cite: ClassVar[str] = "Rachmadi et al. 2020 (DEP-GAN); Gulrajani et al. 2017 (penalty); Perez et al. 2018 (FiLM)"
    positive: ClassVar[tuple[str, ...]] = (*Evolving.positive, "turns", "critic_width", "best")
    not_negative: ClassVar[tuple[str, ...]] = (*Evolving.not_negative, "adversarial", "penalty")
    amounts: ClassVar[Mapping[str, tuple[int, int]]] = {**Evolving.amounts, "best": (10, 4), "critic_width": (16, 8)}
    noisy: ClassVar[int] = NOISE
    l1: float = 100.0
    volume: float = 1.0
    dice: float = 1.0
    adversarial: float = 1.0
    penalty: float = 10.0
    turns: int = 5
    critic_width: int = 0
    best: int = 0

    def build(self, shape: tuple[int, ...]) -> nn.Module:
        """The network that draws, and the two critics."""
        nets = super().build(shape)
        if self.adversarial > 0:
            for name in JUDGED:
                nets.add_module(f"critic_{name}", MeanCritic((1, *shape[1:]), width=self.critic_width))
        return nets

    def players(self) -> Sequence[Player]:
        """The network, then both critics together."""
        draws = self.artist(self.loss, (0.0, 0.9))
        if self.adversarial == 0:
            return [draws]
        adam = partial(torch.optim.Adam, lr=self.lr, betas=(0.0, 0.9))
        owned = [self.net_[f"critic_{name}"] for name in JUDGED]
        return [draws, Player(name="critics", owns=owned, loss=self.critics_loss, optimiser=adam, turns=self.turns)]

    def loss(self, batch: Batch) -> Loss:
        """-D(next) - D(change) + l1 |.| + volume (.)^2 + dice (1 - Dice), of the nearest draw of each pair (eq. 9)."""
        pairs, years = (flipped(batch[0]) if self.flips else batch[0]), batch[1]
        noise = torch.randn(self.best, len(pairs), NOISE, device=pairs.device)
        change = self.drawn(pairs, years, nearest(noise, self._costs(pairs, years, noise)))
        terms = {name: each.mean() for name, each in self.cost(pairs, change).items()}
        if self.adversarial > 0:
            shown = (self.bounded(pairs, change), change)
            told = [self.net_[f"critic_{name}"](each) for name, each in zip(JUDGED, shown, strict=True)]
            terms["adversarial"] = -self.adversarial * torch.stack(told).sum(0).mean()
        return torch.stack(list(terms.values())).sum(), terms

    @torch.no_grad()
    def _costs(self, pairs: Tensor, years: Tensor, noise: Tensor) -> Tensor:
        """How far off each draw is, (K, N)."""
        if len(noise) == 1:
            return noise.new_zeros(noise.shape[:2])
        costs = [self.cost(pairs, self.drawn(pairs, years, each)) for each in noise]
        return torch.stack([torch.stack(list(each.values())).sum(0) for each in costs])

    def critics_loss(self, batch: Batch) -> Loss:
        """D(drawn) - D(real) + penalty (|grad D| - 1)^2, of both critics (Gulrajani et al. 2017, eq. 3)."""
        pairs, years = (flipped(batch[0]) if self.flips else batch[0]), batch[1]
        with torch.no_grad():
            change = self.drawn(pairs, years, torch.randn(len(pairs), NOISE, device=pairs.device))
        before, after = pairs[:, BEFORE : BEFORE + 1], pairs[:, AFTER : AFTER + 1]
        fakes, reals = (self.bounded(pairs, change), change), (after, after - before)
        terms = {}
        for name, fake, real in zip(JUDGED, fakes, reals, strict=True):
            critic = self.net_[f"critic_{name}"]
            of_fake, of_real = critic(torch.cat([fake, real])).float().chunk(2)
            terms[name] = of_fake.mean() - of_real.mean()
            terms[f"{name}_penalty"] = self.penalty * gradient_penalty(critic, real, fake).mean()
        return torch.stack(list(terms.values())).sum(), terms


def nearest(noise: Tensor, costs: Tensor) -> Tensor:
    """Of K draws of noise (K, N, Z), of each image that with the least cost (K, N): (N, Z)."""
    best = costs.argmin(0)
    return noise[best, torch.arange(noise.shape[1], device=noise.device)]
