"""A judge that says of which class a lesion is, normal tissue among them; asked of persons it has not seen."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anomaly.nets.classifiers import Plain
from anomaly.painters.lesions import Holes
from anomaly.painters.lesions_nets import weighted
from anomaly.training.batches import passes
from anomaly.training.games import Loss, Player, Source, Stage
from anomaly.training.journal import Journal
from anomaly.training.learned import Learned
from anomaly.training.loop import cosine
from anomaly.training.machine import Machine


@dataclass(kw_only=True)
class LesionJudge(Learned):
    """Says of which class is what a hole holds, by a small convolutional network that is shown where the hole is.

    Args:
        width: channels at full size, doubled at each halving, at most 8 times as many.
        steps: of training.
        batch: holes in a batch.
        lr: learning rate of AdamW at the start; falls to 0 like half a cosine.
        weight_decay: of AdamW.
        dropout: chance of a feature to be dropped before the last layer.
    """

    name: ClassVar[str] = "lesion-judge"
    summary: ClassVar[str] = "says of which class a lesion is, by a small convolutional network"
    cite: ClassVar[str] = "LeCun et al. 1998"
    kind: ClassVar[str] = "judge"
    positive: ClassVar[tuple[str, ...]] = ("width", "steps", "batch", "lr")
    not_negative: ClassVar[tuple[str, ...]] = ("weight_decay", "dropout")
    below_one: ClassVar[tuple[str, ...]] = ("dropout",)
    width: int = 12
    steps: int = 400
    batch: int = 16
    lr: float = 2e-3
    weight_decay: float = 0.01
    dropout: float = 0.1
    classes_: int = field(init=False, repr=False, compare=False, default=0)

    def build(self, shape: tuple[int, ...]) -> nn.Module:
        """The trunk, image and hole in, and a layer that gives a logit of each class."""
        seen = Plain((shape[0] + 1, *shape[1:]), width=self.width, dropout=self.dropout)
        head = nn.Linear(seen.head.in_features, self.classes_)
        nets = nn.ModuleDict({"seen": seen.trunk, "head": head})
        nets.register_buffer("classes", torch.tensor(self.classes_))
        return nets

    def rebuild(self, shape: tuple[int, ...], tensors: Mapping[str, Tensor]) -> nn.Module:
        """As `build`, told by the file how many classes there are."""
        self.classes_ = int(tensors["classes"])
        return self.build(shape)

    def stages(self) -> list[Stage]:
        """One stage of one player."""
        adam = partial(torch.optim.AdamW, lr=self.lr, weight_decay=self.weight_decay)
        player = Player(name="judge", owns=[self.net_], loss=self.loss, optimiser=adam, schedule=cosine)
        return [Stage(name="judge", players=[player], steps=self.steps)]

    def fit(
        self,
        holes: Source,
        shape: tuple[int, ...],
        classes: int,
        *,
        machine: Machine | None = None,
        seed: int = 0,
        journal: Journal | None = None,
    ) -> Self:
        """Learn from batches of `Holes`; arguments as of `LesionPainter.fit`."""
        self.classes_ = classes
        machine = machine or Machine()
        self.make(shape, machine, seed)
        self.play(self.stages(), holes, machine=machine, seed=seed, journal=journal)
        self.net_.eval().requires_grad_(False)
        return self

    def loss(self, batch: Holes) -> Loss:
        """Cross-entropy of the class."""
        holes = Holes(*batch)
        return F.cross_entropy(self._logits(holes.x, holes.hole).float(), holes.classes)

    def logits(self, x: Tensor, hole: Tensor) -> Tensor:
        """Images (N, C, *space) with their holes (N, 1, *space) -> (N, K), on the CPU."""
        self.check(x)
        size, found = passes(x.shape[1:]), []
        with torch.no_grad():
            for start in range(0, len(x), size):
                part = (each[start : start + size].to(self.device) for each in (x, hole))
                found.append(self._logits(*part).float().cpu())
        return torch.cat(found)

    def _logits(self, x: Tensor, hole: Tensor) -> Tensor:
        seen = self.net_["seen"](torch.cat([x, 2 * hole.to(x) - 1], 1))
        logits: Tensor = self.net_["head"](F.dropout(weighted(seen, hole), self.dropout, self.net_.training))
        return logits
