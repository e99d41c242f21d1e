"""The page that pictures are laid out on: its grid, words and scales, and the way up that images are shown.

Panels are uint8, (rows, columns) in grey or (rows, columns, 3) in colours.
"""

import math
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
from nibabel.affines import voxel_sizes
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation
from PIL import Image, ImageDraw, ImageFont

from anomaly.images.image import located

SMALLEST, LARGEST = 256, 512  # pixels of the longer side of a 2D panel
VOLUME = 288  # pixels of the longest side of a volume
SAMPLE = 200_000  # values that the grey window is taken from
MARGIN, GAP, LINE, BAR, NARROWEST = 12, 8, 22, 62, 420
STRIP, SMALL = 14, 17  # rows of a lying scale, and of a line of small words
LEVELS = 255  # colours of a scale; odd, so that the middle has its own
BACKGROUND, TEXT, MARK = 16, (220, 220, 220), (120, 215, 255)
PLANES = (("axial", "z", 2, "RL"), ("coronal", "y", 1, "RL"), ("sagittal", "x", 0, "AP"))

Anchors = Sequence[tuple[int, int, int]]
PARTS = re.compile(r"\d|[^\d\s]+|\s+")
"""What is drawn once and kept: numbers differ between pictures, their digits and the words around them do not."""


@dataclass(frozen=True)
class View:
    """One way of looking at an image: a picture as it is stored, or a slice of a volume, the right way up.

    Args:
        label: which slice; empty for pictures.
        size: of its panel, (width, height) in pixels of the page.
        ends: the letters of what lies to the left and to the right; empty where nobody knows.
        cut: from an array on the image's grid to what is seen, (rows, columns).
        flow: from displacements (dims, *space), component c along array axis c, to the part of them that is seen,
            (2, rows, columns): down and to the right, in voxels.
    """

    label: str
    size: tuple[int, int]
    ends: str
    cut: Callable[[np.ndarray], np.ndarray]
    flow: Callable[[np.ndarray], np.ndarray]

    def smooth(self, values: np.ndarray) -> np.ndarray:
        """What is seen of a map, at the size of the panel, float32; nothing goes beyond the map's own range."""
        return resized(np.asarray(self.cut(values), np.float32), self.size, Image.Resampling.BILINEAR)

    def grey(self, image: np.ndarray, black_white: tuple[float, float]) -> np.ndarray:
        """What is seen of an image, at the size of the panel, in grey."""
        return resized(grey(self.cut(image), black_white), self.size, Image.Resampling.BICUBIC)

    def marked(self, panel: np.ndarray) -> np.ndarray:
        """Write what lies to the left and to the right onto a panel."""
        if not self.ends:
            return panel
        picture = Image.fromarray(panel).convert("RGB")
        draw, middle = ImageDraw.Draw(picture), picture.height / 2
        for letter, x, anchor in zip(self.ends, (4, picture.width - 4), ("lm", "rm"), strict=True):
            draw.text((x, middle), letter, MARK, font(16), anchor, stroke_width=2, stroke_fill=(0, 0, 0))
        return np.asarray(picture)


def views(
    evidence: np.ndarray,
    affine: np.ndarray | None,
    *,
    least: float = 0.0,
    smallest: int = SMALLEST,
    largest: int = LARGEST,
) -> list[View]:
    """How to look at an image: as it is in 2D, in 3D in three slices through the highest peak of the evidence.

    Args:
        evidence: (rows, columns) or (i, j, k).
        affine: (4, 4), index to millimetres, RAS+; None or the identity tells nothing but that voxels are cubes.
        least: where the evidence, as a mean of 3 x 3 x 3 voxels, nowhere exceeds it, the middle slices are shown.
        smallest, largest: bounds of the longer side of a picture, in pixels of the page.
    """
    if evidence.ndim == 2:
        spacing = np.ones(2) if affine is None else voxel_sizes(affine)[:2]
        extent = np.array(evidence.shape) * spacing / spacing.min()
        factor = min(max(1, math.ceil(smallest / extent.max())), largest / extent.max())
        return [View("", _size(extent * factor), "", lambda values: values, lambda field: field)]
    known = affine is not None and located(affine)
    matrix = np.eye(4) if affine is None else affine
    turn = io_orientation(matrix)
    matrix = matrix @ inv_ornt_aff(turn, evidence.shape)
    turned = apply_orientation(evidence, turn)
    peak, extent = _peak(turned, least), np.array(turned.shape) * voxel_sizes(matrix)
    place, longest = matrix @ [*peak, 1], min(VOLUME, largest)
    found = []
    for name, letter, axis, ends in PLANES:
        where = f"{letter} = {round(place[axis])} mm" if known else f"slice {peak[axis] + 1} of {turned.shape[axis]}"
        label = f"{name if known else f'axis {axis + 1}'}, {where}"
        size = _size(np.delete(extent, axis)[::-1] * longest / extent.max())
        cut, flow = _slicing(turn, axis, peak[axis])
        found.append(View(label, size, ends if known else "", cut, flow))
    return found


def _slicing(
    turn: np.ndarray, axis: int, index: int
) -> tuple[Callable[[np.ndarray], np.ndarray], Callable[[np.ndarray], np.ndarray]]:
    """The slice `index` of an axis of the turned volume, and the displacements within it."""

    def cut(values: np.ndarray) -> np.ndarray:
        # Right of the patient (front, in sagittal slices) to the left; front or head up.
        return np.take(apply_orientation(values, turn), index, axis).T[::-1, ::-1]

    def flow(field: np.ndarray) -> np.ndarray:
        down, across = sorted({0, 1, 2} - {axis}, reverse=True)
        source = {int(onto): c for c, onto in enumerate(turn[:, 0])}
        # Turned axes run against rows and columns, stored axes with or against turned ones.
        return np.stack([-turn[source[a], 1] * cut(field[source[a]]) for a in (down, across)])

    return cut, flow


def _size(extent: np.ndarray) -> tuple[int, int]:
    return max(1, round(extent[1])), max(1, round(extent[0]))


def _peak(values: np.ndarray, least: float) -> tuple[int, ...]:
    """Index of the highest mean of 3 x 3 x 3 voxels, edges repeated: one stray voxel makes no peak.

    The middle where no mean is above `least`: the highest noise, mostly in the air, is not worth a look.
    """
    for axis in range(values.ndim):
        width = [(int(axis == a),) * 2 for a in range(values.ndim)]
        padded = np.moveaxis(np.pad(values, width, mode="edge"), axis, 0)
        values = np.moveaxis(padded[:-2] + padded[1:-1] + padded[2:], 0, axis)
    if values.max() <= least * 3**values.ndim:
        return tuple(side // 2 for side in values.shape)
    return tuple(int(i) for i in np.unravel_index(int(values.argmax()), values.shape))


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


def ramp(anchors: Anchors, levels: int = 256) -> np.ndarray:
    """Colours evenly along a way through the anchors, (levels, 3) float."""
    level, stops = np.linspace(0, 1, levels), np.linspace(0, 1, len(anchors))
    return np.stack([np.interp(level, stops, channel) for channel in zip(*anchors, strict=True)], axis=1)


@dataclass(frozen=True)
class Scale:
    """Colours between two values, and a bar that says which; zero is in the middle where the ends are opposite."""

    low: float
    high: float
    anchors: Anchors
    unit: str

    def colours(self, values: np.ndarray) -> np.ndarray:
        """(*space, 3) uint8; beyond the ends as at the ends."""
        share = np.clip((values - self.low) / ((self.high - self.low) or 1.0), 0, 1)
        return np.rint(ramp(self.anchors, LEVELS)).astype(np.uint8)[np.rint(share * (LEVELS - 1)).astype(int)]

    def bar(self, width: int) -> np.ndarray:
        """A panel with the colours lying, their numbers and their unit."""
        ends = [f"{self.low:.3g}", f"{self.high:.3g}"]
        numbers = [ends[0], "0", f"+{ends[1]}"] if 0 < self.high == -self.low else ends
        return legend(width, self.unit, self.colours(np.linspace(self.low, self.high, width)), numbers)


def legend(width: int, words: str, strip: np.ndarray | None = None, numbers: Sequence[str] = ()) -> np.ndarray:
    """A panel of words below a strip, (width, 3) or (rows, width, 3), and the numbers evenly along it."""
    lines, top = wrapped(words, width, 13), 0 if strip is None else STRIP + SMALL
    canvas = np.full((top + SMALL * len(lines), width, 3), BACKGROUND, dtype=np.uint8)
    if strip is not None:
        canvas[:STRIP] = strip
    panel = Image.fromarray(canvas)
    draw = ImageDraw.Draw(panel)
    for k, number in enumerate(numbers):
        share = k / (len(numbers) - 1)
        draw.text((share * width, STRIP + 1), number, TEXT, font(13), ("la", "ra")[k > 0] if share in (0, 1) else "ma")
    for k, line in enumerate(lines):
        draw.text((0, top + SMALL * k), line, TEXT, font(13))
    return np.asarray(panel)


def resized(panel: np.ndarray, size: tuple[int, int], filter: Image.Resampling) -> np.ndarray:
    """A panel, or a map of float32, at another (width, height)."""
    picture = Image.fromarray(np.ascontiguousarray(panel))
    return np.asarray(picture if picture.size == size else picture.resize(size, filter))


def page(
    rows: Sequence[Sequence[np.ndarray]],
    *,
    title: str = "",
    captions: Sequence[str] = (),
    labels: Sequence[str] = (),
    footer: str = "",
    bar: Callable[[int], np.ndarray] | None = None,
    key: np.ndarray | None = None,
) -> Image.Image:
    """Lay panels out on a grid, with words and scales around it.

    Args:
        rows: of equal length.
        title: a line above; shortened in the middle where it is too long.
        captions: one a column.
        labels: one a row, to its left.
        footer: below all; wrapped.
        bar: makes the colour bar to the right from the height there is.
        key: a panel below the grid, such as a colour bar that lies.

    Letters that the font lacks lose their accent or become a question mark.
    """
    return Image.fromarray(
        laid_out(rows, title=title, captions=captions, labels=labels, footer=footer, bar=bar, key=key)
    )


def laid_out(
    rows: Sequence[Sequence[np.ndarray]],
    *,
    title: str = "",
    captions: Sequence[str] = (),
    labels: Sequence[str] = (),
    footer: str = "",
    bar: Callable[[int], np.ndarray] | None = None,
    key: np.ndarray | None = None,
) -> np.ndarray:
    """What `page` draws as an array (rows, columns, 3) uint8, which many pictures in a row are fastest as."""
    widths = [max(panel.shape[1] for panel in column) + GAP for column in zip(*rows, strict=True)]
    heights = [max(panel.shape[0] for panel in row) + GAP for row in rows]
    labels = [plain(label) for label in labels]
    left = MARGIN + max((math.ceil(font(14).getlength(label)) + GAP for label in labels), default=0)
    top = MARGIN + LINE * (bool(title) + bool(captions))
    width = max(left + sum(widths) + (BAR if bar else 0) + MARGIN, NARROWEST)
    under = top + sum(heights)
    below = under + (0 if key is None else key.shape[0] + GAP)
    lines = wrapped(footer, width - 2 * MARGIN)
    size = (below + LINE * len(lines) + MARGIN - GAP, width)
    xs, ys = left + np.cumsum([0, *widths]), top + np.cumsum([0, *heights])
    beside = None if bar is None else (bar, min(under - top - GAP, VOLUME))
    canvas = _form(size, tuple(captions), tuple(int(x) for x in xs), top, beside).copy()
    for y, row in zip(ys, rows, strict=False):
        for x, panel in zip(xs, row, strict=False):
            paste(canvas, panel, x, y)
    if key is not None:
        paste(canvas, key, left, under)
    _write(canvas, _shortened(title, width - 2 * MARGIN), MARGIN, MARGIN - 4, 16)
    for y, label, height in zip(ys, labels, heights, strict=False):
        _write(canvas, label, MARGIN, int(y) + (height - GAP - LINE) // 2, 14, "lm")
    for number, line in enumerate(lines):
        _write(canvas, line, MARGIN, below + LINE * number, 15)
    return canvas


@lru_cache(maxsize=32)
def _form(
    size: tuple[int, int],
    captions: tuple[str, ...],
    xs: tuple[int, ...],
    top: int,
    bar: tuple[Callable[[int], np.ndarray], int] | None,
) -> np.ndarray:
    """What all pages of one layout share, drawn once: background, captions at `xs`, and the bar beside the panels."""
    canvas = np.full((*size, 3), BACKGROUND, dtype=np.uint8)
    if bar:
        paste(canvas, bar[0](bar[1]), xs[-1], top)
    for x, caption in zip(xs, captions, strict=False):
        _write(canvas, caption, x, top - LINE + 2, 13)
    return canvas


def _write(canvas: np.ndarray, text: str, x: int, y: int, size: int, anchor: str = "la") -> None:
    """Draw a line of words on plain background, its upper left corner (anchor "lm": of the line it is centred in)."""
    parts = [_lettered(part, size, anchor) for part in PARTS.findall(text)]
    ends = np.cumsum([0.0, *(length for _, length in parts)])
    line = np.full((LINE + 2, math.ceil(ends[-1]) + 3), BACKGROUND, dtype=np.uint8)
    for (strip, _), start in zip(parts, ends, strict=False):
        place = line[:, round(start) : round(start) + strip.shape[1]]
        np.maximum(place, strip, out=place)  # letters may reach into one another's strips
    place = canvas[y : y + LINE + 2, x : x + line.shape[1]]
    line = line[: place.shape[0], : place.shape[1]]
    for channel in range(3):
        np.maximum(place[..., channel], line, out=place[..., channel])  # and lines touch one another


@lru_cache(maxsize=4096)
def _lettered(text: str, size: int, anchor: str) -> tuple[np.ndarray, float]:
    """Letters in the grey of words on background, (rows, columns) uint8, and their length: drawing them takes long."""
    length = font(size).getlength(text)
    strip = Image.new("L", (math.ceil(length) + 2, LINE + 2), BACKGROUND)
    ImageDraw.Draw(strip).text((0, 0 if anchor == "la" else LINE / 2), text, TEXT[0], font(size), anchor)
    return np.asarray(strip), length


def _length(text: str, size: int) -> float:
    """Pixels that `_write` takes for a line."""
    return sum(_lettered(part, size, "la")[1] for part in PARTS.findall(text))


def paste(canvas: np.ndarray, panel: np.ndarray, x: int, y: int) -> None:
    """Put a panel onto a canvas (rows, columns, 3), its upper left corner at a place."""
    place = canvas[y : y + panel.shape[0], x : x + panel.shape[1]]
    for channel in range(3):  # several times as fast as all at once, whose innermost loop has three steps
        place[..., channel] = panel[..., channel] if panel.ndim == 3 else panel


@cache
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The font of all words on a page."""
    return ImageFont.load_default(size)


def plain(text: str) -> str:
    """The letters that the font holds: without accents, and a question mark for every other script."""
    parts = (letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))
    return "".join(letter if letter.isascii() else "?" for letter in parts)


def _shortened(text: str, width: int) -> str:
    """One line of at most `width` pixels; both ends of an id tell images apart, so the middle goes."""
    text = " ".join(plain(text).split())
    short, kept = text, len(text)
    while _length(short, 16) > width:
        kept -= 1
        short = f"{text[: kept - kept // 2]}...{text[len(text) - kept // 2 :]}"
    return short


def wrapped(text: str, width: int, size: int = 15) -> list[str]:
    """Lines of words that fit a width in pixels; a word that does not has a line of its own."""
    lines: list[str] = []
    words = plain(text).split()
    if words and _length(whole := " ".join(words), size) <= width:
        return [whole]
    for word in words:
        if lines and _length(f"{lines[-1]} {word}", size) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines
