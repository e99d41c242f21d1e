"""Batches whose content depends on nothing but their number, so that a killed training finds its place again."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


class Batches:
    """An endless, shuffled sequence of batches; `batches[k]` is the same images whenever it is asked for.

    The images are passed over again and again, each time in a new order drawn from the seed and the number of
    the pass; a batch may span two passes, so every image is seen equally often. Several processes take equal
    shares of the same batch.

    Args:
        images: (n, C, *space) float32, an array, a memory map or a tensor; only what a batch needs is read.
        size: images in a batch, over all processes.
        seed: of the order.
        among: the positions in `images` to draw from; None takes all.
        share: (which, of how many) processes.
    """

    def __init__(
        self,
        images: np.ndarray | Tensor,
        *,
        size: int,
        seed: int = 0,
        among: Sequence[int] | np.ndarray | None = None,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        self.images, self.size, self.seed, self.share = images, size, seed, share
        self.among = np.arange(len(images)) if among is None else np.asarray(among)
        self._orders: dict[int, np.ndarray] = {}

    def __getitem__(self, k: int) -> Tensor:
        """Batch number k, (size, C, *space); with several processes this one's share of it."""
        which, processes = self.share
        positions = np.arange(k * self.size, (k + 1) * self.size)[which::processes]
        return self._read(self._images_at(positions))

    def _images_at(self, positions: np.ndarray) -> np.ndarray:
        rounds, places = np.divmod(positions, len(self.among))
        chosen = np.empty(len(positions), dtype=np.int64)
        for number in np.unique(rounds):
            here = rounds == number
            chosen[here] = self._order(int(number))[places[here]]
        return chosen

    def _order(self, number: int) -> np.ndarray:
        if number not in self._orders:
            self._orders = {k: v for k, v in self._orders.items() if k == number - 1}
            shuffled = np.random.default_rng([self.seed, number]).permutation(len(self.among))
            self._orders[number] = self.among[shuffled]
        return self._orders[number]

    def _read(self, chosen: np.ndarray) -> Tensor:
        if isinstance(self.images, Tensor):
            return self.images[torch.from_numpy(chosen)].float()
        return torch.from_numpy(self.images[chosen]).float()
