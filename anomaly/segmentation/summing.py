"""Means over images with intervals by subject, of what was found and of floors; no unit is averaged with another."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from anomaly.evaluation.beside import mean_of, share_of
from anomaly.images.labels import Labels
from anomaly.segmentation.floors import BRIGHTNESS, PLACE
from anomaly.segmentation.judging import BOTH, DISTANCES, MISSED, NEITHER, ONLY_FOUND
from anomaly.statistics import Estimate

ALL, FOUND, FALSE = "all classes", "found", "false_lesions_an_image"
UNIT, DISTANCE_UNIT = "unit", "unit of distances"


def summary(told: pd.DataFrame, labels: Labels, *, seed: int = 0) -> pd.DataFrame:
    """Rows of class, measure, of ("found", a floor, "found - FLOOR"), value, low, high, unit, n, subjects, method.

    Dice is over images in which the class was drawn, 0 where nothing of it was found; distances over those in which it
    was drawn and found, since a surface that is not there has no distance; `missed` is the share of the former in which
    nothing was found, `only_found` the share of images without the class in which it was. A volume's error is what was
    found less what was drawn, over all images. Where images tell distances or volumes in several units, each has a row
    of its own. Lesions are counted over those who have some. Of fewer than ten subjects there is no interval.

    Args:
        told: the table of figures, a row an image.
        labels: the classes.
        seed: of the bootstrap.
    """
    rows: list[dict[str, Any]] = []
    for name in labels.names:
        rows += _of_class(told, name, seed)
    rows += _of_all(told, labels, seed)
    return pd.DataFrame(rows)


def _of_class(told: pd.DataFrame, name: str, seed: int) -> list[dict[str, Any]]:
    state, subject = told[f"{name}:state"], told["subject"]
    drawn, absent = state.isin([BOTH, MISSED]).to_numpy(), state.isin([ONLY_FOUND, NEITHER]).to_numpy()
    dice = np.where(drawn, numbers_of(told[f"{name}:dice"]), np.nan)
    rows = [row(name, "dice", FOUND, dice, subject, seed)]
    for floor in _floors(told, name):
        beside = np.where(drawn, numbers_of(told[f"{name}:dice of {floor}"]), np.nan)
        rows.append(row(name, "dice", floor, beside, subject, seed))
        rows.append(row(name, "dice", f"{FOUND} - {floor}", dice - beside, subject, seed))
    for measure in DISTANCES:
        rows += by_unit(name, measure, FOUND, numbers_of(told[f"{name}:{measure}"]), told[DISTANCE_UNIT], subject, seed)
    volume, found = (numbers_of(told[f"{name}:{each}"]) for each in ("volume", "volume_found"))
    rows += by_unit(name, "volume", "drawn", volume, told[UNIT], subject, seed)
    rows += by_unit(name, "volume_error", FOUND, found - volume, told[UNIT], subject, seed)
    for measure, which, of in (("missed", state == MISSED, drawn), ("only_found", state == ONLY_FOUND, absent)):
        share = share_of(which.to_numpy()[of], np.ones(int(of.sum())), subject[of])
        rows.append(told_row(name, measure, FOUND, share, int(of.sum()), subject[of]))
    return rows + (_of_lesions(told, name, seed) if f"{name}:lesions" in told else [])


def _of_lesions(told: pd.DataFrame, name: str, seed: int) -> list[dict[str, Any]]:
    """Shares of all lesions, of those who have some; false ones an image; how much is marked of images with lesions."""
    lesions = numbers_of(told[f"{name}:lesions"]).astype(int)
    subject, there = told["subject"], lesions > 0
    rows = []
    for measure in ("lesions_found", "lesions_found_well", "lesions_merged"):
        share = share_of(numbers_of(told[f"{name}:{measure}"]).astype(int), lesions, subject)
        rows.append(told_row(name, measure, FOUND, share, int(lesions.sum()), subject[there]))
    false = numbers_of(told[f"{name}:false_lesions"])
    rows.append(row(name, FALSE, FOUND, false, subject, seed))
    marked = np.where(there, numbers_of(told[f"{name}:marked"]), np.nan)
    rows.append(row(name, "marked", FOUND, marked, subject, seed, "%"))
    return rows


def _of_all(told: pd.DataFrame, labels: Labels, seed: int) -> list[dict[str, Any]]:
    """Dice in the mean over the classes that each image has."""
    if len(labels.names) < 2:
        return []
    drawn = np.array([told[f"{name}:state"].isin([BOTH, MISSED]) for name in labels.names])
    columns = {FOUND: "dice", **{floor: f"dice of {floor}" for floor in _floors(told, labels.names[0])}}
    rows = []
    for of, column in columns.items():
        each = np.where(drawn, np.array([numbers_of(told[f"{name}:{column}"]) for name in labels.names]), np.nan)
        rows.append(row(ALL, "dice", of, row_means(each), told["subject"], seed))
    return rows


def _floors(told: pd.DataFrame, name: str) -> list[str]:
    return [floor for floor in (PLACE, BRIGHTNESS) if f"{name}:dice of {floor}" in told]


def numbers_of(column: "pd.Series[Any]") -> np.ndarray:
    """A column as numbers; NaN where it is empty."""
    return pd.to_numeric(column, errors="coerce").to_numpy(float)


def row_means(values: np.ndarray) -> np.ndarray:
    """Means (n,) over the first axis of what is known; NaN where nothing is."""
    known = np.isfinite(values)
    total = np.where(known, values, 0).sum(0)
    return np.where(known.any(0), total / np.maximum(known.sum(0), 1), np.nan)


def by_unit(
    name: str, measure: str, of: str, values: np.ndarray, units: "pd.Series[Any]", subject: "pd.Series[Any]", seed: int
) -> list[dict[str, Any]]:
    """A row of figures (n,) for each unit that they are told in; 3 mm and 40 pixels have no mean."""
    known = sorted({*units[np.isfinite(values)].astype(str)})
    every = sorted({*units.astype(str)})
    return [
        row(name, measure, of, np.where(units == unit, values, np.nan), subject, seed, unit)
        for unit in known or (every if len(every) == 1 else [""])
    ]


def row(
    name: str, measure: str, of: str, values: np.ndarray, subject: "pd.Series[Any]", seed: int, unit: str = ""
) -> dict[str, Any]:
    """The mean of figures (n,), NaN left out, with its interval by subject."""
    known = np.isfinite(values)
    estimate = mean_of(values, subject.to_numpy(), seed)
    return told_row(name, measure, of, estimate, int(known.sum()), subject[known], unit)


def told_row(
    name: str, measure: str, of: str, estimate: Estimate, count: int, subject: Iterable[Any], unit: str = ""
) -> dict[str, Any]:
    """A row of the table."""
    return {
        "class": name, "measure": measure, "of": of, "value": estimate.value, "low": estimate.low,
        "high": estimate.high, "unit": unit, "n": count, "subjects": len({*subject}), "method": estimate.method,
    }  # fmt: skip
