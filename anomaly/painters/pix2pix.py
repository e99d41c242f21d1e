"""pix2pix from label maps (Isola et al. 2017): a U-Net, a patch critic that sees the map, |drawn - real|; the floor."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from anomaly.nets.unet import UNet
from anomaly.painters.mapped import hot
from anomaly.painters.synthesizer import Synthesizer


@dataclass(kw_only=True)
class Pix2PixLabels(Synthesizer):
    """Draws an image from a label map by a U-Net.

    Cross-entropy against the critic as published; chance comes as channels of noise beside the map, where the original
    drops channels: it moves the grain and little else.

    Args:
        steps: of the training.
        batch: images in a batch.
        lr: learning rate of Adam (0.5, 0.999) of the U-Net; falls to 0 like half a cosine.
        lr_critic: of the critic.
        width: channels at full size, doubled at each halving.
        levels: sizes, the full one and each of the halvings.
        noise: channels of noise beside the map; 0 draws one image of a map, whatever the seed.
        l1: weight of |drawn - real|; 100 in the original.
        adversarial: weight of what the critic says; 0 with features=0 learns without one.
        features: weight of the difference of what the critic's layers see of drawn and real.
        critic_width: channels after the critic's first convolution.
        halved: how often it halves: 3 judges patches of 70 pixels, 2 of 34, 1 of 16.
        scales: critics, of the image, its half, ...; one in the original.
        ema: share of the running average of weights, which is what is kept, that each step leaves.
    """

    name: ClassVar[str] = "pix2pix-labels"
    summary: ClassVar[str] = "pix2pix: a U-Net draws the image of a label map against a patch critic; the floor"
    cite: ClassVar[str] = "Isola et al. 2017"
    game: ClassVar[str] = "entropy"
    lr: float = 1e-3
    l1: float = 100.0
    features: float = 0.0
    scales: int = 1

    def artist(self, shape: tuple[int, ...]) -> nn.Module:
        """The U-Net."""
        seen = (self.classes_ + self.noise + self.further, *shape[1:])
        return UNet(seen, out=shape[0], widths=[self.width << k for k in range(self.levels)], norm="instance")

    @property
    def further(self) -> int:
        """Further channels beside the map."""
        return 0

    def drawn(self, places: Tensor, grain: Tensor, style: Tensor) -> Tensor:
        """tanh of the U-Net of the map and the noise."""
        return self.finished(self.net_["artist"](torch.cat([hot(places, self.classes_), grain], 1)), places)
