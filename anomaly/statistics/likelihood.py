"""The highest point of a likelihood that has one summit, and the interval about it."""

from collections.abc import Callable

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student

from anomaly.statistics.estimates import Estimate

# A step that would add less than this to the log-likelihood is the last; so many are taken at most.
_GAIN, _STEPS = 1e-20, 200


def maximised(
    likelihood: Callable[[np.ndarray], float],
    slope: Callable[[np.ndarray], np.ndarray],
    information: Callable[[np.ndarray], np.ndarray],
    start: np.ndarray,
) -> np.ndarray:
    """Coefficients (p,) at which a concave log-likelihood is highest, from its slope (p,) and information (p, p).

    Newton's method, each step halved until the likelihood rises: undamped, its steps run away where one
    score lies far from all the others. Where there is no maximum it ends far out, where all is flat or
    overflows: ask for the information there before trusting it.
    """
    params, reached = start, likelihood(start)
    for _ in range(_STEPS):
        uphill, curvature = slope(params), information(params)
        if not (np.isfinite(uphill).all() and np.isfinite(curvature).all()):
            break
        step = np.linalg.lstsq(curvature, uphill)[0]
        gain = float(uphill @ step)
        # Overflow far out gives NaN, which is no rise either.
        while not (found := likelihood(params + step)) >= reached and gain > _GAIN:
            step, gain = step / 2, gain / 2
        if not found >= reached:
            break
        params, reached = params + step, found
        if gain <= _GAIN:
            break
    return params


def wald(value: float, variance: float, method: str, *, confidence: float, degrees: float | None = None) -> Estimate:
    """The interval of a coefficient and its test against zero, by the normal or the t distribution of `degrees`.

    A robust variance of few subjects is itself uncertain, and runs low; t makes up for part of that.
    """
    error, spread = float(np.sqrt(variance)), norm if degrees is None else student(degrees)
    step = float(spread.ppf(0.5 + confidence / 2)) * error
    return Estimate(value, value - step, value + step, method, variance, float(2 * spread.sf(abs(value) / error)))
