"""A map beside maps that take no method: their figures in one table, the difference from each, and one sentence."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from anomaly.evaluation.section import ends, interval
from anomaly.statistics import Estimate, bootstrap, proportion
from anomaly.statistics.estimates import FEWEST_PERSONS, groups_of, persons

NONE = "no interval"


def mean_of(values: ArrayLike, subject: ArrayLike, seed: int) -> Estimate:
    """The mean of figures (n,), its interval by drawing whole persons anew; those that are NaN are left out."""
    known, whose = np.asarray(values, dtype=np.float64), np.asarray(subject)
    fine = np.isfinite(known)
    return ratio_of(known[fine], np.ones(int(fine.sum())), whose[fine], seed)


def ratio_of(part: np.ndarray, whole: np.ndarray, subject: np.ndarray, seed: int) -> Estimate:
    """The sum of one figure (n,) over the sum of another, such as lesions found of all; its interval by person.

    With fewer than ten persons who add to it there is no interval.
    """
    if not np.any(whole > 0):
        return Estimate(float("nan"), float("nan"), float("nan"), "none is known")
    value, reason = float(part.sum() / whole.sum()), too_few(subject[whole > 0])
    if reason:
        return Estimate(value, float("nan"), float("nan"), reason)
    return drawn(lambda weights: (weights @ part) / np.maximum(weights @ whole, 1e-300), subject, seed)


def share_of(part: ArrayLike, whole: ArrayLike, subject: ArrayLike) -> Estimate:
    """Such as lesions found of all, numbers (n,) an image; Wilson's interval, persons counted together."""
    found, of = (np.asarray(each, dtype=np.int64) for each in (part, whole))
    if not of.any():
        return Estimate(float("nan"), float("nan"), float("nan"), "none is known")
    hits = np.concatenate([np.arange(total) < some for some, total in zip(found, of, strict=True)])
    whose = np.repeat(np.asarray(subject), of)
    reason = too_few(whose)
    return Estimate(float(hits.mean()), np.nan, np.nan, reason) if reason else proportion(hits, whose)


def drawn(statistic: Any, subject: np.ndarray, seed: int) -> Estimate:
    """The interval of a figure of images by drawing whole persons anew, all in one urn.

    Where every draw gives the same, as where all have the highest figure there is, that is no interval.
    """
    found = bootstrap(statistic, subject, np.ones(len(subject)), seed=seed)
    if found.low < found.high:
        return found
    return Estimate(found.value, float("nan"), float("nan"), "the same whoever is drawn")


def too_few(subject: ArrayLike) -> str:
    """Why images of these persons (n,) allow no interval; nothing where they do."""
    count = persons(groups_of(subject, np.size(np.asarray(subject))))
    return "" if count >= FEWEST_PERSONS else f"{NONE}: {count} persons; {FEWEST_PERSONS} are needed"


def held(
    figure: str,
    count: int,
    values: Mapping[str, Estimate],
    gains: Mapping[str, Estimate],
    *,
    map: str,
    beaten: Sequence[str],
    column: str = "mean",
) -> tuple[list[dict[str, Any]], str]:
    """Rows of the table, one a map, and what a sentence says of the map and the best floor.

    Args:
        figure: its name.
        count: of images.
        values: of the map and of each floor.
        gains: the map's less that of each floor.
        map: which of them is the map.
        beaten: the floors of which the best is named.
        column: what the figures are called.
    """
    best = max(beaten, key=lambda name: values[name].value)
    rows = []
    for name, value in values.items():
        above = ends("map_above_it", gains[name]) if name in gains else {}
        row = {"figure": figure, "map": name, "n": count, **ends(column, value)}
        rows.append({**row, "best_floor": "best" if name == best else "", **above})
    gain = gains[best]
    difference = interval(gain) if np.isfinite([gain.low, gain.high]).all() else f"{gain.value:.2f}"
    return rows, f"{told(values[map])}; {best} {values[best].value:.2f}, difference {difference}"


def told(estimate: Estimate) -> str:
    """A figure as it stands in a sentence, with its interval or why persons are too few for one."""
    few = estimate.method.startswith(NONE)
    return interval(estimate) if few or np.isfinite([estimate.low, estimate.high]).all() else f"{estimate.value:.2f}"


def wide(images: pd.DataFrame, figure: str, maps: Sequence[str], map: str) -> pd.DataFrame:
    """One figure, a row an image and a column a map: images where the map has it, and those floors that all have."""
    if figure not in images:
        return pd.DataFrame()
    found = images.pivot(index="id", columns="map", values=figure)
    found = found[found[map].notna()]
    return found[[name for name in maps if name in found and found[name].notna().all()]].copy()
