"""What a frozen network sees in cells, compared with what it sees in normals."""

import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor, nn

from anomaly.detectors.local import DENSITIES, POOLS, LocalDetector
from anomaly.errors import AnomalyError
from anomaly.nets import onnx_files, pretrained
from anomaly.nets.onnx_network import Network
from anomaly.training.learned import Images
from anomaly.training.machine import Machine

logger = logging.getLogger(__name__)
ONNX = "onnx"


@dataclass(kw_only=True)
class Features(LocalDetector):
    """Features of a network that learned from photographs, or from whatever its weights were made with.

    A run holds the network, so that scoring needs neither the package nor the file that its weights came from.

    Args:
        network: the architecture: "efficientnet-lite0", whose ImageNet weights come with the program, "resnet18" or
            "resnet50"; or "onnx", any network of yours, which then stands in `weights`.
        block: whose output is looked at, from 0; later blocks see larger parts of the image and more of its meaning.
            Means nothing with network=onnx.
        weights: a safetensors file of the architecture; none takes the ImageNet weights of efficientnet-lite0. With
            network=onnx the ONNX file of the whole network.
        output: with network=onnx, the tensor that is looked at, an output or any inside; none takes the last output
            that lies in cells.
        side: pixels a side of what the network sees; images are made that large. A network that says it itself wins.
        levels: what the network is shown as black and white: "imagenet" (mean and standard deviation of photographs),
            "contrast" (more than twice as far apart), "0 to 1", "-1 to 1" or "0 to 255"; none takes "contrast" for
            efficientnet-lite0 with its own weights, as was measured best, else "imagenet".
        sha256: of the weights; filled in when they are read, and refused where others are found.
    """

    name: ClassVar[str] = "features"
    summary: ClassVar[str] = "what a frozen network, ImageNet's or your own, sees in cells (PatchCore, PaDiM)"
    cite: ClassVar[str] = "Tan and Le 2019; Liu 2020 (Lite); Roth et al. 2022 (PatchCore); Defard et al. 2021 (PaDiM)"
    positive: ClassVar[tuple[str, ...]] = (*LocalDetector.positive, "side")
    choices: ClassVar[Mapping[str, Iterable[str]]] = {
        "density": DENSITIES,
        "pool": POOLS,
        "network": (*pretrained.NETWORKS, ONNX),
        "levels": ("", *pretrained.LEVELS),
    }
    density: str = "memory"
    network: str = "efficientnet-lite0"
    block: int = 11
    weights: str = ""
    output: str = ""
    side: int = 128
    levels: str = ""
    sha256: str = ""
    content_: bytes = field(init=False, repr=False, compare=False, default=b"")  # of an ONNX file, until built

    def __post_init__(self) -> None:
        super().__post_init__()
        foreign = self.network == ONNX
        if not foreign:
            pretrained.check_block(self.network, self.block)
        if self.output and not foreign:
            raise AnomalyError(f"output={self.output} is for network=onnx; of {self.network} choose a block=")
        ending = ".onnx" if foreign else ".safetensors"
        if (self.weights or foreign) and not self.weights.endswith(ending):
            told = "; a .onnx file wants network=onnx" if self.weights.endswith(".onnx") else ""
            raise AnomalyError(
                f"weights={self.weights or 'nothing'} is no {ending} file; network={self.network} is read from nothing "
                f"else{told}"
            )
        if self.sha256 and not re.fullmatch("[0-9a-f]{64}", self.sha256):
            raise AnomalyError(f"sha256={self.sha256} is none; expected 64 digits 0-9 and a-f")

    @property
    def differentiable(self) -> bool:
        """Yes, but for a network that is run from its ONNX file."""
        return self.network != ONNX

    def plan(self, normals: Images, machine: Machine) -> None:
        """Read the ONNX file, whose form everything that is built follows."""
        if self.network == ONNX:
            self.content_, found = onnx_files.read(self.weights)
            self._same(found)

    def rebuild(self, shape: tuple[int, ...], tensors: Mapping[str, Tensor]) -> nn.Module:
        """As `build`; an ONNX network is taken from the run itself and looked through again."""
        if self.network == ONNX:
            place = "features." * (len(shape) - 2 + bool(self.context_))  # once more within planes, or with heights
            self.content_ = tensors[f"{place}network.content"].numpy().tobytes()
            onnx_files.check(self.content_, "the network of this run")
        return self.build(shape)

    @property
    def shown(self) -> str:
        """The levels, where none are given those that suit."""
        own = self.network == "efficientnet-lite0" and not self.weights
        return self.levels or ("contrast" if own else "imagenet")

    def features(self, channels: int) -> nn.Module:
        """The network up to its block, without weights yet; an ONNX network with all that it has."""
        if self.network != ONNX:
            sides = (self.side, self.side)
            return pretrained.Frozen(pretrained.network(self.network, self.block), sides, self.shown)
        network, self.content_ = Network(self.content_, self.output, self.side), b""
        if min(network.sides) != self.side:
            logger.warning("the network takes %d x %d pixels and no others, not side=%d", *network.sides, self.side)
            self.side = min(network.sides)
        return pretrained.Frozen(network, network.sides, self.shown, network.channels)

    def settle(self, normals: Images) -> None:
        """Fill in the weights, then learn the density."""
        if self.network != ONNX:
            frozen = self.net_["features"]
            while not isinstance(frozen, pretrained.Frozen):  # it may lie within planes of volumes, or know heights
                frozen = frozen.get_submodule("features")
            self._same(pretrained.fill(frozen.get_submodule("network"), self.network, self.weights))
        super().settle(normals)

    def _same(self, found: str) -> None:
        """Keep the SHA-256 of the weights, or refuse others than were asked for."""
        if self.sha256 not in ("", found):
            raise AnomalyError(
                f"the weights have sha256 {found}, asked for was {self.sha256}; give the right --set weights"
            )
        self.sha256 = found
