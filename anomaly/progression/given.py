"""Maps of the disease, or masks of lesions, that are given with both visits: on their grid, of one scale."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from anomaly.errors import UnreadableImage
from anomaly.images import Image

BEYOND = 1e-3
"""How far a map may leave [0, 1] by rounding."""
LABELS = 10
"""So many whole numbers at most are labels of a mask; more are the levels of a map."""
APART = 20
"""What a map does not exceed whose values may be the same as those of one that ends at 1."""


@dataclass(frozen=True)
class Given:
    """A map or a mask of one visit.

    Args:
        path: of its file.
        values: (*space); those of a picture by its depth.
        mask: whether it holds but a few whole numbers, which are labels.
    """

    path: Path
    values: np.ndarray
    mask: bool

    @classmethod
    def of(cls, found: Image, values: np.ndarray) -> "Given":
        """From an image and its values (*space)."""
        whole = found.kind == "picture" and found.limits is not None and not np.isin(values, (0, 1)).all()
        values = values / found.limits[1] if whole and found.limits else values
        levels = np.unique(values)
        return cls(found.path, values, len(levels) <= LABELS and bool((levels == np.rint(levels)).all()))

    @property
    def ends(self) -> tuple[float, float]:
        """The least and the largest value."""
        return float(self.values.min()), float(self.values.max())

    @property
    def told(self) -> str:
        """From where to where they go, in words."""
        return "from {:g} to {:g}".format(*self.ends)


def both(first: Given, second: Given, at: float | None) -> list[np.ndarray]:
    """The values of both, if they go together.

    Args:
        first, second: of the earlier and the later visit.
        at: where they are to be cut, if somebody says so: they may then have any values, of one scale.

    Raises:
        UnreadableImage: one holds neither 0 to 1 nor labels, or one 0 to 1 and the other much more.
    """
    for each in (first, second):
        low, high = each.ends
        if at is None and not each.mask and (low < -BEYOND or high > 1 + BEYOND):
            raise UnreadableImage(
                f"{each.path}: its values go {each.told}, a map's from 0 to 1; say where it is cut, as --at "
                f"{(low + high) / 2:g}"
            )
    for each, other in ((first, second), (second, first)):
        within = 0 < each.ends[1] <= 1 + BEYOND and each.ends[0] >= -BEYOND
        if within and other.ends[1] > APART and not (each.mask and other.mask and at is None):
            raise UnreadableImage(
                f"{other.path}: its values go {other.told}, those of the other visit ({each.path.name}) {each.told}; "
                "give both in one scale"
            )
    return [first.values, second.values]
