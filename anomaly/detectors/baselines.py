"""The trivial detectors that every other must beat: mean intensity, distance from the mean image, PCA."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from typing import ClassVar

import torch
from torch import Tensor, nn

from anomaly.detectors.base import Detector, Score
from anomaly.errors import AnomalyError
from anomaly.nets.within import mean_within
from anomaly.training.batches import chunks, mean_of
from anomaly.training.learned import Images

ROWS = 512


class Buffers(nn.Module):
    """Named tensors that are learned in closed form."""

    def __init__(self, **tensors: Tensor) -> None:
        super().__init__()
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor)


@dataclass(kw_only=True)
class Intensity(Detector):
    """The mean intensity of the image: brighter is more anomalous. Learns nothing."""

    name: ClassVar[str] = "intensity"
    summary: ClassVar[str] = "floor: how bright the image is"
    cite: ClassVar[str] = "a floor, no reference"

    def build(self, shape: tuple[int, ...]) -> nn.Module:
        """An empty module but for the place it is on."""
        return Buffers(nothing=torch.zeros(1))

    def error(self, x: Tensor) -> Tensor:
        """Intensity from 0 (the darkest) to 1."""
        return ((x.mean(1, keepdim=True) + 1) / 2).clamp_min(0)


@dataclass(kw_only=True)
class MeanImage(Detector):
    """Absolute distance from the mean normal image."""

    name: ClassVar[str] = "mean-image"
    summary: ClassVar[str] = "floor: distance from the mean normal image"
    cite: ClassVar[str] = "a floor, no reference"

    def build(self, shape: tuple[int, ...]) -> nn.Module:
        """The mean image, still zero."""
        return Buffers(mean=torch.zeros(1, *shape))

    def settle(self, normals: Images) -> None:
        """Average the normals, in one pass."""
        self.net_.mean.copy_(mean_of(normals, masked=self.masked_))

    def error(self, x: Tensor) -> Tensor:
        """|x - mean|, averaged over channels."""
        return (x - self.net_.mean).abs().mean(1, keepdim=True)

    def reconstruct(self, x: Tensor) -> Tensor:
        """The mean normal image, whatever the image."""
        return self.net_.mean.expand_as(x)


@dataclass(kw_only=True)
class PCA(Detector):
    """Principal components of the normals: what they cannot draw, or how unusual the mix of them is.

    Args:
        components: how many principal axes describe a normal image.
        value_from: "residual", the mean squared part outside the axes, or "mahalanobis", the squared distance
            from the mean inside them in units of the normals' spread, per axis.
    """

    name: ClassVar[str] = "pca"
    summary: ClassVar[str] = "floor: principal components, residual or Mahalanobis distance"
    cite: ClassVar[str] = "Jolliffe 2002, Principal Component Analysis"
    positive: ClassVar[tuple[str, ...]] = ("components",)
    choices: ClassVar[Mapping[str, Iterable[str]]] = {"value_from": ("residual", "mahalanobis")}
    components: int = 32
    value_from: str = "residual"

    def build(self, shape: tuple[int, ...]) -> nn.Module:
        """Mean image, axes (components, values of one image) and the variance along each."""
        axes, variances = torch.zeros(self.components, prod(shape)), torch.ones(self.components)
        return Buffers(mean=torch.zeros(1, *shape), axes=axes, variances=variances)

    def settle(self, normals: Images) -> None:
        """Find the axes from the smaller of the two matrices: n x n inner products, or the covariance."""
        if self.components >= len(normals):
            raise AnomalyError(
                f"{self.components} components need more than {self.components} normal images, got {len(normals)}; "
                "lower --set components=..."
            )
        mean = mean_of(normals)
        self.net_.mean.copy_(mean)
        few = len(normals) < mean.numel()
        values, axes = (_from_products if few else _from_covariance)(normals, mean, self.components)
        self.net_.axes[: len(axes)].copy_(axes)
        self.net_.variances[: len(values)].copy_((values / (len(normals) - 1)).clamp_min(1e-12))

    def encode(self, x: Tensor) -> Tensor:
        """Where the image lies along each axis, from the mean image."""
        return (x - self.net_.mean).flatten(1) @ self.net_.axes.T

    def decode(self, code: Tensor) -> Tensor:
        """The image that lies there; not bound to [-1, 1]."""
        return (code @ self.net_.axes).view(-1, *self.shape_) + self.net_.mean

    def reconstruct(self, x: Tensor) -> Tensor:
        """The nearest image that the axes can draw."""
        return self.decode(self.encode(x))

    def error(self, x: Tensor) -> Tensor:
        """Squared residual, averaged over channels."""
        return (x - self.reconstruct(x)).square().mean(1, keepdim=True)

    def mahalanobis(self, x: Tensor) -> Tensor:
        """Mean over the axes of code^2 / variance, (N,); about 1 for a normal image."""
        return (self.encode(x).square() / self.net_.variances).mean(1)

    def judge(self, x: Tensor) -> Score:
        """Both distances, one of them as the value."""
        error = self.error(x)
        parts = {"residual": mean_within(error, self.within(x)), "mahalanobis": self.mahalanobis(x)}
        return Score(error, parts[self.value_from], parts)


def _from_products(normals: Images, mean: Tensor, components: int) -> tuple[Tensor, Tensor]:
    """Sums of squares along the first principal axes, and the axes, from the inner products of the images."""
    gram = torch.empty(len(normals), len(normals), dtype=torch.float64)
    row = 0
    for part in chunks(normals, size=ROWS):
        flat, column = (part - mean).flatten(1).double(), 0
        for other in chunks(normals, size=ROWS):
            gram[row : row + len(part), column : column + len(other)] = flat @ (other - mean).flatten(1).double().T
            column += len(other)
        row += len(part)
    values, vectors = _largest(gram, components)
    # Axes along which the normals do not vary are left empty: they draw nothing.
    scale = torch.where(values > 1e-9 * values[0], values, torch.inf).sqrt()
    axes, row = torch.zeros(len(values), mean.numel()), 0
    for part in chunks(normals):
        axes += (vectors[row : row + len(part)] / scale).float().T @ (part - mean).flatten(1)
        row += len(part)
    return values, axes


def _from_covariance(normals: Images, mean: Tensor, components: int) -> tuple[Tensor, Tensor]:
    """The same from the sums of products of the pixels, for many small images."""
    scatter = torch.zeros(mean.numel(), mean.numel(), dtype=torch.float64)
    for part in chunks(normals, size=ROWS):
        flat = (part - mean).flatten(1).double()
        scatter += flat.T @ flat
    values, vectors = _largest(scatter, components)
    return values, torch.where(values > 1e-9 * values[0], vectors, 0.0).T.float()


def _largest(matrix: Tensor, count: int) -> tuple[Tensor, Tensor]:
    values, vectors = torch.linalg.eigh(matrix)
    return values.flip(0)[:count], vectors.flip(1)[:, :count]
