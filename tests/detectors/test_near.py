"""The nearest cell around the same place: what moves within reach is found again, what nobody shows is told exactly."""

import pytest
import torch
from tiny import CPU, normals, tiny

from anomaly.detectors.near import Near, ball


def learned(images: torch.Tensor, reach: int, most: int = 4) -> Near:
    density = Near(images.shape[1], tuple(images.shape[2:]), most, reach)
    density.learn(lambda: [(images, None)], len(images))
    return density


def test_what_is_off_by_less_than_the_reach_is_found_again() -> None:
    images = (torch.randn(3, 2, 9, 8, 7) * 64).round() / 64  # what half precision holds exactly
    density = learned(images, reach=2)
    moved = images[1:2].roll((1, -1), dims=(2, 3))
    inner = (..., slice(2, -2), slice(2, -2), slice(2, -2))
    assert density(moved)[inner].max() < 2e-3
    assert density(images[1:2].roll(3, dims=2))[inner].mean() > 0.1


def test_a_value_that_nobody_shows_is_as_far_as_the_nearest() -> None:
    images = torch.zeros(2, 1, 6, 6)
    images[:, :, 0] = 1.0
    density = learned(images, reach=1)
    sd = float(density.scale)
    x = torch.zeros(1, 1, 6, 6)
    x[0, 0, 4, 4], x[0, 0, 1, 1] = 0.5, 1.0  # the second lies beside ones
    found = density(x)[0, 0]
    assert found[4, 4] == pytest.approx(0.5 / sd, rel=1e-3)
    assert found[1, 1] == pytest.approx(1e-3, rel=1e-2) and found.argmax() == 4 * 6 + 4


def test_it_keeps_normals_spread_over_all_and_counts_only_what_counts() -> None:
    images = torch.arange(9.0).view(9, 1, 1, 1).expand(9, 1, 4, 4).clone()
    density = learned(images, reach=1, most=3)
    assert density.kept[:, 0, 0, 0].tolist() == [0, 4, 8] and int(density.filled) == 3
    counted = torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    assert not density(images[2:3], counted).any()


def test_the_ball() -> None:
    assert ball(1, 2) == [(0, 1), (1, 0), (1, 1), (1, 2), (2, 1)]
    assert len(ball(3, 3)) == 123


def test_a_small_bright_spot_in_a_volume_is_the_maximum_of_the_map() -> None:
    images = normals(4, (1, 12, 12, 12))
    x = normals(1, (1, 12, 12, 12), seed=5)
    x[0, 0, 6:8, 5:7, 4:6] = 0.9
    place = tiny("nearby").fit(images, machine=CPU).score(x).map[0, 0].argmax()
    i, j, k = torch.unravel_index(place, (12, 12, 12))
    assert i in (6, 7) and j in (5, 6) and k in (4, 5)
