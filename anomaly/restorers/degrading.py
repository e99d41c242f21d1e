"""Degradations as they are done to images of any size: on whole steps, and by chance that can be repeated."""

import hashlib
import logging
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from anomaly.degradations.base import Degradation
from anomaly.errors import AnomalyError

logger = logging.getLogger(__name__)
NOTHING = 1e-3
"""How far images may be changed, of a range of 2, without being poorer: far less than a step of 8 bits."""


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


def refuse_short(space: tuple[int, ...], degradation: Degradation) -> None:
    """Say plainly when an image is shorter than a step of the degradation, or one pixel of it would be left.

    Raises:
        AnomalyError: so.
    """
    steps = degradation.steps(len(space))
    told = f"{' x '.join(map(str, space))} pixels"
    for side, step in zip(space, steps, strict=True):
        if side < step:
            raise AnomalyError(
                f"has {told}, and a side of {side} is shorter than the factor {step} of {degradation.name}; give a "
                "smaller factor, or leave it out"
            )
    if max(steps) > 1 and prod(side // step for side, step in zip(space, steps, strict=True)) < 2:
        raise AnomalyError(
            f"has {told}, of which the factor {max(steps)} of {degradation.name} leaves one; give a smaller factor, or "
            "leave it out"
        )


def crop(values: np.ndarray, space: tuple[int, ...]) -> np.ndarray:
    """The beginning of an array (..., *space) along its last axes."""
    cut: tuple[Any, ...] = (..., *(slice(side) for side in space))
    return np.asarray(values[cut])


def warn_of_nothing(degradation: Degradation | None, shape: tuple[int, ...]) -> None:
    """Say so where a degradation leaves images (C, *space) as they are, so that there is nothing to learn."""
    if degradation is None:
        return
    x = 2 * torch.rand(1, *shape, generator=chance("nothing")) - 1
    left = degradation.degrade(x, chance("nothing", "left"))
    if float((left.image - x).abs().max()) < NOTHING:
        logger.warning(
            "%s takes nothing away from images, so there is nothing to learn: give other settings", degradation
        )


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
