"""Simplex noise: smooth noise of several wavelengths at once, in two and three dimensions.

Gradients lie on the corners of a lattice of triangles or tetrahedra, one drawn for each corner (Perlin 2001; Gustavson
2005). They are drawn rather than looked up in a table, so that no noise ever repeats itself within an image.
"""

from math import gamma, pi, sqrt
from typing import Any

import torch
from torch import Generator, Tensor

REACH = 0.5
"""Square of how far a corner reaches: no further than to the side that faces it, so that the noise has no seams."""
FINEST = 2.0
"""Pixels: a shorter wave cannot be told by them."""


def simplex(x: Tensor, wave: float, random: Generator | None = None, *, octaves: int = 6, decay: float = 0.8) -> Tensor:
    """Noise like images (N, C, *space): mean 0, variance 1, each octave of half the wavelength of the one before.

    The sum of decay^k times octave k (Wyatt et al. 2022, section 3), over its standard deviation. The lattice lies at
    random, alike for all images of a batch; its gradients are each image's and each channel's own. Octaves shorter
    than two pixels are left out.

    Args:
        x: images, whose shape, device and type the noise has.
        wave: pixels of the first octave.
        random: where chance comes from, on the device of x; None takes torch's own.
        octaves: at most so many.
        decay: amplitude of each octave as a share of the one before.
    """
    waves = [wave / 2**k for k in range(octaves) if k == 0 or wave / 2**k >= FINEST]
    weights = [decay**k for k in range(len(waves))]
    total = torch.zeros_like(x)
    for each, weight in zip(waves, weights, strict=True):
        total += weight * octave(x, each, random)
    return total / sqrt(sum(weight**2 for weight in weights))


def octave(x: Tensor, wave: float, random: Generator | None = None) -> Tensor:
    """Noise of one wavelength; arguments as of `simplex`. Its variance is 1 on average over the lattice."""
    dims, images = x.ndim - 2, x.shape[0] * x.shape[1]
    given: Any = {"generator": random, "device": x.device, "dtype": x.dtype}
    sides = [torch.arange(side, device=x.device, dtype=x.dtype) for side in x.shape[2:]]
    points = torch.cartesian_prod(*sides) / wave + torch.rand(dims, **given)
    corners, apart = _corners(points)
    low = corners.flatten(0, 1).amin(0)
    lattice = (corners.flatten(0, 1).amax(0) - low + 1).tolist()
    gradients = torch.randn(images, *lattice, dims, **given).flatten(1, -2)
    gradients = gradients / gradients.norm(dim=-1, keepdim=True).clamp_min(1e-12)
    total = torch.zeros(images, len(points), device=x.device, dtype=x.dtype)
    for corner, away in zip(corners, apart, strict=True):
        place = torch.zeros_like(corner[:, 0])
        for axis, side in enumerate(lattice):
            place = place * side + corner[:, axis] - low[axis]
        fading = (REACH - away.square().sum(1)).clamp_min(0).pow(4)
        total += torch.einsum("npd,pd->np", gradients[:, place], fading[:, None] * away)
    return (total / sqrt(variance(dims))).reshape(x.shape)


def variance(dims: int) -> float:
    """Of the sum over corners of (1/2 - r^2)^4 (g . d), g of length 1 and any direction, on average over all places.

    Corners have a density of sqrt(dims + 1); of each the mean square is (1/2 - r^2)^8 r^2 / dims, over all of space.
    """
    sphere = 2 * pi ** (dims / 2) / gamma(dims / 2)
    moment = REACH ** (9 + dims / 2) * gamma(dims / 2 + 1) * gamma(9) / gamma(dims / 2 + 10) / 2
    return sqrt(dims + 1) / dims * sphere * moment


def _corners(points: Tensor) -> tuple[Tensor, Tensor]:
    """Corners of the simplex that holds each point (P, dims), on the skewed lattice, (dims + 1, P, dims) int64, and
    how far the point lies from each, of the same shape."""
    dims = points.shape[1]
    skew, back = (sqrt(dims + 1) - 1) / dims, (1 - 1 / sqrt(dims + 1)) / dims
    skewed = points + skew * points.sum(1, keepdim=True)
    cell = skewed.floor()
    # The way from the near corner of a cell to the far one goes along the longest part first.
    rank = (skewed - cell).argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    corners = torch.stack([cell + (rank < k) for k in range(dims + 1)])
    apart = points - (corners - back * corners.sum(2, keepdim=True))
    return corners.long(), apart
