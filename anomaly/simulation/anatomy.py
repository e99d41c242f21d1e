"""Draw a knee as a fat-suppressed MRI shows it, with lesions of known place and severity."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from anomaly.errors import CohortError
from anomaly.simulation.anatomy_bones import joint_of
from anomaly.simulation.anatomy_layers import (
    CORTEX,
    lay_bones,
    lay_fluid,
    lay_joint,
    lay_marrow_lesions,
    lay_soft_tissues,
)
from anomaly.simulation.anatomy_person import Build, Places, build_of, places_of, scan_stream
from anomaly.simulation.anatomy_shapes import Points, coverage, grain
from anomaly.simulation.scanner import FIELD_OF_VIEW, SITES, Site, scanned
from anomaly.simulation.tissues import LABELS, Canvas, signals_of

__all__ = ["SITES", "Drawing", "Lesions", "Site", "draw_knee"]

SMALLEST = 32  # pixels; below, a band of cartilage is thinner than half a pixel
_SLICE = -14.0  # x of the slice of a 2D picture, mm: through the medial compartment, where knees wear
_MIDDLE = (-4.0, 9.0)  # y and z of the middle of the picture, mm
_APART = 90.0  # mm between a knee's midline and the person's, in the affine of a volume
_VISIBLE = 0.25  # share of a pixel that a lesion has to fill to be in its mask
_NEAR = 1.5  # mm from cartilage, whole or worn, within which a change is called wear
_CHANGED = 0.06  # change of signal from which a pixel counts as changed by wear


@dataclass(frozen=True, kw_only=True)
class Lesions:
    """How severe each finding of a knee is: 0 none, 1 as severe as seen in practice (may exceed 1 a little).

    effusion: fluid in the pouch above and behind the patella; marrow: bright clouds in the bone under the
    cartilage; thinning: cartilage lost where the knee bears weight, so that the femur comes down;
    osteophytes: spurs at the margins of the joint.
    """

    effusion: float = 0.0
    marrow: float = 0.0
    thinning: float = 0.0
    osteophytes: float = 0.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 <= value <= 2:
                raise CohortError(f"severity of {name} is {value:g}; give a number from 0 (none) to 2")


@dataclass(frozen=True)
class Drawing:
    """One simulated scan.

    image: float32 (*space), signal from 0 to about 1, noise included. 2D: (rows, columns) of a sagittal
    slice, front of the knee to the left, top up. 3D: (R, A, S), axes towards the right, the front and the top.
    masks: bool (*space) by name: the four findings, and bone, cartilage, meniscus, muscle, fat.
    affine: (4, 4) from indices to mm. 3D: RAS+, the midline between the knees at x = 0, so that a left
    knee lies at negative x. 2D: the width of a pixel on the diagonal.
    """

    image: np.ndarray
    masks: dict[str, np.ndarray]
    affine: np.ndarray


def draw_knee(
    lesions: Lesions,
    *,
    person: int,
    knee: int,
    scan: int,
    side: str,
    site: Site,
    seed: int,
    dims: int = 2,
    size: int = 96,
) -> Drawing:
    """Draw one scan of one knee; the same arguments give the same bytes.

    person: with `seed` decides the anatomy, shared by both knees; knee: 0 or 1, adds a small variation and
    decides where lesions lie, at every visit the same; scan: decides how the knee lies, coil and noise.
    side: "left" or "right"; a left volume is the mirror image of the right one, a sagittal slice looks the same.
    dims: 2 for a slice through the medial compartment, 3 for a volume of (2 size / 3, size, size) voxels.
    size: pixels along 144 mm, at least 32.

    Away from a lesion the picture does not depend on it: the same arguments with a severity of 0 give the
    knee's twin without that lesion, under the same noise. Raises CohortError for arguments out of range.
    """
    _check(side, dims, size)
    rng = scan_stream(seed, scan)
    build, places = build_of(seed, person, knee), places_of(seed, person, knee)
    points = _posed(_grid(dims, size), build, rng)
    canvas, masks = _composed(points, build, places, lesions, site)
    masks |= _changed_by_wear(canvas, points, build, places, lesions, site)
    masks |= canvas.masks(LABELS)
    image = scanned(canvas.signal, site, rng, pixel=FIELD_OF_VIEW / size)
    if dims == 2:
        return Drawing(image, masks, np.diag([FIELD_OF_VIEW / size, FIELD_OF_VIEW / size, 1.0, 1.0]))
    turned = {name: _to_ras(values, side) for name, values in masks.items()}
    return Drawing(_to_ras(image, side), turned, _affine(image.shape, side))


def _check(side: str, dims: int, size: int) -> None:
    if side not in ("left", "right"):
        raise CohortError(f"side is {side!r}; give 'left' or 'right'")
    if dims not in (2, 3):
        raise CohortError(f"a knee is drawn in 2 or 3 dimensions, not {dims}; give dims=2 or dims=3")
    if size < SMALLEST:
        raise CohortError(f"size is {size} pixels, too few to show cartilage; give {SMALLEST} or more (96 is usual)")


def _grid(dims: int, size: int) -> Points:
    """The places of all pixels, slices first, then rows from the top and columns from the front."""
    pixel = FIELD_OF_VIEW / size
    down = (np.arange(size, dtype=np.float32) - np.float32((size - 1) / 2)) * np.float32(-pixel)
    z, y = np.meshgrid(down + _MIDDLE[1], down + _MIDDLE[0], indexing="ij")
    if dims == 2:
        return Points(np.full((1, 1), _SLICE, np.float32), y.astype(np.float32), z.astype(np.float32), pixel)
    slices = size * 2 // 3
    x = (np.arange(slices, dtype=np.float32) - np.float32((slices - 1) / 2)) * np.float32(pixel)
    return Points(x[:, None, None], y[None].astype(np.float32), z[None].astype(np.float32), pixel)


def _posed(points: Points, build: Build, rng: np.random.Generator) -> Points:
    """Lay the knee as this scan found it, in the person's own size, its outlines bent a little as everyone's are."""
    turn, y, z = np.clip(rng.normal(size=3), -2, 2) * [1.5, 1.5, 1.5]
    points = points.moved(y=float(y), z=float(z)).turned(float(turn), y=0.0, z=10.0)
    scale = np.float32(build.size)
    points = Points(points.x / scale, points.y / scale, points.z / scale, points.pixel / build.size)
    flat = Points(np.zeros_like(points.x[:1]), points.y, points.z, points.pixel)
    bend = [grain(flat, width=(1.0, 22.0, 22.0), offset=build.textures[row]) * np.float32(0.7) for row in (5, 6)]
    return points.moved(y=bend[0], z=bend[1])


def _composed(
    points: Points, build: Build, places: Places, lesions: Lesions, site: Site
) -> tuple[Canvas, dict[str, np.ndarray]]:
    """The knee as it is, before any scanner's blur and noise, with the masks of what was laid on it."""
    signal = signals_of(site)
    canvas = Canvas(points.shape)
    masks = dict.fromkeys(("effusion", "marrow", "osteophytes"), np.zeros(points.shape, dtype=bool))
    joint = joint_of(points, build, places, thinning=lesions.thinning, osteophytes=lesions.osteophytes)
    lay_soft_tissues(canvas, points, build, signal)
    lay_fluid(canvas, points, build, places, signal, lesions.effusion)
    lay_joint(canvas, points, joint, build, signal)
    lay_bones(canvas, joint, build, signal, spurs=lesions.osteophytes > 0)
    if lesions.effusion > 0:
        masks["effusion"] = canvas.shown["effusion"] > _VISIBLE
    if lesions.marrow > 0:
        masks["marrow"] = lay_marrow_lesions(canvas, joint, build, places, signal, lesions.marrow) > _VISIBLE
    if lesions.osteophytes > 0:
        for bone in (joint.femur, joint.tibia, joint.patella):
            for depth in (0.0, CORTEX):  # a spur is thin, and opens the cortex that it grows from
                edges = (coverage(distance + depth, points.pixel) for distance in (bone.spurred, bone.plain))
                masks["osteophytes"] = masks["osteophytes"] | (next(edges) - next(edges) > _VISIBLE / 2)
    return canvas, masks


def _changed_by_wear(
    canvas: Canvas, points: Points, build: Build, places: Places, lesions: Lesions, site: Site
) -> dict[str, np.ndarray]:
    """Where, at the cartilage, the picture differs from the same knee with it whole and the femur in its place."""
    if lesions.thinning == 0:
        return {"thinning": np.zeros(points.shape, dtype=bool)}
    whole, _ = _composed(points, build, places, replace(lesions, thinning=0.0), site)
    cartilage = whole.masks(LABELS)["cartilage"] | canvas.masks(LABELS)["cartilage"]
    near = ndimage.binary_dilation(cartilage, iterations=max(1, round(_NEAR / points.pixel)))
    # The femur comes down as a whole; what is shown is the joint where that happens, not every edge that moved.
    return {"thinning": near & (np.abs(canvas.signal - whole.signal) > _CHANGED)}


def _to_ras(values: np.ndarray, side: str) -> np.ndarray:
    """From (lateral, down, back) to (right, front, up)."""
    turned = values[:, ::-1, ::-1].transpose(0, 2, 1)
    return np.ascontiguousarray(turned if side == "right" else turned[::-1])


def _affine(shape: tuple[int, ...], side: str) -> np.ndarray:
    slices, size = shape[0], shape[-1]
    pixel = FIELD_OF_VIEW / size
    middle = _APART if side == "right" else -_APART
    affine = np.diag([pixel, pixel, pixel, 1.0])
    affine[:3, 3] = (middle - pixel * (slices - 1) / 2, *(m - pixel * (size - 1) / 2 for m in _MIDDLE))
    return affine
