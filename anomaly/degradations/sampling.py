"""Fewer pixels: areas averaged."""

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
        axes: along which pixels become larger, counted from 0, such as (0, 1) where slices are thick already; () for
            all of them.
    """

    name: ClassVar[str] = "downsample"
    summary: ClassVar[str] = "fewer and larger pixels, each the mean of an area"
    cite: ClassVar[str] = "Dong et al. 2016 (SRCNN)"
    bounds: ClassVar[dict[str, tuple[float, float]]] = {"factor": (2, inf)}
    factor: int = 2
    axes: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.axes, list):  # as a stored run has it
            object.__setattr__(self, "axes", tuple(self.axes))
        each = self.axes
        if not isinstance(each, tuple) or len({*each}) < len(each) or any(type(one) is not int for one in each):
            raise AnomalyError(f"axes of {self.name} is {each!r}; expected numbers of axes, such as (0, 1), or nothing")

    def refuse(self, shape: tuple[int, ...]) -> None:
        """Sides that the factor does not divide, and axes that there are not."""
        space = shape[1:]
        if absent := [axis for axis in self.axes if not 0 <= axis < len(space)]:
            raise AnomalyError(
                f"axes of {self.name} names {absent[0]}, but images of {len(space)} axes have 0 to {len(space) - 1}"
            )
        refuse_sides(space, self.steps(len(space)), self.name)

    def steps(self, dims: int) -> tuple[int, ...]:
        """The factor along the axes that it is for."""
        return tuple(self.factor if not self.axes or axis in self.axes else 1 for axis in range(dims))

    def measured(self, x: Tensor, random: Generator | None = None) -> Tensor:
        """The means of areas, (N, C, *space / factor)."""
        self.refuse(tuple(x.shape[1:]))
        mean = F.avg_pool2d if x.ndim == 4 else F.avg_pool3d
        return mean(x, self.steps(x.ndim - 2))

    def lifted(self, y: Tensor, space: tuple[int, ...]) -> Tensor:
        """Linear between the centres of the areas; beyond the outermost, as these are."""
        return F.interpolate(y, size=space, mode=LINEAR[y.ndim - 2])


def refuse_sides(space: Sequence[int], steps: Sequence[int], name: str) -> None:
    """Say plainly when a step does not divide the side of images that it is for.

    Raises:
        AnomalyError: it does not.
    """
    for side, step in zip(space, steps, strict=True):
        if side % step:
            raise AnomalyError(
                f"factor {step} of {name} does not divide images of {' x '.join(map(str, space))} (side {side}); "
                f"give a --size that is a multiple of {step}, or another factor"
            )
