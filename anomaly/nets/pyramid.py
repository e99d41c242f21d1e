"""Halving an image down to a few pixels and back, each axis by itself, and the layers that do it.

Volumes with thick slices have far more pixels along two axes than along the third. Halved alike, either the third
would be gone, or so much would be left of the others that no linear layer could hold it.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anomaly.nets.layers import crop

INSTANCE_NORM = {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}
CONVOLVE = {2: F.conv2d, 3: F.conv3d}
CONVOLVE_TRANSPOSED = {2: F.conv_transpose2d, 3: F.conv_transpose3d}
MEAN_POOL = {2: F.avg_pool2d, 3: F.avg_pool3d}
LARGEST_LEFT = 7
DEEPEST = 8
"""The deepest layers have so many times the channels of the shallowest."""


@dataclass(frozen=True)
class Pyramid:
    """How images of one size are halved until 4 to 7 pixels a side are left; the longest sides first.

    Args:
        factors: from the full size down, by how much each axis shrinks: 2, or 1 where it already is as short.
        padded: the size that can be halved so often, at least that of the images.
    """

    factors: tuple[tuple[int, ...], ...]
    padded: tuple[int, ...]

    @classmethod
    def of(cls, space: tuple[int, ...]) -> "Pyramid":
        """For images of size `space`: 64 is halved 4 times, 63 and 33 x 64 as well, once padded; 24 twice."""
        counts = [next(k for k in range(64) if math.ceil(side / 2**k) <= LARGEST_LEFT) for side in space]
        if not any(counts):
            counts = [1] * len(space)
        return cls.halving(space, counts)

    @classmethod
    def halving(cls, space: tuple[int, ...], counts: Sequence[int]) -> "Pyramid":
        """For images of size `space` whose axes are halved so often each, the longest first."""
        most = max(counts)
        factors = tuple(tuple(2 if level >= most - k else 1 for k in counts) for level in range(most))
        return cls(factors, tuple(math.ceil(side / 2**k) * 2**k for side, k in zip(space, counts, strict=True)))

    @property
    def bottom(self) -> tuple[int, ...]:
        """What is left after the last halving."""
        return tuple(
            side // prod(along) for side, along in zip(self.padded, zip(*self.factors, strict=True), strict=True)
        )

    def widths(self, width: int) -> list[int]:
        """Channels at full size and after each halving: they double, up to `DEEPEST` times `width`."""
        return [width * min(2**level, DEEPEST) for level in range(len(self.factors) + 1)]

    def down(self, widths: list[int]) -> list[tuple[int, int, tuple[int, ...]]]:
        """(channels, channels after, factors) of each halving."""
        return [(a, b, factors) for (a, b), factors in zip(pairwise(widths), self.factors, strict=True)]

    def up(self, widths: list[int]) -> list[tuple[int, int, tuple[int, ...]]]:
        """The same backwards: (channels, channels after, factors) of each doubling, from the bottom up."""
        return [(b, a, factors) for a, b, factors in reversed(self.down(widths))]

    def pad(self, x: Tensor) -> Tensor:
        """Repeat the far edges of images (N, C, *space) until they have the padded size."""
        padding: list[int] = []
        for side, wanted in zip(reversed(x.shape[2:]), reversed(self.padded), strict=True):
            padding += [0, wanted - side]
        return F.pad(x, padding, mode="replicate") if any(padding) else x


class Folded(nn.Module):
    """A convolution of width 3 that takes a halving or a doubling with it; its weights are 0 until `initialise`d.

    Args:
        factors: 2 for each axis that is halved or doubled, 1 for the others.
        channels: of the input.
        out: of the output.
        bias: whether it adds one.
    """

    def __init__(self, factors: tuple[int, ...], channels: int, out: int, *, bias: bool = True) -> None:
        super().__init__()
        self.factors = factors
        self.weight = nn.Parameter(torch.zeros(out, channels, *[3] * len(factors)))
        self.bias = nn.Parameter(torch.zeros(out)) if bias else None

    def kernel(self) -> Tensor:
        """Of the one convolution that the two steps are."""
        raise NotImplementedError(f"{type(self).__name__} writes kernel()")

    def through(self, x: Tensor, kernel: Tensor, bias: Tensor | None = None) -> Tensor:
        """Images (N, channels, *space) through a kernel of that shape."""
        raise NotImplementedError(f"{type(self).__name__} writes through(x, kernel, bias)")

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, *space) -> (N, out, *space / factors), or * factors where it doubles."""
        return self.through(x, self.kernel(), self.bias)


class ConvolutionThenHalve(Folded):
    """A convolution of width 3, then the mean of neighbouring pixels along the axes to be halved, in one step.

    The two are one convolution of width 4 and stride 2, whose kernel is the mean of the kernel of width 3 at its
    two places along each such axis: less than half the products, a third in 3D.
    """

    def kernel(self) -> Tensor:
        """(out, channels, *(2 + factors))."""
        return at_both_places(self.weight, self.factors) / prod(self.factors)

    def through(self, x: Tensor, kernel: Tensor, bias: Tensor | None = None) -> Tensor:
        """(N, channels, *space) -> (N, out, *space / factors)."""
        return CONVOLVE[len(self.factors)](x, kernel, bias, stride=self.factors, padding=1)


class DoubleThenConvolution(Folded):
    """Each pixel repeated along the axes to be doubled, then a convolution of width 3, in one step.

    The two are one transposed convolution of width 4 and stride 2: the kernel, turned round, once for each of the
    two copies of a pixel.
    """

    def kernel(self) -> Tensor:
        """(channels, out, *(2 + factors)), of a transposed convolution."""
        turned = self.weight.flip(list(range(2, 2 + len(self.factors))))
        return at_both_places(turned.transpose(0, 1), self.factors)

    def through(self, x: Tensor, kernel: Tensor, bias: Tensor | None = None) -> Tensor:
        """(N, channels, *space) -> (N, out, *factors * space)."""
        return CONVOLVE_TRANSPOSED[len(self.factors)](x, kernel, bias, stride=self.factors, padding=1)


class FromCode(nn.Module):
    """Code -> image in [-1, 1]: linear to the smallest size, the layers given, tanh; cropped to the size of the images.

    Args:
        space: size of the images.
        latent: length of the code.
        channels: at the smallest size.
        layers: from there to the full size and the channels of an image.
    """

    def __init__(self, space: tuple[int, ...], latent: int, channels: int, layers: Iterable[nn.Module]) -> None:
        super().__init__()
        self.space, bottom = space, Pyramid.of(space).bottom
        start = [nn.Linear(latent, channels * prod(bottom)), nn.Unflatten(1, (channels, *bottom))]
        self.layers = nn.Sequential(*start, *layers, nn.Tanh())
        initialise(self)

    def forward(self, code: Tensor) -> Tensor:
        """Codes (N, latent) -> images (N, C, *space)."""
        return crop(self.layers(code), self.space)


class TrunkAndHead(nn.Module):
    """Image -> one number, by way of features: what every critic is.

    Args:
        trunk: images (N, C, *space) -> features (N, F), with F in `trunk.features`.
    """

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = nn.Linear(cast(int, trunk.features), 1)
        initialise(self)

    def features(self, x: Tensor) -> Tensor:
        """f(x) (N, F): the trunk's last layer, flattened."""
        features: Tensor = self.trunk(x)
        return features

    def forward(self, x: Tensor) -> Tensor:
        """D(x) (N,)."""
        value: Tensor = self.head(self.trunk(x))
        return value.squeeze(1)


def at_both_places(kernel: Tensor, factors: tuple[int, ...]) -> Tensor:
    """The sum of a kernel at the first and at the second place of one that is a pixel wider, along axes of factor 2."""
    for behind, factor in enumerate(reversed(factors)):  # padding is told from the last axis on
        if factor == 2:
            others = [0] * (2 * behind)
            kernel = F.pad(kernel, [*others, 0, 1]) + F.pad(kernel, [*others, 1, 0])
    return kernel


def initialise(module: nn.Module) -> None:
    """Uniform weights of variance 4 / (fan in + fan out) where a kernel is wide, half that elsewhere; no bias.

    He's and Glorot's as in the reference implementation of WGAN-GP, but for the first convolution of its critic,
    which begins with half the variance there.
    """
    for part in module.modules():
        weight = getattr(part, "weight", None)
        if isinstance(weight, nn.Parameter) and weight.ndim >= 2:
            wide = weight.ndim > 2 and weight.shape[-1] > 1
            nn.init.xavier_uniform_(weight, gain=math.sqrt(2) if wide else 1.0)
            if isinstance(getattr(part, "bias", None), nn.Parameter):
                with torch.no_grad():
                    part.bias.zero_()  # type: ignore[operator]
