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


def disc(side: int = 32) -> torch.Tensor:
    """Where a disc lies, (side, side) bool, its rim six pixels from the edge."""
    along = torch.arange(side) - (side - 1) / 2
    return along[:, None] ** 2 + along**2 < (side / 2 - 6) ** 2


def test_a_dark_spot_beside_the_rim_of_a_mask_is_no_nearer_than_in_the_middle() -> None:
    rng = torch.Generator().manual_seed(0)
    images = torch.where(disc(), 0.1 * torch.randn(6, 1, 32, 32, generator=rng), -1.0)
    x = images[:2].clone()
    x[0, 0, 15:17, 15:17] = x[1, 0, 15:17, 6:8] = -0.95  # the second at the rim
    detector = tiny("nearby", cells=32).fit(images, masked=True, machine=CPU)
    middle, rim = detector.score(x).map.flatten(1).amax(1).tolist()
    assert 5 < middle < 1.05 * rim < 2 * middle  # at the rim fewer neighbours blur it


def test_where_no_normal_shows_anything_within_reach_the_nearest_place_shown_tells() -> None:
    images, counted = torch.zeros(2, 1, 1, 9), torch.zeros(2, 1, 1, 9, dtype=torch.bool)
    images[0, ..., :2], images[1, ..., :3] = torch.tensor([1.0, 2.0]), torch.tensor([4.0, 5.0, 6.0])
    counted[0, ..., :2], counted[1, ..., :3] = True, True
    density = Near(1, (1, 9), 4, 2)
    density.learn(lambda: [(images, counted)], 2)
    everywhere = torch.ones(1, 1, 1, 9, dtype=torch.bool)
    found = density(torch.full((1, 1, 1, 9), 3.0), everywhere)[0, 0, 0] * density.scale
    assert found.tolist() == pytest.approx([1] * 9, abs=0.01)  # 2.0 or 4.0, however far; never the 0 outside
    assert float(density(torch.zeros(1, 1, 1, 9), everywhere)[0, 0, 0, 8] * density.scale) == pytest.approx(2, abs=0.01)
