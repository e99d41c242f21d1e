"""Densities of cells in closed form: Gaussians at each place, and memories that stay bounded."""

import numpy as np
import pytest
import torch
from sklearn.covariance import ledoit_wolf

from anomaly.detectors import densities
from anomaly.detectors.densities import Memory, Place
from anomaly.detectors.gaussians import shrunken
from anomaly.detectors.local import pooled
from anomaly.detectors.near import Near


def learned(density: densities.Density, features: torch.Tensor, size: int = 7) -> densities.Density:
    density.learn(lambda: [(part, None) for part in features.split(size)], len(features))
    return density


@pytest.mark.parametrize("count", [4, 30, 400])
def test_covariances_are_shrunk_as_ledoit_and_wolf_do(count: int) -> None:
    rng = np.random.default_rng(count)
    x = rng.normal(size=(count, 6)) @ rng.normal(size=(6, 6))
    x = x - x.mean(0)
    expected, _ = ledoit_wolf(x, assume_centered=True)
    covariance, fourth = torch.from_numpy(x.T @ x / count)[None], torch.tensor([(x**2).sum(1).__pow__(2).mean()])
    assert shrunken(covariance, fourth, count)[0].numpy() == pytest.approx(expected, rel=1e-9)


def test_place_is_the_mahalanobis_distance_of_a_known_gaussian() -> None:
    rng = np.random.default_rng(1)
    root = rng.normal(size=(3, 3))
    means = rng.normal(size=(4, 3))  # another one in each of four cells
    x = torch.from_numpy(rng.normal(size=(20000, 4, 3)) @ root.T + means).float()
    density = learned(Place(3, (2, 2)), x.transpose(1, 2).reshape(-1, 3, 2, 2), 512)
    new = rng.normal(size=(5, 4, 3)) * 4
    apart = new - means
    expected = np.sqrt(np.einsum("nck,kl,ncl->nc", apart, np.linalg.inv(root @ root.T), apart) / 3)
    found = density(torch.from_numpy(new).float().transpose(1, 2).reshape(-1, 3, 2, 2))
    assert found.shape == (5, 1, 2, 2)
    assert found.flatten(1).numpy() == pytest.approx(expected, rel=0.05)


def test_place_does_not_depend_on_the_units_of_a_channel() -> None:
    x = torch.randn(50, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    units = torch.tensor([1.0, 100.0, 0.01, 7.0]).view(1, 4, 1, 1)
    first, second = learned(Place(4, (3, 3)), x)(x[:5]), learned(Place(4, (3, 3)), x * units)(x[:5] * units)
    assert torch.allclose(first, second, rtol=1e-3)


def test_a_channel_that_never_varies_says_nothing_and_breaks_nothing() -> None:
    x = torch.randn(30, 3, 2, 2)
    x[:, 1] = 0.25
    for density in (Place(3, (2, 2)), Memory(3, (2, 2), 100, 0.0)):
        found = learned(density, x)(x + torch.tensor([0.0, 1.0, 0.0]).view(1, 3, 1, 1))
        assert torch.allclose(found, density(x), atol=1e-3)


def test_memory_is_the_distance_to_the_nearest_cell_that_is_kept() -> None:
    x = torch.randn(6, 5, 4, 4, generator=torch.Generator().manual_seed(3))
    density = learned(Memory(5, (4, 4), 1000, 0.0), x, 4)
    assert density(x).max() < 0.01  # every cell is remembered
    new = torch.randn(2, 5, 4, 4, generator=torch.Generator().manual_seed(4))

    def rows(features: torch.Tensor) -> torch.Tensor:
        padded = torch.nn.functional.pad(features, [1] * 4, mode="replicate")
        smooth = torch.nn.functional.avg_pool2d(padded, 3, 1)
        return smooth.flatten(2).transpose(1, 2).flatten(0, 1)

    scale = rows(x).std(0, correction=0)
    expected = torch.cdist(rows(new) / scale, rows(x) / scale).amin(1) / 5**0.5
    assert torch.allclose(density(new).flatten(), expected, atol=1e-3)


def test_memory_stays_as_large_as_it_was_told_and_draws_from_all() -> None:
    x = torch.arange(400.0).view(400, 1, 1, 1).expand(400, 2, 2, 2)
    density = learned(Memory(2, (2, 2), 200, 0.0), x, 33)
    kept = (density.kept[:, 0] * density.scale[0] + density.centre[0]).round()
    assert density.kept.shape == (200, 4) and int(density.filled) == 200
    assert kept.min() < 40 and kept.max() > 360 and 150 < kept.mean() < 250
    few = learned(Memory(2, (2, 2), 200, 0.0), x[:10], 4)
    assert int(few.filled) == 40 and few(x[:10]).shape == (10, 1, 2, 2)


def test_coordinates_tell_a_cell_that_moved() -> None:
    x = torch.zeros(8, 1, 8, 8)
    x[:, :, :4] = 1.0
    x = x + 0.01 * torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    moved = x.flip(2)
    blind, placed = (learned(Memory(1, (8, 8), 1000, weight), x) for weight in (0.0, 0.5))
    assert blind(moved).max() < 0.1 < placed(moved).mean()


def test_pools_are_mean_maximum_and_highest_twentieth() -> None:
    distances = torch.arange(100.0).view(1, 1, 10, 10)
    assert {name: float(value) for name, value in pooled(distances).items()} == {"mean": 49.5, "max": 99, "top": 97}


def test_cells_that_do_not_count_have_no_say() -> None:
    """Whatever stands in them: in what is learned, in distances, in any pool."""
    rng = torch.Generator().manual_seed(0)
    x, counted = torch.randn(40, 3, 4, 4, generator=rng), torch.rand(40, 1, 4, 4, generator=rng) > 0.3
    other = torch.where(counted, x, 1e3)
    for make in (lambda: Place(3, (4, 4)), lambda: Memory(3, (4, 4), 200, 0.0), lambda: Near(3, (4, 4), 12, 1)):
        found = []
        for features in (x, other):
            torch.manual_seed(1)
            density = make()
            density.learn(lambda f=features: zip(f.split(7), counted.split(7), strict=True), 40)
            distances = density(features, counted)
            found.append((distances, pooled(distances, counted)))
        assert torch.allclose(found[0][0], found[1][0]) and (found[0][0][~counted] == 0).all()
        assert all(torch.allclose(found[0][1][name], value) for name, value in found[1][1].items())


def test_place_learns_each_cell_from_the_images_in_which_it_counts() -> None:
    x = torch.randn(60, 2, 1, 2, generator=torch.Generator().manual_seed(2))
    counted = torch.ones(60, 1, 1, 2, dtype=torch.bool)
    counted[30:, :, :, 1] = False
    density = Place(2, (1, 2))
    density.learn(lambda: [(x, counted)], 60)
    assert torch.allclose(density.mean, torch.stack([x[:, :, 0, 0].mean(0), x[:30, :, 0, 1].mean(0)]), atol=1e-6)


def test_place_is_as_wide_where_few_normals_show_a_cell() -> None:
    rng = torch.Generator().manual_seed(0)
    shown = torch.tensor([20, 10, 4, 3, 2, 1, 0])
    counted = (torch.arange(20)[:, None] < shown).view(20, 1, 7, 1).expand(-1, -1, -1, 50)
    x, new = (torch.randn(count, 8, 7, 50, generator=rng) for count in (20, 40))
    density = Place(8, (7, 50))
    density.learn(lambda: zip(x.split(7), counted.split(7), strict=True), 20)
    found = density(new)[:, 0]
    torch.testing.assert_close(found.mean((0, 2)), torch.ones(7), rtol=0, atol=0.12)
    assert found.max() < 2.5


def test_pools_over_the_cells_that_count() -> None:
    distances = torch.arange(200.0).view(2, 1, 10, 10)
    counted = distances < 160
    found = pooled(distances, counted)
    assert found["mean"].tolist() == [49.5, 129.5] and found["max"].tolist() == [99, 159]
    assert found["top"].tolist() == [97, 158]  # the highest five of 100, the highest three of 60
