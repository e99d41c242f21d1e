"""Threads that share one computer: how much memory all pairs at work may take, and one core to each of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition

from anomaly.images import Image
from anomaly.training.computer import memory

BYTES = 350
"""Memory that a pair takes at its most, for each voxel of the larger image: measured with demons in 3D, and a tenth."""
SHARE = 0.7
"""Of the memory that is free, what pairs may take together."""


class Room:
    """Memory for pairs at work: one that does not fit beside the others waits, and a very large one works alone.

    Args:
        total: bytes; None takes a share of what is free, or no bound where nothing says how much that is.
    """

    def __init__(self, total: float | None = None) -> None:
        free = memory()[1] if total is None else total
        self.total = float("inf") if free is None else free if total is not None else SHARE * free
        self.taken = 0.0
        self._changed = Condition()

    @contextmanager
    def of(self, *images: Image) -> Iterator[None]:
        """Wait until there is memory to register these, and hold it."""
        need = float(BYTES * max(image.pixels[0].size for image in images))
        with self._changed:
            self._changed.wait_for(lambda: self.taken == 0 or self.taken + need <= self.total)
            self.taken += need
        try:
            yield
        finally:
            with self._changed:
                self.taken -= need
                self._changed.notify_all()


@contextmanager
def one_thread_a_call() -> Iterator[None]:
    """Let torch compute in one thread, since several pairs are at work, and sums in one order give the same bytes."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
