"""How far to walk: to where the target first falls to what is wanted, whether or not it falls all the way."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Ask = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""(rows (n,) of the batch, a position of each (n,)) -> (values (n,), whether to stop there (n,))."""


@dataclass(frozen=True)
class Found:
    """Where a search ended, of each image of a batch (N,).

    Args:
        position: the stop; or where the value was lowest, if it was lower before the stop or there was none.
        value: there.
        last: the stop, or the farthest position looked at.
    """

    position: Tensor
    value: Tensor
    last: Tensor


def first_stop(
    ask: Ask,
    start: Tensor,
    moving: Tensor,
    grid: Sequence[float],
    *,
    least: Tensor | float = 0.0,
    halvings: int = 16,
) -> Found:
    """The first position where to stop: by a grid, then by halving the interval before the first point that stops.

    A stop between two points of the grid that is over before the second is passed by. Images leave the search where
    they stop, so that each costs what its own way costs.

    Args:
        ask: see `Ask`.
        start: values at position 0, (N,).
        moving: whether to search at all, (N,); the others stay at 0.
        grid: positions, rising from above 0.
        least: by more than this a value must be lower to count, (N,): a path goes to and fro at the bottom of a valley.
        halvings: of the interval.
    """
    best, lowest, value = torch.zeros_like(start), start.clone(), start.clone()
    low, high = torch.zeros_like(start), torch.zeros_like(start)
    stopped = torch.zeros_like(moving)
    rows, before = moving.nonzero()[:, 0], 0.0
    for position in grid:
        if not len(rows):
            break
        values, stop = ask(rows, torch.full_like(start[rows], position))
        low[rows], high[rows], value[rows], stopped[rows] = before, position, values, stop
        lower = ~stop & (values < (lowest - least)[rows])
        best[rows[lower]], lowest[rows[lower]] = position, values[lower]
        rows, before = rows[~stop], position
    rows = stopped.nonzero()[:, 0]
    for _ in range(halvings if len(rows) else 0):
        middle = (low[rows] + high[rows]) / 2
        values, stop = ask(rows, middle)
        high[rows[stop]], value[rows[stop]] = middle[stop], values[stop]
        low[rows[~stop]] = middle[~stop]
    there = stopped & (value <= lowest)
    return Found(torch.where(there, high, best), torch.where(there, value, lowest), high)
