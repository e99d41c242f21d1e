"""The feature autoencoder: draw again what a frozen network sees of an image, and compare structures."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from anomaly.detectors.base import Score
from anomaly.detectors.local import POOLS, drawn, pooled
from anomaly.detectors.trained import TrainedDetector
from anomaly.errors import AnomalyError
from anomaly.nets import pretrained
from anomaly.nets.efficientnet import BLOCKS
from anomaly.nets.feature_autoencoder import FeatureAutoencoder as Network
from anomaly.nets.feature_autoencoder import Joined
from anomaly.nets.losses import structural_difference
from anomaly.nets.within import cells_within, mean_of_batch
from anomaly.training.batches import chunks
from anomaly.training.games import Loss, Player
from anomaly.training.learned import Images
from anomaly.training.loop import Stage

NETWORK = "efficientnet-lite0"
AT_ONCE = 64  # pictures that the frozen network sees at once: a batch of volumes has many
SPAN = 6.0  # standard deviations of a channel that are taken for the range of an image, [0, 1]


@dataclass(kw_only=True)
class FeatureAutoencoder(TrainedDetector):
    """A small autoencoder of early feature maps of a frozen ImageNet network, trained by structural similarity.

    What it cannot draw again is abnormal. Volumes are seen slice by slice, across their last axis. A run holds both
    networks.

    Args:
        blocks: of EfficientNet-Lite0, from 0 to 15, with commas; their maps are joined.
        grid: cells a side that all maps are brought to.
        side: pixels a side of what the frozen network sees; images are made that large.
        width: channels of the autoencoder after its first halving.
        sigma: width of the structural window, in cells.
        pool: what ranks images: the "mean" of the cells, their "max", or "top", the mean of the highest twentieth.
    """

    name: ClassVar[str] = "feature-autoencoder"
    summary: ClassVar[str] = "autoencoder of what a frozen ImageNet network sees, by structural similarity (FAE)"
    cite: ClassVar[str] = "Meissen et al. 2022 (FAE); Wang et al. 2004 (SSIM); Tan and Le 2019, Liu 2020 (Lite)"
    positive: ClassVar[tuple[str, ...]] = (*TrainedDetector.positive, "grid", "side", "width", "sigma")
    choices: ClassVar[Mapping[str, Iterable[str]]] = {"pool": POOLS}
    amounts: ClassVar[Mapping[str, tuple[int, int]]] = {"steps": (600, 600), "batch": (16, 16)}  # of slices
    steps: int = 0
    batch: int = 0
    blocks: str = "0,2,4"
    grid: int = 16
    side: int = 128
    width: int = 64
    sigma: float = 1.0
    pool: str = "mean"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.numbered or not set(self.numbered) <= set(range(BLOCKS)):
            raise AnomalyError(f"blocks={self.blocks}: give numbers from 0 to {BLOCKS - 1} with commas, as 0,2,4")

    @property
    def numbered(self) -> list[int]:
        """The blocks, in rising order; -1 for what is no number."""
        parts = [part.strip() for part in self.blocks.split(",") if part.strip()]
        return sorted({int(part) if part.isdecimal() else -1 for part in parts})

    def build(self, shape: tuple[int, ...]) -> nn.Module:
        """Frozen network without weights yet, the units of its channels, and the autoencoder."""
        frozen = pretrained.Frozen(Joined(self.numbered, self.grid), (self.side, self.side))
        with torch.no_grad():
            channels = frozen(torch.zeros(1, shape[0], 8, 8)).shape[1]
        net = nn.ModuleDict({"frozen": frozen, "autoencoder": Network(channels, self.width)})
        net.register_buffer("mean", torch.zeros(1, channels, 1, 1))
        net.register_buffer("sd", torch.ones(1, channels, 1, 1))
        return net

    def settle(self, normals: Images) -> None:
        """Fill in the ImageNet weights; learn mean and standard deviation of each channel over normals and cells."""
        pretrained.fill(self.net_["frozen"].network.network, NETWORK, "")
        channels = self.net_.mean.shape[1]
        total = torch.zeros(2, channels, dtype=torch.float64, device=self.device)
        cells = 0
        for x in chunks(normals, self.device):
            for part in pictures(x).split(AT_ONCE):
                with torch.no_grad():
                    flat = self.net_["frozen"](part).double().transpose(0, 1).flatten(1)
                total += torch.stack([flat.sum(1), flat.square().sum(1)])
                cells += flat.shape[1]
        mean, squares = total / cells
        self.net_.mean.copy_(mean.view(1, -1, 1, 1))
        self.net_.sd.copy_((squares - mean.square()).clamp_min(1e-12).sqrt().view(1, -1, 1, 1))

    def stages(self) -> Sequence[Stage]:
        """One stage, whose player owns the autoencoder alone."""
        player = Player(name=self.name, owns=[self.net_["autoencoder"]], loss=self.loss, optimiser=self.adam)
        return [Stage(name="train", players=[player], steps=self.steps)]

    def loss(self, x: Tensor) -> Loss:
        """The mean of 1 - SSIM over channels and cells (Meissen et al. 2022, eq. 1); of a volume, of one slice."""
        if x.ndim == 5:
            which = torch.randint(x.shape[4], (len(x),), device=x.device)
            x = x[torch.arange(len(x), device=x.device), ..., which]
        differences = self.differences(x)
        return mean_of_batch(differences, self._counted(x, differences))

    def differences(self, x: Tensor) -> Tensor:
        """1 - SSIM of what is seen of pictures (N, C, H, W) and how it is drawn again, (N, K, grid, grid)."""
        frozen = self.net_["frozen"](x)
        seen = (frozen - self.net_.mean) / (SPAN * self.net_.sd) + 0.5
        again = self.net_["autoencoder"](seen).to(seen.dtype) + 0.5  # half precision would round variances away
        return structural_difference(seen, again, self.sigma)

    def cells(self, x: Tensor) -> Tensor:
        """The mean over channels: (N, 1, grid, grid), of volumes (N, 1, grid, grid, k)."""
        found = torch.cat([self.differences(part).mean(1, keepdim=True) for part in pictures(x).split(AT_ONCE)])
        if x.ndim == 4:
            return found
        return cast(Tensor, found.unflatten(0, (len(x), x.shape[4])).movedim(1, 4))

    def error(self, x: Tensor) -> Tensor:
        """The cells, drawn smoothly over the pixels."""
        return drawn(self.cells(x), x.shape[2:])

    def _counted(self, x: Tensor, cells: Tensor) -> Tensor | None:
        """Which cells count, (N, 1, *cells) bool; None for all."""
        inside = self.within(x)
        return None if inside is None else cells_within(inside, cells.shape[2:])

    def judge(self, x: Tensor) -> Score:
        """Map, value, and what the other pools would have said."""
        cells = self.cells(x)
        values = pooled(cells, self._counted(x, cells))
        return Score(drawn(cells, x.shape[2:]), values[self.pool], values)


def pictures(x: Tensor) -> Tensor:
    """Pictures as they are; volumes (N, C, i, j, k) as their slices (N k, C, i, j)."""
    return x if x.ndim == 4 else x.movedim(4, 1).flatten(0, 1)
