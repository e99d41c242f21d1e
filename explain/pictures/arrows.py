"""Arrows over an image that show which way things move, all of one scale."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from anomaly.pictures.pages import View

STILL = 0.25  # pixels of the image; what moves less has no arrow
ACROSS, CELL = 16, 16.0  # arrows along the longer side, if each has so many pixels of the page
ENLARGED = (1, 2, 3, 5, 10, 20, 30, 50)
SHORTEST, HALO, FINE = 6.0, 1.0, 4  # pixels of the page; and how much finer arrows are drawn
ARROW = (255, 225, 90)


def enlargement(seen: Sequence[View], fields: Sequence[np.ndarray] | np.ndarray) -> int:
    """How many times as long as they are arrows are drawn, so that three in four fit the cells they have."""
    shares = [np.hypot(*sampled(view, each)[1].T) / _cell(view) for view, each in zip(seen, fields, strict=True)]
    most = np.percentile(np.concatenate(shares), 75) if sum(map(len, shares)) else 1.0
    return max((times for times in ENLARGED if times * most <= 1), default=1)


def _cell(view: View) -> float:
    """Pixels of the page from one arrow to the next."""
    return max(CELL, max(view.size) / ACROSS)


def sampled(view: View, field: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where arrows end and how far things move to there, (n, 2) each: down and to the right, in pixels of the page."""
    flow, size = view.flow(field), np.array(view.size[::-1])
    counts = np.maximum(1, np.rint(size / _cell(view)))
    centres = [(np.arange(count) + 0.5) / count * side for count, side in zip(counts, flow.shape[1:], strict=True)]
    rows, columns = (np.unique(each.astype(int)) for each in centres)
    moved = flow[:, rows[:, None], columns]
    moves = np.hypot(*moved) >= STILL
    scale = size / flow.shape[1:]
    ends = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1)[moves] + 0.5
    return ends * scale, -moved[:, moves].T * scale


def arrows(shown: np.ndarray, ends: np.ndarray, vectors: np.ndarray, times: int) -> np.ndarray:
    """Draw arrows with dark borders, finer than the page and then made smaller: their edges are smooth."""
    small = Image.fromarray(shown).convert("RGB")
    fine = small.resize((small.width * FINE, small.height * FINE), Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(fine)
    outlines = [_outline(tip, vector * times) * FINE for tip, vector in zip(ends, vectors, strict=True)]
    for outline in outlines:
        corners = [(x, y) for y, x in outline]
        draw.line([*corners, *corners[:2]], (0, 0, 0), round(2 * HALO * FINE), joint="curve")
    for outline in outlines:
        draw.polygon([(x, y) for y, x in outline], ARROW)
    return np.asarray(fine.reduce(FINE))


def _outline(tip: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """The corners (7, 2) of an arrow that ends at its tip; the shortest are drawn longer, to show where they point."""
    along = vector / np.hypot(*vector)
    length = max(float(np.hypot(*vector)), SHORTEST)
    head, shaft = min(9.0, max(4.0, 0.4 * length)), 0.7
    barb = 0.45 * head
    back = np.array([0, head, head, length, length, head, head])[:, None]
    aside = np.array([0, barb, shaft, shaft, -shaft, -shaft, -barb])[:, None]
    return tip - back * along + aside * along[::-1] * (1, -1)
