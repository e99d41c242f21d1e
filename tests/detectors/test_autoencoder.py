"""Autoencoders: what they learn, against closed forms, and how a residual becomes a value, by hand."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
from scipy.linalg import subspace_angles
from sklearn.decomposition import PCA as Reference
from tiny import CPU, normals, tiny, with_lesion
from torch import Tensor, nn

from anomaly.detectors import Autoencoder, Score, TrainedDetector
from anomaly.detectors.moments import PRIOR_IMAGES
from anomaly.errors import AnomalyError
from anomaly.nets.autoencoder import Autoencoder as Network
from anomaly.nets.losses import dissimilarity, gaussian_blur, gaussian_nll

SHAPE = (2, 12, 10)
HEADS = ("l1", "l2", "ssim", "uncertainty")


@dataclass(kw_only=True)
class Linear(TrainedDetector):
    """A user's own method: two matrices."""

    name: ClassVar[str] = "linear"
    latent: int = 3

    def build(self, shape: tuple[int, ...]) -> nn.Module:
        pixels = int(np.prod(shape))
        return nn.Sequential(
            nn.Flatten(), nn.Linear(pixels, self.latent), nn.Linear(self.latent, pixels), nn.Unflatten(1, shape)
        )

    def loss(self, x: Tensor) -> Tensor:
        return (self.net_(x) - x).square().mean()

    def error(self, x: Tensor) -> Tensor:
        return (self.net_(x) - x).square().mean(1, keepdim=True)


def test_a_linear_autoencoder_finds_the_principal_components():
    random = torch.Generator().manual_seed(0)
    axes = torch.linalg.qr(torch.randn(30, 3, generator=random)).Q
    codes = torch.randn(300, 3, generator=random) * torch.tensor([3.0, 2.0, 1.5])
    images = (codes @ axes.T + 0.1 * torch.randn(300, 30, generator=random) + 0.5).view(300, 1, 6, 5)
    detector = Linear(steps=800, batch=300, lr=1e-2).fit(images, machine=CPU)
    reference = Reference(3).fit(images.flatten(1).numpy())
    angles = np.degrees(subspace_angles(detector.net_[2].weight.numpy(), reference.components_.T))
    assert angles.max() < 1
    drawn = reference.inverse_transform(reference.transform(images.flatten(1).numpy()))
    least = np.square(drawn - images.flatten(1).numpy()).mean()
    assert least <= detector.score(images).value.mean().item() < 1.01 * least


def test_a_method_without_loss_or_stages_is_told():
    class Empty(Linear):
        loss = TrainedDetector.loss

    with pytest.raises(NotImplementedError, match=r"Empty writes either loss\(x\) or stages\(\)"):
        Empty(steps=1).fit(normals(4, (1, 8, 8)), machine=CPU)


def test_the_seed_gives_the_order_of_the_batches():
    orders: list[list[float]] = []

    class Listening(Linear):
        def loss(self, x: Tensor) -> Tensor:
            orders[-1].extend(x.amax((1, 2, 3)).tolist())
            return super().loss(x)

    images = torch.linspace(-1, 1, 12).view(12, 1, 1, 1).expand(12, 1, 2, 2)
    for seed in (0, 0, 1):
        orders.append([])
        Listening(steps=6, batch=4).fit(images, torch.zeros(5, 1, 2, 2), machine=CPU, seed=seed)
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == sorted(orders[2]) == sorted(2 * images[:, 0, 0, 0].tolist())


def test_early_stopping_keeps_the_weights_that_drew_held_out_normals_best():
    """A large rate overshoots; looking at every step, no kept weights are worse than those of a shorter training."""
    images, held_out = normals(10, (1, 6, 5), seed=1), normals(30, (1, 6, 5), seed=2)
    settings = {"latent": 5, "batch": 10, "lr": 0.02}
    best = Linear(steps=150, patience=1000, look_every=1, **settings).fit(images, held_out, machine=CPU)
    kept = best.score(held_out).value.mean().item()
    for steps in (5, 40, 150):
        plain = Linear(steps=steps, **settings).fit(images, held_out, machine=CPU)
        assert kept <= plain.score(held_out).value.mean().item() + 1e-6


def test_uncertainty_recovers_the_variance_of_each_pixel():
    """Columns differ in noise by a factor of 36 in variance; the second map of the network finds it."""
    random = torch.Generator().manual_seed(0)
    sd = torch.linspace(0.05, 0.3, 8).expand(8, 8)
    images = (sd * torch.randn(2000, 1, 8, 8, generator=random)).clamp(-1, 1)
    detector = tiny("autoencoder", objective="uncertainty", latent=1, steps=500, batch=100)
    detector.fit(images, machine=CPU)
    with torch.no_grad():
        log_variance = detector.draw(images[:500]).log_variance.mean((0, 1))
    expected = images.var(0)[0].log()
    assert np.corrcoef(log_variance.flatten(), expected.flatten())[0, 1] > 0.98
    assert (log_variance - expected).abs().mean() < 0.2


def test_the_published_size_at_64_pixels():
    network = Network((1, 64, 64), latent=16, width=16, hidden=1024)
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(2.35e6, rel=0.01)
    assert [layer.out_channels for layer in network.modules() if isinstance(layer, nn.Conv2d)] == [16, 32, 64, 64]


@pytest.mark.parametrize("space", [(64, 64), (18, 20), (5, 40), (3, 3), (1, 4), (10, 12, 9), (4, 4, 4)])
def test_the_network_draws_images_of_any_size(space):
    network = Network((2, *space), latent=3, width=2, hidden=8, codes=2, maps=2).eval()
    x = torch.randn(2, 2, *space)
    mean, log_variance = network.encode(x)
    assert mean.shape == log_variance.shape == (2, 3)
    assert [drawn.shape for drawn in network(x)] == [x.shape, x.shape]


def test_a_volume_of_thick_slices_is_halved_along_each_axis_by_itself():
    network = Network((1, 160, 160, 24), latent=16, width=16, hidden=1024)
    assert network.pyramid.bottom == (5, 5, 6)
    assert sum(p.numel() for p in network.parameters()) < 25e6
    network = Network((1, 40, 40, 12), latent=2, width=2, hidden=4).eval()
    assert network(torch.zeros(1, 1, 40, 40, 12))[0].shape == (1, 1, 40, 40, 12)


@pytest.mark.parametrize("name", ["autoencoder", "vae"])
def test_a_run_of_an_earlier_version_whose_axes_were_halved_alike_is_read_as_it_was(name, tmp_path):
    detector, shape = tiny(name), (1, 64, 16)
    detector.make(shape, CPU, seed=0)
    detector.net_["autoencoder"] = detector.network(shape, alike=True)
    detector.net_.eval()
    detector.save(tmp_path / "weights.safetensors")
    x = normals(2, shape)
    again = type(detector).load(tmp_path / "weights.safetensors")
    assert torch.equal(again.reconstruct(x), detector.reconstruct(x))


@pytest.fixture(scope="module")
def trained() -> tuple[Autoencoder, Tensor, Tensor]:
    """All four heads over one network, held-out normals, and images to score."""
    images, held_out = normals(20, SHAPE, seed=1), normals(15, SHAPE, seed=2)
    detector = fitted(images, held_out)
    return detector, held_out, with_lesion(normals(4, SHAPE, seed=3))


def fitted(images: Tensor, held_out: Tensor, **settings: object) -> Autoencoder:
    detector = tiny("autoencoder", **{"objective": "uncertainty", "steps": 20, **settings})
    return detector.fit(images, held_out, machine=CPU)


def residuals_by_hand(detector: Autoencoder, x: Tensor) -> dict[str, Tensor]:
    with torch.no_grad():
        mean, s = detector.net_["autoencoder"](x)
    mean = mean.clamp(-1, 1)
    residuals = {
        "l1": (x - mean).abs(), "l2": (x - mean) ** 2, "ssim": dissimilarity(x, mean, 3 * 10 / 64),
        "uncertainty": (x - mean) ** 2 / s.exp(),
    }  # fmt: skip
    return {name: residual.mean(1, keepdim=True) for name, residual in residuals.items()}


def values_by_hand(detector: Autoencoder, held_out: Tensor, x: Tensor) -> dict[str, Tensor]:
    """Mean of max(0, z), z in units of the held-out normals at each pixel with the moderated sd."""
    reference, values = residuals_by_hand(detector, held_out), {}
    for name, residual in residuals_by_hand(detector, x).items():
        normal = reference[name].double()
        squares, n = (normal - normal.mean(0)).square().sum(0), len(normal)
        sd = ((squares + PRIOR_IMAGES * (squares / (n - 1)).mean()) / (n - 1 + PRIOR_IMAGES)).sqrt()
        z = (residual - normal.mean(0)) / sd
        values[name] = torch.where(z > 0, z, 0).flatten(1).mean(1)
    return values


def test_residuals_by_hand(trained):
    detector, _, x = trained
    residuals, expected = detector.residuals(x), residuals_by_hand(detector, x)
    assert tuple(residuals) == HEADS
    for name in HEADS:
        torch.testing.assert_close(residuals[name], expected[name])
    torch.testing.assert_close(detector.reconstruct(x), detector.net_["autoencoder"](x)[0].clamp(-1, 1))


def test_excess_values_by_hand(trained):
    detector, held_out, x = trained
    parts, expected = detector.score(x).parts, values_by_hand(detector, held_out, x)
    for name in HEADS:
        torch.testing.assert_close(parts[name + "_excess"].double(), expected[name], rtol=1e-3, atol=1e-6)


def test_combined_is_the_mean_of_standardised_excesses(trained):
    detector, held_out, x = trained
    normal, new = values_by_hand(detector, held_out, held_out), values_by_hand(detector, held_out, x)
    z = [(new[name] - normal[name].mean()) / normal[name].std(correction=0) for name in HEADS]
    settings = {**detector.settings(), "value_from": "combined"}
    combined = type(detector)(**settings).fit(normals(20, SHAPE, seed=1), held_out, machine=CPU)
    torch.testing.assert_close(combined.score(x).value.double(), torch.stack(z).mean(0), rtol=2e-3, atol=2e-3)
    torch.testing.assert_close(combined.score(held_out).value.mean(), torch.tensor(0.0), atol=1e-4, rtol=0)


def test_every_head_is_read_from_the_same_network(trained):
    detector, held_out, x = trained
    all_heads, residuals = detector.score(x).parts, residuals_by_hand(detector, x)
    for name in HEADS:
        other = fitted(normals(20, SHAPE, seed=1), held_out, value_from=name, map_from=name, smooth=0.8)
        score: Score = other.score(x)
        assert torch.equal(score.value, all_heads[name]), "the choice of a head changes nothing of the training"
        assert all(torch.equal(score.parts[part], all_heads[part]) for part in all_heads)
        torch.testing.assert_close(score.map, gaussian_blur(residuals[name], 0.8 * min(SHAPE[1:]) / 64))


def test_the_value_of_a_head_is_its_mean_residual(trained):
    detector, _, x = trained
    for name, residual in residuals_by_hand(detector, x).items():
        torch.testing.assert_close(detector.score(x).parts[name], residual.flatten(1).mean(1))


def test_the_width_of_the_window_is_a_setting(trained):
    _, held_out, x = trained
    settings = {"objective": "l2", "sigma": 2.0 * 64 / min(SHAPE[1:]), "map_from": "ssim", "smooth": 0.0}
    wide = fitted(normals(20, SHAPE, seed=1), held_out, **settings)
    drawn = wide.reconstruct(x)
    torch.testing.assert_close(wide.score(x).map, dissimilarity(x, drawn, 2.0).mean(1, keepdim=True))


@pytest.mark.parametrize("extreme", [-300.0, 300.0])
def test_an_absurd_log_variance_still_gives_numbers(extreme):
    images = normals(9, SHAPE)
    detector = fitted(images, images, value_from="combined", map_from="uncertainty")
    detector.net_["autoencoder"].decoder[-1].bias[2:] += extreme  # the last two maps are the log variances
    score = detector.score(with_lesion(images))
    assert torch.isfinite(score.map).all() and torch.isfinite(score.value).all()


@pytest.mark.parametrize("objective", ["l1", "l2", "ssim", "uncertainty"])
def test_the_objective_is_taken_before_the_drawing_is_clamped(objective, trained):
    detector = (
        trained[0] if objective == "uncertainty" else fitted(normals(9, SHAPE), normals(9, SHAPE), objective=objective)
    )
    x = torch.full((2, *SHAPE), 1.0)
    bias = detector.net_["autoencoder"].decoder[-1].bias
    before = bias.clone()
    bias[:2] += 3  # the first two maps are the mean of two channels: now far above 1
    mean, *s = detector.net_["autoencoder"](x)
    assert mean.min() > 1.1
    expected = {
        "l1": lambda: (x - mean).abs(), "l2": lambda: (x - mean) ** 2,
        "ssim": lambda: dissimilarity(x, mean, 3 * 10 / 64), "uncertainty": lambda: gaussian_nll(x - mean, s[0]),
    }[objective]().mean()  # fmt: skip
    loss, drawn = detector.loss(x), detector.reconstruct(x)
    bias.copy_(before)
    assert (drawn == 1).all(), "while what is scored is an image in [-1, 1]"
    torch.testing.assert_close(loss, expected)


def test_a_head_that_is_not_offered_is_told_with_those_that_are():
    with pytest.raises(
        AnomalyError, match=r"value_from=uncertainty is not offered .* take one of l1, l2, ssim, l1_excess, .* combined"
    ):
        Autoencoder(value_from="uncertainty")
    with pytest.raises(AnomalyError, match=r"map_from=combined is not offered .* take one of l1, l2, ssim$"):
        Autoencoder(map_from="combined")
    Autoencoder(objective="uncertainty", value_from="uncertainty", map_from="uncertainty")
