"""Reads the tables that scoring wrote and those that stand beside them, names as text and numbers as numbers."""

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anomaly.cohorts.cells import INVISIBLE, retyped, without
from anomaly.cohorts.sheets import NoTable, read_sheet, refuse_twice
from anomaly.errors import EvaluationError

PATH_COLUMNS = ("path", "image", "file", "filename")
"""What the column of files may be called, the first that is there counts."""
# Names stay text: subject 007 is not subject 7, and one called NA is not missing.
_NAMES = ("id", "subject", "heatmap", *PATH_COLUMNS)


def read_table(
    source: Path | pd.DataFrame, what: str, *, names: Iterable[str] = (), missing: Sequence[str] = ()
) -> pd.DataFrame:
    """A table from a file (see `sheets.read_sheet`), or one already read, with its rows numbered from 0.

    Ids, subjects, paths, heatmaps and the columns called `names` are text as it stands; only an empty cell of
    theirs is missing. Where there is no column `path`, it is a copy of `image`, `file` or `filename`.

    Args:
        source: the file or the table.
        what: is it, for messages.
        names: columns of names.
        missing: what counts as missing in all other columns, such as "-9"; `attrs["missing"]` counts such cells.

    Raises:
        EvaluationError: no such file, or one that is no table; two columns of one name.
    """
    texts = [*_NAMES, *names]
    missing = [str(code).strip() for code in (missing.split(",") if isinstance(missing, str) else missing)]
    try:
        if isinstance(source, pd.DataFrame):
            refuse_twice(source)
            table = _told(source.reset_index(drop=True), texts, missing)
        else:
            table = read_sheet(Path(source), texts, missing)
    except FileNotFoundError:
        raise EvaluationError(f"there is no {what} table {source}; give the path of a CSV file") from None
    except (ValueError, OSError, EOFError) as error:
        name = f"the {what} table" if isinstance(source, pd.DataFrame) else source
        told = str(error) if isinstance(error, NoTable) else f"{error}; save it as CSV"
        raise EvaluationError(f"{name} could not be read as a table: {told}") from error
    other = next((name for name in PATH_COLUMNS if name in table), "path")
    return table.assign(path=table[other]) if other in table and other != "path" else table


def _told(table: pd.DataFrame, texts: Iterable[str], missing: Sequence[str]) -> pd.DataFrame:
    """A table in memory with its names as text, and without what counts as missing."""
    names = {name for name in texts if name in table}
    named = {name: table[name].map(plain_text).where(table[name].notna()) for name in names}
    coded = {} if not len(missing) else {name: without(table[name], missing) for name in table if name not in names}
    lost = {name: int((column.isna() & table[name].notna()).sum()) for name, column in coded.items()}
    changed = {name: retyped(column) for name, column in coded.items() if lost[name]}
    found = table.assign(**{str(name): column for name, column in (named | changed).items()})
    found.attrs["missing"] = {str(name): count for name, count in lost.items() if count}
    return found


def plain_text(value: object) -> str:
    """A value as a person would type it: 1 for 1.0."""
    whole = isinstance(value, float) and value.is_integer()
    return str(int(value)) if whole else str(value).strip(INVISIBLE)  # type: ignore[call-overload]


def safe_id(name: str) -> str:
    """An id as files are called by it: what file names cannot hold, blanks and slashes too, becomes `_`."""
    return re.sub(r"[^\w.+=@-]", "_", name.strip(INVISIBLE)).lstrip(".") or "_"


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


def number(count: int, what: str) -> str:
    """So many of something, in words: 1 person, 2 persons."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
