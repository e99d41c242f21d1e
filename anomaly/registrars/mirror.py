"""Images seen in a mirror, so that a left knee can be laid on a right one."""

from dataclasses import replace

import numpy as np

from anomaly.errors import AnomalyError
from anomaly.images import Image


def mirrored(image: Image) -> Image:
    """The same volume seen in a mirror: its left is right, and it lies where the other knee would.

    Turns round the axis of the voxels that is closest to right-left, and moves the grid by x -> -x about the middle of
    the scanner, so that axes keep their directions. Exact whatever the obliquity; twice gives the image again.

    Raises:
        AnomalyError: a picture, whose file does not tell where left is.
    """
    if image.ndim != 3:
        raise AnomalyError(
            f"{image.path}: is a picture, which does not tell where left is; sagittal slices need no mirror, of "
            "radiographs write copies that are turned round"
        )
    axis = turned_axis(image)
    turn = np.eye(4)
    turn[axis, axis], turn[axis, 3] = -1, image.space[axis] - 1
    affine = np.diag([-1.0, 1.0, 1.0, 1.0]) @ image.affine @ turn
    padding, mask = (None if each is None else np.flip(each, axis).copy() for each in (image.padding, image.mask))
    pixels = np.flip(image.pixels, axis + 1).copy()
    return replace(image, pixels=pixels, affine=affine, padding=padding, mask=mask)


def turned_axis(image: Image) -> int:
    """The axis of a volume's voxels that is closest to right-left."""
    return int(np.argmax(np.abs(image.affine[0, :3]) / np.linalg.norm(image.affine[:3, :3], axis=0)))
