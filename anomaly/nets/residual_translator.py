"""The generator of CycleGAN: down twice, residual blocks at a quarter of the size, up twice; 2D or 3D, any sides."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from anomaly.errors import AnomalyError
from anomaly.nets.layers import CONVOLUTION, crop
from anomaly.nets.pyramid import INSTANCE_NORM, ConvolutionThenHalve, DoubleThenConvolution, initialise
from anomaly.nets.unet import SMALLEST, halvings, pad_to

HALVED, GROUPS = 2, 8
WIDE = 7
"""Of the first and the last convolution, the kernel; an axis shorter than half of it gets a narrower one."""


class ResidualTranslator(nn.Module):
    """Image (N, C, *space) -> (N, C, *space), unbounded; exactly 0 until it has learned something.

    c7-w, d-2w, d-4w, `blocks` residual blocks of 4w, u-2w, u-w, c7-C with reflected edges and instance norm (Johnson et
    al. 2016; Zhu et al. 2017, appendix 7.2, where w is 64). Halving and doubling are those of the U-Net here, means and
    repeated pixels, which leave no chequerboard; an axis that is short already is not halved.

    Args:
        shape: (C, *space) of one image.
        width: w.
        blocks: 6 for 128 pixels, 9 from 256 on in the original.
        norm: "instance", as published; "group" (of up to 8 groups) or "none", which leave it how bright an image is.

    Raises:
        AnomalyError: an axis is too short to reflect its edges.
    """

    def __init__(self, shape: Sequence[int], *, width: int, blocks: int, norm: str = "instance") -> None:
        super().__init__()
        channels, *space = shape
        self.norm = norm
        if min(space) < SMALLEST:
            raise AnomalyError(
                f"images of {' x '.join(map(str, space))} pixels are too thin for the residual generator, which takes "
                f"{SMALLEST} along every axis; give --set network=unet"
            )
        self.dims, factors = len(space), halvings(tuple(space), HALVED)
        self.multiples = tuple(1 << sum(f == 2 for f in along) for along in zip(*factors, strict=True))
        wide = tuple(WIDE if side > WIDE // 2 + 1 else 3 for side in space)
        widths = [width << level for level in range(HALVED + 1)]
        layers: list[nn.Module] = [self._convolution(channels, width, wide), *self._after(width)]
        for a, b, each in zip(widths, widths[1:], factors, strict=False):
            layers += [ConvolutionThenHalve(each, a, b, bias=False), *self._after(b)]
        layers += [_Block(self, widths[-1]) for _ in range(blocks)]
        for a, b, each in reversed([*zip(widths, widths[1:], factors, strict=False)]):
            layers += [DoubleThenConvolution(each, b, a, bias=False), *self._after(a)]
        self.trunk = nn.Sequential(*layers)
        initialise(self)
        self.leave = self._convolution(width, channels, wide, bias=True)
        nn.init.zeros_(self.leave.weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.leave.bias)  # type: ignore[arg-type]

    def _convolution(self, channels: int, out: int, kernel: tuple[int, ...], bias: bool = False) -> nn.Module:
        padding = tuple(width // 2 for width in kernel)
        return CONVOLUTION[self.dims](channels, out, kernel, padding=padding, padding_mode="reflect", bias=bias)

    def _after(self, channels: int) -> list[nn.Module]:
        if self.norm == "none":
            return [nn.Identity(), nn.ReLU(inplace=True)]
        if self.norm == "group":
            return [nn.GroupNorm(math.gcd(GROUPS, channels), channels), nn.ReLU(inplace=True)]
        return [INSTANCE_NORM[self.dims](channels, affine=True), nn.ReLU(inplace=True)]

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, *space) -> (N, C, *space)."""
        given: Tensor = self.leave(self.trunk(pad_to(x, self.multiples)))
        return crop(given, x.shape[2:])


class _Block(nn.Module):
    """Two convolutions of width 3, added to what came in."""

    def __init__(self, of: ResidualTranslator, channels: int) -> None:
        super().__init__()
        kernel = (3,) * of.dims
        self.residual = nn.Sequential(
            of._convolution(channels, channels, kernel),
            *of._after(channels),
            of._convolution(channels, channels, kernel),
            of._after(channels)[0],
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, *space) -> the same."""
        return torch.add(x, self.residual(x))
