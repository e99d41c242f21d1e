"""Paired differences of two segmentations of the same images, one less the other, with intervals by subject."""

from typing import Any

import numpy as np
import pandas as pd

from anomaly.evaluation.beside import ratio_of
from anomaly.images.labels import Labels
from anomaly.segmentation.judging import BOTH, DISTANCES, MISSED, NEITHER, ONLY_FOUND
from anomaly.segmentation.summing import ALL, DISTANCE_UNIT, FALSE, UNIT, by_unit, numbers_of, row, row_means, told_row

OF = "difference"


def differences(one: pd.DataFrame, other: pd.DataFrame, labels: Labels, *, seed: int = 0) -> pd.DataFrame:
    """Mean differences, one less the other; columns as of `summary`.

    Distances are compared in images in which both found the class, so whoever misses it where it is hard does well
    there: their `n` stands beside that of Dice, and `missed` says what either left out.

    Args:
        one, other: tables of figures, a row an image.
        labels: the classes.
        seed: of the bootstrap.
    """
    both = one.merge(other, on="path", suffixes=("", " other"))
    rows: list[dict[str, Any]] = []
    for name in labels.names:
        rows += _of_class(both, name, seed)
    if len(labels.names) > 1:
        dice = row_means(np.array([_dice(both, name) for name in labels.names]))
        rows.append(row(ALL, "dice", OF, dice, both["subject"], seed))
        for measure in DISTANCES:
            each = row_means(np.array([_less(both, f"{name}:{measure}") for name in labels.names]))
            rows += by_unit(ALL, measure, OF, each, both[DISTANCE_UNIT], both["subject"], seed)
    return pd.DataFrame(rows)


def _of_class(both: pd.DataFrame, name: str, seed: int) -> list[dict[str, Any]]:
    state, subject = both[f"{name}:state"], both["subject"]
    rows = [row(name, "dice", OF, _dice(both, name), subject, seed)]
    for measure in DISTANCES:
        rows += by_unit(name, measure, OF, _less(both, f"{name}:{measure}"), both[DISTANCE_UNIT], subject, seed)
    rows += by_unit(name, "volume_error", OF, _less(both, f"{name}:volume_found"), both[UNIT], subject, seed)
    for measure, which, of in (("missed", MISSED, [BOTH, MISSED]), ("only_found", ONLY_FOUND, [ONLY_FOUND, NEITHER])):
        ours, theirs = (both[f"{name}:state{end}"] == which for end in ("", " other"))
        each = np.where(state.isin(of), ours.astype(float) - theirs.astype(float), np.nan)
        rows.append(row(name, measure, OF, each, subject, seed))
    if {f"{name}:lesions", f"{name}:lesions other"} <= {*both}:
        lesions = numbers_of(both[f"{name}:lesions"])
        for measure in ("lesions_found", "lesions_found_well"):
            share = ratio_of(_less(both, f"{name}:{measure}"), lesions, subject.to_numpy(), seed)
            rows.append(told_row(name, measure, OF, share, int(lesions.sum()), subject[lesions > 0]))
        rows.append(row(name, FALSE, OF, _less(both, f"{name}:false_lesions"), subject, seed))
    return rows


def _dice(both: pd.DataFrame, name: str) -> np.ndarray:
    """Of images in which the class was drawn."""
    return np.where(both[f"{name}:state"].isin([BOTH, MISSED]), _less(both, f"{name}:dice"), np.nan)


def _less(both: pd.DataFrame, column: str) -> np.ndarray:
    return numbers_of(both[column]) - numbers_of(both[f"{column} other"])
