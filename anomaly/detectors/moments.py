"""How maps vary over images, pixel by pixel, in one pass."""

import numpy as np

PRIOR_IMAGES = 10.0
"""How many images' worth of the pooled variance each pixel's own variance is mixed with."""


class Moments:
    """Mean and moderated standard deviation of maps seen one batch at a time."""

    def __init__(self) -> None:
        self.count = 0
        self._mean: np.ndarray = np.zeros(1)
        self._squares: np.ndarray = np.zeros(1)

    def add(self, maps: np.ndarray) -> None:
        """Take in maps (N, C, *space), by the pairwise update of Chan et al. 1983, eq. 2.1."""
        new, mean = len(maps), maps.mean(0, dtype=np.float64)
        squares = np.square(maps - mean).sum(0, dtype=np.float64)
        if not self.count:
            self.count, self._mean, self._squares = new, mean, squares
            return
        total, shift = self.count + new, mean - self._mean
        self._mean = self._mean + shift * (new / total)
        self._squares = self._squares + squares + np.square(shift) * (self.count * new / total)
        self.count = total

    def mean(self) -> np.ndarray:
        """The mean map, float32."""
        return self._mean.astype(np.float32)

    def sd(self) -> np.ndarray:
        """Standard deviation of each pixel, its variance mixed with the mean variance of all pixels.

        (S + m v) / (n - 1 + m): S is the pixel's sum of squares, v the pooled variance, m = 10 images. With few
        normals no pixel gets a spread of nearly zero by chance, with many the prior does not matter. A single image
        tells nothing of spread between images, so there v is its variance over pixels.
        """
        freedom = max(self.count - 1, 0)
        pooled = self._squares.mean() / freedom if freedom else self._mean.var()
        variance = (self._squares + PRIOR_IMAGES * pooled) / (freedom + PRIOR_IMAGES)
        return np.sqrt(np.maximum(variance, 1e-12)).astype(np.float32)
