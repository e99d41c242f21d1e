"""By what a training is watched: whole held-out images, or where these are many windows some of their windows."""

from collections.abc import Sequence
from itertools import product
from math import prod
from typing import Any

from torch import Tensor

from anomaly.nets.whole import OVERLAP, starts_of
from anomaly.training.batches import evenly

Shown = Sequence[tuple[Tensor, Tensor]]
"""Images (1, C, *space) with the places of their classes (1, *space)."""


def few_windows(held_out: Shown, window: Sequence[int], most: int) -> Shown:
    """The images themselves where they go through by at most so many windows; else so many windows, side by side.

    Two thirds of these hold something marked, where there are as many; each kind is evenly spread over all images.
    """
    if sum(_count(x, window, OVERLAP[len(window)]) for x, _ in held_out) <= most:
        return held_out
    cuts = [(place, cut) for place, (x, _) in enumerate(held_out) for cut in _tiles(x, window)]
    told = [bool((held_out[place][1][_whole(cut)] > 0).any()) for place, cut in cuts]
    ours, others = (
        [each for each, is_told in zip(cuts, told, strict=True) if is_told == kind] for kind in (True, False)
    )
    few = min(len(ours), max(most - most // 3, most - len(others)))
    chosen = _some(ours, few) + _some(others, most - few)
    return [(held_out[at][0][_whole(cut)], held_out[at][1][_whole(cut)]) for at, cut in chosen]


def _whole(cut: tuple[slice, ...]) -> tuple[Any, ...]:
    """A cut of the axes of space, of whatever lies before them."""
    return (..., *cut)


def _some(cuts: Sequence[tuple[int, tuple[slice, ...]]], most: int) -> list[tuple[int, tuple[slice, ...]]]:
    return [cuts[int(k)] for k in evenly(len(cuts), most)] if cuts and most > 0 else []


def _count(x: Tensor, window: Sequence[int], overlap: int) -> int:
    return prod(len(starts_of(side, width, overlap)) for side, width in zip(x.shape[2:], window, strict=True))


def _tiles(x: Tensor, window: Sequence[int]) -> list[tuple[slice, ...]]:
    """Windows side by side; the last one along an axis ends with the image, and reaches into the one before."""
    space = x.shape[2:]
    along = [
        sorted({min(start, max(0, side - width)) for start in range(0, side, width)})
        for side, width in zip(space, window, strict=True)
    ]
    return [
        tuple(slice(start, start + width) for start, width in zip(starts, window, strict=True))
        for starts in product(*along)
    ]
