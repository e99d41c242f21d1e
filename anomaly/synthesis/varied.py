"""Label maps varied for training: bent, mirrored, and with lesions of one person laid into another."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, isfinite, log2

import numpy as np
from scipy import ndimage, signal

from anomaly.errors import AnomalyError
from anomaly.painters.mapped import NOWHERE

SAME = 0.95
"""Share of a lesion that has to lie on the tissue that it came from."""
OF_ONE = 0.6
"""Share of a lesion's surroundings that has to be one tissue, so that it is said to lie in it."""
STRETCH = 0.4
"""The most that neighbouring pixels may come apart or close up in one of the small steps that bending is made of,
summed over axes, of a pixel."""
NEAR = 0.01
"""How far the standard deviation of a displacement may lie from what was asked, as a share of it."""
Donor = Callable[[int], "np.ndarray | None"]
"""A class of lesions -> a map (*space) of another person that has one; None where nobody does."""


@dataclass(frozen=True, kw_only=True)
class Varying:
    """How label maps are varied.

    bend: standard deviation of the smooth displacement along each axis, as a share of its side; 0 bends nothing, and
        half of `smooth` is the most: beyond, what is bent so near to where it is not would fold.
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
        if not self.bend >= 0 or not self.smooth > 0:
            raise AnomalyError(f"bend is {self.bend} and smooth {self.smooth}; expected 0 or more, and above 0")
        if not (isfinite(self.smooth) and self.bend <= self.smooth / 2):
            raise AnomalyError(
                f"bend is {self.bend} and smooth {self.smooth}; expected a bend of half of smooth at most, or maps fold"
            )
        if len(set(self.mirror)) < len(self.mirror) or any(axis not in (0, 1, 2) for axis in self.mirror):
            raise AnomalyError(f"mirror is {self.mirror}; expected axes from 0 to 2, each once")
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

    Raises:
        AnomalyError: a map without an axis that is to be mirrored, or maps of two sizes.
    """

    def donor(lesion: int) -> np.ndarray | None:
        having = [each for each in donors if (each == lesion).any()]
        return having[int(random.integers(len(having)))] if having else None

    return varied(places, random, varying or Varying(), donor)[0]


def varied(
    places: np.ndarray, random: np.random.Generator, varying: Varying, donor: Donor
) -> tuple[np.ndarray, tuple[int, ...]]:
    """The same with a donor for each class of lesions, and the classes of which one was laid in.

    Raises:
        AnomalyError: as `vary`.
    """
    if lacking := [axis for axis in varying.mirror if axis >= places.ndim]:
        raise AnomalyError(f"axis {lacking[0]} is to be mirrored, and the map has {places.ndim}, counted from 0")
    found, laid = places.copy(), list[int]()
    for lesion in varying.lesions:
        if random.random() < varying.removed:
            found = without(found, lesion)
        if random.random() < varying.chance and (other := donor(lesion)) is not None:
            before = found
            found = laid_in(found, other, lesion, random)
            laid += [lesion] if (found != before).any() else []
    for axis in varying.mirror:
        if random.random() < 0.5:
            found = np.flip(found, axis)
    return np.ascontiguousarray(bent(found, random, varying.bend, varying.smooth)), tuple(laid)


def bent(places: np.ndarray, random: np.random.Generator, bend: float = 0.02, smooth: float = 0.12) -> np.ndarray:
    """A map moved by a smooth random displacement, without folds; each pixel keeps one whole class.

    Args:
        places: (*space).
        random: source of chance.
        bend, smooth: see `Varying`.
    """
    if not bend:
        return places
    at = np.indices(places.shape) + displacement(places.shape, random, bend, smooth)
    return np.asarray(ndimage.map_coordinates(places, at, order=0, mode="nearest"), dtype=places.dtype)


def displacement(space: Sequence[int], random: np.random.Generator, bend: float, smooth: float) -> np.ndarray:
    """A smooth random displacement without folds, (axes, *space) pixels, of the standard deviations asked.

    A random field under a Gaussian is followed for a unit of time, by squaring (Arsigny et al. 2006): a displacement so
    small that it cannot fold is composed with itself, and the result again, until all of it is there.

    Args:
        space: sides of the map.
        random: source of chance.
        bend, smooth: see `Varying`.
    """
    wide, each = [smooth * side for side in space], (-1, *[1] * len(space))
    pace = np.stack([ndimage.gaussian_filter(random.standard_normal(space), wide, mode="reflect") for _ in space])
    asked, own = bend * np.array(space), np.maximum(_spread(pace), 1e-12)
    for _ in range(8):
        pace = pace * np.reshape(asked / own, each)
        moved = _followed(pace)
        own = np.maximum(_spread(moved), 1e-12)
        if np.abs(own / asked - 1).max() < NEAR:
            break
    return moved


def _spread(fields: np.ndarray) -> np.ndarray:
    return np.asarray(fields.std(axis=tuple(range(1, fields.ndim))))


def _followed(pace: np.ndarray) -> np.ndarray:
    """Where a unit of time leads along a field of velocities (axes, *space), less where it began."""
    axes = range(pace.ndim - 1)
    slope = max(float(np.abs(np.diff(each, axis=axis)).max(initial=0)) for each in pace for axis in axes)
    halvings = max(0, ceil(log2(max(slope * len(axes) / STRETCH, 1e-12))))
    moved, grid = pace / 2**halvings, np.indices(pace.shape[1:])
    for _ in range(halvings):
        at = grid + moved
        moved = moved + np.stack([ndimage.map_coordinates(each, at, order=1, mode="nearest") for each in moved])
    return moved


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
