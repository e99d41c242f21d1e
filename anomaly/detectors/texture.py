"""Texture of cells against normals: trains nothing, and is hard to beat where anatomy lies alike."""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from anomaly.detectors.local import LocalDetector
from anomaly.nets import texture


@dataclass(kw_only=True)
class Texture(LocalDetector):
    """Local binary patterns of overlapping cells, compared with those of normals at each place.

    Values have no gradient: a pattern either is there or not.
    """

    name: ClassVar[str] = "texture"
    summary: ClassVar[str] = "patterns of brighter and darker neighbours; seconds to learn, no training"
    cite: ClassVar[str] = "Ojala et al. 2002; 3D: Zhao and Pietikainen 2007; Defard et al. 2021; Ledoit and Wolf 2004"

    @property
    def differentiable(self) -> bool:
        """No: a code changes by leaps."""
        return False

    def features(self, channels: int) -> nn.Module:
        """Four rings of neighbours, ten patterns each."""
        return texture.Texture(self.cells)
