"""Solid shapes as signed distances in millimetres: negative inside, and smooth, so that edges fall between pixels.

`x` points away from the other knee (lateral), `y` forwards (anterior), `z` upwards (superior); the joint line of
the knee is near the origin. `x` may have another shape than `y` and `z`, as long as they broadcast: what does not
depend on `x` is then worked out once for all slices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import ndimage
from scipy.interpolate import PchipInterpolator

_LATTICE = 48  # nodes a side of the random lattice that all textures are read from; it repeats
_HEIGHTS = np.arange(-130.0, 130.5, 0.5)  # where outlines are tabulated, mm


@dataclass(frozen=True)
class Points:
    """Where the pixels lie: x, y, z in mm, each broadcastable to the picture, and the width of a pixel in mm."""

    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    pixel: float

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the picture."""
        return np.broadcast_shapes(self.x.shape, self.y.shape, self.z.shape)

    def turned(self, degrees: float, *, y: float, z: float) -> Points:
        """The points as a body sees them that turned forwards about (y, z) in the sagittal plane."""
        cosine, sine = np.float32(np.cos(np.deg2rad(degrees))), np.float32(np.sin(np.deg2rad(degrees)))
        along, above = self.y - np.float32(y), self.z - np.float32(z)
        turned_y, turned_z = cosine * along - sine * above + y, sine * along + cosine * above + z
        return Points(self.x, turned_y.astype(np.float32), turned_z.astype(np.float32), self.pixel)

    def moved(self, *, y: np.ndarray | float = 0.0, z: np.ndarray | float = 0.0) -> Points:
        """The points as a body sees them that moved by (y, z) mm."""
        return Points(self.x, (self.y - y).astype(np.float32), (self.z - z).astype(np.float32), self.pixel)


def coverage(distance: np.ndarray, pixel: float) -> np.ndarray:
    """Share of each pixel inside a shape, 0..1, from the signed distance to its edge."""
    return np.clip(np.float32(0.5) - distance / np.float32(pixel), 0, 1)


def union(first: np.ndarray, second: np.ndarray, blend: float) -> np.ndarray:
    """Both shapes together; where their edges are within `blend` mm of each other the corner is rounded."""
    close = np.maximum(np.float32(blend) - np.abs(first - second), 0)
    return np.minimum(first, second) - close * close * np.float32(0.25 / blend)


def intersection(first: np.ndarray, second: np.ndarray, blend: float) -> np.ndarray:
    """What lies in both shapes, with the corner rounded as in `union`."""
    return -union(-first, -second, blend)


def ball(points: Points, *, y: float, z: float, radius: np.ndarray | float) -> np.ndarray:
    """A cylinder across the knee: a disc in every sagittal slice. `radius` may differ from slice to slice."""
    return np.hypot(points.y - np.float32(y), points.z - np.float32(z)) - radius


def rod(points: Points, *, x: float, y: float, z: float, reach: float, radius: float) -> np.ndarray:
    """A round rod across the knee, centred at (x, y, z), `reach` mm long to either side."""
    beyond = np.maximum(np.abs(points.x - np.float32(x)) - np.float32(reach), 0)
    away = (points.y - np.float32(y)) ** 2 + (points.z - np.float32(z)) ** 2
    return np.sqrt(away + beyond * beyond) - np.float32(radius)


def beak(points: Points, *, x: float, reach: float, root: tuple[float, float], tip: tuple[float, float]) -> np.ndarray:
    """A ridge across the knee about `x`, `reach` mm long to either side, that narrows from root to tip (y, z)."""
    beyond = np.maximum(np.abs(points.x - np.float32(x)) - np.float32(reach), 0)
    along, above = points.y - np.float32(root[0]), points.z - np.float32(root[1])
    ahead, up = tip[0] - root[0], tip[1] - root[1]
    share = np.clip((along * np.float32(ahead) + above * np.float32(up)) / np.float32(ahead**2 + up**2), 0, 1)
    away = (along - share * np.float32(ahead)) ** 2 + (above - share * np.float32(up)) ** 2
    return np.sqrt(away + beyond * beyond) - np.float32(3.2) + np.float32(1.2) * share


def strip(points: Points, rows: Sequence[tuple[float, float, float]]) -> np.ndarray:
    """What lies between two curves, given as rows (z, back, front) in mm from the top down."""
    back, front = outline(points, rows)
    middle, half = (back + front) / 2, (front - back) / 2
    lean = np.float32(_lean(tuple(rows)))
    beyond = np.maximum(points.z - np.float32(rows[0][0]), np.float32(rows[-1][0]) - points.z)
    return np.maximum((np.abs(points.y - middle) - half) * lean, beyond)


def outline(points: Points, rows: Sequence[tuple[float, float, float]]) -> tuple[np.ndarray, np.ndarray]:
    """The two curves of `strip` at the height of every point; beyond the rows their ends go on."""
    back, front = _curves(tuple(rows))
    one, other = (np.interp(points.z, _HEIGHTS, curve).astype(np.float32) for curve in (back, front))
    return one, other


def step(values: np.ndarray, start: float, stop: float) -> np.ndarray:
    """Rise smoothly from 0 at `start` to 1 at `stop` (which may lie below `start`)."""
    share = np.clip((values - np.float32(start)) / np.float32(stop - start), 0, 1)
    return share * share * (3 - 2 * share)


def grain(points: Points, *, width: tuple[float, float, float], offset: np.ndarray) -> np.ndarray:
    """Smooth random texture of unit variance, its grains `width` mm (x, y, z); `offset` (3,) says which part of it."""
    places = [
        np.broadcast_to(values / np.float32(size) + np.float32(start), points.shape)
        for values, size, start in zip((points.x, points.y, points.z), width, offset, strict=True)
    ]
    return ndimage.map_coordinates(_lattice(), places, order=1, mode="grid-wrap", output=np.float32)


@lru_cache(maxsize=1)
def _lattice() -> np.ndarray:
    noise = np.random.default_rng([1, _LATTICE]).normal(size=(_LATTICE,) * 3)
    smooth = ndimage.gaussian_filter(noise, 0.8, mode="wrap")
    return ((smooth - smooth.mean()) / smooth.std()).astype(np.float32)


@lru_cache(maxsize=256)
def _curves(rows: tuple[tuple[float, float, float], ...]) -> tuple[np.ndarray, np.ndarray]:
    table = np.array(sorted(rows))
    held = np.clip(_HEIGHTS, table[0, 0], table[-1, 0])
    back, front = PchipInterpolator(table[:, 0], table[:, 1:])(held).T
    return back, front


@lru_cache(maxsize=256)
def _lean(rows: tuple[tuple[float, float, float], ...]) -> float:
    """Cosine of the mean slope, which makes a leaning strip's sideways distance a true one."""
    table = np.array(sorted(rows))
    slope = np.polyfit(table[:, 0], table[:, 1:].mean(axis=1), 1)[0]
    return float(1 / np.hypot(1, slope))
