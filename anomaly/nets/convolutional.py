"""Plain convolutional generator, encoder and critics as in the auto-encoding GAN (Kwon et al. 2019), 2D or 3D.

Weights begin as in `residual`, where the original leaves them to the library.
"""

from collections.abc import Callable
from math import prod

from torch import Tensor, nn

from anomaly.nets.layers import BATCH_NORM, CONVOLUTION
from anomaly.nets.pyramid import INSTANCE_NORM, DoubleThenConvolution, FromCode, Pyramid, TrunkAndHead, initialise


class Generator(FromCode):
    """Code -> image in [-1, 1]: linear to the smallest size, then doublings with a convolution of width 3 each.

    At 64 pixels and width 64: 512 channels at 4, then 256-128-64 and the image; batch norm, rectifier; tanh.
    Sides that are not 4 * 2^k are drawn larger and cropped.

    Args:
        shape: (C, *space) of one image.
        latent: length of the code.
        width: channels before the last doubling.
    """

    def __init__(self, shape: tuple[int, ...], *, latent: int, width: int) -> None:
        channels, *space = shape
        dims, pyramid = len(space), Pyramid.of(tuple(space))
        widths = [channels, *pyramid.widths(width)[:-1]]
        layers: list[nn.Module] = [BATCH_NORM[dims](widths[-1]), nn.ReLU()]
        *doublings, (last, _, factors) = pyramid.up(widths)
        for a, b, each in doublings:
            layers += [DoubleThenConvolution(each, a, b, bias=False), BATCH_NORM[dims](b), nn.ReLU()]
        super().__init__(tuple(space), latent, widths[-1], [*layers, DoubleThenConvolution(factors, last, channels)])


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
        self.pyramid = Pyramid.of(tuple(space))
        widths = [channels, *self.pyramid.widths(width)[:-1]]
        self.features = widths[-1] * prod(self.pyramid.bottom)
        layers: list[nn.Module] = []
        for k, (a, b, factors) in enumerate(self.pyramid.down(widths)):
            kernel = tuple(2 + each for each in factors)  # 4 with stride 2, 3 with stride 1
            layers += [CONVOLUTION[len(space)](a, b, kernel, stride=factors, padding=1, bias=k == 0)]
            layers += [norm(b)] if k else []
            layers += [nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.Flatten())

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, C, *space) -> features (N, F)."""
        features: Tensor = self.layers(self.pyramid.pad(x))
        return features


class Encoder(nn.Sequential):
    """Image -> code (N, latent), unbounded: a trunk with batch norm, linear (a convolution over all of the rest)."""

    def __init__(self, shape: tuple[int, ...], *, latent: int, width: int) -> None:
        trunk = Trunk(shape, width=width, norm=BATCH_NORM[len(shape) - 1])
        super().__init__(trunk, nn.Linear(trunk.features, latent))
        initialise(self)


class Critic(TrunkAndHead):
    """Image -> one number: a trunk with instance norm, and a linear layer. Arguments as for `Trunk`.

    The original has batch norm here; the gradient penalty, which holds for each image by itself, forbids it.
    """

    def __init__(self, shape: tuple[int, ...], *, width: int) -> None:
        norm = INSTANCE_NORM[len(shape) - 1]
        super().__init__(Trunk(shape, width=width, norm=lambda channels: norm(channels, affine=True)))


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
