"""Feature maps of several blocks of a frozen network on one grid, and a small autoencoder that draws them again."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anomaly.nets.efficientnet import Lite0
from anomaly.nets.layers import TRANSPOSED, Down, Up, crop, pad_to_multiple

HALVINGS = 3


class Joined(nn.Module):
    """What several blocks of a network see, each brought to one grid, joined channel by channel.

    Args:
        blocks: from 0, in rising order.
        grid: cells a side; larger maps are averaged, smaller ones drawn out linearly.
    """

    def __init__(self, blocks: Sequence[int], grid: int) -> None:
        super().__init__()
        self.network, self.blocks, self.grid = Lite0(blocks[-1] + 1), tuple(blocks), grid

    def forward(self, x: Tensor) -> Tensor:
        """Pictures (N, 3, H, W), as the network was trained on -> (N, K, grid, grid)."""
        found = [maps for block, maps in enumerate(self.network.outputs(x)) if block in self.blocks]
        return torch.cat([self._on_grid(maps) for maps in found], dim=1)

    def _on_grid(self, maps: Tensor) -> Tensor:
        if min(maps.shape[2:]) >= self.grid:
            return F.adaptive_avg_pool2d(maps, self.grid)
        return F.interpolate(maps, size=[self.grid] * 2, mode="bilinear", align_corners=False)


class FeatureAutoencoder(nn.Module):
    """Maps -> maps of the same shape, through an eighth of the cells a side: convolutions alone.

    Three halvings with `width`, 2 and 4 times as many channels, and the mirror image.

    Args:
        channels: of the maps.
        width: channels after the first halving.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(HALVINGS)]
        self.layers = nn.Sequential(
            *[Down((2, 2), a, b) for a, b in pairwise([channels, *widths])],
            *[Up((2, 2), a, b) for a, b in pairwise(widths[::-1])],
            TRANSPOSED[2](widths[0], channels, 4, stride=2, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, h, w) -> the same, unbounded."""
        return crop(self.layers(pad_to_multiple(x, 2**HALVINGS)), x.shape[2:])
