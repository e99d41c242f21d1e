"""How frequent the outcome is in thirds of the score, whatever shape the odds have."""

import numpy as np
import pandas as pd

from anomaly import statistics
from anomaly.errors import EvaluationError
from anomaly.evaluation.gathering import ALONE, Gathered
from anomaly.evaluation.section import Section, ends
from anomaly.pictures import figures
from anomaly.statistics import Estimate
from anomaly.statistics.estimates import between

THIRDS = ("low", "middle", "high")


def in_thirds(data: Gathered, sign: str) -> Section | None:
    """The share of images with the outcome in each third of each score."""
    rows = [row for name in data.names if name != ALONE for row in _rows(data, name)]
    if not rows:
        return None
    table = pd.DataFrame(rows)
    shares = [_percent(row) for row in rows if row["score"] == data.names[0]]
    sentences = []
    if shares:
        sentences = [
            f"Of the third of the images with the lowest scores {shares[0]} have {sign}, of the middle third "
            f"{shares[1]}, of the highest {shares[2]}."
        ]
    methods = "; ".join(table["method"].unique())
    caption = f"Share of the images of each third of the score with the outcome, with 95 % interval: {methods}."
    labels = [f"{row['score']}, {row['third']} third" for row in rows]
    numbers, all_of_them = table[["share", "share_low", "share_high"]].to_numpy(), float(data.event.mean())
    drawn = figures.forest(labels, numbers, f"Share with {sign}", none=all_of_them)
    return Section("thirds", "In thirds of the score", sentences, caption, table, drawn)


def _rows(data: Gathered, name: str) -> list[dict[str, object]]:
    has = data.images[name].notna().to_numpy()
    images, subject = data.rows(has)
    try:
        part = statistics.thirds(images[name])
    except EvaluationError as error:
        data.notes.append(f"{name} was not cut into thirds: {error}.")
        return []
    rows = []
    for third in THIRDS:
        inside = part == third
        event, score = images["outcome"].to_numpy()[inside], images[name].to_numpy()[inside]
        whose = None if subject is None else np.asarray(subject)[inside]
        share = statistics.proportion(event, whose)
        about = {"score": name, "third": third, "from": score.min(), "to": score.max(), "n": event.size}
        rows.append(about | {"events": int(event.sum())} | ends("share", share) | {"method": share.method})
    return rows


def _percent(row: dict[str, object]) -> str:
    value, low, high = (100 * float(row[name]) for name in ("share", "share_low", "share_high"))  # type: ignore[arg-type]
    return f"{value:.0f} % ({between(low, high, '.0f')})"


def bend_of(event: np.ndarray, score: np.ndarray, covariates: pd.DataFrame | None, subject: np.ndarray | None) -> float:
    """The p-value of a bend of the log-odds along the score; NaN where it cannot be tested."""
    try:
        found: Estimate = statistics.bend(event, score, covariates, subject)
    except EvaluationError:
        return float("nan")
    return found.p_value


def odds_told(event: np.ndarray, score: np.ndarray, covariates: pd.DataFrame | None, subject: np.ndarray | None) -> str:
    """The odds of the higher thirds against the lowest, as they stand in a sentence; "" where they cannot be told."""
    try:
        found = statistics.odds_in_thirds(event, score, covariates, subject)
    except EvaluationError:
        return ""
    middle, high = (
        f"{each.value:.2g} times ({between(each.low, each.high, '.2g')})" for each in (found.middle, found.high)
    )
    return f": against the lowest third of the scores they are {middle} in the middle third and {high} in the highest"
