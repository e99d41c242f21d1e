"""Paint into the holes of one image on its own grid: a crop around each, the rest to the bit as it was."""

from collections.abc import Sequence

import numpy as np
import torch
from scipy.ndimage import find_objects, label

from anomaly.painters.lesions import Holes, LesionPainter
from explain.painting.windows import one_hot

MARGIN = 4
"""Holes get a quarter of a window on each side of them."""
LARGE = 2
"""Holes that reach over more than so many windows are painted one after another."""


def paint_image(
    painter: LesionPainter,
    x: np.ndarray,
    places: np.ndarray,
    wanted: np.ndarray | int,
    tissues: np.ndarray,
    name: str,
    *,
    draws: int = 1,
    seed: int = 0,
) -> np.ndarray:
    """Paint the holes of an image, (draws, S, C, *space) in [-1, 1]; outside the holes it is x, to the bit.

    Args:
        painter: trained.
        x: (S, C, *space).
        places: (S, *space), not 0 where something is painted; holes of one number are one.
        wanted: the class that is painted; or, by place in an array (K + 1,), of each number of `places`.
        tissues: (S, *space), places of tissues.
        name: of the image, from which its noise is drawn.
        draws: paintings.
        seed: another one gives other paintings.
    """
    table = np.asarray(wanted)
    painted = np.repeat(x[None], draws, axis=0)
    for s in range(len(x)):
        for place in np.unique(places[s]):
            if place == 0:
                continue
            hole, others = places[s] == place, (places[s] != 0) & (places[s] != place)
            kind = int(table) if table.ndim == 0 else int(table[int(place)])
            of = f"{name} {s} {int(place)}"
            _into(painter, painted[:, s], hole, others if kind == 0 else None, kind, tissues[s], of, seed)
    return painted


def _into(
    painter: LesionPainter,
    painted: np.ndarray,
    hole: np.ndarray,
    others: np.ndarray | None,
    kind: int,
    tissues: np.ndarray,
    name: str,
    seed: int,
) -> None:
    """Paint one class into a hole (*space) of all draws (draws, C, *space), in place.

    others: what is hidden besides, so that no other lesion is painted on; it keeps its values.
    """
    left = hole.copy()
    for n, (box, here) in enumerate(crops(hole, painter.shape_[1:])):
        hidden = left[box] if others is None else left[box] | others[box]
        cut = (slice(None), *box)
        for k in range(len(painted)):
            holes = Holes(
                torch.from_numpy(painted[k][cut].copy())[None], torch.from_numpy(hidden.copy())[None, None],
                torch.tensor([kind]), one_hot(torch.from_numpy(tissues[box].copy())[None], painter.tissues_),
            )  # fmt: skip
            found = painter.paint(holes, [f"{name} {n} {k}"], 1, seed)[0, 0].numpy()
            painted[k][cut] = np.where(here, found, painted[k][cut])
        left[box] &= ~here


def crops(hole: np.ndarray, window: Sequence[int]) -> list[tuple[tuple[slice, ...], np.ndarray]]:
    """Boxes around a hole (*space) bool, and what of each is to be painted: all at once, or part by part.

    A box has a margin around what is painted and at least the size of a window, as far as the image reaches.
    """
    (whole,) = find_objects(hole.astype(np.uint8))
    sides = [each.stop - each.start for each in whole]
    if all(side <= LARGE * of for side, of in zip(sides, window, strict=True)):
        return [_around(whole, hole, window)]
    parts, count = label(hole)
    if count == 1:
        return [_around(whole, hole, window)]
    found = []
    for number, box in enumerate(find_objects(parts), start=1):
        found.append(_around(box, parts == number, window))
    return found


def _around(box: tuple[slice, ...], hole: np.ndarray, window: Sequence[int]) -> tuple[tuple[slice, ...], np.ndarray]:
    wide = []
    for each, side, of in zip(box, window, hole.shape, strict=True):
        length = min(of, max(side, each.stop - each.start + 2 * (side // MARGIN)))
        start = (each.start + each.stop - length) // 2
        start = min(max(start, 0), of - length)
        wide.append(slice(start, start + length))
    cut = tuple(wide)
    return cut, hole[cut]
