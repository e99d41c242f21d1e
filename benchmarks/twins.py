"""Simulated knees with and without their lesions, as the benchmarks of explanations take them."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from anomaly.images import read
from anomaly.images.preprocessing import Preprocessing
from anomaly.simulation import simulate


def twins(folder: Path, *, persons: int, size: int, **more: Any) -> pd.DataFrame:
    """One visit of so many persons, simulated now or before: a row a knee, its twin and its masks by whole paths."""
    made = simulate("knees", folder, persons=persons, size=size, image_months=(0,), twins=True, **more)
    table = pd.read_csv(made, dtype={"subject": str})
    for column in ("path", "twin", "masks"):
        table[column] = [str((folder / name).resolve()) for name in table[column]]
    return table


def halves(table: pd.DataFrame, people: np.ndarray, share: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The knees of the first share of these people, to learn from, and those of the others, to report on."""
    to_learn = table["subject"].isin(people[: round(share * len(people))])
    return table[to_learn].reset_index(drop=True), table[~to_learn].reset_index(drop=True)


def prepared(size: int) -> Preprocessing:
    """Intensities keep the scale of the file, so that a knee and its twin differ in lesions alone."""
    return Preprocessing(size=size, intensity="range")


def pixels(paths: "pd.Series[str]", preprocessing: Preprocessing) -> torch.Tensor:
    """Prepared images (n, 1, size, size)."""
    return torch.from_numpy(np.concatenate([preprocessing.apply(read(Path(path))).pixels for path in paths]))
