"""The few layers every network here is made of, in two or three dimensions by one argument."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CONVOLUTION = {2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
BATCH_NORM = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
INSTANCE_NORM = {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}
CONVOLVE = {2: F.conv2d, 3: F.conv3d}
CONVOLVE_TRANSPOSED = {2: F.conv_transpose2d, 3: F.conv_transpose3d}
MEAN_POOL = {2: F.avg_pool2d, 3: F.avg_pool3d}


def halvings(space: tuple[int, ...], bottom: int = 4) -> int:
    """How often an image can be halved before its smallest side falls below `bottom` pixels."""
    return max(1, int(math.log2(max(min(space) / bottom, 1)) + 1e-9))


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """Repeat the far edges until every side is a multiple of `multiple`; `crop` undoes it."""
    padding: list[int] = []
    for side in reversed(x.shape[2:]):
        padding += [0, -side % multiple]
    return F.pad(x, padding, mode="replicate") if any(padding) else x


def crop(x: Tensor, space: tuple[int, ...] | torch.Size) -> Tensor:
    """The near corner of an image, `space` pixels large."""
    near: tuple[Any, ...] = (..., *(slice(side) for side in space))
    cut: Tensor = x[near]
    return cut


class Down(nn.Sequential):
    """Halve an image: convolution of width 4 and stride 2, batch norm, leaky rectifier."""

    def __init__(self, dims: int, channels: int, out: int) -> None:
        super().__init__(
            CONVOLUTION[dims](channels, out, 4, stride=2, padding=1), BATCH_NORM[dims](out), nn.LeakyReLU(0.2)
        )


class Up(nn.Sequential):
    """Double an image: transposed convolution of width 4 and stride 2, batch norm, leaky rectifier."""

    def __init__(self, dims: int, channels: int, out: int) -> None:
        super().__init__(
            TRANSPOSED[dims](channels, out, 4, stride=2, padding=1), BATCH_NORM[dims](out), nn.LeakyReLU(0.2)
        )


class ConvolutionThenHalve(nn.Module):
    """A convolution of width 3, then the mean of each 2 x 2 (x 2) pixels, in one step.

    The two are one convolution of width 4 and stride 2, whose kernel is the mean of the kernel of width 3 at its
    two places along each axis: less than half the products, a third in 3D.

    Args:
        dims: 2 or 3.
        channels: of the input.
        out: of the output.
        bias: whether it adds one.
    """

    def __init__(self, dims: int, channels: int, out: int, *, bias: bool = True) -> None:
        super().__init__()
        self.dims = dims
        self.weight = nn.Parameter(torch.empty(out, channels, *[3] * dims))
        self.bias = nn.Parameter(torch.zeros(out)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, *space), sides even -> (N, out, *space / 2)."""
        kernel = _at_both_places(self.weight) / 2**self.dims
        return CONVOLVE[self.dims](x, kernel, self.bias, stride=2, padding=1)


class DoubleThenConvolution(nn.Module):
    """Each pixel repeated along each axis, then a convolution of width 3, in one step.

    The two are one transposed convolution of width 4 and stride 2: the kernel, turned round, once for each of the
    two copies of a pixel.

    Args:
        dims: 2 or 3.
        channels: of the input.
        out: of the output.
        bias: whether it adds one.
    """

    def __init__(self, dims: int, channels: int, out: int, *, bias: bool = True) -> None:
        super().__init__()
        self.dims = dims
        self.weight = nn.Parameter(torch.empty(out, channels, *[3] * dims))
        self.bias = nn.Parameter(torch.zeros(out)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, *space) -> (N, out, *2 space)."""
        kernel = _at_both_places(self.weight.flip(list(range(2, 2 + self.dims))).transpose(0, 1))
        return CONVOLVE_TRANSPOSED[self.dims](x, kernel, self.bias, stride=2, padding=1)


def _at_both_places(kernel: Tensor) -> Tensor:
    """The sum of a kernel at the first and at the second place of one that is a pixel wider, along every axis."""
    for axis in range(kernel.ndim - 2):
        others = [0] * (2 * axis)
        kernel = F.pad(kernel, [*others, 0, 1]) + F.pad(kernel, [*others, 1, 0])
    return kernel
