"""The few layers every network here is made of, in two or three dimensions by one argument."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CONVOLUTION: Mapping[int, Callable[..., nn.Module]] = {2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED: Mapping[int, Callable[..., nn.Module]] = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
BATCH_NORM = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


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
    """Halve an image: convolution of width 4 and stride 2, batch norm, leaky rectifier.

    `factors` says 2 for each axis that is halved, and 1 for one that keeps its pixels (width 3).
    """

    def __init__(self, factors: tuple[int, ...], channels: int, out: int) -> None:
        dims = len(factors)
        super().__init__(
            CONVOLUTION[dims](channels, out, widened(factors), stride=factors, padding=1),
            BATCH_NORM[dims](out),
            nn.LeakyReLU(0.2),
        )


class Up(nn.Sequential):
    """Double an image: transposed convolution of width 4 and stride 2, batch norm, leaky rectifier; axes as `Down`."""

    def __init__(self, factors: tuple[int, ...], channels: int, out: int) -> None:
        dims = len(factors)
        super().__init__(
            TRANSPOSED[dims](channels, out, widened(factors), stride=factors, padding=1),
            BATCH_NORM[dims](out),
            nn.LeakyReLU(0.2),
        )


def widened(factors: tuple[int, ...]) -> tuple[int, ...]:
    """The width of a kernel along each axis: 4 where it goes by steps of 2, 3 where it goes pixel by pixel."""
    return tuple(2 + factor for factor in factors)
