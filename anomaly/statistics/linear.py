"""Means and their differences beside covariates, by least squares, with errors that count persons."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from anomaly.errors import EvaluationError
from anomaly.statistics.design import covariate_matrix, refuse_useless
from anomaly.statistics.estimates import Estimate, groups_of, persons
from anomaly.statistics.likelihood import wald

# Below this share of the largest, an eigenvalue of what a fit leaves of a person is nothing.
_NOTHING = 1e-10


def mean_with_interval(values: np.ndarray, groups: np.ndarray, *, confidence: float = 0.95) -> Estimate:
    """The mean of values (n,) of persons (n,) numbered from 0, against zero; where each is another person, t."""
    return least_squares(values, np.ones((values.size, 1)), groups, confidence=confidence)


def mean_difference(
    values: ArrayLike,
    group: ArrayLike,
    covariates: ArrayLike | None = None,
    subject: ArrayLike | None = None,
    *,
    confidence: float = 0.95,
) -> Estimate:
    """How much higher the mean of values (n,) is in the group (n,) of 1 than in that of 0, beside covariates (n, p).

    Where each value is another person's and nothing is adjusted for, the variance is Welch's.

    Raises:
        EvaluationError: one group; values that are not finite; covariates that are incomplete, constant or collinear;
            too few persons (see `least_squares`).
    """
    value, which = np.asarray(values, dtype=np.float64), np.asarray(group, dtype=np.float64)
    if not set(np.unique(which)) == {0.0, 1.0}:
        raise EvaluationError("both groups are needed for a difference of their means, as 0 and 1")
    matrix, names = covariate_matrix(covariates, value.size)
    columns = np.column_stack([which, matrix])
    refuse_useless(np.roll(columns, -1, axis=1), [*names, "the group"])
    columns = np.column_stack([which, matrix - matrix.mean(axis=0), np.ones(value.size)])
    return least_squares(value, columns, groups_of(subject, value.size), confidence=confidence)


def least_squares(values: np.ndarray, columns: np.ndarray, groups: np.ndarray, *, confidence: float = 0.95) -> Estimate:
    """The first coefficient of a linear model of values (n,) on columns (n, p), every value weighing the same.

    The variance is robust by person and free of bias where the errors are independent and alike (CR2: Bell and
    McCaffrey 2002, Survey Methodology 28), its Student's t has the degrees of freedom that match its first two moments
    then (theirs; Imbens and Kolesar 2016). For the mean of one value a person it is the t-test; of the difference of
    two such means the variance is Welch's.

    Raises:
        EvaluationError: values that are not finite, too few persons.
    """
    if not np.isfinite(values).all():
        raise EvaluationError("the values must be finite numbers; leave the others out")
    count, width = persons(groups), columns.shape[1]
    if count <= width:
        raise EvaluationError(f"{count} persons allow no model of {width} columns; adjust for fewer, or gather more")
    scale = np.linalg.norm(columns, axis=0)
    scaled = columns / scale
    inverse = np.linalg.pinv(scaled.T @ scaled, hermitian=True)
    params = inverse @ (scaled.T @ values)
    residual = values - scaled @ params
    own, freed, mixed = np.empty(count), np.empty(count), np.empty((count, width))
    for k, rows in enumerate(_members(groups)):
        x = scaled[rows]
        weight = _root(np.eye(rows.size) - x @ inverse @ x.T) @ (x @ inverse[:, 0])
        own[k], freed[k], mixed[k] = weight @ residual[rows], weight @ weight, weight @ x
    variance = float(np.sum(own**2)) / scale[0] ** 2
    repeated = count < values.size
    method = f"least squares, robust errors{' by subject' if repeated else ''} (CR2, t)"
    value = float(params[0] / scale[0])
    if not variance > 0:
        return Estimate(value, np.nan, np.nan, "no interval: nothing varies")
    return wald(value, variance, method, confidence=confidence, degrees=_degrees(freed, mixed, inverse))


def _root(left: np.ndarray) -> np.ndarray:
    """The inverse of the square root of what a fit leaves of a person; nothing where it leaves nothing."""
    size, directions = np.linalg.eigh(left)
    kept = size > _NOTHING
    return (directions[:, kept] / np.sqrt(size[kept])) @ directions[:, kept].T


def _degrees(freed: np.ndarray, mixed: np.ndarray, inverse: np.ndarray) -> float:
    """(tr G'G)^2 / tr (G'G)^2: freed - mixed' inverse mixed on its diagonal, the latter alone off it."""
    through = np.einsum("kp,pq,kq->k", mixed, inverse, mixed)
    cross = inverse @ (mixed.T @ mixed)
    first = float(np.sum(freed - through))
    second = float(np.sum(freed**2 - 2 * freed * through) + np.trace(cross @ cross))
    return first**2 / second


def _members(groups: np.ndarray) -> Sequence[np.ndarray]:
    order = np.argsort(groups, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)
