"""A U-Net that learns from label maps alone: the floor of what unlabelled images add, and of all labels the ceiling."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from anomaly.segmenters.base import HeldOut, Segmenter, unet
from anomaly.segmenters.losses import dice_and_entropy
from anomaly.training.games import Player, Source, Stage, lately
from anomaly.training.journal import Journal
from anomaly.training.loop import cosine
from anomaly.training.machine import Machine

Labelled = tuple[Tensor, Tensor]


@dataclass(kw_only=True)
class Supervised(Segmenter):
    """Learns from label maps alone, by Dice and cross-entropy.

    Args:
        width: channels at full size, doubled at each halving.
        levels: sizes, the full one and each of the halvings.
        dropout: chance of a channel to be dropped in the deeper half of the network, on the way up.
        steps: of the training.
        batch: windows in a batch.
        window: pixels a side of the windows; 0 takes 64, of volumes 32, or what the smallest image has.
        lr: learning rate of AdamW at the start; falls to 0 like half a cosine.
        weight_decay: of AdamW.
        ema: share of the running average of weights, which is what is kept, that each step leaves.
    """

    name: ClassVar[str] = "supervised"
    summary: ClassVar[str] = "a U-Net from label maps alone; the floor of all others"
    cite: ClassVar[str] = "Ronneberger et al. 2015; Milletari et al. 2016"
    positive: ClassVar[tuple[str, ...]] = ("width", "levels", "steps", "batch", "lr")
    not_negative: ClassVar[tuple[str, ...]] = ("dropout", "weight_decay", "ema", "window")
    below_one: ClassVar[tuple[str, ...]] = ("dropout", "ema")
    width: int = 16
    levels: int = 4
    dropout: float = 0.1
    steps: int = 1500
    batch: int = 8
    window: int = 0
    lr: float = 2e-3
    weight_decay: float = 0.01
    ema: float = 0.99

    def build(self, shape: tuple[int, ...]) -> nn.Module:
        """The U-Net."""
        net = unet(shape, self.classes_, width=self.width, levels=self.levels, dropout=self.dropout)
        nets = nn.ModuleDict({"student": net})
        nets.register_buffer("classes", torch.tensor(self.classes_))
        return nets

    def stages(self) -> Sequence[Stage]:
        """One stage of one player."""
        adam = partial(torch.optim.AdamW, lr=self.lr, weight_decay=self.weight_decay)
        player = Player(
            name=self.name, owns=[self.net_["student"]], loss=self.loss, optimiser=adam, schedule=cosine,
            ema=lately(self.ema, self.steps) if self.ema else 0.0,
        )  # fmt: skip
        return [Stage(name="segment", players=[player], steps=self.steps)]

    def loss(self, batch: Labelled) -> Tensor:
        """Dice and cross-entropy of windows."""
        x, places = batch
        return dice_and_entropy(self.net_["student"](x), places)

    def logits(self, x: Tensor) -> Tensor:
        """Of the U-Net."""
        found: Tensor = self.net_["student"](x)
        return found

    def fit(
        self,
        labelled: Source,
        shape: Sequence[int],
        classes: int,
        *,
        unlabelled: Source | None = None,
        held_out: HeldOut = (),
        machine: Machine | None = None,
        seed: int = 0,
        journal: Journal | None = None,
    ) -> Self:
        """Learn from windows with label maps; see `Segmenter.fit`."""
        self.refuse_alone(unlabelled)
        machine, self.classes_ = machine or Machine(), classes
        self.make(shape, machine, seed)
        (stage,) = self.stages()
        if held_out:
            stage.watch = partial(self.missed, held_out)
        self.play([stage], labelled, machine=machine, seed=seed, journal=journal)
        self.net_.eval().requires_grad_(False)
        return self
