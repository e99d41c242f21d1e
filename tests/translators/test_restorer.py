"""Restorers learn what undoes a degradation, take any size, are kept as one file, and are the same for one seed."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from anomaly.degradations.register import make
from anomaly.errors import AnomalyError
from anomaly.nets.losses import gaussian_blur
from anomaly.nets.restoring import DiffusionRestorer
from anomaly.training.machine import Machine
from anomaly.translators.restorer import Restorer, psnr

CPU = Machine(device="cpu")
NETWORKS: dict[str, dict[str, Any]] = {
    "unet": {"width": 8, "levels": 2},
    "redcnn": {"network": "redcnn", "width": 8},
    "diffusion": {"network": "diffusion", "width": 8, "levels": 2, "inference_steps": 4},
    "adversarial": {"width": 8, "levels": 2, "adversarial": 0.01, "critic_width": 4, "ssim": 0.1},
}


class Pairs:
    """Smooth images and what is left of them."""

    def __init__(self, dims: int = 2, degrade: str = "downsample", **settings: Any) -> None:
        self.dims, self.degradation = dims, make(degrade, settings)

    def __getitem__(self, k: int) -> tuple[Tensor, ...]:
        random = torch.Generator().manual_seed(k)
        noise = torch.randn(4, 1, *[16] * self.dims, generator=random)
        x = (gaussian_blur(noise, 1.0) * (3 if self.dims == 2 else 6)).clamp(-1, 1)
        left = self.degradation.degrade(x, random)
        return (left.image, x) if left.known is None else (left.image, x, left.known)


def fitted(batches: Pairs, steps: int = 12, seed: int = 0, **settings: Any) -> Restorer:
    restorer = Restorer(**{"steps": steps, "batch": 4, "lr": 3e-3, **settings})
    scale = float((batches[0][1] - batches[0][0]).abs().max())
    return restorer.fit(batches, batches[0][0].shape[1:], scale=scale, machine=CPU, seed=seed)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("dims", [2, 3])
def test_same_seed_same_images_and_a_file_says_all(tmp_path: Path, name: str, dims: int) -> None:
    batches = Pairs(dims)
    first, second = (fitted(batches, steps=2, **NETWORKS[name]) for _ in range(2))
    y, _ = batches[9]
    drawn = first.restored(y)
    assert torch.equal(drawn, second.restored(y))
    first.save(tmp_path / "weights.safetensors")
    assert torch.equal(drawn, Restorer.load(tmp_path / "weights.safetensors").restored(y))
    other = fitted(batches, steps=2, seed=1, **NETWORKS[name])
    assert not torch.equal(drawn, other.restored(y))


@pytest.mark.parametrize("name", NETWORKS)
def test_an_image_does_not_depend_on_its_batch_and_may_have_any_size(name: str) -> None:
    restorer = fitted(Pairs(), steps=2, **NETWORKS[name])
    y = torch.randn(3, 1, 21, 34)
    together = restorer.restored(y)
    assert together.shape == y.shape
    assert torch.allclose(together[1:2], restorer.restored(y[1:2]), atol=1e-5)


@pytest.mark.parametrize("name", ["unet", "redcnn"])
def test_it_learns_to_undo_what_was_done(name: str) -> None:
    batches = Pairs()
    restorer = fitted(batches, steps=150, **NETWORKS[name])
    y, x = batches[10_000]
    assert psnr(restorer.restored(y), x) > psnr(y, x) + 1.5


def test_diffusion_learns_it_as_well() -> None:
    batches = Pairs()
    restorer = fitted(batches, steps=150, **{**NETWORKS["diffusion"], "draws": 4})
    y, x = batches[10_000]
    assert psnr(restorer.restored(y), x) > psnr(y, x) + 0.5


@pytest.mark.parametrize(("scale", "apart"), [(1.0, 0.5), (0.3, 0.5), (0.1, 0.5)])
def test_diffusion_draws_all_of_a_difference_that_is_larger_than_others_were(scale: float, apart: float) -> None:
    """An oracle, which finds the noise that is there, gives the good image back, up to 5 times the scale."""
    random = torch.Generator().manual_seed(0)
    y = torch.rand(2, 1, 12, 12, generator=random) - 0.5
    x = y + apart * torch.where(torch.rand(y.shape, generator=random) < 0.5, -1, 1)
    network = DiffusionRestorer((1, 12, 12), width=4, levels=1, steps=10)
    network.scale.fill_(scale)

    class Oracle(torch.nn.Module):
        def forward(self, seen: Tensor, t: Tensor) -> Tensor:
            signal, rest = network.noising.weights(t, seen)
            return (seen[:, :1] - signal * (x - y) / scale) / rest

    network.net = Oracle()  # type: ignore[assignment]
    assert torch.allclose(network(y), x, atol=1e-4)


@pytest.mark.parametrize("name", ["unet", "diffusion"])
def test_known_pixels_come_back_to_the_bit(tmp_path: Path, name: str) -> None:
    batches = Pairs(2, "mask")
    restorer = fitted(batches, steps=3, **NETWORKS[name])
    y, x, known = batches[5]
    drawn = restorer.restored(y, known)
    assert torch.equal(drawn[known], x[known])
    assert not torch.equal(drawn, y)
    restorer.save(tmp_path / "weights.safetensors")
    assert torch.equal(Restorer.load(tmp_path / "weights.safetensors").restored(y, known), drawn)


def test_the_loss_is_the_mean_error_where_pixels_are_unknown() -> None:
    restorer = fitted(Pairs(2, "mask"), steps=1, width=8, levels=2, lr=1e-9)
    y, x, known = Pairs(2, "mask")[0]
    loss, _ = restorer.loss((y, x, known))  # type: ignore[misc]
    assert float(loss) == pytest.approx(float((y - x).abs()[~known].mean()), rel=1e-4)  # it draws nothing yet


def test_psnr_of_a_range_of_two() -> None:
    x = torch.zeros(2, 1, 4, 4)
    assert psnr(x + 0.2, x) == pytest.approx(20, abs=1e-4)  # 4 / 0.04
    assert psnr(x + 7, x) == pytest.approx(10 * torch.log10(torch.tensor(4.0)).item(), abs=1e-4)  # clamped to 1


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(AnomalyError, match="window is 4; expected 8"):
        Restorer(window=4)
    with pytest.raises(AnomalyError, match="diffusion learns by its own loss"):
        Restorer(network="diffusion", adversarial=0.1)
    with pytest.raises(AnomalyError, match="windows of 9 pixels are too small for the critic; expected 12 or more"):
        Restorer(window=9, adversarial=0.1)
    with pytest.raises(AnomalyError, match="windows of 11 x 16 pixels are too small"):
        Restorer(width=4, levels=1, adversarial=0.1).build((1, 11, 16))
    with torch.no_grad():
        net = Restorer(width=4, levels=1, window=12, adversarial=0.1, critic_width=4).build((1, 12, 12))
        assert net["critic"](torch.zeros(1, 2, 12, 12)).isfinite().all()
    with pytest.raises(AnomalyError, match="network=resnet is unknown"):
        Restorer(network="resnet")
    with pytest.raises(AnomalyError, match="has learned nothing yet"):
        Restorer().restored(torch.zeros(1, 1, 8, 8))
    with pytest.raises(AnomalyError, match="fitted on 1 channels and 2 axes"):
        fitted(Pairs(), steps=1, width=4, levels=1).restored(torch.zeros(1, 3, 8, 8))


def test_what_fills_holes_has_to_be_told_of_them() -> None:
    batches = Pairs(degrade="mask", block=4)
    restorer = fitted(batches, steps=2, width=8, levels=2)
    y, _, known = batches[3]
    drawn = restorer.restored(y, known)
    assert torch.equal(drawn[known], y[known])
    with pytest.raises(AnomalyError, match=r"nobody says what that is; give known, \(4, 1, 16, 16\) bool"):
        restorer.restored(y)
