"""One coefficient of a logistic regression with its interval and test, clustered by subject where needed."""

from collections.abc import Callable, Sequence

import numpy as np
from scipy.optimize import OptimizeResult, brentq, linprog
from scipy.sparse import coo_array, csr_array, hstack
from scipy.special import expit
from scipy.stats import chi2

from anomaly.errors import EvaluationError
from anomaly.statistics.estimates import Estimate, freedom_of, persons, require_persons
from anomaly.statistics.likelihood import maximised, wald

_TIED = 1e-12
# Beyond what the solver may be wrong by in each row.
_MARGIN = 1e-6
# Log-odds that a fit without a maximum runs far past before it stops, and no other fit needs.
FAR = 12.0
# So many numbers of matrices of persons are held at once (32 MB).
_AT_ONCE = 4_000_000


def per_deviation(score: np.ndarray) -> np.ndarray:
    """A score in units of its standard deviation over the images given, about their mean.

    Raises:
        EvaluationError: all scores are the same, or so large that their spread overflows.
    """
    if np.ptp(score) <= _TIED * np.abs(score).max():
        raise EvaluationError("all scores are the same; a score that does not vary tells nothing")
    with np.errstate(over="ignore", invalid="ignore"):
        deviation = score.std(ddof=1)
    if not np.isfinite(deviation) or deviation == 0:
        raise EvaluationError(f"the scores run up to {np.abs(score).max():.3g}, out of reach; rescale them")
    return (score - score.mean()) / deviation


def refuse_separation(rows: np.ndarray, names: Sequence[str]) -> None:
    """An error where the likelihood has no maximum: some mixture of the columns orders the outcomes fully.

    `rows` (n, p) are the covariates of events and minus those of controls. Separated exactly if some b has
    rows @ b >= 0 throughout and > 0 somewhere, completely or not (Albert & Anderson 1984), which a linear programme
    finds (Konis 2007). `names` of the first columns.
    """
    answer = linprog(-rows.sum(axis=0), A_ub=-rows, b_ub=np.zeros(len(rows)), bounds=(-1, 1), method="highs")
    _refuse(answer, names, len(rows))


def refuse_separation_within(event: np.ndarray, columns: np.ndarray, sets: np.ndarray, names: Sequence[str]) -> None:
    """The same within matched sets (n,): every case of a set above every control of it, by some level of the set."""
    sign, count, size = np.where(event, 1.0, -1.0), int(sets.max()) + 1, event.size
    levels = coo_array((-sign, (np.arange(size), sets)), shape=(size, count))
    rows = hstack([csr_array(columns * sign[:, None]), levels.tocsr()], format="csr")
    # Against as many of the other class, whatever the sizes: a level adds nothing to the sum.
    cases, controls = (np.bincount(sets[chosen], minlength=count) for chosen in (event, ~event))
    weight = sign * np.where(event, controls[sets], cases[sets]) / np.maximum(cases, controls)[sets]
    goal = np.append(-(weight @ columns), np.zeros(count))
    far = np.abs(columns).sum(axis=1).max()
    bounds = [(-1, 1)] * columns.shape[1] + [(-far, far)] * count
    answer = linprog(goal, A_ub=-rows, b_ub=np.zeros(size), bounds=bounds, method="highs")
    _refuse(answer, names, size)


def _refuse(answer: OptimizeResult, names: Sequence[str], rows: int) -> None:
    if answer.success and -answer.fun > _MARGIN * rows:
        culprits = [name for name, weight in zip(names, answer.x, strict=False) if abs(weight) > 1e-9]
        raise EvaluationError(
            f"{' with '.join(culprits) or 'the outcome'}: tells some of the outcomes without a single exception, "
            "so its odds ratio is infinite; give more images, or adjust for less"
        )


def fitted(
    event: np.ndarray, matrix: np.ndarray, offset: np.ndarray | None = None, near: np.ndarray | None = None
) -> np.ndarray:
    """Coefficients (p,) of the likeliest logistic regression of 0/1 (n,) on (n, p), looked for from `near`.

    Where the likelihood has no maximum (see `refuse_separation`) they are far out, with chances of 0 and 1,
    as is right in a small fold.
    """
    start = np.zeros(event.size) if offset is None else offset
    return maximised(
        lambda params: -deviance(event, start + matrix @ params) / 2,
        lambda params: matrix.T @ (event - expit(start + matrix @ params)),
        lambda params: _information(matrix, expit(start + matrix @ params)),
        np.zeros(matrix.shape[1]) if near is None else near,
    )


def _information(matrix: np.ndarray, chance: np.ndarray) -> np.ndarray:
    return (matrix * (chance * (1 - chance))[:, None]).T @ matrix


def coefficient(
    event: np.ndarray,
    matrix: np.ndarray,
    groups: np.ndarray,
    *,
    names: Sequence[str],
    offset: np.ndarray | None = None,
    confidence: float = 0.95,
) -> Estimate:
    """The first coefficient (log-odds) of a logistic regression of 0/1 (n,) on (n, p), against zero.

    Where every image is another subject: interval by profile likelihood, p-value by the likelihood-ratio
    test, which agree with each other. Where subjects repeat, the same coefficient, every image weighing the same
    (generalised estimating equations with an independent working correlation, Liang & Zeger 1986), with the
    bias-reduced robust covariance by subject (Mancl & DeRouen 2001, equation 6) and Student's t (see
    `estimates.freedom_of`). No other working correlation: where an image's outcome goes with what another image
    of its subject scores, as it does where the outcome is the subject's, only independence is unbiased (Pepe &
    Anderson 1994).

    Raises:
        EvaluationError: separation, no convergence, no more subjects than columns, fewer than ten subjects of a
            class where they repeat.
    """
    subjects, start = persons(groups), np.zeros(event.size) if offset is None else offset
    params = fitted(event, matrix, offset)
    if np.abs(matrix @ params).max() > FAR:
        refuse_separation(np.where(event[:, None], matrix, -matrix), names)
    if subjects <= matrix.shape[1]:
        raise EvaluationError(f"{subjects} subjects allow no model of {matrix.shape[1]} columns; adjust for fewer")
    if subjects == event.size:
        return _profiled(event, matrix, start, params, confidence)
    require_persons(event, groups)
    return _clustered(event, matrix, groups, start, params, confidence)


def deviance(event: np.ndarray, linear: np.ndarray) -> float:
    """Minus twice the log-likelihood of 0/1 (n,) given log-odds (n,)."""
    return float(2 * np.sum(np.logaddexp(0, np.where(event, -linear, linear))))


def likelihood_ratio(event: np.ndarray, matrix: np.ndarray, offset: np.ndarray | None = None) -> tuple[float, float]:
    """The likelihood-ratio statistic of the first column of (n, p) beside the others, and its p-value."""
    start = np.zeros(event.size) if offset is None else offset
    full = deviance(event, start + matrix @ fitted(event, matrix, offset))
    others = matrix[:, 1:]
    statistic = max(0.0, deviance(event, start + others @ fitted(event, others, offset)) - full)
    return statistic, float(chi2.sf(statistic, 1))


def _inverse_information(matrix: np.ndarray, chance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    information = _information(matrix, chance)
    if not np.isfinite(information).all() or np.linalg.matrix_rank(information) < len(information):
        raise EvaluationError("the logistic regression did not converge; adjust for less, or leave out extreme scores")
    return information, np.linalg.inv(information)


def _profiled(
    event: np.ndarray, matrix: np.ndarray, offset: np.ndarray, params: np.ndarray, confidence: float
) -> Estimate:
    information, covariance = _inverse_information(matrix, expit(offset + matrix @ params))
    variance = float(covariance[0, 0])
    value, others = float(params[0]), matrix[:, 1:]
    lowest, allowed = deviance(event, offset + matrix @ params), float(chi2.ppf(confidence, 1))
    # The others move with the first; where they would, to first order, is near enough to start from.
    moved = -np.linalg.solve(information[1:, 1:], information[1:, 0])

    def excess(at: float) -> float:
        held = offset + at * matrix[:, 0]
        rest = fitted(event, others, held, near=params[1:] + moved * (at - value))
        return deviance(event, held + others @ rest) - lowest - allowed

    ends = [_crossing(excess, value, sign * np.sqrt(allowed * variance)) for sign in (-1, 1)]
    p_value = likelihood_ratio(event, matrix, offset)[1]
    return Estimate(value, ends[0], ends[1], "logistic regression, profile likelihood", variance, p_value)


def _crossing(excess: Callable[[float], float], value: float, step: float) -> float:
    """Where a profile that is below zero at `value` rises through it, looked for in steps that double."""
    for doubling in range(40):
        if excess(value + step * 2**doubling) > 0:
            return float(brentq(excess, value, value + step * 2**doubling, xtol=1e-9))
    raise EvaluationError("the likelihood is flat, so the odds ratio has no interval; give more images")


def _clustered(
    event: np.ndarray,
    matrix: np.ndarray,
    groups: np.ndarray,
    offset: np.ndarray,
    params: np.ndarray,
    confidence: float,
) -> Estimate:
    chance = expit(offset + matrix @ params)
    covariance = _inverse_information(matrix, chance)[1]
    influence = _influences(matrix, event - chance, chance * (1 - chance), groups, covariance)
    variance = float(np.sum(influence**2))
    if not 0 < variance < np.inf:
        raise EvaluationError(
            "one subject alone decides a coefficient of the clustered logistic regression; adjust for less, or leave "
            "that subject out"
        )
    method = "GEE (independent), robust errors by subject (bias-reduced, t)"
    return wald(float(params[0]), variance, method, confidence=confidence, degrees=freedom_of(influence))


def _influences(
    matrix: np.ndarray, residual: np.ndarray, weight: np.ndarray, groups: np.ndarray, covariance: np.ndarray
) -> np.ndarray:
    """What each subject adds (K,) to the deviation of the first coefficient, corrected for its own leverage.

    Mancl & DeRouen multiply the residuals of a subject by (I - H)^-1, H = W X V X' of its rows, V the covariance by
    curvature. Since X' (I - W X V X')^-1 = (I - X' W X V)^-1 X', a matrix of columns by columns does for any number
    of images.
    """
    order = np.argsort(groups, kind="stable")
    starts = np.append(0, np.flatnonzero(np.diff(groups[order])) + 1)
    ends, width = np.append(starts[1:], groups.size), matrix.shape[1]
    influence, step = np.empty(starts.size), max(1, _AT_ONCE // (width * width * 4))
    for first in range(0, starts.size, step):
        several = starts[first : first + step]
        rows = order[several[0] : ends[first : first + step][-1]]
        part, at = matrix[rows], several - several[0]
        scores = np.add.reduceat(part * residual[rows, None], at)
        curvature = np.add.reduceat((part * weight[rows, None])[:, :, None] * part[:, None, :], at)
        try:
            solved = np.linalg.solve(np.eye(width) - curvature @ covariance, scores[:, :, None])[:, :, 0]
        except np.linalg.LinAlgError:
            return np.full(1, np.nan)
        influence[first : first + step] = solved @ covariance[:, 0]
    return influence
