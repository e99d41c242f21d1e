"""Whether the odds of an outcome rise evenly with a score, and how they lie in its thirds where they do not."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from anomaly.errors import EvaluationError
from anomaly.statistics.estimates import Estimate, groups_of
from anomaly.statistics.logistic import coefficient
from anomaly.statistics.models import Covariates, columns_of, exponentiated
from anomaly.statistics.survival import thirds

KNOTS = (0.10, 0.50, 0.90)
"""Quantiles of the score between which the curve may bend; beyond the outer ones it is straight (Harrell 2015)."""

FEWEST = 20
"""Images with the outcome, and without: with 13 of 50 a straight line was called bent in 6 to 8 % of cohorts."""


@dataclass(frozen=True)
class Thirds:
    """Odds ratios of the middle and of the highest third of a score against the lowest."""

    middle: Estimate
    high: Estimate


def bend(
    outcome: ArrayLike, score: ArrayLike, covariates: Covariates = None, subject: ArrayLike | None = None
) -> Estimate:
    """How far the log-odds of the outcome bend with the score, beside a straight line; 0 where the line fits.

    The coefficient of the one bent term of a restricted cubic spline with knots at the 10, 50 and 90 % quantiles
    (Harrell 2015, Regression Modeling Strategies, section 2.4.5), beside the score, `covariates` (n, p) and an
    intercept, tested as the odds ratio is (`logistic.coefficient`): by the likelihood ratio, or by robust errors by
    subject. The term is straight beyond the outer knots, so a long tail weighs as it does in the line itself.

    Raises:
        EvaluationError: as `odds_ratio`; fewer than twenty images with the outcome or without; so many ties that the
            knots are not three.
    """
    event, columns, names = columns_of(outcome, score, covariates)
    if min(event.sum(), (~event).sum()) < FEWEST:
        raise EvaluationError(
            f"a bend is told from {FEWEST} images with the outcome and as many without, not from fewer"
        )
    term = _bent(columns[:, 0])
    rest = columns @ np.linalg.lstsq(columns, term, rcond=None)[0]
    left = term - rest
    return coefficient(
        event,
        np.column_stack([left / left.std(ddof=1), columns]),
        groups_of(subject, event.size),
        names=["the bend", *names],
    )


def odds_in_thirds(
    outcome: ArrayLike, score: ArrayLike, covariates: Covariates = None, subject: ArrayLike | None = None
) -> Thirds:
    """Odds ratios of the middle and the highest third of the score against the lowest, as `odds_ratio` in all else.

    Raises:
        EvaluationError: as `odds_ratio`; a third that is empty for ties, or without the outcome, or with nothing else.
    """
    event, columns, names = columns_of(outcome, score, covariates)
    part, groups = thirds(score), groups_of(subject, event.size)
    found = {}
    for which, other in (("middle", "high"), ("high", "middle")):
        both = np.column_stack([part == which, part == other, columns[:, 1:]]).astype(float)
        found[which] = exponentiated(
            coefficient(event, both, groups, names=[f"the {which} third", f"the {other} third", *names[1:]])
        )
    return Thirds(**found)


def _bent(value: np.ndarray) -> np.ndarray:
    """The bent term (n,) of a restricted cubic spline with three knots."""
    first, second, third = np.quantile(value, KNOTS)
    if not first < second < third:
        raise EvaluationError("so many scores tie that no bend can be told from a line")

    def cube(knot: float) -> np.ndarray:
        return np.clip(value - knot, 0, None) ** 3

    width = third - second
    bent: np.ndarray = cube(first) - cube(second) * (third - first) / width + cube(third) * (second - first) / width
    return bent / (third - first) ** 2
