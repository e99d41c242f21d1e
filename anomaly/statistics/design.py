"""Covariates as columns of numbers: texts coded by indicators, and what no model could use refused by name."""

import logging
import re
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from anomaly.errors import EvaluationError

_log = logging.getLogger(__name__)

# A text with more kinds than this names the images rather than describes them.
MOST_KINDS = 50
_TOLERANCE = 1e-8
_CATEGORIES = re.compile(r"C\((.+)\)")
_GROUPS = range(3, 11)
"""An integer column of so many values may well hold names of groups."""


def design(table: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Columns of a table as a model takes them: numbers as they are, each text as k - 1 indicators.

    The kind that comes first in order is the reference, the others become columns such as `site=B`. Text that reads
    as numbers is taken as numbers; a categorical column is always coded, and so is `site` where it is named
    `C(site)`. The answer has the rows of `table`; an incomplete row is NaN throughout, and a warning says how many
    there are.

    Raises:
        EvaluationError: a column that is not there, one of numbers with some other text among them, a text of more than
            `MOST_KINDS` kinds, a column that does not vary, columns that add up to one another (each by name, over the
            complete rows).
    """
    unknown = [name for name in names if column_of(name, table) not in table.columns]
    if unknown or not len(names):
        raise EvaluationError(
            f"no column {', '.join(map(repr, unknown))} to adjust for; the table has {', '.join(map(str, table))}"
            if unknown
            else "no covariate was named; name one column at least"
        )
    matrix = pd.concat([_covariate(table, name) for name in dict.fromkeys(names)], axis=1)
    incomplete = matrix.isna().any(axis=1)
    if incomplete.any():
        _log.warning("%d of %d rows lack one of: %s.", int(incomplete.sum()), len(matrix), ", ".join(names))
    matrix[incomplete] = np.nan
    refuse_useless(matrix[~incomplete].to_numpy(), list(matrix.columns))
    return matrix


def column_of(name: str, table: pd.DataFrame | None = None) -> str:
    """The column that a covariate is taken from: site for `C(site)`, unless a table has a column of that very name."""
    found = _CATEGORIES.fullmatch(name)
    return name if found is None or (table is not None and name in table.columns) else found[1]


def perhaps_groups(table: pd.DataFrame, names: Sequence[str]) -> list[str]:
    """A remark on each covariate that is taken as a number, but whose few whole values may be names of groups."""
    remarks = []
    for name in names:
        if name not in table.columns or isinstance(table[name].dtype, pd.CategoricalDtype):
            continue
        values = np.unique(pd.to_numeric(table[name], errors="coerce").dropna())
        if len(values) in _GROUPS and (values == np.round(values)).all():
            few = ", ".join(f"{value:g}" for value in values)
            remarks.append(
                f"{name} was taken as a number (its values are {few}); where they are names of groups, adjust for "
                f"C({name})."
            )
    return remarks


def covariate_matrix(covariates: ArrayLike | pd.DataFrame | None, size: int) -> tuple[np.ndarray, list[str]]:
    """Covariates (n, p) as float64 with a name each; no columns where there are none.

    Raises:
        EvaluationError: not one row an image, missing or infinite values, constant or collinear columns.
    """
    if covariates is None:
        return np.empty((size, 0)), []
    try:
        matrix = np.asarray(covariates, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise EvaluationError(f"covariates must be numbers; code texts by `design` first ({error})") from error
    matrix = matrix[:, None] if matrix.ndim == 1 else matrix
    if matrix.ndim != 2 or matrix.shape[0] != size:
        raise EvaluationError(f"got covariates of shape {matrix.shape} for {size} images; give one row an image")
    incomplete = int((~np.isfinite(matrix)).any(axis=1).sum())
    if incomplete:
        raise EvaluationError(f"{incomplete} of {size} rows of covariates are NaN or infinite; leave these images out")
    names = [f"covariate {i + 1}" for i in range(matrix.shape[1])]
    if isinstance(covariates, pd.DataFrame):
        names = [str(name) for name in covariates]
    refuse_useless(matrix, names)
    return matrix, names


def refuse_useless(matrix: np.ndarray, names: Sequence[str]) -> None:
    """An error that names the columns of (n, p) that are constant, or follow from others and an intercept."""
    if not len(matrix):
        raise EvaluationError("no image has all of its covariates; adjust for fewer")
    centred = matrix - matrix.mean(axis=0)
    spread = np.sqrt(np.mean(centred**2, axis=0))
    constant = spread <= _TOLERANCE * np.maximum(np.abs(matrix).max(axis=0), np.finfo(np.float64).tiny)
    if constant.any():
        raise EvaluationError(
            f"{', '.join(np.asarray(names)[constant])}: the same in every image; leave it out of the covariates"
        )
    centred, kept = centred / spread, list[int]()
    for column in range(matrix.shape[1]):
        others = centred[:, kept]
        weights = np.linalg.lstsq(others, centred[:, column])[0]
        if np.sqrt(np.mean((centred[:, column] - others @ weights) ** 2)) <= _TOLERANCE:
            together = [names[k] for k, weight in zip(kept, weights, strict=True) if abs(weight) > _TOLERANCE]
            raise EvaluationError(
                f"{', '.join([*together, names[column]])}: one of these follows from the others; leave one out"
            )
        kept.append(column)


def _covariate(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """The columns that a covariate becomes, coded where it is named as `C(column)`."""
    column = table[column_of(name, table)]
    if name in table.columns:
        return _coded(column)
    kinds = column.map(lambda value: f"{value:g}" if isinstance(value, int | float) else str(value), na_action="ignore")
    order = sorted(kinds.dropna().unique(), key=_in_order)
    return _coded(pd.Series(pd.Categorical(kinds, order), index=column.index, name=column.name))


def _in_order(kind: str) -> tuple[float, str]:
    """Numbers by their size, before all other texts."""
    number = pd.to_numeric(kind, errors="coerce")
    return (np.inf if pd.isna(number) else float(number)), kind


def _coded(column: pd.Series) -> pd.DataFrame:
    if isinstance(column.dtype, pd.CategoricalDtype):
        kinds = [kind for kind in column.cat.categories if (column == kind).any()]
    else:
        numbers = pd.to_numeric(column, errors="coerce")
        others = column[numbers.isna() & column.notna()]
        if others.empty:
            values = numbers.astype("float64")
            return values.where(np.isfinite(values)).to_frame()
        if numbers.notna().sum() > len(others):
            few = ", ".join(repr(each) for each in list(dict.fromkeys(map(str, others)))[:5])
            raise EvaluationError(
                f"{column.name} holds numbers and, in {len(others)} rows, {few}: say what stands for missing "
                f"(--missing), correct the others, or adjust for C({column.name}) to take each value as a group"
            )
        kinds = sorted(column.dropna().unique(), key=str)
    if len(kinds) > MOST_KINDS:
        raise EvaluationError(
            f"{column.name} holds {len(kinds)} different texts; at most {MOST_KINDS} can be adjusted for"
        )
    if len(kinds) == 1:
        raise EvaluationError(f"{column.name}: the same in every image; leave it out of the covariates")
    coded = {f"{column.name}={kind}": (column == kind).astype("float64") for kind in kinds[1:]}
    return pd.DataFrame(coded, index=column.index).where(column.notna())
