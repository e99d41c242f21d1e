"""What needs no network to make one heap look like another, and keeps every structure: the floors of a translation."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from anomaly.levels import DARKEST, OUTSIDE

QUANTILES = 1025
MOST_VALUES = 2**22
"""Of a heap and channel, values that quantiles are taken of: of more, every so manieth."""


@dataclass(frozen=True)
class Moments:
    """Values scaled and moved so that mean and standard deviation of one heap become those of the other.

    Args:
        scale, offset: (C,), of each channel.
    """

    scale: np.ndarray
    offset: np.ndarray

    @classmethod
    def learn(cls, source: np.ndarray, target: np.ndarray, *, masked: bool = False) -> Self:
        """From images (n, C, *space) of both heaps; what lies outside masks does not count."""
        pairs = [
            (ours.mean(dtype=np.float64), ours.std(dtype=np.float64), theirs.mean(dtype=np.float64), theirs.std())
            for ours, theirs in _channels(source, target, masked)
        ]
        scale = np.array([theirs / ours if ours > 0 else 1.0 for _, ours, _, theirs in pairs])
        offset = np.array([pair[2] - factor * pair[0] for pair, factor in zip(pairs, scale, strict=True)])
        return cls(scale, offset)

    def __call__(self, x: np.ndarray, *, masked: bool = False) -> np.ndarray:
        """Images (n, C, *space) of "from" as of "to", within [-1, 1]."""
        along = (1, -1, *[1] * (x.ndim - 2))
        moved = x * self.scale.reshape(along) + self.offset.reshape(along)
        return _kept(moved.clip(-1, 1).astype(np.float32), x, masked)


@dataclass(frozen=True)
class Quantiles:
    """Values mapped so that the histogram of one heap becomes that of the other: each quantile of all its values to
    the same of the other's.

    One rising function of the value for all images and places, so that no structure can be lost but by rounding.

    Args:
        source, target: of each channel rising values of the one heap, and what becomes of them.
    """

    source: tuple[np.ndarray, ...]
    target: tuple[np.ndarray, ...]

    @classmethod
    def learn(cls, source: np.ndarray, target: np.ndarray, *, masked: bool = False) -> Self:
        """From images (n, C, *space) of both heaps; what lies outside masks does not count."""
        at = np.linspace(0, 1, QUANTILES)
        pairs = [(np.quantile(ours, at), np.quantile(theirs, at)) for ours, theirs in _channels(source, target, masked)]
        told = [_without_steps(*pair) for pair in pairs]
        return cls(tuple(ours for ours, _ in told), tuple(theirs for _, theirs in told))

    def __call__(self, x: np.ndarray, *, masked: bool = False) -> np.ndarray:
        """Images (n, C, *space) of "from" as of "to"; what no image of "from" had takes the nearest."""
        channels = [np.interp(x[:, c], *pair) for c, pair in enumerate(zip(self.source, self.target, strict=True))]
        return _kept(np.stack(channels, 1).astype(np.float32), x, masked)


MATCHINGS: Mapping[str, Callable[..., Moments | Quantiles]] = {"moments": Moments.learn, "histogram": Quantiles.learn}
"""(source, target, masked=) -> what draws images of "from" as of "to"."""


def _without_steps(source: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of quantiles that share a value of "from", such as black, one, with the mean of what they become."""
    values, which, counts = np.unique(source, return_inverse=True, return_counts=True)
    return values, np.bincount(which, weights=target) / counts


def _channels(source: np.ndarray, target: np.ndarray, masked: bool) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for c in range(source.shape[1]):
        yield _values(source, c, masked), _values(target, c, masked)


def _values(images: np.ndarray, channel: int, masked: bool) -> np.ndarray:
    values = images[:, channel][(images > OUTSIDE).any(1)] if masked else np.ravel(images[:, channel])
    return values[:: max(1, len(values) // MOST_VALUES)]


def _kept(drawn: np.ndarray, x: np.ndarray, masked: bool) -> np.ndarray:
    """What was drawn, with the masks of the images as they were."""
    if not masked:
        return drawn
    inside = (x > OUTSIDE).any(1, keepdims=True)
    return np.where(inside, np.maximum(drawn, np.float32(DARKEST)), np.float32(OUTSIDE))
