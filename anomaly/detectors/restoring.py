"""What restorers share: normal images are degraded, a network learns to undo it, what it would not draw is abnormal."""

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import log2
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from anomaly.degradations.base import Degradation
from anomaly.detectors.reconstruction import Drawing, ReconstructionDetector, Scales
from anomaly.errors import AnomalyError
from anomaly.nets.restoring import DIFFERENCES, NETWORKS, Restorer, objective
from anomaly.nets.within import pasted
from anomaly.training.games import Loss, Player, Stage
from anomaly.training.loop import cosine

SMALLEST, MOST = 16, 4
"""Pixels of the smallest side that halving leaves, but for the first, and sizes at most, where nobody says how many."""


@dataclass(kw_only=True)
class RestoringDetector(ReconstructionDetector):
    """Base of the detectors that learn to undo a degradation.

    Args:
        network: what undoes it: "unet", or "redcnn", five convolutions and five transposed ones of one size.
        width: channels at full size, doubled by each halving of "unet".
        levels: sizes of "unet", the full one and each of the halvings; 0 halves as often as leaves 16 pixels, but once
            at least and three times at most.
        objective: what training lowers: the absolute difference, "l1", or the squared one, "l2".
        ssim: weight of the structural dissimilarity, under a window of 1.5 pixels, beside that difference.
    """

    amounts: ClassVar[Mapping[str, tuple[int, int]]] = {"steps": (600, 300), "batch": (16, 2), "width": (16, 8)}
    positive: ClassVar[tuple[str, ...]] = (*ReconstructionDetector.positive, "width")
    not_negative: ClassVar[tuple[str, ...]] = (*ReconstructionDetector.not_negative, "levels", "ssim")
    choices: ClassVar[Mapping[str, Iterable[str]]] = {"network": NETWORKS, "objective": DIFFERENCES}
    value_from: str = "combined"
    network: str = "unet"
    width: int = 0
    levels: int = 0
    objective: str = "l1"
    ssim: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.levels and self.network != "unet":
            raise AnomalyError(f"levels={self.levels} is a setting of network=unet; {self.network} has one size")

    @property
    @abstractmethod
    def made(self) -> Degradation:
        """What is taken from images."""

    def build(self, shape: tuple[int, ...]) -> nn.Module:
        """The restorer, and the scales of its heads."""
        self.made.refuse(shape)
        restorer = Restorer(
            shape,
            network=self.network,
            width=self.width,
            levels=self.levels or sizes(shape),
            tells=self.made.tells,
            norm="group",
        )
        return nn.ModuleDict({"restorer": restorer, "scales": Scales(len(self.offered()), shape[1:])})

    def stages(self) -> Sequence[Stage]:
        """One player, its learning rate falling along half a cosine."""
        player = Player(
            name=self.name, owns=[self.net_["restorer"]], loss=self.loss, optimiser=self.adam, schedule=cosine
        )
        return [Stage(name="train", players=[player], steps=self.steps)]

    def loss(self, x: Tensor) -> Loss:
        """The objective over the pixels that are not known, within the mask, before anything is clamped."""
        inside, left = self.within(x), self.made.degrade(x)
        drawn = self.net_["restorer"](pasted(left.image, x, inside), left.known)
        counted = inside if left.known is None else ~left.known if inside is None else inside & ~left.known
        loss, terms = objective(pasted(drawn, x, inside), x, by=self.objective, ssim=self.ssim, inside=counted)
        return (loss, terms) if len(terms) > 1 else loss

    def draw(self, x: Tensor) -> Drawing:
        """What the restorer draws of all that it is not shown."""
        inside, drawn = self.within(x), x
        for view in self.made.views(x):
            given = self.net_["restorer"](pasted(view.image, x, inside), view.known)
            drawn = given if view.known is None else torch.where(view.known, drawn, given)
        return Drawing(drawn.clamp(-1, 1))

    @torch.no_grad()
    def restored(self, y: Tensor, known: Tensor | None = None) -> Tensor:
        """Images without what a degradation did to them, in [-1, 1].

        Args:
            y: what is left of images, on their own grid (N, C, *space); any sides.
            known: which pixels are those of the image, (N, 1, *space) bool; needed where the degradation tells it, and
                these come back as they are.

        Raises:
            AnomalyError: nothing has been learned, the images have other channels or axes than those learned from, or
                it is not told which pixels are known.
        """
        self.ready()
        if y.ndim != len(self.shape_) + 1 or y.shape[1] != self.shape_[0]:
            raise AnomalyError(
                f"images have shape {tuple(y.shape[1:])}, the detector was fitted on {self.shape_} (C, *space); "
                "give images with as many channels and axes"
            )
        self._refuse_untold(y, known)
        y = y.to(self.device)
        drawn = self.net_["restorer"](y, None if known is None else known.to(self.device))
        return cast(Tensor, drawn).clamp(-1, 1)

    def _refuse_untold(self, y: Tensor, known: Tensor | None) -> None:
        """A network that learned with known and unknown pixels draws nothing of use where it is told of none."""
        expected = (len(y), 1, *y.shape[2:])
        if known is None:
            if self._told():
                raise AnomalyError(
                    f"what was learned is to fill in what {self.made.name} takes, and nobody says where that is; give "
                    f"known, {expected} bool, False where pixels are to be drawn"
                )
        elif known.shape != expected or known.dtype != torch.bool:
            raise AnomalyError(f"known is {known.dtype} of shape {tuple(known.shape)}; expected bool, {expected}")

    def _told(self) -> bool:
        """Whether the network learned with unknown pixels; of thick slices, other than thin ones, none is known."""
        some, random = torch.zeros(1, *self.shape_), torch.Generator().manual_seed(0)
        return self.made.tells and self.made.degrade(some, random).known is not None

    def adam(self, parameters: Any) -> torch.optim.Optimizer:
        """Adam at `lr`."""
        return torch.optim.Adam(parameters, lr=self.lr)


def sizes(shape: Sequence[int]) -> int:
    """How many sizes a U-Net looks at images (C, *space) in, where nobody says it: two at least."""
    return min(MOST, 1 + max(1, int(log2(min(shape[1:]) / SMALLEST))))
