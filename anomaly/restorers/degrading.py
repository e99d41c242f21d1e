"""Degradations as they are done to images of any size: on whole steps, and by chance that can be repeated."""

import hashlib
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from anomaly.degradations.base import Degradation


def chance(*told: int | str, device: torch.device | str = "cpu") -> Generator:
    """A generator that follows from numbers and words alone."""
    digest = hashlib.sha256(" ".join(map(str, told)).encode()).digest()
    return Generator(device=device).manual_seed(int.from_bytes(digest[:8], "little") >> 1)


def last_step(degradation: Degradation | None, dims: int) -> int:
    """How many slices of a volume one that was kept stands for along the last axis, which is shown; else 1."""
    return 1 if degradation is None else degradation.steps(dims)[-1]


def cropped(space: tuple[int, ...], degradation: Degradation) -> tuple[int, ...]:
    """Sides of an image without what is left over beyond whole steps of the degradation."""
    return tuple(side - side % step for side, step in zip(space, degradation.steps(len(space)), strict=True))


def fitted(x: np.ndarray, degradation: Degradation) -> np.ndarray:
    """Images (S, C, *space) cropped at their ends to whole steps, once the degradation can take them.

    Raises:
        AnomalyError: it cannot.
    """
    space = cropped(tuple(x.shape[2:]), degradation)
    degradation.refuse((x.shape[1], *space))
    return np.ascontiguousarray(crop(x, space))


def crop(values: np.ndarray, space: tuple[int, ...]) -> np.ndarray:
    """The beginning of an array (..., *space) along its last axes."""
    cut: tuple[Any, ...] = (..., *(slice(side) for side in space))
    return np.asarray(values[cut])


def by_what(degradation: Degradation, x: Tensor, random: Generator) -> tuple[np.ndarray, np.ndarray | None]:
    """What a poor image is scaled by: the values that it has on its own grid, and which of them are known.

    Args:
        degradation: what is done to it.
        x: (S, C, *space).
        random: where chance comes from.
    """
    if max(degradation.steps(x.ndim - 2)) > 1:
        return degradation.measured(x, random).numpy(), None
    left = degradation.degrade(x, random)
    return left.image.numpy(), None if left.known is None else left.known.expand(len(x), *left.known.shape[1:]).numpy()
