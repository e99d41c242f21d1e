"""Fewer pixels: areas averaged, slices left out, parts covered."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import ClassVar

from torch import Generator, Tensor
from torch.nn import functional as F

from anomaly.degradations.base import Degradation
from anomaly.degradations.noise import LINEAR
from anomaly.errors import AnomalyError


@dataclass(frozen=True, kw_only=True)
class Downsample(Degradation):
    """Each pixel the mean of an area, as a detector with larger elements measures it.

    Args:
        factor: pixels of the image along each side of that area.
    """

    name: ClassVar[str] = "downsample"
    summary: ClassVar[str] = "fewer and larger pixels, each the mean of an area"
    cite: ClassVar[str] = "Dong et al. 2016 (SRCNN)"
    bounds: ClassVar[dict[str, tuple[float, float]]] = {"factor": (2, inf)}
    factor: int = 2

    def refuse(self, shape: tuple[int, ...]) -> None:
        """Sides that the factor does not divide."""
        refuse_sides(shape[1:], self.factor, f"factor {self.factor} of {self.name}")

    def steps(self, dims: int) -> tuple[int, ...]:
        """The factor along every axis."""
        return (self.factor,) * dims

    def measured(self, x: Tensor, random: Generator | None = None) -> Tensor:
        """The means of areas, (N, C, *space / factor)."""
        mean = F.avg_pool2d if x.ndim == 4 else F.avg_pool3d
        return mean(x, self.factor)

    def lifted(self, y: Tensor, space: tuple[int, ...]) -> Tensor:
        """Linear between the centres of the areas."""
        return F.interpolate(y, size=space, mode=LINEAR[y.ndim - 2])


def refuse_sides(space: Sequence[int], step: int, what: str) -> None:
    """Say plainly when a step does not divide all sides of images.

    Raises:
        AnomalyError: it does not.
    """
    if odd := [side for side in space if side % step]:
        sides = " x ".join(map(str, space))
        raise AnomalyError(
            f"{what} does not divide images of {sides} (side {odd[0]}); give a --size that is a multiple of {step}"
        )
