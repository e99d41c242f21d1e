"""Windows of whole images at their own resolution, poor beside good: batch number k follows from the seed and k."""

import logging
from collections.abc import Sequence
from math import prod

import numpy as np
import torch
from torch import Tensor

from anomaly.cohorts.results import some
from anomaly.degradations.base import Degradation
from anomaly.errors import AnomalyError
from anomaly.restorers.degrading import chance
from anomaly.restorers.keeping import KeptImages
from anomaly.training.batches import Batches, evenly

logger = logging.getLogger(__name__)
WINDOWS = {2: 64, 3: 32}
WHOLE = {2: 128, 3: 48}
"""Sides of windows where nobody says: of what is degraded window by window, and of what must be degraded whole."""


class Windows:
    """An endless, shuffled sequence of batches of windows; each picture (or volume) is seen equally often.

    Args:
        images: kept on disk.
        part: of the split.
        degradation: done to the good images; None where pairs were given.
        size: windows in a batch, over all processes.
        window: pixels a side.
        seed: of the order, of where windows lie, and of the degradation.
        share: (which, of how many) processes.
        flips: whether windows are mirrored by chance, along each axis.
    """

    def __init__(
        self,
        images: KeptImages,
        part: str,
        degradation: Degradation | None,
        *,
        size: int,
        window: Sequence[int],
        seed: int = 0,
        share: tuple[int, int] = (0, 1),
        flips: bool = True,
    ) -> None:
        self.images, self.degradation, self.window = images, degradation, tuple(window)
        self.seed, self.share, self.flips = seed, share, flips
        self.items = images.part(part)
        self.steps = (1,) * len(window) if degradation is None else degradation.steps(len(window))
        self._order = Batches(torch.arange(len(self.items)), size=size, seed=seed, share=share)

    def __getitem__(self, k: int) -> tuple[Tensor, ...]:
        """Poor and good windows (size, C, *window), and which pixels are known where that is told."""
        rng = np.random.default_rng([self.seed, k, self.share[0]])
        chosen = [self.items[int(place)] for place in self._order[k].long()]
        return self.cut(chosen, rng, f"{self.seed} {k} {self.share[0]}")

    def shown(self, most: int) -> tuple[Tensor, ...]:
        """Windows of some pictures, evenly spread over all, always the same."""
        chosen = [self.items[place] for place in evenly(len(self.items), most)]
        return self.cut(chosen, np.random.default_rng(0), "shown")

    def cut(self, chosen: Sequence[tuple[int, int]], rng: np.random.Generator, told: str) -> tuple[Tensor, ...]:
        """Windows of these pictures, (row, slice) each."""
        if self.degradation is None:
            return self._given(chosen, rng)
        if self.degradation.whole:
            return self._of_wholes(chosen, rng, told)
        good = torch.from_numpy(np.stack([self._window(self.images.of(row)[0, s], rng) for row, s in chosen]))
        poor = self.degradation.degrade(good, chance(told))
        return self._scaled(chosen, poor.image, good, poor.known)

    def _given(self, chosen: Sequence[tuple[int, int]], rng: np.random.Generator) -> tuple[Tensor, ...]:
        """Windows of good images beside those of their poor ones."""
        both = [self.images.of(row)[:, s] for row, s in chosen]
        channels = both[0].shape[1]
        cut = [self._window(each.reshape(2 * channels, *each.shape[2:]), rng) for each in both]
        good, poor = torch.from_numpy(np.stack(cut)).split(channels, dim=1)
        return poor.contiguous(), good.contiguous()

    def _of_wholes(self, chosen: Sequence[tuple[int, int]], rng: np.random.Generator, told: str) -> tuple[Tensor, ...]:
        """Windows of images that were degraded whole, each by itself."""
        assert self.degradation is not None
        parts: list[np.ndarray] = []
        known: list[np.ndarray] = []
        for place, (row, s) in enumerate(chosen):
            x = torch.from_numpy(self._flipped(self.images.of(row)[0, s], rng).copy())
            left = self.degradation.degrade(x[None], chance(told, place))
            both = [left.image[0], x, *([] if left.known is None else [left.known[0].to(x)])]
            cut = self._window(torch.cat(both).numpy(), rng, flips=False)
            parts.append(cut[: 2 * len(x)])
            known.append(cut[2 * len(x) :])
        poor, good = torch.from_numpy(np.stack(parts)).chunk(2, dim=1)
        there = torch.from_numpy(np.stack(known)) > 0.5 if known[0].size else None
        return self._scaled(chosen, poor, good, there)

    def _scaled(
        self, chosen: Sequence[tuple[int, int]], poor: Tensor, good: Tensor, known: Tensor | None
    ) -> tuple[Tensor, ...]:
        """As a network is to see them."""
        scales = torch.from_numpy(self.images.scales[[row for row, _ in chosen]]).float()
        low, high = scales.reshape(*scales.shape, *[1] * (poor.ndim - 2)).unbind(1)
        fine = [(each - low) * (2 / (high - low)) - 1 for each in (poor, good)]
        return (*fine, *([] if known is None else [known.expand(len(poor), *known.shape[1:])]))

    def _window(self, image: np.ndarray, rng: np.random.Generator, *, flips: bool = True) -> np.ndarray:
        """A window of an image (C, *space), beginning on a whole step, perhaps mirrored."""
        sides = zip(image.shape[1:], self.window, self.steps, strict=True)
        starts = [step * int(rng.integers(0, (side - length) // step + 1)) for side, length, step in sides]
        cut = image[(slice(None), *(slice(a, a + length) for a, length in zip(starts, self.window, strict=True)))]
        return self._flipped(cut, rng) if flips else np.array(cut)

    def _flipped(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        turned = rng.random(image.ndim - 1) < 0.5 if self.flips else np.zeros(image.ndim - 1, dtype=bool)
        return np.ascontiguousarray(np.flip(np.array(image), tuple(1 + int(axis) for axis in np.flatnonzero(turned))))


def window_of(images: KeptImages, degradation: Degradation | None, asked: int) -> tuple[int, ...]:
    """Pixels of a window along each axis: as asked, or what suits the degradation and fits into all images.

    Raises:
        AnomalyError: an image is smaller than was asked, or the degradation cannot take windows of that size.
    """
    refuse_small(images.spaces, list(images.table["path"]), asked)
    window = window_in(tuple(map(int, images.spaces.min(axis=0))), degradation, asked)
    if degradation is not None and not degradation.whole:
        degradation.refuse((images.channels, *window))
    return window


def refuse_small(spaces: np.ndarray, paths: Sequence[str], asked: int) -> None:
    """Say plainly when an image (a row of `spaces` each) holds no window as large as asked.

    Along an axis of which most images have fewer pixels than that, slices of a volume mostly, windows have what most
    images have.

    Raises:
        AnomalyError: so, with its name.
    """
    usual = np.median(spaces, axis=0)
    small = (spaces < (np.minimum(usual, asked) if asked <= usual.max() else asked)).any(axis=1)
    if asked and small.any():
        row = int(np.flatnonzero(small)[0])
        space = " x ".join(map(str, spaces[row]))
        raise AnomalyError(
            f"window={asked} is larger than {paths[row]}, which has {space} pixels; give a smaller --set window, "
            "0 to choose, or leave that image out"
        )


def warn_of_small(images: KeptImages, degradation: Degradation | None, asked: int, window: Sequence[int]) -> None:
    """Say so where few small images make the windows of all smaller than most images would allow."""
    if asked:
        return
    most = window_in(tuple(map(int, np.median(images.spaces, axis=0))), degradation, asked)
    small = np.flatnonzero((images.spaces < most).any(axis=1))
    if len(small):
        paths = images.table["path"].iloc[small]
        logger.warning(
            "windows have %s pixels, where most images allow %s, since %d of %d images are smaller (%s); leave these "
            "out, unless it is meant", *(" x ".join(map(str, each)) for each in (window, most)), len(small),
            len(images.table), some(paths),
        )  # fmt: skip


def window_in(space: tuple[int, ...], degradation: Degradation | None, asked: int) -> tuple[int, ...]:
    """The same for images of at least so many pixels along each axis; shorter axes are taken whole.

    Raises:
        AnomalyError: no window fits, or along no axis the one that was asked.
    """
    dims = len(space)
    if asked > max(space):
        raise AnomalyError(
            f"window={asked} is larger than images of {' x '.join(map(str, space))} pixels; give a smaller --set "
            "window, 0 to choose, or leave such images out"
        )
    steps = (1,) * dims if degradation is None else degradation.steps(dims)
    chosen = asked or (WHOLE if degradation is not None and degradation.whole else WINDOWS)[dims]
    window = tuple(min(chosen, side) // step * step for side, step in zip(space, steps, strict=True))
    if prod(window) == 0 or max(window) < SMALLEST:
        raise AnomalyError(f"images of {' x '.join(map(str, space))} pixels hold no window to learn from")
    return window


SMALLEST = 8
