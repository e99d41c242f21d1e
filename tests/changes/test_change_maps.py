"""Maps of change against change that was put in, and against what is no change."""

import numpy as np
import pytest
from scipy import ndimage

from anomaly.changes.maps import change_map, joined
from anomaly.changes.regions import changed, changed_regions
from anomaly.errors import AnomalyError


def person(*space: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two scans of one person between 0 and about 200, with noise of 3, and a mask."""
    rng = np.random.default_rng(seed)
    tissue = ndimage.gaussian_filter(rng.normal(size=space), 3)
    tissue = 100 + 40 * tissue / tissue.std()
    inside = np.ones(space, bool)
    inside[(slice(0, 3),) * len(space)] = False
    return np.stack([tissue + rng.normal(scale=3, size=space) for _ in range(2)]), inside


def lesion(*space: int) -> np.ndarray:
    place = np.zeros(space, bool)
    place[tuple(slice(side // 2, side // 2 + 4) for side in space)] = True
    return place


@pytest.mark.parametrize("space", [(60, 50), (24, 30, 20)], ids=["2D", "3D"])
@pytest.mark.parametrize("match", ["quantiles", "line"])
def test_change_is_found_with_its_sign_whatever_the_scale_of_the_second_scan(space, match):
    (before, after), inside = person(*space)
    where = lesion(*space)
    for sign in (1, -1):
        later = after + sign * 25 * where
        found = change_map(before, later, inside=inside, match=match)
        assert (sign * found.z)[where].min() > 3 > np.quantile(np.abs(found.z[inside & ~where]), 0.98)
        scaled = change_map(before, 0.3 * later + 70, inside=inside, match=match)
        np.testing.assert_allclose(scaled.z, found.z, atol=0.05)
        assert np.abs(scaled.matched - before)[inside & ~where].mean() < 6
        assert not found.z[~inside].any() and found.z.dtype == np.float32


def test_the_unit_is_the_spread_where_nothing_happened():
    (before, after), inside = person(80, 80)
    planted = lesion(80, 80) | (ndimage.shift(lesion(80, 80), (-25, -20), order=0) > 0)
    z = change_map(before, after + 40 * planted, inside=inside).z
    apart = z[inside & ~ndimage.binary_dilation(planted, iterations=6)]
    assert abs(apart.std() - 1) < 0.1 and abs(apart.mean()) < 0.1 and z[planted].min() > 8
    # noise of 3 in each of two scans: unsmoothed, a change of sqrt(2) * 3 is one unit
    assert change_map(before, after, inside=inside, smooth=0).least == pytest.approx(np.sqrt(18), rel=0.1)


def test_an_edge_that_was_registered_badly_is_less_of_a_change_than_a_lesion_of_that_size():
    (before, after), _ = person(80, 80)
    wall = np.zeros((80, 80))
    wall[:, 40:] = 80
    soft = ndimage.gaussian_filter(wall, 1)
    after = after + ndimage.shift(soft, (0, 0.6), order=1, mode="nearest")
    after[10:14, 15:19] += 15
    plain = np.abs(after - before - soft)
    z = np.abs(change_map(before + soft, after, smooth=0).z)
    edge, spot = np.s_[20:, 39:42], np.s_[10:14, 15:19]
    assert plain[edge].mean() > 0.7 * plain[spot].mean()  # by the plain difference they look much alike
    assert z[spot].mean() / z[edge].mean() > 1.3 * plain[spot].mean() / plain[edge].mean()


@pytest.mark.parametrize("match", ["quantiles", "line", "none"])
def test_lesions_that_brighten_together_show_and_those_that_stay_do_not_fall(match):
    rng, space = np.random.default_rng(1), (48, 48, 32)
    (before, after), _ = person(*space, seed=1)
    grid = np.indices(space)
    inside = sum(((axis - side / 2) / (side / 2.2)) ** 2 for axis, side in zip(grid, space, strict=True)) < 1
    centres = rng.integers(14, (34, 34, 22), (12, 3))
    lesions = inside & np.any([((grid.T - centre).T ** 2).sum(0) < 9 for centre in centres], axis=0)
    assert 0.02 < lesions.sum() / inside.sum() < 0.05
    before, after = 0.4 * before + 60 + 80 * lesions, 0.4 * after + 60 + 80 * lesions  # tissue of 16, noise of 1.2
    for more in (5, 20):
        z = change_map(before, after + more * lesions, inside=inside, match=match).z
        assert z[lesions].mean() > 3 and z[inside & ~lesions].std() < 1.2
    half = lesions & (grid[0] < 24)
    z = change_map(before, after + 10 * half, inside=inside, match=match).z
    assert z[half].mean() > 6 and abs(z[lesions & ~half].mean()) < 1


def test_lesions_that_quadruple_are_what_changed():
    (before, after), _ = person(120, 120)
    before, after = (75 + each / 4 for each in (before, after))
    grid = np.indices(before.shape)
    inside = (grid[0] - 60) ** 2 + (grid[1] - 60) ** 2 < 54**2
    small, large = (
        np.any([(grid[0] - i) ** 2 + (grid[1] - j) ** 2 <= radius**2 for i in (40, 80) for j in (40, 80)], axis=0)
        for radius in (4, 8)
    )
    before, after = before + 100 * small, after + 100 * large
    z = change_map(before, after, inside=inside, smooth=0).z
    assert np.quantile(z[large & ~small], 0.1) > 10 and abs(z[small].mean()) < 1
    assert np.abs(z[inside & ~large]).mean() < 1.2


@pytest.mark.parametrize("match", ["quantiles", "line"])
@pytest.mark.parametrize("empty", [0.5, 0.86, 0.95])
def test_intensities_go_together_where_most_of_what_counts_is_empty(match, empty):
    image = np.random.default_rng(0).uniform(50, 100, (60, 60))
    image.ravel()[: int(empty * image.size)] = 0
    found = change_map(image, 3 * image + 20, inside=np.ones(image.shape, bool), match=match)
    np.testing.assert_allclose(found.matched, image, atol=1e-3)
    assert not found.z.any()


def test_a_background_of_one_value_is_no_noise():
    (before, after), inside = person(60, 60)
    inside[:25] = False
    after = after + 40 * lesion(60, 60)
    masked, plain = (
        change_map(*(np.where(inside, each, 0) for each in (before, after)), inside=given) for given in (inside, None)
    )
    np.testing.assert_array_equal(plain.z, masked.z)
    assert np.array_equal(plain.inside, inside) and plain.least == masked.least
    levels = (np.round(each / 64) for each in (before, after))  # few levels, but no background
    assert change_map(*levels).inside.mean() > 0.5


def test_no_change_and_images_without_noise():
    (before, _), inside = person(40, 40)
    same = change_map(before, before, inside=inside)
    assert not same.z.any() and same.correlation == pytest.approx(1)
    later = before + 20 * lesion(40, 40)
    found = change_map(before, later, match="none", smooth=0).z  # all but the lesion differs by 0
    assert np.isfinite(found).all() and (found > 3).sum() == 16 == (found != 0).sum()
    single = change_map((before / 3).astype(np.float32), before.astype(np.float32))
    assert not single.z.any()  # rounding is no change
    for space in [(1, 12), (5, 6, 1)]:
        assert np.isfinite(change_map(*np.random.default_rng(0).normal(size=(2, *space)) ** 2).z).all()


def test_a_blank_image_is_refused_on_either_side():
    (before, _), inside = person(40, 40)
    almost = np.zeros_like(before)
    almost[20, 20] = 5
    for blank, said in ((0 * before + 7, "has one value wherever it counts"), (almost, "next to nothing")):
        with pytest.raises(AnomalyError, match=f"the second image .*{said}"):
            change_map(before, blank, inside=inside)
        with pytest.raises(AnomalyError, match=f"the first image .*{said}"):
            change_map(blank, before, inside=inside)
    assert np.isfinite(change_map(almost, almost, inside=inside).z).all()  # both are like that: a sparse map


def test_contrasts_that_agree_add():
    first, second = np.zeros((2, 20, 20), np.float32) + np.random.default_rng(0).normal(size=(2, 20, 20))
    first[:2, :2], second[:2, :2] = 4, -4
    assert joined([first], [1]) is first
    worse, other = joined([first, second], [1, -1]), joined([first, second], [1, 1])
    assert worse[0, 0] > first[0, 0] > other[0, 0] > 0
    np.testing.assert_allclose(worse[0, 0] / other[0, 0], 1.4 * 4 / 4, rtol=0.1)
    with pytest.raises(AnomalyError, match="2 maps and the signs"):
        joined([first, second], [1])
    with pytest.raises(AnomalyError, match="grids"):
        joined([first, second[:5]], [1, 1])


def test_regions_beyond_the_threshold():
    z = np.zeros((20, 20))
    z[2:5, 2:5], z[3, 3], z[10, 10:12], z[15, 15] = 6, 9, -7, 4
    found = changed_regions(z, voxel=2.0)
    assert found["kind"].tolist() == ["increase", "decrease"] and found["volume"].tolist() == [18, 4]
    assert found["peak"].tolist() == [9, -7] and found["mean"].tolist() == [pytest.approx(57 / 9), -7]
    assert found.loc[1, ["centre_i", "centre_j"]].tolist() == [10, 10.5]
    assert changed_regions(z, voxel=2.0, smallest=5)["region"].tolist() == [1]
    assert set(np.unique(changed(z, 3))) == {-1, 0, 1} and (changed(z, 3) == 1).sum() == 10
    empty = changed_regions(z, threshold=20)
    assert list(empty) == list(found) and not len(empty)
    with pytest.raises(AnomalyError, match="threshold is 0"):
        changed(z, 0)


def test_what_is_no_pair_is_refused():
    (before, after), inside = person(30, 30)
    with pytest.raises(AnomalyError, match=r"second image has shape \(30, 29\).*register visits"):
        change_map(before, after[:, :-1])
    with pytest.raises(AnomalyError, match="mask marks nothing"):
        change_map(before, after, inside=np.zeros_like(inside))
    with pytest.raises(AnomalyError, match="second image holds NaN"):
        change_map(before, np.where(inside, np.nan, after), inside=inside)
    with pytest.raises(AnomalyError, match="against one another"):
        change_map(before, -after)
    with pytest.raises(AnomalyError, match="match is 'best'"):
        change_map(before, after, match="best")
    with pytest.raises(AnomalyError, match="expected 2 millimetres above 0"):
        change_map(before, after, spacing=(1, 0))
