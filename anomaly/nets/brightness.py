"""Brightness of cells at a few scales: the least that can be seen of a place, in pictures and in volumes."""

import torch
from torch import Tensor, nn

from anomaly.nets.cells import averaged, grey
from anomaly.nets.losses import gaussian_blur
from anomaly.nets.within import within

SIGMAS = (0.0, 0.7, 1.4)
"""Blurs, in pixels: enough to tell a small bright spot from the rim of something large."""
LEAST = 1e-6


class Brightness(nn.Module):
    """The image in grey, as it is and blurred, on a grid of at most so many cells along each axis.

    Args:
        cells: along each axis, at most.
        masked: images have masks, and what lies outside has no say in blurs and means: each is divided by the share
            of the mask in it. Cells without a pixel of the mask are 0.
    """

    def __init__(self, cells: int = 64, *, masked: bool = False) -> None:
        super().__init__()
        self.cells, self.masked = cells, masked

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, C, *space) in [-1, 1] -> (N, 3, *cells)."""
        image = grey(x)
        if self.masked:
            inside = within(x).to(image)
            return torch.cat([self._averaged_within(image * inside, inside, sigma) for sigma in SIGMAS], dim=1)
        return torch.cat([averaged(gaussian_blur(image, sigma), self.cells) for sigma in SIGMAS], dim=1)

    def _averaged_within(self, image: Tensor, inside: Tensor, sigma: float) -> Tensor:
        """Averages over the pixels (N, 1, *space) that are 1 in a mask, of blurs over the same."""
        blurred = gaussian_blur(image, sigma) / gaussian_blur(inside, sigma).clamp_min(LEAST)
        return averaged(blurred * inside, self.cells) / averaged(inside, self.cells).clamp_min(LEAST)
