"""Partial diffusion: noise of unit variance, taken away exactly where it is known, the same for every image."""

import math
from itertools import pairwise

import pytest
import torch
from tiny import CPU, TINY, normals, tiny
from torch import nn

from anomaly.detectors import Diffusion
from anomaly.detectors.diffusion import GRAIN, NOISES
from anomaly.errors import AnomalyError
from anomaly.nets.noising import Noising, times
from anomaly.training.games import lately
from anomaly.training.machine import Machine


def made(*, masked: bool = False, shape: tuple[int, ...] = (1, 16, 16), **settings) -> Diffusion:
    detector = tiny("diffusion", **settings)
    detector.fill_in(shape, 8)
    detector.shape_, detector.masked_ = shape, masked
    detector.net_ = detector.build(shape)
    return detector


class Knowing(nn.Module):
    """Finds the noise in x_t exactly, since it knows the image."""

    def __init__(self, image: torch.Tensor) -> None:
        super().__init__()
        self.image, self.noising, self.shown = image, Noising(), []

    def forward(self, x_t, t):
        self.shown.append(x_t)
        signal, rest = self.noising.weights(t, x_t)
        return (x_t - signal * self.image) / rest


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("shape", [(200, 1, 32, 32), (20, 1, 16, 16, 16)])
def test_noise_has_mean_0_and_variance_1(noise, shape):
    random = torch.Generator().manual_seed(0)
    drawn = torch.cat([NOISES[noise](torch.zeros(shape), 4, random) for _ in range(5)])  # rolled anew each time
    assert drawn.shape[1:] == shape[1:] and abs(drawn.mean()) < 0.05 and abs(drawn.var() - 1) < 0.05


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 100, 250])
def test_what_knows_the_noise_draws_the_image_in_any_number_of_steps(steps):
    detector, x = made(inference_steps=steps), normals(3, (1, 16, 16)).double()
    detector.net_.double()
    detector.net_["denoiser"] = Knowing(x)
    torch.testing.assert_close(detector.draw(x).mean, x)
    assert len(detector.net_["denoiser"].shown) == detector.passes


@pytest.mark.parametrize(("last", "least"), [(0.25, 0.90), (1.0, 0.86)])
def test_the_spread_of_the_data_is_kept_for_every_number_of_steps(last, least):
    """With the best noise of data N(0, 0.5^2): what DDIM loses falls steadily as steps grow, and no number ends early.

    A scheduler whose steps end elsewhere than the next begins would leap between neighbouring numbers of steps.
    """
    noising, spread = Noising(), 0.5

    def found(x, t):
        signal, rest = noising.weights(t, x)
        return rest * x / (signal.square() * spread**2 + rest.square())

    kept = float(noising.kept[times(last, 1)[-1]])
    begun = torch.full((1, 1, 1, 1), math.sqrt(kept * spread**2 + 1 - kept), dtype=torch.float64)
    ends = [noising.decode(begun, found, ratio=last, steps=steps).item() / spread for steps in range(20, 251)]
    assert all(least < end < 1 for end in ends)
    assert all(-1e-4 < after - before < 0.01 for before, after in pairwise(ends))
    assert ends[-1] > 0.98


def test_each_image_is_judged_with_the_same_noise_whenever_it_is_asked():
    detector, x = made(draws=3, inference_steps=1), normals(2, (1, 16, 16))
    detector.net_["denoiser"] = Knowing(x[:1])
    detector.draw(x[:1].expand(2, -1, -1, -1))
    torch.manual_seed(1)
    detector.draw(x[:1].expand(2, -1, -1, -1))
    shown = detector.net_["denoiser"].shown
    assert len(shown) == 6 and torch.equal(shown[0][0], shown[0][1])
    assert torch.equal(shown[0], shown[3]) and not torch.equal(shown[0], shown[1])


def test_outside_a_mask_there_is_no_noise():
    x = torch.full((2, 1, 16, 16), -0.5)
    x[..., :5] = -1
    detector = made(masked=True)
    detector.net_["denoiser"] = Knowing(x)
    detector.loss(x)
    detector.draw(x)
    for shown in detector.net_["denoiser"].shown:
        assert (shown[..., :5] == -1).all() and not torch.equal(shown[..., 5:], x[..., 5:])


def test_the_network_learns_the_times_that_it_will_be_asked_at():
    seen = []

    class Watching(nn.Module):
        def forward(self, x_t, t):
            seen.append(t)
            return torch.zeros_like(x_t)

    detector = made(time=0.01)
    detector.net_["denoiser"] = Watching()
    losses = torch.stack([detector.loss(normals(64, (1, 16, 16))) for _ in range(8)])
    assert set(torch.cat(seen).tolist()) == set(range(10))
    assert losses.mean().item() == pytest.approx(1, abs=0.1)  # of noise that nobody finds, its variance
    seen.clear()
    detector.draw(normals(1, (1, 16, 16)))
    assert torch.cat(seen).max() == 9
    seen.clear()
    detector.learned = 0.1
    for _ in range(40):
        detector.loss(normals(64, (1, 4, 4)))
    assert set(torch.cat(seen).tolist()) == set(range(100))
    seen.clear()
    detector.draw(normals(1, (1, 16, 16)))
    assert torch.cat(seen).max() == 9
    with pytest.raises(AnomalyError, match=r"learned=0.1 is less than time=0.25"):
        Diffusion(learned=0.1)


def test_grains_and_waves_grow_with_the_images_and_white_noise_has_none():
    for noise, side in (("coarse", 64), ("simplex", 256)):
        detector = Diffusion(noise=noise)
        detector.fill_in((1, side, side), 100)
        assert detector.coarse == side // GRAIN[noise]
    detector = Diffusion(noise="gaussian")
    detector.fill_in((1, 64, 64), 100)
    assert detector.coarse == 0
    with pytest.raises(AnomalyError, match="coarse=4 is no setting of noise=gaussian"):
        Diffusion(noise="gaussian", coarse=4)


def test_what_it_costs_is_told():
    detector = made(draws=3, inference_steps=5)
    assert detector.passes == 15 and "through the network 15 times" in detector.story()
    assert made(time=0.001, inference_steps=5, draws=1).passes == 1  # no more steps than there are times


def test_the_weights_at_the_end_are_averages():
    """w <- ema w + (1 - ema) new after each of three steps, from the weights that it began with."""
    x, after = normals(8, (1, 16, 16)), []

    class Watched(Diffusion):
        def loss(self, x):
            after.append([each.detach().clone() for each in self.net_["denoiser"].parameters()])
            return super().loss(x)

    settings = {**TINY["diffusion"], "steps": 3}
    last = Watched(**{**settings, "ema": 0.0}).fit(x, machine=CPU)
    seen = [*after, [each.detach().clone() for each in last.net_["denoiser"].parameters()]]
    ema = lately(0.9, 3)
    assert 0 < ema < 0.9 and len(seen) == 4  # the beginning, and after each step
    expected = seen[0]
    for new in seen[1:]:
        expected = [ema * w + (1 - ema) * each for w, each in zip(expected, new, strict=True)]
    averaged = Diffusion(**{**settings, "ema": 0.9}).fit(x, machine=CPU)
    for got, each in zip(averaged.net_["denoiser"].parameters(), expected, strict=True):
        torch.testing.assert_close(got, each)
    assert any(not torch.equal(each, new) for each, new in zip(expected, seen[-1], strict=True))


def test_what_it_will_take_is_foreseen():
    detector, x = tiny("diffusion", steps=50), normals(8, (1, 16, 16)).numpy()
    detector.plan(x, Machine(device="cpu"))
    told = detector.foresee(x, Machine(device="cpu"))
    assert told.steps == 50 and told.seconds > 0
