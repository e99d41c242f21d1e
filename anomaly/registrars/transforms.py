"""Where in the moving image each voxel of the fixed one is fetched from: an affine part and a deformation in one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from anomaly.images import Image
from anomaly.registrars.grids import matrix_in, shared_plane
from anomaly.registrars.mirror import turned_axis

RIM = 0.5 + 1e-4
"""Voxels beyond the outer centres that still belong to an image: its border, as ITK takes it, and some rounding."""


@dataclass(frozen=True)
class Transform:
    """How a moving image is drawn on the grid of a fixed one.

    Args:
        places: (dims, *space) float32, for each voxel of the fixed image the place in the moving one, in its voxels.
        matrix: (dims + 1, dims + 1), the affine part alone, voxel to voxel.
        moving, fixed: the two images.
    """

    places: np.ndarray
    matrix: np.ndarray
    moving: Image
    fixed: Image

    @classmethod
    def linear(cls, matrix: np.ndarray, moving: Image, fixed: Image) -> "Transform":
        """By a matrix alone, as `anomaly.registrars.linear.linear` gives it."""
        return cls(moved(matrix, _indices(fixed)), matrix, moving, fixed)

    def deformed(self, field: np.ndarray) -> "Transform":
        """With a deformation (dims, *space) in voxels of the fixed image: voxel p comes from matrix (p + field(p))."""
        points = [axis + part for axis, part in zip(_indices(self.fixed), field, strict=True)]
        return replace(self, places=moved(self.matrix, points))

    def turned_back(self, original: Image) -> "Transform":
        """The same for the image whose `mirrored` the moving one is: one place of the body to the one beside it."""
        axis = turned_axis(original)
        turn = np.eye(original.ndim + 1)
        turn[axis, axis], turn[axis, -1] = -1, original.space[axis] - 1
        return replace(self, places=moved(turn, self.places), matrix=turn @ self.matrix, moving=original)

    @property
    def field(self) -> np.ndarray:
        """The whole displacement (dims, *space) in voxels of the fixed image, by where the headers lay both images."""
        plane = shared_plane(self.moving, self.fixed)
        back = np.linalg.inv(matrix_in(self.fixed, plane)) @ matrix_in(self.moving, plane)
        ends = zip(_components(back[:-1], self.places), _indices(self.fixed), strict=True)
        return np.stack([(there - here).astype(np.float32) for there, here in ends])

    @property
    def displacement(self) -> np.ndarray:
        """The whole displacement (*space, 3) in millimetres, RAS+, as `anomaly.images.fields.write_field` takes it.

        Between where ITK lays the two files, so that resampling the one onto the other by it gives what is drawn here,
        also where a file's two forms differ or its axes are sheared.
        """
        there, here = (np.delete(image.frame.in_itk()[:3], slice(image.ndim, 3), axis=1)
                       for image in (self.moving, self.fixed))  # fmt: skip
        ends = zip(_components(there, self.places), _components(here, _indices(self.fixed)), strict=True)
        return np.stack([(one - other).astype(np.float32) for one, other in ends], axis=-1)

    @property
    def inside(self) -> np.ndarray:
        """(*space) bool, which voxels are fetched from within the moving image."""
        ends = np.array(self.moving.space).reshape(-1, *(1,) * self.moving.ndim) - 1 + RIM
        return np.asarray(((self.places >= -RIM) & (self.places <= ends)).all(0))

    def values(self, values: np.ndarray, *, nearest: bool = False, outside: float = 0.0) -> np.ndarray:
        """Values (*moving space) on the fixed grid (*space), interpolated once; labels by their nearest voxel."""
        found = ndimage.map_coordinates(values, self.places, order=0 if nearest else 1, mode="nearest")
        return np.where(self.inside, found, np.asarray(outside, dtype=values.dtype))

    def image(self, image: Image) -> Image:
        """An image on the moving grid drawn on the fixed one; what was not measured is padding, of its least value."""
        least = [float(channel.min()) for channel in image.pixels]
        pixels = np.stack([self.values(each, outside=low) for each, low in zip(image.pixels, least, strict=True)])
        padding = ~self.inside
        if image.padding is not None:
            padding |= self.values(image.padding.astype(np.float32), outside=1.0) > 0
        mask = None if image.mask is None else self.values(image.mask.astype(np.uint8), nearest=True) > 0
        return replace(
            image, pixels=pixels.astype(np.float32), affine=self.fixed.affine, source=self.fixed.source,
            measured=self.fixed.measured, padding=padding if padding.any() else None, mask=mask,
        )  # fmt: skip


def moved(matrix: np.ndarray, points: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
    """Points, one array an axis, under a matrix (dims + 1, dims + 1): (dims, *space) float32.

    The arrays need but broadcast to their space. Sums are made in float64, an axis at a time.
    """
    return np.stack([each.astype(np.float32) for each in _components(matrix[:-1], points)])


def _components(matrix: np.ndarray, points: Sequence[np.ndarray] | np.ndarray) -> Iterator[np.ndarray]:
    """What each row of a matrix (rows, dims + 1) makes of points, float64."""
    for *weights, offset in matrix:
        total: np.ndarray = np.asarray(offset)
        for weight, axis in zip(weights, points, strict=True):
            total = total + weight * np.asarray(axis, dtype=np.float64)
        yield total


def _indices(image: Image) -> Sequence[np.ndarray]:
    """The voxels of an image, along each axis of its own, to be broadcast."""
    return np.indices(image.space, sparse=True)
