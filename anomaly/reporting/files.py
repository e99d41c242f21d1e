"""Reads the tables that scoring and evaluation share."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from anomaly.errors import EvaluationError

# Names stay text: subject 007 is not subject 7.
_TEXT_COLUMNS = {"id": str, "subject": str, "path": str, "heatmap": str}


def read_table(source: Path | pd.DataFrame, what: str) -> pd.DataFrame:
    """A CSV file, or a table already read, with ids, subjects and paths as text and rows numbered from 0."""
    if isinstance(source, pd.DataFrame):
        named = [name for name in _TEXT_COLUMNS if name in source and source[name].notna().all()]
        return source.reset_index(drop=True).astype(dict.fromkeys(named, str))
    try:
        return pd.read_csv(source, dtype=_TEXT_COLUMNS, encoding="utf-8-sig")
    except FileNotFoundError:
        raise EvaluationError(f"there is no {what} table {source}; give the path of a CSV file") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError, IsADirectoryError) as error:
        raise EvaluationError(f"{source} could not be read as a CSV table ({error}); save it as CSV") from error


def read_scores(file: Path) -> pd.DataFrame:
    """A `scores.csv` with unique ids and finite values.

    Raises:
        EvaluationError: no column id or value, ids missing or on several rows, values that are no numbers.
    """
    table = read_table(file, "scores")
    if not {"id", "value"} <= set(table):
        raise EvaluationError(f"{file} needs the columns id and value, as scoring writes; got {some(table, 12)}")
    check_unique(table["id"], str(file))
    table["value"] = pd.to_numeric(table["value"], errors="coerce").astype(float)
    bad = table.loc[~np.isfinite(table["value"]), "id"]
    if len(bad):
        raise EvaluationError(
            f"{len(bad)} of {len(table)} values in {file} are missing, NaN or infinite ({some(bad)}); "
            "score these images again or take their rows out"
        )
    return table


def check_unique(ids: pd.Series, where: str) -> None:
    """Refuse ids that are missing or stand on several rows."""
    if ids.isna().any():
        raise EvaluationError(f"{int(ids.isna().sum())} rows of {where} have no id; give each image one")
    twice = ids[ids.duplicated()].unique()
    if len(twice):
        raise EvaluationError(f"{len(twice)} ids stand on several rows of {where} ({some(twice)}); one row an image")


def some(names: Iterable[object], most: int = 3) -> str:
    """The first few of many names, for a message."""
    listed = [str(name) for name in names]
    return ", ".join(listed[:most]) + (", ..." if len(listed) > most else "")
