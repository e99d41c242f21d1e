"""Two visits of one person as a network takes them: maps from 0 to 1 on one grid, what counts, the image beside."""

import dataclasses
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anomaly.errors import UnreadableImage
from anomaly.images import Image, read
from anomaly.images.image import alone, same_grid
from anomaly.images.masking import masked
from anomaly.images.prepared import Prepared
from anomaly.images.preprocessing import Preprocessing
from anomaly.levels import DARKEST
from anomaly.progression.pairing import BEFORE, BEFORE_MAP, MAP
from anomaly.streams import ordered

BEYOND = 1e-3
"""How far a map may leave [0, 1] by rounding."""
AHEAD = 4


@dataclass(frozen=True)
class Reading:
    """How pairs of visits are read; kept with a run.

    Args:
        preprocessing: of the images, and of the grid of maps and images.
        span: values of maps that count as 0 and 1; None takes those of 0 to 1 as they are, and a picture by its depth.
        beside: whether the image of the first visit is a further channel.
        flags: without a span, whether pictures hold 0 and 1 as such, as `flags_alone` tells of all of a training.
    """

    preprocessing: Preprocessing
    span: tuple[float, float] | None
    beside: bool
    flags: bool = False

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> "Reading":
        """As a plan or `run.json` tells it."""
        span = None if facts["range"] is None else (float(facts["range"][0]), float(facts["range"][1]))
        return cls(Preprocessing(**facts["preprocessing"]), span, facts["image"] == "beside", facts["flags"])

    def span_of(self, image: Image) -> tuple[float, float]:
        """Which values of a map count as 0 and 1."""
        if self.span is not None:
            return self.span
        by_depth = image.kind == "picture" and not self.flags
        return image.limits if by_depth and image.limits is not None else (0.0, 1.0)

    @property
    def of_maps(self) -> Preprocessing:
        """How maps come to the same grid, 0 as -1 and 1 as 1."""
        return dataclasses.replace(
            self.preprocessing, intensity="window", window=(0.0, 1.0), channels=1, foreground="none"
        )


@dataclass(frozen=True)
class Pair:
    """Two visits of one person.

    Args:
        pixels: (S, 3 or more, *size) as `anomaly.evolution` takes pairs.
        before, after: maps on the grid of their file, (*space) in [0, 1].
        image: the map now, as read: its file, grid and frame.
        prepared: as the map now was prepared, which knows the way back.
        span: which values of the map now, in its file, count as 0 and 1.
        seen: the image now, (*space), for pictures.
    """

    pixels: np.ndarray
    before: np.ndarray
    after: np.ndarray
    image: Image
    prepared: Prepared
    span: tuple[float, float]
    seen: np.ndarray

    @property
    def voxel(self) -> float:
        """The volume of one of its file's voxels, in `unit`."""
        return self.image.voxel

    @property
    def unit(self) -> str:
        """Of volumes: mm3 of volumes and mm2 of slices whose file says how large a voxel is, else pixels."""
        return self.image.unit

    @property
    def counted(self) -> np.ndarray:
        """What counts of the file's grid, (*space) bool."""
        return np.ones(self.before.shape, dtype=bool) if self.image.mask is None else self.image.mask

    @property
    def cell(self) -> float:
        """The volume of a pixel of the network's grid, in `unit`."""
        return self.voxel * abs(float(np.linalg.det(self.prepared.matrix)))


def read_pair(row: Mapping[str, Any], reading: Reading, *, known: bool = True) -> Pair:
    """Read and prepare two visits.

    Args:
        row: of `Visits.found`.
        reading: how.
        known: whether there is a next visit; without one it is taken to be as now, and not looked at.

    Raises:
        UnreadableImage: a file is missing, damaged, has other values than maps have, or lies on another grid.
    """
    first, mask = Path(row[BEFORE_MAP] or ""), row.get("mask") if reading.preprocessing.mask == "given" else None
    if not row[BEFORE_MAP] or (known and not row[MAP]):
        which = "now" if not row[BEFORE_MAP] else "at the next visit"
        raise UnreadableImage(f"{row['path']}: there is no map of it {which}; give one, or leave it out")
    now = masked(read(first), mask)
    then = read(Path(row[MAP])) if known else now
    image = now if str(row[BEFORE]) == str(row[BEFORE_MAP]) else read(Path(row[BEFORE]))
    _refuse_other_grid(now, then, "map of the next visit")
    if reading.beside:
        _refuse_other_grid(now, image, "image")
    return alone(first, partial(_made, now, then, image, reading))


def _made(now: Image, then: Image, image: Image, reading: Reading) -> Pair:
    before, after = (_scaled(each, reading) for each in (now, then))
    own = dataclasses.replace(now, pixels=before[None], kind="array", limits=None)
    prepared, later = (reading.of_maps.apply(dataclasses.replace(own, pixels=each[None])) for each in (before, after))
    parts = [_likely(prepared), _likely(later), prepared.foreground.astype(np.float32)]
    if reading.beside:
        shown = dataclasses.replace(image, mask=now.mask)
        parts.append(reading.preprocessing.apply(shown).pixels)
    pixels = np.concatenate(parts, axis=1).astype(np.float32)
    seen = image.pixels.mean(0) if image.space == now.space else now.pixels.mean(0)
    return Pair(pixels, before, after, now, prepared, reading.span_of(now), seen)


def _likely(prepared: Prepared) -> np.ndarray:
    """A prepared map back in [0, 1]; within a mask the darkest stands for 0."""
    values = (prepared.pixels + 1) / 2
    darkest = (DARKEST + 1) / 2 + BEYOND
    return np.where(prepared.foreground & (values > darkest), values, 0 if prepared.mask is not None else values)


def _scaled(image: Image, reading: Reading) -> np.ndarray:
    """The map (*space) of a file from 0 to 1."""
    if len(image.pixels) != 1:
        raise UnreadableImage(
            f"{image.path}: has {len(image.pixels)} channels, a map has one; save the map alone"
        )  # fmt: skip
    span = reading.span_of(image)
    values = (image.pixels[0] - span[0]) / (span[1] - span[0])
    low, high = float(values.min()), float(values.max())
    if reading.span is None and (low < -BEYOND or high > 1 + BEYOND):
        flags = image.kind == "picture" and reading.flags
        told = "the pictures that were learned from hold 0 and 1 alone; save it like them" if flags else (
            "a map's from 0 to 1; say which count as 0 and 1, as --range 0,255; what lies beyond is cut"
        )  # fmt: skip
        raise UnreadableImage(
            f"{image.path}: its values go from {image.pixels.min():g} to {image.pixels.max():g}, {told}"
        )
    found: np.ndarray = values.clip(0, 1).astype(np.float32)
    return found


def flags_alone(pairs: pd.DataFrame, workers: int | None = None) -> bool:
    """Whether the maps of a cohort that are pictures hold 0 and 1 alone, and some a 1, which then are what they say.

    One map cannot tell: grey 1 of 255 is a small probability, and a map where nothing is there may hold no more.
    """
    files = dict.fromkeys(str(file) for name in (BEFORE_MAP, MAP) for file in pairs[name] if file)
    there = False
    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        for only in ordered(pool, _flags, list(files), ahead=AHEAD):
            if only is False:
                return False
            there = there or bool(only)
    return there


def _flags(file: str) -> bool | None:
    """Whether a picture holds 0 and 1 alone; None of an empty one, of what is none, or cannot be read."""
    try:
        image = read(Path(file))
    except UnreadableImage:
        return None
    if image.kind != "picture" or not image.pixels.any():
        return None
    return bool(np.isin(image.pixels, (0, 1)).all())


def _refuse_other_grid(image: Image, other: Image, what: str) -> None:
    if not same_grid(image, other):
        raise UnreadableImage(
            f"{image.path}: the {what} {other.path.name} lies on another grid "
            f"({' x '.join(map(str, image.space))} here, {' x '.join(map(str, other.space))} there, or elsewhere in "
            "space); register them first, by `anomaly register visits`"
        )
