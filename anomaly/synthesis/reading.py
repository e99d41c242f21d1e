"""An image with its label map, or a label map alone, as a network takes them."""

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from anomaly.errors import UnreadableImage
from anomaly.images import Image, read
from anomaly.images.image import alone
from anomaly.images.labels import Labels, prepared_places, read_labels
from anomaly.images.masking import masked
from anomaly.images.prepared import Prepared, scaled
from anomaly.images.preprocessing import Preprocessing
from anomaly.painters.mapped import NOWHERE

ITSELF = "the grid of {}"


def read_pair(
    row: Mapping[str, Any], preprocessing: Preprocessing, labels: Labels
) -> tuple[np.ndarray, np.ndarray, Prepared]:
    """Pixels (S, C, *size) of an image, places (S, *size) of its classes, `NOWHERE` outside a mask, and the way back.

    Raises:
        UnreadableImage: a file is missing or damaged, or the label map lies on another grid.
    """
    image = masked(read(Path(row["path"])), row.get("mask") if preprocessing.mask == "given" else None)
    values = read_labels(row["labels"], image)
    prepared = alone(image.path, lambda: scaled(preprocessing.apply(image), image.path))
    return prepared.pixels, _places(labels.places(values), labels, prepared), prepared


def read_map(
    row: Mapping[str, Any], preprocessing: Preprocessing, labels: Labels, background: Sequence[int]
) -> tuple[np.ndarray, Image, Prepared]:
    """Places (S, *size) of the classes of a label map that stands for itself, its file, and the way back.

    Args:
        row: path, of the label map, and perhaps mask.
        preprocessing: of the images of the run.
        labels: its classes.
        background: numbers that are no class to it.

    Raises:
        UnreadableImage: it cannot be read, or holds numbers that the run does not know.
    """
    image = read(Path(row["path"]))
    own = dataclasses.replace(image, path=Path(ITSELF.format(image.path.name)))
    values = read_labels(image.path, own)
    refuse_unknown(values, image.path, labels, background)
    blank = dataclasses.replace(image, pixels=np.zeros((1, *image.space), dtype=np.float32), padding=None)
    blank = masked(blank, row.get("mask") if preprocessing.mask == "given" else None)
    of_maps = dataclasses.replace(preprocessing, intensity="window", window=(0.0, 1.0), foreground="none", channels=1)
    prepared = alone(image.path, partial(of_maps.apply, blank))
    return _places(labels.places(values), labels, prepared), image, prepared


def refuse_unknown(values: np.ndarray, path: Path, labels: Labels, background: Sequence[int]) -> None:
    """Say plainly when a label map holds numbers that mean nothing to a run.

    Raises:
        UnreadableImage: so.
    """
    known = {0, *background, *(number for numbers in labels.numbers for number in numbers)}
    if strange := sorted({int(number) for number in np.unique(values)} - known):
        told = ", ".join(
            f"{name} {'+'.join(map(str, n))}" for name, n in zip(labels.names, labels.numbers, strict=True)
        )
        raise UnreadableImage(
            f"{path}: holds {', '.join(map(str, strange[:6]))}, which the run has not learned; it knows {told}: write "
            "0 for what is none of these, or train on such label maps"
        )


def _places(places: np.ndarray, labels: Labels, prepared: Prepared) -> np.ndarray:
    found = prepared_places(places, labels.count, prepared)
    return found if prepared.mask is None else np.where(prepared.foreground[:, 0], found, NOWHERE).astype(np.uint8)
