"""Label maps varied for training: bent, mirrored, and with lesions of one person laid into another."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage, signal

from anomaly.errors import AnomalyError
from anomaly.painters.mapped import NOWHERE

SAME = 0.95
"""Share of a lesion that has to lie on the tissue that it came from."""
OF_ONE = 0.6
"""Share of a lesion's surroundings that has to be one tissue, so that it is said to lie in it."""
STRETCH = 0.35
"""The most that neighbouring pixels of a bent map may come apart or close up, of a pixel: nothing is folded."""


@dataclass(frozen=True, kw_only=True)
class Varying:
    """How label maps are varied.

    bend: standard deviation of the smooth displacement along each axis, as a share of its side; 0 bends nothing.
    smooth: how smooth it is, the same share.
    mirror: axes along which a map is mirrored by chance, such as (1,); none where the left is no mirror of the right.
    lesions: places of classes that may be laid from one map into another.
    chance: that a lesion is laid in, of one of those who have such; asked once for each class.
    removed: chance that those of a class that are there are taken out first.

    Raises AnomalyError for a number that cannot be.
    """

    bend: float = 0.02
    smooth: float = 0.12
    mirror: tuple[int, ...] = ()
    lesions: tuple[int, ...] = ()
    chance: float = 0.5
    removed: float = 0.25

    def __post_init__(self) -> None:
        if self.bend < 0 or self.smooth <= 0:
            raise AnomalyError(f"bend is {self.bend} and smooth {self.smooth}; expected 0 or more, and above 0")
        if not (0 <= self.chance <= 1 and 0 <= self.removed <= 1):
            raise AnomalyError(f"chances are {self.chance} and {self.removed}; expected 0 to 1")
        if any(place < 1 for place in self.lesions):
            raise AnomalyError(f"lesions are the places {self.lesions}; the background, 0, is none")


def vary(
    places: np.ndarray,
    random: np.random.Generator,
    varying: Varying | None = None,
    donors: Sequence[np.ndarray] = (),
) -> np.ndarray:
    """A label map like this one that nobody has, of the same shape and type; the map given stays as it is.

    Args:
        places: (*space), whole numbers, the place of each pixel's class; 255 outside a mask.
        random: source of chance: the same state gives the same map.
        varying: what is done.
        donors: maps (*space) of other persons, whose lesions are laid in.
    """
    varying = varying or Varying()
    found = places.copy()
    for lesion in varying.lesions:
        if random.random() < varying.removed:
            found = without(found, lesion)
        having = [each for each in donors if (each == lesion).any()]
        if having and random.random() < varying.chance:
            found = laid_in(found, having[int(random.integers(len(having)))], lesion, random)
    for axis in varying.mirror:
        if random.random() < 0.5:
            found = np.flip(found, axis)
    return np.ascontiguousarray(bent(found, random, varying.bend, varying.smooth))


def bent(places: np.ndarray, random: np.random.Generator, bend: float = 0.02, smooth: float = 0.12) -> np.ndarray:
    """A map moved by a smooth random displacement, without folds; each pixel keeps one whole class.

    Args:
        places: (*space).
        random: source of chance.
        bend, smooth: see `Varying`.
    """
    if not bend:
        return places
    shifts, wide = list[np.ndarray](), [smooth * side for side in places.shape]
    for side in places.shape:
        field = ndimage.gaussian_filter(random.standard_normal(places.shape), wide, mode="reflect")
        shifts.append(field * (bend * side / max(float(field.std()), 1e-12)))
    slope = max(
        float(np.abs(np.diff(each, axis=axis)).max(initial=0)) for each in shifts for axis in range(places.ndim)
    )
    shrink = min(1.0, STRETCH / max(slope, 1e-12))
    at = [grid + shrink * shift for grid, shift in zip(np.indices(places.shape), shifts, strict=True)]
    return np.asarray(ndimage.map_coordinates(places, at, order=0, mode="nearest"), dtype=places.dtype)


def without(places: np.ndarray, lesion: int) -> np.ndarray:
    """A map whose lesions of one class are filled with the nearest of what is around them."""
    there = places == lesion
    if not there.any() or (there | (places == NOWHERE)).all():
        return places
    near = ndimage.distance_transform_edt(
        there | (places == NOWHERE), return_distances=False, return_indices=True
    )  # fmt: skip
    return np.where(there, places[tuple(near)], places).astype(places.dtype)


def laid_in(places: np.ndarray, donor: np.ndarray, lesion: int, random: np.random.Generator) -> np.ndarray:
    """A map with one lesion of another person, where there is as much of the tissue that it lay in; else as it is.

    A lesion is a connected part of its class; its tissue is the class that most of its rim is. It is laid where
    95 % of it come to lie on that tissue, at a place chosen by chance among all such.

    Args:
        places: (*space).
        donor: (*space), of the same size.
        lesion: place of its class.
        random: source of chance.

    Raises:
        AnomalyError: maps of two sizes.
    """
    if places.shape != donor.shape:
        raise AnomalyError(f"maps have the shapes {places.shape} and {donor.shape}; prepare them alike")
    parts, count = ndimage.label(donor == lesion)
    if not count:
        return places
    part = parts == 1 + int(random.integers(count))
    tissue = _tissue_around(donor, part, lesion)
    if tissue is None:
        return places
    shape = part[ndimage.find_objects(part.astype(np.uint8))[0]]
    room = signal.fftconvolve((places == tissue).astype(float), np.flip(shape).astype(float), mode="valid")
    fits = np.argwhere(room >= SAME * shape.sum() - 0.5)
    if not len(fits):
        return places
    start = fits[int(random.integers(len(fits)))]
    box = tuple(slice(int(a), int(a) + side) for a, side in zip(start, shape.shape, strict=True))
    found = places.copy()
    found[box] = np.where(shape & (places[box] == tissue), lesion, places[box])
    return found


def _tissue_around(donor: np.ndarray, part: np.ndarray, lesion: int) -> int | None:
    """What most of a lesion's rim is; None where that is no one tissue, or background, which is anything and air."""
    rim = ndimage.binary_dilation(part) & ~part & (donor != lesion) & (donor != NOWHERE)
    values, counts = np.unique(donor[rim], return_counts=True)
    if not len(values) or counts.max() < OF_ONE * counts.sum():
        return None
    return int(values[counts.argmax()]) or None
