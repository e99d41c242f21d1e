"""What of images counts that are to be brought onto one another: the same of both, in training and in use."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from anomaly.errors import UnreadableImage
from anomaly.images.image import Image
from anomaly.images.masking import read_mask
from anomaly.registrars.grids import measured


def counted(image: Image, inside: np.ndarray | None, masked: bool) -> Image:
    """An image of which only what is inside counts, as a registrar sees it.

    What lies outside takes the least value inside, so that it changes nothing there, and counts as never measured. With
    `masked` it is what a mask leaves out instead, and the box around it is what an image is cut to.

    Args:
        image: of any kind.
        inside: (*space) bool; None for all.
        masked: whether the registrar learned with masks.
    """
    counts = np.ones(image.space, dtype=bool) if inside is None or not inside.any() else inside
    if counts.all():
        return replace(image, padding=None, mask=counts if masked else None)
    pixels = np.stack([np.where(counts, each, each[counts].min()) for each in image.pixels])
    return replace(image, pixels=pixels, padding=None if masked else ~counts, mask=counts if masked else None)


def together(images: Sequence[Image], masked: bool) -> list[Image]:
    """Images of one pair, which lie on one grid, of each of which counts what counts of all.

    Raises:
        UnreadableImage: nothing counts of both, or they were to have masks and lie on two grids.
    """
    first = images[0]
    if any(each.space != first.space for each in images):
        if masked:
            raise UnreadableImage(
                f"{first.path}: has {first.space} pixels, the image it belongs to {images[1].space}, so that one mask "
                "cannot hold for both; give a --start"
            )
        return list(images)
    parts = [each for each in map(measured, images) if each is not None]
    inside = np.logical_and.reduce(parts) if parts else None
    if inside is not None and not inside.any():
        raise UnreadableImage(f"{first.path}: nothing that counts of it lies where the image it belongs to counts")
    return [counted(each, inside, masked) for each in images]


def in_box_of(image: Image, mask: str) -> Image:
    """An image cut to the box of another one's mask, so that all of a cohort are cut alike; its own still counts.

    Raises:
        UnreadableImage: it does not lie on the grid of that mask.
    """
    own = measured(image)
    return replace(image, mask=read_mask(Path(mask), image), padding=None if own is None else ~own)
