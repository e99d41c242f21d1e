"""The pictures of a walk: its frames side by side above the curve of the target, and an animation there and back.

Frames run from without the disease, through the image as it is drawn again, to more of it. Arrays are numpy.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from scipy.special import expit

from anomaly.errors import AnomalyError
from anomaly.files import whole
from anomaly.images.pictures import write_png
from anomaly.pictures.pages import BACKGROUND, GAP, MARK, SMALLEST, TEXT, Scale, View, font, page, paste, window
from explain.pictures.arrows import FINE
from explain.pictures.pictures import SIDE, SIGNED

SHOWN, WIDEST = 9, 1600  # frames of a strip, those that are marked come on top; and pixels that all are to fit into
NARROWEST = 128  # pixels of a column: the longest note fits
NUMBER, NOTE, LINE = 26, 17, 21  # sizes of words, and the height of a line of the smaller
PLOT, PAD = 160, 14  # pixels of the height of the curve, and of what is above and below it
DOT, EDGE = 6, 3  # pixels of the radius of a dot, and of the border of a marked frame
DIM, FAINT = (150, 150, 150), (64, 64, 64)
MOMENT, HELD = 120, 900  # milliseconds of a moving picture, and of one that is marked or where it turns
BAR, COLOURS = 12, 256  # pixels of the height of the bar below a moving picture, and colours of such a picture
APART = 0.13  # of the height of the curve; numbers closer to the threshold are left out
ORIGINAL, AGAIN, END, COUNTERFACTUAL = "original", "as drawn again", "end of the walk", "counterfactual"
MARKS = {AGAIN: TEXT, END: MARK, COUNTERFACTUAL: MARK}
WORDS = "of a range of 2: as drawn again less frame"
FOOTER = (
    "Every frame is drawn by the generator. Differences are to the image as drawn again, not to the original: what is "
    "lost in drawing is no evidence."
)
KEPT = (
    " The counterfactual, which is saved, is the original less the difference at the end of the walk: it keeps "
    "what the generator cannot draw, so it is another image than that end, with a number of its own."
)


@dataclass(frozen=True)
class Told:
    """How a target is told: a logit as the probability sigmoid(value), any other value as it is.

    Args:
        threshold: above it an image counts as a case.
        logit: whether values are logits.
    """

    threshold: float = 0.0
    logit: bool = True

    def word(self, value: float) -> str:
        """The target of one image, such as "4 %"; what is not quite 0 or 1 does not read as if it were."""
        if not self.logit:
            return f"{value:.3g}"
        percent = 100 * float(expit(value))
        return "< 1 %" if percent < 0.5 else "> 99 %" if percent > 99.5 else f"{percent:.0f} %"

    def scale(self, values: np.ndarray) -> tuple[np.ndarray, list[tuple[float, str]]]:
        """How far up values (T,) stand, 0 to 1, and the numbers beside that scale, each with its height.

        The scale of probabilities is 0 to 1, of others that of the values and the threshold, whose number is the first.
        """
        if self.logit:
            heights, at, ends = expit(values), float(expit(self.threshold)), ("0 %", "100 %")
        else:
            low, high = min(float(values.min()), self.threshold), max(float(values.max()), self.threshold)
            span, ends = (high - low) or 1.0, (self.word(low), self.word(high))
            heights, at = (values - low) / span, (self.threshold - low) / span
        apart = [(end, word) for end, word in zip((0.0, 1.0), ends, strict=True) if abs(end - at) > APART]
        return heights, [(at, self.word(self.threshold)), *apart]


@dataclass(frozen=True)
class Walked:
    """What is drawn of the walk of one image: a picture, or one slice of a volume, the right way up.

    Args:
        image: as the network took it, (rows, columns), or (rows, columns, 3) in colours.
        frames: (T, rows, columns) or (T, rows, columns, 3), the least of the disease first.
        steps: of each frame, (T,), rising or falling; the image as drawn again is the nearest to 0.
        values: the target of each frame, (T,).
        view: size, letters and name of the slice; cuts nothing any more.
        told: how values are told.
        value: the target of the image itself; None where nobody asked.
        end: the frame that the walk ends at; None where none is to be marked.
        counterfactual: what is saved, where that is another image than the frame at the end; None where it is that
            frame, or where there is none.
        counterfactual_value: its target; None where nobody asked.

    Raises:
        AnomalyError: there is no frame, arrays differ in length or grid, or something is not finite.
    """

    image: np.ndarray
    frames: np.ndarray
    steps: np.ndarray
    values: np.ndarray
    view: View
    told: Told = Told()
    value: float | None = None
    end: int | None = None
    counterfactual: np.ndarray | None = None
    counterfactual_value: float | None = None

    def __post_init__(self) -> None:
        count = len(self.frames)
        if not count or self.frames.shape[1:] != self.image.shape or not len(self.steps) == len(self.values) == count:
            raise AnomalyError(
                f"got frames {self.frames.shape} of an image {self.image.shape}, {len(self.steps)} steps and "
                f"{len(self.values)} values; expected frames (T, *image), at least one, and T of each"
            )
        if not all(np.isfinite(each).all() for each in (self.image, self.frames, self.steps, self.values)):
            raise AnomalyError("a walk holds values that are not finite; leave it out, or mend what drew it")

    @property
    def again(self) -> int:
        """Which frame is the image as drawn again."""
        return int(np.abs(self.steps).argmin())

    @property
    def notes(self) -> dict[int, str]:
        """What is said of the frames that are marked, by their numbers."""
        name = COUNTERFACTUAL if self.counterfactual is None else END
        marked = {} if self.end is None else {self.end: name}
        return marked | {self.again: AGAIN}

    @property
    def greys(self) -> tuple[float, float]:
        """The values shown black and white, for the image and all frames alike."""
        return window(np.stack([image for image, _, _ in self.beside] + [*self.frames]))

    @property
    def beside(self) -> list[tuple[np.ndarray, float | None, str]]:
        """What stands before the frames, each with its target and its name: the image, and what is saved."""
        told = [(self.image, self.value, ORIGINAL)]
        if self.counterfactual is not None:
            told.append((self.counterfactual, self.counterfactual_value, COUNTERFACTUAL))
        return told

    @property
    def differences(self) -> np.ndarray:
        """The image as drawn again less each frame, signed as maps are, (T, rows, columns); of colours the mean."""
        changes = self.frames[self.again] - self.frames
        return changes if changes.ndim == 3 else changes.mean(-1)

    def enlarged(self, factor: float) -> "Walked":
        """The same, drawn at so many times its size."""
        width, height = (max(1, round(side * factor)) for side in self.view.size)
        return replace(self, view=replace(self.view, size=(width, height)))


def save_walk(stem: Path, walked: Walked, *, limit: float, title: str = "") -> list[Path]:
    """Write what `strip` draws to STEM_walk.png and what `animation` draws to STEM_walk.gif, each whole or not at all.

    Args:
        stem: path of the files but for their ends.
        walked, limit, title: as in `strip`.

    Returns:
        The paths of both.
    """
    still, moving = (stem.with_name(f"{stem.name}_walk.{kind}") for kind in ("png", "gif"))
    write_png(still, strip(walked, limit=limit, title=title))
    (first, *rest), lasting = animation(walked)
    with whole(moving) as part:
        first.save(part, "GIF", save_all=True, append_images=rest, duration=lasting, loop=0, optimize=False)
    return [still, moving]


def strip(walked: Walked, *, limit: float, title: str = "") -> Image.Image:
    """Draw the original and the frames in order, below them their differences, and the target along the way.

    Of many frames some nine are shown, evenly chosen, those that are marked among them; the curve has a dot for each.

    Args:
        walked: the walk.
        limit: where the scale of differences ends, so that several images share it.
        title: a line above, to which the name of a slice is added.

    Raises:
        AnomalyError: the limit is not above zero.
    """
    if not 0 < limit < np.inf:
        raise AnomalyError(f"the limit of the differences is {limit}; expected a number above zero")
    shown = _shown(walked)
    side = min(max(SIDE, WIDEST // (len(shown) + len(walked.beside)) - GAP), SMALLEST)
    walked = walked.enlarged(side / max(walked.view.size))
    view, scale = walked.view, Scale(-limit, limit, SIGNED, WORDS)
    width, greys, differences = max(view.size[0], NARROWEST), walked.greys, walked.differences
    columns = []
    for image, value, name in walked.beside:
        panel = _edged(view.marked(view.grey(image, greys)), name)
        change = walked.image - image if image.ndim == 2 else (walked.image - image).mean(-1)
        below = scale.bar(width) if name == ORIGINAL else view.marked(scale.colours(view.smooth(change)))
        columns.append((_words("" if value is None else walked.told.word(value), name, width), panel, below))
    for k in shown:
        note, change = walked.notes.get(k, ""), scale.colours(view.smooth(differences[k]))
        frame = _edged(view.marked(view.grey(walked.frames[k], greys)), note)
        columns.append((_words(walked.told.word(walked.values[k]), note, width), frame, view.marked(change)))
    rows = [[_centred(panel, width) for panel in row] for row in zip(*columns, strict=True)]
    title, curve = ", ".join(filter(None, (title, view.label))), _curve(walked, width, len(shown))
    footer = FOOTER + ("" if walked.counterfactual is None else KEPT)
    return page(rows, title=title, labels=["", "frame", "difference"], footer=footer, key=curve)


def animation(walked: Walked) -> tuple[list[Image.Image], list[int]]:
    """Pictures of all frames there and back, to be shown for ever, and how many milliseconds each is shown.

    Each at least 256 pixels wide and high, above a bar that says how far up the target is. Neither end is shown twice
    in a row. All share one set of colours, so that nothing flickers.
    """
    walked = walked.enlarged(max(1.0, SMALLEST / min(walked.view.size)))
    view, count, greys = walked.view, len(walked.frames), walked.greys
    frames = [_edged(view.marked(view.grey(frame, greys))) for frame in walked.frames]
    drawn = [np.vstack([frame, _gauge(walked, k)]) for k, frame in enumerate(frames)]
    shared = Image.fromarray(np.vstack(drawn)).quantize(COLOURS, Image.Quantize.MAXCOVERAGE)
    pictures = [Image.fromarray(each).quantize(palette=shared, dither=Image.Dither.NONE) for each in drawn]
    way = [*range(count), *range(count - 2, 0, -1)]
    held = {0, count - 1, *walked.notes}
    return [pictures[k] for k in way], [HELD if k in held else MOMENT for k in way]


def _shown(walked: Walked) -> list[int]:
    """The frames of a strip: evenly from all, and those that are marked."""
    even = np.linspace(0, len(walked.frames) - 1, min(SHOWN, len(walked.frames))).round().astype(int)
    return sorted({*even.tolist(), *walked.notes})


def _words(number: str, note: str, width: int) -> np.ndarray:
    """A panel with a number and a note below it, both in the middle, the note in the colour of its mark."""
    panel = Image.new("RGB", (width, NUMBER + NOTE + 8), (BACKGROUND,) * 3)
    draw = ImageDraw.Draw(panel)
    draw.text((width / 2, NUMBER), number, TEXT, font(NUMBER), "ms")
    draw.text((width / 2, NUMBER + NOTE + 4), note, MARKS.get(note, DIM), font(NOTE), "ms")
    return np.asarray(panel)


def _edged(panel: np.ndarray, note: str = "") -> np.ndarray:
    """A panel in three channels, with a border in the colour of its mark where it has one."""
    picture = Image.fromarray(panel).convert("RGB")
    if note in MARKS:
        ImageDraw.Draw(picture).rectangle((0, 0, picture.width - 1, picture.height - 1), None, MARKS[note], EDGE)
    return np.asarray(picture)


def _centred(panel: np.ndarray, width: int) -> np.ndarray:
    """A panel in the middle of its column."""
    canvas = np.full((panel.shape[0], width, 3), BACKGROUND, dtype=np.uint8)
    paste(canvas, panel, (width - panel.shape[1]) // 2, 0)
    return canvas


def _curve(walked: Walked, width: int, shown: int) -> np.ndarray:
    """The target along the steps, below columns so wide: the first frame stands above its dot, and so does the last."""
    steps, (heights, numbers) = walked.steps, walked.told.scale(walked.values)
    left, right = (width + GAP) * np.array([len(walked.beside), len(walked.beside) + shown])
    left, right = int(left), int(right) - GAP
    along = (steps - steps[0]) / ((steps[-1] - steps[0]) or 1.0)
    xs = left + width / 2 + along * (right - left - width)
    panel = _plot(walked, np.column_stack([xs, _down(heights)]), _down(numbers[0][0]), left, right)
    draw = ImageDraw.Draw(panel)
    name = "probability" if walked.told.logit else "target"
    draw.text((left, 0), f"{name} by step; dashed: threshold", DIM, font(NOTE))
    for height, word in numbers:
        draw.text((left - GAP, _down(height)), word, TEXT, font(NOTE), "rm")
    draw.text((left - GAP, panel.height), "step", DIM, font(NOTE), "rd")
    free = float(left)
    for x, step in zip(xs, steps, strict=True):
        word = f"{step + 0.0:.3g}"  # no minus before 0
        half = font(NOTE).getlength(word) / 2
        if x - half >= free:
            draw.text((x, panel.height), word, TEXT, font(NOTE), "md")
            free = x + half + GAP
    return np.asarray(panel)


def _down(heights: Any) -> Any:
    """Pixels from the top of the curve's panel, from heights of 0 to 1."""
    return LINE + PAD + (1 - heights) * PLOT


def _plot(walked: Walked, dots: np.ndarray, threshold: float, left: int, right: int) -> Image.Image:
    """Lines and dots (T, 2) of the curve, finer than the page and then made smaller: their edges are smooth."""
    size = (right, LINE + PAD + PLOT + PAD + LINE)
    fine = Image.new("RGB", (size[0] * FINE, size[1] * FINE), (BACKGROUND,) * 3)
    draw = ImageDraw.Draw(fine)

    def line(ends: Sequence[tuple[float, float]], colour: tuple[int, int, int], thick: float) -> None:
        draw.line([(x * FINE, y * FINE) for x, y in ends], colour, round(thick * FINE), joint="curve")

    for y in (_down(0), _down(1)):
        line([(left, y), (right, y)], FAINT, 1)
    line([(dots[walked.again, 0], _down(0)), (dots[walked.again, 0], _down(1))], FAINT, 1)
    for x in range(left, right, 2 * GAP):
        line([(x, threshold), (x + GAP, threshold)], DIM, 1.5)
    line([(x, y) for x, y in dots], DIM, 2)
    for k, (x, y) in enumerate(dots):
        note = walked.notes.get(k)
        radius = DOT + 2 if note else DOT
        box = [(side + sign * radius) * FINE for sign in (-1, 1) for side in (x, y)]
        draw.ellipse(box, MARKS.get(note or "", DIM), (BACKGROUND,) * 3, FINE)
    return fine.reduce(FINE)


def _gauge(walked: Walked, k: int) -> np.ndarray:
    """Below a moving picture: a bar as long as its target is high, with a line at the threshold, and words."""
    (heights, numbers), note = walked.told.scale(walked.values), walked.notes.get(k, "")
    panel = Image.new("RGB", (walked.view.size[0], 3 * GAP + BAR + NUMBER), (BACKGROUND,) * 3)
    draw, span, base = ImageDraw.Draw(panel), panel.width - 2 * GAP, panel.height - GAP
    for share, colour in ((1.0, FAINT), (heights[k], MARKS.get(note, DIM))):
        draw.rectangle((GAP, GAP, GAP + share * span, GAP + BAR), colour)
    at = GAP + numbers[0][0] * span
    for colour, thick in ((BACKGROUND,) * 3, 6), (TEXT, 2):
        draw.line((at, GAP - 4, at, GAP + BAR + 4), colour, thick)
    draw.text((GAP, base), walked.told.word(walked.values[k]), TEXT, font(NUMBER), "ls")
    draw.text((panel.width - GAP, base), note, MARKS.get(note, DIM), font(NOTE), "rs")
    return np.asarray(panel)
