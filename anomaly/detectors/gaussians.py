"""Means and covariances of cells over normals, gathered in two passes: what a Gaussian at each cell is made of."""

from math import prod

import torch
from torch import Tensor

LEAST = 1e-6
POOLED = 10  # images that the covariance over all cells is worth, where masks let few normals show a cell


class Gathered:
    """Gathers means and scales in a first pass, covariances and how uncertain these are in a second.

    Each channel is divided by its standard deviation within cells. In double precision, on the processor.

    Args:
        channels: K.
        cells: of one image.
    """

    def __init__(self, channels: int, cells: tuple[int, ...]) -> None:
        self._sums = torch.zeros(prod(cells), channels, dtype=torch.float64)
        self._squares, self._counts = torch.zeros_like(self._sums[0]), torch.zeros_like(self._sums[:, :1])
        self._masked = False

    def add(self, features: Tensor, counted: Tensor | None) -> None:
        """Features (n, K, *cells) of the first pass, and which cells count, (n, 1, *cells) bool; None for all."""
        flat, weights = by_place(features).cpu().double(), _weights(features, counted)  # accelerators may lack it
        self._sums += (flat * weights).sum(0)
        self._squares += (flat.square() * weights).sum((0, 1))
        self._counts += weights.sum(0)
        self._masked = self._masked or counted is not None

    def centre(self) -> None:
        """End the first pass."""
        counts, squares, total = self._counts, self._squares, self._counts.sum()
        self._overall = self._sums.sum(0) / total
        self._mean = torch.where(counts > 0, self._sums / counts.clamp_min(1), self._overall)
        variance = squares / total - self._overall.square()
        within = (squares - (counts * self._mean.square()).sum(0)) / total
        within = variance if counts.max() == 1 else within  # one normal tells of no variation but between its cells
        self._scale = torch.where(within > LEAST * variance.clamp_min(LEAST), within, torch.inf)
        self._scale = self._scale.clamp_min(LEAST**2).sqrt()
        places, channels = self._mean.shape
        self._covariance = torch.zeros(places, channels, channels, dtype=torch.float64)
        self._fourth = torch.zeros(places, dtype=torch.float64)
        self._seen = counts[:, 0].clamp_min(1)

    def spread(self, features: Tensor, counted: Tensor | None) -> None:
        """The same features in the second pass."""
        apart = (by_place(features).cpu().double() - self._mean) * _weights(features, counted) / self._scale
        apart = apart.transpose(0, 1)  # (places, n, K)
        self._covariance += apart.transpose(1, 2) @ apart / self._seen[:, None, None]
        self._fourth += apart.square().sum(2).square().sum(1) / self._seen

    def whitened(self) -> tuple[Tensor, Tensor]:
        """End the second pass: means (P, K), and the matrices (P, K, K) that make what normals show there a sphere."""
        if self._masked:
            shrunk = self._moderated()
        else:
            self._covariance[self._counts[:, 0] <= 1] += torch.eye(self._mean.shape[1], dtype=torch.float64)
            shrunk = shrunken(self._covariance, self._fourth, self._seen)
        values, vectors = torch.linalg.eigh(shrunk)
        root = vectors * values.clamp_min(LEAST).rsqrt().unsqueeze(1)
        return self._mean, root / self._scale[:, None]

    def _moderated(self) -> Tensor:
        """Covariances of cells that not every normal shows: few normals count beside ten of the pooled covariance.

        As in regularised discriminant analysis (after Friedman 1989, JASA 84, eq. 16), with degrees of freedom as
        weights: (n S + 10 pooled) / (n - 1 + 10), then shrunk; times 1 + 1/n, as the mean of n normals is off by so
        much itself. A cell that no normal shows has the mean and the spread over all cells.
        """
        n = self._counts[:, 0]
        free = (n - 1).clamp_min(0)
        pooled, fourth = self._pooled(n, free)
        weight = free + POOLED
        covariance = (n[:, None, None] * self._covariance + POOLED * pooled) / weight[:, None, None]
        shrunk = shrunken(covariance, (n * self._fourth + POOLED * fourth) / weight, weight)
        between = (self._mean - self._overall) / self._scale
        between = (between * n[:, None]).T @ between / n.sum()
        shrunk = torch.where((n > 0)[:, None, None], shrunk, shrunk + between)
        return shrunk * (1 + (n > 0) / n.clamp_min(1))[:, None, None]

    def _pooled(self, n: Tensor, free: Tensor) -> tuple[Tensor, Tensor]:
        """The covariance (K, K) within all cells, and the mean of |x|^4; a sphere where no cell has two normals."""
        channels = self._mean.shape[1]
        if not free.any():
            return torch.eye(channels, dtype=torch.float64), torch.tensor(float(channels**2), dtype=torch.float64)
        covariance = (n[:, None, None] * self._covariance).sum(0) / free.sum()
        return covariance, (n * self._fourth).sum() * n.sum() / free.sum() ** 2


def shrunken(covariance: Tensor, fourth: Tensor, count: int | Tensor) -> Tensor:
    """Covariances (P, K, K) drawn to the sphere of the same trace, by how uncertain they are; of two or one, to it.

    Args:
        covariance: S, of `count` centred samples, divided by their number.
        fourth: mean of |x|^4 over the samples, (P,).
        count: of samples, of all or of each (P,).
    """
    count = torch.as_tensor(count)
    channels = covariance.shape[-1]
    level = covariance.diagonal(dim1=1, dim2=2).mean(1)
    sphere = level[:, None, None] * torch.eye(channels, dtype=covariance.dtype, device=covariance.device)
    apart = (covariance - sphere).square().sum((1, 2)) / channels
    uncertain = (fourth - covariance.square().sum((1, 2))) / (channels * count)
    share = (torch.minimum(uncertain, apart) / apart.clamp_min(1e-30)).clamp(0, 1)
    share = torch.where((apart > 1e-30) & (count > 2), share, 1.0)[:, None, None]
    return share * sphere + (1 - share) * covariance


def by_place(features: Tensor) -> Tensor:
    """(N, K, *cells) -> (N, cells, K)."""
    return features.flatten(2).transpose(1, 2)


def _weights(features: Tensor, counted: Tensor | None) -> Tensor:
    """1.0 for cells that count, else 0.0: (N, cells, 1), or one number for all."""
    if counted is None:
        return torch.ones(len(features), 1, 1, dtype=torch.float64).expand(-1, features[0, 0].numel(), 1)
    return by_place(counted).cpu().double()
