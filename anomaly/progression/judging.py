"""How near forecasts come: growth told from shrinkage, the error of the volume, and which pixels change."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from anomaly.progression.floors import FLOORS, LAID, MAJORITY, reaching
from anomaly.progression.forecasting import Forecast
from anomaly.progression.reading import Pair
from anomaly.statistics import bootstrap
from anomaly.statistics.estimates import FEWEST_PERSONS

DRAWN = "drawn"
"""What a forecaster says, beside its floors."""
WAYS = ("growing", "shrinking")
DICES = tuple(f"dice_{way}" for way in WAYS)
POOLED = tuple(f"pooled_{dice}" for dice in DICES)
OVERLAPS = tuple(f"{what}_{way}" for way in WAYS for what in ("dice", "hit", "said"))
"""What is kept of the pixels that change in each pair: Dice, twice those told rightly, and those told and true."""
HIGHER = ("accuracy", *DICES, *POOLED)
COMPARED = ("accuracy", "absolute_error", *DICES, *POOLED)
Row = dict[str, object]


def overlaps(pair: Pair, told: Forecast, changes: Mapping[str, float], threshold: float) -> dict[str, float]:
    """`OVERLAPS` of the pixels that become disease, and of those that stop being it, of the forecast and of each floor.

    Dice is NaN where nothing grew, or shrank, in truth; what is told there falsely counts in that of all pairs.
    """
    now, then = ((each > threshold) & pair.counted for each in (pair.before, pair.after))
    maps = {DRAWN: (told.after > threshold) & pair.counted}
    for name in LAID:
        pixels = round((told.volume + changes[name]) / pair.voxel)
        maps[name] = now if changes[name] == 0 else reaching(now, pixels, pair.counted, pair.image.edges)
    found: dict[str, float] = {}
    for name, each in maps.items():
        both = ((each & ~now, then & ~now), (now & ~each, now & ~then))
        for way, (drawn, true) in zip(WAYS, both, strict=True):
            found[f"{name}_dice_{way}"] = overlap(drawn, true)
            found[f"{name}_hit_{way}"] = 2 * int((drawn & true).sum())
            found[f"{name}_said_{way}"] = int(drawn.sum() + true.sum())
    return found


def overlap(found: np.ndarray, truth: np.ndarray) -> float:
    """Dice of two masks; NaN where there is nothing to find."""
    if not truth.any():
        return float("nan")
    return float(2 * (found & truth).sum() / (found.sum() + truth.sum()))


def right(change: np.ndarray, truth: np.ndarray, least: float) -> np.ndarray:
    """1 where growth or shrinkage was told, 0 where the other, half where no change; NaN where nothing much changed.

    Args:
        change: as predicted, (n,).
        truth: what came, (n,).
        least: changes of this size or smaller are neither.
    """
    told = (np.sign(change) * np.sign(truth) + 1) / 2
    return np.where(np.abs(truth) > least, told, np.nan)


def summary(found: pd.DataFrame, grow: int, *, least: float = 0.0, seed: int = 0) -> pd.DataFrame:
    """Figures with 95 % intervals, by drawing persons anew, of the forecast and of each floor.

    Args:
        found: the table of pairs: subject, true_change, `NAME_change` and `OVERLAPS` of each way, change_low and
            change_high.
        grow: what most persons of the training did, 1 or -1.
        least: changes of this size or smaller are neither growth nor shrinkage, and Dice is of pairs that change by
            more (of 0, of all); that of all pairs together counts what is told falsely in every one.
        seed: of the bootstrap.

    Returns:
        Rows of version, measure, value, low, high, n, subjects, method. `drawn - FLOOR` is the difference from the
        floor that is best in that measure. Of fewer than 10 persons there is no interval, and method says so.
    """
    truth = found["true_change"].to_numpy(float)
    subject = found["subject"].to_numpy()
    rows: list[Row] = []
    for measure in (*COMPARED, "volume_error"):
        ways, of = _values(found, truth, grow, least, measure), _pooled if measure in POOLED else _mean
        rows += [_row(name, measure, values, subject, seed, of) for name, values in ways.items()]
        if measure == "volume_error":
            rows += [_row(name, f"{measure}_sd", values, subject, seed, _sd) for name, values in ways.items()]
        if measure in COMPARED:
            rows += _against_best(measure, ways, rows, subject, seed)
    low, high = (pd.to_numeric(found[name]).to_numpy(float) for name in ("change_low", "change_high"))
    held = np.where(np.isfinite(low), (truth >= low) & (truth <= high), np.nan)
    rows += [_row(DRAWN, "coverage", held, subject, seed), _row(DRAWN, "width", high - low, subject, seed)]
    return pd.DataFrame([row for row in rows if row["n"]])


def _against_best(
    measure: str, ways: Mapping[str, np.ndarray], rows: Sequence[Row], subject: np.ndarray, seed: int
) -> list[Row]:  # fmt: skip
    """The difference from the floor that is best in a measure; nothing where no pair tells it."""
    means: dict[str, float] = {
        str(row["version"]): float(row["value"])  # type: ignore[arg-type]
        for row in rows if row["measure"] == measure and row["version"] != DRAWN and row["n"]
    }  # fmt: skip
    if not means:
        return []
    best = max(means, key=lambda name: means[name] if measure in HIGHER else -means[name])
    title = f"{DRAWN} - {best}"
    if measure in POOLED:
        both = np.concatenate([ways[DRAWN], ways[best]], axis=1)
        return [_row(title, measure, both, subject, seed, lambda w, v: _pooled(w, v[:, :2]) - _pooled(w, v[:, 2:]))]
    return [_row(title, measure, ways[DRAWN] - ways[best], subject, seed)]


def _values(found: pd.DataFrame, truth: np.ndarray, grow: int, least: float, measure: str) -> dict[str, np.ndarray]:
    """A measure of each pair, (n,), by the forecast and each floor that says it; of pooled Dice both parts, (n, 2)."""
    ways: Sequence[str] = (DRAWN, *(FLOORS if measure == "accuracy" else LAID))
    values: dict[str, np.ndarray] = {}
    for name in ways:
        if measure in POOLED:
            way = measure.rsplit("_", 1)[1]
            values[name] = np.column_stack([found[f"{name}_{each}_{way}"].to_numpy(float) for each in ("hit", "said")])
            continue
        if measure in DICES:
            dice = pd.to_numeric(found[f"{name}_{measure}"]).to_numpy(float)
            values[name] = np.where((np.abs(truth) > least) | (least == 0), dice, np.nan)
            continue
        change = np.full(len(truth), float(grow)) if name == MAJORITY else found[f"{name}_change"].to_numpy(float)
        off = change - truth
        by_measure = {"accuracy": right(change, truth, least), "volume_error": off, "absolute_error": np.abs(off)}
        values[name] = by_measure[measure]
    return values


def _row(
    version: str, measure: str, values: np.ndarray, subject: np.ndarray, seed: int,
    statistic: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
) -> Row:  # fmt: skip
    there = np.isfinite(values.reshape(len(values), -1)).all(1)
    count = {"n": int(there.sum()), "subjects": len(set(subject[there]))}
    if not there.any() or (measure in POOLED and not values[:, 1].any()):
        return {"version": version, "measure": measure, **count, "n": 0}
    known, of = values[there], statistic or _mean
    mean = bootstrap(lambda w: of(w, known), subject[there], np.zeros(there.sum()), seed=seed)
    few = f"no interval: {count['subjects']} persons; {FEWEST_PERSONS} are needed"
    ends = (np.nan, np.nan, few) if count["subjects"] < FEWEST_PERSONS else (mean.low, mean.high, mean.method)
    told = dict(zip(("value", "low", "high"), (mean.value, *ends[:2]), strict=True))
    return {"version": version, "measure": measure, **told, **count, "method": ends[2]}


def _pooled(w: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """Dice of all pairs together under weights (B, n): what was told rightly over what was told and true, (n, 2)."""
    sums = w @ parts
    return np.asarray(sums[:, 0] / np.where(sums[:, 1] > 0, sums[:, 1], np.nan))


def _mean(w: np.ndarray, values: np.ndarray) -> np.ndarray:
    return np.asarray(w @ values / w.sum(1))


def _sd(w: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Standard deviation under weights (B, n)."""
    mean = _mean(w, values)
    spread = np.maximum(_mean(w, values**2) - mean**2, 0)
    many = w.sum(1)
    return np.asarray(np.sqrt(spread * many / np.maximum(many - 1, 1)))
