"""Scattering: how much of each scale and direction there is in a cell, and how it varies in turn."""

import math
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anomaly.nets.cells import averaged, grey

SCALES, DIRECTIONS = 3, 6
CENTRE, WIDTH = 3 * math.pi / 4, 0.8  # of the finest wavelet: frequency (radians a pixel), width (pixels)


class Scattering(nn.Module):
    """Moduli of Morlet wavelets, and moduli of wavelets of these, averaged on cells.

    Bruna and Mallat 2013 (TPAMI 35): S0 = mean of x, S1 = mean of |x * psi|, S2 = mean of ||x * psi| * psi'| for psi'
    of a larger scale than psi; 3 scales and 6 directions make 1 + 18 + 108 channels.
    """

    def __init__(self, cells: int = 16) -> None:
        super().__init__()
        self.cells = cells

    def forward(self, x: Tensor) -> Tensor:
        """Pictures (N, C, H, W) in [-1, 1] -> (N, 127, h, w)."""
        image = grey(x)
        space, edge = image.shape[2:], 2**SCALES
        edges = [min(edge, side - 1) for side in space]
        padded = F.pad(image, [edges[1]] * 2 + [edges[0]] * 2, mode="reflect")
        filters = wavelets(*padded.shape[2:]).to(padded.device)

        def inside(maps: Tensor) -> Tensor:
            kept = maps[..., edges[0] : edges[0] + space[0], edges[1] : edges[1] + space[1]]
            return averaged(kept.flatten(1, -3), self.cells)

        found = [averaged(image, self.cells)]
        spectrum = torch.fft.fft2(padded)
        for scale in range(SCALES):
            first = torch.fft.ifft2(spectrum * filters[scale]).abs()  # (N, directions, H, W)
            found.append(inside(first))
            if scale + 1 < SCALES:
                larger = filters[scale + 1 :].flatten(0, 1)
                inner = torch.fft.fft2(first)
                found += [inside(torch.fft.ifft2(inner[:, [d]] * larger).abs()) for d in range(DIRECTIONS)]
        return torch.cat(found, dim=1)


@lru_cache(maxsize=8)
def wavelets(height: int, width: int) -> Tensor:
    """The spectra of the Morlet wavelets on a periodic grid, (scales, directions, height, width), real.

    A Gaussian of width 0.8 * 2^j, two thirds as wide along the wave as along its crests, times a wave of frequency
    3 pi / 4 * 2^-j, less the part of the Gaussian that makes the mean zero. Directions d * 30 degrees, from the
    columns' index on.
    """
    with torch.inference_mode(False):
        found = [
            _morlet(height, width, WIDTH * 2**scale, CENTRE / 2**scale, math.pi * d / DIRECTIONS)
            for scale in range(SCALES)
            for d in range(DIRECTIONS)
        ]
        return torch.stack(found).view(SCALES, DIRECTIONS, height, width)


def _morlet(height: int, width: int, sigma: float, frequency: float, angle: float) -> Tensor:
    """The spectrum is a Gaussian at the frequency less one at zero; summed over the periods it folds into."""
    down = 2 * math.pi * torch.fft.fftfreq(height, dtype=torch.float64)[:, None]
    across = 2 * math.pi * torch.fft.fftfreq(width, dtype=torch.float64)[None]
    slant = 4 / DIRECTIONS
    wave, low = torch.zeros(height, width, dtype=torch.float64), torch.zeros(height, width, dtype=torch.float64)
    for i in (-2, -1, 0, 1, 2):
        for j in (-2, -1, 0, 1, 2):
            y, x = down + 2 * math.pi * i, across + 2 * math.pi * j
            along, beside = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
            spread = beside.square() / slant**2
            wave += torch.exp(-0.5 * sigma**2 * ((along - frequency).square() + spread))
            low += torch.exp(-0.5 * sigma**2 * (along.square() + spread))
    return (wave - wave[0, 0] / low[0, 0] * low).float()
