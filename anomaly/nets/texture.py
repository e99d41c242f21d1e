"""Texture: how often each pattern of brighter and darker neighbours occurs in a cell."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anomaly.nets.cells import averaged, grey
from anomaly.nets.losses import gaussian_blur

RADII = {1: 0.5, 3: 1.0, 5: 1.0, 7: 1.0}
"""Distance of the neighbours, and the blur (sigma) before, both in pixels."""
BRIGHTER = 0.005  # standard deviations of the image: less is rounding
CODES, RAREST = 10, 0.001
AROUND = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))


class Texture(nn.Module):
    """Uniform local binary patterns at four distances, counted in overlapping cells.

    Ojala, Pietikainen and Maenpaa 2002, TPAMI 24: a pixel's code is the number of its eight neighbours that are
    brighter, where these lie together on the ring (at most two changes around it), else the tenth code. The shares of
    the codes in a cell, at least 0.001, are taken under the root, so that Euclidean distances are Hellinger's.
    """

    def __init__(self, cells: int = 16) -> None:
        super().__init__()
        self.cells = cells

    def forward(self, x: Tensor) -> Tensor:
        """Pictures (N, C, H, W) in [-1, 1] -> (N, 40, h, w), half as many cells a side as pixels were averaged on."""
        image = grey(x)
        sd = image.flatten(1).std(1, correction=0).clamp_min(1e-6)
        image = (image - image.mean((1, 2, 3), keepdim=True)) / sd[:, None, None, None]
        shares = [self._shares(gaussian_blur(image, sigma), radius) for radius, sigma in RADII.items()]
        return torch.cat(shares, dim=1)

    def _shares(self, image: Tensor, radius: int) -> Tensor:
        codes = torch.arange(CODES, device=image.device).view(1, -1, 1, 1)
        shown = (patterns(image, radius)[:, None] == codes).float()
        return overlapping(averaged(shown, self.cells).clamp_min(RAREST)).sqrt()


def patterns(image: Tensor, radius: int) -> Tensor:
    """The code 0 to 9 of each pixel of pictures (N, 1, H, W): (N, H, W) int64; edges repeat beyond the picture."""
    height, width = image.shape[2:]
    padded = F.pad(image, [radius] * 4, mode="replicate")
    bits = []
    for down, right in AROUND:
        top, left = radius * (1 + down), radius * (1 + right)
        bits.append(padded[:, 0, top : top + height, left : left + width] > image[:, 0] + BRIGHTER)
    ring = torch.stack(bits)
    changes = (ring != ring.roll(1, 0)).sum(0)
    return torch.where(changes <= 2, ring.sum(0), CODES - 1)


def overlapping(maps: Tensor) -> Tensor:
    """Means over windows of 4 x 4 cells, two apart, edges repeated; (N, K, h, w) -> (N, K, h / 2, w / 2)."""
    return F.avg_pool2d(F.pad(maps, [1] * 4, mode="replicate"), [min(4, side + 2) for side in maps.shape[2:]], 2)
