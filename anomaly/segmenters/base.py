"""What every segmenter shares: it learns from windows with label maps, and from windows without, and gives shares."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from anomaly.errors import AnomalyError
from anomaly.nets.unet import UNet
from anomaly.segmenters.losses import hard_dice
from anomaly.training.games import Source
from anomaly.training.journal import Journal
from anomaly.training.learned import Learned
from anomaly.training.machine import Machine

HeldOut = Sequence[tuple[Tensor, Tensor]]
"""Whole images (1, C, *space) with the places of their classes (1, *space), to watch by."""


@dataclass(kw_only=True)
class Segmenter(Learned):
    """Says of each pixel which class it is; `fit(windows with labels, shape, classes)`, then `probabilities(x)`.

    `classes_` is the number of classes, the background among them, which is class 0. Networks take images of any size.
    """

    kind: ClassVar[str] = "segmenter"
    unlabelled: ClassVar[bool] = False
    """Whether it learns from images without label maps as well."""
    classes_: int = field(init=False, repr=False, compare=False, default=0)

    @abstractmethod
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
        """Learn from batches.

        Args:
            labelled: batch k -> images (N, C, *window) in [-1, 1] and the places of their classes (N, *window), int64.
            shape: (C, *window) of one window.
            classes: the background among them, 2 or more.
            unlabelled: batch k -> images (M, C, *window); for methods that take such.
            held_out: whole images to watch by; the weights that did best on them are kept. None are needed.
            machine: device, precision, processes.
            seed: of weights, and of whatever chance plays a part in a step.
            journal: where to keep curves and checkpoints, and whether to resume.

        Raises:
            AnomalyError: no unlabelled images for a method that learns from them.
        """

    def rebuild(self, shape: tuple[int, ...], tensors: Mapping[str, Tensor]) -> nn.Module:
        """As `build`, told by the file how many classes there are: every network keeps that in a buffer `classes`."""
        self.classes_ = int(tensors["classes"])
        return self.build(shape)

    @abstractmethod
    def logits(self, x: Tensor) -> Tensor:
        """(N, C, *space) -> (N, K, *space), of any size; on the device of the network, differentiable."""

    def probabilities(self, x: Tensor) -> Tensor:
        """Share of each class, (N, C, *space) -> (N, K, *space), which add up to 1; on the device that x comes from."""
        self.ready()
        with torch.no_grad():
            return self.logits(x.to(self.device)).softmax(1).to(x.device)

    def missed(self, held_out: HeldOut) -> Tensor:
        """1 - the mean Dice of the classes that held-out images have."""
        return 1 - torch.stack([hard_dice(self.probabilities(x), y).nanmean() for x, y in held_out]).nanmean()

    def refuse_alone(self, unlabelled: Source | None) -> None:
        """Say plainly when images without label maps are missing.

        Raises:
            AnomalyError: they are, and this method learns from them.
        """
        if self.unlabelled and unlabelled is None:
            raise AnomalyError(
                f"{self.name} learns from images without label maps as well, and there are none; give --unlabelled, or "
                "take --method supervised"
            )


def unet(shape: Sequence[int], classes: int, *, width: int, levels: int, dropout: float) -> UNet:
    """The network of all segmenters: image -> a number for each class, 0 of all before it has learned."""
    return UNet(shape, out=classes, widths=[width << k for k in range(levels)], norm="instance", dropout=dropout)
