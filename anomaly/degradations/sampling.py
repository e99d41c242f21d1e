"""Fewer pixels: areas averaged."""

from collections.abc import Sequence
from dataclasses import dataclass
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
        factor: pixels of the image along each side of that area; one number for all axes, or one for each of them,
            such as (2, 2, 1) where slices are thick already.
    """

    name: ClassVar[str] = "downsample"
    summary: ClassVar[str] = "fewer and larger pixels, each the mean of an area"
    cite: ClassVar[str] = "Dong et al. 2016 (SRCNN)"
    factor: int | tuple[int, ...] = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.factor, Sequence) and not isinstance(self.factor, str):
            object.__setattr__(self, "factor", tuple(self.factor))
        each = self.factor if isinstance(self.factor, tuple) else (self.factor,)
        if any(type(one) is not int or one < 1 for one in each) or max(each, default=1) < 2:
            raise AnomalyError(
                f"factor of {self.name} is {self.factor!r}; expected a whole number, 2 or more, or one for each axis"
            )

    def refuse(self, shape: tuple[int, ...]) -> None:
        """Sides that the factor does not divide, and as many factors as there are no axes."""
        space = shape[1:]
        if isinstance(self.factor, tuple) and len(self.factor) != len(space):
            raise AnomalyError(
                f"factor of {self.name} is {self.factor!r}, {len(self.factor)} numbers, but the images have "
                f"{len(space)} axes; give one number, or {len(space)}"
            )
        refuse_sides(space, self.steps(len(space)), self.name)

    def steps(self, dims: int) -> tuple[int, ...]:
        """The factor along each of the axes."""
        return self.factor if isinstance(self.factor, tuple) else (self.factor,) * dims

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
