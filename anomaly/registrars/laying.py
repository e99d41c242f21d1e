"""One image laid on another: moved as a whole, then deformed, and how well that went."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from anomaly.errors import UnreadableImage
from anomaly.images import Image
from anomaly.registrars.base import Registrar
from anomaly.registrars.grids import grey, measured
from anomaly.registrars.holding import gains
from anomaly.registrars.linear import by_header, linear
from anomaly.registrars.pyramid import filled
from anomaly.registrars.quality import agreement, soundness
from anomaly.registrars.transforms import Transform

LEAST_OVERLAP, SMALL_OVERLAP = 0.1, 0.5
"""Shares of the fixed image's grid: below the one a pair is refused, below the other it is told."""
UNLIKE = 0.3
"""A correlation below which two images are hardly of one contrast."""
SAME = 1e-4
"""A difference of correlations, or of nats, that is none."""
NOT_DEFORMED = "not deformed: they agreed worse after it than after the start alone"
APART = "their fields of view do not overlap by their headers: begun where centres meet"
LOST = 0.1
"""By how much a correlation, of either sign, falls between contrasts where something went wrong."""
OTHER = "another contrast? then ask for mutual-information"


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
    """Lay one image on another. A deformation after which they agree worse than before is left out, and told.

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
    found, dropped = begun, False
    if deformable is not None:
        field = deformation(begun, deformable)
        found = begun.deformed(field)
        dropped = not _gains(begun, found, metric)
    if dropped:
        field, found = np.zeros_like(field), begun
    after = _agreement(found)
    quality = {
        "overlap": overlap, **{f"{name}_before": value for name, value in before.items()},
        **{f"{name}_after": value for name, value in after.items()}, **soundness(found.field, field),
        "moved": float(np.sqrt((field**2).sum(0)).mean()),
    }  # fmt: skip
    told = [NOT_DEFORMED] if dropped else []
    return Laid(found, quality, "; ".join([*told, *_warnings(quality, metric)]))


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


def _gains(begun: Transform, found: Transform, metric: str) -> bool:
    before, after = (each.values(grey(each.moving)) for each in (begun, found))
    return gains(before, after, grey(found.fixed), common(begun) & common(found), metric)


def _warnings(quality: Mapping[str, float], metric: str) -> list[str]:
    """What is wrong with a pair that was registered, in words."""
    told = []
    name = metric.replace("-", "_")
    before, after = quality[f"{name}_before"], quality[f"{name}_after"]
    shared, correlation = quality["mutual_information_after"], quality["correlation_after"]
    if np.isnan(before):
        told.append(APART)
    if quality["overlap"] < SMALL_OVERLAP:
        told.append(f"another field of view: {quality['overlap']:.0%} of the fixed image is covered")
    perfect = quality["correlation_before"] >= 1 - 1e-6
    if after <= before + SAME and not perfect:
        told.append(f"{metric} is no better than before: {before:.4f} before, {after:.4f} after")
    if name == "correlation" and correlation < UNLIKE:
        told.append(f"correlation is {correlation:.2f} at the end: {OTHER}")
    elif name == "correlation" and shared < quality["mutual_information_before"] - SAME:
        fell = f"{quality['mutual_information_before']:.3f} to {shared:.3f}"
        told.append(f"correlation rose, but mutual information fell from {fell}: {OTHER}")
    elif name != "correlation" and _lost(quality["correlation_before"], correlation):
        told.append(f"correlation is {correlation:.2f} at the end: look at the picture")
    return told


def _lost(before: float, after: float) -> bool:
    """Whether a correlation is weak though nothing is known of it before, or fell, of whatever sign."""
    return after < UNLIKE if np.isnan(before) else abs(after) < abs(before) - LOST
