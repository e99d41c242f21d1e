"""Features of a small network that learned from the normals themselves, compared with those of normals."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from anomaly.detectors.local import DENSITIES, POOLS, LocalDetector
from anomaly.detectors.trained import TrainedDetector
from anomaly.errors import AnomalyError
from anomaly.nets.own import GROUPS, Encoder, Expander, disagreement, some, varied
from anomaly.training.forecast import Forecast
from anomaly.training.games import Loss, Player
from anomaly.training.learned import Images
from anomaly.training.loop import Stage, cosine
from anomaly.training.machine import Machine


@dataclass(kw_only=True)
class OwnFeatures(LocalDetector, TrainedDetector):
    """A network of your normals' own: cells that look alike however they were taken, and unlike other cells.

    It needs neither weights from elsewhere nor labels. Volumes are seen in three planes.

    Args:
        width: channels of the first convolution, a multiple of 8; twice and four times as many follow.
    """

    name: ClassVar[str] = "own-features"
    summary: ClassVar[str] = "a small network that learns from your normals what to see of cells; no weights needed"
    cite: ClassVar[str] = "Bardes et al. 2022 (VICReg); Roth et al. 2022 (PatchCore); Defard et al. 2021 (PaDiM)"
    positive: ClassVar[tuple[str, ...]] = (*LocalDetector.positive, *TrainedDetector.positive, "width")
    not_negative: ClassVar[tuple[str, ...]] = (*LocalDetector.not_negative, *TrainedDetector.not_negative)
    choices: ClassVar[Mapping[str, Iterable[str]]] = {"density": DENSITIES, "pool": POOLS}
    amounts: ClassVar[Mapping[str, tuple[int, int]]] = {"steps": (300, 300), "batch": (32, 32)}  # of slices
    steps: int = 0
    batch: int = 0
    lr: float = 2e-3
    width: int = 24

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width % GROUPS:
            raise AnomalyError(f"width={self.width} is no multiple of {GROUPS}; take {GROUPS}, 24 or 32")

    def features(self, channels: int) -> nn.Module:
        """The encoder."""
        return Encoder(channels, self.width, self.cells)

    def build(self, shape: tuple[int, ...]) -> nn.Module:
        """Encoder and density, and what the encoder learns with."""
        net = super().build(shape)
        net.add_module("expander", Expander())
        return net

    @property
    def encoder(self) -> Encoder:
        """The network of pictures, also where volumes are seen by it in planes."""
        features: nn.Module = self.net_["features"]
        while not isinstance(features, Encoder):
            features = features.get_submodule("features")
        return features

    def stages(self) -> Sequence[Stage]:
        """One stage: encoder and expander, the learning rate falling to nothing."""
        player = Player(
            name=self.name, owns=[self.encoder, self.net_["expander"]], loss=self.loss, optimiser=self.adam,
            schedule=cosine,
        )  # fmt: skip
        return [Stage(name="train", players=[player], steps=self.steps)]

    def adam(self, parameters: Any) -> torch.optim.Optimizer:
        """Adam with a little decay of the weights."""
        return torch.optim.AdamW(parameters, lr=self.lr, weight_decay=1e-3)

    def loss(self, x: Tensor) -> Loss:
        """How unlike two variants of the same cells are, and how alike different channels (VICReg, eq. 6)."""
        x = one_slice(x) if x.ndim == 5 else self.own(x)
        a, b = (self.net_["expander"](self.encoder.cells_of(varied(x))) for _ in range(2))
        return disagreement(*some(a.float(), b.float()))

    def foresee(self, normals: Images, machine: Machine) -> Forecast:
        """The training, then what the density takes."""
        training, density = (
            TrainedDetector.foresee(self, normals, machine),
            LocalDetector.foresee(self, normals, machine),
        )
        seconds, memory = training.seconds + density.seconds, max(training.memory, density.memory)
        return Forecast(seconds, memory, training.steps)

    def settle(self, normals: Images) -> None:
        """Learn no density yet: there are no features before the network has learned, and `tune` comes after that."""
        self._look_at(normals)


def one_slice(x: Tensor) -> Tensor:
    """One slice of each volume (N, C, i, j, k), across one of the three axes, alike for all: (N, C, rows, columns)."""
    axis = int(torch.randint(3, ()))
    across = x.movedim(2 + axis, 0)
    which = torch.randint(len(across), (len(x),), device=x.device)
    return across[which, torch.arange(len(x), device=x.device)]
