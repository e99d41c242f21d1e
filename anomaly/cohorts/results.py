"""Reads the tables that scoring wrote and those that stand beside them, names as text and numbers as numbers."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anomaly.errors import EvaluationError

# Names stay text: subject 007 is not subject 7, and one called NA is not missing.
_NAMES = ("id", "subject", "path", "heatmap")


def read_table(source: Path | pd.DataFrame, what: str, *, names: Iterable[str] = ()) -> pd.DataFrame:
    """A CSV or TSV file, or a table already read, with its rows numbered from 0.

    Ids, subjects, paths, heatmaps and the columns called `names` are text as it stands; only an empty cell of
    theirs is missing.

    Raises:
        EvaluationError: no such file, or one that is no table.
    """
    texts = [*_NAMES, *names]
    if isinstance(source, pd.DataFrame):
        whole = [name for name in texts if name in source and source[name].notna().all()]
        return source.reset_index(drop=True).astype(dict.fromkeys(whole, str))
    try:
        return read_csv(Path(source), texts)
    except FileNotFoundError:
        raise EvaluationError(f"there is no {what} table {source}; give the path of a CSV file") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError, IsADirectoryError) as error:
        raise EvaluationError(f"{source} could not be read as a CSV table ({error}); save it as CSV") from error


def read_csv(file: Path, texts: Iterable[str]) -> pd.DataFrame:
    """A CSV file (TSV by its ending), the columns called `texts` as text: only an empty cell of theirs is missing."""
    tab = "\t" if file.suffix.lower() == ".tsv" else ","
    settings: dict[str, Any] = {"sep": tab, "encoding": "utf-8-sig", "skipinitialspace": True}
    table = pd.read_csv(file, **settings)
    # A second time for the names alone, since pandas takes NA and None for missing in all columns or in none.
    chosen = set(texts)
    kept = pd.read_csv(file, usecols=lambda name: name in chosen, dtype=str, keep_default_na=False, **settings)
    for name in kept:
        table[name] = kept[name].where(kept[name] != "")
    return table


def read_scores(file: Path, *, names: Iterable[str] = ()) -> pd.DataFrame:
    """A `scores.csv` with unique ids and finite values; `names` as in `read_table`.

    Raises:
        EvaluationError: no column id or value, ids missing or on several rows, values that are no numbers.
    """
    table = read_table(file, "scores", names=names)
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


def read_facts(file: Path) -> dict[str, Any]:
    """The facts of a JSON file; none where the file is absent.

    Raises:
        EvaluationError: the file is not JSON.
    """
    if not file.is_file():
        return {}
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise EvaluationError(f"{file} is not valid JSON ({error}); delete it or make it again") from error
    return found if isinstance(found, dict) else {}


def scored_trained(scores: Path) -> bool:
    """Whether a `scores.csv` was made with subjects of training let in, as the `score.json` beside it says."""
    return bool(read_facts(scores.parent / "score.json").get("allow_overlap"))


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
