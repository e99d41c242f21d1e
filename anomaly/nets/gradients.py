"""Gradients: in which directions, and how strongly, brightness changes in a cell."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anomaly.nets.cells import averaged, grey
from anomaly.nets.losses import gaussian_blur

SIGMAS = (0.0, 1.0, 2.0)
ORIENTATIONS = 9
STILL = 1e-6
FLAT = 1e-4  # of the range of the image, squared for energies


class Gradients(nn.Module):
    """Histograms of oriented gradients at three scales, with energy, brightness and contrast beside.

    Dalal and Triggs 2005 (CVPR): unsigned orientations in nine bins, each pixel's vote shared between the two nearest,
    weighted by the length of its gradient; a cell's histogram is divided by the root of the energy around it (3 x 3
    cells), whose logarithm is kept as a channel of its own.
    """

    def __init__(self, cells: int = 16) -> None:
        super().__init__()
        self.cells = cells

    def forward(self, x: Tensor) -> Tensor:
        """Pictures (N, C, H, W) in [-1, 1] -> (N, 32, h, w)."""
        image = grey(x)
        oriented = [self._oriented(gaussian_blur(image, sigma)) for sigma in SIGMAS]
        mean = averaged(image, self.cells)
        variance = (averaged(image.square(), self.cells) - mean.square()).clamp_min(0)
        return torch.cat([*oriented, mean, (variance + FLAT).log()], dim=1)

    def _oriented(self, image: Tensor) -> Tensor:
        histogram = averaged(votes(image), self.cells)
        energy = F.avg_pool2d(F.pad(histogram.square().sum(1, keepdim=True), [1] * 4, mode="replicate"), 3, 1)
        return torch.cat([histogram / (energy + FLAT**2).sqrt(), (energy + FLAT**2).log()], dim=1)


def votes(image: Tensor) -> Tensor:
    """Each pixel's length of the gradient, in the bins of its direction: (N, 1, H, W) -> (N, 9, H, W).

    Bin b stands for the direction b * 20 degrees, from 0 (brightness changes along the columns' index) to 180.
    """
    padded = F.pad(image, [1] * 4, mode="replicate")
    across = (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) / 2
    down = (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) / 2
    # Less the root of what keeps its slope finite: nothing in flat places, where there is no direction either.
    length = (across.square() + down.square() + STILL**2).sqrt() - STILL
    place = torch.atan2(down, across).remainder(math.pi) * (ORIENTATIONS / math.pi)
    bins = torch.arange(ORIENTATIONS, device=image.device).view(1, -1, 1, 1)
    apart = (place - bins).abs()
    nearness = (1 - torch.minimum(apart, ORIENTATIONS - apart)).clamp_min(0)  # the last bin is next to the first
    return length * nearness
