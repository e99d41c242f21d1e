"""Parallel beams through pictures and back: what a CT scanner measures, and what is reconstructed from it.

Lengths are in pixels. Angles are those of the direction in which the detector lies, from the last axis on, over half a
turn; a view has as many elements as the diagonal has pixels, one pixel wide, their centre that of the picture.
"""

from math import ceil, hypot, pi

import torch
from torch import Tensor
from torch.nn import functional as F


def angles(count: int) -> Tensor:
    """As many angles, equally far apart, from 0 to half a turn, which is left out."""
    return torch.arange(count, dtype=torch.float64) * (pi / count)


def elements(height: int, width: int) -> int:
    """Of a detector that sees the whole of a picture from everywhere; odd, so that one lies in the middle."""
    return ceil(hypot(height, width)) | 1


def project(pictures: Tensor, count: int) -> Tensor:
    """Line integrals of pictures (N, H, W), 0 beyond their edge, at `count` angles -> (N, count, elements).

    Each is the sum of samples one pixel apart along a ray, linear between pixels.
    """
    height, width = pictures.shape[1:]
    many = elements(height, width)
    offsets = torch.arange(many, device=pictures.device, dtype=pictures.dtype) - (many - 1) / 2
    across, along = offsets[None, :], offsets[:, None]
    views = []
    for angle in angles(count):
        cos, sin = float(angle.cos()), float(angle.sin())
        x, y = across * cos - along * sin, across * sin + along * cos
        # grid_sample takes places from -1 to 1, which are the outer edges of the outermost pixels.
        places = torch.stack([2 * x / width, 2 * y / height], -1)
        sampled = F.grid_sample(pictures[None], places[None], mode="bilinear", align_corners=False)
        views.append(sampled[0].sum(1))
    return torch.stack(views, 1)


def back(projections: Tensor, height: int, width: int) -> Tensor:
    """Filtered back projection (Kak and Slaney 1988, equations 3.61 and 3.71) of (N, angles, elements) -> (N, H, W).

    The ramp is cut off where the detector's sampling ends and is not smoothed (Ram-Lak).
    """
    filtered = _ramp(projections)
    count, many = filtered.shape[1:]
    x = torch.arange(width, device=filtered.device, dtype=filtered.dtype) - (width - 1) / 2
    y = torch.arange(height, device=filtered.device, dtype=filtered.dtype) - (height - 1) / 2
    total = filtered.new_zeros(len(filtered), height * width)
    for number, angle in enumerate(angles(count)):
        place = (x[None, :] * float(angle.cos()) + y[:, None] * float(angle.sin())).flatten() + (many - 1) / 2
        below = place.floor().long().clamp(0, many - 2)
        view = filtered[:, number]
        total += torch.lerp(view[:, below], view[:, below + 1], place - below)
    return total.view(len(filtered), height, width) * (pi / count)


def _ramp(projections: Tensor) -> Tensor:
    """The projections, convolved with the band-limited ramp: 1/4 at 0, -1 / (pi n)^2 at odd n, 0 at even n."""
    many = projections.shape[-1]
    n = torch.arange(-many + 1, many, device=projections.device, dtype=torch.float64)
    kernel = torch.where(n.long() % 2 == 0, 0.0, -1 / (pi * n) ** 2)
    kernel[many - 1] = 0.25
    size = 1 << (3 * many).bit_length()
    spectrum = torch.fft.rfft(projections, size) * torch.fft.rfft(kernel.to(projections.dtype), size)
    return torch.fft.irfft(spectrum, size)[..., many - 1 : 2 * many - 1]
