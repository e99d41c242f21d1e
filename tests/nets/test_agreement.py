"""How well images agree: against closed forms, at the rim as inside, and whatever lies outside a mask."""

import math

import pytest
import torch

from anomaly.nets.agreement import (
    AGREEMENTS,
    correlation,
    difference,
    either_way,
    local_correlation,
    mutual_information,
    spread,
)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 1.6 - 0.8


@pytest.mark.parametrize("space", [(20, 17), (9, 12, 10)])
def test_local_correlation_of_an_image_with_itself_and_its_inverse_is_1_and_minus_1_up_to_the_rim(
    space: tuple[int, ...],
) -> None:
    x = noise(2, 1, *space)
    assert torch.allclose(local_correlation(x, x), torch.ones_like(x), atol=1e-4)
    assert torch.allclose(local_correlation(x, -x), -torch.ones_like(x), atol=1e-4)
    assert torch.allclose(correlation(x, -x), torch.tensor(2.0), atol=1e-4)
    assert torch.allclose(either_way(x, -x), torch.tensor(0.0), atol=1e-4)


def test_brightness_and_contrast_make_no_difference_to_local_correlation() -> None:
    x, y = noise(1, 1, 16, 16), noise(1, 1, 16, 16, seed=1)
    plain = local_correlation(x, y)
    assert plain.abs().max() < 0.99
    assert torch.allclose(local_correlation(0.3 * x - 0.5, 2 * y + 0.1), plain, atol=1e-4)


def test_flat_images_correlate_with_nothing() -> None:
    x, flat = noise(1, 1, 16, 16), torch.full((1, 1, 16, 16), 0.3)
    assert local_correlation(x, flat).abs().max() < 1e-3 and local_correlation(flat, flat).abs().max() < 1e-3


def test_local_correlation_against_sums_worked_out_pixel_by_pixel() -> None:
    x, y, sigma = noise(1, 1, 9, 9), noise(1, 1, 9, 9, seed=1), 1.0
    # A pixel so far from the rim that its window, 3 deviations either side, lies within the image.
    offsets = torch.arange(-3, 4).double()
    weights = torch.exp(-0.5 * offsets.square())
    window = torch.outer(weights, weights) / weights.sum() ** 2
    a, b = x[0, 0, 1:8, 1:8].double(), y[0, 0, 1:8, 1:8].double()
    mean_a, mean_b = (window * a).sum(), (window * b).sum()
    of_a, of_b = (window * (a - mean_a) ** 2).sum(), (window * (b - mean_b) ** 2).sum()
    expected = (window * (a - mean_a) * (b - mean_b)).sum() / (of_a * of_b).sqrt()
    assert float(local_correlation(x, y, sigma=sigma)[0, 0, 4, 4]) == pytest.approx(float(expected), abs=1e-4)


@pytest.mark.parametrize("name", list(AGREEMENTS))
def test_what_lies_outside_a_mask_does_not_count(name: str) -> None:
    x, y = noise(2, 1, 16, 16), noise(2, 1, 16, 16, seed=1)
    inside = torch.zeros(2, 1, 16, 16, dtype=torch.bool)
    inside[..., 3:12, 4:14] = True
    other = [torch.where(inside, each, noise(2, 1, 16, 16, seed=5)) for each in (x, y)]
    assert torch.allclose(AGREEMENTS[name](x, y, inside), AGREEMENTS[name](*other, inside), atol=1e-5)
    assert not torch.allclose(AGREEMENTS[name](x, y, inside), AGREEMENTS[name](x, y), atol=1e-3)


def test_an_image_agrees_with_itself_best_and_one_by_one() -> None:
    x, y = noise(3, 1, 16, 16), noise(3, 1, 16, 16, seed=1)
    for measure in AGREEMENTS.values():
        assert (measure(x, x) < measure(x, y)).all()
        assert torch.allclose(measure(x, y)[1:2], measure(x[1:2], y[1:2]), atol=1e-6)
    assert float(difference(x, x + 0.5).mean()) == pytest.approx(0.25)


def test_two_levels_tell_each_other_ln_2_nats() -> None:
    # Values at the ends of the bins: a neighbouring bin takes exp(-1/2) of them, so the bins are made many and far.
    x = torch.where(torch.arange(400).view(1, 1, 20, 20) % 2 == 0, 0.9, -0.9)
    assert float(mutual_information(x, x)) == pytest.approx(math.log(2), abs=1e-3)
    assert float(mutual_information(x, torch.full_like(x, 0.2))) == pytest.approx(0, abs=1e-5)
    rows = torch.where(torch.arange(20).view(1, 1, 20, 1).expand(1, 1, 20, 20) % 2 == 0, 0.9, -0.9)
    assert float(mutual_information(x, rows)) == pytest.approx(0, abs=1e-3)  # half of each: they tell nothing


def test_mutual_information_minds_no_contrast() -> None:
    x, y = noise(1, 1, 32, 32), noise(1, 1, 32, 32, seed=1)
    assert torch.allclose(mutual_information(x, -y), mutual_information(x, y), atol=1e-5)
    other = 0.9 * torch.sin(1.5 * x)  # rises all the way, unevenly
    assert float(mutual_information(x, other)) > 0.9 * float(mutual_information(x, x))
    assert float(mutual_information(x, -other)) == pytest.approx(float(mutual_information(x, other)), abs=1e-5)
    assert float(mutual_information(x, y)) < 0.3 * float(mutual_information(x, other))


@pytest.mark.parametrize("space", [(64, 64, 64), (128, 128, 128), (2048, 2048), (100, 300, 70)])
def test_pixels_looked_at_lie_everywhere_along_every_axis(space: tuple[int, ...]) -> None:
    chosen = spread(space)
    assert len(chosen) == 2**16 == len(chosen.unique()) and 0 <= chosen.min() and chosen.max() < math.prod(space)
    for axis, places in enumerate(torch.unravel_index(chosen, space)):
        counts = torch.bincount(places, minlength=space[axis])
        assert counts.min() > 0.6 * counts.float().mean() and counts.max() < 1.4 * counts.float().mean()


def test_a_large_image_tells_of_itself() -> None:
    x = noise(1, 1, 2, 256, 256).cumsum(2).clamp(-1, 1)  # before, one column of 256 was looked at
    x[..., ::2] = 0
    x.requires_grad_(True)
    told = mutual_information(x, x)
    (gradient,) = torch.autograd.grad(told.sum(), x)
    assert float(told.detach()) > 0.5 and (gradient != 0).float().mean() > 0.2


def test_gradients_are_finite_where_images_are_flat() -> None:
    for measure in AGREEMENTS.values():
        x = torch.zeros(1, 1, 12, 12, requires_grad=True)
        (gradient,) = torch.autograd.grad(measure(x, torch.zeros(1, 1, 12, 12)).sum(), x)
        assert gradient.isfinite().all()
