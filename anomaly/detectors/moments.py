"""How maps vary over images, pixel by pixel, in one pass."""

import numpy as np

PRIOR_IMAGES = 10.0
"""How many images' worth of the pooled variance each pixel's own variance is mixed with."""


class Moments:
    """Mean and moderated standard deviation of maps seen one batch at a time, of each pixel where it counts."""

    def __init__(self) -> None:
        self.count: np.ndarray = np.zeros(1)  # of images, for each pixel or for all
        self._mean: np.ndarray = np.zeros(1)
        self._squares: np.ndarray = np.zeros(1)

    def add(self, maps: np.ndarray, inside: np.ndarray | None = None) -> None:
        """Take in maps (N, C, *space), by the pairwise update of Chan et al. 1983, eq. 2.1.

        inside: which pixels count, (N, 1, *space) bool; None for all.
        """
        new = np.full(1, float(len(maps))) if inside is None else inside.sum(0, dtype=np.float64)
        whole = maps if inside is None else np.where(inside, maps, 0)
        mean = whole.sum(0, dtype=np.float64) / np.maximum(new, 1)
        apart = whole - mean if inside is None else np.where(inside, whole - mean, 0)
        squares = np.square(apart).sum(0, dtype=np.float64)
        total, shift = self.count + new, mean - self._mean
        share = new / np.maximum(total, 1)
        self._mean = self._mean + shift * share
        self._squares = self._squares + squares + np.square(shift) * (self.count * share)
        self.count = total

    def mean(self) -> np.ndarray:
        """The mean map, float32; that of all pixels together where no image counted."""
        return np.where(self._seen, self._mean, self._pooled_mean).astype(np.float32)

    def sd(self) -> np.ndarray:
        """Standard deviation of each pixel, its variance mixed with the mean variance of all pixels.

        (S + m v) / (n - 1 + m): S is the pixel's sum of squares, v the pooled variance, m = 10 images. With few
        normals no pixel gets a spread of nearly zero by chance, with many the prior does not matter. A single image
        tells nothing of spread between images, so there v is its variance over pixels. Where no image counted, the
        variance between pixels is added, since nothing tells which mean is theirs.
        """
        freedom = np.broadcast_to(np.maximum(self.count - 1, 0), self._mean.shape)
        between = np.square(self._mean - self._pooled_mean)[self._seen].mean()
        pooled = self._squares.sum() / freedom.sum() if freedom.any() else between
        variance = (self._squares + PRIOR_IMAGES * pooled) / (freedom + PRIOR_IMAGES)
        variance = np.where(self._seen, variance, pooled + between)
        return np.sqrt(np.maximum(variance, 1e-12)).astype(np.float32)

    @property
    def _seen(self) -> np.ndarray:
        """Which pixels counted in any image."""
        return np.broadcast_to(self.count > 0, self._mean.shape)

    @property
    def _pooled_mean(self) -> float:
        return float(self._mean[self._seen].mean()) if self._seen.any() else 0.0
