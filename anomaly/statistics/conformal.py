"""Intervals of what is predicted of new persons, from how far predictions were off in persons held out.

Split conformal prediction (Vovk et al. 2005; Lei et al. 2018, algorithm 2): if those held out and the new ones are
exchangeable, such an interval holds the truth in at least the share of new persons asked for, whatever the method.
Persons are exchangeable, images of one person are not: a person has one score, the largest of theirs.
"""

import math

import numpy as np
from numpy.typing import ArrayLike

from anomaly.errors import EvaluationError
from anomaly.statistics.estimates import groups_of

CONFIDENCE = 0.95


def fewest(confidence: float = CONFIDENCE) -> int:
    """How many persons have to be held out for a finite interval: 19 for 95 %."""
    if not 0 < confidence < 1:
        raise EvaluationError(f"confidence is {confidence}; expected a number between 0 and 1")
    return math.ceil(confidence / (1 - confidence) - 1e-9)


def of_persons(scores: ArrayLike, subject: ArrayLike) -> np.ndarray:
    """The largest score of each person, (persons,), in no order that matters.

    With it an interval holds all pairs of a person at once in the share of persons asked for, so each pair at least as
    often.
    """
    values = np.asarray(scores, dtype=np.float64)
    groups = groups_of(subject, values.size)
    found = np.full(int(groups.max(initial=-1)) + 1, -np.inf)
    np.maximum.at(found, groups, values)
    return found


def reach(scores: ArrayLike, confidence: float = CONFIDENCE) -> float:
    """How far an interval has to reach: the ceil((n + 1) c)-th smallest of n scores; infinite where n is too small.

    Args:
        scores: (n,), one a person held out.
        confidence: c, the share of new persons whose score is to be at most that.
    """
    ordered = np.sort(np.asarray(scores, dtype=np.float64))
    fewest(confidence)
    place = math.ceil((len(ordered) + 1) * confidence - 1e-9)
    return float(ordered[place - 1]) if 0 < place <= len(ordered) else math.inf


def chance_above(predicted: ArrayLike, residuals: ArrayLike, subject: ArrayLike, unit: ArrayLike = 1.0) -> np.ndarray:
    """The chance that what is predicted comes out above 0, (m,): the share of persons held out, off as they were.

    Each person counts once, in equal parts to their pairs, and one more half on each side: (k + 1/2) / (n + 1).

    Args:
        predicted: (m,).
        residuals: (n,) truth minus prediction in persons held out, in units.
        subject: (n,) whose each is.
        unit: (m,) what a residual of 1 stands for, or one for all.
    """
    off, groups = np.asarray(residuals, dtype=np.float64), groups_of(subject, np.size(residuals))
    weight = 1 / np.bincount(groups)[groups]
    value = np.asarray(predicted, dtype=np.float64)[:, None] + np.outer(np.broadcast_to(unit, np.shape(predicted)), off)
    above = (value > 0) + 0.5 * (value == 0)
    found: np.ndarray = (above @ weight + 0.5) / (weight.sum() + 1)
    return found
