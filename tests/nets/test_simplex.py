"""Simplex noise: mean, variance, spectrum, and no seams."""

import pytest
import torch

from anomaly.nets.simplex import octave, simplex, variance


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("shape", [(60, 1, 48, 48), (20, 1, 24, 24, 24)])
@pytest.mark.parametrize("wave", [12.0, 5.3])
def test_mean_0_and_variance_1_in_both_dimensions(shape, wave):
    for noise in (octave(torch.zeros(shape), wave, seeded()), simplex(torch.zeros(shape), wave, seeded())):
        assert abs(noise.mean()) < 0.04 and abs(noise.var() - 1) < 0.08


@pytest.mark.parametrize("dims", [2, 3])
def test_the_variance_is_the_integral_over_a_corners_reach(dims):
    """Against a sum over a fine grid around one corner, times the density of corners."""
    side = torch.linspace(-0.75, 0.75, 151, dtype=torch.float64)
    squares = torch.cartesian_prod(*[side] * dims).square().sum(1)
    integral = ((0.5 - squares).clamp_min(0) ** 8 * squares).sum() * (side[1] - side[0]) ** dims
    assert variance(dims) == pytest.approx((dims + 1) ** 0.5 / dims * integral.item(), rel=1e-3)


def test_there_are_no_seams_between_triangles():
    noise = octave(torch.zeros(1, 1, 300, 300, dtype=torch.float64), 60.0, seeded())
    steps = (noise.diff(dim=2).abs().max(), noise.diff(dim=3).abs().max())
    assert max(steps) < 0.25  # a seam would be a leap by about 1


def test_an_octave_varies_at_its_own_frequency():
    noise = octave(torch.zeros(64, 1, 64, 64), 8.0, seeded())
    power = torch.fft.fft2(noise).abs().square().mean((0, 1))
    along = torch.fft.fftfreq(64)
    radius = (along[:, None].square() + along[None].square()).sqrt()
    near = power[(radius > 0.5 / 8) & (radius < 2 / 8)].sum() / power.sum()
    beyond = power[radius > 2.5 / 8].sum() / power.sum()
    assert near > 0.9 and beyond < 0.02


def test_each_octave_is_weaker_than_the_one_before():
    """Energy at waves of 2 to 4 pixels beside that of one octave alone: the last of four weighs 0.8^6 of the first."""
    first, all_of_them = (simplex(torch.zeros(64, 1, 64, 64), 16.0, seeded(), octaves=n) for n in (1, 6))
    radius = torch.fft.fftfreq(64).square()
    fine = (radius[:, None] + radius[None]).sqrt() > 0.3
    share = [torch.fft.fft2(each).abs().square().mean((0, 1))[fine].sum() / (64**4) for each in (first, all_of_them)]
    weights = torch.tensor([0.8 ** (2 * k) for k in range(4)])
    assert share[0] < 0.02  # what the cut edges leak
    assert 0.5 * weights[3] / weights.sum() < share[1] < (weights[2] + weights[3]) / weights.sum()


def test_octaves_that_pixels_cannot_tell_are_left_out():
    x = torch.zeros(2, 1, 16, 16)
    assert torch.equal(simplex(x, 4.0, seeded(), octaves=6), simplex(x, 4.0, seeded(), octaves=2))


def test_images_and_channels_differ_and_a_seed_repeats_itself():
    noise = simplex(torch.zeros(2, 2, 16, 16), 8.0, seeded(3))
    assert torch.equal(noise, simplex(torch.zeros(2, 2, 16, 16), 8.0, seeded(3)))
    flat = noise.flatten(0, 1).flatten(1)
    assert torch.corrcoef(flat).fill_diagonal_(0).abs().max() < 0.6
