"""What a deformable registrar is: two images on one grid in, a displacement field out.

The affine start is done before and elsewhere (`anomaly.registrars.affine`): the moving image comes drawn on the grid of
the fixed one, roughly where it belongs. What is found here is joined with that start into one transform, and the
moving image's own voxels are interpolated once, by both.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from anomaly.errors import AnomalyError


@runtime_checkable
class Registrar(Protocol):
    """Finds how one image has to be deformed to lie on another."""

    @property
    def name(self) -> str:
        """By which it is asked for."""
        ...

    def field(
        self, moving: np.ndarray, fixed: np.ndarray, *, spacing: Sequence[float], inside: np.ndarray | None = None,
        affine: np.ndarray | None = None,
    ) -> np.ndarray:  # fmt: skip
        """The displacement that draws the moving image on the fixed one: drawn(p) = moving(p + field(p)).

        Args:
            moving: (C, *space), in its own intensities, after the affine start, on the grid of the fixed image.
            fixed: (C, *space), in its own intensities.
            spacing: millimetres of a voxel along each axis of space.
            inside: (*space) bool, where both images were measured and count; None for everywhere.
            affine: (4, 4), where the grid lies, RAS+, for what has to know which axis points where; None for axes that
                point right, to the front and up.

        Returns:
            (dims, *space) float32, in voxels of the grid, component c along axis c, as in `anomaly.nets.fields`.
        """
        ...


def alike(moving: np.ndarray, fixed: np.ndarray, inside: np.ndarray | None) -> None:
    """Refuse two images that do not share their grid.

    Raises:
        AnomalyError: other axes or sizes, or a mask of another size.
    """
    if moving.shape[1:] != fixed.shape[1:] or fixed.ndim not in (3, 4):
        raise AnomalyError(
            f"images have the shapes {moving.shape} and {fixed.shape}; expected (C, *space) on one grid of 2 or 3 axes"
        )
    if inside is not None and inside.shape != fixed.shape[1:]:
        raise AnomalyError(f"the mask has the shape {inside.shape}; expected {fixed.shape[1:]}")
