"""Brightness against what a few normals show near the same place: for volumes, of which there seldom are many."""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from anomaly.detectors.local import LocalDetector
from anomaly.nets.brightness import Brightness


@dataclass(kw_only=True)
class Nearby(LocalDetector):
    """Brightness at three scales, pixel by pixel, compared with that of normals nearby; nothing is averaged away."""

    name: ClassVar[str] = "nearby"
    summary: ClassVar[str] = "brightness that no normal shows near the same place; no training, made for few volumes"
    cite: ClassVar[str] = "Coupe et al. 2011 (search for patches nearby); Roth et al. 2022"
    density: str = "near"
    pool: str = "top"
    cells: int = 64

    def features(self, channels: int) -> nn.Module:
        """Three blurs, within masks where images have them."""
        return Brightness(self.cells, masked=self.masked_)
