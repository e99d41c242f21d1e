"""How many images at once, how many steps, how wide: what follows from the images where nobody set it."""

from collections.abc import Mapping
from typing import Any, ClassVar

FROM_IMAGES = 0
"""A setting that nobody set: it is filled in once the images are known."""
FEWEST = 2


class Amounts:
    """A dataclass some of whose settings follow from the images unless somebody sets them.

    `amounts` says what a setting of 0 is filled in with: for pictures (and slices), and for volumes.
    """

    amounts: ClassVar[Mapping[str, tuple[int, int]]] = {}

    def fill_in(self, shape: tuple[int, ...], count: int, processes: int = 1) -> None:
        """Fill in the settings that are 0; a batch is halved until it holds no more images than there are.

        Args:
            shape: (C, *space) of one image.
            count: of the images to learn from.
            processes: that share a batch, which is a multiple of them.
        """
        for name, of_kind in self.amounts.items():
            if getattr(self, name) == FROM_IMAGES:
                amount = of_kind[len(shape) == 4]
                setattr(self, name, halved(amount, count, processes) if name == "batch" else amount)


def halved(batch: int, count: int, processes: int) -> int:
    """A batch halved until it holds at most `count` images, two at least, that so many processes share alike."""
    while batch > max(count, FEWEST):
        batch //= 2
    return max(1, batch // processes) * processes


def told(cls: Any, name: str) -> str:
    """What 0 stands for in a setting, in words; "" where it is only a number."""
    if name not in getattr(cls, "amounts", {}):
        return ""
    pictures, volumes = cls.amounts[name]
    most = " at most" if name == "batch" else ""
    return f"0 takes {pictures:,}{most}" + ("" if pictures == volumes else f", of volumes {volumes:,}")
