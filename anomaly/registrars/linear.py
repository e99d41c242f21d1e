"""Images moved, turned, stretched and sheared as a whole until they lie on others, by SimpleITK's optimisers."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from anomaly.errors import AnomalyError
from anomaly.images import Image
from anomaly.registrars.demons import METRICS, refuse_metric
from anomaly.registrars.grids import grey, matrix_in, measured, on_grid, one_thread, quiet, shared_plane, simpleitk
from anomaly.registrars.holding import better
from anomaly.registrars.pyramid import filled

KINDS = ("rigid", "affine")
ROUNDS = 200
ENOUGH = 50_000
"""Voxels that are compared at each level; all where there are fewer."""
BINS, FEWEST_BINS, VOXELS_A_BIN = 50, 16, 12
"""Of the joint histogram of Mattes' mutual information: most, least, and voxels for each of its cells."""
SOFT = 1.0
"""Voxels by which small images are smoothed at the finest level, for mutual information: unsmoothed, a whole voxel is a
cusp of it, and the optimiser leaves a perfect start."""


def linear(moving: Image, fixed: Image, kind: str = "affine", *, metric: str = METRICS[1], seed: int = 0) -> np.ndarray:
    """How a moving image has to be moved as a whole to lie on a fixed one.

    From coarse to fine, begun where it agrees best: where the headers say, where the centres of mass meet, or where
    the middles of the grids meet. What lies outside masks (`Image.mask`) and in padding does not count. An affine one
    goes on from a rigid one. Each is held against what it began with, and the better is kept.

    Args:
        moving: what is moved.
        fixed: what it is laid on.
        kind: "rigid" or "affine".
        metric: "correlation" of intensities, or "mutual-information" (Mattes').
        seed: of the voxels that are compared; 0 or more.

    Returns:
        (dims + 1, dims + 1), a voxel of the fixed image to the voxel of the moving image that belongs there.

    Raises:
        AnomalyError: SimpleITK is not there, the seed is negative, one is a picture and one a volume, or no overlap is
            found.
    """
    refuse_metric(metric)
    if kind not in KINDS:
        raise AnomalyError(f"the kind is {kind!r}; expected one of {', '.join(KINDS)}")
    if seed < 0:
        raise AnomalyError(f"the seed is {seed}; expected 0 or more")
    itk, plane = simpleitk(), shared_plane(moving, fixed)
    still, first = (_without_edges(each, plane) for each in (fixed, moving))
    masses = _from_zero(fixed, plane), _from_zero(moving, plane)
    inwards, outwards = matrix_in(fixed, plane), np.linalg.inv(matrix_in(moving, plane))

    def held(start: Any, found: Any) -> Any:
        one, other = (outwards @ _matrix(each, fixed.ndim) @ inwards for each in (start, found))
        return start if better(one, other, moving, fixed, metric) is one else found

    try:
        with one_thread(), quiet():
            method = _method(itk, fixed, moving, plane, metric, seed)
            start = _best_start(method, still, first, _starts(itk, *masses, fixed.ndim))
            found = held(start, _executed(method, still, first, start))
            if kind == "affine":
                begun = _as_affine(itk, found, fixed.ndim)
                found = held(begun, _executed(method, still, first, begun))
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise AnomalyError(f"{moving.path} could not be registered to {fixed.path}: {reason}") from error
    told: np.ndarray = outwards @ _matrix(found, fixed.ndim) @ inwards
    return told


def by_header(moving: Image, fixed: Image) -> np.ndarray:
    """Where both files say that they lie, in the form of `linear`; of pictures that do not say, voxel by voxel."""
    plane = shared_plane(moving, fixed)
    return np.asarray(np.linalg.inv(matrix_in(moving, plane)) @ matrix_in(fixed, plane))


def _without_edges(image: Image, plane: np.ndarray) -> Any:
    """As it is compared: also what is smoothed at the rim of a mask takes nothing from beyond it."""
    values, inside = grey(image), measured(image)
    return on_grid(values if inside is None else filled(values, inside), matrix_in(image, plane))


def _from_zero(image: Image, plane: np.ndarray) -> Any:
    """As its centre of mass is told."""
    values = grey(image)
    inside = measured(image)
    values = values - (values if inside is None else values[inside]).min()
    return on_grid(values if inside is None else np.where(inside, values, 0), matrix_in(image, plane))


def _method(itk: Any, fixed: Image, moving: Image, plane: np.ndarray, metric: str, seed: int) -> Any:
    method = itk.ImageRegistrationMethod()
    if metric == METRICS[0]:
        method.SetMetricAsCorrelation()
    else:
        bins = np.clip(np.sqrt(np.prod(fixed.space) / VOXELS_A_BIN), FEWEST_BINS, BINS)
        method.SetMetricAsMattesMutualInformation(int(bins))
    for image, set_mask in ((fixed, method.SetMetricFixedMask), (moving, method.SetMetricMovingMask)):
        inside = measured(image)
        if inside is not None:
            set_mask(on_grid(inside.astype(np.uint8), matrix_in(image, plane)))
    method.SetInterpolator(itk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(learningRate=1.0, minStep=1e-3, numberOfIterations=ROUNDS)
    method.SetOptimizerScalesFromPhysicalShift()
    factors = [factor for factor in (4, 2, 1) if min(fixed.space) >= 8 * factor] or [1]
    method.SetShrinkFactorsPerLevel(factors)
    shares = [min(1.0, ENOUGH * factor**fixed.ndim / np.prod(fixed.space)) for factor in factors]
    if min(shares) < 1:
        method.SetMetricSamplingStrategy(method.RANDOM)
        method.SetMetricSamplingPercentagePerLevel([float(share) for share in shares], seed + 1)  # 0 takes the clock
    finest = SOFT if metric == METRICS[1] and np.prod(fixed.space) <= ENOUGH else 0.0
    method.SetSmoothingSigmasPerLevel([factor / 2 if factor > 1 else finest for factor in factors])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOff()
    return method


def _executed(method: Any, still: Any, first: Any, start: Any) -> Any:
    method.SetInitialTransform(start, inPlace=False)
    found = method.Execute(still, first)
    while found.GetName() == "CompositeTransform":
        found = type(found)(found).GetNthTransform(0)
    return found.Downcast() if hasattr(found, "Downcast") else found


def _best_start(method: Any, still: Any, first: Any, starts: Iterable[Any]) -> Any:
    """The start of which the metric is best; RuntimeError where none has an overlap."""
    values: list[tuple[float, Any]] = []
    failure = RuntimeError("the images do not overlap")
    for start in starts:
        method.SetInitialTransform(start, inPlace=False)
        try:
            values.append((float(method.MetricEvaluate(still, first)), start))
        except RuntimeError as error:
            failure = error
    if not values:
        raise failure
    return min(values, key=lambda each: each[0])[1]


def _starts(itk: Any, still: Any, first: Any, dims: int) -> Iterator[Any]:
    rigid = itk.Euler3DTransform if dims == 3 else itk.Euler2DTransform
    middle = still.TransformContinuousIndexToPhysicalPoint([(side - 1) / 2 for side in still.GetSize()])
    header = rigid()
    header.SetCenter(middle)
    yield header
    kinds = itk.CenteredTransformInitializerFilter
    for kind in (kinds.MOMENTS, kinds.GEOMETRY):
        try:
            yield itk.CenteredTransformInitializer(still, first, rigid(), kind)
        except RuntimeError:  # an empty image has no centre of mass
            continue


def _as_affine(itk: Any, rigid: Any, dims: int) -> Any:
    affine = itk.AffineTransform(dims)
    affine.SetMatrix(rigid.GetMatrix())
    affine.SetCenter(rigid.GetCenter())
    affine.SetTranslation(rigid.GetTranslation())
    return affine


def _matrix(found: Any, dims: int) -> np.ndarray:
    """(dims + 1, dims + 1) of a transform of SimpleITK, millimetres to millimetres."""
    told = np.eye(dims + 1)
    origin = np.array(found.TransformPoint([0.0] * dims))
    for axis in range(dims):
        told[:dims, axis] = np.array(found.TransformPoint([float(axis == each) for each in range(dims)])) - origin
    told[:dims, dims] = origin
    return told
