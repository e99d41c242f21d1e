"""Windows with holes whose content is known: lesions of each class, and normal tissue."""

import logging
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy.ndimage import binary_dilation

from anomaly.errors import AnomalyError, CohortError
from anomaly.painters.lesions import NORMAL, Holes
from explain.painting.keeping import Kept
from explain.painting.shapes import Shape, laid, shape_of, tissue

logger = logging.getLogger(__name__)
SIDES = {2: (32, 128), 3: (16, 48)}
STEP = 8
MOST = 98
"""Percentile of the sizes of lesions that windows are twice as large as."""
APART = 2
"""Pixels between a normal hole and a lesion."""


class Window(NamedTuple):
    """Of one image: values (C, *window), hole (*window) bool, class, tissues (*window) uint8."""

    x: np.ndarray
    hole: np.ndarray
    place: int
    tissues: np.ndarray


class LesionWindows:
    """An endless sequence of batches of windows, half of them lesions, of each class as many, half normal holes.

    Windows are counted through all batches and processes, so that halves and classes come out even whatever the batch.

    Args:
        images: kept.
        part: of the split; None for all.
        count: classes, the normal one among them.
        tissues: how many tissues there are.
        size: windows in a batch of all processes together, 2 or more.
        window: pixels a side.
        seed: of everything that chance decides.
        share: (which, of how many) processes.
        flips: whether windows are mirrored by chance.
        from_ill: whether holes beside lesions count as normal.
        near: share of normal holes put about where lesions lie.
        even: every class as often as the normal one, for a judge.

    Raises:
        AnomalyError: a batch of fewer than 2 windows.
        CohortError: a class has lesions of fewer than 2 persons.
    """

    def __init__(
        self,
        images: Kept,
        part: str | None,
        count: int,
        tissues: int,
        *,
        size: int,
        window: Sequence[int],
        seed: int = 0,
        share: tuple[int, int] = (0, 1),
        flips: bool = True,
        from_ill: bool = False,
        near: float = 0.5,
        even: bool = False,
        names: Sequence[str] = (),
        shapes: Sequence[Shape] = (),
    ) -> None:
        if size < 2:
            raise AnomalyError(f"got batch={size}; half of a batch are lesions, half normal holes: give 2 or more")
        self.images, self.window, self.tissues = images, tuple(window), tissues
        self.size, self.seed, self.share = max(1, size // share[1]), seed, share
        self.flips, self.near, self.even = flips, near, even
        self.lesions: dict[int, list[tuple[int, int]]] = {place: [] for place in range(1, count)}
        self.normal: list[tuple[int, int]] = []
        ill: list[tuple[int, int]] = []
        self.shapes: list[Shape] = list(shapes)
        found: list[Shape] = []
        for row, s in images.items(part):
            places = images.arrays_of(row)[1][s]
            held = [int(place) for place in np.unique(places) if place]
            for place in held:
                self.lesions[place].append((row, s))
                shape = shape_of(places == place, place)
                found += [] if shape is None else [shape]
            (ill if held else self.normal).append((row, s))
        self.shapes = self.shapes or found
        self.without = not self.normal
        if from_ill or self.without:
            self.normal += ill
        self._refuse(names)

    def _refuse(self, names: Sequence[str]) -> None:
        for place, items in self.lesions.items():
            people = {self.images.table["subject"].iloc[row] for row, _ in items}
            if len(people) < 2:
                name = names[place - 1] if names else str(place)
                raise CohortError(
                    f"the class {name} has lesions of {len(people)} persons to learn from; expected 2 or more: add "
                    "some, or leave that class out"
                )

    def __getitem__(self, k: int) -> Holes:
        """Batch k."""
        rng = np.random.default_rng([self.seed, k, self.share[0]])
        return stacked([self._one(rng, place) for place in self.places_of(k)], self.tissues)

    def places_of(self, k: int) -> list[int]:
        """The classes of the windows of batch k."""
        first = (k * self.share[1] + self.share[0]) * self.size
        return [self._turn(first + j) for j in range(self.size)]

    def shown(self, most: int) -> Holes:
        """Some windows, always the same."""
        rng = np.random.default_rng(0)
        return stacked([self._one(rng, self._turn(j)) for j in range(most)], self.tissues)

    def centred(self, rng: np.random.Generator, place: int, item: tuple[int, int] | None) -> tuple[Window, int]:
        """A window whose hole lies in its middle, and its row: of a lesion, or, without an item, of normal tissue where
        lesions of that class may lie."""
        if item is None:
            return self._normal(rng, as_of=place), self._last
        x, places, around = (each[item[1]] for each in self.images.arrays_of(item[0]))
        return self._cut(rng, x, places == place, place, around, centred=True), item[0]

    def joined(self, windows: Sequence[Window]) -> Holes:
        """Windows as tensors."""
        return stacked(windows, self.tissues)

    def _turn(self, n: int) -> int:
        """The class of the n-th window of all."""
        ill = len(self.lesions)
        if self.even:
            return n % (ill + 1)
        return NORMAL if n % 2 else 1 + n // 2 % ill

    def _one(self, rng: np.random.Generator, place: int) -> Window:
        found = self._lesion(rng, place) if place else self._normal(rng)
        turned = np.flatnonzero(rng.random(found.hole.ndim) < 0.5) if self.flips else np.array([], dtype=int)
        return Window(
            np.flip(found.x, tuple(int(a) + 1 for a in turned)), np.flip(found.hole, tuple(map(int, turned))),
            found.place, np.flip(found.tissues, tuple(map(int, turned))),
        )  # fmt: skip

    def _lesion(self, rng: np.random.Generator, place: int) -> Window:
        row, s = self.lesions[place][int(rng.integers(len(self.lesions[place])))]
        x, places, around = (each[s] for each in self.images.arrays_of(row))
        return self._cut(rng, x, places == place, place, around)

    def _normal(self, rng: np.random.Generator, *, as_of: int = NORMAL) -> Window:
        """A hole in the shape of a lesion, of one class if it is named, where there is none."""
        shapes = [each for each in self.shapes if as_of in (NORMAL, each.place)]
        for _ in range(100):
            row, s = self.normal[int(rng.integers(len(self.normal)))]
            x, places, around = (each[s] for each in self.images.arrays_of(row))
            allowed = np.ones(places.shape, dtype=bool)
            if places.any():
                allowed = ~binary_dilation(places > 0, iterations=APART)
            shape = shapes[int(rng.integers(len(shapes)))]
            hole = laid(shape, places.shape, rng, near=bool(rng.random() < self.near), allowed=allowed)
            if hole is not None and tissue(x)[hole].mean() > 0.5:
                self._last = row
                return self._cut(rng, x, hole, NORMAL, around, centred=as_of != NORMAL)
        raise AnomalyError(
            "no normal tissue was found that could hold the shape of a lesion, in 100 images; give more images without "
            "lesions, or lesions that leave room beside them"
        )

    def _cut(
        self,
        rng: np.random.Generator,
        x: np.ndarray,
        hole: np.ndarray,
        place: int,
        around: np.ndarray,
        *,
        centred: bool = False,
    ) -> Window:
        """A window about a hole: about its middle where it fits in, else about a pixel of it."""
        found = np.argwhere(hole)
        low, high = found.min(0), found.max(0) + 1
        picked = found[int(rng.integers(len(found)))]
        box = []
        for axis, (side, of) in enumerate(zip(self.window, hole.shape, strict=True)):
            fits = high[axis] - low[axis] <= side // 2
            middle = (low[axis] + high[axis]) / 2 if fits else picked[axis]
            away = 0.0 if centred else rng.uniform(-side / 8, side / 8)
            start = round(float(middle - side / 2 + away))
            start = min(max(start, 0), of - side)
            box.append(slice(start, start + side))
        cut = tuple(box)
        return Window(np.array(x[(slice(None), *cut)]), hole[cut], place, np.array(around[cut]))


def stacked(windows: Sequence[Window], tissues: int) -> Holes:
    """Windows as tensors; tissues are not told inside of holes."""
    x = torch.from_numpy(np.stack([each.x for each in windows])).float()
    hole = torch.from_numpy(np.stack([each.hole for each in windows]))[:, None]
    classes = torch.tensor([each.place for each in windows])
    places = torch.from_numpy(np.stack([each.tissues for each in windows]))
    return Holes(x, hole, classes, one_hot(places, tissues))


def one_hot(places: torch.Tensor, tissues: int) -> torch.Tensor:
    """(N, *space) -> (N, tissues, *space) float, the background none of them."""
    return torch.stack([places == place for place in range(1, tissues + 1)], 1).float() if tissues else torch.zeros(
        len(places), 0, *places.shape[1:]
    )  # fmt: skip


def window_of(images: Kept, asked: int) -> tuple[int, ...]:
    """Pixels of a window along each axis: as asked, or twice the size of most lesions, as far as images allow.

    Raises:
        AnomalyError: an image is smaller than was asked, or too small for any window.
    """
    smallest = images.spaces.min(axis=0)
    row = int(images.spaces.min(axis=1).argmin())
    told = f"{images.table['path'].iloc[row]}, which has {' x '.join(map(str, images.spaces[row]))} pixels"
    if asked and (smallest < asked).any():
        raise AnomalyError(f"window={asked} is larger than {told}; give a smaller --set window, or leave it out")
    if smallest.min() < STEP and images.spaces.shape[1] == 2:
        raise AnomalyError(f"no window fits into {told}; leave it out, or enlarge it")
    if asked:
        return (asked,) * len(smallest)
    sizes = []
    for row, s in images.items():
        places = images.arrays_of(row)[1][s]
        for place in np.unique(places):
            shape = shape_of(places == place, int(place)) if place else None
            sizes += [] if shape is None else [max(shape.outline.shape)]
    least, most = SIDES[len(smallest)]
    wanted = 2 * float(np.percentile(sizes, MOST)) if sizes else least
    side = int(min(most, max(least, -(-wanted // STEP) * STEP)))
    if wanted > most:
        logger.warning(
            "lesions reach over %d pixels, windows over %d; what is painted in the midst of a large one knows little "
            "of its surroundings: a larger --set window takes longer and is better", wanted // 2, side,
        )  # fmt: skip
    return tuple(min(side, int(of) - int(of) % (STEP if of >= STEP else 1)) for of in smallest)
