"""A judge that tells drawn images from real ones, asked of people it has not seen."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anomaly.nets.classifiers import Plain
from anomaly.training.batches import Batches, Beside, chunks
from anomaly.training.games import Player, Stage
from anomaly.training.journal import Journal
from anomaly.training.learned import Images, Learned, share_of
from anomaly.training.loop import cosine
from anomaly.training.machine import Machine

MOVED = 0.05
"""Of a side, how far images are moved at random, so that a place is not learned by heart; values stay as they are."""


@dataclass(kw_only=True)
class Judge(Learned):
    """Tells drawn images from real ones by a small convolutional network, as many of both in a batch.

    Images are moved at random and left alone otherwise: noise, contrast and sharpness are what gives a drawing away.

    Args:
        width: channels at full size, doubled at each halving, at most 8 times as many.
        steps: of training; none stops early, so that no third part of the people is needed.
        batch: drawn, and as many real ones, in a batch.
        lr: learning rate of AdamW at the start; falls to 0 like half a cosine.
        weight_decay: of AdamW.
        dropout: chance of a feature to be dropped before the last layer.
    """

    name: ClassVar[str] = "judge"
    summary: ClassVar[str] = "tells drawn images from real ones by a small convolutional network"
    cite: ClassVar[str] = "Lopez-Paz and Oquab 2017 (classifier two-sample tests)"
    kind: ClassVar[str] = "judge"
    positive: ClassVar[tuple[str, ...]] = ("width", "steps", "batch", "lr")
    not_negative: ClassVar[tuple[str, ...]] = ("weight_decay", "dropout")
    below_one: ClassVar[tuple[str, ...]] = ("dropout",)
    width: int = 8
    steps: int = 120
    batch: int = 16
    lr: float = 1e-3
    weight_decay: float = 0.01
    dropout: float = 0.1

    def build(self, shape: tuple[int, ...]) -> nn.Module:
        """The network, (N, C, *space) -> (N,)."""
        return Plain(shape, width=self.width, dropout=self.dropout)

    def stages(self) -> Sequence[Stage]:
        """One stage of one player."""
        adam = partial(torch.optim.AdamW, lr=self.lr, weight_decay=self.weight_decay)
        player = Player(name=self.name, owns=[self.net_], loss=self.loss, optimiser=adam, schedule=cosine)
        return [Stage(name="judge", players=[player], steps=self.steps)]

    def fit(
        self,
        real: Images,
        drawn: Images,
        *,
        machine: Machine | None = None,
        seed: int = 0,
        journal: Journal | None = None,
    ) -> Self:
        """Learn to tell drawn images, 1, from real ones, 0; both (n, C, *space), of as many as may be."""
        machine = machine or Machine()
        share = share_of(self.batch, machine)
        self.make(real.shape[1:], machine, seed)
        sides = [
            Batches(images, size=self.batch, seed=2 * seed + side, share=share)
            for side, images in enumerate((real, drawn))
        ]
        self.play(self.stages(), Beside(*sides), machine=machine, seed=seed, journal=journal)
        self.net_.eval().requires_grad_(False)
        return self

    def loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Cross-entropy of real and of drawn images, moved at random."""
        x = torch.cat(batch)
        is_drawn = torch.cat([torch.full((len(side),), float(k)) for k, side in enumerate(batch)]).to(x)
        return F.binary_cross_entropy_with_logits(self.net_(moved(x, MOVED)).float(), is_drawn)

    def logits(self, images: Images) -> Tensor:
        """Evidence (n,) that images were drawn, on the CPU."""
        self.ready()
        with torch.no_grad():
            return torch.cat([self.net_(x).float().cpu() for x in chunks(images, self.device)])


def moved(x: Tensor, share: float) -> Tensor:
    """Each image (N, C, *space) moved by whole pixels at random, by up to a share of each side; edges are repeated."""
    for axis in range(2, x.ndim):
        side = x.shape[axis]
        steps = (side * share * (2 * torch.rand(len(x), *[1] * (x.ndim - 1)) - 1)).round().long().to(x.device)
        along = torch.arange(side, device=x.device).view(-1, *[1] * (x.ndim - 1 - axis))
        x = x.gather(axis, (along + steps).clamp(0, side - 1).expand(x.shape))
    return x
