"""Means over images with intervals by subject, of what was found, of floors, and of differences."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from anomaly.evaluation.beside import mean_of, ratio_of, share_of
from anomaly.images.labels import Labels
from anomaly.segmentation.floors import BRIGHTNESS, PLACE
from anomaly.segmentation.judging import BOTH, DISTANCES, MISSED, NEITHER, ONLY_FOUND
from anomaly.statistics import Estimate

ALL, FOUND = "all classes", "found"


def summary(told: pd.DataFrame, labels: Labels, *, seed: int = 0) -> pd.DataFrame:
    """Rows of class, measure, of ("found", a floor, "found - FLOOR"), value, low, high, images, subjects, method.

    Dice is over images in which the class was drawn, 0 where nothing of it was found; distances over those in which it
    was drawn and found, since a surface that is not there has no distance; `missed` is the share of the former in which
    nothing was found, `only_found` the share of images without the class in which it was. A volume's error is what was
    found less what was drawn, over all images. Of fewer than ten subjects there is no interval.

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


def differences(one: pd.DataFrame, other: pd.DataFrame, labels: Labels, *, seed: int = 0) -> pd.DataFrame:
    """Mean differences of two segmentations of the same images, one less the other; columns as of `summary`."""
    both = one.merge(other, on="path", suffixes=("", " other"))
    rows: list[dict[str, Any]] = []
    for measure in ("dice", *DISTANCES):
        means = []
        for name in labels.names:
            column = f"{name}:{measure}"
            drawn = both[f"{name}:state"].isin([BOTH, MISSED]).to_numpy()
            values = np.where(drawn, _numbers(both[column]) - _numbers(both[f"{column} other"]), np.nan)
            means.append(values)
            rows.append(_row(name, measure, "difference", values, both["subject"], seed))
        if len(labels.names) > 1:
            rows.append(_row(ALL, measure, "difference", _row_means(np.array(means)), both["subject"], seed))
    return pd.DataFrame(rows)


def _of_class(told: pd.DataFrame, name: str, seed: int) -> list[dict[str, Any]]:
    state, subject = told[f"{name}:state"], told["subject"]
    drawn, absent = state.isin([BOTH, MISSED]).to_numpy(), state.isin([ONLY_FOUND, NEITHER]).to_numpy()
    dice = np.where(drawn, _numbers(told[f"{name}:dice"]), np.nan)
    rows = [_row(name, "dice", FOUND, dice, subject, seed)]
    for floor in _floors(told, name):
        beside = np.where(drawn, _numbers(told[f"{name}:dice of {floor}"]), np.nan)
        rows.append(_row(name, "dice", floor, beside, subject, seed))
        rows.append(_row(name, "dice", f"{FOUND} - {floor}", dice - beside, subject, seed))
    rows += [_row(name, measure, FOUND, _numbers(told[f"{name}:{measure}"]), subject, seed) for measure in DISTANCES]
    volume, found = (_numbers(told[f"{name}:{each}"]) for each in ("volume", "volume_found"))
    rows.append(_row(name, "volume", "drawn", volume, subject, seed))
    rows.append(_row(name, "volume_error", FOUND, found - volume, subject, seed))
    for measure, which, of in (("missed", state == MISSED, drawn), ("only_found", state == ONLY_FOUND, absent)):
        share = share_of(which.to_numpy()[of], np.ones(int(of.sum())), subject[of])
        rows.append(_told(name, measure, FOUND, share, int(of.sum()), subject[of]))
    if f"{name}:lesions" in told:
        lesions, hits, well, false = (
            _numbers(told[f"{name}:{each}"]).astype(int)
            for each in ("lesions", "lesions_found", "lesions_found_well", "false_lesions")
        )
        for measure, some in (("lesions_found", hits), ("lesions_found_well", well)):
            rows.append(_told(name, measure, FOUND, share_of(some, lesions, subject), int(lesions.sum()), subject))
        per_image = ratio_of(false.astype(float), np.ones(len(false)), subject.to_numpy(), seed)
        rows.append(_told(name, "false_lesions_an_image", FOUND, per_image, len(false), subject))
    return rows


def _of_all(told: pd.DataFrame, labels: Labels, seed: int) -> list[dict[str, Any]]:
    """Dice in the mean over the classes that each image has."""
    if len(labels.names) < 2:
        return []
    drawn = np.array([told[f"{name}:state"].isin([BOTH, MISSED]) for name in labels.names])
    columns = {FOUND: "dice", **{floor: f"dice of {floor}" for floor in _floors(told, labels.names[0])}}
    rows = []
    for of, column in columns.items():
        each = np.where(drawn, np.array([_numbers(told[f"{name}:{column}"]) for name in labels.names]), np.nan)
        rows.append(_row(ALL, "dice", of, _row_means(each), told["subject"], seed))
    return rows


def _floors(told: pd.DataFrame, name: str) -> list[str]:
    return [floor for floor in (PLACE, BRIGHTNESS) if f"{name}:dice of {floor}" in told]


def _numbers(column: "pd.Series[Any]") -> np.ndarray:
    return pd.to_numeric(column, errors="coerce").to_numpy(float)


def _row_means(values: np.ndarray) -> np.ndarray:
    """Means (n,) over the first axis of what is known; NaN where nothing is."""
    known = np.isfinite(values)
    total = np.where(known, values, 0).sum(0)
    return np.where(known.any(0), total / np.maximum(known.sum(0), 1), np.nan)


def _row(name: str, measure: str, of: str, values: np.ndarray, subject: "pd.Series[Any]", seed: int) -> dict[str, Any]:
    known = np.isfinite(values)
    return _told(name, measure, of, mean_of(values, subject.to_numpy(), seed), int(known.sum()), subject[known])


def _told(name: str, measure: str, of: str, estimate: Estimate, count: int, subject: Iterable[Any]) -> dict[str, Any]:
    return {
        "class": name, "measure": measure, "of": of, "value": estimate.value, "low": estimate.low,
        "high": estimate.high, "n": count, "subjects": len({*subject}), "method": estimate.method,
    }  # fmt: skip
