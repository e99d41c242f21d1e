"""The networks of SPADE: what draws, of MONAI's blocks, and what finds the style of an image."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anomaly.nets.layers import CONVOLUTION
from anomaly.nets.pyramid import initialise
from anomaly.nets.unet import halvings

SLOPE = 0.2
MARGIN = 4
"""Pixels by which the map is carried on beyond its edges: convolutions see zeros there, and would draw specks."""


class SpadeDecoder(nn.Module):
    """A map -> an image: blocks whose normalised features are scaled and shifted pixel by pixel as the map says.

    MONAI's `SPADENetResBlock` (Park et al. 2019, figure 4) at every size, the full one too: its `SPADENet` reads the
    map last at half the size, where it has as many channels as the image. Any sides: each size is made to measure.

    Args:
        told: channels of the map, with whatever is told beside it.
        shape: (C, *space) of one image.
        width: channels at full size, doubled at each halving, at most 8 times as many.
        levels: sizes.
        hidden: channels between the map and the scales; 128 in the original.
    """

    def __init__(self, told: int, shape: Sequence[int], *, width: int, levels: int, hidden: int) -> None:
        from monai.networks.nets.spade_network import SPADENetResBlock  # MONAI takes seconds

        super().__init__()
        channels, *space = shape
        self.space: tuple[int, ...] = tuple(space)
        self.sides: list[tuple[int, ...]] = [tuple(side + 2 * MARGIN for side in space)]
        for factors in halvings(self.sides[0], levels - 1):
            self.sides.append(tuple(-(-side // by) for side, by in zip(self.sides[-1], factors, strict=True)))
        self.sides.reverse()
        convolution = CONVOLUTION[len(space)]
        widths = [width * min(8, 1 << k) for k in reversed(range(levels))]
        self.enter = convolution(told, widths[0], 3, padding=1)
        self.blocks = nn.ModuleList(
            SPADENetResBlock(len(space), a, b, told, spade_intermediate_channels=hidden)
            for a, b in pairwise([widths[0], *widths])
        )
        self.leave = convolution(widths[-1], channels, 3, padding=1)
        initialise(self)

    def forward(self, told: Tensor) -> Tensor:
        """(N, told, *space) -> (N, C, *space), unbounded."""
        told = F.pad(told, (MARGIN, MARGIN) * len(self.space), mode="replicate")
        x = self.enter(F.interpolate(told, size=self.sides[0]))
        for side, block in zip(self.sides, self.blocks, strict=True):
            x = x if x.shape[2:] == side else F.interpolate(x, size=side)
            x = block(x, told)
        drawn: Tensor = self.leave(F.leaky_relu(x, SLOPE))
        for axis, length in enumerate(self.space, start=2):
            drawn = drawn.narrow(axis, MARGIN, length)
        return drawn


class StyleFinder(nn.Module):
    """An image -> the mean and log-variance of its style, without saying what lies where.

    Convolutions that halve, and the mean over the image. No norm: it would forget how bright an image is.

    Args:
        shape: (C, *space) of one image.
        style: length of a style.
        width: channels after the first convolution, doubled at each of two more.
    """

    def __init__(self, shape: Sequence[int], *, style: int, width: int) -> None:
        super().__init__()
        channels, *space = shape
        convolution, layers = CONVOLUTION[len(space)], list[nn.Module]()
        for k in range(3):
            layers += [convolution(channels, width << k, 3, stride=2, padding=1), nn.LeakyReLU(SLOPE)]
            channels = width << k
        self.trunk = nn.Sequential(*layers)
        self.head = nn.Linear(2 * channels, 2 * style)
        initialise(self)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C, *space) -> two times (N, style)."""
        seen = self.trunk(x).flatten(2)
        mean, log_variance = self.head(torch.cat([seen.mean(2), seen.std(2)], 1)).float().chunk(2, 1)
        return mean, log_variance.clamp(-12, 4)
