"""Images, targets and small networks that the tests of the attributions share."""

import pytest
import torch
from torch import Tensor, nn

SPACES = [(16, 12), (6, 4, 5)]
CONVOLUTION = {2: nn.Conv2d, 3: nn.Conv3d}
POOL = {2: nn.MaxPool2d, 3: nn.MaxPool3d}
shaped = pytest.mark.parametrize("space", SPACES, ids=["2D", "3D"])


def images(n: int, channels: int = 1, space: tuple[int, ...] = SPACES[0]) -> Tensor:
    return torch.rand(n, channels, *space, generator=torch.Generator().manual_seed(n), dtype=torch.float64) * 2 - 1


def weights(channels: int = 1, space: tuple[int, ...] = SPACES[0]) -> Tensor:
    return torch.randn(channels, *space, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


def squares(x: Tensor) -> Tensor:
    return x.square().flatten(1).sum(1)


class Linear(nn.Module):
    """x -> w x + 3."""

    def __init__(self, w: Tensor) -> None:
        super().__init__()
        self.register_buffer("w", w)

    def forward(self, x: Tensor) -> Tensor:
        return (self.w * x).flatten(1).sum(1) + 3


def classifier(space: tuple[int, ...], channels: int = 1, activation: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """Two convolutions with a maximum between them, and two linear layers; (N, C, *space) -> (N,)."""
    dims = len(space)
    trunk = nn.Sequential(
        CONVOLUTION[dims](channels, 4, 3, padding=1), activation(), POOL[dims](2), CONVOLUTION[dims](4, 3, 2), nn.Tanh()
    )
    return with_head(trunk, channels, space)


def with_head(trunk: nn.Sequential, channels: int, space: tuple[int, ...]) -> nn.Sequential:
    """A trunk and two linear layers, (N, C, *space) -> (N,)."""
    flat = trunk(torch.zeros(1, channels, *space)).numel()
    head = nn.Sequential(nn.Flatten(), nn.Linear(flat, 5), nn.LeakyReLU(0.2), nn.Linear(5, 1), nn.Flatten(0))
    return nn.Sequential(trunk, head).double().eval()
