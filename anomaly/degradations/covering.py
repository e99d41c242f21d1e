"""Parts of images that are covered: blocks anywhere, or all but the centre."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf
from typing import ClassVar

import torch
from torch import Generator, Tensor

from anomaly.degradations.base import Degradation, Degraded
from anomaly.errors import AnomalyError

COVER = 0.0
"""What covered pixels have: the middle of the range."""


@dataclass(frozen=True, kw_only=True)
class Mask(Degradation):
    """Blocks of a grid are covered, their number, their choice and the place of the grid drawn for each image.

    Args:
        low: least share of an image that is covered, to within half a block.
        high: most of it.
        block: side of a block in pixels; 0 for an eighth of each side of the images.
    """

    name: ClassVar[str] = "mask"
    summary: ClassVar[str] = "blocks covered, to be drawn from what surrounds them"
    cite: ClassVar[str] = "Pathak et al. 2016"
    tells: ClassVar[bool] = True
    bounds: ClassVar[dict[str, tuple[float, float]]] = {"low": (0, 1), "high": (0, 1), "block": (0, inf)}
    low: float = 0.25
    high: float = 0.75
    block: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.low > self.high or self.high == 0 or self.low == 1:
            raise AnomalyError(
                f"{self.name} covers from {self.low:g} to {self.high:g} of an image; "
                "low must not be above high, and something must be covered and something be left"
            )

    def refuse(self, shape: tuple[int, ...]) -> None:
        """Blocks of more than half of the longest side: nothing would surround them."""
        space = shape[1:]
        if max(space) < 2 * max(1, self.block):
            raise AnomalyError(
                f"block {self.block} of {self.name} is more than half of images of {' x '.join(map(str, space))}; "
                "give a smaller one, or 0"
            )

    def measured(self, x: Tensor, random: Generator | None = None) -> Tensor:
        """The images, blocks of them covered."""
        return self.degrade(x, random).image

    def degrade(self, x: Tensor, random: Generator | None = None) -> Degraded:
        """The images, blocks of them covered, and which pixels are not."""
        self.refuse(tuple(x.shape[1:]))
        return covered(x, ~self._blocks(x, random))

    def views(self, x: Tensor) -> Iterator[Degraded]:
        """Complementary tilings: 2 chess boards, or more views where less than half is covered on average."""
        self.refuse(tuple(x.shape[1:]))
        count = max(2, round(2 / (self.low + self.high)))
        space = x.shape[2:]
        blocks = zip(space, self._sides(space), strict=True)
        along = [torch.arange(side, device=x.device) // block for side, block in blocks]
        colour = torch.stack(torch.meshgrid(along, indexing="ij")).sum(0) % count
        for hidden in range(count):
            yield covered(x, (colour != hidden).expand(len(x), 1, *space))

    def _sides(self, space: Sequence[int]) -> list[int]:
        return [self.block or max(1, round(side / 8)) for side in space]

    def _blocks(self, x: Tensor, random: Generator | None) -> Tensor:
        """Which pixels are covered, (N, 1, *space) bool."""
        cells, count = self._grid(x, random)
        flat = cells.flatten(1)
        sizes = torch.zeros(len(x), count, device=x.device).scatter_add_(
            1, flat, torch.ones_like(flat, dtype=torch.float32)
        )
        order = torch.rand(len(x), count, generator=random, device=x.device).argsort(1)
        share = torch.rand(len(x), 1, generator=random, device=x.device) * (self.high - self.low) + self.low
        # With each further block more is covered; as many are as come nearest to the share.
        so_far = sizes.gather(1, order).cumsum(1) / flat.shape[1]
        many = (so_far - share).abs().argmin(1, keepdim=True)
        return (order.argsort(1) <= many).gather(1, flat).view_as(cells).unsqueeze(1)

    def _grid(self, x: Tensor, random: Generator | None) -> tuple[Tensor, int]:
        """The number of the block that each pixel lies in, (N, *space), and how many numbers there are."""
        space = x.shape[2:]
        cells, count = torch.zeros(len(x), *space, dtype=torch.long, device=x.device), 1
        for axis, (side, block) in enumerate(zip(space, self._sides(space), strict=True)):
            shift = torch.randint(block, (len(x), 1), generator=random, device=x.device)
            along = (torch.arange(side, device=x.device) + shift) // block
            many = (side + block - 2) // block + 1
            cells = cells * many + along.view(len(x), *[side if each == axis else 1 for each in range(len(space))])
            count *= many
        return cells, count


@dataclass(frozen=True, kw_only=True)
class Border(Degradation):
    """All but the centre of an image is covered; for some images the centre itself.

    Args:
        keep: share of each side that the centre has.
        turned: share of images, drawn one by one, whose centre is covered instead and whose border is kept. A
            detector judges the centre by that; 0 for outpainting alone.
    """

    name: ClassVar[str] = "border"
    summary: ClassVar[str] = "all but the centre covered, or the centre"
    cite: ClassVar[str] = "Sabini & Rusak 2018"
    tells: ClassVar[bool] = True
    bounds: ClassVar[dict[str, tuple[float, float]]] = {"keep": (0.01, 0.99), "turned": (0, 1)}
    keep: float = 0.5
    turned: float = 0.5

    def refuse(self, shape: tuple[int, ...]) -> None:
        """Sides of which nothing would be kept, or everything."""
        for side in shape[1:]:
            if side > 1 and round(self.keep * side) in (0, side):
                raise AnomalyError(
                    f"keep {self.keep:g} of {self.name} leaves {round(self.keep * side)} of a side of {side}; "
                    "give another share or larger images"
                )
        if max(shape[1:]) < 2:
            raise AnomalyError(f"{self.name} needs images of more than one pixel")

    def measured(self, x: Tensor, random: Generator | None = None) -> Tensor:
        """The images, parts of them covered."""
        return self.degrade(x, random).image

    def degrade(self, x: Tensor, random: Generator | None = None) -> Degraded:
        """The images, parts of them covered, and which pixels are not."""
        turned = torch.rand(len(x), generator=random, device=x.device) < self.turned
        return covered(x, self._centre(x) ^ turned.view(-1, *[1] * (x.ndim - 1)))

    def views(self, x: Tensor) -> Iterator[Degraded]:
        """The centre alone, by which the border is judged, and the border alone, by which the centre is."""
        centre = self._centre(x).expand(len(x), -1, *x.shape[2:])
        yield covered(x, centre)
        yield covered(x, ~centre)

    def _centre(self, x: Tensor) -> Tensor:
        """Which pixels lie in the centre, (1, 1, *space) bool."""
        self.refuse(tuple(x.shape[1:]))
        centre = torch.zeros_like(x[:1, :1], dtype=torch.bool)
        part = centre
        for axis, side in enumerate(x.shape[2:], start=2):
            size = max(1, round(self.keep * side))
            part = part.narrow(axis, (side - size) // 2, size)
        part.fill_(True)
        return centre


def covered(x: Tensor, known: Tensor) -> Degraded:
    """Images whose pixels are known here and covered elsewhere; known is (N, 1, *space) bool."""
    return Degraded(x.masked_fill(~known, COVER), known)
