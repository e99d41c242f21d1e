"""Slices of volumes that know their height: features with it, and a Gaussian at each place and height."""

from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn

from anomaly.detectors.densities import Density, Passes, Place
from anomaly.detectors.gaussians import Gathered

LEVELS = 8


class AtHeight(nn.Module):
    """Features of the image alone, with the height of the slice as a last channel, alike in all cells.

    Args:
        features: images (N, C, *space) -> (N, K, *cells).
        context: how many of the channels are context, the last of them a plane of the height.
    """

    def __init__(self, features: nn.Module, context: int) -> None:
        super().__init__()
        self.features, self.context = features, context

    def forward(self, x: Tensor) -> Tensor:
        """(N, C + context, *space) -> (N, K + 1, *cells)."""
        found: Tensor = self.features(x[:, : x.shape[1] - self.context])
        height = x[:, -1:].flatten(2).mean(2).view(-1, 1, *[1] * (found.ndim - 2))
        return torch.cat([found, height.expand(-1, 1, *found.shape[2:])], dim=1)


class PlaceAtHeight(Density):
    """A Gaussian at each cell of each of eight heights; between two heights the distance goes over evenly.

    Each height learns from the slices on both sides, up to the next heights; one that saw none is as the nearest that
    did.

    Args:
        channels: K + 1, the last the height, -1 to 1.
        cells: of one image.
    """

    seen: Tensor

    def __init__(self, channels: int, cells: tuple[int, ...]) -> None:
        super().__init__()
        self.levels = nn.ModuleList(Place(channels - 1, cells) for _ in range(LEVELS))
        self.register_buffer("seen", torch.zeros(LEVELS, dtype=torch.int64))

    def learn(self, passes: Passes, count: int) -> None:
        """Two passes, as a Gaussian at each place takes, for all heights at once."""
        places = [cast(Place, place) for place in self.levels]
        gathered = [Gathered(place.mean.shape[1], (len(place.mean),)) for place in places]
        slices = [0] * LEVELS
        for level, features, counted in _around(passes):
            gathered[level].add(features, counted)
            slices[level] += len(features)
        known = [level for level in range(LEVELS) if slices[level]]
        for level in known:
            gathered[level].centre()
        for level, features, counted in _around(passes):
            gathered[level].spread(features, counted)
        for level in known:
            places[level].take(gathered[level])
        self.seen.copy_(torch.tensor(slices))

    def forward(self, features: Tensor, counted: Tensor | None = None) -> Tensor:
        """Distances of the two nearest heights, weighed by how near they are."""
        at = _levels(features).clamp(0, LEVELS - 1)
        lower = at.floor().long().clamp_max(LEVELS - 2)
        share = (at - lower).view(-1, *[1] * (features.ndim - 1))
        known = self.seen.nonzero()[:, 0]
        found = torch.zeros_like(features[:, :1])
        for which, weight in ((lower, 1 - share), (lower + 1, share)):
            nearest = known[(which[:, None] - known[None, :]).abs().argmin(1)]
            for level in nearest.unique().tolist():
                rows = (nearest == level).nonzero()[:, 0]
                told = self.levels[level](features[rows, :-1], None if counted is None else counted[rows])
                found = found.index_add(0, rows, weight[rows] * told)
        return found


def _levels(features: Tensor) -> Tensor:
    """Where slices lie among the heights, (N,), 0 to LEVELS - 1."""
    height: Tensor = features[:, -1].flatten(1)[:, 0]
    return (height + 1) / 2 * (LEVELS - 1)


def _around(passes: Passes) -> Iterator[tuple[int, Tensor, Tensor | None]]:
    """One pass: for each height the features of the slices between the heights on both sides of it."""
    for features, counted in passes():
        at = _levels(features)
        for level in range(LEVELS):
            rows = ((at - level).abs() < 1).nonzero()[:, 0]
            if len(rows):
                yield level, features[rows, :-1], None if counted is None else counted[rows]
