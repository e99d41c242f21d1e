"""The part of an image that counts: its mask, read from a file of its own and brought to its grid."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from anomaly.errors import UnreadableImage
from anomaly.images.image import Image
from anomaly.images.reading import read, suffix

FEWEST = 32
"""Pixels or voxels that a mask leaves, at least: of fewer nothing can be said."""
LOSSY, HALF = (".jpg", ".jpeg"), 127.5
MOST_LIKELY = 1.05
"""A probability that was resampled may pass 1 by a little."""
PICTURED = ("picture", "dicom")  # whose channels are colours
HALF_A_VOXEL = 0.5
"""How far a mask may be shifted: each voxel is then still nearest to its own."""
STRAYS = 0.1
"""How far a grid may stray, in voxels over the whole image, from one that has the same voxels in another order."""


def masked(image: Image, path: str | Path | None, fewest: int = FEWEST) -> Image:
    """The image with its mask; as it is where it has none.

    Args:
        image: as read.
        path: of the mask.
        fewest: pixels that it has to leave.

    Raises:
        UnreadableImage: as `read_mask`.
    """
    if path is None or path == "":
        return image
    return dataclasses.replace(image, mask=read_mask(Path(path), image, fewest))


def read_mask(path: Path, image: Image, fewest: int = FEWEST) -> np.ndarray:
    """What of an image counts, bool (*space): all that is not 0 in a mask; of a probability, what is above a half.

    A mask that holds the same voxels in another order (a NIfTI mask beside a DICOM series) is turned as the image is.

    Raises:
        UnreadableImage: it cannot be read, is the image itself, holds several volumes or what is no mask, lies on
            another grid, or leaves nothing or next to nothing.
    """
    found = read(path)
    if found.path == image.path:
        raise UnreadableImage(f"{path}: is named as its own mask; name a file that is not 0 where the image counts")
    several = len(found.pixels) > 1
    if several and found.kind not in PICTURED:
        raise UnreadableImage(f"{path}: holds {len(found.pixels)} volumes; expected a mask of one")
    values, lossy = turned(found, found.pixels.max(axis=0), image), suffix(path) in LOSSY
    inside = what_counts(values, image, str(path), lossy=lossy, fewest=fewest)
    if several and inside.all():
        raise UnreadableImage(f"{path}: is a colour picture that is nowhere black; expected a mask, 0 outside")
    return inside


def what_counts(
    values: np.ndarray, image: Image, what: str, *, lossy: bool = False, fewest: int = FEWEST
) -> np.ndarray:
    """What of an image a mask of numbers (*space) on its grid leaves, bool; see `read_mask`.

    Args:
        values: of the mask.
        image: whose it is.
        what: is it called, in messages.
        lossy: compression has smeared its edge, between black and white of 8 bits.
        fewest: pixels that it has to leave.

    Raises:
        UnreadableImage: the values are those of no mask, or leave next to nothing.
    """
    if not np.isfinite(values).all() or values.min() < 0:
        raise UnreadableImage(
            f"{what}: has values from {values.min():g} to {values.max():g}; expected a mask, 0 outside and above 0 "
            "inside"
        )
    whole = bool((values == np.rint(values)).all())
    if not whole and not lossy and values.max() > MOST_LIKELY:
        raise UnreadableImage(
            f"{what}: holds fractions up to {values.max():g}, so it is neither a mask nor a probability; cut it at one "
            "half, say"
        )
    inside: np.ndarray = values > (HALF if lossy else 0 if whole else 0.5)
    count = int(inside.sum())
    if count < fewest:
        left = "is empty" if not count else f"leaves {count} of the {inside.size} pixels"
        raise UnreadableImage(
            f"{what}: the mask of {image.path.name} {left}; expected {fewest} or more: make it again, or leave the "
            "image out"
        )
    return np.ascontiguousarray(inside)


def turned(
    found: Image, values: np.ndarray, image: Image, *, what: str = "mask", most: float = HALF_A_VOXEL
) -> np.ndarray:
    """The values of a mask in the order of the image's voxels.

    Args:
        found: the mask as read.
        values: of it, (*space).
        image: whose it is.
        what: is it called, in messages.
        most: voxels that it may be shifted.

    Raises:
        UnreadableImage: it lies on another grid.
    """
    if found.ndim != image.ndim:
        raise _astray(found, image, what, f"it has {found.ndim} axes, the image {image.ndim}")
    if not (found.placed and image.placed):
        if found.space != image.space:
            raise _astray(found, image, what, "it has another size")
        return values
    step = np.linalg.inv(found.affine) @ image.affine  # from the image's voxels to the mask's
    axes = np.abs(step[:3, :3]).argmax(axis=0)
    signs = np.rint(step[axes, range(3)])
    whole = np.zeros((3, 3))
    whole[axes, range(3)] = signs
    exact = sorted(axes) == [0, 1, 2] and np.abs(step[:3, :3] - whole).max() * max(image.space) < STRAYS
    if image.ndim == 2:
        exact = exact and axes[2] == 2
    if not exact or tuple(np.array(found.space)[axes[: image.ndim]]) != image.space:
        raise _astray(found, image, what, "its voxels are of another size, or turned")
    kept, signs = axes[: image.ndim], signs[: image.ndim]
    starts = np.where(signs < 0, np.array(found.space)[kept] - 1, 0)
    apart = np.abs(step[:3, 3][kept] - starts)
    if apart.max() > most:
        off = np.linalg.norm(found.affine[:3, :3][:, kept] @ (step[:3, 3][kept] - starts))
        raise _astray(found, image, what, f"it lies {apart.max():.2g} voxels off, {off:.3g} mm")
    turned = values.transpose(kept)
    return np.flip(turned, axis=tuple(np.flatnonzero(signs < 0)))


def _astray(found: Image, image: Image, what: str, why: str) -> UnreadableImage:
    return UnreadableImage(
        f"{found.path}: the {what} of {image.path.name} lies on another grid ({why}: {_by(found)} against "
        f"{_by(image)}); resample it onto the image's grid"
    )


def _by(image: Image) -> str:
    return " x ".join(map(str, image.space))
