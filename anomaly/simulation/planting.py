"""Puts one synthetic lesion after another into an image in memory."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from nibabel.affines import voxel_sizes
from scipy import ndimage

from anomaly.errors import CohortError, UnreadableImage
from anomaly.images import Image
from anomaly.images.intensities import FOREGROUNDS

BACKGROUND = 0.05
"""Where more than this share of an image has its lowest value, that value is background, as after masking."""
ROUGH = 0.2
"""SD of the radius of a blob along different directions, as a share of it."""
SOFT = 0.3
"""Lesions fade over this share of their radius."""
FAINTEST = 0.1
"""Share of its contrast that a lesion still has at its very edge, so that the mask is where the image differs."""
REACH = 1.8
"""A blob keeps within so many radii of its centre."""
DEFAULT_CONTRAST = {"blob": (1.5, 3.0), "sphere": (1.5, 3.0), "deformation": (0.4, 0.8)}
SIGNS = {"bright": (1,), "dark": (-1,), "both": (-1, 1)}
UNITS = ("mm", "pixels")
CONTRAST_UNITS = ("sd", "range")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What the lesions are to look like; the fields are explained in `simulate_lesions`.

    Raises:
        CohortError: a field out of range.
    """

    radius: tuple[float, float] = (4.0, 8.0)
    unit: str = "mm"
    contrast: tuple[float, float] | None = None
    contrast_unit: str = "sd"
    kind: str = "blob"
    polarity: str = "bright"
    count_per_image: int = 1

    def __post_init__(self) -> None:
        choices = (
            ("unit", UNITS), ("contrast_unit", CONTRAST_UNITS), ("kind", tuple(KINDS)), ("polarity", tuple(SIGNS)),
        )  # fmt: skip
        for name, known in choices:
            if getattr(self, name) not in known:
                raise CohortError(f"{name} is {getattr(self, name)!r}; expected one of {', '.join(known)}")
        for name, pair in (("radius", self.radius), ("contrast", self.contrasts)):
            if not isinstance(pair, tuple | list) or len(pair) != 2 or not 0 < pair[0] <= pair[1] < np.inf:
                raise CohortError(f"{name} is {pair}; expected two numbers above 0, the smaller one first")
        if self.kind == "deformation" and self.contrasts[1] >= 1:
            raise CohortError(f"contrast is {self.contrasts}; a deformation's must stay below 1, or the image folds")
        if self.count_per_image < 1:
            raise CohortError(f"count_per_image is {self.count_per_image}; expected 1 or more")

    @property
    def contrasts(self) -> tuple[float, float]:
        """The smallest and the largest contrast."""
        return self.contrast or DEFAULT_CONTRAST[self.kind]


@dataclass(frozen=True)
class Planted:
    """An image with lesions: pixels (C, *space) float32, mask (*space) bool, and for each lesion what it is."""

    pixels: np.ndarray
    mask: np.ndarray
    lesions: list[dict[str, Any]]


@dataclass(frozen=True)
class _Place:
    """Where a lesion goes: a box of voxels around it, distances from its centre in radii, and what it may cover."""

    box: tuple[slice, ...]
    centre: np.ndarray  # voxel indices in the box
    distance: np.ndarray
    allowed: np.ndarray
    spacing: np.ndarray
    radius: float


def foreground(values: np.ndarray) -> np.ndarray:
    """Tell the body from the background, (*space) bool, holes filled.

    All above the lowest value where much of the image has it (a masked brain, a black frame); else the largest
    structure brighter than Otsu's threshold.
    """
    lowest = values == values.min()
    if BACKGROUND < lowest.mean() < 1:
        filled: np.ndarray = ndimage.binary_fill_holes(~lowest)
        return filled
    return FOREGROUNDS["otsu"](values, np.ones(values.shape, dtype=bool))


def plant(image: Image, recipe: Recipe, rng: np.random.Generator) -> Planted:
    """Put lesions into the foreground of an image, or into its mask, apart from each other; only they change it.

    Each lesion is told by `radius` (of the ball, or circle, of its size), `contrast` (in the middle, signed, as
    drawn; values stay between the image's lowest and, where its file tells it, white), `snr` (mean change in its
    mask over the SD of the clean foreground within two radii, or of all of it where that is flat) and `centre` (voxel).

    Raises:
        UnreadableImage: the foreground is flat, or has no room for a lesion of the smallest radius.
    """
    before = image.pixels.mean(axis=0)
    body = foreground(before) if image.mask is None else image.mask
    spread = {"sd": float(before[body].std()), "range": float(np.ptp(np.percentile(before[body], (0.5, 99.5))))}
    if not spread["sd"]:
        raise UnreadableImage(f"{image.path}: its foreground has one value alone; leave it out")
    spacing = voxel_sizes(image.affine)[: image.ndim] if recipe.unit == "mm" else np.ones(image.ndim)
    # No darker than what is there; no brighter than white, where the file tells what is white.
    limits = float(image.pixels.min()), image.limits[1] if image.limits and image.kind != "dicom" else np.inf
    pixels, mask = image.pixels.copy(), np.zeros(image.space, dtype=bool)
    lesions = []
    for _ in range(recipe.count_per_image):
        contrast = float(rng.uniform(*recipe.contrasts) * rng.choice(SIGNS[recipe.polarity]))
        place = _place(image, body & ~mask, spacing, recipe.radius, rng)
        here = (slice(None), *place.box)
        changed, covered = KINDS[recipe.kind](pixels[here], place, contrast, spread[recipe.contrast_unit], rng)
        pixels[here] = np.clip(changed, *limits)
        mask[place.box] |= covered
        change = np.abs(pixels[here] - image.pixels[here]).mean(axis=0)[covered].mean()
        noise = before[place.box][body[place.box] & (place.distance < 2)].std() or spread["sd"]
        centre = [int(start.start + at) for start, at in zip(place.box, place.centre, strict=True)]
        told = {"radius": place.radius, "contrast": contrast, "snr": float(change / noise), "centre": centre}
        lesions.append(told)
    return Planted(pixels, mask, lesions)


def _place(
    image: Image, free: np.ndarray, spacing: np.ndarray, radii: tuple[float, float], rng: np.random.Generator
) -> _Place:
    """Draw a radius for which there is room, and a centre at least that far from all that is not free."""
    depth = ndimage.distance_transform_edt(np.pad(free, 1), sampling=spacing)[(slice(1, -1),) * free.ndim]
    deepest = float(depth.max())
    if deepest < radii[0]:
        raise UnreadableImage(
            f"{image.path}: has no room for a lesion of radius {radii[0]:.3g}; what is free of the foreground is "
            f"{deepest:.3g} deep: choose a smaller radius, or fewer lesions"
        )
    radius = float(rng.uniform(radii[0], min(radii[1], deepest)))
    room = np.flatnonzero(depth >= radius)
    at = np.array(np.unravel_index(rng.choice(room), free.shape))
    reach = np.ceil(2 * radius / spacing).astype(int)
    starts, ends = np.maximum(at - reach, 0), np.minimum(at + reach + 1, free.shape)
    box = tuple(slice(int(start), int(end)) for start, end in zip(starts, ends, strict=True))
    axes = np.ogrid[box]
    steps = ((axis - c) * step / radius for axis, c, step in zip(axes, at, spacing, strict=True))
    distance = np.sqrt(sum(step**2 for step in steps))
    return _Place(box, at - starts, distance, free[box], spacing, radius)


def _sphere(
    pixels: np.ndarray, place: _Place, contrast: float, unit: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    return _added(pixels, place, place.distance, contrast * unit)


def _blob(
    pixels: np.ndarray, place: _Place, contrast: float, unit: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A ball whose surface is pushed in and out by smooth noise, with the ball's volume."""
    noise = ndimage.gaussian_filter(rng.standard_normal(place.distance.shape), 0.5 * place.radius / place.spacing)
    rough = ROUGH * np.clip(noise / noise.std(), -2, 2)
    field = np.where(place.distance < REACH, place.distance + rough, np.inf)
    field[tuple(place.centre)] = field.min()
    return _added(pixels, place, field, contrast * unit)


def _added(pixels: np.ndarray, place: _Place, field: np.ndarray, amount: float) -> tuple[np.ndarray, np.ndarray]:
    """Brighten the voxels where the field is lowest, as many as the ball of this radius has, fading at the edge."""
    ball = {2: np.pi, 3: 4 / 3 * np.pi}[field.ndim] * place.radius**field.ndim / np.prod(place.spacing)
    ranked = np.sort(field[place.allowed])
    edge = ranked[min(max(1, round(ball)), len(ranked)) - 1]
    labels, _ = ndimage.label(place.allowed & (field <= edge))
    covered = labels == labels[tuple(place.centre)]
    depth = edge - np.where(covered, field, edge)
    weight = np.where(covered, np.minimum(1, FAINTEST + depth / SOFT), 0)
    return (pixels + amount * weight).astype(np.float32), covered


def _deformed(
    pixels: np.ndarray, place: _Place, contrast: float, unit: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Push what is there outwards (contrast above 0) or pull it together, as a mass or a loss of tissue does.

    A voxel `rho` radii from the centre shows what was at rho (1 - contrast (1 - rho)^2), which never folds.
    """
    covered = place.allowed & (place.distance < 1)
    shrink = 1 - contrast * np.clip(1 - place.distance, 0, 1) ** 2
    axes = np.indices(place.distance.shape)
    centre = place.centre.reshape(-1, *(1,) * place.distance.ndim)
    source = centre + (axes - centre) * shrink
    moved = np.stack([ndimage.map_coordinates(channel, source, order=1, mode="nearest") for channel in pixels])
    return np.where(covered, moved, pixels).astype(np.float32), covered


KINDS: dict[
    str,
    Callable[[np.ndarray, _Place, float, float, np.random.Generator], tuple[np.ndarray, np.ndarray]],
] = {"blob": _blob, "sphere": _sphere, "deformation": _deformed}
