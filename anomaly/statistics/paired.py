"""Cases compared with the controls they were matched to: two knees of one person, or pairs of the same age."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from anomaly.errors import EvaluationError
from anomaly.statistics.conditional import ConditionalLikelihood
from anomaly.statistics.design import covariate_matrix
from anomaly.statistics.estimates import FEWEST_PERSONS, ROUNDING, Estimate, groups_of
from anomaly.statistics.likelihood import maximised, wald
from anomaly.statistics.logistic import FAR, refuse_separation_within
from anomaly.statistics.metrics import checked
from anomaly.statistics.models import exponentiated, score_and_covariates
from anomaly.statistics.shares import wilson

# Up to this many groups every choice of signs is tried, beyond it some are drawn.
EXACT_UP_TO = 15
_DRAWN_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class MatchedConcordance:
    """The share of comparisons within a set in which the case scores higher, and what it rests on.

    `sets` hold a case and a control; the `left_out` ones do not and say nothing. Of the `comparisons` of a
    case with a control `favourable` went to the case, a tie counting one half.
    """

    concordance: Estimate
    sets: int
    left_out: int
    comparisons: int
    favourable: float
    test: str


def matched_concordance(
    outcome: ArrayLike,
    score: ArrayLike,
    match: ArrayLike,
    subject: ArrayLike | None = None,
    *,
    draws: int = 9999,
    seed: int = 0,
    confidence: float = 0.95,
) -> MatchedConcordance:
    """How often a case scores higher than a control of its own matched set (n,), ties one half.

    What all images of a set share (age, person, site) cannot move this figure. Every comparison weighs the
    same. The interval is Wilson's on the effective number of sets (see `shares.proportion`), where sets that
    share a subject count together. The p-value flips the sign of each such group's excess of favourable
    comparisons: exact where no score ties or sets are pairs; every choice of signs up to 15 groups, else
    `draws` of them, (1 + b) / (1 + draws).

    Raises:
        EvaluationError: as `metrics.checked`; unknown sets; no set with both a case and a control.
    """
    event, value = checked(outcome, score)
    sets = _sets(match, event.size)
    won, compared = _comparisons(event, value, sets)
    informative = compared > 0
    if not informative.any():
        raise EvaluationError(
            f"none of {sets.max() + 1} matched sets holds a case and a control; check the column that matches them"
        )
    together = _together(sets, groups_of(subject, event.size))[informative]
    won, compared = won[informative], compared[informative]
    share, total = float(won.sum() / compared.sum()), float(compared.sum())
    p_value, test = _sign_flips(np.bincount(together, weights=2 * won - compared), draws, seed)
    groups = int(np.unique(together).size)
    variance, size = _effective(np.bincount(together, won - share * compared), groups, share, total)
    method = f"Wilson, effective number of {'sets' if subject is None else 'subjects'}"
    ends = wilson(share, size, confidence)
    if groups < FEWEST_PERSONS:
        method, ends = (
            f"no interval: {groups} sets apart from each other, {FEWEST_PERSONS} are needed",
            (np.nan, np.nan),
        )
    found = Estimate(share, *ends, method, variance, p_value)
    left_out = int((~informative).sum())
    return MatchedConcordance(found, won.size, left_out, int(total), float(won.sum()), test)


def conditional_odds_ratio(
    outcome: ArrayLike,
    score: ArrayLike,
    match: ArrayLike,
    covariates: ArrayLike | pd.DataFrame | None = None,
    *,
    confidence: float = 0.95,
) -> Estimate:
    """How many times the odds rise with one standard deviation of the score, between images of one matched set.

    Conditional logistic regression (Breslow & Day 1980, chapter 7), Wald interval and test; sets without
    both outcomes drop out. The deviation is that of all images given, `variance` that of the logarithm.
    Sets are taken as independent: a person who appears in several of them makes the interval too short.

    Raises:
        EvaluationError: as `metrics.checked`; no informative set; a score or a covariate that is the same
            within every set; separation; no convergence.
    """
    event, value = checked(outcome, score)
    sets = _sets(match, event.size)
    matrix, names = covariate_matrix(covariates, event.size)
    columns, names = score_and_covariates(value, matrix, names)
    cases, controls = (np.bincount(sets[chosen], minlength=sets.max() + 1) for chosen in (event, ~event))
    informative = ((cases > 0) & (controls > 0))[sets]
    if not informative.any():
        raise EvaluationError("no matched set holds a case and a control; check the column that matches them")
    if (pairs := int(np.minimum(cases, controls).sum())) < FEWEST_PERSONS:
        raise EvaluationError(
            f"{pairs} cases with a control of their own, {FEWEST_PERSONS} are needed; gather more sets"
        )
    event, columns, sets = event[informative], columns[informative], sets[informative]
    # A column that is the same within every set tells nothing, whatever it is between them.
    sizes = np.bincount(sets)
    level = np.stack([np.bincount(sets, column) / np.maximum(sizes, 1) for column in columns.T], axis=1)
    flat = np.abs(columns - level[sets]).max(axis=0) <= ROUNDING
    if flat.any():
        raise EvaluationError(f"{', '.join(np.asarray(names)[flat])}: constant within every matched set, leave it out")
    return exponentiated(_conditional(event, columns, np.unique(sets, return_inverse=True)[1], names, confidence))


def _sets(match: ArrayLike, size: int) -> np.ndarray:
    """Matched sets (n,) as 0, 1, 2 ..., each image in one."""
    names = np.asarray(match)
    if names.shape != (size,) or pd.isna(names).any():
        raise EvaluationError(f"got {int(np.sum(~pd.isna(names)))} known matched sets for {size} images; give one each")
    return groups_of(names, size)


def _comparisons(event: np.ndarray, value: np.ndarray, sets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each set the comparisons of a case with a control that the case wins, ties one half, and all of them."""
    order = np.lexsort((value, sets))
    case, whose, ranked = event[order], sets[order], value[order]
    below = np.append(0, np.cumsum(~case))
    new = np.append(True, (np.diff(whose) != 0) | (np.diff(ranked) != 0))
    start = np.flatnonzero(new)
    tied = np.cumsum(new) - 1
    # Controls before those that tie with it, and those up to the last of them, of the image's own set alone.
    first, last = below[start][tied], below[np.append(start[1:], case.size)][tied]
    before = below[np.flatnonzero(np.append(True, np.diff(whose) != 0))][whose]
    won = np.bincount(whose, weights=case * ((first + last) / 2 - before))
    cases, controls = (np.bincount(sets[chosen], minlength=won.size) for chosen in (event, ~event))
    return won, (cases * controls).astype(np.float64)


def _together(sets: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """For each set the group of sets that it belongs to, those linked by a subject being one."""
    count = int(sets.max()) + 1
    links = coo_matrix((np.ones(sets.size), (sets, count + groups)), shape=[count + groups.max() + 1] * 2)
    return connected_components(links, directed=False)[1][:count]


def _effective(excess: np.ndarray, groups: int, share: float, total: float) -> tuple[float, float]:
    """Variance of a share from the excess of each group over it, and the number of comparisons that would give it."""
    variance = groups / max(groups - 1, 1) * float(np.sum(excess**2)) / total**2
    size = share * (1 - share) / variance if variance > 0 else float(groups)
    return variance, min(size, total)


def _sign_flips(excess: np.ndarray, draws: int, seed: int) -> tuple[float, str]:
    """Two-sided p-value of a sum, were the sign of each term a toss of a coin; and how it was found."""
    terms = excess[np.abs(excess) > ROUNDING]
    reached = abs(terms.sum()) - ROUNDING
    if terms.size <= EXACT_UP_TO:
        bits = np.arange(2**terms.size)[:, None] >> np.arange(terms.size) & 1
        return float(np.mean(np.abs((1 - 2 * bits) @ terms) >= reached)), "sign flips, exact"
    rng, beyond, step = np.random.default_rng([seed]), 0, max(1, _DRAWN_AT_ONCE // terms.size)
    for start in range(0, draws, step):
        signs = rng.integers(0, 2, (min(step, draws - start), terms.size), dtype=np.int8)
        beyond += int(np.sum(np.abs((1 - 2 * signs) @ terms) >= reached))
    return (1 + beyond) / (1 + draws), f"sign flips, {draws:,} draws, seed {seed}"


def _conditional(
    event: np.ndarray, columns: np.ndarray, sets: np.ndarray, names: list[str], confidence: float
) -> Estimate:
    """The first coefficient of a conditional logistic regression, by Wald."""
    model = ConditionalLikelihood(event, columns, sets)
    with np.errstate(all="ignore"):
        params = maximised(model.height, model.slope, model.information, np.zeros(columns.shape[1]))
        information = model.information(params)
    spans = [np.bincount(sets) * 0.0 - np.inf, np.bincount(sets) * 0.0 + np.inf]
    np.maximum.at(spans[0], sets, columns @ params)
    np.minimum.at(spans[1], sets, columns @ params)
    if np.max(spans[0] - spans[1]) > FAR:
        refuse_separation_within(event, columns, sets, names)
    if not np.isfinite(information).all() or np.linalg.matrix_rank(information) < len(params):
        raise EvaluationError("the conditional logistic regression did not converge; leave out extreme scores")
    variance = float(np.linalg.inv(information)[0, 0])
    return wald(float(params[0]), variance, "conditional logistic regression, Wald", confidence=confidence)
