"""Opens one scored image after another with its map, its truth and its mask, so that no more than one is held."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from anomaly.errors import EvaluationError, UnreadableImage
from anomaly.evaluation.truths import Marking, read_truth, same
from anomaly.images import Image, read
from anomaly.images.image import located, voxel_volume
from anomaly.images.masking import read_mask
from anomaly.statistics import regions

MAP_FILES = (".nii.gz", ".nii", ".npy")


@dataclass(frozen=True)
class Case:
    """What is known of one image to be looked at: whose it is, and its files."""

    id: str
    subject: str
    path: Path
    map: Path
    truth: Path
    mask: Path | None


@dataclass(frozen=True)
class Seen:
    """One image as it is judged.

    map, grey: (*space) float32; grey is None where the image is gone or lies on another grid.
    labels: the lesions of the truth inside the mask, numbered from 1, int32 (*space); count: how many.
    inside: (*space) bool, what counts; None for all of it.
    values: what the truth's file holds besides 0. outside: marked pixels that the mask leaves out.
    affine: of the map; the identity where nothing is known of its place.
    """

    case: Case
    map: np.ndarray
    grey: np.ndarray | None
    labels: np.ndarray
    count: int
    inside: np.ndarray | None
    values: list[int]
    outside: int
    affine: np.ndarray
    why: str = ""

    def of(self, array: np.ndarray) -> np.ndarray:
        """The pixels of an array (*space) that count, (n,)."""
        return array.reshape(-1) if self.inside is None else array[self.inside]

    def laid(self, values: np.ndarray) -> np.ndarray:
        """Pixels (n,) that count, back in space; False elsewhere."""
        if self.inside is None:
            return values.reshape(self.map.shape)
        found = np.zeros(self.map.shape, values.dtype)
        found[self.inside] = values
        return found

    @cached_property
    def marked(self) -> np.ndarray:
        """What the truth marks of the pixels that count, (n,) bool."""
        return self.of(self.labels) > 0

    @cached_property
    def sizes(self) -> np.ndarray:
        """Pixels of each lesion, (count,)."""
        return regions.sizes(self.labels, self.count)

    @property
    def unit(self) -> float | None:
        """Cubic (of pictures square) millimetres of a pixel; None where nobody knows."""
        return voxel_volume(self.affine, self.map.ndim) if located(self.affine) else None


def look(case: Case, marking: Marking) -> Seen:
    """Read all files of one image.

    Raises:
        EvaluationError: the truth lies on another grid than the map, or holds what is no mask.
        UnreadableImage: a file other than the image itself cannot be read; the mask as when the image was scored.
    """
    found = read(case.map)
    if len(found.pixels) != 1:
        raise EvaluationError(f"{case.map}: has {len(found.pixels)} channels; a map has one number a pixel")
    what = f"the truth of {case.id}"
    marked, values = marking.of(read_truth(case.truth, found, what), f"{case.truth}: {what}")
    image, why = _image(case, found)
    inside = None if case.mask is None else read_mask(case.mask, image or replace(found, path=case.path))
    outside = 0
    if inside is not None:
        before = int(np.count_nonzero(marked))
        marked &= inside
        outside = before - int(np.count_nonzero(marked))
    labels, count = regions.labelled(marked)
    grey = None if image is None else image.pixels.mean(0)
    return Seen(case, found.pixels[0], grey, labels, count, inside, values, outside, found.affine, why)


def _image(case: Case, found: Image) -> tuple[Image | None, str]:
    """The image itself, and why there is none: floors are worth less than what they stand beside."""
    try:
        image = read(case.path)
        same(image, found, str(case.path))
    except (EvaluationError, UnreadableImage, OSError) as error:
        return None, str(error)
    return image, ""


def map_file(cell: object) -> str | None:
    """The file with numbers among those of a row, which scoring parts by semicolons."""
    named: Sequence[str] = cell.split(";") if isinstance(cell, str) else []
    return next((name for name in named if name.endswith(MAP_FILES)), None)
