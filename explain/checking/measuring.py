"""What a run draws of held-out images, and what other trainings draw of them, as it is and at each threshold."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from anomaly.errors import CohortError
from anomaly.training.batches import chunks
from explain.base import Explainer, Explanation
from explain.checking.findings import little_told
from explain.checking.holding import Held, by_person
from explain.checking.images import streamed
from explain.runs.calibration import Sizes
from explain.runs.shrinking import left_at, strength
from explain.runs.source import Source

SMOOTHING = 1.0
"""Pixels around each that say how much is changed there: a lone pixel goes before a lesion does. Not tuned."""


@dataclass(frozen=True)
class Measured:
    """What is left of the changes of held-out images at each threshold.

    Args:
        tried: the thresholds, (T,).
        real, nothing: the mean change, (n, T) and (K, n, T); of a volume that is taken apart the mean over its slices.
        largest: the largest change, of the real ones and then of nothing, (1 + K, n, T).
        subjects, labels: (n,).
    """

    tried: np.ndarray
    real: np.ndarray
    nothing: np.ndarray
    largest: np.ndarray
    subjects: np.ndarray
    labels: np.ndarray

    def of(self, label: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of one side: real, nothing, subjects."""
        there = self.labels == label
        return self.real[there], self.nothing[:, there], self.subjects[there]

    def visible(self) -> int:
        """How many of the thresholds leave more than next to nothing in half of the persons whose cases are held out.

        The first always counts: it leaves what was asked for before anything was trained. All persons are asked
        together, by the real maps alone, before halves of them choose.
        """
        cases = self.labels == 1
        left, subjects, count = self.largest[0, cases], self.subjects[cases], len(self.tried)
        return next((k for k in range(1, count) if little_told(left[:, k], subjects)), count)


@dataclass(frozen=True)
class Seen:
    """What a run draws of the held-out cases before anything is trained.

    Args:
        strength: the largest `strength` of a change.
        largest: the largest change of each case, (n,).
        subjects: (n,).
        moves: a change is a movement.
        errors: id, path and error of those that cannot be read.
    """

    strength: float
    largest: np.ndarray
    subjects: np.ndarray
    moves: bool
    errors: list[dict[str, Any]]


def seen_in(source: Source, table: pd.DataFrame, workers: int | None) -> Seen:
    """Explain all held-out cases once."""
    errors: list[dict[str, Any]] = []
    rows: list[Any] = table[table["label"] == 1].to_dict("records")
    strongest, moves = 0.0, False
    largest: list[float] = []
    subjects: list[str] = []
    for group in streamed(source, rows, workers, errors):
        parts = []
        for x in chunks(np.concatenate([pixels for _, pixels in group]), source.device):
            drawn = source.as_drawn(x)
            strongest = max(strongest, float(strength(drawn, x, SMOOTHING).max()))
            moves = drawn.field is not None
            parts.append(left_at(drawn, x, [0.0], SMOOTHING)[1][:, 0])
        largest += [float(each.max()) for each in _by_image(np.concatenate(parts), group)]
        subjects += [row["subject"] for row, _ in group]
    if not largest:
        raise CohortError(f"none of {len(rows)} held-out cases can be read; first: {errors[0]['error']}")
    return Seen(strongest, np.array(largest), np.array(subjects, dtype=object), moves, errors)


def _by_image(values: np.ndarray, group: Sequence[tuple[Any, np.ndarray]]) -> list[np.ndarray]:
    """Figures of slices, (S, ...), image by image."""
    return np.split(values, np.cumsum([len(pixels) for _, pixels in group])[:-1])


def measured(
    source: Source,
    others: Sequence[Explainer],
    table: pd.DataFrame,
    tried: np.ndarray,
    workers: int | None,
    errors: list[dict[str, Any]],
) -> Measured:
    """Explain the held-out images by the real explainer and the others, and take away from it at each threshold."""

    def left_of(x: Tensor) -> np.ndarray:
        drawn: list[Explanation] = [source.as_drawn(x)]
        drawn += [source.within_masks(other.explain(x), x) for other in others]
        return np.stack([left_at(each, x, tried, SMOOTHING) for each in drawn], axis=2).swapaxes(0, 1)

    rows: list[Any] = table.to_dict("records")
    sizes: list[np.ndarray] = []
    largest: list[np.ndarray] = []
    whose: list[tuple[str, int]] = []
    for group in streamed(source, rows, workers, errors):
        parts = [left_of(x) for x in chunks(np.concatenate([pixels for _, pixels in group]), source.device)]
        for each in _by_image(np.concatenate(parts), group):  # (S, mean or largest, 1 + K, T)
            sizes.append(each[:, 0].mean(0))
            largest.append(each[:, 1].max(0))
        whose += [(row["subject"], int(row["label"])) for row, _ in group]
    found = np.stack(sizes, axis=1)
    subjects, labels = (np.array(each, dtype=object) for each in zip(*whose, strict=True))
    return Measured(tried, found[0], found[1:], np.stack(largest, axis=1), subjects, labels)


def sizes_of(found: Measured, label: int, held: Held) -> Sizes:
    """Means over the persons of one side; of several trainings on permuted labels of the one that draws most."""
    real, nothing, subjects = found.of(label)
    images, real, nothing = len(real), by_person(real, subjects), by_person(nothing, subjects)
    left = (0.0, 0.0) if held.at is None else (real[:, held.at].mean(), nothing[:, :, held.at].mean(1).max())
    return Sizes(images, len(real), float(real[:, 0].mean()), float(nothing[:, :, 0].mean(1).max()), *map(float, left))
