"""Images as SimpleITK takes them: one channel, on a grid whose place in the body two images share."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Any

import numpy as np

from anomaly.errors import AnomalyError, MissingPackage
from anomaly.images import Image

EXTRA = "pip install 'anomaly-explain[register]'"
SAME_PLANE = 0.9  # of the area of a slice, what is seen of it from the plane of the other


def simpleitk() -> Any:
    """The module SimpleITK, an extra of the project.

    Raises:
        MissingPackage: it is not installed.
    """
    try:
        import SimpleITK
    except ImportError as error:
        raise MissingPackage(f"registration needs SimpleITK, which is missing: {EXTRA}") from error
    return SimpleITK


_LOCK = Lock()
_HELD: list[int] = []
"""What the number of threads was before, once for each block that holds it at one."""

_SHOWN: list[bool] = []
"""Whether warnings were shown before, once for each block that keeps them quiet."""


@contextmanager
def one_thread() -> Iterator[None]:
    """Let SimpleITK work in one thread a call: sums are then made in one order, and give the same bytes on any machine.

    Some of its metrics ask for no other number than the one that is set for all.
    """
    process = simpleitk().ProcessObject
    with _LOCK:
        _HELD.append(_HELD[0] if _HELD else process.GetGlobalDefaultNumberOfThreads())
        process.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        with _LOCK:
            before = _HELD.pop()
            if not _HELD:
                process.SetGlobalDefaultNumberOfThreads(before)


@contextmanager
def quiet() -> Iterator[None]:
    """Let SimpleITK write no warnings of its own on the terminal: what they say is told in tables."""
    process = simpleitk().ProcessObject
    with _LOCK:
        _SHOWN.append(_SHOWN[0] if _SHOWN else process.GetGlobalWarningDisplay())
        process.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        with _LOCK:
            before = _SHOWN.pop()
            if not _SHOWN:
                process.SetGlobalWarningDisplay(before)


def grey(image: Image) -> np.ndarray:
    """What registrars look at, (*space) float32: the mean of the channels."""
    values: np.ndarray = image.pixels.mean(0)
    return values


def measured(image: Image) -> np.ndarray | None:
    """(*space) bool, what of an image counts: what was measured, and lies in its mask; None for all of it."""
    parts = [each for each in (image.mask, None if image.padding is None else ~image.padding) if each is not None]
    return None if not parts else np.logical_and.reduce(parts)


def shared_plane(moving: Image, fixed: Image) -> np.ndarray:
    """The directions that both images share, as columns (3, dims): the body's, or of slices those of the fixed one.

    Raises:
        AnomalyError: one is a slice and one a volume, or two slices lie in different planes of the body.
    """
    if moving.ndim != fixed.ndim:
        raise AnomalyError(f"{moving.path} has {moving.ndim} axes, {fixed.path} {fixed.ndim}; register like with like")
    if fixed.ndim == 3:
        return np.eye(3)
    directions: np.ndarray = fixed.affine[:3, :2] / np.linalg.norm(fixed.affine[:3, :2], axis=0)
    theirs = moving.affine[:3, :2] / np.linalg.norm(moving.affine[:3, :2], axis=0)
    if abs(np.linalg.det(directions.T @ theirs)) < SAME_PLANE:
        raise AnomalyError(f"{moving.path} is a slice in another plane than {fixed.path}; register slices of one plane")
    return directions


def matrix_in(image: Image, plane: np.ndarray) -> np.ndarray:
    """(dims + 1, dims + 1), index to millimetres along the directions (3, dims) of a plane, or of the body."""
    dims = image.ndim
    found = np.eye(dims + 1)
    found[:dims, :dims] = plane.T @ image.affine[:3, :dims]
    found[:dims, dims] = plane.T @ image.affine[:3, 3]
    return found


def on_grid(values: np.ndarray, matrix: np.ndarray) -> Any:
    """Values (*space) as an image of SimpleITK that lies where a matrix (dims + 1, dims + 1) says.

    In memory ITK takes sheared axes as they are; only its reader of NIfTI sets them upright.
    """
    dims = values.ndim
    image = simpleitk().GetImageFromArray(np.ascontiguousarray(values.T))
    spacing = np.linalg.norm(matrix[:dims, :dims], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((matrix[:dims, :dims] / spacing).flatten().tolist())
    image.SetOrigin(matrix[:dims, dims].tolist())
    return image


def plain(values: np.ndarray, spacing: Sequence[float]) -> Any:
    """Values (*space) as an image of SimpleITK whose axes are those of the array, begun at 0."""
    return on_grid(values, np.diag([*spacing, 1.0]))


def vectors(field: np.ndarray, spacing: Sequence[float]) -> Any:
    """A field (dims, *space) in voxels as SimpleITK's image of displacements in millimetres."""
    millimetres = np.stack([part * step for part, step in zip(field, spacing, strict=True)])
    image = simpleitk().GetImageFromArray(np.ascontiguousarray(millimetres.T.astype(np.float64)), isVector=True)
    image.SetSpacing([float(step) for step in spacing])
    return image


def voxels(image: Any, spacing: Sequence[float]) -> np.ndarray:
    """The field (dims, *space) in voxels that SimpleITK's image of displacements in millimetres is."""
    found = simpleitk().GetArrayFromImage(image).T
    return np.stack([part / step for part, step in zip(found, spacing, strict=True)]).astype(np.float32)
