"""Residuals and penalties against closed forms, slow explicit sums and other libraries."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor, nn

from anomaly.nets.losses import (
    dissimilarity,
    gaussian_blur,
    gaussian_nll,
    gradient_penalty,
    in_pixels,
    kl_to_standard_normal,
    l1,
    l2,
)


def images(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2 - 1


@pytest.mark.parametrize("space", [(12, 17), (7, 9, 8)])
@pytest.mark.parametrize("sigma", [0.2, 0.75, 1.5, 3.0, 8.0])  # the widest window is wider than the image
def test_blur_is_scipys_with_edges_repeated(space, sigma):
    x = images(2, 3, *space)
    radius = max(1, round(3 * sigma))
    expected = [[ndimage.gaussian_filter(c.numpy(), sigma, mode="nearest", radius=radius) for c in one] for one in x]
    torch.testing.assert_close(gaussian_blur(x, sigma), torch.from_numpy(np.array(expected)), rtol=1e-10, atol=1e-12)


def test_blur_keeps_constants_types_and_without_a_width_everything():
    x = images(1, 1, 9, 6).float()
    assert gaussian_blur(x, 0.0) is x
    assert gaussian_blur(x, 2.0).dtype == torch.float32
    torch.testing.assert_close(gaussian_blur(torch.full((1, 2, 5, 5), 0.7), 3.0), torch.full((1, 2, 5, 5), 0.7))


def test_the_wide_window_grows_with_the_smallest_side():
    assert in_pixels(3, (64, 64)) == 3.0
    assert in_pixels(3, (128, 256)) == 6.0
    assert in_pixels(3, (64, 32, 48)) == 1.5


def slow_dissimilarity(x: np.ndarray, y: np.ndarray, sigma: float) -> np.ndarray:
    """Wang et al. 2004, eq. 13, with L = 2 for [-1, 1]: a weighted window around each pixel in turn."""
    radius, (height, width) = max(1, round(3 * sigma)), x.shape
    out = np.empty_like(x)
    offsets = range(-radius, radius + 1)
    for i in range(height):
        for j in range(width):
            places = [(a, b) for a in offsets for b in offsets]
            w = np.array([math.exp(-(a * a + b * b) / (2 * sigma * sigma)) for a, b in places])
            w /= w.sum()
            at = [(min(max(i + a, 0), height - 1), min(max(j + b, 0), width - 1)) for a, b in places]
            # The constants of eq. 13 belong to intensities from 0 to L.
            p, q = (np.array([1 + image[place] for place in at]) for image in (x, y))
            mp, mq = w @ p, w @ q
            vp, vq, cov = w @ (p - mp) ** 2, w @ (q - mq) ** 2, w @ ((p - mp) * (q - mq))
            c1, c2 = (0.01 * 2) ** 2, (0.03 * 2) ** 2
            out[i, j] = 1 - (2 * mp * mq + c1) * (2 * cov + c2) / ((mp**2 + mq**2 + c1) * (vp + vq + c2))
    return out


@pytest.mark.parametrize("sigma", [0.5, 1.5])
def test_dissimilarity_is_the_formula(sigma):
    x = images(2, 2, 8, 11, seed=1)
    y = (x + 0.4 * images(2, 2, 8, 11, seed=2)).clamp(-1, 1)
    result = dissimilarity(x, y, sigma)
    for n in range(2):
        for c in range(2):
            slow = slow_dissimilarity(x[n, c].numpy(), y[n, c].numpy(), sigma)
            np.testing.assert_allclose(result[n, c], slow, rtol=1e-9, atol=1e-12)


def test_dissimilarity_takes_the_wide_window_by_default():
    x, y = images(1, 1, 32, 40, seed=1), images(1, 1, 32, 40, seed=2)
    assert torch.equal(dissimilarity(x, y), dissimilarity(x, y, 1.5))
    assert not torch.equal(dissimilarity(x, y), dissimilarity(x, y, 1.4))


@pytest.mark.parametrize("space", [(16, 20), (8, 9, 10)])
def test_dissimilarity_is_a_distance_of_sorts(space):
    x, y = images(3, 1, *space, seed=1).float(), images(3, 1, *space, seed=2).float()
    assert (dissimilarity(x, x.clone()) <= 1e-6).all()
    torch.testing.assert_close(dissimilarity(x, y), dissimilarity(y, x))
    assert (dissimilarity(x, y) >= 0).all() and (dissimilarity(x, y) <= 2 + 1e-6).all()
    assert dissimilarity(x, -x).mean() > dissimilarity(x, y).mean() > dissimilarity(x, 0.9 * x).mean()


@pytest.mark.parametrize("level", [-1.0, -0.3, 0.0, 0.3, 0.9999, 1.0])
def test_dissimilarity_of_flat_images_is_no_rounding(level):
    """In single precision the variance of a flat image is rounding, of either sign."""
    flat = torch.full((1, 1, 32, 32), level)
    assert (dissimilarity(flat, flat.clone()) <= 1e-6).all()
    near = flat + 1e-4 * images(1, 1, 32, 32).float()
    assert (dissimilarity(flat, near) >= 0).all() and dissimilarity(flat, near).max() < 2e-3


def test_dissimilarity_of_two_levels_by_hand():
    """Flat images differ in luminance only: 1 - (2ab + c1) / (a^2 + b^2 + c1) on the scale 0 to 1."""
    a, b, c1 = 0.75, 0.25, 1e-4
    result = dissimilarity(torch.full((1, 1, 8, 8), 2 * a - 1), torch.full((1, 1, 8, 8), 2 * b - 1))
    torch.testing.assert_close(result, torch.full_like(result, 1 - (2 * a * b + c1) / (a * a + b * b + c1)))


def test_dissimilarity_keeps_its_precision_in_mixed_precision():
    x, noise = images(1, 1, 32, 32, seed=1).float(), images(1, 1, 32, 32, seed=2).float()
    expected = dissimilarity(x, x + 0.05 * noise)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = dissimilarity(x, x + 0.05 * noise)
    torch.testing.assert_close(mixed, expected)


def test_dissimilarity_has_the_slope_of_finite_differences():
    x, y = images(1, 1, 6, 7, seed=1).requires_grad_(True), images(1, 1, 6, 7, seed=2)
    assert torch.autograd.gradcheck(lambda image: dissimilarity(image, y, 1.0).mean(), x)
    flat = torch.zeros(1, 1, 8, 8, requires_grad=True)
    (slope,) = torch.autograd.grad(dissimilarity(flat, torch.zeros(1, 1, 8, 8)).mean(), flat)
    assert torch.isfinite(slope).all()


def test_pixel_differences_by_hand():
    x, y = torch.tensor([0.5, -1.0, 0.0]), torch.tensor([-0.5, -0.5, 0.0])
    assert l1(x, y).tolist() == [1.0, 0.5, 0.0]
    assert l2(x, y).tolist() == [1.0, 0.25, 0.0]


def test_gaussian_nll_is_lowest_where_the_variance_is_the_squared_residual():
    r = torch.tensor([0.01, 0.3, 2.0], dtype=torch.float64)
    s = r.square().log().requires_grad_(True)
    (slope,) = torch.autograd.grad(gaussian_nll(r, s).sum(), s)
    torch.testing.assert_close(slope, torch.zeros(3, dtype=torch.float64), atol=1e-12, rtol=0)
    torch.testing.assert_close(gaussian_nll(r, s.detach()), 1 + s.detach())
    for other in (-0.1, 0.1):
        assert (gaussian_nll(r, s.detach() + other) > gaussian_nll(r, s.detach())).all()


def test_gaussian_nll_is_twice_the_negative_log_density_but_for_a_constant():
    r, s = images(5), images(5, seed=1)
    density = torch.distributions.Normal(0.0, (0.5 * s).exp()).log_prob(r)
    torch.testing.assert_close(gaussian_nll(r, s), -2 * density - math.log(2 * math.pi))


def test_the_divergence_of_gaussians_is_torchs():
    mean, log_variance = 2 * images(4, 6, seed=1), 3 * images(4, 6, seed=2)
    ours = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
    standard = torch.distributions.Normal(torch.zeros_like(mean), torch.ones_like(mean))
    expected = torch.distributions.kl_divergence(ours, standard).sum(1)
    torch.testing.assert_close(kl_to_standard_normal(mean, log_variance), expected)
    assert kl_to_standard_normal(torch.zeros(2, 3), torch.zeros(2, 3)).tolist() == [0, 0]


@pytest.mark.parametrize("shape", [(5, 1, 4, 6), (3, 2, 3, 4, 2), (4, 7)])
@pytest.mark.parametrize("target", [1.0, 0.0])
def test_the_penalty_of_a_linear_critic_is_known(shape, target):
    critic = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape[1:]), 1)).double()
    penalty = gradient_penalty(critic, images(*shape, seed=1), images(*shape, seed=2), target)
    expected = (critic[1].weight.norm() - target) ** 2
    torch.testing.assert_close(penalty, expected.expand(shape[0]))


def test_the_penalty_is_taken_for_each_image_alone():
    """For D(x) = |x|^2 / 2 the slope is x^ itself, between real and fake images at one random share an image."""
    real, fake = images(6, 1, 3, 3, seed=1), images(6, 1, 3, 3, seed=2)
    torch.manual_seed(3)
    penalty = gradient_penalty(lambda x: x.square().flatten(1).sum(1) / 2, real, fake)
    torch.manual_seed(3)
    u = torch.rand(6, 1, 1, 1, dtype=torch.float64)
    between = u * real + (1 - u) * fake
    torch.testing.assert_close(penalty, (between.flatten(1).norm(dim=1) - 1) ** 2)


def test_the_penalty_moves_the_critic_and_nobody_else():
    critic = nn.Sequential(nn.Flatten(), nn.Linear(9, 1, bias=False)).double()
    fake = images(4, 1, 3, 3, seed=2).requires_grad_(True)
    gradient_penalty(critic, images(4, 1, 3, 3, seed=1), fake).mean().backward()
    weight = critic[1].weight
    torch.testing.assert_close(weight.grad, (2 * (1 - 1 / weight.norm()) * weight).detach())
    assert fake.grad is None


def test_the_penalty_of_a_critic_that_is_flat_can_be_differentiated():
    critic = nn.Sequential(nn.Flatten(), nn.Linear(4, 1))
    nn.init.zeros_(critic[1].weight)
    penalty = gradient_penalty(critic, torch.ones(2, 1, 2, 2), torch.zeros(2, 1, 2, 2))
    penalty.sum().backward()
    assert penalty.tolist() == [1, 1] and torch.isfinite(critic[1].weight.grad).all()
