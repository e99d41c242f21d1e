"""What needs no network: nothing changes, what most do, the trend, and a plain regression; as floors for a forecast."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import ndimage

from anomaly.progression.pairing import BEFORE

PERSISTENCE, MAJORITY, TREND, REGRESSION = "persistence", "majority", "trend", "regression"
FLOORS = (PERSISTENCE, MAJORITY, TREND, REGRESSION)
LAID = (PERSISTENCE, TREND, REGRESSION)
"""Floors that say a volume, and so a map."""
FEATURES = ("volume", "sureness", "brightness", "years")
RIDGE = 1e-3


@dataclass(frozen=True)
class Floors:
    """Floors learned from the persons of a training.

    Args:
        yearly: the mean change of volume a year (a visit, where nobody tells years).
        grow: 1 where most of them grew, -1 where most shrank.
        weights: of the regression, of a constant and `FEATURES`.
    """

    yearly: float
    grow: int
    weights: np.ndarray

    @classmethod
    def of(cls, table: pd.DataFrame) -> "Floors":
        """From pairs of visits with volume, true_change, years, sureness and brightness; each person counts once."""
        weight = 1 / table.groupby("subject")["subject"].transform("size").to_numpy(float)
        change, years = table["true_change"].to_numpy(float), table["years"].to_numpy(float)
        yearly = float(weight @ (change / years) / weight.sum())
        grow = 1 if float(weight @ np.sign(change)) >= 0 else -1
        return cls(yearly, grow, _fitted(_matrix(table), change, weight))

    def changes(self, row: Mapping[str, Any], earlier: float | None) -> dict[str, float]:
        """What each of `LAID` says of the change of a volume.

        Args:
            row: volume, years, sureness and brightness of a pair.
            earlier: the change a year that this person showed before, where there is a third visit.
        """
        told = _matrix(pd.DataFrame([row]))[0]
        trend = (self.yearly if earlier is None else earlier) * float(row["years"])
        found = {PERSISTENCE: 0.0, TREND: trend, REGRESSION: float(told @ self.weights)}
        return {name: max(change, -float(row["volume"])) for name, change in found.items()}


def own_trends(pairs: pd.DataFrame) -> dict[str, float]:
    """Of pairs whose first visit is the second of another pair: the change a year that was seen there, by path.

    Args:
        pairs: path, baseline, subject, true_change and years.
    """
    known = {
        (row["subject"], row["path"]): float(row["true_change"]) / float(row["years"])
        for row in pairs.to_dict("records")
    }
    found = zip(pairs["path"], pairs["subject"], pairs[BEFORE], strict=True)
    return {path: known[subject, first] for path, subject, first in found if (subject, first) in known}


def reaching(
    disease: np.ndarray, pixels: int, counted: np.ndarray, spacing: Sequence[float] | np.ndarray | None = None
) -> np.ndarray:  # fmt: skip
    """A disease (*space) bool grown or shrunk evenly at its edge until it has so many pixels, within what counts.

    Pixels come and go by their distance from the edge, those of one distance in an order of chance, always the same, so
    that it leans nowhere; a disease of nothing grows nowhere.

    Args:
        disease: (*space) bool.
        pixels: how many are to be left.
        counted: (*space) bool.
        spacing: of the pixels along each axis, in millimetres; None where they are alike.
    """
    pixels = min(max(pixels, 0), int(counted.sum()))
    if not disease.any() or pixels == 0:
        return np.zeros(disease.shape, dtype=bool)
    inwards, outwards = (ndimage.distance_transform_edt(each, sampling=spacing) for each in (disease, ~disease))
    depth = np.where(counted, np.where(disease, inwards, -outwards), -np.inf).ravel()
    chance = np.random.default_rng(0).permutation(depth.size)
    chosen = np.lexsort((chance, -depth))[:pixels]
    found = np.zeros(disease.size, dtype=bool)
    found[chosen] = True
    return found.reshape(disease.shape)


def _matrix(table: pd.DataFrame) -> np.ndarray:
    return np.column_stack([np.ones(len(table)), table[list(FEATURES)].to_numpy(float)])


def _fitted(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Weights of least squares, each column in units of its spread and held by a little of it where it says nothing."""
    wide = x.std(0)
    wide[wide == 0] = 1.0
    scaled = x / wide * np.sqrt(weight)[:, None]
    held = scaled.T @ scaled + RIDGE * np.eye(x.shape[1])
    found: np.ndarray = np.linalg.solve(held, scaled.T @ (y * np.sqrt(weight))) / wide
    return found
