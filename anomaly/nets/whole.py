"""Whole images through a network: at once where memory allows, else by windows that fade into one another."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby, product
from math import prod
from operator import itemgetter, sub
from typing import Any

import torch
from torch import Tensor

Draw = Callable[..., Tensor]
"""(images (N, C, *space), what lies beside them (N, any, *space) or None, ...) -> as large images, of any channels."""
OVERLAP = {2: 64, 3: 16}
"""Pixels over which windows fade into one another."""
WHOLE = 16
"""Sides of windows and where they begin are multiples of this, so that halvings fall alike."""
MOST_BYTES = 2**30
HELD = 12
"""Layers' outputs that a network holds at once, at full size, about."""


def most_pixels(width: int) -> int:
    """How many pixels go through a network of so many channels at once, so that it holds about a gigabyte."""
    return max(WHOLE**2, MOST_BYTES // (4 * HELD * width))


@torch.no_grad()
def whole(draw: Draw, y: Tensor, *beside: Tensor | None, most: int, window: Sequence[int] | None = None) -> Tensor:
    """What a network draws of whole images, or says of each of their pixels.

    Each image goes through at once where it has at most `most` pixels, else by overlapping windows, whose weights add
    up to 1 everywhere: a network that changes nothing changes nothing.

    Args:
        draw: the network.
        y: (N, C, *space).
        beside: what is cut as the images are and given to the network behind them, (N, any, *space) each, or None:
            which pixels are known, the noise that images are drawn out of.
        most: pixels at once.
        window: sides of windows, for a network that has to see as much at once as it learned from; None takes the
            largest that `most` allows.

    Returns:
        (N, as many channels as the network gives, *space), where `draw` leaves them.
    """
    space = tuple(y.shape[2:])
    sides = window_sides(space, most) if window is None else tuple(map(min, window, space))
    if sides == space:
        size = max(1, most // prod(space))
        parts = [_each((y, *beside), slice(k, k + size)) for k in range(0, len(y), size)]
        return torch.cat([draw(*part) for part in parts])
    size = max(1, most // prod(sides))
    return torch.cat(
        [_by_windows(draw, _each((y, *beside), slice(k, k + 1)), sides, size, space) for k in range(len(y))]
    )


def _each(images: Sequence[Tensor | None], cut: Any) -> list[Tensor | None]:
    return [None if image is None else image[cut] for image in images]


def window_sides(space: Sequence[int], most: int) -> tuple[int, ...]:
    """Sides of windows of at most so many pixels, as even as the image allows, short axes whole."""
    sides = list(space)
    while prod(sides) > most and max(sides) > WHOLE:
        longest = sides.index(max(sides))
        sides[longest] = max(WHOLE, (sides[longest] - 1) // WHOLE * WHOLE)
    return tuple(sides)


def starts_of(side: int, window: int, overlap: int) -> list[int]:
    """Where windows begin along a side, as many as are needed to overlap by so much, each where a halving begins.

    The last one ends with the side, and may be shorter than the others for that.
    """
    if window >= side:
        return [0]
    stride = max(1, window - min(overlap, window // 2))
    unit = min(WHOLE, stride)
    stride -= stride % unit
    return [*range(0, side - window, stride), -(-(side - window) // unit) * unit]


def weights_of(side: int, window: int, overlap: int) -> list[Tensor]:
    """The weight of each window at each of its pixels along a side: they add up to 1."""
    starts = starts_of(side, window, overlap)
    ramps, total = [], torch.zeros(side, dtype=torch.float64)
    for start in starts:
        length = min(window, side - start)
        place = torch.arange(length, dtype=torch.float64)
        ramps.append(torch.minimum(place + 1, length - place).clamp_max(min(overlap, window // 2) + 1))
        total[start : start + length] += ramps[-1]
    return [ramp / total[start : start + len(ramp)] for start, ramp in zip(starts, ramps, strict=True)]


def _by_windows(
    draw: Draw, images: Sequence[Tensor | None], window: tuple[int, ...], size: int, space: tuple[int, ...]
) -> Tensor:
    """What windows of one image become, a few of them at a time, laid over one another."""
    overlap, drawn = OVERLAP[len(window)], None
    weights = [weights_of(side, w, overlap) for side, w in zip(space, window, strict=True)]
    for places in _some(_places(space, window, overlap), size):
        cuts = [_cut(start, sides) for _, start, sides in places]
        given = draw(*(None if each is None else torch.cat([each[cut] for cut in cuts]) for each in images))
        if drawn is None:
            drawn = given.new_zeros(1, given.shape[1], *space)
        for one, cut, (which, *_) in zip(given.split(1), cuts, places, strict=True):
            drawn[cut] += one * _weight([each[i] for each, i in zip(weights, which, strict=True)]).to(one)
    assert drawn is not None  # there is a window at least
    return drawn


Place = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
"""Number, beginning and sides of a window, along every axis."""


def _places(space: tuple[int, ...], window: tuple[int, ...], overlap: int) -> Iterator[Place]:
    """Each window, those of the same sides one after another."""
    starts = [starts_of(side, w, overlap) for side, w in zip(space, window, strict=True)]
    found = []
    for which in product(*(range(len(each)) for each in starts)):
        start = tuple(each[i] for each, i in zip(starts, which, strict=True))
        found.append((which, start, tuple(map(min, window, map(sub, space, start)))))
    yield from sorted(found, key=itemgetter(2), reverse=True)


def _cut(start: Sequence[int], window: Sequence[int]) -> tuple[slice, ...]:
    return (slice(None), slice(None), *(slice(a, a + w) for a, w in zip(start, window, strict=True)))


def _weight(along: Sequence[Tensor]) -> Tensor:
    """The product of weights along the axes, (*window)."""
    weight = along[0]
    for each in along[1:]:
        weight = weight[..., None] * each
    return weight


def _some(places: Iterable[Place], size: int) -> Iterator[list[Place]]:
    """A few windows at a time, of the same sides."""
    for _, group in groupby(places, key=itemgetter(2)):
        alike = list(group)
        yield from (alike[k : k + size] for k in range(0, len(alike), size))
