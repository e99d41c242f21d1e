"""What needs no learning, and stands beside every painting: smooth fillings, a mean, a real lesion laid over."""

import numpy as np
import torch
from scipy.ndimage import binary_dilation

from anomaly.classical.filling import harmonic
from anomaly.painters.lesions import Holes
from anomaly.painters.lesions_filling import filled

RIM = 3
"""Pixels around a hole whose mean is the local mean."""


def smooth(holes: Holes) -> torch.Tensor:
    """Means of what is around, the nearer the more: what the painter begins with."""
    return filled(holes.x, holes.hole)


def laplace(holes: Holes) -> torch.Tensor:
    """The smoothest filling."""
    found = [
        np.stack([harmonic(channel.astype(np.float64), ~hole[0]) for channel in x])
        for x, hole in zip(holes.x.numpy(), holes.hole.numpy(), strict=True)
    ]
    return torch.from_numpy(np.stack(found)).to(holes.x)


def local_mean(holes: Holes) -> torch.Tensor:
    """The mean of the pixels around each hole."""
    painted = holes.x.clone()
    for x, hole in zip(painted, holes.hole[:, 0].numpy(), strict=True):
        rim = binary_dilation(hole, iterations=RIM) & ~hole
        known = torch.from_numpy(rim if rim.any() else ~hole)
        for channel in x:
            around = channel[known] if known.any() else torch.zeros(1)
            channel[torch.from_numpy(hole)] = around.mean()
    return painted


FLOORS = {"smooth": smooth, "laplace": laplace, "local mean": local_mean}


def pasted(normal: Holes, lesion: Holes) -> torch.Tensor:
    """Real lesions laid over normal windows, in the holes that both have."""
    return torch.where(lesion.hole, lesion.x, normal.x)
