"""Denoising diffusion: a network that finds the noise in an image, given how noisy it is; 2D and 3D.

What is done with the noise that it finds stands in `noising`.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anomaly.nets.layers import CONVOLUTION, crop
from anomaly.nets.pyramid import ConvolutionThenHalve, DoubleThenConvolution, initialise
from anomaly.nets.unet import halvings, pad_to

UNTOLD = -1
"""The class of an image whose class the network is not told."""


class TimedTrunk(nn.Module):
    """Noisy images and their times -> what is seen of them at each size.

    Residual blocks that are told the time (Ho et al. 2020), (k + 1) `width` channels after k halvings (Sanchez et al.
    2022). The library's own network needs a further package for its attention, and halves thick slices like pixels; so
    its blocks are taken, and each axis is halved by itself.

    Args:
        shape: (C, *space) of one image; sides are padded with their edge as needed.
        width: channels at full size.
        levels: sizes, the full one and each of the halvings; an axis is halved only while 4 pixels of it are left.
        blocks: residual blocks at each size.
        attention: at so many of the smallest sizes each place looks at all others as well.
        classes: how many there are to tell the network, beside `UNTOLD`; 0 for a network that knows none.
    """

    def __init__(
        self, shape: Sequence[int], *, width: int, levels: int, blocks: int = 1, attention: int = 1, classes: int = 0
    ) -> None:
        super().__init__()
        channels, *space = shape
        dims, self.width, told = len(space), width, 4 * width
        self.factors = [each for each in halvings(tuple(space), levels - 1) if max(each) > 1]
        self.multiples = tuple(math.prod(each[axis] for each in self.factors) for axis in range(dims))
        self.widths = [width * (level + 1) for level in range(len(self.factors) + 1)]
        self.attends = [level >= len(self.widths) - attention for level in range(len(self.widths))]
        self.time = nn.Sequential(nn.Linear(width, told), nn.SiLU(), nn.Linear(told, told))
        self.classes = nn.Embedding(classes + 1, told) if classes else None
        self.enter = CONVOLUTION[dims](channels, width, 3, padding=1)
        self.down = nn.ModuleList(
            Blocks(dims, each, each, told, blocks, attends)
            for each, attends in zip(self.widths, self.attends, strict=True)
        )
        self.halve = nn.ModuleList(
            ConvolutionThenHalve(each, a, b) for (a, b), each in zip(pairwise(self.widths), self.factors, strict=True)
        )
        initialise(self.halve)

    def told(self, t: Tensor, classes: Tensor | None = None) -> Tensor:
        """What blocks are told, (N, 4 width), of times t (N,) and classes (N,), some `UNTOLD`; None for all untold."""
        from monai.networks.nets.diffusion_model_unet import get_timestep_embedding

        told: Tensor = self.time(get_timestep_embedding(t, self.width).to(next(self.time.parameters()).dtype))
        if self.classes is None:
            return told
        classes = torch.full_like(t, UNTOLD) if classes is None else classes
        embedded: Tensor = self.classes(torch.where(classes == UNTOLD, self.classes.num_embeddings - 1, classes))
        return told + embedded

    def seen(self, x: Tensor, told: Tensor) -> list[Tensor]:
        """(N, widths[k], *space_k) at each size k, from the full one down, padded."""
        x, seen = self.enter(pad_to(x, self.multiples)), []
        for level, blocks in enumerate(self.down):
            x = blocks(self.halve[level - 1](x) if level else x, told)
            seen.append(x)
        return seen


class Denoiser(TimedTrunk):
    """Noisy images (N, C, *space), their times and perhaps their classes -> the noise in them; 0 until it has learned.

    A U-Net (Ho et al. 2020); arguments as for `TimedTrunk`. Of the channels that come in, the first `out` are those
    whose noise it finds, what follows is there to look at (Saharia et al. 2022, Palette); 0 for all of them.
    """

    def __init__(self, shape: Sequence[int], *, blocks: int = 1, out: int = 0, **settings: int) -> None:
        super().__init__(shape, blocks=blocks, **settings)
        channels, dims, told = out or shape[0], len(shape) - 1, 4 * self.width
        self.middle = Blocks(dims, self.widths[-1], self.widths[-1], told, 1, False)
        self.enlarge, self.up = nn.ModuleList(), nn.ModuleList()
        for level in reversed(range(len(self.factors))):
            a, b = self.widths[level], self.widths[level + 1]
            self.enlarge.append(DoubleThenConvolution(self.factors[level], b, a))
            self.up.append(Blocks(dims, 2 * a, a, told, blocks, self.attends[level]))
        initialise(self.enlarge)
        leave = CONVOLUTION[dims](self.width, channels, 3, padding=1)
        self.leave = nn.Sequential(nn.GroupNorm(_groups(self.width), self.width), nn.SiLU(), _silent(leave))

    def forward(self, x: Tensor, t: Tensor, classes: Tensor | None = None) -> Tensor:
        """x_t (N, C, *space), t (N,) int64, classes (N,) int64, some `UNTOLD`, None for all -> (N, C, *space)."""
        told, space = self.told(t, classes), x.shape[2:]
        seen = self.seen(x, told)
        x = self.middle(seen.pop(), told)
        for enlarge, up in zip(self.enlarge, self.up, strict=True):
            x = up(torch.cat([enlarge(x), seen.pop()], 1), told)
        return crop(self.leave(x), space)


class Blocks(nn.Module):
    """Residual blocks of one size, each told the time, and each followed by attention if it `attends`."""

    def __init__(self, dims: int, channels: int, out: int, told: int, blocks: int, attends: bool) -> None:
        super().__init__()
        from monai.networks.nets.diffusion_model_unet import DiffusionUNetResnetBlock

        groups = _groups(channels, out)
        self.residual = nn.ModuleList(
            DiffusionUNetResnetBlock(dims, each, told, out, norm_num_groups=groups)
            for each in [channels, *[out] * (blocks - 1)]
        )
        self.attention = nn.ModuleList(Attention(out) if attends else nn.Identity() for _ in range(blocks))

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        """(N, channels, *space), (N, told) -> (N, out, *space)."""
        for residual, attention in zip(self.residual, self.attention, strict=True):
            x = attention(residual(x, told))
        return x


class Attention(nn.Module):
    """Each place looks at all others and adds what it saw, at first nothing: norm, self-attention with one head."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(_groups(channels), channels)
        self.ask, self.tell = nn.Linear(channels, 3 * channels), _silent(nn.Linear(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, *space) -> the same."""
        places = self.norm(x).flatten(2).transpose(1, 2)
        told: Tensor = self.tell(F.scaled_dot_product_attention(*self.ask(places).chunk(3, -1)))
        return x + told.transpose(1, 2).reshape(x.shape)


def _groups(*channels: int) -> int:
    """Up to four groups that divide the channels, of four or more: a norm of one channel forgets what it was told."""
    return max(1, math.gcd(16, *channels) // 4)


def _silent(layer: nn.Module) -> nn.Module:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer
