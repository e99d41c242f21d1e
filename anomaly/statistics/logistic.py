"""One coefficient of a logistic regression with its interval and test, clustered by subject where needed."""

import warnings
from collections.abc import Callable, Sequence

import numpy as np
from scipy.optimize import brentq, linprog
from scipy.special import expit
from scipy.stats import chi2
from statsmodels.genmod.cov_struct import CovStruct, Exchangeable, Independence
from statsmodels.genmod.families import Binomial
from statsmodels.genmod.generalized_estimating_equations import GEE

from anomaly.errors import EvaluationError
from anomaly.statistics.estimates import Estimate
from anomaly.statistics.likelihood import maximised, wald

EXCHANGEABLE, INDEPENDENT = "exchangeable", "independent"
_STRUCTURES = {EXCHANGEABLE: Exchangeable, INDEPENDENT: Independence}
_TIED = 1e-12
# Beyond what the solver may be wrong by in each row.
_MARGIN = 1e-6


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

    `rows` (n, p) are the covariates of events and minus those of controls (of matched sets: case minus
    control). Separated exactly if some b has rows @ b >= 0 throughout and > 0 somewhere, completely or not
    (Albert & Anderson 1984), which a linear programme finds (Konis 2007). `names` of the first columns.
    """
    answer = linprog(-rows.sum(axis=0), A_ub=-rows, b_ub=np.zeros(len(rows)), bounds=(-1, 1), method="highs")
    if answer.success and -answer.fun > _MARGIN * len(rows):
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
    working: str = EXCHANGEABLE,
) -> Estimate:
    """The first coefficient (log-odds) of a logistic regression of 0/1 (n,) on (n, p), against zero.

    Where every image is another subject: interval by profile likelihood, p-value by the likelihood-ratio
    test, which agree with each other. Otherwise generalised estimating equations (Liang & Zeger 1986) with
    the working correlation named, the bias-reduced robust covariance (Mancl & DeRouen 2001, equation 6) and
    the t distribution with subjects less columns for degrees of freedom.

    Raises:
        EvaluationError: separation, no convergence, no more subjects than columns.
    """
    refuse_separation(np.where(event[:, None], matrix, -matrix), names)
    subjects = np.unique(groups).size
    if subjects <= matrix.shape[1]:
        raise EvaluationError(f"{subjects} subjects allow no model of {matrix.shape[1]} columns; adjust for fewer")
    if subjects == event.size:
        return _profiled(event, matrix, np.zeros(event.size) if offset is None else offset, confidence)
    return _clustered(event, matrix, groups, offset, confidence, working)


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


def _profiled(event: np.ndarray, matrix: np.ndarray, offset: np.ndarray, confidence: float) -> Estimate:
    params = fitted(event, matrix, offset)
    information = _information(matrix, expit(offset + matrix @ params))
    if np.linalg.matrix_rank(information) < len(params):
        raise EvaluationError("the logistic regression did not converge; adjust for less, or leave out extreme scores")
    variance = float(np.linalg.inv(information)[0, 0])
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
    offset: np.ndarray | None,
    confidence: float,
    working: str,
) -> Estimate:
    subjects = np.unique(groups).size
    # A negative correlation is the mark of subjects chosen for one image with the event and one without:
    # then the outcome of an image hangs on the other's score too, and only independent weights are unbiased
    # (Pepe & Anderson 1994).
    for structure in dict.fromkeys([working, INDEPENDENT]):
        found = _estimated(event, matrix, groups, offset, _STRUCTURES[structure]())
        if found is not None:
            value, variance = found
            break
    else:
        raise EvaluationError(
            "the clustered logistic regression did not converge; adjust for less, or leave out extreme scores"
        )
    method = f"GEE ({structure}), robust errors by subject (bias-reduced, t)"
    return wald(value, variance, method, confidence=confidence, degrees=subjects - matrix.shape[1])


def _estimated(
    event: np.ndarray, matrix: np.ndarray, groups: np.ndarray, offset: np.ndarray | None, structure: CovStruct
) -> tuple[float, float] | None:
    """The first coefficient and its variance, or nothing where the equations have no solution."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            model = GEE(
                event.astype(float), matrix, groups=groups, family=Binomial(), cov_struct=structure, offset=offset
            )
            result = model.fit(maxiter=100, start_params=fitted(event, matrix, offset), cov_type="bias_reduced")
        except (np.linalg.LinAlgError, ValueError, FloatingPointError):
            return None
        value, variance = float(result.params[0]), float(result.cov_params()[0, 0])
    usable = result.converged and np.isfinite(value) and 0 < variance < np.inf
    negative = isinstance(structure, Exchangeable) and structure.dep_params < 0
    return (value, variance) if usable and not negative else None
