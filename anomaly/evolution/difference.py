"""A plain U-Net that regresses how the map of a disease changes; 2D or 3D."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from anomaly.evolution.evolving import Batch, Evolving, flipped
from anomaly.training.games import Loss, Player


@dataclass(kw_only=True)
class DifferenceUNet(Evolving):
    """Regresses the change of a map until the next visit, without noise and without critics.

    It draws what is learned from: the difference of two visits, as the diffusion of TADM does (Litrico et al. 2024),
    here by a plain regression on the same network and the same inputs as DEP-GAN. Where a pixel may go either way it
    gives the mean of both.

    Args:
        width: channels at full size.
        levels: sizes of the network, the full one and each of the halvings.
        steps: of training.
        batch: pairs in a batch.
        lr: learning rate of Adam, falling by half a cosine.
        threshold: above which a pixel of a map (0 to 1) is disease: 0.5 of probabilities and masks; take 0.178 for
            irregularity.
        temperature: of the sigmoid in place of that step in the volume and Dice terms; 0 takes a tenth of the way from
            the threshold to the nearer end of [0, 1].
        l1: weight of the mean absolute error of the change.
        l2: weight of its mean square.
        volume: weight of the squared error of the volume, in units of the mean volume.
        dice: weight of 1 - Dice of what is disease at the next visit.
        ema: share of the running average of weights that each step leaves.
        flips: whether pairs are mirrored by chance, along each axis.
        look_every: steps between two looks at the persons held out.
        patience: looks without a better one after which training ends.
    """

    name: ClassVar[str] = "difference-unet"
    summary: ClassVar[str] = "a plain U-Net that regresses how a map of disease changes until the next visit"
    cite: ClassVar[str] = "Ronneberger et al. 2015; Litrico et al. 2024 (TADM), whose target it has"
    lr: float = 1e-3
    l2: float = 100.0

    def players(self) -> Sequence[Player]:
        """The network alone."""
        return [self.artist(self.loss, (0.9, 0.999))]

    def loss(self, batch: Batch) -> Loss:
        """The weighted sum of what is off."""
        pairs = flipped(batch[0]) if self.flips else batch[0]
        terms = {name: each.mean() for name, each in self.cost(pairs, self.drawn(pairs, batch[1])).items()}
        return torch.stack(list(terms.values())).sum(), terms if len(terms) > 1 else {}
