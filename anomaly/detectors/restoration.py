"""Restoration: images are degraded in a way of one's choice, and what a restorer of normal ones would not draw."""

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from anomaly.degradations.base import Degradation
from anomaly.degradations.register import DEGRADATIONS, make
from anomaly.detectors.restoring import RestoringDetector
from anomaly.errors import AnomalyError

OWN_NAMES = {"noise_sigma": "sigma"}
"""What degradations call a setting that the detector has to call otherwise."""
NUMBERED = {"axis": 3, "phase": 2}
"""Axes, of which there are so many; degradations count them from 0, here 0 is what nobody set."""
NUMBERS = (
    "noise_sigma", "coarse", "factor", "axis", "low", "high", "block", "keep", "turned", "acceleration", "centre",
    "phase", "dose", "photons", "spacing", "beams",
)  # fmt: skip
SETTINGS = (*NUMBERS, "thick", "pattern", "hounsfield")


@dataclass(kw_only=True)
class Restoration(RestoringDetector):
    """Restorer of normal images of which something was taken: what it would not have drawn is abnormal.

    Settings of degradations are 0 (or "") unless they are given, and are then filled in with the degradation's own.
    One that is not of the degradation chosen is refused.

    Args:
        degradation: what is taken from images: "noise", "downsample", "slices" (of volumes), "mask", "border",
            "kspace" or "lowdose".
        noise_sigma: of "noise": standard deviation on its coarse grid, as a share of the range of the images.
        coarse: of "noise": pixels between two independent values.
        factor: of "downsample": pixels along each side of an area that becomes one; of "slices": how many there are
            for one that is kept.
        axis: of "slices" and "kspace": along which slices of a volume lie, 1, 2 or 3.
        thick: of "slices": whether those that are kept are means of their neighbours.
        low: of "mask": least share of an image that is covered.
        high: of "mask": most of it.
        block: of "mask": pixels along the side of a block.
        keep: of "border": share of each side that the centre has.
        turned: of "border": share of images whose centre is covered instead; next to 0, such as 0.001, for none.
        acceleration: of "kspace": columns for one that is kept.
        centre: of "kspace": share of the columns that is kept always.
        pattern: of "kspace": "random" or "equispaced".
        phase: of "kspace": which axis of a slice has fewer columns, 1 or 2.
        dose: of "lowdose": share of the photons.
        photons: of "lowdose": at full dose.
        hounsfield: of "lowdose": units that -1 and 1 stand for, such as "-1000,1000"; "" where it is no CT.
        spacing: of "lowdose": mm of a pixel.
        beams: of "lowdose": angles of the projection.
    """

    name: ClassVar[str] = "restoration"
    summary: ClassVar[str] = "degrades normals and learns to undo it; heads l1, l2, ssim, combined"
    cite: ClassVar[str] = "Kascenas et al. 2022 (noise); Pathak et al. 2016 (mask); Chen et al. 2017 (lowdose)"
    choices: ClassVar[Mapping[str, Iterable[str]]] = {
        **RestoringDetector.choices, "degradation": DEGRADATIONS, "pattern": ("", "random", "equispaced"),
    }  # fmt: skip
    not_negative: ClassVar[tuple[str, ...]] = (*RestoringDetector.not_negative, *NUMBERS)
    degradation: str = "noise"
    noise_sigma: float = 0.0
    coarse: int = 0
    factor: int = 0
    axis: int = 0
    thick: bool = False
    low: float = 0.0
    high: float = 0.0
    block: int = 0
    keep: float = 0.0
    turned: float = 0.0
    acceleration: float = 0.0
    centre: float = 0.0
    pattern: str = ""
    phase: int = 0
    dose: float = 0.0
    photons: float = 0.0
    hounsfield: str = ""
    spacing: float = 0.0
    beams: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        own = self._own()
        for name in SETTINGS:
            got = getattr(self, name)
            if got and name not in own:
                has = ", ".join(own) or "no settings"
                raise AnomalyError(f"{name}={got} is no setting of {self.degradation}, which has {has}")
            if name in NUMBERED and got > NUMBERED[name]:
                raise AnomalyError(f"{name} is {got}; take 1 to {NUMBERED[name]}, or 0 for the last")
        _ = self.made

    @property
    def made(self) -> Degradation:
        """The degradation with its settings."""
        given = {own: _taken(name, getattr(self, name)) for name, own in self._own().items() if getattr(self, name)}
        return make(self.degradation, given)

    def fill_in(self, shape: tuple[int, ...], count: int, processes: int = 1) -> None:
        """Fill in what nobody set, the degradation's own settings as well."""
        super().fill_in(shape, count, processes)
        made = self.made
        for name, own in self._own().items():
            setattr(self, name, _given(name, getattr(made, own)))

    def _own(self) -> dict[str, str]:
        """Settings of the degradation, as they are called here and there."""
        known = {field.name for field in dataclasses.fields(DEGRADATIONS[self.degradation])}
        names = {name: OWN_NAMES.get(name, name) for name in SETTINGS}
        return {name: own for name, own in names.items() if own in known}


def _taken(name: str, value: Any) -> Any:
    """A setting of the detector as the degradation takes it."""
    if name in NUMBERED:
        return value - 1
    if name != "hounsfield":
        return value
    try:
        low, high = (float(each) for each in str(value).split(","))
    except ValueError as error:
        raise AnomalyError(f"hounsfield={value} is no pair of numbers; give two, such as -1000,1000") from error
    return low, high


def _given(name: str, value: Any) -> Any:
    """A setting of the degradation as the detector is given it."""
    if name in NUMBERED:
        return value + 1
    return ",".join(f"{each:g}" for each in value) if name == "hounsfield" else value
