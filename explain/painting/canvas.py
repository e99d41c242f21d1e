"""One image on its own grid as a painter sees it, with its lesions and its tissues; and back to the file's grid."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from anomaly.errors import AnomalyError, UnreadableImage
from anomaly.images import Image, read
from anomaly.images.image import alone
from anomaly.images.labels import Labels, prepared_places, read_labels
from anomaly.images.masking import read_mask
from anomaly.images.prepared import Prepared
from anomaly.images.preprocessing import Preprocessing
from anomaly.images.redrawn import within_limits
from anomaly.restorers.scales import Scale, laid_out, refuse_beyond, scale_of
from explain.painting.cohort import CLASS, LESION, NORMAL, TISSUES

WHOLE = 0.9
"""A slice or volume of which a larger share is to be painted has nothing around to paint it by."""


@dataclass(frozen=True)
class Canvas:
    """An image laid out as a network takes it, (S, C, *size), a slice of a volume each or one volume.

    Args:
        image: as read.
        prepared: laid out, with its own values.
        scale: what becomes -1 and 1.
        x: the values, scaled and clipped.
        lesions: places of their classes, (S, *size) uint8; 0 where there is none.
        tissues: places of tissues, (S, *size) uint8.
        marked: places of classes on the grid of the file, (*space).
    """

    image: Image
    prepared: Prepared
    scale: Scale
    x: np.ndarray
    lesions: np.ndarray
    tissues: np.ndarray
    marked: np.ndarray

    def laid(self, places: np.ndarray, count: int) -> np.ndarray:
        """Places (*space) of the file's grid as a network takes them, (S, *size)."""
        return prepared_places(places, count, self.prepared)

    def change(self, painted: np.ndarray) -> np.ndarray:
        """Image less painted, (S, C, *size), of a range of 2; 0 wherever nothing was painted."""
        before = self.scale.scaled(self.prepared.pixels)
        return np.where(painted == self.x, 0, before - painted).astype(np.float32)

    def values(self, change: np.ndarray, where: np.ndarray) -> np.ndarray:
        """The image (C, *space) less a change, in its own intensities; outside of `where` (*space) it is itself."""
        unit = self.scale.unit
        channels = [self.prepared.restore(change[:, c : c + 1]) * unit[c] for c in range(change.shape[1])]
        taken = np.stack(channels)
        if len(taken) != len(self.image.pixels):
            taken = taken.mean(0, keepdims=True)
        left = within_limits(self.image, self.image.pixels - taken.astype(np.float32))
        return np.where(where, left, self.image.pixels)


def open_canvas(
    row: Mapping[str, Any],
    preprocessing: Preprocessing,
    names: Sequence[str],
    classes: Labels | None,
    tissues: Labels | None,
) -> Canvas:
    """Read an image with its lesions and tissues.

    Args:
        row: path, and perhaps `lesion_file`, `lesion_class`, `tissue_file`.
        preprocessing: which way volumes lie, and what becomes black and white.
        names: classes of lesions; the first has place 1.
        classes: which numbers of a mask are which class, where numbers say it.
        tissues: which numbers are tissues; None for none.

    Raises:
        UnreadableImage: a file that cannot be used, a mask that is empty, of another grid, or of no class.
    """
    image = read(Path(row["path"]))
    marked = _marked(row, image, names, classes)
    prepared = alone(image.path, lambda: laid_out(image, preprocessing))
    scale = scale_of(image, prepared.pixels, preprocessing, prepared.foreground)
    x = scale.scaled(prepared.pixels)
    refuse_beyond(image, x, preprocessing)
    around = np.zeros(image.space, dtype=np.uint8)
    if tissues is not None:
        if not row.get(TISSUES):
            raise UnreadableImage(f"{image.path}: has no label map of tissues; give one, as in training")
        around = tissues.places(read_labels(row[TISSUES], image))
    count = 0 if tissues is None else len(tissues.names)
    return Canvas(
        image, prepared, scale, np.ascontiguousarray(x.clip(-1, 1)), prepared_places(marked, len(names) + 1, prepared),
        prepared_places(around, count + 1, prepared), marked,
    )  # fmt: skip


def suited(preprocessing: Preprocessing | None) -> Preprocessing:
    """How images are prepared to be painted on: on their own grid.

    Raises:
        AnomalyError: they are asked to come on another one.
    """
    asked = dataclasses.replace(preprocessing or Preprocessing(), size=None)
    for name, none in (("spacing", None), ("foreground", "none"), ("mask", "none"), ("context", None), ("fit", "pad")):
        if (given := getattr(asked, name)) != none:
            raise AnomalyError(f"{name} is {given!r}; images that are painted on keep their own grid, so leave it out")
    return asked


def refuse_whole(places: np.ndarray, path: Path) -> None:
    """Say plainly when so much of a slice or volume is to be painted that nothing is left around.

    Raises:
        UnreadableImage: so.
    """
    share = float((places > 0).reshape(len(places), -1).mean(1).max())
    if share > WHOLE:
        raise UnreadableImage(
            f"{path}: its mask covers {share:.0%} of the image or of a slice; what is painted follows from what "
            f"surrounds it, so leave {1 - WHOLE:.0%} or more, or leave the image out"
        )


def _marked(row: Mapping[str, Any], image: Image, names: Sequence[str], classes: Labels | None) -> np.ndarray:
    """Places of classes (*space); nothing where an image has no lesions."""
    file, name = row.get(LESION) or "", row.get(CLASS, "")
    if not file:
        return np.zeros(image.space, dtype=np.uint8)
    if classes is not None:
        return classes.places(read_labels(file, image))
    if name in ("", NORMAL):
        found = read_mask(Path(file), image, 0)
        if found.any():
            raise UnreadableImage(f"{image.path}: has lesions and no class; fill in the column of classes")
        return found.astype(np.uint8)
    found = read_mask(Path(file), image, 1)
    if name not in names:
        raise UnreadableImage(f"{image.path}: has the class {name!r}; expected one of {', '.join(names)}")
    return found.astype(np.uint8) * (1 + list(names).index(name))
