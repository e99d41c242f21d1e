"""Noise, fewer pixels and covered parts, against what can be worked out by hand."""

from math import sqrt

import pytest
import torch

from anomaly.degradations.covering import Border, Mask
from anomaly.degradations.noise import Noise
from anomaly.degradations.sampling import Downsample
from anomaly.degradations.slices import Slices


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def near(variance: float, expected: float, independent: int) -> bool:
    """Within 5 standard errors of the variance of so many normal values."""
    return abs(variance / expected - 1) < 5 * sqrt(2 / independent)


def test_white_noise_has_the_standard_deviation_that_was_asked_for() -> None:
    y = Noise(sigma=0.2, coarse=1).measured(torch.zeros(4, 2, 50, 50), seeded())
    assert near(float(y.square().mean()), 0.4**2, y.numel())


@pytest.mark.parametrize("shape", [(64, 16), (16, 16, 4)])
def test_coarse_noise_varies_as_linear_interpolation_makes_it(shape: tuple[int, ...]) -> None:
    # Between nodes k pixels apart the weights are w = (2 i + 1) / 2 k and 1 - w, so the mean of w^2 + (1 - w)^2 is
    # 2/3 - 1 / 6 k^2 for even k, wherever the grid lies: each such w comes as often as any other.
    coarse, expected, nodes = 4, 1.0, 1
    for side in shape:
        grain = min(coarse, side // 2)
        few = side // grain
        expected *= 2 / 3 - 1 / (6 * grain**2)
        nodes *= few
    draws = 3000
    y = Noise(sigma=0.5, coarse=coarse).measured(torch.zeros(draws, 1, *shape), seeded())
    assert near(float(y.square().mean()), expected, draws * nodes // 4)


def test_coarse_noise_is_smooth_everywhere_it_has_no_seam() -> None:
    y = Noise(sigma=0.5, coarse=8).measured(torch.zeros(64, 1, 64, 64), seeded())
    for axis in (-2, -1):
        steps = y.diff(dim=axis).square().movedim(axis, 0).flatten(1).mean(1)
        assert steps.max() < 0.06 * y.square().mean()  # a seam would have 2


def test_each_pixel_is_the_mean_of_its_area() -> None:
    x = torch.tensor([[0.0, 0.2, 0.4, 0.6], [0.2, 0.4, -1.0, -1.0]])[None, None]
    torch.testing.assert_close(Downsample(factor=2).measured(x), torch.tensor([[[[0.2, -0.25]]]]))
    torch.testing.assert_close(Downsample(axes=(1,)).measured(x)[0, 0, :, 0], torch.tensor([0.1, 0.3]))
    torch.testing.assert_close(Downsample(axes=(0,)).measured(x), torch.tensor([[[[0.1, 0.3, -0.3, -0.2]]]]))


def test_pixels_of_two_are_enlarged_with_quarters() -> None:
    y = torch.tensor([[[[0.0, 1.0]]]])
    lifted = Downsample(axes=(1,)).lifted(y, (1, 4))
    torch.testing.assert_close(lifted, torch.tensor([[[[0.0, 0.25, 0.75, 1.0]]]]))


def test_slices_are_kept_as_they_were_and_filled_between() -> None:
    x = torch.tensor([0.0, 9.0, 9.0, 0.9, 9.0, 9.0]).expand(1, 1, 2, 2, 6)
    left = Slices(factor=3).degrade(x)
    torch.testing.assert_close(left.image[0, 0, 1, 1], torch.tensor([0.0, 0.3, 0.6, 0.9, 0.9, 0.9]))
    assert left.known is not None and left.known[0, 0, 0, 0].tolist() == [True, False, False, True, False, False]


def test_thick_slices_are_means_and_none_is_known() -> None:
    x = torch.tensor([0.0, 0.2, 0.4, 0.6]).view(4, 1, 1).expand(1, 1, 4, 2, 2)
    left = Slices(axis=0, thick=True).degrade(x)
    torch.testing.assert_close(left.image[0, 0, :, 1, 1], torch.tensor([0.1, 0.2, 0.4, 0.5]))
    assert left.known is None


def test_a_hidden_slice_is_judged_from_its_two_neighbours() -> None:
    x = torch.tensor([0.0, 0.1, 0.6, 0.2]).expand(1, 1, 2, 2, 4)
    even, odd = Slices().views(x)
    torch.testing.assert_close(even.image[0, 0, 0, 0], torch.tensor([0.1, 0.1, 0.15, 0.2]))
    torch.testing.assert_close(odd.image[0, 0, 0, 0], torch.tensor([0.0, 0.3, 0.6, 0.6]))


@pytest.mark.parametrize("space", [(32, 32), (30, 17), (16, 12, 4)])
@pytest.mark.parametrize(("low", "high"), [(0.25, 0.75), (0.4, 0.4), (0.1, 0.2)])
def test_the_share_that_is_covered_lies_where_it_was_asked_for(space: tuple[int, ...], low: float, high: float) -> None:
    mask = Mask(low=low, high=high, block=4)
    known = mask.degrade(torch.zeros(200, 1, *space), seeded()).known
    assert known is not None
    share = (~known).flatten(1).float().mean(1)
    half = min(4, *space) * 4 ** (len(space) - 1) / 2 / (known[0].numel())
    assert share.min() >= low - half - 1e-6 and share.max() <= high + half + 1e-6
    assert abs(float(share.mean()) - (low + high) / 2) < 5 * ((high - low) / sqrt(12) + half) / sqrt(200)


def test_blocks_lie_anywhere_and_are_whole_inside_the_image() -> None:
    known = Mask(block=4).degrade(torch.zeros(100, 1, 16, 16), seeded()).known
    assert known is not None
    frequency = (~known).float().mean((0, 1))
    assert 0.2 < frequency.min() and frequency.max() < 0.8
    # Where the grid of an image begins, blocks are either covered or not: changes lie on one rest of 4 alone.
    for each in known[:, 0]:
        changes = (each[:, 1:] != each[:, :-1]).any(0).nonzero().flatten()
        assert len((changes % 4).unique()) <= 1


def test_views_of_blocks_are_chess_boards() -> None:
    white, black = Mask(block=2).views(torch.ones(1, 1, 4, 4))
    assert white.known is not None and black.known is not None
    assert white.known[0, 0].int().tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [1, 1, 0, 0], [1, 1, 0, 0]]
    assert torch.equal(black.known, ~white.known)
    assert torch.equal(white.image, white.known.float())


def test_what_is_covered_says_nothing_of_what_lay_there() -> None:
    x = torch.rand(2, 1, 16, 16)
    for covering in (Mask(), Border()):
        left = covering.degrade(x, seeded())
        assert left.known is not None
        other = torch.where(left.known, x, torch.rand_like(x))
        assert torch.equal(covering.degrade(other, seeded()).image, left.image)


def test_the_centre_is_kept_or_in_its_turn_covered() -> None:
    known = Border(turned=0).degrade(torch.zeros(5, 1, 8, 6), seeded()).known
    assert known is not None
    expected = torch.zeros(8, 6, dtype=torch.bool)
    expected[2:6, 1:4] = True
    assert all(torch.equal(each[0], expected) for each in known)
    turned = Border(turned=0.25).degrade(torch.zeros(4000, 1, 4, 4), seeded()).known
    assert turned is not None
    assert abs(float((~turned[:, 0, 0, 0]).float().mean()) - 0.75) < 5 * sqrt(0.25 * 0.75 / 4000)
