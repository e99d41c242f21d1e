"""Noise: grains of any size, which no healthy image has."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf
from typing import ClassVar

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from anomaly.degradations.base import Degradation, Degraded

LINEAR = {2: "bilinear", 3: "trilinear"}


@dataclass(frozen=True, kw_only=True)
class Noise(Degradation):
    """Gaussian noise, drawn on a coarse grid that lies anywhere, and enlarged.

    Args:
        sigma: standard deviation on the coarse grid, as a share of the range of the images, which is 2.
        coarse: pixels between two independent values; 1 is white noise.
    """

    name: ClassVar[str] = "noise"
    summary: ClassVar[str] = "Gaussian noise, white or of large grains"
    cite: ClassVar[str] = "Kascenas et al. 2022"
    bounds: ClassVar[dict[str, tuple[float, float]]] = {"sigma": (0, inf), "coarse": (1, inf)}
    sigma: float = 0.2
    coarse: int = 8

    def measured(self, x: Tensor, random: Generator | None = None) -> Tensor:
        """x + noise."""
        return x + 2 * self.sigma * grains(x, self.coarse, random)

    def views(self, x: Tensor) -> Iterator[Degraded]:
        """The image itself: what looks like noise in it is what the restorer takes away."""
        yield Degraded(x)


def grains(x: Tensor, coarse: int, random: Generator | None = None) -> Tensor:
    """Noise like images (N, C, *space), N(0, 1) on a grid of one in `coarse` pixels, linear between.

    The grid lies anywhere, alike for all images of a batch: what is drawn is larger than the image, which is cut out of
    it. (Rolled, as in the original, noise has a seam across the image, which is drawn again wherever few steps take it
    away.) An axis shorter than two grains has grains of half its length.
    """
    space = x.shape[2:]
    each = [_grain(side, coarse) for side in space]
    if max(each) == 1:
        return torch.randn(x.shape, generator=random, device=x.device, dtype=x.dtype)
    few = [-(-side // grain) + 2 for side, grain in zip(space, each, strict=True)]
    drawn = torch.randn(*x.shape[:2], *few, generator=random, device=x.device, dtype=x.dtype)
    noise = F.interpolate(drawn, scale_factor=[float(grain) for grain in each], mode=LINEAR[len(space)])
    for axis, (side, grain) in enumerate(zip(space, each, strict=True), start=2):
        # Half a grain at either end is not between two values.
        start = grain // 2 + int(torch.randint(grain, (), generator=random, device=x.device))
        noise = noise.narrow(axis, start, side)
    return noise.contiguous()


def spread(space: Sequence[int], coarse: int) -> float:
    """The variance of `grains` on a grid of so many pixels, which is below 1 between the values that are drawn."""
    whole = 1.0
    for side in space:
        grain = _grain(side, coarse)
        between = ((torch.arange(grain, dtype=torch.float64) + 0.5) / grain + 0.5) % 1
        whole *= float((between.square() + (1 - between).square()).mean())
    return whole


def _grain(side: int, coarse: int) -> int:
    """Pixels of a grain along an axis."""
    return max(1, min(coarse, side // 2))
