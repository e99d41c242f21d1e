"""Networks that draw one image from another: of pix2pix, MedGAN and RED-CNN, and the U-Net; 2D or 3D, any sides.

Each gives (N, C, *space) for (N, C, *space), unbounded and exactly 0 until it has learned something; `encoded` gives
what its layers see on the way down, with `seen` channels.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor, nn

from anomaly.nets.layers import CONVOLUTION, TRANSPOSED
from anomaly.nets.pyramid import INSTANCE_NORM, initialise
from anomaly.nets.unet import UNet, pad_to

LEVELS = 4
DROPPING = 3
"""So many of the deepest layers of pix2pix drop pixels on the way up."""
CONVOLUTIONS = 5
DROPOUTS = (nn.Dropout, nn.Dropout2d, nn.Dropout3d)


class UNetTranslator(UNet):
    """The U-Net with batch norm; channels double at each of three halvings.

    Args:
        shape: (C, *space) of one image.
        width: channels at full size.
        dropout: chance of a channel to be dropped in the deeper half, on the way up.
    """

    def __init__(self, shape: Sequence[int], *, width: int, dropout: float) -> None:
        seen = [width << level for level in range(LEVELS)]
        super().__init__(shape, out=shape[0], widths=seen, dropout=dropout)
        self.seen = seen

    def encoded(self, x: Tensor) -> list[Tensor]:
        """What each level sees on the way down, the full size first."""
        across = [self.enter(pad_to(x, self.multiples))]
        for down in self.down:
            across.append(down(across[-1]))
        return across


class StridedUNet(nn.Module):
    """The U-Net of pix2pix: convolutions of width 4 and stride 2 down to one pixel, transposed ones up again.

    C64-C128-C256-C512-... and back, leaky rectifier down and rectifier up, dropout in the deepest three on the way up
    (Isola et al. 2017, section 6.1.1); as deep as the longest side can be halved, 8 at 256 pixels. Short axes are
    halved in the deepest layers alone. Instance norm, which batch norm is in batches of one image; none around the
    single pixel, which it would blank.

    Args:
        shape: (C, *space) of one image.
        width: channels after the first convolution; at most 8 times as many further down.
        dropout: chance of a value to be dropped.
    """

    def __init__(self, shape: Sequence[int], *, width: int, dropout: float) -> None:
        super().__init__()
        channels, *space = shape
        self.dims, strides = len(space), halvings_to_one(space)
        self.seen = [width * min(8, 1 << k) for k in range(len(strides))]
        self.down, self.rise, self.after = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for k, (stride, out) in enumerate(zip(strides, self.seen, strict=True)):
            plain = k in (0, len(strides) - 1)
            convolution = self._strided(CONVOLUTION, stride, self.seen[k - 1] if k else channels, out, bias=plain)
            norm = [] if plain else [INSTANCE_NORM[self.dims](out, affine=True)]
            self.down.append(nn.Sequential(convolution, *norm, nn.LeakyReLU(0.2)))
        for k in reversed(range(1, len(strides))):
            deepest, out = k == len(strides) - 1, self.seen[k - 1]
            self.rise.append(
                self._strided(TRANSPOSED, strides[k], self.seen[k] * (1 if deepest else 2), out, bias=False)
            )
            dropped = dropout > 0 and k >= len(strides) - DROPPING
            drop = [nn.Dropout(dropout)] if dropped else []
            self.after.append(nn.Sequential(INSTANCE_NORM[self.dims](out, affine=True), *drop, nn.ReLU()))
        initialise(self)
        entering = self.seen[0] * (2 if len(strides) > 1 else 1)
        self.leave = blank(self._strided(TRANSPOSED, strides[0], entering, channels, bias=True))

    def _strided(self, kind: Any, stride: tuple[int, ...], channels: int, out: int, *, bias: bool) -> nn.Module:
        kernel = tuple(2 + each for each in stride)  # 4 with stride 2, 3 with stride 1
        layer: nn.Module = kind[self.dims](channels, out, kernel, stride=stride, padding=1, bias=bias)
        return layer

    def encoded(self, x: Tensor) -> list[Tensor]:
        """What each layer sees on the way down."""
        across = []
        for down in self.down:
            x = down(x)
            across.append(x)
        return across

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, *space) -> (N, C, *space)."""
        *across, y = self.encoded(x)
        for rise, after in zip(self.rise, self.after, strict=True):
            details = across.pop()
            y = torch.cat([after(rise(y, details.shape[2:])), details], 1)
        given: Tensor = self.leave(y, x.shape[2:])
        return given


class CasNet(nn.Module):
    """The cascade of MedGAN: U-Nets of pix2pix one behind the other, each drawing anew what the last one drew.

    Armanious et al. 2020, with six of them. An image in [-1, 1] is handed on (tanh).

    Args:
        shape: (C, *space) of one image.
        width: channels after the first convolution of each.
        blocks: how many.
        dropout: chance of a value to be dropped.
    """

    def __init__(self, shape: Sequence[int], *, width: int, blocks: int, dropout: float) -> None:
        super().__init__()
        nets = [StridedUNet(shape, width=width, dropout=dropout) for _ in range(blocks)]
        self.blocks, self.seen = nn.ModuleList(nets), nets[0].seen
        for net in nets[:-1]:
            initialise(net.leave)

    def encoded(self, x: Tensor) -> list[Tensor]:
        """What the first U-Net sees on the way down."""
        across: list[Tensor] = self.blocks[0].encoded(x)  # type: ignore[operator]
        return across

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, *space) -> (N, C, *space)."""
        for block in self.blocks[:-1]:
            x = torch.tanh(block(x))
        given: Tensor = self.blocks[-1](x)
        return given


class ResidualEncoderDecoder(nn.Module):
    """The network of RED-CNN: five convolutions of width 5 without padding, five transposed ones back, rectifiers.

    What the second and the fourth convolution saw is added to what comes back at their size (Chen et al. 2017, figure
    1); the last shortcut, from the image itself, is left to whoever adds this to the image. An axis too short for five
    convolutions of width 5 gets narrower ones.

    Args:
        shape: (C, *space) of one image.
        width: channels.
        out: channels of what goes out; 0 for as many as come in.
    """

    def __init__(self, shape: Sequence[int], *, width: int, out: int = 0) -> None:
        super().__init__()
        channels, *space = shape
        kernel = tuple(reach(side) for side in space)
        convolution, transposed = CONVOLUTION[len(space)], cast(Any, TRANSPOSED[len(space)])
        self.seen = [width] * CONVOLUTIONS
        self.down = nn.ModuleList(
            nn.Sequential(convolution(a, b, kernel), nn.ReLU()) for a, b in pairwise([channels, *self.seen])
        )
        self.up = nn.ModuleList(transposed(width, width, kernel) for _ in range(CONVOLUTIONS - 1))
        initialise(self)
        self.leave = blank(transposed(width, out or channels, kernel))

    def encoded(self, x: Tensor) -> list[Tensor]:
        """What each convolution sees."""
        across = []
        for down in self.down:
            x = down(x)
            across.append(x)
        return across

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, *space) -> (N, C, *space)."""
        *across, y = self.encoded(x)
        for k, up in enumerate(self.up):
            y, details = up(y), across.pop()
            y = torch.relu(y + details if k % 2 == 0 else y)
        given: Tensor = self.leave(y)
        return given


def halvings_to_one(space: Sequence[int]) -> list[tuple[int, ...]]:
    """Strides of each axis from the full size down until each is one pixel long; the longest axes begin."""
    counts = [side.bit_length() - 1 for side in space]
    most = max(counts)
    return [tuple(2 if level >= most - count else 1 for count in counts) for level in range(most)]


def reach(side: int) -> int:
    """Width of kernels that five convolutions without padding can have along an axis: 5, 3 or 1."""
    return next(width for width in (5, 3, 1) if side > CONVOLUTIONS * (width - 1))


def blank(layer: nn.Module) -> nn.Module:
    """The layer, giving 0."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def dropouts(net: nn.Module) -> list[nn.Module]:
    """The layers that drop something in training."""
    return [module for module in net.modules() if isinstance(module, DROPOUTS) and module.p > 0]


@contextmanager
def same_dropout(net: nn.Module, random: torch.Generator) -> Iterator[None]:
    """Within, a network in evaluation mode drops as in training, and for all images of a batch the same.

    So what comes of an image does not depend on the images beside it.

    Args:
        net: left as it was afterwards.
        random: on the CPU, draws what is dropped, anew in each pass.
    """

    def hook(module: Any, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        each = inputs[0].shape[1:] if isinstance(module, nn.Dropout) else (output.shape[1], *[1] * (output.ndim - 2))
        kept = torch.rand(each, generator=random) >= module.p
        return inputs[0] * (kept.to(output) / (1 - module.p))

    handles = [module.register_forward_hook(hook) for module in dropouts(net)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
