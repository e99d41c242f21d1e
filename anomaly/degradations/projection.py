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

    A ray is sampled once in each row or column, whichever it crosses more steeply, linear between pixels (Joseph 1982).
    """
    many = elements(*pictures.shape[1:])
    offsets = torch.arange(many, device=pictures.device, dtype=pictures.dtype) - (many - 1) / 2
    sides = [F.pad(each, (1, 1)) for each in (pictures, pictures.mT)]  # one pixel of nothing at both ends of a line
    views = []
    for angle in angles(count):
        cos, sin = float(angle.cos()), float(angle.sin())
        lines, across, along = (sides[0], cos, sin) if abs(cos) >= abs(sin) else (sides[1], sin, cos)
        height, width = lines.shape[1:]
        row = torch.arange(height, device=offsets.device, dtype=offsets.dtype) - (height - 1) / 2
        place = (offsets - row[:, None] * along) / across + (width - 1) / 2
        below = place.clamp(0, width - 1).floor().clamp(max=width - 2)
        first = below.long().expand(len(lines), -1, -1)
        sampled = torch.lerp(lines.gather(2, first), lines.gather(2, first + 1), (place - below).clamp(0, 1))
        views.append(sampled.sum(1) / abs(across))
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
        total += torch.lerp(view.index_select(1, below), view.index_select(1, below + 1), place - below)
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
