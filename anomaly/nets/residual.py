"""Residual generator and critic as in WGAN-GP (Gulrajani et al. 2017, appendix F), in two or three dimensions."""

import math
from itertools import pairwise
from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anomaly.nets.layers import (
    BATCH_NORM,
    CONVOLUTION,
    MEAN_POOL,
    ConvolutionThenHalve,
    DoubleThenConvolution,
    crop,
    halvings,
    pad_to_multiple,
)

DEEPEST = 8
"""The deepest blocks have so many times the channels of the shallowest."""


def normalisation(dims: int, channels: int, kind: str) -> nn.Module:
    """Batch norm, or layer norm: over all of an image's values, one gain and bias a channel."""
    return BATCH_NORM[dims](channels) if kind == "batch" else nn.GroupNorm(1, channels)


def widths(width: int, levels: int) -> list[int]:
    """Channels at full size and after each halving: they double up to 8 times `width`."""
    return [width * min(2**level, DEEPEST) for level in range(levels + 1)]


class DownBlock(nn.Module):
    """Norm, rectifier, convolution, twice, halving; beside it the halved image through a convolution of width 1."""

    def __init__(self, dims: int, channels: int, out: int, norm: str) -> None:
        super().__init__()
        self.pool = MEAN_POOL[dims]
        self.shortcut = CONVOLUTION[dims](channels, out, 1)
        self.residual = nn.Sequential(
            normalisation(dims, channels, norm),
            nn.ReLU(),
            CONVOLUTION[dims](channels, channels, 3, padding=1, bias=False),
            normalisation(dims, channels, norm),
            nn.ReLU(),
            ConvolutionThenHalve(dims, channels, out),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, *space) -> (N, out, *space / 2)."""
        residual: Tensor = self.residual(x)
        return residual + self.shortcut(self.pool(x, 2))


class UpBlock(nn.Module):
    """Norm, rectifier, convolution, twice, doubling; beside it the doubled image through a convolution of width 1."""

    def __init__(self, dims: int, channels: int, out: int) -> None:
        super().__init__()
        self.shortcut = CONVOLUTION[dims](channels, out, 1)
        self.residual = nn.Sequential(
            normalisation(dims, channels, "batch"),
            nn.ReLU(),
            DoubleThenConvolution(dims, channels, out, bias=False),
            normalisation(dims, out, "batch"),
            nn.ReLU(),
            CONVOLUTION[dims](out, out, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, *space) -> (N, out, *2 space)."""
        residual: Tensor = self.residual(x)
        # A convolution of width 1 gives the same before and after pixels are repeated, and before costs less.
        return residual + F.interpolate(self.shortcut(x), scale_factor=2.0, mode="nearest")


class Generator(nn.Module):
    """Code -> image in [-1, 1].

    Linear layer to 8 `width` channels of the smallest size, a residual block for each doubling, batch norm, tanh:
    at 64 pixels and width 64, blocks of 512-512-256-128-64 channels. Sides that are not 4 * 2^k are drawn larger
    and cropped.

    Args:
        shape: (C, *space) of one image.
        latent: length of the code.
        width: channels at full size.
    """

    def __init__(self, shape: tuple[int, ...], *, latent: int, width: int) -> None:
        super().__init__()
        channels, *space = shape
        dims, levels = len(space), halvings(tuple(space))
        self.space = tuple(space)
        bottom = [-(-side // 2**levels) for side in space]
        deep = widths(width, levels)[::-1]
        self.layers = nn.Sequential(
            nn.Linear(latent, deep[0] * prod(bottom)),
            nn.Unflatten(1, (deep[0], *bottom)),
            *[UpBlock(dims, a, b) for a, b in pairwise(deep)],
            normalisation(dims, deep[-1], "batch"),
            nn.ReLU(),
            CONVOLUTION[dims](deep[-1], channels, 3, padding=1),
            nn.Tanh(),
        )
        initialise(self)

    def forward(self, code: Tensor) -> Tensor:
        """Codes (N, latent) -> images (N, C, *space)."""
        return crop(self.layers(code), self.space)


class Trunk(nn.Module):
    """Image -> features: a convolution, then a residual block for each halving, flattened.

    Args:
        shape: (C, *space) of one image; sides that are not 4 * 2^k are padded with their edge.
        width: channels at full size.
        norm: "layer" or "batch".
    """

    def __init__(self, shape: tuple[int, ...], *, width: int, norm: str) -> None:
        super().__init__()
        channels, *space = shape
        dims, levels = len(space), halvings(tuple(space))
        self.multiple = 2**levels
        deep = widths(width, levels)
        self.features = deep[-1] * prod(-(-side // self.multiple) for side in space)
        self.layers = nn.Sequential(
            CONVOLUTION[dims](channels, deep[0], 3, padding=1),
            *[DownBlock(dims, a, b, norm) for a, b in pairwise(deep)],
            nn.Flatten(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, C, *space) -> features (N, F)."""
        features: Tensor = self.layers(pad_to_multiple(x, self.multiple))
        return features


class Critic(nn.Module):
    """Image -> one number, by way of features: a trunk with layer norm, and a linear layer.

    No batch norm, for the gradient penalty holds for each image by itself. Arguments as for `Trunk`.
    """

    def __init__(self, shape: tuple[int, ...], *, width: int) -> None:
        super().__init__()
        self.trunk = Trunk(shape, width=width, norm="layer")
        self.head = nn.Linear(self.trunk.features, 1)
        initialise(self)

    def features(self, x: Tensor) -> Tensor:
        """f(x) (N, F): the last block, flattened."""
        features: Tensor = self.trunk(x)
        return features

    def forward(self, x: Tensor) -> Tensor:
        """D(x) (N,)."""
        value: Tensor = self.head(self.trunk(x))
        return value.squeeze(1)


class Encoder(nn.Sequential):
    """Image -> code in (-1, 1): the critic's trunk with batch norm and weights of its own, linear, tanh."""

    def __init__(self, shape: tuple[int, ...], *, latent: int, width: int) -> None:
        trunk = Trunk(shape, width=width, norm="batch")
        super().__init__(trunk, nn.Linear(trunk.features, latent), nn.Tanh())
        initialise(self)


def initialise(module: nn.Module) -> None:
    """Uniform weights of variance 4 / (fan in + fan out) before a rectifier, half that elsewhere; no bias.

    As in the reference implementation of WGAN-GP: He's for the convolutions of width 3, Glorot's for those of
    width 1 and the linear layers.
    """
    for part in module.modules():
        weight = getattr(part, "weight", None)
        if isinstance(weight, nn.Parameter) and weight.ndim >= 2:
            rectified = weight.ndim > 2 and weight.shape[-1] > 1
            nn.init.xavier_uniform_(weight, gain=math.sqrt(2) if rectified else 1.0)
            if isinstance(getattr(part, "bias", None), nn.Parameter):
                with torch.no_grad():
                    part.bias.zero_()  # type: ignore[operator]
