"""Figures of a translation, each with its interval by subject, as a table and in plain words."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from scipy.stats import t as student

TRANSLATED, UNCHANGED, STRANGER, TRUTH = "translated", "unchanged", "somebody else", "truth"


@dataclass(frozen=True)
class Figure:
    """One number of one way to draw the heap.

    Args:
        measure: its name.
        of: the way: "translated", the floors "unchanged", "moments", "histogram"; and what bounds a measure.
        value, low, high: with its interval of 95 % by subject; NaN where there is none.
        images, subjects: it was computed from.
        note: how, and what to mind.
    """

    measure: str
    of: str
    value: float
    low: float = float("nan")
    high: float = float("nan")
    images: int = 0
    subjects: int = 0
    note: str = ""

    def __str__(self) -> str:
        if not np.isfinite(self.value):
            return "(too few people to say)"
        between = f" ({self.low:.3f} to {self.high:.3f})" if np.isfinite(self.low) else ""
        return f"{self.value:.3f}{between}"


def mean_of_subjects(measure: str, of: str, values: np.ndarray, subjects: np.ndarray, note: str = "") -> Figure:
    """The mean over subjects of the means of their images, with Student's interval; images without a value left out."""
    told = np.isfinite(values)
    names, which = np.unique(subjects[told], return_inverse=True)
    if not len(names):
        return Figure(measure, of, float("nan"), note=f"{note}; no image tells it".lstrip("; "))
    means = np.bincount(which, values[told]) / np.bincount(which)
    mean, count = float(means.mean()), len(names)
    step = float(student.ppf(0.975, count - 1) * means.std(ddof=1) / np.sqrt(count)) if count > 1 else float("nan")
    return Figure(measure, of, mean, mean - step, mean + step, int(told.sum()), count, note)


def tabulated(figures: Iterable[Figure]) -> pd.DataFrame:
    """A row each, as `translation.csv` holds them."""
    return pd.DataFrame([asdict(each) for each in figures])


def named(figures: Iterable[Figure], measure: str) -> dict[str, Figure]:
    """Those of one measure by the way of drawing."""
    return {each.of: each for each in figures if each.measure == measure}
