"""A classifier of controls and cases: a target to explain, and a judge of what explanations draw."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anomaly.errors import AnomalyError
from anomaly.nets import classifiers
from anomaly.statistics.metrics import auroc
from anomaly.training.batches import Batches, Beside, chunks
from anomaly.training.games import Glance, Player, Stage
from anomaly.training.journal import Journal
from anomaly.training.learned import Images, Learned, share_of
from anomaly.training.loop import cosine
from anomaly.training.machine import Machine

ARCHITECTURES = {"residual": classifiers.Residual, "plain": classifiers.Plain}
RANGE = 2.0  # from -1 to 1
NOISE = 0.2
"""SD of the noise for a translation by all of a side and a contrast that may double."""


@dataclass(kw_only=True)
class Classifier(Learned):
    """Tells cases from controls by a small convolutional network.

    It sees as many cases as controls, however many there are of either, so a logit of 0 lies in the middle whatever
    the prevalence. Counterfactuals against one classifier are judged by another, of another architecture and seed.

    Args:
        architecture: "residual" (blocks that add to what they are given) or "plain" (a chain of convolutions); both
            with batch norm.
        width: channels at full size, doubled at each halving, at most 8 times as many.
        steps: of training, at most.
        batch: controls, and as many cases, in a batch.
        lr: learning rate of AdamW at the start; falls to 0 like half a cosine.
        weight_decay: of AdamW.
        augment: how far images are varied in training, as a share: moved by up to so much of each side with edges
            repeated, contrast and intensity changed by up to so much, and a fifth of it noise. 0 leaves them alone.
        dropout: chance of a feature to be dropped before the last layer.
        look_every: steps between two looks at the held-out images.
        patience: stop after so many looks without a lower loss.
    """

    name: ClassVar[str] = "classifier"
    summary: ClassVar[str] = "tells cases from controls by a small convolutional network"
    cite: ClassVar[str] = "He et al. 2016 (residual); Zhou et al. 2016 (mean, then linear)"
    kind: ClassVar[str] = "classifier"
    positive: ClassVar[tuple[str, ...]] = ("width", "steps", "batch", "lr", "look_every", "patience")
    not_negative: ClassVar[tuple[str, ...]] = ("weight_decay", "augment", "dropout")
    below_one: ClassVar[tuple[str, ...]] = ("dropout",)
    choices: ClassVar[Mapping[str, Iterable[str]]] = {"architecture": ARCHITECTURES}
    architecture: str = "residual"
    width: int = 16
    steps: int = 500
    batch: int = 32
    lr: float = 1e-3
    weight_decay: float = 0.01
    augment: float = 0.05
    dropout: float = 0.1
    look_every: int = 50
    patience: int = 5

    def build(self, shape: tuple[int, ...]) -> nn.Module:
        """The network, (N, C, *space) -> (N,)."""
        return ARCHITECTURES[self.architecture](shape, width=self.width, dropout=self.dropout)

    def stages(self) -> Sequence[Stage]:
        """One stage of one player."""
        adam = partial(torch.optim.AdamW, lr=self.lr, weight_decay=self.weight_decay)
        player = Player(name=self.name, owns=[self.net_], loss=self.loss, optimiser=adam, schedule=cosine)
        return [Stage(name="train", players=[player], steps=self.steps)]

    def fit(
        self,
        controls: Images,
        cases: Images,
        *,
        held_out: tuple[Images, Images] | None = None,
        machine: Machine | None = None,
        seed: int = 0,
        journal: Journal | None = None,
    ) -> Self:
        """Learn to tell cases from controls.

        Args:
            controls: class 0, (n, C, *space) in [-1, 1]; a memory map is read batch by batch.
            cases: class 1, (m, C, *space).
            held_out: controls and cases of other subjects; where given, the weights with the lowest loss on them are
                kept. None trains all the steps.
            machine: device, precision, processes.
            seed: of weights, batches and what is drawn at random; the caller's random state stays as it was.
            journal: where to keep curves and checkpoints, and whether to resume.

        Raises:
            AnomalyError: the images are not (n, C, *space) of one shape, or there are none.
        """
        _admit(controls, cases, *(held_out or ()))
        machine = machine or Machine()
        share = share_of(self.batch, machine)
        self.make(controls.shape[1:], machine, seed)
        sides = [
            Batches(images, size=self.batch, seed=2 * seed + side, share=share)
            for side, images in enumerate((controls, cases))
        ]
        (stage,) = self.stages()
        if held_out is not None:
            stage.watch, stage.glance = partial(self._held_out_loss, held_out), partial(self._glance, held_out)
            stage.look_every, stage.patience = self.look_every, self.patience
        self.play([stage], Beside(*sides), machine=machine, seed=seed, journal=journal)
        self.net_.eval().requires_grad_(False)
        return self

    def loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Cross-entropy of controls and cases, each varied at random; the mean of both sides."""
        x = torch.cat(batch)
        is_case = torch.cat([torch.full((len(side),), float(k)) for k, side in enumerate(batch)]).to(x)
        return F.binary_cross_entropy_with_logits(self.net_(varied(x, self.augment)).float(), is_case)

    def logit(self, x: Tensor) -> Tensor:
        """Evidence (N,) that images (N, C, *space) are cases, above 0 where it is likely; differentiable in them.

        What explainers take as their target.

        Raises:
            AnomalyError: nothing has been learned, or images of another shape.
        """
        self.check(x)
        logit: Tensor = self.net_(x.to(self.device)).float()
        return logit

    def probability(self, x: Tensor) -> Tensor:
        """Chance (N,) that images (N, C, *space) are cases, were there as many cases as controls."""
        return self.logit(x).sigmoid()

    def _logits(self, images: Images) -> Tensor:
        return torch.cat([self.net_(x).float() for x in chunks(images, self.device)])

    def _held_out_loss(self, held_out: tuple[Images, Images]) -> Tensor:
        controls, cases = (self._logits(images) for images in held_out)
        return (F.softplus(controls).mean() + F.softplus(-cases).mean()) / 2

    def _glance(self, held_out: tuple[Images, Images]) -> Glance:
        logits = [self._logits(images) for images in held_out]
        is_case = [k for k, each in enumerate(logits) for _ in each]
        return Glance(figures={"auroc": auroc(is_case, torch.cat(logits).numpy(force=True))})


def varied(x: Tensor, share: float) -> Tensor:
    """Each image moved, brightened, stretched in contrast and made noisy at random, all by up to `share`."""
    if share == 0:
        return x

    def drawn() -> Tensor:
        return share * (2 * torch.rand(len(x), *[1] * (x.ndim - 1), device=x.device) - 1)

    for axis in range(2, x.ndim):
        side = x.shape[axis]
        along = torch.arange(side, device=x.device).view(-1, *[1] * (x.ndim - 1 - axis))
        source = (along + (side * drawn()).round().long()).clamp(0, side - 1)
        x = x.gather(axis, source.expand(x.shape))
    return x * (1 + drawn()) + RANGE / 2 * drawn() + NOISE * share * torch.randn_like(x)


def _admit(*parts: Any) -> None:
    """Say plainly when images cannot be learned from."""
    for images in parts:
        if images.ndim not in (4, 5) or not len(images):
            raise AnomalyError(f"expected images (n, C, *space), 2D or 3D, at least one; got {tuple(images.shape)}")
        if tuple(images.shape[1:]) != tuple(parts[0].shape[1:]):
            raise AnomalyError(
                f"images have shape {tuple(images.shape[1:])}, controls {tuple(parts[0].shape[1:])} (C, *space); "
                "prepare them alike"
            )
