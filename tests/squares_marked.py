"""Noisy squares of two brightnesses with their label maps, for segmenters; batch k follows from k alone."""

from typing import Any

import torch
from torch import Tensor

from anomaly.segmenters.base import Segmenter
from anomaly.segmenters.register import SEGMENTERS
from anomaly.training.machine import Machine

CPU = Machine(device="cpu")
SPACES = {2: (20, 24), 3: (10, 12, 9)}
TINY: dict[str, Any] = {"width": 4, "levels": 2, "steps": 4, "batch": 2, "lr": 5e-3}


def squares(count: int, space: tuple[int, ...], seed: int) -> tuple[Tensor, Tensor]:
    """Images (count, 1, *space) and the places of their three classes."""
    random = torch.Generator().manual_seed(seed)
    places = torch.zeros(count, *space, dtype=torch.int64)
    for image in range(count):
        for place in (1, 2):
            starts = [int(torch.randint(1, side - side // 3, (), generator=random)) for side in space]
            places[(image, *(slice(at, at + side // 3) for at, side in zip(starts, space, strict=True)))] = place
    x = 0.6 * places[:, None] - 0.7 + 0.1 * torch.randn(count, 1, *space, generator=random)
    return x.clamp(-1, 1), places


class Squares:
    """Batches with label maps, or without."""

    def __init__(self, dims: int = 2, *, size: int = 2, labelled: bool = True, masked: bool = False) -> None:
        self.space, self.size, self.labelled, self.masked = SPACES[dims], size, labelled, masked

    def __getitem__(self, k: int) -> Any:
        x, places = squares(self.size, self.space, 2 * k + self.labelled)
        if self.masked:
            x, places = x.clone(), places.clone()
            x[:, :, :3], places[:, :3] = -1, 0
            x[:, :, 3:].clamp_(min=-0.99)
        return (x, places) if self.labelled else x


def fitted(name: str, dims: int = 2, *, masked: bool = False, seed: int = 0, **given: Any) -> Segmenter:
    """A segmenter that has learned from squares; `given` is of `fit`, or settings."""
    asked = {each: given.pop(each) for each in ("journal", "held_out", "machine") if each in given}
    segmenter = SEGMENTERS[name](**{**TINY, **given})
    segmenter.masked_ = masked
    size = segmenter.batch
    return segmenter.fit(
        Squares(dims, size=size, masked=masked), (1, *SPACES[dims]), 3,
        unlabelled=Squares(dims, size=size, masked=masked, labelled=False), seed=seed, **{"machine": CPU, **asked},
    )  # fmt: skip
