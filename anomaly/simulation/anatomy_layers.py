"""A knee laid tissue by tissue on a canvas, from the skin inwards."""

from __future__ import annotations

import numpy as np

from anomaly.simulation.anatomy_bones import COMPARTMENT, Bone, Joint
from anomaly.simulation.anatomy_person import Build, Places
from anomaly.simulation.anatomy_shapes import Points, coverage, grain, intersection, outline, rod, step, strip
from anomaly.simulation.tissues import Canvas

CORTEX = 1.3  # mm

# Rows (z, back, front) in mm.
_BODY = (
    *((110, -63, 57), (85, -63, 56.5), (65, -62, 57), (48, -60, 59), (33, -58, 60), (18, -57, 58.5), (4, -58, 54)),
    *((-12, -61, 48), (-27, -64, 42), (-42, -66, 37), (-65, -67, 31), (-110, -64, 24)),
)
_QUADRICEPS = ((110, 14, 40), (82, 15.5, 40), (70, 18, 38), (60, 24, 35.5), (53, 30, 33), (48, 32, 32))
_HAMSTRING = ((110, -53, -19), (85, -54, -22), (66, -54, -28), (48, -53, -38), (34, -52, -44), (22, -50, -48))
_CALF = (
    *((41, -37, -36), (34, -42, -35.5), (20, -47, -37), (5, -51, -37), (-12, -55, -34), (-30, -58, -30)),
    *((-50, -60, -28), (-70, -60, -27), (-110, -58, -26)),
)
_POPLITEUS = (
    *((-3, -28, -27), (-12, -29.5, -23.5), (-25, -28, -18.5), (-45, -26, -15.5)),
    *((-70, -25.5, -15), (-110, -25, -14)),
)
_QUADRICEPS_TENDON = ((110, 34, 37), (85, 36, 40), (70, 38.5, 44), (60, 40.5, 47.2), (52, 41.5, 48.6), (46, 43, 48))
_PATELLAR_TENDON = (
    *((17, 45.5, 49.5), (8, 42.5, 47.8), (-6, 35.8, 41), (-18, 29.5, 34.4)),
    *((-27, 25, 29.7), (-36, 22, 24.5)),
)
_BRANCHES = ((-31, 46, 1.3), (-33, 51, 1.0), (-31, -6, 1.3), (-45, 28, 1.1), (-52, -32, 1.2), (36, 62, 0.9))
_SCARS = {1: (-16.0, -0.004), 2: (37.0, 0.006)}  # of the plate that tibia and femur grew from: height in mm, bow
_HOFFA = ((17, 38, 45), (8, 24, 44), (0, 20, 40), (-6, 21, 37), (-14, 22, 33), (-23, 23, 27))
_POUCH = ((78, 19, 19), (66, 26, 26), (56, 31.5, 31.5), (48, 33, 33), (38, 31, 31), (20, 30, 30))


def lay_soft_tissues(canvas: Canvas, points: Points, build: Build, signal: dict[str, float]) -> None:
    """Skin, fat, muscles, vessels and Hoffa's pad: all that lies behind the fluid, the tendons and the bones."""
    pixel = points.pixel
    body = _body(points, build)
    mottle = grain(points, width=(3.5, 3.5, 3.5), offset=build.textures[3])
    canvas.lay(coverage(body, pixel), signal["skin"])
    canvas.lay(coverage(body + 1.6, pixel), signal["fat"] * (1 + 0.10 * mottle), label="fat")
    inside = body + np.float32(2.5 + 3.0 * build.fat)  # muscles end under the fat of the skin
    fibres = grain(points, width=(1.6, 1.5, 16.0), offset=build.textures[2])
    fascicles = grain(points, width=(6.0, 5.0, 40.0), offset=build.textures[2])
    flesh = (signal["muscle"] + np.float32(build.muscle)) * (1 + 0.10 * fibres + 0.10 * fascicles)
    for rows, sideways in ((_QUADRICEPS, build.thigh), (_HAMSTRING, 0.0), (_CALF, 0.0), (_POPLITEUS, 0.0)):
        muscle = intersection(strip(points.moved(y=0.4 * sideways), rows), inside, 3.0)
        canvas.lay(coverage(muscle - 0.9, pixel), signal["capsule"])
        canvas.lay(coverage(muscle, pixel), flesh, label="muscle")
    _lay_vessels(canvas, points, build, signal)
    pad = intersection(strip(points, _HOFFA), np.abs(points.x) - 27, 6.0)
    septa = np.abs(grain(points, width=(6.0, 6.0, 4.5), offset=build.textures[4]))
    strands = signal["septum"] * np.exp(-((septa / np.float32(0.13)) ** 2))
    canvas.lay(coverage(pad, pixel), np.maximum(signal["fat"] * (1.1 + 0.08 * mottle), strands), label="fat")


def lay_fluid(
    canvas: Canvas, points: Points, build: Build, places: Places, signal: dict[str, float], effusion: float
) -> None:
    """The film of fluid of every knee, and the pool of an effusion in and around the suprapatellar pouch."""
    film = _pool(points, places, build.pool, build)
    canvas.lay(coverage(film - 0.8, points.pixel) * np.float32(0.8), signal["synovium"])
    canvas.lay(coverage(film, points.pixel), signal["fluid"] * 0.85)
    if effusion > 0:
        begun = np.float32(min(effusion / 0.12, 1.0))  # a thin pool begins faint, so that nothing jumps at 0
        pool = coverage(_pool(points, places, build.pool + 8.0 * effusion, build), points.pixel) * begun
        canvas.lay(pool, signal["fluid"])
        canvas.watch("effusion", pool)


def lay_joint(canvas: Canvas, points: Points, joint: Joint, build: Build, signal: dict[str, float]) -> None:
    """Capsule, tendons, cartilage, menisci and bones without spurs."""
    pixel = points.pixel
    _lay_ligaments(canvas, points, joint, signal)
    for rows in (_QUADRICEPS_TENDON, _PATELLAR_TENDON):
        tendon = intersection(strip(_with_patella(points, build), rows), np.abs(points.x) - 18, 4.0)
        canvas.lay(coverage(tendon, pixel), signal["tendon"])
    mottle = 1 + 0.05 * grain(points, width=(3.0, 3.0, 3.0), offset=build.textures[7])
    for bone, thickness in (
        (joint.patella, joint.patellar_cartilage),
        (joint.tibia, joint.tibial_cartilage),
        (joint.femur, joint.femoral_cartilage),
    ):
        facing = coverage(bone.plain - thickness, pixel) * (thickness > 0.05)
        if bone is joint.patella:
            facing = facing * step(points.y, 44, 41)
        canvas.lay(facing, signal["cartilage"] * mottle, label="cartilage")
    canvas.lay(coverage(_menisci(points, joint, build), pixel), signal["meniscus"], label="meniscus")


def lay_bones(canvas: Canvas, joint: Joint, build: Build, signal: dict[str, float], *, spurs: bool) -> None:
    """The bones over all else: a black line of cortex round marrow with its trabeculae and the scar of growth."""
    for number, bone in enumerate((joint.patella, joint.tibia, joint.femur)):
        distance = bone.spurred if spurs else bone.plain
        canvas.lay(coverage(distance, bone.points.pixel), signal["cortex"], label="bone")
        inner = coverage(distance + CORTEX, bone.points.pixel)
        canvas.lay(inner, _marrow(bone, build, signal, number), label="bone")


def lay_marrow_lesions(
    canvas: Canvas, joint: Joint, build: Build, places: Places, signal: dict[str, float], marrow: float
) -> np.ndarray:
    """Bright clouds with soft ragged edges in the bone under the cartilage; returns how much they cover."""
    bones = (joint.femur, joint.tibia, joint.patella)
    cover = np.zeros(canvas.signal.shape, dtype=np.float32)
    for number, x, y, z, size in places.marrow:
        bone = bones[int(number)]
        at = bone.points
        height = z - 32 if number == 2 else z
        away = np.sqrt(
            ((at.x - np.float32(x)) / np.float32(1.3)) ** 2
            + (at.y - np.float32(y)) ** 2
            + ((at.z - np.float32(height)) / np.float32(0.85)) ** 2
        )
        ragged = away * (1 + 0.24 * np.maximum(grain(at, width=(4.5, 4.5, 4.5), offset=build.textures[1]), -1))
        radius = np.float32(size * (4.0 + 8.0 * marrow))
        cloud = step(ragged, float(radius), float(radius) * 0.25) * np.float32(min(marrow / 0.4, 1.0) ** 0.7)
        cover = np.maximum(cover, cloud * coverage(bone.spurred + CORTEX, at.pixel))
    canvas.lay(cover * np.float32(0.85), signal["lesion"], label="bone")
    return cover


def _body(points: Points, build: Build) -> np.ndarray:
    back, front = outline(points, _BODY)
    back, front = back - np.float32(5 * (build.fat - 1)), front + np.float32(3 * (build.fat - 1))
    front = front + np.float32(0.4 * build.thigh) * step(points.z, 45, 75)
    middle, half = (back + front) / 2, (front - back) / 2
    return (np.hypot((points.y - middle) / half, points.x / np.float32(54)) - 1) * half


def _with_patella(points: Points, build: Build) -> Points:
    """Both tendons stretch with a patella that lies high."""
    return points.moved(z=np.float32(build.patella_up) * step(points.z, -30, 5) * step(points.z, 95, 60))


def _pool(points: Points, places: Places, thickness: float, build: Build) -> np.ndarray:
    """A lens along the pouch: `thickness` is half its greatest width in mm."""
    middle, _ = outline(_with_patella(points, build), _POUCH)
    along = step(points.z, 84, 58) * step(points.z, 20, 52)
    wide = along * np.sqrt(np.clip(1 - (points.x / np.float32(34)) ** 2, 0, 1))
    # Beyond its ends a lens of no thickness would still cover half a pixel, and leave a line across the picture.
    closed = np.float32(points.pixel + 1.0) * (1 - np.minimum(wide * 10, 1))
    away = np.abs(points.y - middle - np.float32(places.pool) * along) * np.float32(0.85)
    return away - np.float32(thickness) * wide + closed


def _lay_vessels(canvas: Canvas, points: Points, build: Build, signal: dict[str, float]) -> None:
    """The popliteal artery and vein, winding through the fat behind the joint, and branches across."""
    wander = np.float32(build.textures[0, 0])
    for start, radius in ((-38.0, 1.7), (-43.5, 2.3)):
        y = start + 1.5 * np.sin(points.z / 21 + wander) + np.float32(9) * step(points.z, 15, 85)
        x = -12 + 5.0 * np.sin(points.z / 45 + wander)
        tube = np.hypot(points.y - y, points.x - x) - np.float32(radius)
        canvas.lay(coverage(tube - 0.8, points.pixel), signal["capsule"])
        canvas.lay(coverage(tube, points.pixel), signal["vessel"])
    for at, height, radius in _BRANCHES:
        branch = rod(points, x=-14.0, y=at, z=height + 3 * float(np.sin(wander + at)), reach=16.0, radius=radius)
        canvas.lay(coverage(branch, points.pixel), signal["vessel"])


def _lay_ligaments(canvas: Canvas, points: Points, joint: Joint, signal: dict[str, float]) -> None:
    """The capsule behind the condyle, and the cruciates in the notch."""
    behind = intersection(joint.femur.plain - joint.femoral_cartilage - 2.2, points.y + 24, 2.0)
    behind = intersection(behind, np.abs(points.z - 14) - 20, 3.0)
    canvas.lay(coverage(behind, points.pixel), signal["capsule"])
    canvas.lay(coverage(behind + 1.3, points.pixel), signal["synovium"])
    for (x, y, z), (x2, y2, z2), radius in (((1, 8, 1), (7, -16, 27), 3.6), ((-1, -25, -6), (-6, 4, 18), 4.2)):
        start, way = np.array([x, y, z], np.float32), np.array([x2 - x, y2 - y, z2 - z], np.float32)
        offsets = (points.x - start[0], points.y - start[1], points.z - start[2])
        share = np.clip(sum(o * w for o, w in zip(offsets, way, strict=True)) / (way @ way), 0, 1)
        away = np.sqrt(sum((o - share * w) ** 2 for o, w in zip(offsets, way, strict=True)))
        canvas.lay(coverage(away - np.float32(radius), points.pixel), signal["capsule"])


def _menisci(points: Points, joint: Joint, build: Build) -> np.ndarray:
    """Two rings in the wedge that the round condyle leaves open on the plateau; worn knees push them outwards."""
    femur, tibia = joint.femur, joint.tibia
    wedge = np.maximum(
        -(femur.plain - joint.femoral_cartilage - np.float32(0.3)),
        -(tibia.plain - joint.tibial_cartilage - np.float32(0.2)),
    )
    aside = (np.abs(points.x) - np.float32(COMPARTMENT)) * np.float32(1.35)
    away = np.hypot(aside, points.y / np.float32(build.depth) + 2) - np.float32(2.0 * joint.loss)
    ring = intersection(np.float32(12.0 - build.meniscus) - away, away - np.float32(26), 1.0)
    near = np.maximum(femur.plain - joint.femoral_cartilage, tibia.plain - joint.tibial_cartilage) - np.float32(8)
    return np.maximum(np.maximum(ring, wedge), near)


def _marrow(bone: Bone, build: Build, signal: dict[str, float], number: int) -> np.ndarray:
    """Fatty marrow with fine trabeculae and coarse mottling; darker under the joint and at the growth scar."""
    at = bone.points
    fine = grain(at, width=(1.6, 1.4, 2.4), offset=build.textures[0])
    coarse = grain(at, width=(9.0, 9.0, 9.0), offset=build.textures[1])
    level = (signal["marrow"] + np.float32(build.marrow)) * (1 + np.float32(0.11) * fine + np.float32(0.10) * coarse)
    sclerosis = 1 - np.float32(0.25) * np.exp(-np.square((bone.plain + CORTEX) / np.float32(2.2)))
    if number in _SCARS:
        height, bow = (np.float32(value) for value in _SCARS[number])
        away = at.z - height - bow * (at.y * at.y) + coarse * np.float32(0.5)
        scar = np.exp(-np.square(away / np.float32(0.8)))
        level = level * (1 - np.float32(0.5) * scar)
    return level * sclerosis
