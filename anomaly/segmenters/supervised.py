"""A U-Net that learns from label maps alone: the floor of what unlabelled images add, and of all labels the ceiling."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from anomaly.segmenters.base import Labelled, Segmenter
from anomaly.segmenters.losses import dice_and_entropy


@dataclass(kw_only=True)
class Supervised(Segmenter):
    """Learns from label maps alone, by Dice and cross-entropy."""

    name: ClassVar[str] = "supervised"
    summary: ClassVar[str] = "a U-Net from label maps alone; the floor of all others"
    cite: ClassVar[str] = "Ronneberger et al. 2015; Drozdzal et al. 2016"

    def loss(self, batch: Labelled) -> Tensor:
        """Dice and cross-entropy of varied windows."""
        x, places = self.augmenting(*batch)
        return dice_and_entropy(self.net_["student"](x), places, self.counted(x))
