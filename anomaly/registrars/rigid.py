"""Images moved and turned as a whole until they lie on others, and images seen in a mirror."""

from dataclasses import replace
from typing import Any

import numpy as np

from anomaly.errors import AnomalyError
from anomaly.images import Image

SAME_PLANE = 0.9  # of the area of a slice, what is seen of it from the plane of the other
ROUNDS = 200
SAMPLED = 0.2
BINS = 50
"""Of the joint histogram of Mattes' mutual information."""


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
    axis = int(np.argmax(np.abs(image.affine[0, :3]) / np.linalg.norm(image.affine[:3, :3], axis=0)))
    turn = np.eye(4)
    turn[axis, axis], turn[axis, 3] = -1, image.space[axis] - 1
    affine = np.diag([-1.0, 1.0, 1.0, 1.0]) @ image.affine @ turn
    padding = None if image.padding is None else np.flip(image.padding, axis).copy()
    return replace(image, pixels=np.flip(image.pixels, axis + 1).copy(), affine=affine, padding=padding)


def register(moving: Image, fixed: Image, *, seed: int = 0) -> Image:
    """One image moved and turned, not deformed, until it lies on another; on the other's grid.

    Mattes' mutual information of the first channels, from coarse to fine, begun where the centres of mass meet
    (SimpleITK). What lies outside becomes the least value of the image.

    Args:
        moving: what is moved, such as the mirrored painless knee.
        fixed: what it is laid on.
        seed: of the voxels that are compared.

    Raises:
        AnomalyError: SimpleITK is not there, one is a picture and one a volume, or no overlap is found.
    """
    itk = _itk()
    if moving.ndim != fixed.ndim:
        raise AnomalyError(f"{moving.path} has {moving.ndim} axes, {fixed.path} {fixed.ndim}; register like with like")
    plane = _plane(moving, fixed)
    still, (first, *rest) = _on_grid(itk, fixed, plane)[0], _on_grid(itk, moving, plane)
    rigid = itk.Euler3DTransform() if fixed.ndim == 3 else itk.Euler2DTransform()
    method = itk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(BINS)
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(SAMPLED, seed + 1)  # 0 would take the clock
    method.SetInterpolator(itk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(learningRate=1.0, minStep=1e-3, numberOfIterations=ROUNDS)
    method.SetOptimizerScalesFromPhysicalShift()
    factors = [factor for factor in (4, 2, 1) if min(fixed.space) >= 8 * factor] or [1]
    method.SetShrinkFactorsPerLevel(factors)
    method.SetSmoothingSigmasPerLevel([factor / 2 if factor > 1 else 0.0 for factor in factors])
    try:
        start = itk.CenteredTransformInitializer(still, first, rigid, itk.CenteredTransformInitializerFilter.MOMENTS)
        method.SetInitialTransform(start)
        found = method.Execute(still, first)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise AnomalyError(f"{moving.path} could not be registered to {fixed.path}: {reason}") from error
    laid = [itk.GetArrayFromImage(itk.Resample(each, still, found, itk.sitkLinear, 0.0)).T for each in (first, *rest)]
    pixels = np.stack(laid) + _least(moving)
    pixels = pixels.astype(np.float32)
    return replace(moving, pixels=pixels, affine=fixed.affine, source=fixed.source, padding=None)


def _itk() -> Any:
    try:
        import SimpleITK
    except ImportError as error:
        raise AnomalyError("registration needs SimpleITK; pip install 'anomaly-explain[dicom]'") from error
    return SimpleITK


def _least(image: Image) -> np.ndarray:
    """The least value of each channel, (C, 1, ...)."""
    least: np.ndarray = image.pixels.min(axis=tuple(range(1, image.pixels.ndim)), keepdims=True)
    return least


def _plane(moving: Image, fixed: Image) -> np.ndarray:
    """The directions that both images share, as columns (3, dims): the body's, or of slices those of the fixed one.

    Raises:
        AnomalyError: the two slices lie in different planes of the body.
    """
    if fixed.ndim == 3:
        return np.eye(3)
    directions: np.ndarray = fixed.affine[:3, :2] / np.linalg.norm(fixed.affine[:3, :2], axis=0)
    theirs = moving.affine[:3, :2] / np.linalg.norm(moving.affine[:3, :2], axis=0)
    if abs(np.linalg.det(directions.T @ theirs)) < SAME_PLANE:
        raise AnomalyError(f"{moving.path} is a slice in another plane than {fixed.path}; register slices of one plane")
    return directions


def _on_grid(itk: Any, image: Image, plane: np.ndarray) -> list[Any]:
    """Channels as SimpleITK's images, from 0 up, where they lie in the directions (3, dims) that both share."""
    linear, origin = plane.T @ image.affine[:3, : image.ndim], plane.T @ image.affine[:3, 3]
    spacing = np.linalg.norm(linear, axis=0)
    channels = []
    for values in image.pixels - _least(image):
        channel = itk.GetImageFromArray(np.ascontiguousarray(values.T))
        channel.SetSpacing(spacing.tolist())
        channel.SetDirection((linear / spacing).flatten().tolist())
        channel.SetOrigin(origin.tolist())
        channels.append(channel)
    return channels
