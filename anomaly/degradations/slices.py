"""Fewer slices of a volume, thin ones with gaps between them or thick ones."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from typing import ClassVar

import torch
from torch import Generator, Tensor

from anomaly.degradations.base import Degradation, Degraded
from anomaly.degradations.sampling import refuse_sides
from anomaly.errors import AnomalyError


@dataclass(frozen=True, kw_only=True)
class Slices(Degradation):
    """Every `factor`-th slice of a volume, beginning with the first, or the means of as many slices.

    Without chance: all volumes lose the same slices.

    Args:
        factor: slices of the volume for one that is kept.
        axis: along which slices lie, once volumes are turned to their `orientation`: with RAS, the usual one, 0 is
            left-right, 1 posterior-anterior, 2 inferior-superior, whichever axis of the file that is.
        thick: a kept slice is the mean of `factor` neighbours, as a thick one measures it, and not one of them.
    """

    name: ClassVar[str] = "slices"
    summary: ClassVar[str] = "fewer slices of a volume, thin with gaps between them, or thick"
    cite: ClassVar[str] = "Greenspan 2009"
    tells: ClassVar[bool] = True
    bounds: ClassVar[dict[str, tuple[float, float]]] = {"factor": (2, inf), "axis": (0, 2)}
    factor: int = 2
    axis: int = 2
    thick: bool = False

    def refuse(self, shape: tuple[int, ...]) -> None:
        """Pictures, and a number of slices that the factor does not divide, or of which it leaves one."""
        space = shape[1:]
        if len(space) != 3:
            raise AnomalyError(f"{self.name} takes slices from volumes, and these are pictures; give --dims 3")
        refuse_sides(space, self.steps(3), self.name)
        if space[self.axis] < 2 * self.factor:
            raise AnomalyError(
                f"factor {self.factor} of {self.name} leaves one of {space[self.axis]} slices; give a smaller factor"
            )

    def steps(self, dims: int) -> tuple[int, ...]:
        """The factor along the axis of slices."""
        return tuple(self.factor if axis == self.axis else 1 for axis in range(dims))

    def starts(self, dims: int) -> tuple[float, ...]:
        """Thin slices begin with the first one, thick ones in the middle of the first `factor`."""
        return super().starts(dims) if self.thick else (0.0,) * dims

    def measured(self, x: Tensor, random: Generator | None = None) -> Tensor:
        """The slices that are kept."""
        self.refuse(tuple(x.shape[1:]))
        parts = x.unflatten(self.axis + 2, (-1, self.factor))
        return parts.mean(self.axis + 3) if self.thick else parts.select(self.axis + 3, 0)

    def lifted(self, y: Tensor, space: tuple[int, ...]) -> Tensor:
        """Linear between the slices that were kept; beyond the outermost, as these are."""
        count, first = y.shape[self.axis + 2], self.starts(3)[self.axis]
        centres = first + self.factor * torch.arange(count, device=y.device)
        return between(y, centres, space[self.axis], self.axis + 2)

    def placed(self, y: Tensor, space: tuple[int, ...]) -> Degraded:
        """Thin slices are known; of a thick one, no slice of the image is."""
        image = self.lifted(y, space)
        return Degraded(image) if self.thick else Degraded(image, self._each(image, 0))

    def views(self, x: Tensor) -> Iterator[Degraded]:
        """As many views as the factor, each without another of that many slices, drawn from those on its two sides.

        With a factor of more than 2 this is easier than what was learned, where all but one are missing. Of thick
        slices there is one view, in which no slice is known.
        """
        if self.thick:
            yield self.degrade(x)
            return
        self.refuse(tuple(x.shape[1:]))
        axis = self.axis + 2
        slices = torch.arange(x.shape[axis], device=x.device)
        for first in range(self.factor):
            kept = slices[slices % self.factor != first]
            image = between(x.index_select(axis, kept), kept, len(slices), axis)
            yield Degraded(image, ~self._each(x, first))

    def _each(self, x: Tensor, first: int) -> Tensor:
        """Whether a pixel lies in each `factor`-th slice from `first` on, (N, 1, *space) bool."""
        known = torch.zeros_like(x[:, :1], dtype=torch.bool)
        parts = known.unflatten(self.axis + 2, (-1, self.factor))
        parts.select(self.axis + 3, first).fill_(True)
        return known


def between(y: Tensor, centres: Tensor, side: int, axis: int) -> Tensor:
    """Slices whose centres lie at rising places of an axis -> all `side` of it: linear, and exact where one lies.

    Beyond the outermost, as these are.
    """
    places = torch.arange(side, device=y.device, dtype=torch.float32).clamp(float(centres[0]), float(centres[-1]))
    at = centres.to(places)
    above = torch.searchsorted(at, places).clamp(min=1)  # the first that lies at a place or beyond it
    share = ((places - at[above - 1]) / (at[above] - at[above - 1])).to(y.dtype)
    lower, upper = y.index_select(axis, above - 1), y.index_select(axis, above)
    return torch.lerp(lower, upper, share.view(-1, *[1] * (y.ndim - axis - 1)))
