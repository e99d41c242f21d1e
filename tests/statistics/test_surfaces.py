"""Distances between surfaces against closed forms: squares, boxes within boxes, spheres, pixels of other edges."""

import numpy as np
import pytest

from anomaly.statistics.surfaces import apart, distances, surface


def box(space: tuple[int, ...], *sides: tuple[int, int]) -> np.ndarray:
    marked = np.zeros(space, bool)
    marked[tuple(slice(*side) for side in sides)] = True
    return marked


def test_the_surface_of_a_square_is_its_rim_also_where_the_image_ends() -> None:
    assert surface(box((9, 9), (2, 7), (2, 7))).sum() == 16
    assert surface(np.ones((5, 6), bool)).sum() == 2 * 5 + 2 * 6 - 4
    assert surface(box((9, 9, 9), (2, 7), (2, 7), (2, 7))).sum() == 5**3 - 3**3


def test_a_region_and_itself_are_not_apart() -> None:
    one = box((12, 12, 12), (2, 9), (3, 8), (4, 5))
    found = apart(one, one, (1.0, 2.0, 3.0))
    assert (found.mean, found.near, found.most) == (0, 0, 0) and found.to == found.back == surface(one).sum()


@pytest.mark.parametrize("k", [1, 3, 7])
def test_two_lines_of_pixels_k_apart(k: int) -> None:
    one, other = box((20, 16), (3, 4), (0, 16)), box((20, 16), (3 + k, 4 + k), (0, 16))
    found = apart(one, other, (2.5, 1.0))
    assert found.mean == found.near == found.most == 2.5 * k


def test_two_squares_that_are_shifted() -> None:
    """5 x 5, shifted by 2 along columns: 6 of the 16 pixels of each rim lie on the other's, the others by hand."""
    one, other = box((9, 12), (2, 7), (2, 7)), box((9, 12), (2, 7), (4, 9))
    to, back = distances(one, other, (1.0, 1.0))
    # Columns 2 and 3 of the first square's rim: five pixels 2 away, two 1 away; column 6: three inner ones 1 away from
    # nothing of the other's rim but two or fewer pixels.
    expected = sorted([2.0] * 5 + [1.0] * 2 + [0.0] * 6 + [1.0, 1.0, 2.0])
    assert sorted(to) == sorted(back) == expected
    found = apart(one, other, (1.0, 1.0))
    assert found.mean == pytest.approx(sum(expected) / 16) and found.most == 2


def test_a_box_within_a_box_with_edges_of_its_own() -> None:
    inner, outer = box((20, 20, 20), (8, 12), (8, 12), (8, 12)), box((20, 20, 20), (5, 15), (6, 14), (7, 13))
    edges = (1.0, 2.0, 5.0)
    to, back = distances(inner, outer, edges)
    # From the inner faces the nearest outer one is 3 pixels of 1 away, 2 of 2, or 1 of 5.
    assert to.min() == 3 and to.max() <= 5
    corner = np.sqrt((3 * 1) ** 2 + (2 * 2) ** 2 + (1 * 5) ** 2)
    assert back.max() == pytest.approx(corner)
    assert apart(inner, outer, edges).most == pytest.approx(corner)


def test_spheres_within_one_another_are_as_far_apart_as_their_radii_differ() -> None:
    edges = np.array([1.0, 1.0, 0.5])
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in (48, 48, 96)), indexing="ij"), -1) * edges
    far = np.linalg.norm(grid - grid.reshape(-1, 3).max(0) / 2, axis=-1)
    found = apart(far <= 12, far <= 18, edges)
    assert found.mean == pytest.approx(6, abs=0.35) and found.near == pytest.approx(6, abs=1) and found.most < 7.5


def test_the_larger_percentile_of_both_directions_counts() -> None:
    one, other = box((40, 40), (0, 20), (0, 20)), box((40, 40), (0, 20), (0, 20))
    other[35, 35] = True
    to, back = distances(one, other, (1.0, 1.0))
    assert to.max() == 0 and back.max() == pytest.approx(16 * np.sqrt(2))
    found = apart(one, other, (1.0, 1.0), percentile=100)
    assert found.near == found.most == back.max()
    assert apart(one, other, (1.0, 1.0)).near == 0  # one pixel of 77
    assert apart(other, one, (1.0, 1.0)) == apart(one, other, (1.0, 1.0)).__class__(
        *(apart(one, other, (1.0, 1.0)).mean, 0.0, back.max(), 77, 76)
    )


def test_nothing_is_nowhere() -> None:
    one, nothing = box((8, 8), (2, 4), (2, 4)), np.zeros((8, 8), bool)
    for pair in ((one, nothing), (nothing, one), (nothing, nothing)):
        found = apart(*pair, (1.0, 1.0))
        assert np.isnan([found.mean, found.near, found.most]).all()
    assert apart(one, nothing, (1.0, 1.0)).to == 4


def test_as_monai_where_edges_are_alike() -> None:
    metrics = pytest.importorskip("monai.metrics")
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    from scipy import ndimage

    for space in ((40, 36), (20, 18, 16)):
        one, other = (ndimage.gaussian_filter(rng.normal(size=space), 3) > 0.02 for _ in range(2))
        edges = (1.5, 0.7, 2.0)[: len(space)]
        x, y = (torch.from_numpy(each[None, None]) for each in (one, other))
        near = metrics.compute_hausdorff_distance(x, y, percentile=95, spacing=edges, include_background=True)
        mean = metrics.compute_average_surface_distance(x, y, symmetric=True, spacing=edges, include_background=True)
        found = apart(one, other, edges)
        assert float(near) == pytest.approx(found.near, rel=1e-5)
        assert float(mean) == pytest.approx(found.mean, rel=1e-5)
