"""Shares of classes of whole images, by one segmenter or by several together, and how sure they are."""

import contextlib
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import nn

from anomaly.errors import RunError
from anomaly.nets.whole import most_pixels
from anomaly.segmenters.base import Segmenter

DROPOUT = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)


def pixels_at_once(segmenter: Segmenter) -> int:
    """How many pixels go through the network at once, so that it holds about a gigabyte."""
    return most_pixels(segmenter.width)


def mean_shares(segmenters: Sequence[Segmenter], pixels: np.ndarray, *, draws: int = 0, seed: int = 0) -> np.ndarray:
    """The mean share of each class over several segmenters, (S, C, *size) -> (S, K, *size) float32.

    Args:
        segmenters: of the same classes.
        pixels: as prepared for them.
        draws: how often each looks with channels dropped by chance (Gal and Ghahramani 2016); 0 looks once, with none
            dropped.
        seed: of what is dropped.
    """
    x, total = torch.from_numpy(pixels), None
    for segmenter in segmenters:
        for k in range(max(1, draws)):
            with dropping(segmenter, seed + k) if draws else contextlib.nullcontext():
                found = segmenter.whole(x)
            total = found if total is None else total.add_(found)
    assert total is not None
    mean: np.ndarray = (total / (len(segmenters) * max(1, draws))).numpy()
    return mean


@contextlib.contextmanager
def dropping(segmenter: Segmenter, seed: int) -> Iterator[None]:
    """Drop channels by chance inside this context, as in training, the same for the same seed."""
    layers = _dropouts(segmenter)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for layer in layers:
            layer.train()
        try:
            yield
        finally:
            for layer in layers:
                layer.eval()


def refuse_without_dropout(segmenter: Segmenter, name: object) -> None:
    """Say plainly when a segmenter has no layer that drops anything.

    Raises:
        RunError: so.
    """
    if not _dropouts(segmenter):
        raise RunError(
            f"{name} was trained without dropout, so that all draws of it would be alike; leave --dropout-draws out, "
            "or train it with --set dropout=0.1"
        )


def uncertainty_of(shares: np.ndarray) -> np.ndarray:
    """How unsure shares (K, *space) are, (*space): their entropy, from 0 (one class) to 1 (all classes alike)."""
    entropy: np.ndarray = -(shares * np.log(np.maximum(shares, np.finfo(np.float32).tiny))).sum(0)
    return (entropy / np.log(len(shares))).clip(0, 1).astype(np.float32)


def _dropouts(segmenter: Segmenter) -> list[nn.Module]:
    return [layer for layer in segmenter.net_.modules() if isinstance(layer, DROPOUT) and layer.p > 0]
