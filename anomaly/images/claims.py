"""What a header claims, held against what the file can hold, before memory is taken for it."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from math import prod
from pathlib import Path

from anomaly.errors import UnreadableImage

DEFLATED = 1032
"""Bytes that one byte of a deflated stream (gzip, ZIP, PNG) stands for at most."""


class Within(io.BufferedReader):
    """A file of which never more is asked than it has: a damaged length costs no memory."""

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path))
        self.size = os.fstat(self.fileno()).st_size

    def read(self, size: int | None = -1, /) -> bytes:
        """As any file; a `size` beyond the end is cut."""
        if size is not None and size > io.DEFAULT_BUFFER_SIZE:
            size = max(min(size, self.size - self.tell()), 0)
        return super().read(size)


def refuse_more(path: Path, shape: Sequence[int], bits: int, held: int, ratio: float = 1) -> None:
    """Refuse a header that claims more than the file can hold.

    Args:
        path: told.
        shape: how many values it claims, along each axis.
        bits: of each of them.
        held: bytes that hold them.
        ratio: to how many each of these bytes may grow.

    Raises:
        UnreadableImage: with both numbers.
    """
    claimed = prod(int(length) for length in shape) * bits // 8
    if claimed > held * ratio:
        raise UnreadableImage(
            f"{path}: its header tells {' x '.join(map(str, shape))} values, {claimed:,} bytes, and the file holds "
            f"{held:,}{' compressed' if ratio > 1 else ''}; it is damaged or cut short: copy it again"
        )
