"""A lower dose: the noise of the photons that were not there."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from typing import ClassVar

import torch
from torch import Generator, Tensor

from anomaly.degradations.base import Degradation, Degraded
from anomaly.degradations.projection import back, project
from anomaly.errors import AnomalyError

WATER = 0.02
"""Attenuation of water per mm, at about 60 keV."""
PHOTONS = {"projected": 1e5, "in the image": 1e3}


@dataclass(frozen=True, kw_only=True)
class LowDose(Degradation):
    """Noise of a share of the photons, added to images that have the noise of all of them.

    Two ways. With `hounsfield` the images are CT in Hounsfield units, and the noise is that of the line integrals p of
    parallel beams through each slice: counts are drawn from Poisson(I exp(-p)), and the filtered back projection of
    what that changes, -log(counts / (I exp(-p))), is added. Without, it is **an approximation in the image**, for
    other modalities: the count of a pixel is drawn from Poisson(I v), v being its intensity from 0 for black to 1 for
    white, as if it had counted photons itself, without what a reconstruction makes of them.

    With a share d of I0 photons the variance is 1 / d times that of all of them. The images have that of all, so what
    is missing is drawn with I = I0 d / (1 - d) photons, for which 1 / I = (1 / d - 1) / I0: nothing at d = 1.

    Args:
        dose: share d of the photons.
        photons: I0 at full dose, of a ray through air, or of a white pixel; 0 for 100000 in CT, else 1000.
        hounsfield: units that -1 and 1 stand for, the window of CT. What it has clipped is clipped for the beams as
            well: bone absorbs as little as its end, and air as much as its beginning where that is above -1000.
        spacing: mm of a pixel, along both axes of a slice; of CT alone.
        beams: angles of the projection; 0 for as many as the longest side of a slice has pixels.
    """

    name: ClassVar[str] = "lowdose"
    summary: ClassVar[str] = "noise of fewer photons, projected for CT, else in the image"
    cite: ClassVar[str] = "Zeng et al. 2015; Chen et al. 2017 (RED-CNN)"
    whole: ClassVar[bool] = True
    bounds: ClassVar[dict[str, tuple[float, float]]] = {
        "dose": (1e-4, 1),
        "photons": (0, 1e12),
        "spacing": (1e-6, inf),
        "beams": (0, inf),
    }
    dose: float = 0.25
    photons: float = 0.0
    hounsfield: tuple[float, ...] = ()
    spacing: float = 1.0
    beams: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        window = self.hounsfield
        if isinstance(window, list):  # as a stored run has it
            object.__setattr__(self, "hounsfield", window := tuple(window))
        numbers = isinstance(window, tuple) and all(type(end) in (int, float) for end in window)
        if not numbers or (window and not (len(window) == 2 and -inf < window[0] < window[1] < inf)):
            raise AnomalyError(
                f"hounsfield of {self.name} is {self.hounsfield!r}; expected two rising numbers, such as "
                "(-1000, 1000), or nothing where the images are not CT"
            )

    def refuse(self, shape: tuple[int, ...]) -> None:
        """Colours in Hounsfield units, and slices with a side of one pixel."""
        channels, *space = shape
        if self.hounsfield and channels > 1:
            raise AnomalyError(f"{self.name} of CT needs images of one channel; these have {channels}")
        if self.hounsfield and min(space[:2]) < 2:
            raise AnomalyError(f"{self.name} of CT needs slices of 2 x 2 pixels or more; got {space[0]} x {space[1]}")

    def refuse_scale(self, intensity: str, window: tuple[float, float] | None) -> None:
        """Images whose black and white are no Hounsfield units, or others than those told."""
        if not self.hounsfield or (intensity == "window" and window == self.hounsfield):
            return
        low, high = self.hounsfield
        told = f"window {window[0]:g} to {window[1]:g}" if intensity == "window" and window else intensity
        raise AnomalyError(
            f"hounsfield of {self.name} is {low:g} to {high:g}, but intensity is {told}; give images in Hounsfield "
            f"units and --intensity window --window={low:g},{high:g}, so that black and white stand for these"
        )

    @property
    def pixel(self) -> float | None:
        """The spacing, along which paths are reckoned; noise in the image knows none."""
        return self.spacing if self.hounsfield and self.dose < 1 else None

    def measured(self, x: Tensor, random: Generator | None = None) -> Tensor:
        """The images and the noise that they would have had besides, not clipped where CT is meant."""
        self.refuse(tuple(x.shape[1:]))
        if self.dose == 1:
            return x
        return self._projected(x, random) if self.hounsfield else self._counted(x, random)

    def views(self, x: Tensor) -> Iterator[Degraded]:
        """The image itself: what looks like noise in it is what the restorer takes away."""
        yield Degraded(x)

    def intensity(self) -> float:
        """I, the photons whose noise is what is missing."""
        return (
            (self.photons or PHOTONS["projected" if self.hounsfield else "in the image"]) * self.dose / (1 - self.dose)
        )

    def _counted(self, x: Tensor, random: Generator | None) -> Tensor:
        expected = self.intensity() * (x.float().clamp(min=-1) + 1) / 2
        return (torch.poisson(expected, generator=random) * (2 / self.intensity()) - 1).to(x.dtype)

    def _projected(self, x: Tensor, random: Generator | None) -> Tensor:
        """Each slice of (N, 1, H, W) or (N, 1, H, W, D), D its slices."""
        low, high = self.hounsfield
        slices = x.float().squeeze(1) if x.ndim == 4 else x.float().squeeze(1).movedim(-1, 1).flatten(0, 1)
        hounsfield = (slices + 1) / 2 * (high - low) + low
        water = WATER * self.spacing
        beams = self.beams or max(slices.shape[1:])
        paths = project((1 + hounsfield / 1000).clamp(min=0) * water, beams)
        expected = self.intensity() * torch.exp(-paths)
        # A ray of which nothing arrives counts as one photon, as its logarithm would have no end.
        counts = torch.poisson(expected, generator=random).clamp(min=1)
        noise = back(-torch.log(counts / expected), *slices.shape[1:]) / water * 1000
        noise = noise * (2 / (high - low))
        noise = noise if x.ndim == 4 else noise.unflatten(0, (len(x), -1)).movedim(1, -1)
        return x + noise.unsqueeze(1).to(x.dtype)
