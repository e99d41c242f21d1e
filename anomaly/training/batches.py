"""Batches whose content depends on nothing but their number, so that a killed training finds its place again."""

from collections.abc import Iterator, Sequence
from math import prod

import numpy as np
import torch
from torch import Tensor

from anomaly.levels import OUTSIDE

CHUNK, MOST_VALUES = 64, 2**20


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


class Beside:
    """Batches of several sources side by side: controls and cases, or images and their counterparts.

    Sources of equal length, size and seed keep pairs together; others pass over their images independently.
    """

    def __init__(self, *sources: Batches) -> None:
        self.sources = sources

    def __getitem__(self, k: int) -> tuple[Tensor, ...]:
        """Batch number k of each source."""
        return tuple(source[k] for source in self.sources)


def evenly(count: int, most: int) -> np.ndarray:
    """Positions of at most so many of `count` things, evenly spread over all, the first and the last among them."""
    return np.unique(np.linspace(0, max(0, count - 1), most).round().astype(int))[:count]


def passes(shape: tuple[int, ...] | torch.Size) -> int:
    """How many images of shape (C, *space) go through a network at once: 64, of volumes fewer, so that they fit."""
    return max(1, min(CHUNK, MOST_VALUES // prod(shape)))


def chunks(
    images: np.ndarray | Tensor, device: torch.device | str = "cpu", size: int | None = None
) -> Iterator[Tensor]:
    """The images in order, a few at a time (`passes`, unless told), as tensors on a device."""
    size = size or passes(images.shape[1:])
    for start in range(0, len(images), size):
        part = images[start : start + size]
        yield (part if isinstance(part, Tensor) else torch.from_numpy(np.array(part))).to(device, torch.float32)


def mean_of(images: np.ndarray | Tensor, *, masked: bool = False) -> Tensor:
    """The mean image (1, C, *space), summed in double precision, which not every accelerator has.

    masked: pixels that are exactly -1 lie outside a mask: each pixel is the mean of the images that have it inside.
    """
    total = torch.zeros(1, *images.shape[1:], dtype=torch.float64)
    count = torch.zeros(1, 1, *images.shape[2:], dtype=torch.float64) if masked else torch.tensor(float(len(images)))
    for part in chunks(images):
        if masked:
            inside = (part > OUTSIDE).any(1, keepdim=True)
            count += inside.sum(0, keepdim=True)
            part = torch.where(inside, part, 0)
        total += part.double().sum(0, keepdim=True)
    mean = torch.where(count > 0, total / count.clamp_min(1), OUTSIDE) if masked else total / count
    return mean.float()
