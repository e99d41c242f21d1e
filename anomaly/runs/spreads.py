"""How a group of numbers lies among normals: a mean, the directions they vary in most, and the rest alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

MOST_DIRECTIONS, IMAGES_A_DIRECTION = 16, 8


@dataclass(frozen=True)
class Spread:
    """A Gaussian with few directions of its own, the principal ones, and one variance for all others (PPCA).

    Args:
        mean: (m,), NaN where no normal tells the number.
        directions: (k, m), of unit length. precision: one over the variance along each, (k,).
        rest: variance of what is left, of each number.
    """

    mean: np.ndarray
    directions: np.ndarray
    precision: np.ndarray
    rest: np.ndarray

    @classmethod
    def of(cls, numbers: np.ndarray, weights: np.ndarray, tolerance: float) -> Self:
        """Learn from (n, m) numbers; NaN, which is not known, counts as the mean. All variances get the tolerance's."""
        known = ~np.isnan(numbers)
        mass = weights @ known
        mean = np.where(mass > 0, weights @ np.where(known, numbers, 0) / np.maximum(mass, 1e-12), np.nan)
        away = np.nan_to_num(numbers - mean) * np.sqrt(weights / weights.sum())[:, None]
        variances, vectors = np.linalg.eigh(away.T @ away)
        kept = min(MOST_DIRECTIONS, len(numbers) // IMAGES_A_DIRECTION, len(variances) - 1)
        largest, others = np.maximum(variances[::-1], 0)[:kept], np.maximum(variances[::-1], 0)[kept:]
        directions = vectors.T[::-1][:kept]
        return cls(mean, directions, 1 / (largest + tolerance**2), np.array([others.mean() + tolerance**2]))

    def distance(self, numbers: np.ndarray) -> np.ndarray:
        """Root mean square of what each row (N, m) departs by, in standard deviations; 0 for what is not known."""
        away = np.nan_to_num(numbers - self.mean)
        along = away @ self.directions.T
        left = np.maximum(np.square(away).sum(axis=1) - np.square(along).sum(axis=1), 0)
        squares: np.ndarray = np.square(along) @ self.precision + left / self.rest
        return np.sqrt(squares / away.shape[1])
