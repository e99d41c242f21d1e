"""Residual generator and critic as in WGAN-GP (Gulrajani et al. 2017, appendix F), in two or three dimensions."""

from math import prod

from torch import Tensor, nn
from torch.nn import functional as F

from anomaly.nets.layers import BATCH_NORM, CONVOLUTION
from anomaly.nets.pyramid import (
    MEAN_POOL,
    ConvolutionThenHalve,
    DoubleThenConvolution,
    FromCode,
    Pyramid,
    TrunkAndHead,
    initialise,
)


def normalisation(dims: int, channels: int, kind: str) -> nn.Module:
    """Batch norm, or layer norm: over all of an image's values, one gain and bias a channel."""
    return BATCH_NORM[dims](channels) if kind == "batch" else nn.GroupNorm(1, channels)


class DownBlock(nn.Module):
    """Norm, rectifier, convolution, twice, halving; beside it the halved image through a convolution of width 1."""

    def __init__(self, factors: tuple[int, ...], channels: int, out: int, norm: str) -> None:
        super().__init__()
        dims, self.factors = len(factors), factors
        self.shortcut = CONVOLUTION[dims](channels, out, 1)
        self.residual = nn.Sequential(
            normalisation(dims, channels, norm),
            nn.ReLU(),
            CONVOLUTION[dims](channels, channels, 3, padding=1, bias=False),
            normalisation(dims, channels, norm),
            nn.ReLU(),
            ConvolutionThenHalve(factors, channels, out),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, *space) -> (N, out, *space / factors)."""
        residual: Tensor = self.residual(x)
        return residual + self.shortcut(MEAN_POOL[len(self.factors)](x, self.factors))


class UpBlock(nn.Module):
    """Norm, rectifier, convolution, twice, doubling; beside it the doubled image through a convolution of width 1."""

    def __init__(self, factors: tuple[int, ...], channels: int, out: int) -> None:
        super().__init__()
        dims, self.factors = len(factors), factors
        self.shortcut = CONVOLUTION[dims](channels, out, 1)
        self.residual = nn.Sequential(
            normalisation(dims, channels, "batch"),
            nn.ReLU(),
            DoubleThenConvolution(factors, channels, out, bias=False),
            normalisation(dims, out, "batch"),
            nn.ReLU(),
            CONVOLUTION[dims](out, out, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, *space) -> (N, out, *factors * space)."""
        residual: Tensor = self.residual(x)
        # A convolution of width 1 gives the same before and after pixels are repeated, and before costs less.
        return residual + F.interpolate(self.shortcut(x), scale_factor=[float(each) for each in self.factors])


class Generator(FromCode):
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
        channels, *space = shape
        dims, pyramid = len(space), Pyramid.of(tuple(space))
        widths = pyramid.widths(width)
        layers = [
            *[UpBlock(factors, a, b) for a, b, factors in pyramid.up(widths)],
            normalisation(dims, width, "batch"),
            nn.ReLU(),
            CONVOLUTION[dims](width, channels, 3, padding=1),
        ]
        super().__init__(tuple(space), latent, widths[-1], layers)


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
        self.pyramid = Pyramid.of(tuple(space))
        widths = self.pyramid.widths(width)
        self.features = widths[-1] * prod(self.pyramid.bottom)
        self.layers = nn.Sequential(
            CONVOLUTION[len(space)](channels, width, 3, padding=1),
            *[DownBlock(factors, a, b, norm) for a, b, factors in self.pyramid.down(widths)],
            nn.Flatten(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, C, *space) -> features (N, F)."""
        features: Tensor = self.layers(self.pyramid.pad(x))
        return features


class Critic(TrunkAndHead):
    """Image -> one number: a trunk with layer norm, and a linear layer.

    No batch norm, for the gradient penalty holds for each image by itself. Arguments as for `Trunk`.
    """

    def __init__(self, shape: tuple[int, ...], *, width: int) -> None:
        super().__init__(Trunk(shape, width=width, norm="layer"))


class Encoder(nn.Sequential):
    """Image -> code in (-1, 1): the critic's trunk with batch norm and weights of its own, linear, tanh."""

    def __init__(self, shape: tuple[int, ...], *, latent: int, width: int) -> None:
        trunk = Trunk(shape, width=width, norm="batch")
        super().__init__(trunk, nn.Linear(trunk.features, latent), nn.Tanh())
        initialise(self)
