from itertools import combinations, product

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.stats import binom, ttest_rel

from anomaly.errors import EvaluationError
from anomaly.statistics.permutation import corrected_p, plan, shuffled
from explain.association.voxels import residuals, t_maps

PERSONS = np.repeat(np.arange(16), [1] * 4 + [3] * 12)


def drawn(seed=0, size=40, voxels=6):
    """Outcome, two covariates and maps that both have a part in."""
    rng = np.random.default_rng(seed)
    outcome, covariates = rng.integers(0, 2, size), rng.normal(size=(size, 2))
    maps = rng.normal(size=(size, voxels)) + covariates[:, :1] + 0.4 * outcome[:, None]
    return outcome, covariates, maps.astype(np.float32)


def fitted(model, maps, *, robust, index=None, signs=None):
    unit, lengths = residuals(model, maps)
    index = np.arange(len(unit))[None] if index is None else index
    signs = np.ones_like(index) if signs is None else signs
    coefficients, t = t_maps(model, unit, index, signs, robust=robust)
    return coefficients * lengths / model.length, t


def jackknife(outcome, covariates, values, blocks):
    """The coefficient, and its t by fits that leave one block out each."""

    def coefficient(kept):
        design = sm.add_constant(np.column_stack([outcome, covariates])[kept])
        return np.linalg.lstsq(design, values[kept].astype(float))[0][1]

    names = np.unique(blocks)
    whole = coefficient(np.full(outcome.size, True))
    apart = np.array([coefficient(blocks != name) for name in names]) - whole
    return whole / np.sqrt((names.size - 1) / names.size * np.sum(apart**2))


def test_pooled_t_and_difference_are_those_of_least_squares():
    outcome, covariates, maps = drawn()
    difference, t = fitted(plan(outcome, covariates), maps, robust=False)
    for voxel in range(maps.shape[1]):
        expected = sm.OLS(maps[:, voxel], sm.add_constant(np.column_stack([outcome, covariates]))).fit()
        assert difference[0, voxel] == pytest.approx(expected.params[1], rel=1e-4)
        assert t[0, voxel] == pytest.approx(expected.tvalues[1], rel=1e-4)


@pytest.mark.parametrize("subject", [None, PERSONS])
def test_robust_t_is_the_jackknife_over_persons(subject):
    outcome, covariates, maps = drawn()
    t = fitted(plan(outcome, covariates, subject), maps, robust=True)[1]
    blocks = np.arange(40) if subject is None else subject
    for voxel in range(maps.shape[1]):
        assert t[0, voxel] == pytest.approx(jackknife(outcome, covariates, maps[:, voxel], blocks), rel=1e-3)


@pytest.mark.parametrize("subject", [None, PERSONS])
def test_a_shuffling_is_a_fit_of_shuffled_residuals(subject):
    outcome, covariates, maps = drawn()
    model = plan(outcome, covariates, subject)
    index, signs = shuffled(model, 3, np.random.default_rng(0))
    pooled, robust = (fitted(model, maps, robust=each, index=index, signs=signs)[1] for each in (False, True))
    nuisance = sm.add_constant(covariates)
    left = maps - nuisance @ np.linalg.lstsq(nuisance, maps.astype(float))[0]
    blocks = np.arange(40) if subject is None else subject
    for row in range(3):
        moved = left[np.argsort(index[row])]
        for voxel in range(2):
            expected = sm.OLS(moved[:, voxel], sm.add_constant(np.column_stack([outcome, covariates]))).fit()
            assert pooled[row, voxel] == pytest.approx(expected.tvalues[1], rel=1e-3)
            assert robust[row, voxel] == pytest.approx(
                jackknife(outcome, covariates, moved[:, voxel], blocks), rel=2e-3
            )


def test_persons_move_whole_and_only_to_persons_with_as_many_images():
    outcome = drawn()[0]
    model = plan(outcome, None, PERSONS)
    index, signs = shuffled(model, 200, np.random.default_rng(1))
    assert (np.sort(index, axis=1) == np.arange(40)).all() and (signs == 1).all()
    assert (index[:, :4] < 4).all()
    for person in range(4, 16):
        places = PERSONS[index[:, person == PERSONS]]
        assert (places == places[:, :1]).all() and np.unique(places).size == 12
    # The images of a person change places too.
    assert len({tuple(row % 3) for row in (index[:, 4:7] - 4)}) == 6


def test_all_shufflings_are_drawn_evenly_and_in_any_portions():
    model = plan([0, 1, 0, 1], None, ["a", "a", "b", "b"])
    index, _ = shuffled(model, 8000, np.random.default_rng(2))
    found, counts = np.unique(index, axis=0, return_counts=True)
    # Two persons change places or not, and so do the two images of each.
    assert len(found) == 8
    assert abs(counts - 1000).max() < 4 * np.sqrt(8000 / 8 * 7 / 8)
    rng = np.random.default_rng(2)
    np.testing.assert_array_equal(np.concatenate([shuffled(model, part, rng)[0] for part in (3000, 5000)]), index)


@pytest.mark.parametrize(
    ("outcome", "subject", "match", "expected"),
    [
        ([1, 1, 0, 0, 0], None, None, 10),
        # Persons with both, none, one and one case: 4! / 2! orders, two ways within each of the last two.
        ([1, 1, 0, 0, 1, 0, 1, 0], [0, 0, 1, 1, 2, 2, 3, 3], None, 48),
        # A person alone changes places with nobody who has two images.
        ([1, 0, 1, 0, 0], [0, 1, 2, 2, 3], None, 6),
        ([1, 0, 1, 0, 0, 1], None, [0, 0, 1, 1, 2, 2], 8),
        # The first two pairs share a person.
        ([1, 0, 1, 0, 0, 1], ["a", "b", "a", "c", "d", "e"], [0, 0, 1, 1, 2, 2], 4),
        # One case of three in either set; the third set tells nothing.
        ([1, 0, 0, 0, 1, 0, 1, 1], None, [0, 0, 0, 1, 1, 1, 2, 2], 9),
    ],
)
def test_arrangements_by_hand(outcome, subject, match, expected):
    assert plan(outcome, None, subject, match).arrangements == expected


def test_pairs_are_the_paired_t_test_and_flips_are_exchanges_within_pairs():
    rng = np.random.default_rng(3)
    outcome, pair = np.array([1, 0, 0, 1, 1, 0, 0, 1, 1, 0, 9, 9]), np.repeat(np.arange(6), 2)
    outcome[10:] = 1  # a set without a control
    maps = rng.normal(size=(12, 1)).astype(np.float32)
    model = plan(outcome, None, None, pair)
    np.testing.assert_array_equal(model.images, np.arange(10))
    cases, controls = maps[[0, 3, 4, 7, 8], 0], maps[[1, 2, 5, 6, 9], 0]
    assert fitted(model, maps, robust=False)[1][0, 0] == pytest.approx(ttest_rel(cases, controls)[0], rel=1e-5)
    signs = np.array(list(product([1, -1], repeat=5)))
    flipped = fitted(model, maps, robust=False, index=np.tile(np.arange(5), (32, 1)), signs=signs)[1][:, 0]
    swapped = [ttest_rel(np.where(row > 0, cases, controls), np.where(row > 0, controls, cases))[0] for row in signs]
    np.testing.assert_allclose(flipped, swapped, rtol=1e-4)


def test_pairs_that_share_a_person_change_sign_together():
    model = plan([1, 0, 1, 0, 0, 1], None, ["a", "b", "a", "c", "d", "e"], [0, 0, 1, 1, 2, 2])
    index, signs = shuffled(model, 100, np.random.default_rng(4))
    assert (index == np.arange(3)).all()
    assert (signs[:, 0] == signs[:, 1]).all() and (signs[:, 0] != signs[:, 2]).any()


def test_larger_sets_keep_their_means_and_their_images():
    outcome, sets = np.array([1, 0, 0, 0, 1, 0, 0, 1, 1, 0]), np.array([0, 0, 0, 1, 1, 1, 1, 2, 2, 2])
    rng = np.random.default_rng(5)
    maps = rng.normal(size=(10, 2)).astype(np.float32)
    model = plan(outcome, None, None, sets)
    index, _ = shuffled(model, 50, rng)
    assert (sets[index] == sets).all()
    dummies = (sets[:, None] == np.arange(3)).astype(float)
    expected = sm.OLS(maps[:, 0], np.column_stack([outcome, dummies])).fit()
    shifted = maps + sets[:, None].astype(np.float32) * 7
    assert fitted(model, shifted, robust=False)[1][0, 0] == pytest.approx(expected.tvalues[0], rel=1e-4)


def test_p_counts_the_data_as_one_of_the_shufflings():
    observed, maxima = np.array([5.0, 3.0, 0.5]), np.array([1.0, 3.0, 4.0, 2.0])
    np.testing.assert_allclose(corrected_p(observed, maxima), [1 / 5, 3 / 5, 1.0])


def test_p_approaches_that_of_all_arrangements():
    maps = np.array([3.1, 2.0, 4.2, 1.0, 0.3, 2.1, 1.9, 0.2], dtype=np.float32)[:, None]
    outcome = np.array([1, 1, 1, 0, 0, 0, 0, 0])
    model = plan(outcome)
    index, signs = shuffled(model, 20000, np.random.default_rng(6))
    observed = np.abs(fitted(model, maps, robust=False)[1][0])
    t = np.abs(fitted(model, maps, robust=False, index=index, signs=signs)[1][:, 0])
    differences = [
        abs(maps[list(cases)].mean() - np.delete(maps, list(cases)).mean()) for cases in combinations(range(8), 3)
    ]
    exact = np.mean(np.array(differences) >= differences[0] - 1e-6)
    assert corrected_p(observed, t)[0] == pytest.approx(exact, abs=4 * np.sqrt(exact / 20000))


def test_a_voxel_that_covariates_explain_entirely_has_t_zero():
    outcome, covariates, maps = drawn()
    maps[:, 0], maps[:, 1] = covariates[:, 0], 0.1
    for robust in (False, True):
        t = fitted(plan(outcome, covariates), maps, robust=robust)[1]
        assert (t[0, :2] == 0).all() and np.isfinite(t).all() and (t[0, 2:] != 0).all()


def test_a_large_offset_costs_no_precision():
    outcome, covariates, maps = drawn()
    maps = np.round(maps * 64) / 64
    found = fitted(plan(outcome, covariates), maps, robust=False)[1]
    np.testing.assert_allclose(fitted(plan(outcome, covariates), maps + 4096, robust=False)[1], found, rtol=1e-5)


def test_what_cannot_be_tested_says_so():
    with pytest.raises(EvaluationError, match="the same within every matched set"):
        plan([1, 1, 0, 0], None, None, [0, 0, 1, 1])
    with pytest.raises(EvaluationError, match="determine the outcome of the 6 images"):
        plan([1, 0, 1, 0, 1, 0], [[1.0], [0], [1], [0], [1], [0]])
    with pytest.raises(EvaluationError, match="several matched sets, which are not all pairs"):
        plan([1, 0, 0, 1, 0], None, ["a", "b", "c", "a", "d"], [0, 0, 0, 1, 1])


COHORTS = 80


@pytest.fixture(scope="module")
def bench():
    return pytest.importorskip("benchmarks.association", reason="benchmarks are not part of this copy")


@pytest.mark.parametrize("design", ["one_image", "confounded", "constant", "mixed", "mixed_adjusted", "within"])
def test_false_findings_come_as_often_as_asked_for(bench, design):
    found = bench.found(getattr(bench, design), COHORTS, 39, seed=11, corrections=["max-t", "cluster"])
    low, high = binom.ppf([0.001, 0.999], COHORTS, 0.05)
    assert all(low <= count <= high for count in found.values()), found


def test_threshold_free_false_findings_come_as_often_as_asked_for(bench):
    found = bench.found(bench.mixed, 50, 19, seed=12, corrections=["tfce"])
    assert found["tfce"] <= binom.ppf(0.999, 50, 0.05)


def test_taking_images_for_persons_or_pooling_unequal_spreads_finds_too_much(bench):
    def apart(rng):
        cohort = bench.constant(rng)
        return bench.Cohort(cohort.maps, cohort.outcome)

    high = binom.ppf(0.999, 60, 0.05)
    assert bench.found(apart, 60, 39, seed=13, corrections=["max-t"])["max-t"] > high
    pooled, robust = (
        bench.found(design, 60, 39, seed=14, corrections=["max-t"])["max-t"]
        for design in (bench.spread, bench.spread_robust)
    )
    assert pooled > 0.4 * 60 and robust < pooled / 2
