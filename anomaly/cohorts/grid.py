"""The table beside the scores that says where maps depart, and how large and bright the images were: `grid.csv`."""

import io
from pathlib import Path

import pandas as pd

from anomaly.cohorts.beside import Beside
from anomaly.cohorts.results import check_unique
from anomaly.errors import EvaluationError

SIDE = 8
"""Cells along each side of the grid."""
CELLS = tuple(f"cell_{row}_{column}" for row in range(1, SIDE + 1) for column in range(1, SIDE + 1))
SIZES = ("size_1", "size_2", "size_3")
INTENSITIES = ("border_intensity", "mean_intensity")
GRID = Beside("grid", ("id", *CELLS, *SIZES, *INTENSITIES))


def read_grid(folder: Path) -> pd.DataFrame | None:
    """The table of a folder of scores, by id; its shards where they were not joined, None where there is none.

    Raises:
        EvaluationError: it lacks columns, holds what is no number, or has ids on several rows.
    """
    whole = folder / f"{GRID.stem}.csv"
    files = [whole] if whole.is_file() else sorted(folder.glob(f"{GRID.stem}-*-of-*.csv"))
    if not files:
        return None
    numbers = list(GRID.columns[1:])
    content = io.BytesIO(b"".join(file.read_bytes() for file in files))
    empty = {name: ["", "nan"] for name in numbers}  # ids are text: one called NA is not missing
    try:
        table = pd.read_csv(content, dtype={"id": str}, keep_default_na=False, na_values=empty).set_index("id")
        found = table[numbers].astype(float)
    except (ValueError, KeyError) as error:  # what pandas says of text among numbers, and of columns that lack
        raise EvaluationError(
            f"{files[0]} is not as scoring writes it ({error}); score the images again, into a new --out"
        ) from error
    check_unique(pd.Series(found.index), str(files[0]))
    return found
