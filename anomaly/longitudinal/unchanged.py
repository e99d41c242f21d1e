"""Who did not change: persons who are known to be stable, rescans, or, in want of these, those without the outcome."""

import numpy as np
import pandas as pd

from anomaly.cohorts import joining
from anomaly.cohorts.results import plain_text
from anomaly.errors import EvaluationError
from anomaly.longitudinal.question import Question

_YES = ("1", "True", "true", "yes", "Yes")


def marked(table: pd.DataFrame, stable: str) -> tuple[np.ndarray, np.ndarray]:
    """Rows (n,) that `COLUMN` or `COLUMN=VALUE` calls stable, and rows at which that column is filled.

    Raises:
        EvaluationError: there is no such column, or it never has this value.
    """
    name, equals, value = stable.partition("=")
    joining.require(table, [name])
    text = table[name].map(plain_text).where(table[name].notna(), "")
    found = (text == value.strip() if equals else text.isin(_YES)).to_numpy()
    if not found.any():
        wanted = value if equals else "1"
        raise EvaluationError(
            f"{name!r} is {wanted} in none of {len(table)} images with a score; it holds "
            f"{', '.join(sorted(set(text))[:6])}: name who did not change as COLUMN=VALUE"
        )
    return found, (text != "").to_numpy()


def rescans(table: pd.DataFrame, unit: np.ndarray, time: np.ndarray, stable: str | None) -> np.ndarray:
    """Images (n,) that are repeats of the one before: those marked where the first image of the same unit is not."""
    again = np.zeros(len(table), bool)
    if stable is None:
        return again
    found, _ = marked(table, stable)
    first = (time == 0) & (unit >= 0)
    whole = np.isin(unit, unit[first & found])
    again[found & ~whole & ~first] = True
    return again


def unchanged(
    table: pd.DataFrame,
    images: pd.DataFrame,
    nearest: pd.DataFrame,
    again: np.ndarray,
    question: Question,
) -> tuple[pd.DataFrame, str]:
    """Pairs of images, each beside the one before, of what did not change, and where that is known from, in words."""
    if question.stable is not None:
        found, _ = marked(table, question.stable)
        first = images["time"].to_numpy() == 0
        whole = np.isin(images["unit"], images["unit"][first & found])
        chosen = again[nearest["row"]] | whole[nearest["row"]]
        kind = "rescans" if again.any() and not (whole & found).any() else "images of persons who did not change"
        return nearest[chosen].reset_index(drop=True), f"{kind}, as {question.stable} says"
    if question.outcome is None:
        return nearest[:0], ""
    chosen = (nearest["outcome"] == 0).to_numpy()
    return nearest[chosen].reset_index(drop=True), (
        f"those without {question.sign}, who may have changed all the same: real change among them makes it too large. "
        "Name rescans, or persons known to be stable, by --stable"
    )
