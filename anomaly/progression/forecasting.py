"""What a forecaster says of one person: the map of the next visit on the grid of its file, and volumes."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from anomaly.errors import UnreadableImage
from anomaly.evolution.evolving import Evolving
from anomaly.progression.reading import Pair, Reading, read_pair
from anomaly.streams import ordered

DRAWS = 10
"""Draws whose mean is given, and whose spread."""
AHEAD = 4
BEYOND = 0.1
"""By what share of them a time may lie beyond the intervals that were learned from."""


@dataclass(frozen=True)
class Forecast:
    """What is predicted of one person.

    Args:
        change: how the map changes, on the grid of its file, (*space) in [-1, 1]; the mean of the draws.
        after: the map of the next visit, now + change, (*space) in [0, 1].
        volume, predicted_volume: what lies above the threshold now, and is to.
        spread: standard deviation over draws of the predicted volume; 0 of a method without noise.
    """

    change: np.ndarray
    after: np.ndarray
    volume: float
    predicted_volume: float
    spread: float


def forecast(learned: Evolving, pair: Pair, years: float, name: str, draws: int = DRAWS) -> Forecast:
    """Predict the next visit of one person; depends on nothing but the pair's first visit, years and name.

    Raises:
        UnreadableImage: the pair has another shape, prepared, than those learned from.
    """
    x = torch.from_numpy(pair.pixels)
    if (x.shape[1] - 2, *x.shape[2:]) != learned.shape_:
        raise UnreadableImage(f"{pair.image.path}: has shape {tuple(x.shape[2:])} once prepared, unlike the training's")
    drawn = learned.forecast(x, torch.full((len(x),), years), [name] * len(x), draws).numpy()
    change = pair.prepared.restore(np.ascontiguousarray(drawn.mean(0)))
    after = np.where(pair.counted, (pair.before + change).clip(0, 1), pair.before).astype(np.float32)
    ends = (drawn + pair.pixels[None, :, :1]) > learned.threshold
    sizes = (ends & pair.prepared.foreground[None]).reshape(len(drawn), -1).sum(1) * pair.cell
    spread = float(sizes.std(ddof=1)) if len(sizes) > 1 else 0.0
    before, then = (size_of(each, pair, learned.threshold) for each in (pair.before, after))
    return Forecast(after - pair.before, after, before, then, spread)


def size_of(values: np.ndarray, pair: Pair, threshold: float) -> float:
    """The volume of what lies above the threshold in a map (*space), and counts."""
    return float(np.count_nonzero((values > threshold) & pair.counted)) * pair.voxel


def figures(learned: Evolving, pair: Pair, told: Forecast) -> dict[str, float]:
    """What the table says of a pair whose next visit is known."""
    after = size_of(pair.after, pair, learned.threshold)
    return {
        "volume": told.volume, "predicted_volume": told.predicted_volume,
        "change": told.predicted_volume - told.volume, "spread": told.spread,
        "true_volume": after, "true_change": after - told.volume, **seen_now(pair, learned.threshold),
    }  # fmt: skip


def seen_now(pair: Pair, threshold: float) -> dict[str, float]:
    """What a plain regression may go by: how sure the map is within the disease, and how bright the image is there."""
    inside = (pair.before > threshold) & pair.counted
    if not inside.any():
        return {"sureness": 0.0, "brightness": 0.0}
    rest = pair.counted & ~inside
    wide = float(pair.seen[pair.counted].std()) or 1.0
    apart = float(pair.seen[inside].mean()) - (float(pair.seen[rest].mean()) if rest.any() else 0.0)
    return {"sureness": float(pair.before[inside].mean()), "brightness": apart / wide}


def read_pairs(
    rows: Sequence[Mapping[str, Any]], reading: Reading, pool: ThreadPoolExecutor, *, known: bool = True
) -> Iterator[tuple[Mapping[str, Any], Pair | UnreadableImage]]:
    """Each row with its pair, read ahead in threads, or why it cannot be used."""

    def one(row: Mapping[str, Any]) -> tuple[Mapping[str, Any], Pair | UnreadableImage]:
        try:
            return row, read_pair(row, reading, known=known)
        except UnreadableImage as error:
            return row, error

    yield from ordered(pool, one, rows, ahead=AHEAD)


def refuse_years(years: float, spans: Sequence[float], timed: bool, path: str) -> None:
    """Say plainly when a time lies beyond what was learned of.

    Raises:
        UnreadableImage: so.
    """
    low, high = spans
    if not np.isfinite(years):
        raise UnreadableImage(f"{path}: nothing says how many years lie before its next visit; give them")
    if years < low * (1 - BEYOND) or years > high * (1 + BEYOND):
        learned = f"{low:g} to {high:g}" if timed else f"about {low:g}"
        raise UnreadableImage(f"{path}: {years:g} years lie between its visits, and {learned} were learned from")
