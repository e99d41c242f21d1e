"""How far two sets of features, (n, d) and (m, d) as float arrays, are from one another."""

from collections.abc import Callable
from math import sqrt

import numpy as np
from scipy.spatial.distance import cdist, pdist

from anomaly.errors import AnomalyError


def median_distance(x: np.ndarray) -> float:
    """The median Euclidean distance between two rows: the usual width of a kernel.

    Raises:
        AnomalyError: it is 0, or there are fewer than two rows.
    """
    width = float(np.median(pdist(x))) if len(x) > 1 else 0.0
    if not width > 0:
        raise AnomalyError(f"the {len(x)} real images do not differ in these features; give others, or more of them")
    return width


def mmd2(x: np.ndarray, y: np.ndarray, width: float) -> float:
    """Squared maximum mean discrepancy with a Gaussian kernel, without bias, so it may be below 0.

    Gretton et al. 2012, equation 3, with k(a, b) = exp(-|a - b|^2 / (2 width^2)). MONAI's is without bias too, but
    its kernel is the inner product, which sees means only, and it wants as many rows on both sides.

    Raises:
        AnomalyError: fewer than two rows on a side, or features of other numbers.
    """
    return _discrepancy(lambda a, b: np.exp(cdist(a, b, "sqeuclidean") / (-2 * width**2)), x, y)


def kid(x: np.ndarray, y: np.ndarray) -> float:
    """Kernel inception distance of features (n, d) and (m, d): squared, without bias, so it may be below 0.

    Binkowski et al. 2018, section 4: the discrepancy of Gretton et al. 2012, equation 3, with
    k(a, b) = (a.b / d + 1)^3, which compares the first three moments. Its mean does not depend on how many rows there
    are, all of which are used at once, but its size depends on the unit of the features.

    Raises:
        AnomalyError: fewer than two rows on a side, or features of other numbers.
    """
    return _discrepancy(lambda a, b: (a @ b.T / a.shape[1] + 1) ** 3, x.astype(float), y.astype(float))


def _discrepancy(kernel: Callable[[np.ndarray, np.ndarray], np.ndarray], x: np.ndarray, y: np.ndarray) -> float:
    """Squared discrepancy without bias: a row is never held against itself."""
    if min(len(x), len(y)) < 2 or x.shape[1:] != y.shape[1:]:
        raise AnomalyError(
            f"expected features (n, d) and (m, d) of two images or more on each side, got {x.shape} and {y.shape}"
        )
    alone = [kernel(each, each) for each in (x, y)]
    within = [(each.sum() - np.trace(each)) / (len(each) * (len(each) - 1)) for each in alone]
    return float(sum(within) - 2 * kernel(x, y).mean())


def frechet(x: np.ndarray, y: np.ndarray) -> float:
    """Squared Frechet distance of the normal distributions with the means and covariances of two sets of features.

    |m_x - m_y|^2 + tr(S_x + S_y - 2 (S_x S_y)^(1/2)): Dowson and Landau 1982; Heusel et al. 2017, equation 6. With
    rows A and B such that S_x = A'A and S_y = B'B, the last trace is the sum of the singular values of AB'. That needs
    no square root of a product that is nearly singular where images are few; MONAI takes one numerically, by an
    argument that newer SciPy no longer has.
    """
    rows = [(each - each.mean(0)) / sqrt(len(each) - 1) for each in (x.astype(float), y.astype(float))]
    a, b = (np.asarray(np.linalg.qr(each, mode="r")) for each in rows)
    spread = np.square(a).sum() + np.square(b).sum() - 2 * np.linalg.svdvals(a @ b.T).sum()
    return float(np.square(x.mean(0) - y.mean(0)).sum() + max(0.0, float(spread)))


def nearest(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """How far each row of x is from the nearest row of y, (n,)."""
    return np.asarray(cdist(x, y).min(axis=1))
