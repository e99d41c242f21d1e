"""One picture of a registration: before and after, checkerboard, deformed grid, differences on one scale."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image as Picture

from anomaly.files import whole
from anomaly.images import Image
from anomaly.pictures.pages import Scale, View, page, resized, views, window
from anomaly.registrars.grids import grey
from anomaly.registrars.transforms import Transform

SQUARES, LINES = 8, 16
"""Fields of the checkerboard, and lines of the grid, along the longer side."""
SIGNED = ((90, 170, 255), (24, 24, 24), (255, 150, 60))
LINE = (235, 235, 235)
PANEL = 224
EXTREME = 99.5
ALIKE = 0.7
"""A correlation below which a difference of intensities tells nothing."""


def draw(path: Path, name: str, before: Transform, after: Transform, inside: np.ndarray, words: str) -> None:
    """Write the picture of one pair as PNG.

    Volumes are shown in three slices through the middle of what both images show. Differences are shown where both
    images were measured, the moving image brought to the fixed one's mean and spread; not at all where they do not
    correlate, for then intensities tell nothing of one another.

    Args:
        path: of the PNG.
        name: its title.
        before, after: by the headers alone, and as registered.
        inside: (*space) bool, where both count after registration.
        words: below all.
    """
    fixed = grey(after.fixed)
    shown = {"before": before.values(grey(before.moving)), "after": after.values(grey(after.moving))}
    apart = _differences(shown, fixed, inside)
    seen = views(_middle(fixed, shown["after"], inside), after.fixed.affine, smallest=PANEL, largest=PANEL)
    limits, other = window(fixed), window(grey(after.moving))
    rows = []
    for view in seen:
        panels = [view.marked(view.grey(fixed, limits)), *(view.grey(each, other) for each in shown.values())]
        panels += [checked(panels[2], view.grey(fixed, limits)), grid(view, after.field)]
        rows.append(panels)
    captions, key = ["fixed", "moving before", "moving after", "checkerboard", "grid"], None
    if apart is not None:
        most = float(np.percentile(np.abs(apart["before"][inside]), EXTREME)) or 1.0
        scale = Scale(-most, most, SIGNED, "moving - fixed, where both were measured, of one scale")
        for view, panels in zip(seen, rows, strict=True):
            panels += [scale.colours(view.smooth(each)) for each in apart.values()]
        captions += ["difference before", "difference after"]
        key = scale.bar(420)
    with whole(path) as part:
        page(rows, title=name, captions=captions, footer=words, key=key).save(part, "PNG")


def _middle(fixed: np.ndarray, moving: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """(*space), highest in the middle of what both images show: where both are brighter than halfway to their mean."""
    both = inside.copy()
    for values in (fixed, moving):
        if inside.any():
            least, mean = values[inside].min(), values[inside].mean()
            both &= values > least + (mean - least) / 2
    places = np.nonzero(both if both.any() else np.ones_like(both))
    distance = np.zeros(both.shape)
    for axis, place in enumerate(places):
        along = np.arange(both.shape[axis]).reshape(-1, *(1,) * (both.ndim - 1 - axis))
        distance = distance + (along - np.median(place)) ** 2
    return (1 / (1 + distance)).astype(np.float32)


def _differences(
    shown: Mapping[str, np.ndarray], fixed: np.ndarray, inside: np.ndarray
) -> dict[str, np.ndarray] | None:
    if inside.sum() < 3 or np.ptp(fixed[inside]) == 0 or np.ptp(shown["after"][inside]) == 0:
        return None
    slope, intercept = np.polyfit(shown["after"][inside].astype(np.float64), fixed[inside].astype(np.float64), 1)
    if slope <= 0 or np.corrcoef(shown["after"][inside], fixed[inside])[0, 1] < ALIKE:
        return None
    told = {name: np.where(inside, slope * each + intercept - fixed, 0) for name, each in shown.items()}
    return {name: each.astype(np.float32) for name, each in told.items()}


def checked(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Two panels of one size, by turns in the fields of a checkerboard."""
    side = max(1, max(one.shape[:2]) // SQUARES)
    row, column = np.indices(one.shape[:2]) // side
    return np.where((row + column) % 2 == 0, one, other)


def grid(view: View, field: np.ndarray) -> np.ndarray:
    """Where the straight lines of a grid on the moving image come to lie on the fixed one, (rows, columns, 3)."""
    flow = view.flow(field)
    step = max(view.size) / LINES  # squares of the page, also where voxels are none
    bright = np.zeros(view.size[::-1], dtype=np.float32)
    stretch = partial(resized, size=view.size, filter=Picture.Resampling.BILINEAR)
    for axis, size in enumerate(view.size[::-1]):
        scale = size / flow.shape[1 + axis]
        own = np.arange(size) + 0.5
        place = scale * stretch(flow[axis].astype(np.float32)) + (own[:, None] if axis == 0 else own[None])
        off = np.abs(place / step - np.rint(place / step)) * step
        bright = np.maximum(bright, np.clip(1.3 - off, 0, 1))
    return np.rint(24 + bright[..., None] * (np.array(LINE) - 24)).astype(np.uint8)


def words_of(quality: Mapping[str, float], metric: str, warning: str) -> str:
    """The line below a picture."""
    name = metric.replace("-", "_")
    told = (
        f"{metric.replace('-', ' ')} {quality[f'{name}_before']:.3f} before, {quality[f'{name}_after']:.3f} after; "
        f"folded {quality['folded']:.2%}; inverse consistency {quality['inverse_consistency']:.2f} voxels"
    )
    return f"{told}. {warning}" if warning else told


def title_of(moving: Image, fixed: Image) -> str:
    """Which image lies on which."""
    return f"{moving.path.name} on {fixed.path.name}"
