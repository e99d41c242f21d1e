"""The family of detectors that train nothing by gradients: features of cells, a density over normals, a pool."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anomaly.detectors.base import Detector, Score
from anomaly.detectors.densities import Density, Memory, Place
from anomaly.detectors.heights import AtHeight, PlaceAtHeight
from anomaly.detectors.near import Near
from anomaly.detectors.seen import KEPT_BYTES, Seen
from anomaly.errors import AnomalyError
from anomaly.nets.brightness import Brightness
from anomaly.nets.cells import Planes
from anomaly.nets.within import cells_within
from anomaly.training.batches import chunks
from anomaly.training.forecast import Forecast, resident
from anomaly.training.learned import Images
from anomaly.training.machine import Machine

TOP = 0.05
LATER = 4  # images whose features are wanted once more, by those who calibrate and preview
TWICE = 2  # times that a density learns: from the normals, and again with the held-out ones beside
LEARNED = 8  # times as many bytes as a density has are wanted while it learns, in double precision
POOLS = ("mean", "max", "top")
DENSITIES = ("place", "memory", "near")


@dataclass(kw_only=True)
class LocalDetector(Detector):
    """Base of the detectors that compare each cell of an image with the cells of normals.

    Args:
        density: "place", a Gaussian at each cell, for anatomy that lies alike in all images; "memory", the nearest
            of the cells that are remembered, for anatomy that moves; or "near", the nearest of the cells around the
            same place in some of the normals, for anatomy that lies about alike and few normals.
        pool: what ranks images: the "mean" of the cells' distances, their "max", or "top", the mean of the highest
            twentieth. Small findings want "max", widespread ones "mean".
        cells: along each axis, before the features join or skip some.
        remembered: cells that "memory" keeps; its time and size follow from this, however many normals there are.
        coordinates: how much "memory" minds where a cell lies; 0 not at all.
        reach: how far from its place "near" looks, as a share of the longest side.
        whole: normals that "near" keeps, evenly spread over all.
    """

    sees_context: ClassVar[bool] = True
    density: str = "place"
    pool: str = "mean"
    cells: int = 16
    remembered: int = 6000
    coordinates: float = 0.0
    reach: float = 0.05
    whole: int = 12
    _seen: Seen = field(init=False, repr=False, compare=False)
    _learned_of: int = field(init=False, repr=False, compare=False, default=0)
    positive: ClassVar[tuple[str, ...]] = ("cells", "remembered", "reach", "whole")
    not_negative: ClassVar[tuple[str, ...]] = ("coordinates",)
    choices: ClassVar[Mapping[str, Iterable[str]]] = {"density": DENSITIES, "pool": POOLS}

    def features(self, channels: int) -> nn.Module:
        """What is seen of a cell: a module, pictures (N, C, H, W) in [-1, 1] -> (N, K, h, w)."""
        raise NotImplementedError

    def build(self, shape: tuple[int, ...]) -> nn.Module:
        """The features, of pictures or in the planes of volumes, and a density that knows nothing yet."""
        features = self.features(shape[0] - self.context_).eval()
        if len(shape) == 4 and not isinstance(features, Brightness):
            features = Planes(features, max(1, self.cells // 2))
        if self.context_:
            features = AtHeight(features, self.context_)
        with torch.no_grad():
            _, channels, *cells = features(torch.zeros(1, *shape)).shape
        return nn.ModuleDict({"features": features, "density": self._unlearned(channels, tuple(cells))})

    def _unlearned(self, channels: int, cells: tuple[int, ...]) -> Density:
        if self.density == "memory":
            return Memory(channels, cells, self.remembered, self.coordinates, heights=bool(self.context_))
        if self.density == "near" and self.context_:
            raise AnomalyError(f"density=near of {self.name} makes nothing of context; take place or memory")
        if self.density == "near":
            return Near(channels, cells, self.whole, max(1, round(self.reach * max(cells))))
        return PlaceAtHeight(channels, cells) if self.context_ else Place(channels, cells)

    def foresee(self, normals: Images, machine: Machine) -> Forecast:
        """By the features of one image, seen again in each pass where those of all do not fit into memory."""
        twin = self.copied(normals, machine)
        x = next(chunks(normals[:1], machine.torch_device))
        begun = time.perf_counter()
        with torch.no_grad():
            size = twin.net_["features"](x).nbytes * len(normals)
        passes = 1 if size <= KEPT_BYTES else TWICE * twin.net_["density"].looks
        seconds = (time.perf_counter() - begun) * (len(normals) + LATER) * passes
        weights = sum(each.nbytes for each in twin.net_.buffers())
        return Forecast(seconds, resident(machine) + min(size, KEPT_BYTES) + LEARNED * weights)

    def settle(self, normals: Images) -> None:
        """Learn the density."""
        self._look_at(normals)
        self._learn()

    def settle_beside(self, other: "LocalDetector") -> None:
        """Learn the density of what another detector has seen, whose features these are."""
        self._seen = other._seen
        self._learn()

    def tune(self, held_out: Images) -> None:
        """Learn the density again, from the held-out normals too: it has no scale for which they must be kept."""
        if not self._seen.holds(held_out):
            self._seen.add(held_out)
        if len(self._seen) > self._learned_of:
            self._learn()
        del self._seen

    def _look_at(self, normals: Images) -> None:
        """Begin anew, with these images and nothing learned of them."""
        self._seen, self._learned_of = (
            Seen(self.net_["features"], self.device, masked=self.masked_, context=self.context_),
            0,
        )
        self._seen.add(normals)

    def _learn(self) -> None:
        self._learned_of = len(self._seen)
        with torch.no_grad():
            self.net_["density"].learn(self._seen, self._learned_of)

    def distances(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """How far each cell departs from normal, (N, 1, *cells), and which cells count, bool; None for all."""
        features, inside = self.net_["features"](x), self.within(x)
        counted = None if inside is None else cells_within(inside, features.shape[2:])
        return cast(Tensor, self.net_["density"](features, counted)), counted

    def error(self, x: Tensor) -> Tensor:
        """The distances of the cells, drawn smoothly over the pixels."""
        return drawn(self.distances(x)[0], x.shape[2:])

    def judge(self, x: Tensor) -> Score:
        """Map, value, and what the other pools would have said."""
        distances, counted = self.distances(x)
        values = pooled(distances, counted)
        return Score(drawn(distances, x.shape[2:]), values[self.pool], values)


def drawn(distances: Tensor, space: torch.Size) -> Tensor:
    """Distances of cells as a map (N, 1, *space), linear between their centres."""
    mode = "bilinear" if len(space) == 2 else "trilinear"
    return F.interpolate(distances, size=list(space), mode=mode, align_corners=False)


def pooled(distances: Tensor, counted: Tensor | None = None) -> dict[str, Tensor]:
    """The values (N,) of distances (N, 1, *cells) by each of the pools, over the cells that count, bool."""
    if counted is not None:
        return _pooled_within(distances.flatten(1), counted.flatten(1))
    flat = distances.flatten(1)
    top = flat.topk(max(1, round(TOP * flat.shape[1])), dim=1)[0]
    return {"mean": flat.mean(1), "max": flat.amax(1), "top": top.mean(1)}


def _pooled_within(flat: Tensor, counted: Tensor) -> dict[str, Tensor]:
    """The same of distances (N, cells) of which each image has others that count."""
    number = counted.sum(1).clamp_min(1)
    falling = torch.where(counted, flat, -torch.inf).sort(dim=1, descending=True)[0]
    rank = torch.arange(flat.shape[1], device=flat.device)
    highest = rank < (TOP * number).round().clamp_min(1)[:, None]
    top = torch.where(highest & falling.isfinite(), falling, 0).sum(1) / highest.sum(1)
    return {"mean": torch.where(counted, flat, 0).sum(1) / number, "max": falling[:, 0], "top": top}
