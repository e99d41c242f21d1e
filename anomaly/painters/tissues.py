"""How tissues scatter and weaken ultrasound, and the probe that listens: plain numbers with their units."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from math import isfinite

from anomaly.errors import AnomalyError

BEAMS = ("down", "up", "right", "left")


@dataclass(frozen=True, kw_only=True)
class Tissue:
    """What a class of a label map does to ultrasound.

    amplitude: of one scatterer, standard deviation; 1 is soft tissue.
    density: scatterers a square millimetre. Ten in a resolution cell make fully developed speckle.
    attenuation: dB a centimetre and megahertz, one way.
    reflection: of the surface where a beam enters the class, as the amplitude of scatterers a millimetre along it.

    Raises AnomalyError for a number below 0.
    """

    amplitude: float = 1.0
    density: float = 60.0
    attenuation: float = 0.5
    reflection: float = 0.0

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if not 0 <= value < float("inf"):
                raise AnomalyError(f"{each.name} of a tissue is {value}; expected 0 or more")


SOFT = Tissue()
NOTHING = Tissue(amplitude=0.0, attenuation=0.0)
BONE = Tissue(amplitude=0.6, attenuation=6.9, reflection=60.0)
FLUID = Tissue(amplitude=0.004, attenuation=0.02)
KNOWN: Mapping[str, Tissue] = {
    "background": NOTHING,
    "fat": Tissue(amplitude=0.6, attenuation=0.48),
    "muscle": Tissue(amplitude=0.9, attenuation=1.09),
    "liver": SOFT,
    "skin": Tissue(amplitude=2.0, attenuation=0.6, reflection=8.0),
    "bone": BONE,
    "cartilage": Tissue(amplitude=0.12, attenuation=1.5, reflection=3.0),
    "meniscus": Tissue(amplitude=2.0, attenuation=1.5),
    "tendon": Tissue(amplitude=2.2, attenuation=1.5, reflection=4.0),
    "blood": Tissue(amplitude=0.05, attenuation=0.2),
    "vessel": Tissue(amplitude=0.05, attenuation=0.2, reflection=3.0),
    "effusion": FLUID,
    "fluid": FLUID,
    "cyst": FLUID,
    "marrow": Tissue(amplitude=0.8, attenuation=0.44),
    "marrow lesion": Tissue(amplitude=0.8, attenuation=6.9),
    "lesion": Tissue(amplitude=0.35, attenuation=0.6),
    "tumour": Tissue(amplitude=0.35, attenuation=0.8),
}
"""Attenuation of blood, fat, liver, muscle and cortical bone as Culjat et al. 2010, table 2, have it. Others are not:
tendon has 4.7 there and 1.5 here, so that something is seen below, and so have cartilage and meniscus; marrow is the
4.4 dB/cm at 10 MHz of Kawasaki et al. 2015; a marrow lesion lies within bone, and weakens as that does; the rest, and
all amplitudes, densities and reflections, are by eye."""


def tissues_of(names: Sequence[str], given: Mapping[str, Tissue] | None = None) -> tuple[list[Tissue], list[str]]:
    """A tissue for the background and each class, and the names of classes that nothing is known of: soft tissue.

    Args:
        names: of the classes, the background not among them.
        given: tissues by name, which win over those known.

    Raises:
        AnomalyError: a tissue is given for no class.
    """
    known = {**KNOWN, **(given or {})}
    every = ["background", *names]
    if unknown := sorted(set(given or {}) - set(every)):
        raise AnomalyError(f"tissues are given for {unknown[0]!r}, which is no class; classes are {', '.join(every)}")
    return [known.get(name, SOFT) for name in every], [name for name in names if name not in known]


@dataclass(frozen=True, kw_only=True)
class Probe:
    """What sends and listens.

    Args:
        frequency: of the pulse, MHz.
        axial: standard deviation of the pulse along the beam, mm.
        lateral: of the beam across, mm; of a curved probe at `radius`.
        dynamic: decibels between black and white.
        level: decibels from the speckle of soft tissue at the skin up to white.
        gain: dB a centimetre and megahertz that the machine gives back for depth, one way; 0 or more. None is given for
            what has no scatterers, such as the air between probe and skin, and no echo is raised by more than 12 dB.
        pixel: mm a pixel, where the map's file tells none.
        beam: where beams run as a map is shown on a screen: "down", "up", "right" or "left".
        kind: "linear", beams straight from the edge; or "curved", beams that fan out.
        radius: of a curved probe's surface, mm.
        angle: that its beams open, degrees.

    Raises AnomalyError for a number that cannot be.
    """

    frequency: float = 5.0
    axial: float = 0.2
    lateral: float = 0.5
    dynamic: float = 60.0
    level: float = 18.0
    gain: float = 0.5
    pixel: float = 0.5
    beam: str = "down"
    kind: str = "linear"
    radius: float = 40.0
    angle: float = 60.0

    def __post_init__(self) -> None:
        for name in ("frequency", "axial", "lateral", "dynamic", "pixel", "radius", "angle"):
            if not 0 < getattr(self, name) < float("inf"):
                raise AnomalyError(f"{name} of a probe is {getattr(self, name)}; expected a number above 0")
        if not 0 <= self.gain < float("inf"):
            raise AnomalyError(f"gain of a probe is {self.gain}; expected a number from 0 on")
        if not isfinite(self.level):
            raise AnomalyError(f"level of a probe is {self.level}; expected a number of decibels")
        if self.beam not in BEAMS:
            raise AnomalyError(f"beam of a probe is {self.beam!r}; expected {', '.join(BEAMS)}")
        if self.kind not in ("linear", "curved"):
            raise AnomalyError(f"a probe is linear or curved, not {self.kind!r}")
        if not 0 < self.angle < 170:
            raise AnomalyError(f"angle of a probe is {self.angle}; expected degrees above 0 and below 170")

    @property
    def wavelength(self) -> float:
        """In tissue, mm."""
        return SPEED / self.frequency


SPEED = 1.54
"""Of sound in tissue, mm a microsecond."""
