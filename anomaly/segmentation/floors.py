"""What needs no network, as a floor: each class where it usually lies, and each class by its brightness."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

from anomaly.errors import RunError, UnreadableImage
from anomaly.images import Image, read
from anomaly.images.labels import Labels, read_labels
from anomaly.segmentation.run import SegmenterRun
from anomaly.training.batches import evenly

logger = logging.getLogger(__name__)
PLACE, BRIGHTNESS = "usual place", "brightness"
LOOKED_AT = 40
"""Images learned from that floors are made of, at most."""
SIDES = {2: 64, 3: 32}
BINS = 64


@dataclass(frozen=True)
class Floors:
    """Two ways to mark classes without a network, made of the images that a run learned from.

    Args:
        usual: how often each class lies at each place of an image, (K, *grid), whatever the size of images; of volumes
            whose files tell where they lie the axes go to the right, to the front and up.
        amounts: the mean share of pixels that each class has, (K,).
        between: of each class but the background, the darkest and brightest of `BINS` steps that it is told by.
    """

    usual: np.ndarray
    amounts: np.ndarray
    between: tuple[tuple[int, int], ...]

    def found(self, image: Image) -> dict[str, np.ndarray]:
        """Places of classes (*space) by both ways; rarer classes lie over more frequent ones."""
        order = [int(place) for place in np.argsort(-self.amounts[1:], kind="stable") + 1]
        steps = upright(image, steps_of(image))
        place, bright = (np.zeros(steps.shape, np.uint8) for _ in range(2))
        for k in order:
            share, count = resized(self.usual[k], steps.shape), round(float(self.amounts[k]) * steps.size)
            if count:
                least = np.partition(share.ravel(), -count)[-count]
                place[(share >= least) & (share > 0)] = k
            low, high = self.between[k - 1]
            bright[(steps >= low) & (steps <= high)] = k
        return {PLACE: upright(image, place, back=True), BRIGHTNESS: upright(image, bright, back=True)}

    @classmethod
    def of(cls, runs: Sequence[Path], labels: Labels, dims: int) -> "Floors | None":
        """Made of up to 40 images that the first of these runs learned from; None where they are gone.

        Args:
            runs: folders.
            labels: classes that are judged.
            dims: axes of the images that are judged.
        """
        rows = _learned_from(runs)
        pairs = []
        for row in (rows[int(k)] for k in evenly(len(rows), LOOKED_AT)):
            try:
                image = read(Path(row[0]))
                if image.ndim == dims:
                    places = labels.places(read_labels(row[1], image))
                    pairs.append((upright(image, steps_of(image)), upright(image, places)))
            except (UnreadableImage, OSError):
                continue
        if not pairs:
            logger.info("nothing that the run learned from is there any more, so no floor stands beside it")
            return None
        grid = (SIDES[dims],) * dims
        usual, amounts = np.zeros((labels.count, *grid)), np.zeros(labels.count)
        counts = np.zeros((labels.count, BINS))
        for steps, places in pairs:
            usual += np.stack([resized((places == k).astype(np.float32), grid) for k in range(labels.count)])
            amounts += np.bincount(places.ravel(), minlength=labels.count) / places.size
            counts += [np.bincount(steps[places == k], minlength=BINS) for k in range(labels.count)]
        between = tuple(best_between(each, counts.sum(0)) for each in counts[1:])
        return cls(usual / len(pairs), amounts / len(pairs), between)


def best_between(own: np.ndarray, every: np.ndarray) -> tuple[int, int]:
    """The first and last of the steps between which a class is told best, by Dice over all pixels.

    Args:
        own, every: how many pixels of the class, and of all, each step has.
    """
    first, last = np.triu_indices(len(own))
    ours, theirs = (np.concatenate([[0], np.cumsum(each)]) for each in (own, every))
    dice = 2 * (ours[last + 1] - ours[first]) / np.maximum(own.sum() + theirs[last + 1] - theirs[first], 1)
    best = int(dice.argmax())
    return int(first[best]), int(last[best])


def steps_of(image: Image) -> np.ndarray:
    """The brightness of each pixel (*space) in `BINS` steps between the 0.5th and the 99.5th percentile."""
    values = image.pixels.mean(0)
    low, high = np.percentile(values, [0.5, 99.5])
    return ((values - low) / max(float(high - low), 1e-12) * BINS).clip(0, BINS - 1).astype(np.intp)


def upright(image: Image, values: np.ndarray, *, back: bool = False) -> np.ndarray:
    """Values (*space) of a volume with axes that go to the right, to the front and up, however its file has them.

    A picture, and a volume whose file does not tell where it lies, stay as they are.

    Args:
        image: whose they are.
        values: on its grid; with `back` on that of the upright one.
        back: from there to the order of the file.
    """
    if image.ndim != 3 or not image.placed:
        return values
    turn = nib.orientations.io_orientation(image.affine)
    if back:
        turn = nib.orientations.ornt_transform([[0, 1], [1, 1], [2, 1]], turn)
    found: np.ndarray = nib.orientations.apply_orientation(values, turn)
    return found


def resized(values: np.ndarray, space: Sequence[int]) -> np.ndarray:
    """Values on a grid of another size over the same image, by linear interpolation."""
    places = [(np.arange(new) + 0.5) * old / new - 0.5 for new, old in zip(space, values.shape, strict=True)]
    smooth = [max(0.0, (old / new - 1) / 2) for new, old in zip(space, values.shape, strict=True)]
    grid = np.stack(np.meshgrid(*places, indexing="ij"))
    found: np.ndarray = ndimage.map_coordinates(ndimage.gaussian_filter(values, smooth), grid, order=1, mode="nearest")
    return found


def _learned_from(runs: Sequence[Path]) -> list[tuple[str, str]]:
    """Image and label map of each row that the first run learned from."""
    try:
        table = SegmenterRun.open(runs[0]).cohort if runs else None
    except RunError:
        table = None
    if table is None:
        return []
    rows = table[table["split"] == "train"]
    return list(zip(rows["path"], rows["labels"], strict=True))
