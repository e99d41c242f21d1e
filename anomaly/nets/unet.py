"""The U-Net: an image in, as large an image out, details handed across; 2D or 3D, any sides."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anomaly.nets.layers import BATCH_NORM, CONVOLUTION, crop
from anomaly.nets.pyramid import INSTANCE_NORM, ConvolutionThenHalve, DoubleThenConvolution, initialise

NORMS = ("batch", "instance", "group", "none")
DROPOUT = {2: nn.Dropout2d, 3: nn.Dropout3d}
SMALLEST = 4
"""An axis is halved only while this many pixels of it are left."""


class UNet(nn.Module):
    """Image (N, C, *space) -> (N, out, *space), unbounded; exactly 0 until it has learned something.

    Two convolutions of width 3 a level, each with norm and rectifier; halved by means, doubled by repeating, each
    with a convolution. Sides are padded with their edges as needed. An axis that is short already is not halved.

    Args:
        shape: (C, *space) of what comes in.
        out: channels of what goes out.
        widths: channels of each level, from the full size down.
        norm: "batch", "instance", "group" (of up to 8 groups) or "none".
        dropout: chance of a channel to be dropped in the deeper half of the levels, on the way up.
        skips: from which level on details are handed across; 0 from the full size, 1 from half of it.
    """

    def __init__(
        self,
        shape: Sequence[int],
        *,
        out: int,
        widths: Sequence[int] = (16, 32, 64, 128),
        norm: str = "batch",
        dropout: float = 0.0,
        skips: int = 0,
    ) -> None:
        super().__init__()
        channels, *space = shape
        self.dims, self.norm, self.skips = len(space), norm, skips
        factors = halvings(tuple(space), len(widths) - 1)
        ones = (1,) * self.dims  # nothing is halved where there is one level
        self.multiples = tuple(1 << sum(f == 2 for f in along) for along in zip(ones, *factors, strict=True))
        self.enter = self._block(channels, widths[0])
        self.down = nn.ModuleList(
            nn.Sequential(
                ConvolutionThenHalve(each, a, b, bias=norm == "none"),
                *self._after(b),
                *self._block(b, b, convolutions=1),
            )
            for (a, b), each in zip(pairwise(widths), factors, strict=True)
        )
        self.up, self.join = nn.ModuleList(), nn.ModuleList()
        for level in reversed(range(len(widths) - 1)):
            a, b = widths[level], widths[level + 1]
            deep = dropout > 0 and level >= (len(widths) - 1) // 2
            self.up.append(
                nn.Sequential(DoubleThenConvolution(factors[level], b, a, bias=norm == "none"), *self._after(a))
            )
            joined = self._block(2 * a if level >= skips else a, a)
            self.join.append(nn.Sequential(*joined, DROPOUT[self.dims](dropout)) if deep else joined)
        initialise(self)
        self.leave = CONVOLUTION[self.dims](widths[0], out, 1)
        nn.init.zeros_(self.leave.weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.leave.bias)  # type: ignore[arg-type]

    def _after(self, channels: int) -> list[nn.Module]:
        norms: dict[str, Any] = {"batch": BATCH_NORM, "instance": INSTANCE_NORM}
        rectifier = nn.ReLU(inplace=True)
        if self.norm == "group":
            return [nn.GroupNorm(math.gcd(8, channels), channels), rectifier]
        return [norms[self.norm][self.dims](channels, affine=True), rectifier] if self.norm in norms else [rectifier]

    def _block(self, channels: int, out: int, convolutions: int = 2) -> nn.Sequential:
        layers: list[nn.Module] = []
        for each in [channels, *[out] * (convolutions - 1)]:
            layers += [CONVOLUTION[self.dims](each, out, 3, padding=1, bias=self.norm == "none"), *self._after(out)]
        return nn.Sequential(*layers)

    def encoded(self, x: Tensor) -> list[Tensor]:
        """What each level hands across, from the full size down, padded; the last one is the bottom."""
        across = [self.enter(pad_to(x, self.multiples))]
        for down in self.down:
            across.append(down(across[-1]))
        return across

    def decoded(self, across: Sequence[Tensor], space: Sequence[int]) -> Tensor:
        """From what the levels handed across to what the last layer sees: (N, widths[0], *space)."""
        *left, x = across
        for up, join in zip(self.up, self.join, strict=True):
            x, details = up(x), left.pop()
            x = join(torch.cat([x, details], 1) if len(left) >= self.skips else x)
        return crop(x, tuple(space))

    def features(self, x: Tensor) -> Tensor:
        """What the last layer sees: (N, widths[0], *space)."""
        return self.decoded(self.encoded(x), x.shape[2:])

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, *space) -> (N, out, *space)."""
        given: Tensor = self.leave(self.features(x))
        return given


def halvings(space: tuple[int, ...], levels: int) -> list[tuple[int, ...]]:
    """Factors of each axis at each of the halvings: 2 while at least `SMALLEST` pixels are left, then 1."""
    factors, sides = [], list(space)
    for _ in range(levels):
        factors.append(tuple(2 if side >= 2 * SMALLEST else 1 for side in sides))
        sides = [-(-side // factor) for side, factor in zip(sides, factors[-1], strict=True)]
    return factors


def pad_to(x: Tensor, multiples: Sequence[int]) -> Tensor:
    """Repeat the far edges until each side is a multiple of its own number; `crop` undoes it."""
    padding: list[int] = []
    for side, multiple in zip(reversed(x.shape[2:]), reversed(multiples), strict=True):
        padding += [0, -side % multiple]
    return F.pad(x, padding, mode="replicate") if any(padding) else x
