"""How near images come: by hand, by the definition written out, and as scikit-image 0.26 says."""

import numpy as np
import pytest

from anomaly.errors import EvaluationError
from anomaly.statistics.fidelity import normalised_error, psnr, rmse, ssim


def test_by_hand() -> None:
    truth, image = np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([[0.0, 1.0], [1.0, 0.2]])
    assert rmse(truth, image) == pytest.approx(0.1)  # sqrt(0.04 / 4)
    assert psnr(truth, image, data_range=1) == pytest.approx(20)
    assert psnr(truth, image, data_range=2) == pytest.approx(20 + 20 * np.log10(2))
    assert normalised_error(truth, image) == pytest.approx(0.04 / 2)
    assert normalised_error(truth, image, black=-1) == pytest.approx(0.04 / 10)  # 1 + 4 + 4 + 1
    assert psnr(truth, truth, data_range=1) == pytest.approx(120)


def test_inside_a_mask_the_rest_does_not_count() -> None:
    truth, image = np.zeros((2, 2)), np.array([[0.0, 3.0], [0.1, 0.1]])
    inside = np.array([[False, False], [True, True]])
    assert rmse(truth, image, inside=inside) == pytest.approx(0.1)
    assert psnr(truth, image, data_range=1, inside=inside) == pytest.approx(20)
    assert np.isnan(normalised_error(truth, image, inside=inside))


def test_ssim_of_constants_is_its_luminance_alone() -> None:
    x, y = np.full((16, 16), 0.5), np.full((16, 16), 0.7)
    c1 = 0.01**2
    assert ssim(x, y, data_range=1) == pytest.approx((2 * 0.35 + c1) / (0.25 + 0.49 + c1))
    assert ssim(x, x, data_range=1) == pytest.approx(1)


def test_ssim_is_the_definition_under_eleven_taps() -> None:
    """One place, its window summed out."""
    rng = np.random.default_rng(0)
    x, y = rng.random((11, 11)), rng.random((11, 11))
    place = np.arange(-5, 6)
    along = np.exp(-(place**2) / (2 * 1.5**2))
    weight = np.outer(along, along) / along.sum() ** 2
    mean = [(weight * each).sum() for each in (x, y)]
    variance = [(weight * (each - m) ** 2).sum() for each, m in zip((x, y), mean, strict=True)]
    shared = (weight * (x - mean[0]) * (y - mean[1])).sum()
    c1, c2 = 0.01**2, 0.03**2
    expected = (2 * mean[0] * mean[1] + c1) / (mean[0] ** 2 + mean[1] ** 2 + c1)
    expected *= (2 * shared + c2) / (variance[0] + variance[1] + c2)
    assert ssim(x, y, data_range=1) == pytest.approx(expected)


def test_ssim_is_that_of_scikit_image() -> None:
    """structural_similarity(x, y, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1)."""
    rng = np.random.default_rng(1)
    x = rng.random((24, 20))
    y = np.clip(x + 0.2 * rng.standard_normal((24, 20)), 0, 1)
    assert ssim(x, y, data_range=1) == pytest.approx(SKIMAGE_2D, abs=1e-6)
    x = rng.random((14, 13, 12))
    y = np.clip(x + 0.2 * rng.standard_normal((14, 13, 12)), 0, 1)
    assert ssim(x, y, data_range=1) == pytest.approx(SKIMAGE_3D, abs=1e-6)


def test_small_images_are_judged_up_to_their_edges() -> None:
    x = np.random.default_rng(0).random((5, 5))
    assert ssim(x, x, data_range=1) == pytest.approx(1)


def test_two_shapes_are_refused() -> None:
    with pytest.raises(EvaluationError, match=r"\(2, 2\) and \(2, 3\)"):
        rmse(np.zeros((2, 2)), np.zeros((2, 3)))


SKIMAGE_2D, SKIMAGE_3D = 0.8056100406526122, 0.8391217554756484
