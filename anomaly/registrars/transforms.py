"""Where in the moving image each voxel of the fixed one is fetched from: an affine part and a deformation in one."""

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from anomaly.images import Image
from anomaly.registrars.grids import matrix_in, shared_plane
from anomaly.registrars.mirror import turned_axis

RIM = 0.5 + 1e-6
"""Voxels beyond the outer centres that still belong to an image: its border, as ITK takes it."""


@dataclass(frozen=True)
class Transform:
    """How a moving image is drawn on the grid of a fixed one.

    Args:
        places: (dims, *space) float64, for each voxel of the fixed image the place in the moving one, in its voxels.
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
        return cls(moved(matrix, np.indices(fixed.space, dtype=np.float64)), matrix, moving, fixed)

    def deformed(self, field: np.ndarray) -> "Transform":
        """With a deformation (dims, *space) in voxels of the fixed image: voxel p comes from matrix (p + field(p))."""
        return replace(self, places=moved(self.matrix, np.indices(self.fixed.space, dtype=np.float64) + field))

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
        return moved(back, self.places) - np.indices(self.fixed.space)

    @property
    def displacement(self) -> np.ndarray:
        """The whole displacement (*space, 3) in millimetres, RAS+, as `anomaly.images.fields.write_field` takes it.

        Between where ITK lays the two files, so that resampling the one onto the other by it gives what is drawn here,
        also where a file's two forms differ or its axes are sheared.
        """
        ends = [_in_body(self.moving, self.places), _in_body(self.fixed, np.indices(self.fixed.space))]
        return (ends[0] - ends[1]).astype(np.float32)

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


def moved(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points (dims, *space) under a matrix (dims + 1, dims + 1)."""
    dims = len(points)
    linear: np.ndarray = np.tensordot(matrix[:dims, :dims], points, axes=1)
    return linear + matrix[:dims, dims].reshape(-1, *(1,) * (points.ndim - 1))


def _in_body(image: Image, places: np.ndarray) -> np.ndarray:
    """Where voxels (dims, *space) lie, (*space, 3) in millimetres, RAS+, as ITK takes the file."""
    affine = image.frame.in_itk()
    found: np.ndarray = np.moveaxis(places, 0, -1) @ affine[:3, : image.ndim].T + affine[:3, 3]
    return found
