"""The trivial detectors against numpy and scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA as Reference
from tiny import CPU, normals, with_lesion
from torch import Tensor

from anomaly.detectors import PCA, Intensity, MeanImage
from anomaly.errors import AnomalyError

SPACES = {"2D": (2, 9, 11), "3D": (1, 6, 7, 5)}
shapes = pytest.mark.parametrize("shape", SPACES.values(), ids=SPACES)


def flat(x: Tensor) -> np.ndarray:
    return x.flatten(1).double().numpy()


@shapes
def test_intensity_is_the_mean_brightness_from_0_to_1(shape):
    detector, x = Intensity().fit(normals(3, shape), machine=CPU), torch.rand(4, *shape) * 2 - 1
    score = detector.score(x)
    torch.testing.assert_close(score.value, (x.flatten(1).mean(1) + 1) / 2)
    torch.testing.assert_close(score.map, (x.mean(1, keepdim=True) + 1) / 2)
    assert detector.score(torch.full((1, *shape), -1.0)).value.item() == 0
    assert detector.score(torch.full((1, *shape), 1.0)).value.item() == 1
    assert detector.reconstruct(x) is None


@shapes
@pytest.mark.parametrize("n", [1, 5, 130])  # 130 images come in three parts
def test_the_mean_image_is_exact(shape, n):
    images, x = normals(n, shape), normals(4, shape, seed=8)
    detector = MeanImage().fit(images, machine=CPU)
    expected = images.double().mean(0, keepdim=True).float()
    assert torch.equal(detector.net_.mean, expected)
    torch.testing.assert_close(detector.score(x).map, (x - expected).abs().mean(1, keepdim=True))
    torch.testing.assert_close(detector.score(x).value, (x - expected).abs().flatten(1).mean(1))
    assert torch.equal(detector.reconstruct(x), expected.expand_as(x))
    assert not detector.score(expected).map.any()


@shapes
@pytest.mark.parametrize("n", [40, 150])
def test_principal_components_are_scikit_learns(shape, n):
    images, x = normals(n, shape), with_lesion(normals(6, shape, seed=8))
    detector = PCA(components=5).fit(images, machine=CPU)
    reference = Reference(5, svd_solver="full").fit(flat(images))
    axes = detector.net_.axes.double().numpy()
    np.testing.assert_allclose(np.abs((axes * reference.components_).sum(1)), 1, atol=1e-5)
    np.testing.assert_allclose(axes @ axes.T, np.eye(5), atol=1e-5)
    np.testing.assert_allclose(detector.net_.variances, reference.explained_variance_, rtol=1e-5)
    drawn = reference.inverse_transform(reference.transform(flat(x)))
    np.testing.assert_allclose(flat(detector.reconstruct(x)), drawn, atol=1e-5)
    residual = np.square(flat(x) - drawn)
    np.testing.assert_allclose(detector.score(x).value, residual.mean(1), rtol=1e-4)
    by_pixel = residual.reshape(x.shape).mean(1, keepdims=True)
    np.testing.assert_allclose(detector.score(x).map, by_pixel, rtol=1e-3, atol=1e-5)


@shapes
def test_mahalanobis_is_that_of_the_components(shape):
    images, x = normals(40, shape), normals(6, shape, seed=8)
    detector = PCA(components=5, value_from="mahalanobis").fit(images, machine=CPU)
    reference = Reference(5, svd_solver="full").fit(flat(images))
    expected = (reference.transform(flat(x)) ** 2 / reference.explained_variance_).mean(1)
    np.testing.assert_allclose(detector.score(x).value, expected, rtol=1e-4)
    own = detector.score(images).value
    assert own.mean().item() == pytest.approx(39 / 40, rel=1e-5), "the mean over the n images it was fitted on"


def test_both_distances_are_offered_whichever_ranks():
    images, x = normals(20, (1, 8, 8)), normals(3, (1, 8, 8), seed=8)
    residual, mahalanobis = (
        PCA(components=3, value_from=chosen).fit(images, machine=CPU).score(x) for chosen in ("residual", "mahalanobis")
    )
    assert residual.parts.keys() == mahalanobis.parts.keys() == {"residual", "mahalanobis"}
    assert torch.equal(residual.value, mahalanobis.parts["residual"])
    assert torch.equal(mahalanobis.value, residual.parts["mahalanobis"])
    assert torch.equal(residual.map, mahalanobis.map)


def test_normals_in_the_span_are_drawn_without_error():
    images = normals(6, (1, 8, 8))
    score = PCA(components=5).fit(images, machine=CPU).score(images)
    assert score.map.max() < 1e-10


def test_axes_along_which_normals_do_not_vary_draw_nothing():
    """Ten copies of three images vary along two axes; the six asked for beyond them stay empty."""
    images, x = normals(3, (1, 8, 8)).repeat(10, 1, 1, 1), normals(4, (1, 8, 8), seed=8)
    eight, two = PCA(components=8).fit(images, machine=CPU), PCA(components=2).fit(images, machine=CPU)
    np.testing.assert_allclose(eight.net_.axes.norm(dim=1), [1, 1, *[0] * 6], atol=1e-5)
    torch.testing.assert_close(eight.reconstruct(x), two.reconstruct(x))
    torch.testing.assert_close(4 * eight.mahalanobis(x), two.mahalanobis(x))


def test_more_components_than_the_normals_allow_are_told():
    with pytest.raises(AnomalyError, match=r"8 components need more than 8 normal images, got 8; lower"):
        PCA(components=8).fit(normals(8, (1, 8, 8)), machine=CPU)
