"""Distances between sets of features against closed forms and values worked by hand."""

import numpy as np
import pytest

from anomaly.errors import AnomalyError
from anomaly.statistics.distances import frechet, kid, median_distance, mmd2, nearest


def gaussian(n: int, mean: np.ndarray, spread: np.ndarray, seed: int) -> np.ndarray:
    """Features (n, d) whose own mean is `mean` and whose own covariance is spread @ spread.T, to rounding."""
    raw = np.random.default_rng(seed).normal(size=(n, len(mean)))
    raw -= raw.mean(0)
    white = raw @ np.linalg.inv(np.linalg.cholesky(np.cov(raw.T))).T
    return mean + white @ spread.T


def test_frechet_distance_of_two_gaussians() -> None:
    """In one basis: |difference of means|^2 plus the squared differences of standard deviations."""
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    mean, sd = np.array([1.0, -2.0, 0.5]), (np.array([1.0, 2.0, 3.0]), np.array([2.0, 0.5, 3.0]))
    x = gaussian(40, np.zeros(3), rotation @ np.diag(sd[0]), seed=1)
    y = gaussian(60, mean, rotation @ np.diag(sd[1]), seed=2)
    assert frechet(x, y) == pytest.approx((mean**2).sum() + 1 + 1.5**2)


def test_frechet_distance_where_covariances_do_not_commute() -> None:
    a, b = np.array([[2.0, 0.0], [1.0, 1.0]]), np.array([[1.0, 0.7], [0.0, 0.4]])
    x, y = gaussian(30, np.zeros(2), a, seed=1), gaussian(30, np.zeros(2), b, seed=2)
    product = a @ a.T @ b @ b.T
    root = np.sqrt(np.trace(product) + 2 * np.sqrt(np.linalg.det(product)))  # trace of the root of a 2 x 2 matrix
    assert frechet(x, y) == pytest.approx(np.trace(a @ a.T) + np.trace(b @ b.T) - 2 * root)


def test_frechet_distance_of_a_set_from_itself_is_0_also_with_fewer_images_than_features() -> None:
    for n in (5, 100):
        x = np.random.default_rng(0).normal(size=(n, 20))
        assert frechet(x, x) == pytest.approx(0, abs=1e-9)
        assert frechet(x, x + 1) == pytest.approx(20)


def test_mmd_is_without_bias_and_sees_a_shift_and_a_spread() -> None:
    random = np.random.default_rng(0)
    same = [mmd2(random.normal(size=(15, 3)), random.normal(size=(20, 3)), 2.0) for _ in range(400)]
    assert min(same) < 0  # a biased one never is
    assert np.mean(same) == pytest.approx(0, abs=3 * np.std(same) / 20)
    x = random.normal(size=(200, 3))
    assert mmd2(x, random.normal(size=(200, 3)) + 1, 2.0) > 0.05
    assert mmd2(x, 3 * random.normal(size=(200, 3)), 2.0) > 0.05  # the same mean: an inner product sees nothing


def test_mmd_by_hand() -> None:
    x, y = np.array([[0.0], [1.0]]), np.array([[0.0], [2.0]])

    def k(d: float) -> float:
        return float(np.exp(-(d**2) / 2))

    assert mmd2(x, y, 1.0) == pytest.approx(k(1) + k(2) - 2 * (k(0) + k(2) + k(1) + k(1)) / 4)


def test_median_distance() -> None:
    assert median_distance(np.array([[0.0, 0], [3, 4], [0, 1]])) == pytest.approx(np.sqrt(18))
    with pytest.raises(AnomalyError, match="3 real images do not differ"):
        median_distance(np.zeros((3, 2)))


def test_kernel_distance_by_hand() -> None:
    """One feature, k(a, b) = (ab + 1)^3: within x 1, within y (2 * 3 + 1)^3, across (1 + 1 + 27 + 64) / 4."""
    x, y = np.array([[0.0], [1.0]]), np.array([[2.0], [3.0]])
    assert kid(x, y) == pytest.approx(1 + 7**3 - 2 * (1 + 1 + 3**3 + 4**3) / 4)
    both = np.array([[1.0, 1.0], [0.0, 2.0]])  # a.b / 2 + 1 = 2 within; against zeros 1
    assert kid(both, np.zeros((3, 2))) == pytest.approx(2**3 + 1 - 2)


def test_kernel_distance_is_the_double_loop_without_pairs_of_the_same() -> None:
    random = np.random.default_rng(0)
    x, y = random.normal(size=(6, 4)), random.normal(0.5, 2, size=(9, 4))

    def k(a: np.ndarray, b: np.ndarray) -> float:
        return float((sum(one * other for one, other in zip(a, b, strict=True)) / 4 + 1) ** 3)

    within = [
        sum(k(a, b) for i, a in enumerate(z) for j, b in enumerate(z) if i != j) / (len(z) * (len(z) - 1))
        for z in (x, y)
    ]
    across = sum(k(a, b) for a in x for b in y) / (6 * 9)
    assert kid(x, y) == pytest.approx(sum(within) - 2 * across)
    assert kid(x.astype(np.float32), y.astype(np.float32)) == pytest.approx(kid(x, y), rel=1e-4)


def test_kernel_distance_is_without_bias_and_sees_a_shift_a_spread_and_a_skew() -> None:
    random = np.random.default_rng(0)
    same = [kid(random.normal(size=(15, 3)), random.normal(size=(20, 3))) for _ in range(400)]
    assert min(same) < 0
    assert np.mean(same) == pytest.approx(0, abs=3 * np.std(same) / 20)
    x = random.normal(size=(4000, 3))
    assert kid(x, random.normal(size=(4000, 3)) + 1) > 1
    assert kid(x, 2 * random.normal(size=(4000, 3))) > 1
    skewed = random.exponential(size=(4000, 3)) - 1  # mean 0, variance 1, third moment 2 in each feature
    assert kid(x, skewed) == pytest.approx(3 * 2**2 / 3**3, rel=0.3)


@pytest.mark.parametrize("shapes", [((1, 3), (5, 3)), ((5, 3), (1, 3)), ((5, 3), (5, 2))])
def test_kernels_want_two_images_on_each_side_with_the_same_features(shapes: tuple[tuple[int, int], ...]) -> None:
    x, y = (np.zeros(shape) for shape in shapes)
    for distance in (kid, lambda a, b: mmd2(a, b, 1.0)):
        with pytest.raises(AnomalyError, match="two images or more on each side, got"):
            distance(x, y)


def test_nearest() -> None:
    assert nearest(np.array([[0.0], [10.0]]), np.array([[1.0], [7.0]])).tolist() == [1, 3]
