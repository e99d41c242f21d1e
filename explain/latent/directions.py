"""Directions in the space of codes along which drawn images look more diseased, by what a target says of them.

All take codes (n, K) and give a vector (K,) of length 1 in units of the codes, which points to higher targets. Linear
models see standardised codes, so that their penalty means the same for every value of a code.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from anomaly.errors import AnomalyError

FEW = 10
"""Drawn images on the smaller side of the threshold, at least, for a direction that tells the sides apart."""
EXTREME = 0.02
PENALTIES = np.logspace(-2, 6, 17)
NOTHING, LEAST = 1e-6, 0.01
"""Shares of a vector: what is less is rounding, and what is less of a direction is what was wrong in finding it."""


def logistic(codes: np.ndarray, values: np.ndarray, threshold: float = 0.0) -> np.ndarray:
    """The coefficients of a logistic regression, with a penalty on their squares, of whether a value is above.

    Args:
        codes: (n, K) of drawn images.
        values: the target of each, (n,).
        threshold: above it an image counts as a case.

    Raises:
        AnomalyError: fewer than ten images lie on one side.
    """
    from sklearn.linear_model import LogisticRegression

    above = values > threshold
    if min(above.sum(), (~above).sum()) < FEW:
        raise AnomalyError(
            f"of {len(values)} drawn images the target puts {int(above.sum())} above {threshold:.4g}, too few on one "
            "side to tell the sides apart; draw more (samples), or take direction=ridge, which needs no threshold"
        )
    return _unit(_coefficients(LogisticRegression(max_iter=2000), codes, above)[0])


def ridge(codes: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The coefficients of a ridge regression of the values (n,), its penalty chosen by leaving one out.

    A logit is the log odds already; that any other target is shifted and scaled to them leaves the direction as it is.

    Raises:
        AnomalyError: the target is the same for all images.
    """
    from sklearn.linear_model import RidgeCV

    _varied(values)
    return _unit(_coefficients(RidgeCV(PENALTIES), codes, values)[0])


def svm(codes: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The normal of the widest margin between the 2 % of images with the lowest and those with the highest values.

    Shen et al. 2020 (InterFaceGAN), there of half a million images, here of however many there are.

    Raises:
        AnomalyError: the target is the same for all images.
    """
    from sklearn.svm import SVC

    _varied(values)
    count = max(2, round(EXTREME * len(values)))
    order = np.argsort(values, kind="stable")
    standard = _Standardised(codes)
    chosen = np.concatenate([order[:count], order[-count:]])
    machine = SVC(kernel="linear").fit(standard.scaled[chosen], np.arange(2 * count) >= count)
    return _unit(machine.coef_[0] / standard.spread)


def gradient(slopes: np.ndarray) -> np.ndarray:
    """The mean over images of df(G(w)) / dw, (n, K).

    Raises:
        AnomalyError: the slopes cancel.
    """
    return _unit(slopes.astype(np.float64).mean(0))


BY_VALUES: Mapping[str, Callable[[np.ndarray, np.ndarray, float], np.ndarray]] = {
    "logistic": logistic,
    "ridge": lambda codes, values, threshold: ridge(codes, values),
    "svm": lambda codes, values, threshold: svm(codes, values),
}
"""Those that need no slopes, by name: (codes, values, threshold) -> direction."""


def span(vectors: np.ndarray) -> np.ndarray:
    """An orthonormal basis (r, K) of what vectors (m, K) span, r <= m.

    By singular values: a QR decomposition of vectors that depend on each other, as those of all levels of a category
    do, would add directions that none of them has.
    """
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors = vectors[lengths[:, 0] > 0] / lengths[lengths[:, 0] > 0]
    if not len(vectors):
        return vectors
    _, sizes, basis = np.linalg.svd(vectors, full_matrices=False)
    return basis[sizes > NOTHING * sizes[0]]


def orthogonal(direction: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The direction (K,) without what lies in the span of other vectors (m, K): no linear prediction by them changes.

    Raises:
        AnomalyError: nothing is left, or less than 1 % of its length.
    """
    basis = span(others)
    rest = direction
    for _ in range(2):  # once more for what rounding left
        rest = rest - (rest @ basis.T) @ basis
    if np.linalg.norm(rest) < LEAST * np.linalg.norm(direction):
        raise AnomalyError(
            "nothing is left of the direction without what tells the nuisances: by these codes disease and nuisances "
            "are one and the same; leave some out, or match cases and controls by them"
        )
    return _unit(rest)


class _Standardised:
    """Codes with mean 0 and SD 1; of what never varies the SD is left at 1."""

    def __init__(self, codes: np.ndarray) -> None:
        codes = codes.astype(np.float64)
        spread = codes.std(0)
        self.spread = np.where(spread > 0, spread, 1.0)
        self.scaled = (codes - codes.mean(0)) / self.spread


def _coefficients(model: Any, codes: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Coefficients (m, K), in units of the codes, of a linear model of standardised ones."""
    standard = _Standardised(codes)
    return np.atleast_2d(model.fit(standard.scaled, y).coef_) / standard.spread


def _varied(values: np.ndarray) -> None:
    if np.ptp(values) == 0:
        raise AnomalyError(
            f"the target is {values[0]:.4g} for all {len(values)} drawn images, so no direction changes it; draw from "
            "a generator that was trained on what the target tells apart"
        )


def _unit(vector: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(vector)
    if not length > 0:
        raise AnomalyError(
            "no direction in the space of codes raises the target: its slopes cancel or vanish; take another direction"
        )
    return np.asarray(vector, dtype=np.float64) / length
