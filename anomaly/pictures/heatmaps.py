"""Draws what a reader looks at: an image beside itself under its anomaly map, one colour scale for all images.

A map is in standard deviations of normal variation. Nothing is coloured below `LOW` and the scale ends at
`HIGH`, whatever the image, so that colours of two images, runs or methods can be compared.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from anomaly.errors import AnomalyError
from anomaly.images.pictures import write_png
from anomaly.pictures.pages import (
    BACKGROUND,
    BAR,
    GAP,
    LINE,
    MARGIN,
    MARK,
    NARROWEST,
    PLANES,
    TEXT,
    VOLUME,
    View,
    font,
    grey,
    laid_out,
    page,
    paste,
    ramp,
    resized,
    views,
    window,
)

__all__ = ["BACKGROUND", "BAR", "GAP", "HIGH", "LINE", "LOW", "MARGIN", "MARK", "NARROWEST", "PLANES", "VOLUME"]
__all__ += ["coloured", "filled", "grey", "overlay", "save_overlay", "sheet", "window", "write_png"]

LOW, HIGH = 2.0, 8.0
TICKS = (2, 4, 6, 8)
UNIT = "SD above normal"
PANEL = 192  # pixels of a small picture, at least: half the time and disk of 256, and all that 64 pixels hold
DENSEST = 0.85  # at HIGH: some anatomy still shines through
# Lightness rises all along, so the order of colours survives every kind of colour blindness, and grey print.
ANCHORS = ((105, 50, 185), (170, 45, 150), (228, 75, 80), (250, 145, 20), (255, 235, 60))


def overlay(
    image: np.ndarray, z: np.ndarray, *, title: str = "", footer: str = "", affine: np.ndarray | None = None
) -> Image.Image:
    """Draw an image beside (3D: above) the same image under its anomaly map, with a colour bar and words.

    Args:
        image: (rows, columns), shown as stored, or (i, j, k); any range, shown between its 0.5 and 99.5
            percentiles.
        z: the map on the same grid, in standard deviations of normal variation.
        title: a line above, such as the id; shortened in the middle where it is too long.
        footer: a line below, such as value, z, p and whether flagged; wrapped.
        affine: (4, 4), index to millimetres, RAS+. Gives the aspect; turns volumes so that the patient's right
            is on the left and front and head are up, and says so. None or the identity tells nothing.

    Volumes show the three slices through the highest peak of the map (mean of 3 x 3 x 3 voxels), or the middle
    ones where nothing is above `LOW`. Letters that the font lacks lose their accent or become a question mark.

    Raises:
        AnomalyError: image and map differ in shape, or are neither 2D nor 3D.
    """
    return Image.fromarray(_drawn(image, z, title, footer, affine))


def _drawn(image: np.ndarray, z: np.ndarray, title: str, footer: str, affine: np.ndarray | None) -> np.ndarray:
    if image.shape != z.shape or image.ndim not in (2, 3):
        raise AnomalyError(f"expected an image and a map of one 2D or 3D shape, got {image.shape} and {z.shape}")
    limits, seen = window(image), views(z, affine, least=LOW, smallest=PANEL)
    pairs = [_pair(image, z, limits, view) for view in seen]
    if image.ndim == 2:
        return laid_out(pairs, title=title, captions=["image", "departure from normal"], footer=footer, bar=_colour_bar)
    rows = list(zip(*pairs, strict=True))
    return laid_out(rows, title=title, captions=[view.label for view in seen], footer=footer, bar=_colour_bar)


def save_overlay(
    path: Path,
    image: np.ndarray,
    z: np.ndarray,
    *,
    title: str = "",
    footer: str = "",
    affine: np.ndarray | None = None,
) -> None:
    """Write what `overlay` draws as PNG, whole or not at all."""
    write_png(path, _drawn(image, z, title, footer, affine))


def sheet(
    rows: Sequence[Sequence[np.ndarray]],
    labels: Sequence[str],
    *,
    title: str = "",
    footer: str = "",
    captions: Sequence[str] = (),
    side: int = 96,
    bar: bool = True,
) -> Image.Image:
    """Draw a contact sheet of small panels with a label to every row and the colour bar.

    Args:
        rows: of equal length; each panel uint8, (rows, columns) as `grey` or (rows, columns, 3) as `coloured`
            gives them.
        labels: one a row.
        title, footer: lines above and below.
        captions: one a column.
        side: pixels of the longer side of a panel.
        bar: whether there is a colour bar; where no map is shown it would say nothing.
    """
    small = [[_resized_colours(panel, side) for panel in row] for row in rows]
    scale = _colour_bar if bar else None
    return page(small, labels=labels, title=title, captions=captions, footer=footer, bar=scale)


def filled(rows: Sequence[Sequence[np.ndarray]]) -> list[list[np.ndarray]]:
    """Rows of panels brought to one length by panels of background."""
    across = max(map(len, rows))
    empty = np.full(rows[0][0].shape[:2], BACKGROUND, dtype=np.uint8)
    return [[*row, *[empty] * (across - len(row))] for row in rows]


def coloured(shown: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Lay a map (*space) over grey values (*space) uint8: (*space, 3) uint8, unchanged where z <= `LOW`."""
    level = np.clip((z - LOW) * (255 / (HIGH - LOW)), 0, 255).astype(np.intp)
    mixed = _blends().take(level * 256 + shown)
    return mixed.view(np.uint8).reshape(*mixed.shape, 4)[..., :3]


@cache
def _blends() -> np.ndarray:
    """Every mixture of a level of the map and a grey value, (256 * 256,) uint32: a look-up costs no arithmetic.

    Red, green and blue lie in the first three bytes of each, whichever way round the machine has its bytes.
    """
    alpha = DENSEST * np.sqrt(np.linspace(0, 1, 256))[:, None, None]
    colours = np.rint((1 - alpha) * np.arange(256)[None, :, None] + alpha * ramp(ANCHORS)[:, None]).astype(np.uint8)
    return np.pad(colours, [(0, 0), (0, 0), (0, 1)]).reshape(-1).view(np.uint32)


def _pair(image: np.ndarray, z: np.ndarray, limits: tuple[float, float], view: View) -> list[np.ndarray]:
    """What is seen of the image, in grey and under its map."""
    shown = view.grey(image, limits)
    return [view.marked(shown), view.marked(coloured(shown, view.smooth(z)))]


def _resized_colours(panel: np.ndarray, side: int) -> np.ndarray:
    factor = side / max(panel.shape[:2])
    size = (max(1, round(panel.shape[1] * factor)), max(1, round(panel.shape[0] * factor)))
    return resized(panel, size, Image.Resampling.BICUBIC)


@cache
def _colour_bar(height: int) -> np.ndarray:
    """The scale over grey from dark (left) to bright (right) as in the images, with ticks; (height, BAR, 3)."""
    across, inset = 18, min(7, max(height - 1, 0) // 2)  # beside a thin picture there is hardly room
    levels = np.linspace(HIGH, LOW, height - 2 * inset)[:, None].repeat(across, axis=1)
    shades = np.linspace(30, 225, across).astype(np.uint8)[None].repeat(len(levels), axis=0)
    canvas = np.full((height, BAR, 3), BACKGROUND, dtype=np.uint8)
    paste(canvas, coloured(shades, levels), 4, inset)
    bar = Image.fromarray(canvas)
    draw = ImageDraw.Draw(bar)
    for tick in TICKS:
        y = inset + (HIGH - tick) / (HIGH - LOW) * (len(levels) - 1)
        draw.line((4 + across, y, 8 + across, y), TEXT)
        draw.text((11 + across, y), str(tick), TEXT, font(13), "lm")
    words = Image.new("RGB", (height, 18), (BACKGROUND,) * 3)
    size = 13 if font(13).getlength(UNIT) <= height else 9
    ImageDraw.Draw(words).text((height / 2, 8), UNIT, TEXT, font(size), "mm")
    bar.paste(words.transpose(Image.Transpose.ROTATE_90), (BAR - 18, 0))
    return np.asarray(bar)
