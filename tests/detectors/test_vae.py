"""The variational autoencoder: no chance in a score, and its heads by hand."""

from math import prod

import pytest
import torch
from tiny import CPU, normals, tiny, with_lesion
from torch import Tensor

from anomaly.detectors import VAE
from anomaly.nets.losses import gaussian_blur, kl_to_standard_normal

SHAPES = {"2D": (2, 12, 10), "3D": (1, 6, 8, 7)}


@pytest.fixture(scope="module", params=SHAPES.values(), ids=SHAPES)
def trained(request) -> tuple[VAE, Tensor]:
    """A detector with weights large enough for every term to show, and images to score."""
    shape = request.param
    detector = tiny("vae", steps=30, beta=0.3).fit(normals(20, shape), machine=CPU)
    return detector, with_lesion(normals(4, shape, seed=3))


def divergence(detector: VAE, x: Tensor) -> Tensor:
    return kl_to_standard_normal(*detector.net_["autoencoder"].encode(x))


@pytest.mark.parametrize("value_from", ["l1", "l2", "ssim", "elbo", "gradient", "combined"])
def test_a_score_does_not_change_with_the_random_state(value_from):
    detector = tiny("vae", steps=5, value_from=value_from).fit(normals(8, (1, 8, 8)), machine=CPU)
    x = normals(3, (1, 8, 8), seed=3)
    scores = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        scores.append(detector.score(x))
    assert torch.equal(scores[0].value, scores[1].value) and torch.equal(scores[0].map, scores[1].map)


def test_it_draws_from_the_posterior_mean(trained):
    detector, x = trained
    network = detector.net_["autoencoder"]
    mean, _ = network.encode(x)
    drawn = network.decode(mean)[0].clamp(-1, 1)
    assert torch.equal(detector.reconstruct(x), drawn)
    torch.testing.assert_close(detector.score(x).parts["l2"], (x - drawn).square().flatten(1).mean(1))
    torch.testing.assert_close(detector.residuals(x)["l1"].detach(), (x - drawn).abs().mean(1, keepdim=True))


def test_the_evidence_bound_is_residual_and_divergence_per_pixel(trained):
    detector, x = trained
    l2 = (x - detector.reconstruct(x)).square().mean(1, keepdim=True)
    share = 0.3 * divergence(detector, x) / prod(x.shape[1:])
    expected = l2 + share.view(-1, *[1] * (x.ndim - 1))
    torch.testing.assert_close(detector.residuals(x)["elbo"], expected)
    torch.testing.assert_close(detector.score(x).parts["elbo"], expected.flatten(1).mean(1))
    assert (share > 1e-3 * l2.flatten(1).mean(1)).all(), "the divergence weighs enough to be seen"


def test_the_loss_by_hand(trained):
    detector, x = trained
    network = detector.net_["autoencoder"]
    mean, log_variance = network.encode(x)
    torch.manual_seed(4)
    drawn = network.decode(mean + (log_variance / 2).exp() * torch.randn(mean.shape))[0]
    squares = (x - drawn).square().flatten(1).sum(1)
    expected = ((squares + 0.3 * divergence(detector, x)) / prod(x.shape[1:])).mean()
    torch.manual_seed(4)
    torch.testing.assert_close(detector.loss(x), expected)


def test_the_gradient_head_is_the_slope_of_the_divergence_times_the_residual(trained, tmp_path):
    """Every pixel's slope by finite differences in double precision."""
    detector, x = trained
    detector.save(tmp_path / "weights.safetensors")
    detector, x = VAE.load(tmp_path / "weights.safetensors"), x[:2].double()
    detector.net_.double()
    slope, step = torch.empty_like(x).flatten(1), 1e-6
    for i in range(slope.shape[1]):
        nudge = torch.zeros_like(slope)
        nudge[:, i] = step
        up, down = (divergence(detector, x + sign * nudge.view_as(x)) for sign in (1, -1))
        slope[:, i] = (up - down) / (2 * step)
    l1 = (x - detector.reconstruct(x)).abs().mean(1, keepdim=True)
    expected = gaussian_blur(slope.view_as(x).abs().mean(1, keepdim=True) * l1, min(x.shape[2:]) / 64)
    torch.testing.assert_close(detector.residuals(x)["gradient"], expected, rtol=1e-4, atol=1e-7)


def test_training_narrows_the_posterior_where_the_code_is_used():
    """One factor of variation: one axis of the code carries it, with a posterior narrower than the prior."""
    pattern = normals(1, (1, 8, 8), seed=5) - normals(1, (1, 8, 8), seed=6)
    shift = torch.randn(64, 1, 1, 1, generator=torch.Generator().manual_seed(0))
    images = (shift * pattern / pattern.std() * 0.3).clamp(-1, 1)
    detector = tiny("vae", steps=300, batch=32, beta=1.0).fit(images, machine=CPU)
    mean, log_variance = detector.net_["autoencoder"].encode(images)
    used = int(log_variance.mean(0).argmin())
    assert log_variance.mean(0)[used] < -1
    correlation = torch.corrcoef(torch.stack([mean[:, used], shift.flatten()]))[0, 1]
    assert correlation.abs() > 0.9
