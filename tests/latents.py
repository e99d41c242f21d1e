"""Generators in closed form, for what walks through their codes."""

from math import prod

import torch
from torch import Tensor

from anomaly.nets.losses import gaussian_blur


class Linear:
    """G(w) = mean + A w, E its pseudo-inverse; w+ of several layers is drawn as the mean of them.

    The first column of A is constant over the image; the others are smooth patterns.
    """

    name = "linear"
    device = torch.device("cpu")

    def __init__(self, shape: tuple[int, ...], latent: int = 4, *, mean: float = 0.0, layers: int = 1, wide: float = 1):
        random = torch.Generator().manual_seed(7)
        patterns = gaussian_blur(torch.randn(latent, *shape, generator=random), 1.5).flatten(1)
        patterns[0] = 1.0
        self.latent, self.shape_, self.mean, self.layers, self.wide = latent, shape, mean, layers, wide
        self.matrix = 0.05 * (patterns / patterns.square().mean(1, keepdim=True).sqrt()).T

    def encode(self, x: Tensor) -> Tensor:
        return ((x - self.mean).flatten(1) @ torch.linalg.pinv(self.matrix).T).repeat(1, self.layers)

    def decode(self, code: Tensor) -> Tensor:
        w = code.unflatten(1, (-1, self.latent)).mean(1)
        return self.mean + (w @ self.matrix.T).view(-1, *self.shape_)

    def mapped(self, noise: Tensor, classes: Tensor | None = None) -> Tensor:
        return noise * torch.linspace(1, self.wide, self.latent)


class Pixels:
    """The code of an image is the image."""

    name = "pixels"
    device = torch.device("cpu")

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.latent, self.shape_ = prod(shape), shape

    def encode(self, x: Tensor) -> Tensor:
        return x.flatten(1)

    def decode(self, code: Tensor) -> Tensor:
        return code.view(-1, *self.shape_)

    def mapped(self, noise: Tensor, classes: Tensor | None = None) -> Tensor:
        return noise
