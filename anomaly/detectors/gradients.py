"""Directions and strengths of edges in cells, compared with those of normals."""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from anomaly.detectors.local import LocalDetector
from anomaly.nets import gradients


@dataclass(kw_only=True)
class Gradients(LocalDetector):
    """Oriented gradients, brightness and contrast of cells, by default compared with all cells of normals."""

    name: ClassVar[str] = "gradients"
    summary: ClassVar[str] = "directions and strengths of edges; seconds to learn, no training"
    cite: ClassVar[str] = "Dalal and Triggs 2005; Roth et al. 2022"
    density: str = "memory"

    def features(self, channels: int) -> nn.Module:
        """Three scales, nine directions."""
        return gradients.Gradients(self.cells)
