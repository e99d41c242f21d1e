"""The mean of many images in their mean shape: what is taken out of transforms, and how images are added up."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import torch
from scipy import linalg

from anomaly.images import Image
from anomaly.images.frame import Frame
from anomaly.nets.fields import compose, invert
from anomaly.registrars.grids import grey, matrix_in, measured, shared_plane
from anomaly.registrars.transforms import Transform

EDGES = (1, 99)


def reference(image: Image) -> Image:
    """What a cohort is first laid on: the grid of one image and its values, of one channel, where they count."""
    inside = measured(image)
    padding = None if inside is None else ~inside
    return replace(image, pixels=scaled(image)[None], limits=None, mask=None, padding=padding)


def scaled(image: Image) -> np.ndarray:
    """Grey values (*space) from 0, at the first percentile, to 1, at the 99th, so that all images weigh alike."""
    values, inside = grey(image), measured(image)
    low, high = np.percentile(values if inside is None else values[inside], EDGES)
    found: np.ndarray = ((values - low) / (float(high - low) or 1.0)).astype(np.float32)
    return found


def centred(still: Image, images: Iterable[Image], matrices: Sequence[np.ndarray]) -> tuple[Image, list[np.ndarray]]:
    """Take the mean of all affine transforms out, so that a template is of the mean place and size.

    The mean is that of the logarithms, in millimetres: turns to either side leave no shrinkage. The template's grid
    keeps its voxels and their directions, and follows the middle of the field of view.

    Args:
        still: the template.
        images: those that lie on it, in the order of their matrices.
        matrices: voxel of the template to voxel of each image.

    Returns:
        The template on its new grid, its values not moved yet, and the new matrices.
    """
    grids, maps = [], []
    for image, matrix in zip(images, matrices, strict=True):
        plane = shared_plane(image, still)
        grids.append(matrix_in(image, plane))
        maps.append(grids[-1] @ matrix @ np.linalg.inv(matrix_in(still, plane)))
    plane, dims = shared_plane(still, still), still.ndim
    mean = np.real(linalg.expm(sum(np.real(linalg.logm(each)) for each in maps) / len(maps)))
    old = matrix_in(still, plane)
    middle = old @ [*((side - 1) / 2 for side in still.space), 1]
    step = plane @ (mean @ middle - middle)[:dims]
    affine = still.affine.copy()
    affine[:3, 3] += step
    found = replace(still, affine=affine, source=None if still.source is None else Frame(affine))
    back = np.linalg.inv(mean) @ matrix_in(found, plane)
    return found, [np.linalg.inv(grid) @ each @ back for grid, each in zip(grids, maps, strict=True)]


def residual(mean: np.ndarray) -> np.ndarray:
    """The field (dims, *space) that undoes the mean of all fields of a cohort."""
    there = torch.from_numpy(np.ascontiguousarray(mean, dtype=np.float32))[None]
    return np.asarray(invert(there)[0].numpy())


def without(field: np.ndarray, undone: np.ndarray) -> np.ndarray:
    """A field (dims, *space) with the mean's inverse joined before it."""
    both = (torch.from_numpy(np.ascontiguousarray(each, dtype=np.float32))[None] for each in (field, undone))
    return np.asarray(compose(*both)[0].numpy())


def added(image: Image, still: Image, matrix: np.ndarray, field: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """What one image adds to the mean, and where: values scaled to weigh alike, and a weight of 0 or 1, (*space)."""
    transform = Transform.linear(matrix, image, still)
    if field is not None:
        transform = transform.deformed(field)
    inside = transform.inside
    if image.padding is not None:
        inside &= transform.values(image.padding.astype(np.float32), outside=1.0) == 0
    return transform.values(scaled(image)) * inside, inside.astype(np.float32)
