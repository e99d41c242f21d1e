"""Networks that tell controls from cases: two unlike classifiers, and a critic that judges each side; 2D or 3D."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from anomaly.nets.critics import LeanCritic, MeanCritic
from anomaly.nets.layers import BATCH_NORM, CONVOLUTION
from anomaly.nets.pyramid import DEEPEST, initialise
from anomaly.nets.residual import DownBlock
from anomaly.nets.unet import pad_to

LEFT = 8
"""An axis is halved as long as this many pixels of it are left, so that the last convolution still shows a place."""


class Classifier(nn.Module):
    """Image (N, C, *space) -> logit (N,): convolutions, the mean over the image, one linear layer.

    So the logit is the mean of a map, which the last convolution draws: the class activation map (Zhou et al. 2016).

    Args:
        shape: (C, *space) of one image; sides are padded with their edge as needed.
        width: channels at full size, doubled at each halving, at most 8 times as many.
        dropout: chance of a mean to be dropped before the linear layer.
    """

    def __init__(self, shape: Sequence[int], *, width: int, dropout: float) -> None:
        super().__init__()
        channels, *space = shape
        factors = whole_halvings(space)
        self.multiples = tuple(1 << sum(f == 2 for f in along) for along in zip(*factors, strict=True))
        widths = [width * min(1 << level, DEEPEST) for level in range(len(factors) + 1)]
        self.trunk = nn.Sequential(*self.layers(channels, widths, factors))
        self.dropout, self.head = nn.Dropout(dropout), nn.Linear(widths[-1], 1)
        initialise(self)

    def layers(self, channels: int, widths: list[int], factors: list[tuple[int, ...]]) -> list[nn.Module]:
        """From an image to the last channels, never in place, since attributions listen in."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """The logit (N,)."""
        means = self.trunk(pad_to(x, self.multiples)).flatten(2).mean(2)
        logit: Tensor = self.head(self.dropout(means))
        return logit.squeeze(1)


class Residual(Classifier):
    """Residual blocks, one each halving and one more, and a last convolution (He et al. 2016).

    Batch norm: with 2 controls and 2 cases in a batch, too, it learned what group norm had not after as many images.
    """

    def layers(self, channels: int, widths: list[int], factors: list[tuple[int, ...]]) -> list[nn.Module]:
        """Convolution, blocks, norm, rectifier, convolution, rectifier."""
        dims, last = len(factors[0]), widths[-1]
        halving = [DownBlock(each, a, b, "batch") for (a, b), each in zip(pairwise(widths), factors, strict=True)]
        return [
            CONVOLUTION[dims](channels, widths[0], 3, padding=1),
            *halving,
            DownBlock((1,) * dims, last, last, "batch"),
            BATCH_NORM[dims](last),
            nn.ReLU(),
            CONVOLUTION[dims](last, last, 3, padding=1),
            nn.ReLU(),
        ]


class Plain(Classifier):
    """One convolution after the other, with batch norm and leaky rectifier; those that halve have width 4."""

    def layers(self, channels: int, widths: list[int], factors: list[tuple[int, ...]]) -> list[nn.Module]:
        """Two convolutions a size, the second of which halves, and two more."""
        dims, last, layers = len(factors[0]), widths[-1], []  # type: int, int, list[nn.Module]
        for (a, b), each in zip(pairwise(widths), factors, strict=True):
            layers += self._convolved(dims, channels, a, (3,) * dims, (1,) * dims)
            layers += self._convolved(dims, a, b, tuple(2 + factor for factor in each), each)
            channels = b
        for _ in range(2):
            layers += self._convolved(dims, last, last, (3,) * dims, (1,) * dims)
        return layers

    def _convolved(
        self, dims: int, channels: int, out: int, kernel: tuple[int, ...], stride: tuple[int, ...]
    ) -> list[nn.Module]:
        convolution = CONVOLUTION[dims](channels, out, kernel, stride=stride, padding=1, bias=False)
        return [convolution, BATCH_NORM[dims](out), nn.LeakyReLU(0.2)]


class SidesCritic(nn.Module):
    """Image (N, C, *space) -> (N, 3): how real it is as a control, and as a case; the logit of its being a case.

    The convolutions of `MeanCritic` or of `LeanCritic`, then two for each of the three, and the mean over the image. No
    norm, which a penalty that holds for each image forbids.

    Args:
        shape: (C, *space) of one image.
        width: channels at full size; the deepest have sixteen times as many, or eight times.
        lean: whose convolutions.
    """

    def __init__(self, shape: Sequence[int], *, width: int = 16, lean: bool = False) -> None:
        super().__init__()
        seen = (LeanCritic if lean else MeanCritic)(shape, width=width)
        self.trunk, self.multiples = seen.trunk, seen.multiples
        channels, convolution = cast(int, seen.head.in_channels), CONVOLUTION[len(shape) - 1]
        self.heads = nn.ModuleList(
            nn.Sequential(
                convolution(channels, channels // 2, 3, padding=1), nn.ReLU(), convolution(channels // 2, 1, 1)
            )
            for _ in range(3)
        )
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3)."""
        seen = self.trunk(pad_to(x, self.multiples))
        return torch.cat([head(seen).flatten(2).mean(2) for head in self.heads], 1)


def whole_halvings(space: Sequence[int]) -> list[tuple[int, ...]]:
    """Factors of each axis at each of the halvings, the longest first, until fewer than twice `LEFT` pixels are left.

    At least one level, which halves nothing where the image is small already.
    """
    counts = [max(0, int(math.log2(side / LEFT))) for side in space]
    levels = max(1, *counts)
    return [tuple(2 if level >= levels - count else 1 for count in counts) for level in range(levels)]
