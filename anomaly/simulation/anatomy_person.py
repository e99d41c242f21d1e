"""How one knee differs from the next: sizes in mm, angles in degrees, and where its lesions lie."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_OWN = 0.3  # share of the SD by which the two knees of a person differ
# Names of the independent random streams, so that adding one draw changes no other.
_PERSON, _KNEE, _LESIONS, _SCAN = 1, 2, 3, 4

# Mean and SD over persons of every measure.
_MEASURES = {
    "size": (1.0, 0.045),
    "depth": (1.0, 0.04),
    "condyle": (20.0, 1.0),
    "trochlea": (26.5, 1.1),
    "shaft": (0.0, 1.3),
    "patella_up": (0.0, 2.6),
    "patella_size": (1.0, 0.06),
    "slope": (6.0, 2.0),
    "cartilage": (2.4, 0.22),
    "flexion": (0.0, 4.0),
    "meniscus": (0.0, 1.0),
    "fat": (1.0, 0.35),
    "muscle": (0.0, 0.035),
    "marrow": (0.0, 0.025),
    "thigh": (0.0, 3.0),
    "pool": (0.5, 0.2),
}


@dataclass(frozen=True, kw_only=True)
class Build:
    """The measures of one knee.

    size, depth: scale of the whole knee, and of the bones from front to back; condyle, trochlea: radii of
    the femur's end, mm; shaft, patella_up: the shaft lies further forward, the patella higher, mm;
    patella_size: scale; slope: of the tibial plateau, degrees; cartilage: thickness, mm; flexion: degrees;
    meniscus: further inwards, mm; fat: under the skin, 1 as usual; muscle, marrow: brighter by;
    thigh: thicker by, mm; pool: half thickness of the fluid every knee has, mm;
    textures: (8, 3) places in the random lattice.
    """

    size: float
    depth: float
    condyle: float
    trochlea: float
    shaft: float
    patella_up: float
    patella_size: float
    slope: float
    cartilage: float
    flexion: float
    meniscus: float
    fat: float
    muscle: float
    marrow: float
    thigh: float
    pool: float
    textures: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where the lesions of one knee lie, whatever their severity.

    marrow: (n, 5) bone (0 femur, 1 tibia, 2 patella), x, y, z in mm and size (1 the largest);
    worn: y of the middle of the worn patch; spurs: (6,) size of each osteophyte, 1 the largest;
    pool: lean of the suprapatellar pool in mm.
    """

    marrow: np.ndarray
    worn: float
    spurs: np.ndarray
    pool: float


def build_of(seed: int, person: int, knee: int) -> Build:
    """Draw the measures of a knee: those of the person, shared by both knees, and a little of its own."""
    shared = np.random.default_rng([seed, _PERSON, person])
    own = np.random.default_rng([seed, _KNEE, person, knee])
    common, single = (np.clip(rng.normal(size=len(_MEASURES)), -2.2, 2.2) for rng in (shared, own))
    deviation = np.sqrt(1 - _OWN**2) * common + _OWN * single
    measures = {
        name: mean + sd * float(value) for (name, (mean, sd)), value in zip(_MEASURES.items(), deviation, strict=True)
    }
    textures = shared.uniform(0, 48, size=(8, 3)) + own.normal(0, 0.15, size=(8, 3))
    return Build(**measures, textures=textures)


def places_of(seed: int, person: int, knee: int) -> Places:
    """Draw where the lesions of a knee lie; the same at every visit and at every severity."""
    rng = np.random.default_rng([seed, _LESIONS, person, knee])
    # y, z and SD of where marrow lesions lie: femur in the load-bearing zone, tibia under it, trochlea, patella.
    likely = np.array([[0, -9, 9.0, 5], [1, -6, -9.0, 6], [0, 17, 17, 3], [2, 39, 36, 3], [1, 12, -10, 4]])
    chosen = rng.choice(len(likely), size=3, replace=False, p=[0.34, 0.3, 0.12, 0.14, 0.1])
    spread = rng.normal(size=(3, 2)) * likely[chosen, 3:] * [1, 0.4]
    across = -14 + rng.normal(0, 2.5, size=(3, 1))
    size = np.array([[1.0], [rng.uniform(0.55, 0.85)], [rng.uniform(0.4, 0.65)]])
    marrow = np.hstack([likely[chosen, :1], across, likely[chosen, 1:3] + spread, size])
    return Places(
        marrow=marrow,
        worn=float(rng.normal(-6, 3)),
        spurs=rng.uniform(0.55, 1.0, size=6),
        pool=float(rng.normal(0, 1.2)),
    )


def scan_stream(seed: int, scan: int) -> np.random.Generator:
    """The random numbers of one scan: how the knee lies, the coil's field, the noise."""
    return np.random.default_rng([seed, _SCAN, scan])
