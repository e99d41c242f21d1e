"""Slices that form one image: a picture, or a volume that they lie in without gaps and shifts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from anomaly.errors import UnreadableImage
from anomaly.images.dicom_places import SPLIT, Place
from anomaly.images.dicom_values import Values
from anomaly.images.image import Image

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
UNEVEN = 0.1  # share of the usual gap by which gaps between slices may differ; more means a missing slice
SIDEWAYS = 0.25  # share of a pixel by which a slice may stray from the line through the others; headers round
ALIKE = 1e-3  # by which directions and (relative) spacings of one volume may differ


@dataclass(frozen=True)
class Slice:
    """One frame: what it shows and where it lies."""

    values: Values
    place: Place


def picture(one: Slice, path: Path) -> Image:
    """Make an image (C, rows, columns) of a single slice."""
    place = one.place
    affine = np.diag([*place.spacing, 1.0, 1.0])
    if place.position is not None and place.directions is not None:
        along, down = place.directions
        affine[:3] = np.stack([down, along, np.cross(down, along), place.position], axis=1)
        affine[:3, :2] *= place.spacing
        affine = LPS_TO_RAS @ affine
    return _image(one.values.pixels, one.values.padding, affine, path, [one])


def stack(slices: Sequence[Slice], path: Path) -> Image:
    """Order slices by position and make a volume of them, LPS to RAS: DICOM PS3.3 equation C.7.6.2.1-1."""
    positions, directions = _alike(slices, path)
    along, down = directions
    heights = positions @ np.cross(along, down)
    order = np.argsort(heights, kind="stable")
    _even(heights[order], path)
    spacing = slices[0].place.spacing
    _straight(positions[order], directions, spacing, path)
    first, last = positions[order[0]], positions[order[-1]]
    affine = np.eye(4)
    affine[:3] = np.stack([along, down, (last - first) / (len(slices) - 1), first], axis=1)
    affine[:3, :2] *= spacing[::-1]
    pixels = np.stack([slices[i].values.pixels.transpose(0, 2, 1) for i in order], axis=-1)
    padding = np.stack([slices[i].values.padding.T for i in order], axis=-1)
    return _image(pixels, padding, LPS_TO_RAS @ affine, path, slices)


def _image(pixels: np.ndarray, padding: np.ndarray, affine: np.ndarray, path: Path, slices: Sequence[Slice]) -> Image:
    """Make the image; padding takes the least value that was measured, so that no later step meets its code."""
    if padding.all():
        raise UnreadableImage(f"{path}: holds padding alone (PixelPaddingValue); leave it out")
    windows = [one.values.limits for one in slices if one.values.limits]
    limits = (min(low for low, _ in windows), max(high for _, high in windows)) if windows else None
    measured = all(one.place.measured for one in slices)
    if not padding.any():
        return Image(pixels, affine, path, "dicom", limits, measured=measured)
    pixels[:, padding] = pixels[:, ~padding].min()
    return Image(pixels, affine, path, "dicom", limits, measured=measured, padding=padding)


def _alike(slices: Sequence[Slice], path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Give positions (S, 3) and the directions (2, 3) all slices share; UnreadableImage where they do not."""
    positions = [one.place.position for one in slices if one.place.position is not None]
    directions = [one.place.directions for one in slices if one.place.directions is not None]
    if len(positions) < len(slices) or len(directions) < len(slices):
        raise UnreadableImage(
            f"{path}: {len(slices) - min(len(positions), len(directions))} of its {len(slices)} slices are without "
            "positions (ImagePositionPatient, ImageOrientationPatient); take them out, or give each as an image"
        )
    sizes = sorted({one.values.pixels.shape for one in slices})
    turned = sum(not np.allclose(one, directions[0], atol=ALIKE) for one in directions)
    if len(sizes) > 1 or turned:
        raise UnreadableImage(
            f"{path}: its slices are no stack (sizes {sizes[:3]}, {turned} of {len(slices)} in another "
            f"direction); {SPLIT if path.is_file() else 'take the scout images out'}"
        )
    spacings = np.array([one.place.spacing for one in slices])
    if len({one.place.measured for one in slices}) > 1 or not np.allclose(spacings, spacings[0], rtol=ALIKE):
        low, high = spacings.min(axis=0), spacings.max(axis=0)
        raise UnreadableImage(
            f"{path}: the spacing of pixels (PixelSpacing) changes from slice to slice ({low[0]:g} x {low[1]:g} to "
            f"{high[0]:g} x {high[1]:g} mm, or not told in some); give every volume a folder of its own"
        )
    return np.stack(positions), directions[0]


def _even(heights: np.ndarray, path: Path) -> None:
    gaps, whole = np.diff(heights), path.is_file()
    if gaps.min() < 1e-3:
        raise UnreadableImage(
            f"{path}: {int((gaps < 1e-3).sum())} of {len(heights)} images lie where another one lies (several "
            f"echoes or times?); {SPLIT if whole else 'give every volume a folder of its own'}"
        )
    if np.ptp(gaps) > UNEVEN * np.median(gaps):
        advice = "convert it to NIfTI with even slices" if whole else "copy the missing slices"
        raise UnreadableImage(f"{path}: gaps between slices go from {gaps.min():.4g} to {gaps.max():.4g} mm; {advice}")


def _straight(positions: np.ndarray, directions: np.ndarray, spacing: np.ndarray, path: Path) -> None:
    """Refuse slices that are shifted sideways; the same shift from each to the next (a tilted gantry) is fine."""
    line = np.linspace(positions[0], positions[-1], len(positions))
    shares = ((positions - line) @ directions.T) / spacing[::-1]  # in pixels: along the row, down the column
    astray = np.abs(np.concatenate([shares, np.diff(shares, axis=0)])).max()
    if astray > SIDEWAYS:
        raise UnreadableImage(
            f"{path}: slices are shifted sideways against each other by up to {astray:.3g} pixels "
            "(ImagePositionPatient), so that they form no straight stack; resample them into one volume (NIfTI)"
        )
