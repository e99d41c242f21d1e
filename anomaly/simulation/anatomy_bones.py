"""Femur, tibia, patella and fibula as solids, with the spurs, the wear and the narrowing that disease brings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from anomaly.simulation.anatomy_person import Build, Places
from anomaly.simulation.anatomy_shapes import Points, ball, beak, intersection, outline, step, strip, union

JOINT = (-6.0, 22.0)  # y and z of the axis that the femur turns about, mm
COMPARTMENT = 20.0  # how far the middle of each compartment lies from the midline, mm
_WORN_AT = -14.0  # x of the worn compartment, the medial one, mm
_LOSS = 1.15  # severity at which nothing of the cartilage would be left

# Rows (z, back, front) in mm.
_SHAFT = ((110, -14, 13), (75, -13, 13.5), (62, -14, 15), (52, -17, 18), (42, -23, 23), (34, -26, 25), (24, -20, 20))
_TIBIA = (
    *((6, -29, 26), (-3, -29.5, 26.5), (-8, -29, 26), (-13, -26, 24.5), (-20, -20.5, 22.5), (-27, -17, 23.5)),
    *((-33, -15.5, 24), (-39, -14.5, 21.5), (-48, -14, 17.5), (-62, -13.5, 14), (-110, -13, 11)),
)
_PATELLA = (
    *((23, 43.5, 44.5), (21.5, 40, 48), (18, 36, 49.5), (10, 33, 50.5), (1, 32, 50.7), (-8, 34, 50.2)),
    *((-14, 37.5, 49.5), (-19, 42, 48.6), (-22, 45.5, 47.5)),
)


@dataclass(frozen=True)
class Bone:
    """A bone in its own place: where the pixels lie in it, its signed distance with spurs, and without them."""

    points: Points
    plain: np.ndarray
    spurred: np.ndarray


@dataclass(frozen=True)
class Joint:
    """The bones and what lies on them: the thickness of the cartilage at every pixel, mm (0 where there is none)."""

    femur: Bone
    tibia: Bone
    patella: Bone
    femoral_cartilage: np.ndarray
    tibial_cartilage: np.ndarray
    patellar_cartilage: np.ndarray
    loss: float


def joint_of(points: Points, build: Build, places: Places, *, thinning: float, osteophytes: float) -> Joint:
    """The bones of a knee and their cartilage, worn and narrowed by `thinning`, with spurs by `osteophytes`."""
    loss = min(thinning / _LOSS, 1.0)
    above = points.turned(build.flexion, y=JOINT[0], z=JOINT[1])
    lowered = _lowered(above, build, loss)
    femur, tibia = _femur(lowered, build), _tibia(points, build)
    knee_cap = patella_points(above, build)
    patella = _patella(knee_cap)
    worn = loss * _worn(points, places)
    sizes, deep = osteophytes * places.spurs, build.depth
    return Joint(
        femur=Bone(
            lowered, femur, _with_spurs(femur, lowered, ((24 * deep, 44, 60), (-27 * deep, 40, 125)), sizes[:2])
        ),
        tibia=Bone(
            points, tibia, _with_spurs(tibia, points, ((24 * deep, -6, 15), (-26 * deep, -9.5, 170)), sizes[2:4])
        ),
        patella=Bone(knee_cap, patella, _with_spurs(patella, knee_cap, ((38, 19, 112), (41, -17, 250)), sizes[4:])),
        femoral_cartilage=_femoral_cartilage(lowered, build) * (1 - worn),
        tibial_cartilage=_tibial_cartilage(points, build) * (1 - worn),
        patellar_cartilage=np.float32(1.15 * build.cartilage) * step(np.abs(knee_cap.z - 3), 17, 11),
        loss=loss,
    )


def patella_points(points: Points, build: Build) -> Points:
    """The points as the patella sees them: about its own middle, in its own size."""
    middle = np.float32(32 + build.patella_up)
    y = 41 + (points.y - np.float32(41 + 0.3 * (build.trochlea - 26.5))) / np.float32(build.patella_size)
    return Points(points.x, y, (points.z - middle) / np.float32(build.patella_size), points.pixel)


def _lowered(points: Points, build: Build, loss: float) -> Points:
    """The femur comes down onto the worn compartment and tilts about the other; far above the joint it stays."""
    if loss == 0:
        return points
    narrowing = np.float32(1.4 * loss * build.cartilage)
    tilt = np.clip(np.float32(0.65) - points.x * np.float32(0.025), 0, 1.2)
    return points.moved(z=-narrowing * tilt * step(points.z, 85, 30))


def _femur(points: Points, build: Build) -> np.ndarray:
    """Two condyles behind a trochlea, a flare and a shaft; the notch between the condyles is cut out."""
    x, y, z = points.x, points.y, points.z
    depth = np.float32(build.depth)
    scaled = Points(x, y / depth, z, points.pixel)
    side = np.clip(np.abs(x) - np.float32(COMPARTMENT), -14, 20) / np.float32(14)
    rounding = np.float32(3.0) * side * side
    groove = np.float32(4.5) * np.exp(-((x / np.float32(9)) ** 2))
    lateral = step(x, -8, 8)
    rear = build.condyle
    condyle = ball(scaled, y=-15.0, z=2.5 + rear, radius=np.float32(rear) - rounding - np.float32(0.8) * lateral)
    front = build.trochlea
    trochlea = ball(scaled, y=0.5, z=2.3 + front, radius=front - rounding - groove + np.float32(1.0) * lateral)
    upper = ball(scaled, y=8.0, z=35.0, radius=np.float32(19.5) - rounding - groove)
    shaft = strip(scaled.moved(y=build.shaft), _SHAFT)
    shaft = intersection(shaft, np.float32(24) - z, 8.0)
    sagittal = union(union(union(condyle, trochlea, 9.0), upper, 6.0), shaft, 10.0)
    width = np.float32(38) - np.float32(19) * step(z, 28, 72)
    corner = np.float32(3.0) * ((x / width) ** 2).clip(0, 1) * step(z, 25, 50)
    whole = intersection(sagittal * np.float32(build.depth**0.5) + corner, np.abs(x) - width, 14.0)
    notch = intersection(np.abs(x) - np.float32(9.5), np.hypot(y + 24, (z - 2) * np.float32(1.05)) - 26, 5.0)
    return intersection(whole, -notch, 5.0)


def _tibia(points: Points, build: Build) -> np.ndarray:
    """A plateau that slopes backwards, hollow on the medial side, with spines and a tuberosity; and the fibula."""
    x, y, z = points.x, points.y, points.z
    depth = np.float32(build.depth)
    scaled = Points(x, y / depth, z, points.pixel)
    slope = np.float32(np.tan(np.deg2rad(build.slope)))
    hollow = (1 - ((y + 3) / np.float32(20)) ** 2).clip(-1, 1) * (np.float32(0.6) - np.float32(1.1) * step(x, -6, 6))
    spines = np.float32(7) * np.exp(-(((np.abs(x) - np.float32(4.5)) / 4) ** 2) - ((y + 1) / np.float32(11)) ** 2)
    top = np.float32(-2.6) + slope * (y + 4) - hollow + spines
    width = np.float32(37) - np.float32(20) * step(z, -8, -50)
    corner = np.float32(6.0) * ((x / np.float32(37)) ** 2).clip(0, 1)
    sagittal = strip(scaled, _TIBIA) + corner
    tibia = intersection(intersection(z - top, sagittal, 3.5), np.abs(x) - width, 9.0)
    girth = np.hypot(x - np.float32(31), y + np.float32(19))
    fibula = np.hypot(girth, np.maximum(z + np.float32(19), 0)) - np.float32(5) - np.float32(2.5) * step(z, -40, -22)
    return union(tibia, fibula, 1.5)


def _patella(points: Points) -> np.ndarray:
    """An almond with a keel behind, its pole below."""
    keel = np.float32(0.012) * points.x * points.x
    back, front = outline(points, _PATELLA)
    back = back + np.minimum(keel, np.float32(4.5)) - np.float32(2.3)
    front = front - np.float32(0.006) * points.x * points.x
    sagittal = np.abs(points.y - (back + front) / 2) - (front - back) / 2
    sagittal = np.maximum(sagittal, np.abs(points.z) - np.float32(23))
    round_ = (np.hypot(points.x / 25, points.z / 30) - 1) * np.float32(25)
    return intersection(sagittal, round_, 4.0)


def _with_spurs(
    bone: np.ndarray, points: Points, corners: tuple[tuple[float, float, float], ...], sizes: np.ndarray
) -> np.ndarray:
    """Grow a beak out of each corner (y, z, direction in degrees from the front); a size of 0 leaves the bone as is."""
    for (y, z, angle), size in zip(corners, sizes, strict=True):
        if size > 0:
            ahead, up = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
            root, tip = (
                tuple(at + out * way for at, way in ((y, ahead), (z, up))) for out in (-6.0, 15.0 * size - 6.0)
            )
            bone = union(bone, beak(points, x=_WORN_AT, reach=9.0, root=root, tip=tip), 2.5)
    return bone


def _worn(points: Points, places: Places) -> np.ndarray:
    """How much of the worn patch each place is, 0..1: flat in the middle, soft at its rim."""
    along = ((points.y - np.float32(places.worn)) / np.float32(13)) ** 4
    across = ((points.x - np.float32(_WORN_AT)) / np.float32(13)) ** 4
    return np.exp(-along - across)


def _femoral_cartilage(points: Points, build: Build) -> np.ndarray:
    """Thickest under load and on the trochlea, thinning out at the upper ends of both."""
    angle = np.arctan2(points.y - np.float32(-3), np.float32(24) - points.z)
    ends = step(angle, -2.35, -1.75) * step(angle, 2.35, 1.85)
    beside = np.abs(points.x)
    # None on the outer walls of the condyles, nor in the notch between them.
    ends = ends * step(beside, 36, 31) * np.maximum(step(beside, 7, 11), step(points.y, 2, 9))
    return np.float32(build.cartilage) * ends * (np.float32(0.92) + np.float32(0.12) * np.cos(2 * angle))


def _tibial_cartilage(points: Points, build: Build) -> np.ndarray:
    """On the plateau of each compartment, thickest in its middle."""
    y = points.y / np.float32(build.depth)
    within = step(np.abs(y + 1.5), 24.5, 15) * step(points.z, -11, -7)
    beside = step(np.abs(np.abs(points.x) - np.float32(COMPARTMENT)), 17, 11)
    return np.float32(1.05 * build.cartilage) * within * beside
