"""Plain convolutional generator, encoder and critics as in the auto-encoding GAN (Kwon et al. 2019), 2D or 3D."""

from collections.abc import Callable
from itertools import pairwise
from math import prod

from torch import Tensor, nn

from anomaly.nets.layers import (
    BATCH_NORM,
    CONVOLUTION,
    INSTANCE_NORM,
    DoubleThenConvolution,
    crop,
    halvings,
    pad_to_multiple,
)
from anomaly.nets.residual import DEEPEST, initialise


class Generator(nn.Module):
    """Code -> image in [-1, 1]: linear to the smallest size, then doublings with a convolution of width 3 each.

    At 64 pixels and width 64: 512 channels at 4, then 256-128-64 and the image; batch norm, rectifier; tanh.
    Sides that are not 4 * 2^k are drawn larger and cropped.

    Args:
        shape: (C, *space) of one image.
        latent: length of the code.
        width: channels before the last doubling.
    """

    def __init__(self, shape: tuple[int, ...], *, latent: int, width: int) -> None:
        super().__init__()
        channels, *space = shape
        dims, levels = len(space), halvings(tuple(space))
        self.space = tuple(space)
        bottom = [-(-side // 2**levels) for side in space]
        deep = _widths(width, levels)[::-1]
        layers: list[nn.Module] = [
            nn.Linear(latent, deep[0] * prod(bottom)),
            nn.Unflatten(1, (deep[0], *bottom)),
            BATCH_NORM[dims](deep[0]),
            nn.ReLU(),
        ]
        for a, b in pairwise(deep):
            layers += [DoubleThenConvolution(dims, a, b, bias=False), BATCH_NORM[dims](b), nn.ReLU()]
        self.layers = nn.Sequential(*layers, DoubleThenConvolution(dims, deep[-1], channels), nn.Tanh())
        initialise(self)

    def forward(self, code: Tensor) -> Tensor:
        """Codes (N, latent) -> images (N, C, *space)."""
        return crop(self.layers(code), self.space)


class Trunk(nn.Module):
    """Image -> features: convolutions of width 4 and stride 2, leaky rectifier, norm in all but the first; flattened.

    Args:
        shape: (C, *space) of one image; sides that are not 4 * 2^k are padded with their edge.
        width: channels after the first halving.
        norm: batch or instance norm, (channels) -> module.
    """

    def __init__(self, shape: tuple[int, ...], *, width: int, norm: Callable[[int], nn.Module]) -> None:
        super().__init__()
        channels, *space = shape
        dims, levels = len(space), halvings(tuple(space))
        self.multiple = 2**levels
        deep = _widths(width, levels)
        self.features = deep[-1] * prod(-(-side // self.multiple) for side in space)
        layers: list[nn.Module] = [CONVOLUTION[dims](channels, deep[0], 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        for a, b in pairwise(deep):
            convolution = CONVOLUTION[dims](a, b, 4, stride=2, padding=1, bias=False)
            layers += [convolution, norm(b), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.Flatten())

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, C, *space) -> features (N, F)."""
        features: Tensor = self.layers(pad_to_multiple(x, self.multiple))
        return features


class Encoder(nn.Sequential):
    """Image -> code (N, latent), unbounded: a trunk with batch norm, linear (a convolution over all of the rest)."""

    def __init__(self, shape: tuple[int, ...], *, latent: int, width: int) -> None:
        trunk = Trunk(shape, width=width, norm=BATCH_NORM[len(shape) - 1])
        super().__init__(trunk, nn.Linear(trunk.features, latent))
        initialise(self)


class Critic(nn.Module):
    """Image -> one number, by way of features: a trunk with instance norm, linear. Arguments as for `Trunk`.

    The original has batch norm here; the gradient penalty, which holds for each image by itself, forbids it.
    """

    def __init__(self, shape: tuple[int, ...], *, width: int) -> None:
        super().__init__()
        norm = INSTANCE_NORM[len(shape) - 1]
        self.trunk = Trunk(shape, width=width, norm=lambda channels: norm(channels, affine=True))
        self.head = nn.Linear(self.trunk.features, 1)
        initialise(self)

    def features(self, x: Tensor) -> Tensor:
        """f(x) (N, F): the last convolution, flattened."""
        features: Tensor = self.trunk(x)
        return features

    def forward(self, x: Tensor) -> Tensor:
        """D(x) (N,)."""
        value: Tensor = self.head(self.trunk(x))
        return value.squeeze(1)


class CodeCritic(nn.Sequential):
    """Code (N, latent) -> one number (N,): two hidden layers of `hidden`, leaky rectifier."""

    def __init__(self, *, latent: int, hidden: int) -> None:
        super().__init__(
            nn.Linear(latent, hidden),
            nn.LeakyReLU(0.2),
            nn.Linear(hidden, hidden),
            nn.LeakyReLU(0.2),
            nn.Linear(hidden, 1),
            nn.Flatten(0),
        )


def _widths(width: int, levels: int) -> list[int]:
    return [width * min(2**level, DEEPEST) for level in range(levels)]
