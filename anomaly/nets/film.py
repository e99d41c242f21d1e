"""A residual U-Net that is told something at every level: noise, time, or both; 2D or 3D, any sides."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from anomaly.nets.layers import CONVOLUTION, crop
from anomaly.nets.pyramid import ConvolutionThenHalve, DoubleThenConvolution, initialise
from anomaly.nets.unet import halvings, pad_to


class FiLM(nn.Module):
    """Features (N, C, *space) and what is told (N, K) -> features (1 + a) + b (Perez et al. 2018, eq. 1).

    a and b are linear in what is told, one of each a channel; with zero weights, as it begins, nothing changes.

    Args:
        told: K.
        channels: C.
    """

    def __init__(self, told: int, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(told, 2 * channels)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, features: Tensor, told: Tensor) -> Tensor:
        """Features as told."""
        scale, shift = self.linear(told).view(len(told), -1, *[1] * (features.ndim - 2)).chunk(2, 1)
        changed: Tensor = features * (1 + scale) + shift
        return changed


class FilmedBlock(nn.Module):
    """Two convolutions of width 3, group norm (of up to 8 groups), told, rectified, beside a straight path."""

    def __init__(self, channels: int, out: int, told: int, dims: int) -> None:
        super().__init__()
        convolution = CONVOLUTION[dims]
        self.first, self.second = convolution(channels, out, 3, padding=1), convolution(out, out, 3, padding=1)
        self.norms = nn.ModuleList(nn.GroupNorm(math.gcd(8, out), out) for _ in range(2))
        self.film = FiLM(told, out)
        self.straight = nn.Identity() if channels == out else convolution(channels, out, 1)

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        """(N, C, *space) -> (N, out, *space)."""
        hidden = torch.relu(self.film(self.norms[0](self.first(x)), told))
        seen: Tensor = torch.relu(self.straight(x) + self.norms[1](self.second(hidden)))
        return seen


class FilmedUNet(nn.Module):
    """Image (N, C, *space) and what is told (N, K) -> (N, out, *space), unbounded; 0 until it has learned something.

    The residual U-Net of DEP-GAN (Rachmadi et al. 2020, figure 2), told at every level, on the way down and up.

    Args:
        shape: (C, *space) of what comes in.
        out: channels of what goes out.
        told: K, how many numbers are told.
        widths: channels of each level, from the full size down.
    """

    def __init__(self, shape: Sequence[int], *, out: int, told: int, widths: Sequence[int]) -> None:
        super().__init__()
        channels, *space = shape
        dims = len(space)
        factors = halvings(tuple(space), len(widths) - 1)
        ones = (1,) * dims  # nothing is halved where there is one level
        self.multiples = tuple(1 << sum(f == 2 for f in along) for along in zip(ones, *factors, strict=True))
        entering = [channels, *widths[1:]]
        self.down = nn.ModuleList(FilmedBlock(a, b, told, dims) for a, b in zip(entering, widths, strict=True))
        pairs = list(zip(pairwise(widths), factors, strict=True))
        self.halved = nn.ModuleList(ConvolutionThenHalve(each, a, b) for (a, b), each in pairs)
        self.doubled = nn.ModuleList(DoubleThenConvolution(each, b, a) for (a, b), each in reversed(pairs))
        self.up = nn.ModuleList(FilmedBlock(2 * a, a, told, dims) for (a, _), _ in reversed(pairs))
        initialise(self)
        for module in self.modules():
            if isinstance(module, FiLM):
                nn.init.zeros_(module.linear.weight)
        self.leave = CONVOLUTION[dims](widths[0], out, 1)
        nn.init.zeros_(self.leave.weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.leave.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        """As the class says."""
        space = x.shape[2:]
        x = pad_to(x, self.multiples)
        across: list[Tensor] = []
        for block, halve in zip(self.down, [*self.halved, nn.Identity()], strict=True):
            across.append(block(x, told))
            x = halve(across[-1])
        across.pop()
        for double, block in zip(self.doubled, self.up, strict=True):
            x = block(torch.cat([double(x), across.pop()], 1), told)
        given: Tensor = self.leave(crop(x, space))
        return given
