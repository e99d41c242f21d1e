"""Scattering coefficients of cells, compared with those of normals."""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from anomaly.detectors.local import LocalDetector
from anomaly.nets import scattering


@dataclass(kw_only=True)
class Scattering(LocalDetector):
    """Moduli of wavelets and of wavelets of these, by default the least usual cell of an image, near its place."""

    name: ClassVar[str] = "scattering"
    summary: ClassVar[str] = "scales and directions of structure, for focal findings; no training"
    cite: ClassVar[str] = "Bruna and Mallat 2013; Roth et al. 2022"
    density: str = "memory"
    pool: str = "max"
    coordinates: float = 0.5

    def features(self, channels: int) -> nn.Module:
        """Three scales, six directions, two orders."""
        return scattering.Scattering(self.cells)
