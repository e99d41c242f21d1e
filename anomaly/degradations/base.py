"""What every degradation is: a small exact operator that takes from images what a poorer scan would not have shown.

Images are (N, C, *space) in [-1, 1] with two or three spatial axes, -1 black.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import inf
from typing import ClassVar, NamedTuple

from torch import Generator, Tensor

from anomaly.errors import AnomalyError


class Degraded(NamedTuple):
    """What is left of images, on their own grid.

    Args:
        image: (N, C, *space); what is not known is filled in, so that a network can look at it.
        known: which pixels are those of the image, (N, 1, *space) bool; None where that is not a matter of pixels.
    """

    image: Tensor
    known: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class Degradation(ABC):
    """Takes something from images; fields are its settings.

    A degradation measures images on a grid of its own, perhaps a coarser one (`measured`), and says how what was
    measured lies on the grid of the images (`lifted`): that is what a network restores.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    cite: ClassVar[str]
    whole: ClassVar[bool] = False  # whether a part of an image cannot be degraded without the rest
    tells: ClassVar[bool] = False  # whether it says which pixels are known; a network then sees that as a channel
    bounds: ClassVar[Mapping[str, tuple[float, float]]] = {}  # of its settings, both ends allowed

    def __post_init__(self) -> None:
        for setting, (low, high) in self.bounds.items():
            value = getattr(self, setting)
            kinds = int if isinstance(getattr(type(self), setting), int) else int | float
            number = isinstance(value, kinds) and not isinstance(value, bool)
            if not number or not low <= value <= high or value == inf:
                what = "a whole number, " if kinds is int else "a finite number, " if value == inf else ""
                expected = f"{low:g} or more" if high == inf else f"{low:g} to {high:g}"
                raise AnomalyError(f"{setting} of {self.name} is {value!r}; expected {what}{expected}")

    def refuse(self, shape: tuple[int, ...]) -> None:
        """Say plainly when images of shape (C, *space) cannot be degraded like this.

        Raises:
            AnomalyError: they cannot.
        """

    def refuse_scale(self, intensity: str, window: tuple[float, float] | None) -> None:
        """Say plainly when -1 and 1 do not stand for what the settings take them for.

        Args:
            intensity, window: of the `Preprocessing` by which images were scaled.

        Raises:
            AnomalyError: they do not.
        """

    @property
    def pixel(self) -> float | None:
        """The mm that settings take the side of a pixel for; None where millimetres change nothing."""
        return None

    def steps(self, dims: int) -> tuple[int, ...]:
        """How many pixels of the image one that is measured spans along each of the axes."""
        return (1,) * dims

    def starts(self, dims: int) -> tuple[float, ...]:
        """Where the centre of the first pixel that is measured lies on the grid of the image, in its pixels."""
        return tuple((step - 1) / 2 for step in self.steps(dims))

    @abstractmethod
    def measured(self, x: Tensor, random: Generator | None = None) -> Tensor:
        """What a poorer scan would have given of images, on its own grid.

        Args:
            x: (N, C, *space).
            random: where chance comes from, on the device of x; None takes torch's own.
        """

    def lifted(self, y: Tensor, space: tuple[int, ...]) -> Tensor:
        """What was measured, brought to the grid of the images without any learning."""
        return y

    def placed(self, y: Tensor, space: tuple[int, ...]) -> Degraded:
        """What was measured, on the grid of the images, and which of their pixels that gives as they are."""
        return Degraded(self.lifted(y, space))

    def degrade(self, x: Tensor, random: Generator | None = None) -> Degraded:
        """What is left of images, on their own grid; arguments as of `measured`."""
        return self.placed(self.measured(x, random), tuple(x.shape[2:]))

    def views(self, x: Tensor) -> Iterator[Degraded]:
        """What a restorer is shown to judge images by, without chance: together the views leave no pixel unjudged.

        Where `known` is given, each pixel is unknown in exactly one of them, and that one judges it.
        """
        yield self.degrade(x)
