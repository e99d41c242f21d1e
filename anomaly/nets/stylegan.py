"""The networks of StyleGAN2 (Karras et al. 2020a): noise to style, style to image, and the critic; 2D or 3D."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from anomaly.nets.pyramid import MEAN_POOL, Pyramid
from anomaly.nets.styled import (
    GAIN,
    EqualConvolution,
    EqualLinear,
    LaidOut,
    Layer,
    Modulated,
    activated,
    blurred,
    doubled,
    in_full,
    laid_out,
    normalised,
)

GROUP = 4
"""Images whose spread the critic is shown together."""


class Mapping(nn.Module):
    """z, and the class where there are some -> w; keeps the running mean of w.

    Args:
        latent: length of z and of w.
        classes: how many, 0 for none.
        layers: fully connected ones, which learn at a hundredth of the rate.
    """

    mean: Tensor

    def __init__(self, latent: int, classes: int, layers: int = 2) -> None:
        super().__init__()
        self.embedding = EqualLinear(classes, latent) if classes else None
        widths = [latent * (2 if classes else 1), *[latent] * layers]
        self.layers = nn.ModuleList(EqualLinear(a, b, rate=0.01) for a, b in pairwise(widths))
        self.register_buffer("mean", torch.zeros(latent))

    def forward(self, z: Tensor, classes: Tensor | None = None) -> Tensor:
        """z (N, latent), one-hot classes (N, classes) -> w (N, latent)."""
        x = normalised(z)
        if self.embedding is not None:
            assert classes is not None
            x = torch.cat([x, normalised(self.embedding(classes))], dim=1)
        for layer in self.layers:
            x = activated(layer(x), GAIN)
        return x


class Synthesis(nn.Module):
    """Styles -> image: a constant, then two layers a size, and at each size what they add to the image.

    Args:
        shape: (C, *space) of one image; drawn is what `Pyramid` pads it to.
        widths: channels at each size, the smallest first.
        latent: length of w.
    """

    def __init__(self, shape: tuple[int, ...], widths: Sequence[int], latent: int) -> None:
        super().__init__()
        channels, *space = shape
        self.pyramid = Pyramid.of(tuple(space))
        dims, self.sizes = len(space), sizes(self.pyramid)
        self.factors = tuple(reversed(self.pyramid.factors))
        self.constant = nn.Parameter(torch.randn(widths[0], *self.sizes[0]))
        self.grow, self.keep, self.draw = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for k, (width, size) in enumerate(zip(widths, self.sizes, strict=True)):
            if k:
                self.grow.append(Layer(widths[k - 1], width, size, latent=latent, factors=self.factors[k - 1]))
            self.keep.append(Layer(width, width, size, latent=latent))
            self.draw.append(Modulated(dims, width, channels, 1, latent=latent, demodulate=False))
        self.bias = nn.Parameter(torch.zeros(len(widths), channels))

    @property
    def styles(self) -> int:
        """How many styles an image has."""
        return 2 * len(self.sizes)

    def forward(
        self, w: Tensor, *, random: bool = False, level: int | None = None, fade: float | Tensor = 1.0
    ) -> Tensor:
        """Images (N, C, *padded) of about [-1, 1].

        Args:
            w: (N, latent), or (N, styles, latent): one for each layer, the smallest size first.
            random: draw noise anew; else that of the layers, which stays the same.
            level: the size to end at, 0 the smallest; None for the full one.
            fade: factor on what the last size adds.
        """
        w = w if w.ndim == 3 else w[:, None].expand(-1, self.styles, -1)
        level = len(self.sizes) - 1 if level is None else level
        x, image = laid_out(self.constant.expand(len(w), *self.constant.shape)), None
        for k in range(level + 1):
            if k:
                x = self.grow[k - 1](x, w[:, 2 * k - 1], random)
            x = self.keep[k](x, w[:, 2 * k], random)
            added, _ = self.draw[k](x, w[:, 2 * k + 1])
            added = in_full(added) + self.bias[k].view(1, -1, *[1] * (x.ndim - 2))
            added = added * fade if k == level else added
            image = added if image is None else doubled(image, self.factors[k - 1]) + added
        assert image is not None
        return image


class StyleGenerator(LaidOut):
    """Mapping and synthesis."""

    def __init__(self, shape: tuple[int, ...], *, latent: int, width: int, widest: int, classes: int = 0) -> None:
        super().__init__()
        self.mapping = Mapping(latent, classes)
        self.synthesis = Synthesis(shape, channels_of(shape, width, widest), latent)
        self.lay_out()


class Halving(nn.Module):
    """Two convolutions, the second halves the image; beside them the halved image through one of width 1."""

    def __init__(self, channels: int, out: int, factors: tuple[int, ...]) -> None:
        super().__init__()
        dims, self.factors = len(factors), factors
        self.first = EqualConvolution(dims, channels, channels, 3)
        self.second = EqualConvolution(dims, channels, out, 3, factors=factors)
        self.shortcut = EqualConvolution(dims, channels, out, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, *space) -> (N, out, *space / factors), divided by the root of 2."""
        aside = self.shortcut(MEAN_POOL[len(self.factors)](blurred(x, self.factors), self.factors), gain=1 / GAIN)
        # The gain of the rectifier and the division by the root of 2 cancel.
        return activated(self.second(activated(self.first(x, GAIN)))) + aside


class StyleCritic(LaidOut):
    """Image -> one logit: residual halvings, the spread within small groups, two layers (Karras et al. 2020a, D).

    Args:
        shape: (C, *space) of one image.
        width: channels at full size, doubled at each halving up to `widest`.
        classes: how many, 0 for none: then the logit is the product of features and an embedding of the class.
        growing: whether images of smaller sizes are judged as well.
    """

    def __init__(
        self, shape: tuple[int, ...], *, width: int, widest: int, latent: int, classes: int = 0, growing: bool = False
    ) -> None:
        super().__init__()
        channels, *space = shape
        pyramid, dims = Pyramid.of(tuple(space)), len(space)
        self.factors, widths = tuple(reversed(pyramid.factors)), channels_of(shape, width, widest)
        levels = len(widths)
        self.read = nn.ModuleDict(
            {
                str(k): EqualConvolution(dims, channels, widths[k], 1)
                for k in range(0 if growing else levels - 1, levels)
            }
        )
        self.halve = nn.ModuleList(
            Halving(widths[k], widths[k - 1], self.factors[k - 1]) for k in range(1, levels)
        )  # number k goes from level k + 1 to level k
        self.last = EqualConvolution(dims, widths[0] + 1, widths[0], 3)
        self.full = EqualLinear(widths[0] * math.prod(pyramid.bottom), widths[0])
        self.head = EqualLinear(widths[0], latent if classes else 1)
        self.embedding = Mapping(latent, classes).embedding
        self.latent = latent
        self.lay_out()

    def features(self, x: Tensor, level: int | None = None, fade: float | Tensor = 1.0) -> Tensor:
        """(N, F): what it sees of each image by itself; x (N, C, *padded, or the size of the level)."""
        level = len(self.factors) if level is None else level
        seen = activated(self.read[str(level)](laid_out(x), GAIN))
        for k in reversed(range(level)):
            smaller = self.halve[k](seen)
            if k == level - 1 and not (isinstance(fade, float) and fade == 1.0):
                halved = MEAN_POOL[x.ndim - 2](x, self.factors[k])
                before = activated(self.read[str(k)](halved, GAIN))
                smaller = before + fade * (smaller - before)
            seen = smaller
        return seen

    def forward(
        self, x: Tensor, classes: Tensor | None = None, level: int | None = None, fade: float | Tensor = 1.0
    ) -> Tensor:
        """D(x) (N,); classes one-hot (N, classes), or None for the mean over them."""
        seen = self.features(x, level, fade)
        seen = activated(self.last(laid_out(torch.cat([seen, spread_within(seen)], dim=1)), GAIN))
        told = self.head(activated(self.full(seen.flatten(1)), GAIN))
        if self.embedding is None:
            return told.squeeze(1)
        count = self.embedding.weight.shape[1]
        every = torch.eye(count, device=x.device)
        # No matrix product, which would be in half precision under autocast.
        logits = (told[:, None] * normalised(self.embedding(every))).sum(2) / math.sqrt(self.latent)
        return logits.mean(1) if classes is None else (logits * classes).sum(1)


def group_of(batch: int, most: int = GROUP) -> int:
    """How many images of a batch are looked at together: up to four, all groups alike."""
    return next(k for k in range(min(most, batch), 0, -1) if batch % k == 0)


def spread_within(x: Tensor, group: int = GROUP) -> Tensor:
    """The mean standard deviation within groups of neighbours in the batch, as one more channel (N, 1, *space)."""
    group = group_of(len(x), group)
    grouped = in_full(x).view(-1, group, *x.shape[1:])
    spread = (grouped.var(1, correction=0) + 1e-8).sqrt().flatten(1).mean(1)
    spread = spread.repeat_interleave(group).view(-1, *[1] * (x.ndim - 1))
    return spread.expand(-1, 1, *x.shape[2:]).to(x.dtype)


def sizes(pyramid: Pyramid) -> list[tuple[int, ...]]:
    """The sizes an image goes through, the smallest first."""
    found = [pyramid.bottom]
    for factors in reversed(pyramid.factors):
        found.append(tuple(side * factor for side, factor in zip(found[-1], factors, strict=True)))
    return found


def channels_of(shape: Sequence[int], width: int, widest: int) -> list[int]:
    """Channels at each size, the smallest first: `width` at the full one, doubled at each halving up to `widest`."""
    levels = len(Pyramid.of(tuple(shape[1:])).factors) + 1
    return [min(width << level, widest) for level in reversed(range(levels))]
