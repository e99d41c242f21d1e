"""How large a disease is in a map, and how far two maps agree on where it is; softly, so that both have a gradient.

DEP-GAN's own volume and Dice terms (Rachmadi et al. 2020, eq. 6 to 8) count the pixels above a threshold, which no
network can learn from: a step has no slope. Here the step is a sigmoid of a temperature, which goes to it.
"""

import torch
from torch import Tensor

from anomaly.nets.within import sum_within

LEAKS = 10.0
"""Temperatures between the threshold and the nearer end of [0, 1]: a pixel of 0 then counts e^-10."""


def temperature_for(threshold: float) -> float:
    """A temperature so low that a pixel far from the threshold counts as nothing, or as one."""
    return min(threshold, 1 - threshold) / LEAKS


def soft(x: Tensor, threshold: float, temperature: float) -> Tensor:
    """How far pixels are above the threshold: sigmoid((x - t) / T), 0 to 1; as T goes to 0, whether they are."""
    return torch.sigmoid((x - threshold) / temperature)


def volume(x: Tensor, threshold: float, temperature: float, inside: Tensor | None = None) -> Tensor:
    """Pixels of maps (N, 1, *space) above the threshold, softly; (N,).

    Args:
        x: maps in [0, 1].
        threshold: t.
        temperature: T; 0 counts whole pixels, without a gradient.
        inside: which pixels count, (N, 1, *space) bool; None for all.
    """
    return sum_within(_above(x, threshold, temperature), inside)


def dice(x: Tensor, y: Tensor, threshold: float, temperature: float, inside: Tensor | None = None) -> Tensor:
    """2 sum(ab) / sum(a^2 + b^2) of what lies above the threshold in two maps (N, 1, *space), softly; (N,), 0 to 1.

    With squares below (Milletari et al. 2016, eq. 3) a map agrees with itself wholly at every temperature. Two maps
    without anything agree. Arguments as of `volume`.
    """
    a, b = (_above(each, threshold, temperature) for each in (x, y))
    both = sum_within(a * b, inside)
    size = sum_within(a.square() + b.square(), inside)
    nothing = 1e-6
    return (2 * both + nothing) / (size + nothing)


def _above(x: Tensor, threshold: float, temperature: float) -> Tensor:
    return soft(x, threshold, temperature) if temperature > 0 else (x > threshold).to(x.dtype)
