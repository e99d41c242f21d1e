"""Ultrasound in stages (Tom and Sheet 2018): physics draws from a map of tissues, a network makes it look real."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from anomaly.errors import AnomalyError
from anomaly.painters.mapped import NOWHERE
from anomaly.painters.pix2pix import Pix2PixLabels
from anomaly.painters.speckle import ultrasound
from anomaly.painters.tissues import BEAMS, NOTHING, SOFT, Probe, Tissue

PROBE = ("frequency", "axial", "lateral", "dynamic", "level", "gain", "pixel", "beam", "radius", "angle")


@dataclass(kw_only=True)
class Ultrasound(Pix2PixLabels):
    """Draws an ultrasound image from a map of tissues: the physics of `anomaly.painters.speckle`, then a U-Net.

    The U-Net sees the map, noise, and what the physics drew, and learns to draw the real image against a critic.
    Slices and pictures alone.

    Args:
        steps: of the training.
        batch: images in a batch.
        lr: learning rate of Adam (0.5, 0.999) of the U-Net; falls to 0 like half a cosine.
        lr_critic: of the critic.
        width: channels at full size, doubled at each halving.
        levels: sizes, the full one and each of the halvings.
        noise: channels of noise beside the map and the physics.
        l1: weight of |drawn - real|.
        adversarial: weight of what the critic says.
        features: weight of the difference of what the critic's layers see of drawn and real.
        critic_width: channels after the critic's first convolution.
        halved: how often it halves.
        scales: critics, of the image, its half, ...
        ema: share of the running average of weights, which is what is kept, that each step leaves.
        tissues: amplitude, density, attenuation and reflection of the background and of each class, in a row; filled in
            from a table of tissues, or by what is known of their names.
        frequency: of the pulse, MHz.
        axial: standard deviation of the pulse along the beam, mm.
        lateral: of the beam across, mm.
        dynamic: decibels between black and white.
        level: decibels from the speckle of soft tissue up to white.
        gain: dB a centimetre and megahertz that the machine gives back for depth.
        pixel: mm a pixel of the prepared image, along its first axis; filled in from the files where they tell it.
        across: the same along its second axis; 0 for as many as `pixel`.
        beam: where beams run as images are shown on a screen.
        turned: images are slices of volumes, shown with their first axis across the screen; filled in.
        probe: "linear" or "curved".
        radius: of a curved probe, mm.
        angle: that its beams open, degrees.
    """

    name: ClassVar[str] = "ultrasound"
    summary: ClassVar[str] = "ultrasound: scatterers, pulse and attenuation by class, then a U-Net makes it look real"
    cite: ClassVar[str] = "Tom and Sheet 2018; Bamber and Dickinson 1980; Isola et al. 2017"
    choices: ClassVar[Mapping[str, Iterable[str]]] = {"probe": ("linear", "curved"), "beam": BEAMS}
    not_negative: ClassVar[tuple[str, ...]] = (*Pix2PixLabels.not_negative, "across")
    l1: float = 10.0
    tissues: tuple[float, ...] = ()
    frequency: float = 5.0
    axial: float = 0.2
    lateral: float = 0.5
    dynamic: float = 60.0
    level: float = 18.0
    gain: float = 0.5
    pixel: float = 0.5
    across: float = 0.0
    beam: str = "down"
    turned: bool = False
    probe: str = "linear"
    radius: float = 40.0
    angle: float = 60.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.tissues = tuple(self.tissues)  # a file gives a list
        self.listening()

    def listening(self) -> Probe:
        """The probe of the settings."""
        return Probe(kind=self.probe, **{name: getattr(self, name) for name in PROBE})

    def scattering(self) -> list[Tissue]:
        """The tissue of each place; soft tissue where none was given.

        Raises:
            AnomalyError: tissues are given, and not four numbers for each class.
        """
        if not self.tissues:
            return [NOTHING, *[SOFT] * (self.classes_ - 1)]
        if len(self.tissues) != 4 * self.classes_:
            raise AnomalyError(
                f"tissues are {len(self.tissues)} numbers; expected 4 for each of {self.classes_} classes"
            )
        rows = np.reshape(self.tissues, (-1, 4)).tolist()
        names = ("amplitude", "density", "attenuation", "reflection")
        return [Tissue(**dict(zip(names, row, strict=True))) for row in rows]

    def artist(self, shape: tuple[int, ...]) -> torch.nn.Module:
        """The U-Net, one channel wider.

        Raises:
            AnomalyError: volumes.
        """
        if len(shape) != 3:
            raise AnomalyError("ultrasound is drawn slice by slice; give --dims 2")
        self.scattering()
        return super().artist(shape)

    @property
    def further(self) -> int:
        """What the physics drew."""
        return 1

    def grain(self, places: Tensor, seeds: Sequence[int] | None = None) -> Tensor:
        """Noise, and what the physics drew, as its last channel."""
        noise = super().grain(places, seeds)
        if seeds is None:
            seeds = torch.randint(2**31, (len(places),)).tolist()
        return torch.cat([noise, self.simulated(places, seeds).to(noise)], 1)

    def simulated(self, places: Tensor, seeds: Sequence[int]) -> Tensor:
        """What the physics draws of maps (N, *space): (N, 1, *space) in [-1, 1]; outside masks nothing scatters."""
        maps, tissues, probe = places.cpu().numpy(), self.scattering(), self.listening()
        within = np.where(maps == NOWHERE, 0, maps)
        size = (self.pixel, self.across or self.pixel)
        drawn = [
            ultrasound(each, tissues, probe, seed=int(seed), pixel=size, turned=self.turned)
            for each, seed in zip(within, seeds, strict=True)
        ]
        return torch.from_numpy(np.stack(drawn))[:, None]
