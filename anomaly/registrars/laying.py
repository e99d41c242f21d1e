"""One image laid on another: moved as a whole, then deformed, and how well that went."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from anomaly.errors import UnreadableImage
from anomaly.images import Image
from anomaly.registrars.base import Registrar
from anomaly.registrars.grids import grey, measured
from anomaly.registrars.linear import by_header, linear
from anomaly.registrars.pyramid import filled
from anomaly.registrars.quality import agreement, soundness
from anomaly.registrars.transforms import Transform

LEAST_OVERLAP, SMALL_OVERLAP = 0.1, 0.5
"""Shares of the fixed image's grid: below the one a pair is refused, below the other it is told."""
HARDLY = 1.01
"""Times the mutual information before, what a deformation gains by noise alone."""
UNLIKE = 0.3
"""A correlation below which two images are hardly of one contrast."""


@dataclass(frozen=True)
class Laid:
    """One image laid on another.

    Args:
        transform: from the fixed image to the moving one.
        quality: overlap, correlation and mutual information before and after, folded, inverse_consistency, moved (mean
            displacement of the deformation, in voxels of the fixed image).
        warning: what is to be known of the pair; "" where nothing is.
    """

    transform: Transform
    quality: Mapping[str, float]
    warning: str


def lay(
    moving: Image, fixed: Image, *, start: str = "affine", deformable: Registrar | None = None,
    metric: str = "correlation", seed: int = 0,
) -> Laid:  # fmt: skip
    """Lay one image on another.

    Args:
        moving, fixed: the images; their masks and padding do not count.
        start: "rigid" or "affine", how it is moved as a whole.
        deformable: deforms it then; None leaves it at that.
        metric: "correlation" within one contrast, "mutual-information" between contrasts.
        seed: of the voxels that are compared by the start.

    Raises:
        AnomalyError: they cannot be registered.
        UnreadableImage: their fields of view hardly overlap.
    """
    for image in (moving, fixed):
        refuse_blank(image)
    begun = Transform.linear(linear(moving, fixed, start, metric=metric, seed=seed), moving, fixed)
    before = _agreement(Transform.linear(by_header(moving, fixed), moving, fixed))
    overlap = overlapping(begun)
    field = np.zeros((fixed.ndim, *fixed.space), dtype=np.float32)
    if deformable is not None:
        field = deformation(begun, deformable)
    found = begun if deformable is None else begun.deformed(field)
    after = _agreement(found)
    quality = {
        "overlap": overlap, **{f"{name}_before": value for name, value in before.items()},
        **{f"{name}_after": value for name, value in after.items()}, **soundness(found.field, field),
        "moved": float(np.sqrt((field**2).sum(0)).mean()),
    }  # fmt: skip
    return Laid(found, quality, _warning(quality, metric))


def refuse_blank(image: Image) -> None:
    """Refuse an image that shows nothing.

    Raises:
        UnreadableImage: it has one value wherever it counts.
    """
    inside = measured(image)
    values = grey(image) if inside is None else grey(image)[inside]
    if not values.size or np.ptp(values) == 0:
        raise UnreadableImage(f"{image.path}: has one value wherever it counts, so nothing says where it lies")


def overlapping(begun: Transform) -> float:
    """The share of the fixed image's grid that the moving one covers.

    Raises:
        UnreadableImage: it is small, or nothing of it counts.
    """
    overlap = float(begun.inside.mean())
    if overlap < LEAST_OVERLAP or not common(begun).any():
        raise UnreadableImage(
            f"{begun.moving.path} covers {overlap:.0%} of the field of view of {begun.fixed.path}, or nothing that "
            f"counts; expected {LEAST_OVERLAP:.0%} or more: is it the same part of the body?"
        )
    return overlap


def deformation(begun: Transform, deformable: Registrar) -> np.ndarray:
    """What deforms an image after its start, (dims, *space) in voxels of the fixed image."""
    moving, fixed, inside = begun.moving, begun.fixed, common(begun)
    spacing = np.linalg.norm(fixed.affine[:3, : fixed.ndim], axis=0).tolist()
    count = None if inside.all() else inside
    theirs = measured(moving)
    if theirs is not None:  # what is interpolated at the rim of a mask takes nothing from beyond it
        moving = replace(moving, pixels=np.stack([filled(each, theirs) for each in moving.pixels]))
    drawn = begun.image(moving).pixels
    lies = None if fixed.kind == "picture" else fixed.affine  # colours of a picture are not channels of a scanner
    return deformable.field(drawn, fixed.pixels, spacing=spacing, inside=count, affine=lies)


def common(transform: Transform) -> np.ndarray:
    """(*space) bool on the fixed grid, where both images were measured and count."""
    found = transform.inside
    for image, theirs in ((transform.fixed, False), (transform.moving, True)):
        counts = measured(image)
        if counts is not None:
            found = found & (transform.values(counts.astype(np.uint8), nearest=True) > 0 if theirs else counts)
    return found


def _agreement(transform: Transform) -> Mapping[str, float]:
    moving = transform.values(grey(transform.moving))
    return agreement(moving, grey(transform.fixed), common(transform))


def _warning(quality: Mapping[str, float], metric: str) -> str:
    """What is wrong with a pair that was registered, in words."""
    told = []
    name = metric.replace("-", "_")
    before, after = quality[f"{name}_before"], quality[f"{name}_after"]
    if quality["overlap"] < SMALL_OVERLAP:
        told.append(f"another field of view: {quality['overlap']:.0%} of the fixed image is covered")
    if after <= before * (1 if name == "correlation" else HARDLY) and before < 1 - 1e-6:
        told.append(f"{metric} is no better than before")
    if name == "correlation" and after < UNLIKE:
        told.append(f"correlation is {after:.2f} at the end: another contrast? then ask for mutual-information")
    return "; ".join(told)
