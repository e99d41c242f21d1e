"""Draws what a reader looks at: an image beside itself under its anomaly map, one colour scale for all images.

A map is in standard deviations of normal variation. Nothing is coloured below `LOW` and the scale ends at
`HIGH`, whatever the image, so that colours of two images, runs or methods can be compared.
"""

import math
import unicodedata
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from nibabel.affines import voxel_sizes
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation
from PIL import Image, ImageDraw, ImageFont

from anomaly.errors import AnomalyError
from anomaly.images.pictures import write_png

LOW, HIGH = 2.0, 8.0
TICKS = (2, 4, 6, 8)
UNIT = "SD above normal"
DENSEST = 0.85  # at HIGH: some anatomy still shines through
# Lightness rises all along, so the order of colours survives every kind of colour blindness, and grey print.
ANCHORS = ((105, 50, 185), (170, 45, 150), (228, 75, 80), (250, 145, 20), (255, 235, 60))

SMALLEST, LARGEST = 256, 512  # pixels of the longer side of a 2D panel
VOLUME = 288  # pixels of the longest side of a volume
SAMPLE = 200_000  # values that the grey window is taken from
MARGIN, GAP, LINE, BAR, NARROWEST = 12, 8, 22, 62, 420
BACKGROUND, TEXT, MARK = 16, (220, 220, 220), (120, 215, 255)
PLANES = (("axial", "z", 2, "RL"), ("coronal", "y", 1, "RL"), ("sagittal", "x", 0, "AP"))

Panels = list[list[np.ndarray]]


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
    if image.shape != z.shape or image.ndim not in (2, 3):
        raise AnomalyError(f"expected an image and a map of one 2D or 3D shape, got {image.shape} and {z.shape}")
    rows, captions = _picture(image, z, affine) if image.ndim == 2 else _volume(image, z, affine)
    return _page(rows, title=title, captions=captions, footer=footer)


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
    write_png(path, overlay(image, z, title=title, footer=footer, affine=affine))


def sheet(
    rows: Sequence[Sequence[np.ndarray]],
    labels: Sequence[str],
    *,
    title: str = "",
    footer: str = "",
    side: int = 96,
    bar: bool = True,
) -> Image.Image:
    """Draw a contact sheet of small panels with a label to every row and the colour bar.

    Args:
        rows: of equal length; each panel uint8, (rows, columns) as `grey` or (rows, columns, 3) as `coloured`
            gives them.
        labels: one a row.
        title, footer: lines above and below.
        side: pixels of the longer side of a panel.
        bar: whether there is a colour bar; where no map is shown it would say nothing.
    """
    resized = [[_resized_colours(panel, side) for panel in row] for row in rows]
    return _page(resized, labels=[_plain(label) for label in labels], title=title, footer=footer, bar=bar)


def filled(rows: Sequence[Sequence[np.ndarray]]) -> list[list[np.ndarray]]:
    """Rows of panels brought to one length by panels of background."""
    across = max(map(len, rows))
    empty = np.full(rows[0][0].shape[:2], BACKGROUND, dtype=np.uint8)
    return [[*row, *[empty] * (across - len(row))] for row in rows]


def window(image: np.ndarray) -> tuple[float, float]:
    """The values shown black and white: 0.5 and 99.5 percentile; the extremes where these meet."""
    values = image.reshape(-1)[:: max(1, image.size // SAMPLE)]
    low, high = np.percentile(values, (0.5, 99.5))
    return (float(low), float(high)) if low < high else (float(image.min()), float(image.max()))


def grey(image: np.ndarray, black_white: tuple[float, float] | None = None) -> np.ndarray:
    """The image as uint8 from black to white, by default between the ends of its `window`."""
    low, high = black_white or window(image)
    if low >= high:
        return np.full(image.shape, 128, dtype=np.uint8)
    return np.rint(np.clip((image - low) * (255 / (high - low)), 0, 255)).astype(np.uint8)


def coloured(shown: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Lay a map (*space) over grey values (*space) uint8: (*space, 3) uint8, unchanged where z <= `LOW`."""
    level = np.clip((z - LOW) * (255 / (HIGH - LOW)), 0, 255).astype(np.uint8)
    return _blends()[level, shown]


@cache
def _blends() -> np.ndarray:
    """Every mixture of a level of the map and a grey value, (256, 256, 3) uint8: a look-up costs no arithmetic."""
    level = np.linspace(0, 1, 256)
    ramp = np.stack([np.interp(level, np.linspace(0, 1, len(ANCHORS)), each) for each in zip(*ANCHORS, strict=True)])
    alpha = DENSEST * np.sqrt(level)[:, None, None]
    return np.rint((1 - alpha) * np.arange(256)[None, :, None] + alpha * ramp.T[:, None]).astype(np.uint8)


def _picture(image: np.ndarray, z: np.ndarray, affine: np.ndarray | None) -> tuple[Panels, list[str]]:
    spacing = np.ones(2) if affine is None else voxel_sizes(affine)[:2]
    extent = np.array(image.shape) * spacing / spacing.min()
    longest = extent.max()
    factor = math.ceil(SMALLEST / longest) if longest < SMALLEST else min(1.0, LARGEST / longest)
    left, right = _pair(image, z, window(image), extent * factor)
    return [[left, right]], ["image", "departure from normal"]


def _volume(image: np.ndarray, z: np.ndarray, affine: np.ndarray | None) -> tuple[Panels, list[str]]:
    located = affine is not None and not np.array_equal(affine, np.eye(4))
    matrix, limits = np.eye(4) if affine is None else affine, window(image)
    turn = io_orientation(matrix)
    matrix = matrix @ inv_ornt_aff(turn, image.shape)
    image, z = apply_orientation(image, turn), apply_orientation(z, turn)
    peak, extent = _peak(z), np.array(image.shape) * voxel_sizes(matrix)
    place = matrix @ [*peak, 1]
    top, bottom, captions = [], [], []
    for name, letter, axis, ends in PLANES:
        # Right of the patient (front, in sagittal slices) to the left; front or head up.
        slices = [np.take(each, peak[axis], axis).T[::-1, ::-1] for each in (image, z)]
        pair = _pair(slices[0], slices[1], limits, np.delete(extent, axis)[::-1] * VOLUME / extent.max())
        pair = (_marked(pair[0], ends), _marked(pair[1], ends)) if located else pair
        top.append(pair[0])
        bottom.append(pair[1])
        where = f"{letter} = {round(place[axis])} mm" if located else f"slice {peak[axis] + 1} of {z.shape[axis]}"
        captions.append(f"{name if located else f'axis {axis + 1}'}, {where}")
    return [top, bottom], captions


def _peak(z: np.ndarray) -> tuple[int, ...]:
    """Index of the highest mean of 3 x 3 x 3 voxels, edges repeated: one stray voxel makes no peak.

    The middle where no mean is above `LOW`: the highest noise, mostly in the air, is not worth a look.
    """
    for axis in range(z.ndim):
        padded = np.moveaxis(np.pad(z, [(int(axis == a),) * 2 for a in range(z.ndim)], mode="edge"), axis, 0)
        z = np.moveaxis(padded[:-2] + padded[1:-1] + padded[2:], 0, axis)
    if z.max() <= LOW * 3**z.ndim:
        return tuple(side // 2 for side in z.shape)
    return tuple(int(i) for i in np.unravel_index(int(z.argmax()), z.shape))


def _pair(
    image: np.ndarray, z: np.ndarray, limits: tuple[float, float], extent: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The image in grey and under its map, both enlarged to `extent` (rows, columns)."""
    size = (max(1, round(extent[1])), max(1, round(extent[0])))
    shown = _resized(grey(image, limits), size, Image.Resampling.BICUBIC)
    return shown, coloured(shown, _resized(np.asarray(z, np.float32), size, Image.Resampling.BILINEAR))


def _resized(values: np.ndarray, size: tuple[int, int], filter: Image.Resampling) -> np.ndarray:
    picture = Image.fromarray(np.ascontiguousarray(values))
    return np.asarray(picture if picture.size == size else picture.resize(size, filter))


def _resized_colours(panel: np.ndarray, side: int) -> np.ndarray:
    factor = side / max(panel.shape[:2])
    size = (max(1, round(panel.shape[1] * factor)), max(1, round(panel.shape[0] * factor)))
    return _resized(panel, size, Image.Resampling.BICUBIC)


def _marked(panel: np.ndarray, ends: str) -> np.ndarray:
    """Write what lies to the left and to the right onto a panel."""
    picture = Image.fromarray(panel).convert("RGB")
    draw, middle = ImageDraw.Draw(picture), picture.height / 2
    for letter, x, anchor in zip(ends, (4, picture.width - 4), ("lm", "rm"), strict=True):
        draw.text((x, middle), letter, MARK, _font(16), anchor, stroke_width=2, stroke_fill=(0, 0, 0))
    return np.asarray(picture)


def _page(
    rows: Sequence[Sequence[np.ndarray]],
    *,
    title: str = "",
    captions: Sequence[str] = (),
    labels: Sequence[str] = (),
    footer: str = "",
    bar: bool = True,
) -> Image.Image:
    """Lay panels out on a grid, with words above, beside and below, and the colour bar, if asked for, to the right."""
    widths = [max(panel.shape[1] for panel in column) + GAP for column in zip(*rows, strict=True)]
    heights = [max(panel.shape[0] for panel in row) + GAP for row in rows]
    left = MARGIN + max((math.ceil(_font(14).getlength(label)) + GAP for label in labels), default=0)
    top = MARGIN + LINE * (bool(title) + bool(captions))
    width = max(left + sum(widths) + BAR * bar + MARGIN, NARROWEST)
    below = top + sum(heights)
    lines = _wrapped(footer, width - 2 * MARGIN)
    canvas = np.full((below + LINE * len(lines) + MARGIN - GAP, width, 3), BACKGROUND, dtype=np.uint8)
    xs, ys = left + np.cumsum([0, *widths]), top + np.cumsum([0, *heights])
    for y, row in zip(ys, rows, strict=False):
        for x, panel in zip(xs, row, strict=False):
            _paste(canvas, panel, x, y)
    if bar:
        _paste(canvas, _colour_bar(min(below - top - GAP, VOLUME)), xs[-1], top)
    page = Image.fromarray(canvas)
    draw = ImageDraw.Draw(page)
    draw.text((MARGIN, MARGIN - 4), _shortened(title, width - 2 * MARGIN), TEXT, _font(16))
    for x, caption in zip(xs, captions, strict=False):
        draw.text((x, top - LINE + 2), caption, TEXT, _font(13))
    for y, label, height in zip(ys, labels, heights, strict=False):
        draw.text((MARGIN, y + (height - GAP) / 2), label, TEXT, _font(14), "lm")
    for number, line in enumerate(lines):
        draw.text((MARGIN, below + LINE * number), line, TEXT, _font(15))
    return page


def _paste(canvas: np.ndarray, panel: np.ndarray, x: int, y: int) -> None:
    place = canvas[y : y + panel.shape[0], x : x + panel.shape[1]]
    place[...] = panel if panel.ndim == 3 else panel[..., None]


@cache
def _colour_bar(height: int) -> np.ndarray:
    """The scale over grey from dark (left) to bright (right) as in the images, with ticks; (height, BAR, 3)."""
    across, inset = 18, 7
    levels = np.linspace(HIGH, LOW, height - 2 * inset)[:, None].repeat(across, axis=1)
    shades = np.linspace(30, 225, across).astype(np.uint8)[None].repeat(len(levels), axis=0)
    canvas = np.full((height, BAR, 3), BACKGROUND, dtype=np.uint8)
    _paste(canvas, coloured(shades, levels), 4, inset)
    bar = Image.fromarray(canvas)
    draw = ImageDraw.Draw(bar)
    for tick in TICKS:
        y = inset + (HIGH - tick) / (HIGH - LOW) * (len(levels) - 1)
        draw.line((4 + across, y, 8 + across, y), TEXT)
        draw.text((11 + across, y), str(tick), TEXT, _font(13), "lm")
    words = Image.new("RGB", (height, 18), (BACKGROUND,) * 3)
    size = 13 if _font(13).getlength(UNIT) <= height else 9
    ImageDraw.Draw(words).text((height / 2, 8), UNIT, TEXT, _font(size), "mm")
    bar.paste(words.transpose(Image.Transpose.ROTATE_90), (BAR - 18, 0))
    return np.asarray(bar)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _plain(text: str) -> str:
    """The letters that the font holds: without accents, and a question mark for every other script."""
    parts = (letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))
    return "".join(letter if letter.isascii() else "?" for letter in parts)


def _shortened(text: str, width: int) -> str:
    """One line of at most `width` pixels; both ends of an id tell images apart, so the middle goes."""
    text = " ".join(_plain(text).split())
    short, kept = text, len(text)
    while _font(16).getlength(short) > width:
        kept -= 1
        short = f"{text[: kept - kept // 2]}...{text[len(text) - kept // 2 :]}"
    return short


def _wrapped(text: str, width: int) -> list[str]:
    lines: list[str] = []
    for word in _plain(text).split():
        if lines and _font(15).getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines
