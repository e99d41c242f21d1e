"""What the detectors share whose networks are trained: batches, players, early stopping, and what a person sees."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from anomaly.detectors.base import Detector
from anomaly.training.batches import Batches, Beside, chunks
from anomaly.training.forecast import Forecast, few, of_stages
from anomaly.training.games import Glance, Loss
from anomaly.training.journal import Journal
from anomaly.training.learned import Images, share_of
from anomaly.training.loop import Player, Stage
from anomaly.training.machine import Machine

SHOWN = 8


@dataclass(kw_only=True)
class TrainedDetector(Detector):
    """A detector whose networks are trained by playing games; one player and one loss by default.

    Args:
        steps: length of the (default) stage.
        batch: images in a batch.
        lr: learning rate of Adam.
        patience: stop after so many looks at held-out normals without a lower loss; 0 never stops early.
        look_every: steps between two looks.
    """

    steps: int = 0
    batch: int = 0
    lr: float = 1e-3
    patience: int = 0
    look_every: int = 100
    positive: ClassVar[tuple[str, ...]] = ("steps", "batch", "lr", "look_every")
    not_negative: ClassVar[tuple[str, ...]] = ("patience",)
    amounts: ClassVar[Mapping[str, tuple[int, int]]] = {"steps": (1000, 400), "batch": (64, 4)}

    def plan(self, normals: Images, machine: Machine) -> None:
        """Fill in the settings that nobody set."""
        self.fill_in(tuple(normals.shape[1:]), len(normals), machine.processes * machine.nodes)

    def foresee(self, normals: Images, machine: Machine) -> Forecast:
        """By one step of each player on a few of the images, in a copy of the networks."""
        twin = self.copied(normals, machine)
        size = few(self.batch, prod(normals.shape[1:]))
        x = next(chunks(normals[:size], machine.torch_device, size))
        x = x[torch.arange(size, device=x.device) % len(x)]
        told = getattr(self, "classes", 0)
        batch = (x, torch.arange(size, device=x.device).float() % told) if told else x
        return of_stages(twin.net_, twin.stages(), batch, size / self.batch, machine)

    def loss(self, x: Tensor) -> Loss:
        """What training lowers: batch (N, C, *space) -> scalar, or (scalar, its terms by name)."""
        raise NotImplementedError(f"{type(self).__name__} writes either loss(x) or stages()")

    def stages(self) -> Sequence[Stage]:
        """One stage, one player that owns every network, Adam at `lr`."""
        player = Player(name=self.name, owns=[self.net_], loss=self.loss, optimiser=self.adam)
        return [Stage(name="train", players=[player], steps=self.steps)]

    def adam(self, parameters: Any) -> torch.optim.Optimizer:
        """The default optimiser."""
        return torch.optim.Adam(parameters, lr=self.lr)

    def practise(
        self,
        normals: Images,
        held_out: Images,
        *,
        machine: Machine,
        seed: int,
        journal: Journal | None,
        classes: np.ndarray | None = None,
    ) -> None:
        """Play the stages on batches of `normals`, watching the loss on `held_out` where there is patience.

        With classes a batch is a pair, (images, classes of these as floats).
        """
        share = share_of(self.batch, machine)
        stages = list(self.stages())
        if self.patience > 0:
            stages[-1].watch = lambda: self._held_out_loss(held_out)
            stages[-1].patience, stages[-1].look_every = self.patience, self.look_every
        watch = self.onlooker(held_out)
        for stage in stages:
            stage.glance = stage.glance or partial(watch, stage.name)
        sources = [normals] if classes is None else [normals, classes]
        alike = [Batches(each, size=self.batch, seed=seed, share=share) for each in sources]
        batches = alike[0] if classes is None else Beside(*alike)
        self.play(stages, batches, machine=machine, seed=seed, journal=journal)

    def onlooker(self, held_out: Images) -> Callable[[str], Glance]:
        """What a person sees of the training: name of a stage -> glance; by default images and how they are drawn."""
        shown = next(chunks(held_out, self.device, SHOWN))

        def reconstructions(stage: str) -> Glance:
            drawn = self.reconstruct(shown)
            return Glance() if drawn is None else Glance(pictures={"image": self.own(shown), "reconstruction": drawn})

        return reconstructions

    def _held_out_loss(self, held_out: Images) -> Tensor:
        total = torch.zeros((), device=self.device)
        for x in chunks(held_out, self.device):
            loss = self.loss(x)
            total += (loss[0] if isinstance(loss, tuple) else loss) * len(x)
        return total / len(held_out)
