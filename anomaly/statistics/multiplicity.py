"""Several tests at once: p-values that count how many were made."""

import numpy as np
from numpy.typing import ArrayLike
from statsmodels.stats.multitest import multipletests

from anomaly.errors import EvaluationError

METHODS = {"holm": "holm", "bh": "fdr_bh", "by": "fdr_by", "bonferroni": "bonferroni"}


def adjust(p_values: ArrayLike, method: str = "holm") -> np.ndarray:
    """P-values (k,) adjusted for their number, in their order; NaN stays where it is and is not counted.

    `holm` and `bonferroni` bound the chance of any false finding, whatever the dependence; `bh` (Benjamini
    & Hochberg 1995) the share of false ones among the findings, under positive dependence, and `by`
    (Benjamini & Yekutieli 2001) under any.
    """
    values = np.asarray(p_values, dtype=np.float64)
    known = ~np.isnan(values)
    if method not in METHODS:
        raise EvaluationError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    if values.ndim != 1 or ((values[known] < 0) | (values[known] > 1)).any():
        raise EvaluationError("p-values must be one row of numbers from 0 to 1, NaN where there is none")
    adjusted = np.full(values.shape, np.nan)
    if known.any():
        adjusted[known] = multipletests(values[known], method=METHODS[method])[1]
    return adjusted
