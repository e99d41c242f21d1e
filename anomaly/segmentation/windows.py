"""Windows of images with and without label maps, at their own resolution: batch k follows from the seed and k."""

import logging
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from anomaly.cohorts.results import some
from anomaly.errors import AnomalyError
from anomaly.images import read
from anomaly.images.masking import masked
from anomaly.images.preprocessing import Preprocessing
from anomaly.restorers.windows import refuse_small, window_in
from anomaly.segmentation.keeping import KeptAnnotations, Picture
from anomaly.segmenters.base import HeldOut
from anomaly.training.batches import Batches, evenly

logger = logging.getLogger(__name__)
Cut = tuple[Any, ...]
"""Slices that cut a window."""
LOOKED_AT = 8
WATCHED = 24
"""Whole held-out pictures that a training is watched by, a third of them where nothing is marked."""


class Windows:
    """An endless, shuffled sequence of batches of windows; each picture (or volume) is seen equally often.

    Args:
        images: kept on disk.
        part: of the split.
        size: windows in a batch, over all processes.
        window: pixels a side.
        seed: of the order, and of where windows lie.
        share: (which, of how many) processes.
    """

    def __init__(
        self,
        images: KeptAnnotations,
        part: str,
        *,
        size: int,
        window: Sequence[int],
        seed: int = 0,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        self.images, self.window, self.seed, self.share = images, tuple(window), seed, share
        self.part, self.size = part, size
        self.items = images.part(part)
        self._order = Batches(torch.arange(len(self.items)), size=size, seed=seed, share=share)

    def __getitem__(self, k: int) -> Tensor | tuple[Tensor, Tensor]:
        """Batch number k, (size, C, *window) in [-1, 1]."""
        rng = self.chance(k)
        cut = [self._image(picture, self._cut(picture, rng)) for picture in self.pictures(k)]
        return torch.from_numpy(np.stack(cut))

    def chance(self, k: int) -> np.random.Generator:
        """Where the chance of batch number k comes from."""
        return np.random.default_rng([self.seed, k, self.share[0]])

    def pictures(self, k: int) -> list[Picture]:
        """The pictures whose turn it is."""
        return [self.items[int(place)] for place in self._order[k].long()]

    def _cut(self, picture: Picture, rng: np.random.Generator) -> Cut:
        """A window anywhere in a picture."""
        space = self.images.spaces[picture[0]]
        return self._from([int(rng.integers(0, s - w + 1)) for s, w in zip(space, self.window, strict=True)])

    def _from(self, starts: Sequence[int]) -> Cut:
        return tuple(slice(a, a + w) for a, w in zip(starts, self.window, strict=True))

    def _image(self, picture: Picture, cut: Cut) -> np.ndarray:
        (row, s), every = picture, slice(None)
        part: Cut = (s, every, *cut)
        return np.ascontiguousarray(self.images.of(row)[part])


class LabelledWindows(Windows):
    """The same of images with label maps: a share of the windows lies around a marked pixel.

    For such a window a class is drawn, each as likely, then an image that has it, then one of its pixels, which comes
    to lie within the middle half of the window where the image is large enough: so small lesions and rare classes are
    seen as often as large and common ones.

    Args:
        images, part, size, window, seed, share: as of `Windows`.
        marked: share of windows that lie around a marked pixel.
    """

    def __init__(
        self,
        images: KeptAnnotations,
        part: str,
        *,
        size: int,
        window: Sequence[int],
        seed: int = 0,
        share: tuple[int, int] = (0, 1),
        marked: float = 0.5,
    ) -> None:
        super().__init__(images, part, size=size, window=window, seed=seed, share=share)
        self.marked, rows = marked, images.rows(part)
        holding = [rows[images.counts[rows, place] > 0] for place in range(1, images.counts.shape[1])]
        self.holding = {place: each for place, each in enumerate(holding, start=1) if len(each)}

    @property
    def anywhere(self) -> "LabelledWindows":
        """The same of windows that lie anywhere, as those of images without label maps do."""
        asked: dict[str, Any] = dict(size=self.size, window=self.window, seed=self.seed, share=self.share)
        return LabelledWindows(self.images, self.part, **asked, marked=0)

    def __getitem__(self, k: int) -> tuple[Tensor, Tensor]:
        """Batch number k: images (size, C, *window) in [-1, 1], and places of classes (size, *window), int64."""
        rng, images, places = self.chance(k), [], []
        for picture in self.pictures(k):
            if self.holding and rng.random() < self.marked:
                picture, cut = self._around(rng)
            else:
                cut = self._cut(picture, rng)
            row, s = picture
            images.append(self._image(picture, cut))
            part: Cut = (s, *cut)
            places.append(np.ascontiguousarray(self.images.places_of(row)[part]))
        return torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(places)).long()

    def _around(self, rng: np.random.Generator) -> tuple[Picture, Cut]:
        """A window with a marked pixel within its middle half."""
        place = list(self.holding)[int(rng.integers(len(self.holding)))]
        row = int(rng.choice(self.holding[place]))
        s, *pixel = map(int, rng.choice(self.images.marked(row, place)))
        starts = []
        for side, width, at in zip(self.images.spaces[row], self.window, pixel, strict=True):
            begin = at - width // 4 - int(rng.integers(0, max(1, width // 2)))
            starts.append(int(np.clip(begin, 0, side - width)))
        return (row, s), self._from(starts)


def window_of(images: KeptAnnotations, asked: int) -> tuple[int, ...]:
    """Pixels of a window along each axis: as asked, or what fits into all images; says so where few make it small.

    Raises:
        AnomalyError: an image is smaller than was asked, or holds no window at all.
    """
    refuse_small(images.spaces, list(images.table["path"]), asked)
    smallest = tuple(map(int, images.spaces.min(axis=0)))
    window = window_in(smallest, None, asked)
    usual = window_in(tuple(map(int, np.median(images.spaces, axis=0))), None, asked)
    small = np.flatnonzero((images.spaces < usual).any(axis=1))
    if not asked and len(small):
        logger.warning(
            "windows have %s pixels, where most images allow %s, since %d of %d images are smaller (%s); leave these "
            "out, unless it is meant", *(" x ".join(map(str, each)) for each in (window, usual)), len(small),
            len(images.table), some(images.table["path"].iloc[small]),
        )  # fmt: skip
    return window


def spacing_of(images: KeptAnnotations, part: str, preprocessing: Preprocessing) -> tuple[float, ...]:
    """Lengths of a pixel along the axes of windows, as multiples of the least: the median of some images of a part."""
    rows = images.rows(part)
    found = []
    for row in images.table.iloc[rows[evenly(len(rows), LOOKED_AT)]].to_dict("records"):
        try:
            image = masked(read(Path(row["path"])), row.get("mask"))
            prepared = preprocessing.apply(image)
        except AnomalyError:  # which was kept, and is gone since
            continue
        steps = image.affine[:3, : image.ndim] @ prepared.matrix[:-1, :-1]
        lengths = np.linalg.norm(steps, axis=0)
        found.append(lengths if prepared.sliced is None else np.delete(lengths, prepared.sliced))
    if not found:
        return ()
    middle = np.median(found, axis=0)
    return tuple((middle / middle.min()).tolist())


def watched(images: KeptAnnotations, part: str, most: int, count: int = WATCHED) -> HeldOut:
    """Some pictures of a part, evenly spread: those with a marked pixel first, a third of others beside them.

    Of those with more than `most` pixels a part around what is marked is taken. None where nothing is marked at all:
    there is no Dice then.
    """
    pictures = images.part(part)
    told = np.array([bool(images.places_of(row)[s].any()) for row, s in pictures], dtype=bool)
    if not told.any():
        return ()
    ours, others = np.flatnonzero(told), np.flatnonzero(~told)
    chosen = [*ours[evenly(len(ours), count - count // 3)], *others[evenly(len(others), count // 3)]]
    return [_whole(images, *pictures[int(each)], most) for each in chosen]


def _whole(images: KeptAnnotations, row: int, s: int, most: int) -> tuple[Tensor, Tensor]:
    """A picture (1, C, *space) with its places (1, *space), or a part of it that holds `most` pixels."""
    places = images.places_of(row)[s]
    sides = list(places.shape)
    while prod(sides) > most:
        sides[int(np.argmax(sides))] -= 1 + max(sides) // 16
    there = np.argwhere(places) if places.any() else np.array([places.shape]) // 2
    middle = (there.min(0) + there.max(0)) // 2
    starts = [int(np.clip(m - w // 2, 0, side - w)) for m, w, side in zip(middle, sides, places.shape, strict=True)]
    cut: Cut = tuple(slice(a, a + w) for a, w in zip(starts, sides, strict=True))
    part: Cut = (s, slice(None), *cut)
    x = np.array(images.of(row)[part])
    return torch.from_numpy(x)[None], torch.from_numpy(np.array(places[cut])).long()[None]
