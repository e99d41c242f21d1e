"""Covariates as columns of numbers: texts coded by indicators, and what no model could use refused by name."""

import logging
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from anomaly.errors import EvaluationError

_log = logging.getLogger(__name__)

# A text with more kinds than this names the images rather than describes them.
MOST_KINDS = 50
_TOLERANCE = 1e-8


def design(table: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Columns of a table as a model takes them: numbers as they are, each text as k - 1 indicators.

    The kind that comes first in alphabetical order is the reference, the others become columns such as
    `site=B`. Text that reads as numbers is taken as numbers; a categorical column is always coded. The
    answer has the rows of `table`; an incomplete row is NaN throughout, and a warning says how many there are.

    Raises:
        EvaluationError: a column that is not there, a text of more than `MOST_KINDS` kinds, a column that
            does not vary, columns that add up to one another (each by name, over the complete rows).
    """
    unknown = [name for name in names if name not in table.columns]
    if unknown or not len(names):
        raise EvaluationError(
            f"no column {', '.join(map(repr, unknown))} to adjust for; the table has {', '.join(map(str, table))}"
            if unknown
            else "no covariate was named; name one column at least"
        )
    matrix = pd.concat([_coded(table[name]) for name in dict.fromkeys(names)], axis=1)
    incomplete = matrix.isna().any(axis=1)
    if incomplete.any():
        _log.warning("%d of %d rows lack one of: %s.", int(incomplete.sum()), len(matrix), ", ".join(names))
    matrix[incomplete] = np.nan
    refuse_useless(matrix[~incomplete].to_numpy(), list(matrix.columns))
    return matrix


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


def _coded(column: pd.Series) -> pd.DataFrame:
    if not isinstance(column.dtype, pd.CategoricalDtype):
        numbers = pd.to_numeric(column, errors="coerce")
        if (numbers.notna() | column.isna()).all():
            values = numbers.astype("float64")
            return values.where(np.isfinite(values)).to_frame()
    kinds = sorted(column.dropna().unique(), key=str)
    if len(kinds) > MOST_KINDS:
        raise EvaluationError(
            f"{column.name} holds {len(kinds)} different texts; at most {MOST_KINDS} can be adjusted for"
        )
    if len(kinds) == 1:
        raise EvaluationError(f"{column.name}: the same in every image; leave it out of the covariates")
    coded = {f"{column.name}={kind}": (column == kind).astype("float64") for kind in kinds[1:]}
    return pd.DataFrame(coded, index=column.index).where(column.notna())
