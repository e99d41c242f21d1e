"""How usual the features of a cell are among normals: a Gaussian at each place, or the nearest of a bounded memory."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from math import prod
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anomaly.detectors.gaussians import LEAST, Gathered, by_place

Passes = Callable[[], Iterable[tuple[Tensor, Tensor | None]]]
"""Begins a new pass over all normals, a few at a time, always in one order: features (n, K, *cells), and which cells
count, (n, 1, *cells) bool, None for all."""
ROWS = 2048  # cells compared with a memory at once
HEIGHT = 2.0  # what half of the height of a volume counts beside a feature, in a memory of slices


class Density(nn.Module, ABC):
    """Says of features (N, K, *cells) how far each cell is from normal."""

    looks: ClassVar[int] = 2  # passes that learning takes

    @abstractmethod
    def learn(self, passes: Passes, count: int) -> None:
        """Learn from the features of `count` normals, in as few passes as it takes, in bounded memory."""

    @abstractmethod
    def forward(self, features: Tensor, counted: Tensor | None = None) -> Tensor:
        """Distances (N, 1, *cells), >= 0; 0 of cells that do not count, where `counted` (N, 1, *cells) says so."""


class Place(Density):
    """A Gaussian at each cell: the root of the Mahalanobis distance from what normals show there.

    For anatomy that lies alike in all images (after Defard et al. 2021, PaDiM). Channels are divided by their standard
    deviation over normals and cells; each cell's covariance is shrunk towards the sphere as Ledoit and Wolf 2004
    (Journal of Multivariate Analysis 88, eq. 14 and lemmas 3.2 to 3.5) find best. Where images have masks, cells that
    few normals show lean on the covariance within all cells (`Gathered`).

    Args:
        channels: K.
        cells: of one image.
    """

    mean: Tensor
    whitener: Tensor

    def __init__(self, channels: int, cells: tuple[int, ...]) -> None:
        super().__init__()
        places = prod(cells)
        self.register_buffer("mean", torch.zeros(places, channels))
        self.register_buffer("whitener", torch.zeros(places, channels, channels))

    def learn(self, passes: Passes, count: int) -> None:
        """Two passes: means and scales, then covariances and how uncertain these are."""
        gathered = Gathered(self.mean.shape[1], (len(self.mean),))
        for features, counted in passes():
            gathered.add(features, counted)
        gathered.centre()
        for features, counted in passes():
            gathered.spread(features, counted)
        self.take(gathered)

    def take(self, gathered: Gathered) -> None:
        """Become the Gaussians of what was gathered in two passes."""
        mean, whitener = gathered.whitened()
        self.mean.copy_(mean)
        self.whitener.copy_(whitener)

    def forward(self, features: Tensor, counted: Tensor | None = None) -> Tensor:
        """The root of the squared distance over the number of channels: about 1 for what is normal."""
        apart = (by_place(features) - self.mean).transpose(0, 1)
        squared = (apart @ self.whitener).square().mean(2)
        found = (squared + LEAST).sqrt().T.reshape(len(features), 1, *features.shape[2:])
        return found if counted is None else found * counted


class Memory(Density):
    """Cells of normals, wherever they lay: the distance to the nearest of at most so many that are remembered.

    For anatomy that moves (after Roth et al. 2022, PatchCore, with a random memory that never grows). Features are
    averaged over 3 x 3 cells, each channel divided by its standard deviation over normals and cells.

    Args:
        channels: K.
        cells: of one image.
        most: cells remembered.
        coordinates: what a whole image's width counts beside the features; 0 asks nothing of the place.
        heights: the last of the channels is no feature but the height of the slice, -1 to 1, which counts too.

    Which are remembered is drawn by a seed that PyTorch's generator gives when the memory is made.
    """

    centre: Tensor
    scale: Tensor
    kept: Tensor
    filled: Tensor

    def __init__(
        self, channels: int, cells: tuple[int, ...], most: int, coordinates: float, *, heights: bool = False
    ) -> None:
        super().__init__()
        channels -= int(heights)
        self.cells, self.heights, self.coordinates, self.seed = (
            cells,
            heights,
            coordinates,
            int(torch.randint(2**31, ())),
        )
        self.register_buffer("centre", torch.zeros(channels))
        self.register_buffer("scale", torch.ones(channels))
        self.register_buffer("kept", torch.zeros(most, channels + len(cells) + int(heights)))
        self.register_buffer("filled", torch.zeros((), dtype=torch.int64))

    def learn(self, passes: Passes, count: int) -> None:
        """Two passes: scales, then the cells that were drawn, so that every cell of every normal is as likely."""
        total = torch.zeros(self.kept.shape[1], dtype=torch.float64)
        squares, cells = torch.zeros_like(total), 0
        for features, counted in passes():
            rows = self._counted(features, counted).cpu().double()
            total += rows.sum(0)
            squares += rows.square().sum(0)
            cells += len(rows)
        variance = squares / cells - (total / cells) ** 2
        channels = self.scale.shape[0]
        self.scale.copy_(torch.where(variance > LEAST**2, variance, torch.inf)[:channels].sqrt())
        self.centre.copy_((total / cells)[:channels])
        drawn = torch.from_numpy(some_of(cells, len(self.kept), self.seed))
        seen = filled = 0
        for features, counted in passes():
            rows = self._scaled(self._counted(features, counted))
            here = drawn[(drawn >= seen) & (drawn < seen + len(rows))] - seen
            self.kept[filled : filled + len(here)] = rows[here.to(rows.device)]
            seen, filled = seen + len(rows), filled + len(here)
        self.filled.fill_(filled)

    def forward(self, features: Tensor, counted: Tensor | None = None) -> Tensor:
        """Distances over the root of the number of channels."""
        rows, kept = self._scaled(self._counted(features, counted)), self.kept[: int(self.filled)]
        squares = kept.square().sum(1)
        nearest = torch.cat([_nearest(part, kept, squares) for part in rows.split(ROWS)])
        found = ((nearest / self.scale.shape[0]) + LEAST).sqrt()
        if counted is None:
            return found.view(len(features), 1, *features.shape[2:])
        return torch.zeros(counted.shape, dtype=found.dtype, device=found.device).masked_scatter(counted, found)

    def everywhere(self, features: Tensor, counted: Tensor) -> Tensor:
        """Distances as `forward` gives them of cells that count, and as good as any of the others."""
        rows, kept = self._scaled(self._rows(features, counted)), self.kept[: int(self.filled)]
        squares = kept.square().sum(1)
        nearest = torch.cat([_nearest(part, kept, squares) for part in rows.split(ROWS)])
        return ((nearest / self.scale.shape[0]) + LEAST).sqrt().view(counted.shape)

    def _counted(self, features: Tensor, counted: Tensor | None) -> Tensor:
        """The rows of the cells that count, in order."""
        rows = self._rows(features, counted)
        return rows if counted is None else rows[counted.flatten()]

    def _rows(self, features: Tensor, counted: Tensor | None = None) -> Tensor:
        """(N, K, *cells) -> (N * cells, K + axes): smoothed features, and where each lies, from 0 to 1."""
        axes = features.ndim - 2
        pool = F.avg_pool2d if axes == 2 else F.avg_pool3d

        def smoothed(maps: Tensor) -> Tensor:
            return pool(F.pad(maps, [1, 1] * axes, mode="replicate"), 3, 1)

        if counted is None:
            smooth = smoothed(features)
        else:  # neighbours that do not count have no say
            smooth = smoothed(features * counted) / smoothed(counted.to(features.dtype)).clamp_min(LEAST)
        sides = [torch.linspace(0, 1, side, device=features.device) for side in features.shape[2:]]
        place = torch.stack(torch.meshgrid(*sides, indexing="ij")).expand(len(features), -1, *features.shape[2:])
        height = features[:, features.shape[1] - int(self.heights) :]
        smooth = smooth[:, : features.shape[1] - int(self.heights)]
        return torch.cat([smooth, place, height], dim=1).flatten(2).transpose(1, 2).flatten(0, 1)

    def _scaled(self, rows: Tensor) -> Tensor:
        channels = self.scale.shape[0]
        weight = self.coordinates * channels**0.5
        features = (rows[:, :channels] - self.centre) / self.scale  # far from zero, squares of distances lose digits
        if not self.heights:
            return torch.cat([features, weight * rows[:, channels:]], dim=1)
        height = HEIGHT * channels**0.5 * rows[:, -1:]
        return torch.cat([features, weight * rows[:, channels:-1], height], dim=1)


def some_of(count: int, most: int, seed: int) -> np.ndarray:
    """At most so many of the numbers below a count, rising, each as likely."""
    return np.sort(np.random.default_rng(seed).choice(count, min(count, most), replace=False, shuffle=False))


def _nearest(rows: Tensor, kept: Tensor, squares: Tensor) -> Tensor:
    """Squared distance of each row (n, K) to the nearest that is kept, (n,)."""
    products = torch.addmm(squares.expand(len(rows), -1), rows, kept.T, alpha=-2)
    return (products.amin(1) + rows.square().sum(1)).clamp_min(0)
