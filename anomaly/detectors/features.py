"""What a frozen network sees in cells, compared with what it sees in normals."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from anomaly.detectors.local import DENSITIES, POOLS, LocalDetector
from anomaly.errors import AnomalyError
from anomaly.nets import pretrained
from anomaly.training.learned import Images


@dataclass(kw_only=True)
class Features(LocalDetector):
    """Features of a network that learned from photographs, or from whatever its weights were made with.

    A run holds the network, so that scoring needs neither the package nor the file that its weights came from.

    Args:
        network: the architecture: "efficientnet-lite0", whose ImageNet weights come with the program, "resnet18" or
            "resnet50".
        block: whose output is looked at, from 0; later blocks see larger parts of the image and more of its meaning.
        weights: a safetensors file of the architecture; none takes the ImageNet weights of efficientnet-lite0.
        side: pixels a side of what the network sees; images are made that large.
        sha256: of the weights; filled in when they are read, and refused where others are found.
    """

    name: ClassVar[str] = "features"
    summary: ClassVar[str] = "what a frozen ImageNet network sees in cells (PatchCore, PaDiM); no training"
    cite: ClassVar[str] = "Tan and Le 2019; Liu 2020 (Lite); Roth et al. 2022 (PatchCore); Defard et al. 2021 (PaDiM)"
    positive: ClassVar[tuple[str, ...]] = (*LocalDetector.positive, "side")
    choices: ClassVar[Mapping[str, Iterable[str]]] = {
        "density": DENSITIES,
        "pool": POOLS,
        "network": pretrained.NETWORKS,
    }
    density: str = "memory"
    network: str = "efficientnet-lite0"
    block: int = 11
    weights: str = ""
    side: int = 128
    sha256: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        pretrained.check_block(self.network, self.block)
        if self.weights and not self.weights.endswith(".safetensors"):
            raise AnomalyError(f"weights={self.weights} is no .safetensors file; weights are read from nothing else")
        if self.sha256 and not re.fullmatch("[0-9a-f]{64}", self.sha256):
            raise AnomalyError(f"sha256={self.sha256} is none; expected 64 digits 0-9 and a-f")

    def features(self, channels: int) -> nn.Module:
        """The network up to its block, without weights yet."""
        return pretrained.Frozen(pretrained.network(self.network, self.block), self.side)

    def settle(self, normals: Images) -> None:
        """Fill in the weights, then learn the density."""
        features = self.net_["features"]
        frozen = features.get_submodule("features") if normals.ndim == 5 else features
        found = pretrained.fill(frozen.get_submodule("network"), self.network, self.weights)
        if self.sha256 not in ("", found):
            raise AnomalyError(
                f"the weights have sha256 {found}, asked for was {self.sha256}; give the right --set weights"
            )
        self.sha256 = found
        super().settle(normals)
