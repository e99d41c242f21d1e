"""Brightness of cells at a few scales: the least that can be seen of a place, in pictures and in volumes."""

import torch
from torch import Tensor, nn

from anomaly.nets.cells import averaged, grey
from anomaly.nets.losses import gaussian_blur

SIGMAS = (0.0, 0.7, 1.4)
"""Blurs, in pixels: enough to tell a small bright spot from the rim of something large."""


class Brightness(nn.Module):
    """The image in grey, as it is and blurred, on a grid of at most so many cells along each axis."""

    def __init__(self, cells: int = 64) -> None:
        super().__init__()
        self.cells = cells

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, C, *space) in [-1, 1] -> (N, 3, *cells)."""
        image = grey(x)
        return torch.cat([averaged(gaussian_blur(image, sigma), self.cells) for sigma in SIGMAS], dim=1)
