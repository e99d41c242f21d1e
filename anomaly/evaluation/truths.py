"""Reads what of an image is diseased, as masks tell it, on the grid of its image, and which of their values count."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from anomaly.cohorts.results import some
from anomaly.errors import EvaluationError
from anomaly.images import Image, read
from anomaly.images.image import located, same_grid

MOST = 32
"""Values other than 0 that a mask may hold unless it is said which of them count: what holds more is an image."""


@dataclass(frozen=True)
class Marking:
    """Which values of a mask count as diseased: all but 0 unless it is said.

    Args:
        flags: of masks whose values are sums of flags, those that count.
        labels: of masks whose values are labels, those that count.

    Raises:
        EvaluationError: both are given.
    """

    flags: int | None = None
    labels: Sequence[int] = ()

    def __post_init__(self) -> None:
        if self.flags and self.labels:
            raise EvaluationError("flags and labels are both given; values of a mask are either, so give one of them")

    @property
    def asked(self) -> bool:
        """Whether it is said which values count."""
        return bool(self.flags or self.labels)

    def of(self, values: np.ndarray, what: str) -> tuple[np.ndarray, list[int]]:
        """What is marked, bool like the values, and the values other than 0 that the mask holds.

        Raises:
            EvaluationError: values that are no whole numbers, or so many that this is no mask.
        """
        held = np.unique(values[values != 0])
        if held.size and held[0] < 0 and not self.asked:
            raise EvaluationError(
                f"{what} holds {held[0]:g}; expected 0 where there is no disease and above 0 where it is"
            )
        if (held != np.rint(held)).any():
            odd = held[held != np.rint(held)]
            raise EvaluationError(f"{what} holds {odd[0]:g}, and masks hold whole numbers; cut it at one half, say")
        if held.size > MOST and not self.asked:
            raise EvaluationError(
                f"{what} holds {held.size} values other than 0, so it is an image, or has labels of which some count; "
                "give a mask, or say which labels do"
            )
        if self.flags:
            marked = values.astype(np.int64) & self.flags != 0
        else:
            marked = np.isin(values, self.labels) if self.labels else values != 0
        return marked, [int(each) for each in held]


def read_truth(path: Path, like: Image, what: str) -> np.ndarray:
    """The values (*space) of a mask of the disease on the grid of an image; of colour pictures the brightest channel.

    Raises:
        EvaluationError: it lies on another grid.
        UnreadableImage: it cannot be read.
    """
    found = read(path)
    same(found, like, f"{found.path}: {what}")
    return found.pixels.max(0)


def same(found: Image, image: Image, what: str) -> None:
    """Refuse what lies on another grid than its image; files that tell no geometry are taken at their shape.

    Raises:
        EvaluationError: it does.
    """
    if found.space != image.space:
        raise EvaluationError(f"{what} has the shape {found.space}, expected {image.space}, that of the image")
    if located(found.affine) and located(image.affine) and not same_grid(found, image):
        raise EvaluationError(
            f"{what} lies elsewhere than the image, or is turned, by its affine; resample it onto the image's grid"
        )


def told_values(held: dict[str, list[int]], marking: Marking) -> list[str]:
    """A note where masks hold several values and nobody said which count; `held` by the id of the image."""
    several = {name: values for name, values in held.items() if len(values) > 1}
    if marking.asked or not several:
        return []
    values = sorted({value for each in several.values() for value in each})
    return [
        f"{len(several)} truths hold several values other than 0 ({some(values, 8)}), as that of "
        f"{next(iter(several))}; all of them count. If only some should, name them: --labels 1,2."
    ]
