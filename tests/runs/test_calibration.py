"""What held-out normals say of a score: p by hand and by simulation, z on the normal scale, units of a map."""

import numpy as np
import pytest
from scipy import stats

from anomaly.detectors.moments import PRIOR_IMAGES, Moments
from anomaly.runs.calibration import Calibration, MapSample, capped, conformal_p, joint_p, normal_score

FIVE = np.array([3.0, 1.0, 2.0, 2.0, 5.0])


def calibration(n: int = 19) -> Calibration:
    random = np.random.default_rng(0)
    return Calibration(
        values=random.gamma(2.0, size=n),
        subjects=np.array([f"sub-é{i}" for i in range(n)]),
        map_mean=random.random((1, 4, 5), dtype=np.float32),
        map_sd=0.5 + random.random((1, 4, 5), dtype=np.float32),
        mean_image=random.random((2, 4, 5), dtype=np.float32),
    )


@pytest.mark.parametrize(
    ("value", "at_least"), [(0.0, 5), (1.0, 5), (1.5, 4), (2.0, 4), (2.5, 2), (3.0, 2), (5.0, 1), (5.1, 0), (np.inf, 0)]
)
def test_p_by_hand(value, at_least):
    assert conformal_p(FIVE, np.array([value])).tolist() == [(1 + at_least) / 6]


def test_p_of_many_is_p_of_each_and_of_no_number_is_none():
    values = np.array([[0.0, 2.0], [4.0, 9.0]])
    assert conformal_p(FIVE, values).tolist() == [[1.0, 5 / 6], [2 / 6, 1 / 6]]
    assert np.isnan(conformal_p(FIVE, np.array([np.nan]))).all()
    assert np.isnan(normal_score(FIVE, np.array([np.nan]))).all()
    assert conformal_p(np.array([]), np.array([3.0])).tolist() == [1.0]


@pytest.mark.parametrize("decimals", [None, 0])
def test_normals_are_flagged_no_more_often_than_asked(decimals):
    """P(p <= alpha) <= alpha over calibration sets and cases; alpha where (n + 1) alpha is whole and none tie."""
    random, n, draws = np.random.default_rng(1), 19, 20_000
    scores = random.lognormal(size=(draws, n + 1))
    scores = scores if decimals is None else scores.round(decimals)
    p = np.array([conformal_p(row[:n], row[n:])[0] for row in scores])
    for alpha in (0.05, 0.1, 0.25, 0.5):
        rate, error = (p <= alpha + 1e-12).mean(), np.sqrt(alpha * (1 - alpha) / draws)
        assert rate <= alpha + 4 * error
        if decimals is None:
            assert rate >= alpha - 4 * error
    assert p.min() == 1 / (n + 1)


def test_z_at_a_calibration_value_is_the_normal_quantile_of_its_rank():
    values = np.random.default_rng(2).exponential(size=50)
    ranks = stats.rankdata(values)
    np.testing.assert_allclose(normal_score(values, values), stats.norm.ppf(ranks / 51), atol=1e-12)
    tied = stats.norm.ppf(stats.rankdata(FIVE) / 6)
    np.testing.assert_allclose(normal_score(FIVE, FIVE), tied, atol=1e-12)
    assert normal_score(np.array([1.0, 2.0, 2.0, 3.0]), np.array([2.0])).tolist() == [0.0]


def test_z_between_and_beyond_by_hand():
    low, middle, high = stats.norm.ppf([1 / 4, 2 / 4, 3 / 4])
    three, sd = np.array([10.0, 20.0, 40.0]), np.std([10.0, 20.0, 40.0])
    z = normal_score(three, np.array([15.0, 35.0, 40.0 + sd, 10.0 - 2 * sd]))
    expected = [(low + middle) / 2, middle + 0.75 * (high - middle), high + 1, low - 2]
    np.testing.assert_allclose(z, expected, atol=1e-12)


def test_z_rises_without_jumps():
    values = np.random.default_rng(3).gamma(2.0, size=40).round(1)
    grid = np.linspace(values.min() - 3, values.max() + 3, 200_001)
    rises = np.diff(normal_score(values, grid))
    assert (rises > 0).all()
    assert rises.max() < 1e-3


def test_z_orders_as_p_does():
    values = np.random.default_rng(4).normal(size=30)
    new = np.sort(np.random.default_rng(5).normal(size=200))
    assert (np.diff(conformal_p(values, new)) <= 0).all() and (np.diff(normal_score(values, new)) > 0).all()


def test_z_ends_where_normals_end():
    values = np.array([1.0, 2.0, 4.0, 4.0])
    end = stats.norm.ppf(4 / 5)
    np.testing.assert_allclose(
        capped(values, np.array([-9.0, 2.0, 5.0, 1e9])), [-end, normal_score(values, values)[1], end, end]
    )
    assert np.isnan(capped(values, np.array([np.nan]))).all()
    twice = np.array([0.5, 0.5, 1.0, 1.0])  # three persons
    assert capped(values, np.array([1e9]), twice)[0] == pytest.approx(stats.norm.ppf(3 / 4))


def test_z_of_normals_that_are_all_alike_is_finite():
    for values in (np.full(7, 0.1), np.array([0.1])):
        assert normal_score(values, np.array([-0.9, 0.1, 1.1])).tolist() == pytest.approx([-1, 0, 1])


def test_a_calibration_says_p_z_and_units_of_normal_variation():
    given = calibration()
    new = np.array([0.3, 4.0])
    assert np.array_equal(given.p_value(new), conformal_p(given.values, new))
    assert np.array_equal(given.departure(new), normal_score(given.values, new))
    assert np.array_equal(given.z(new), capped(given.values, new))
    maps = given.map_mean + np.array([0.0, -1.5, 3.0], dtype=np.float32)[:, None, None, None] * given.map_sd
    np.testing.assert_allclose(given.map_z(maps).mean((1, 2, 3)), [0, -1.5, 3], atol=1e-5)


def test_saved_and_loaded_it_is_the_same(tmp_path):
    given = calibration()
    given.save(tmp_path / "calibration.safetensors")
    loaded = Calibration.load(tmp_path / "calibration.safetensors")
    for name in ("values", "subjects", "map_mean", "map_sd", "mean_image"):
        before, after = getattr(given, name), getattr(loaded, name)
        assert np.array_equal(before, after) and before.dtype.kind == after.dtype.kind, name
    assert loaded.values.dtype == np.float64, "ties are broken by the last digit"


def moments_of(*batches: np.ndarray) -> Moments:
    moments = Moments()
    for batch in batches:
        moments.add(batch)
    return moments


@pytest.mark.parametrize("cuts", [[], [1], [10], [3, 4, 15], list(range(1, 20))])
def test_moments_are_numpys_however_the_images_come(cuts):
    maps = (100 + np.random.default_rng(6).normal(size=(20, 1, 3, 4, 2))).astype(np.float32)
    moments = moments_of(*np.split(maps, cuts))
    exact = maps.astype(np.float64)
    np.testing.assert_allclose(moments.mean(), exact.mean(0), rtol=1e-6)
    sum_of_squares = exact.var(0) * 20
    pooled = exact.var(0, ddof=1).mean()
    expected = np.sqrt((sum_of_squares + PRIOR_IMAGES * pooled) / (19 + PRIOR_IMAGES))
    np.testing.assert_allclose(moments.sd(), expected, rtol=1e-6)
    assert moments.count == 20 and moments.mean().dtype == moments.sd().dtype == np.float32


def test_the_moderated_sd_by_hand():
    """Two pixels over three images: sums of squares 2 and 0, pooled variance (2 / 2 + 0 / 2) / 2 = 1 / 2."""
    maps = np.array([[1.0, 5.0], [2.0, 5.0], [3.0, 5.0]], dtype=np.float32).reshape(3, 1, 1, 2)
    sd = moments_of(maps).sd()
    np.testing.assert_allclose(sd.ravel(), np.sqrt([(2 + 10 / 2) / 12, (0 + 10 / 2) / 12]), rtol=1e-6)


def test_with_many_images_the_prior_does_not_matter():
    maps = np.random.default_rng(7).normal(size=(20_000, 1, 1, 2)).astype(np.float32) * np.array([1.0, 3.0], np.float32)
    np.testing.assert_allclose(moments_of(maps).sd().ravel(), maps.std(0, ddof=1).ravel(), rtol=3e-3)


def test_one_image_has_a_spread_that_can_be_divided_by():
    sd = moments_of(np.ones((1, 1, 2, 2), dtype=np.float32)).sd()
    assert np.isfinite(sd).all() and (sd > 0).all()


def test_a_subject_counts_once_however_many_images():
    """Two images of one subject, one of another: p = (1 + 1/2 [a above] + 1/2 [b above] + [c above]) / 3."""
    calibration, weights = np.array([1.0, 3.0, 2.0]), np.array([0.5, 0.5, 1.0])
    p = conformal_p(calibration, np.array([0.0, 1.5, 2.0, 2.5, 4.0]), weights)
    np.testing.assert_allclose(p, [3 / 3, 2.5 / 3, 2.5 / 3, 1.5 / 3, 1 / 3])


@pytest.mark.parametrize("correlation", [0.7, 1.0])
def test_new_subjects_are_flagged_at_the_rate_asked_for_when_images_cluster(correlation):
    rng, flagged = np.random.default_rng(0), 0
    subjects, images, repeats = 20, 10, 4000
    for _ in range(repeats):
        person = rng.normal(size=(subjects + 1, 1)) * correlation**0.5
        values = person + rng.normal(size=(subjects + 1, images)) * (1 - correlation) ** 0.5
        weights = np.full(subjects * images, 1 / images)
        flagged += conformal_p(values[:-1].ravel(), values[-1:, 0], weights)[0] <= 0.05
    assert flagged / repeats <= 0.05 + 3 * (0.05 * 0.95 / repeats) ** 0.5


@pytest.mark.parametrize(("count", "correlation"), [(3, 0.0), (3, 0.7), (5, 0.5)])
def test_an_ensemble_flags_normals_at_the_rate_asked_for(count, correlation):
    rng, flagged, repeats, n = np.random.default_rng(1), 0, 3000, 19
    for _ in range(repeats):
        values = correlation**0.5 * rng.normal(size=(1, n + 1)) + (1 - correlation) ** 0.5 * rng.normal(
            size=(count, n + 1)
        )
        flagged += joint_p(values[:, :-1], values[:, -1], np.ones(n)) <= 0.05
    assert abs(flagged / repeats - 0.05) <= 3 * (0.05 * 0.95 / repeats) ** 0.5


def test_an_image_beyond_all_normals_under_every_detector_has_the_smallest_p():
    values = np.random.default_rng(2).normal(size=(2, 30))
    assert joint_p(values, np.array([9.0, 9.0]), np.ones(30)) == pytest.approx(1 / 31)
    assert joint_p(values, np.array([-9.0, -9.0]), np.ones(30)) == 1.0


@pytest.mark.parametrize("people", [3, 5, 40])
def test_as_few_pixels_of_new_normals_exceed_the_limits_as_told(people: int) -> None:
    """Also where few normals tell mean and spread: their own maps would be nearer to them than those of others."""
    rng = np.random.default_rng(people)
    level, spread = rng.normal(size=(40, 40)), rng.uniform(0.5, 2, (40, 40))

    def maps(count: int) -> np.ndarray:
        return (level + spread * rng.normal(size=(count, 40, 40)))[:, None].astype(np.float32)

    beyond = []
    for _ in range(10):
        normals, moments, some = maps(people), Moments(), MapSample((people, 1, 40, 40))
        moments.add(normals)
        some.add(normals)
        limits = some.limits(np.arange(people))
        new = (maps(20) - moments.mean()) / moments.sd()
        beyond.append([(new > limit).mean() for limit in limits])
    five, one = np.mean(beyond, axis=0)
    assert 0.035 < five < 0.06 and 0.005 < one < 0.014
    assert MapSample((3, 1, 4, 4)).limits(np.zeros(0)) is None


def test_pixels_that_no_normal_showed_are_told_by_all_others() -> None:
    maps = np.random.default_rng(0).normal(5, 1, (30, 1, 4, 4))
    inside = np.ones((30, 1, 4, 4), dtype=bool)
    inside[:, :, 0, 0] = False
    moments = Moments()
    moments.add(maps, inside)
    assert moments.mean()[0, 0, 0] == pytest.approx(maps[inside].mean(), abs=0.01)
    assert moments.sd()[0, 0, 0] == pytest.approx(1, abs=0.15)
