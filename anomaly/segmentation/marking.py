"""How unsure shares of classes are on the grid of an image, and how much of one goes through a network at once."""

import numpy as np

from anomaly.nets.whole import most_pixels
from anomaly.segmenters.base import Segmenter


def pixels_at_once(segmenter: Segmenter) -> int:
    """How many pixels go through the network at once, so that it holds about a gigabyte."""
    return most_pixels(segmenter.width)


def uncertainty_of(shares: np.ndarray) -> np.ndarray:
    """How unsure shares (K, *space) are, (*space): their entropy, from 0 (one class) to 1 (all classes alike)."""
    entropy: np.ndarray = -(shares * np.log(np.maximum(shares, np.finfo(np.float32).tiny))).sum(0)
    return (entropy / np.log(len(shares))).clip(0, 1).astype(np.float32)
