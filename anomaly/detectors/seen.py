"""What was seen of normals, for as many passes as a density needs: kept where it fits into memory, else seen again."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from anomaly.nets.within import cells_within, within
from anomaly.training.batches import chunks
from anomaly.training.learned import Images

Cells = tuple[Tensor, Tensor | None]
KEPT_BYTES = 2**28
"""Features that are kept between two passes, at most."""


class Seen:
    """The features of images, as passes over all of them in one order; more images may be added.

    A pass gives, a few images at a time, features (n, K, *cells) and which cells count, (n, 1, *cells) bool or None for
    all.

    Args:
        features: images (n, C, *space) -> (n, K, *cells).
        device: where they are computed.
        masked: images have masks, by which cells count.
        context: how many of the channels, the last ones, are none of the image.
    """

    def __init__(self, features: nn.Module, device: torch.device, *, masked: bool = False, context: int = 0) -> None:
        self.features, self.device, self.masked, self.context = features, device, masked, context
        self._parts: list[Images] = []
        self._kept: list[list[Cells] | None] = []  # of each part; None where it was too large
        self._left = KEPT_BYTES

    def add(self, images: Images) -> None:
        """Let passes cover these as well."""
        self._parts.append(images)
        self._kept.append(None)

    def holds(self, images: Images) -> bool:
        """Whether passes cover these already."""
        return any(images is part for part in self._parts)

    def __len__(self) -> int:
        return sum(len(part) for part in self._parts)

    def __call__(self) -> Iterator[Cells]:
        """Begin a new pass."""
        for number, (part, kept) in enumerate(zip(self._parts, self._kept, strict=True)):
            if kept is not None:
                yield from kept
            else:
                yield from self._look(number, part)

    def _look(self, number: int, part: Images) -> Iterator[Cells]:
        found: list[Cells] = []
        size = 0
        for x in chunks(part, self.device):
            with torch.no_grad():
                features = self.features(x)
            counted = (
                cells_within(within(x[:, : x.shape[1] - self.context]), features.shape[2:]) if self.masked else None
            )
            size += features.nbytes
            found = [*found, (features, counted)] if size <= self._left else []
            yield features, counted
        if size <= self._left:
            self._left -= size
            self._kept[number] = found
