import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm, t

from anomaly import statistics
from anomaly.errors import EvaluationError
from anomaly.statistics import metrics

ASAH = Path(__file__).parents[2] / ".." / "shared" / "data" / "aSAH.csv"


@pytest.fixture
def asah():
    if not ASAH.is_file():
        pytest.skip(f"reference values NOT checked: aSAH.csv (GPL-3, from R's pROC) is not at {ASAH}")
    return pd.read_csv(ASAH)


def knees(persons, correlation, auroc, rng):
    """Outcome, score and person of two knees a person, both with the intraclass correlation given."""

    def drawn():
        shared = np.repeat(rng.normal(size=persons), 2)
        return np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * rng.normal(size=2 * persons)

    outcome = (drawn() > norm.ppf(0.6)).astype(int)
    return outcome, drawn() + np.sqrt(2) * norm.ppf(auroc) * outcome, np.repeat(np.arange(persons), 2)


@pytest.mark.parametrize(
    ("marker", "auroc", "variance", "partial"),
    [
        ("wfns", 0.823678861788618, 0.00146991470882363, 0.649693339038653),
        ("ndka", 0.611957994579946, 0.0031908105493913, 0.530024247610897),
        ("s100b", 0.731368563685637, 0.00266868245717244, None),
    ],
)
def test_delong_gives_the_reference_values(asah, marker, auroc, variance, partial):
    outcome = asah["outcome"] == "Poor"
    found = statistics.auroc_interval(outcome, asah[marker])
    assert found.value == pytest.approx(auroc, rel=1e-13)
    assert found.variance == pytest.approx(variance, rel=1e-13)
    assert metrics.auroc(outcome, asah[marker]) == pytest.approx(auroc, rel=1e-13)
    if partial is not None:
        assert metrics.partial_auroc(outcome, asah[marker], 0.1) == pytest.approx(partial, rel=1e-13)


def test_delong_interval_gives_the_reference_values(asah):
    found = statistics.auroc_interval(asah["outcome"] == "Poor", asah["ndka"])
    assert (found.low, found.high) == pytest.approx((0.501244999271703, 0.722670989888189), rel=1e-13)
    assert found.method == "DeLong"


@pytest.mark.parametrize(
    ("first", "second", "z", "p_value"),
    [
        ("wfns", "s100b", 2.20898359144091, 0.0271757822291882),
        ("wfns", "ndka", 2.79777591868904, 0.00514557970691098),
        ("ndka", "s100b", -1.39077002573558, 0.164295175223054),
    ],
)
def test_paired_delong_gives_the_reference_values(asah, first, second, z, p_value):
    found = statistics.compare_aurocs(asah["outcome"] == "Poor", asah[first], asah[second])
    assert (found.z, found.p_value) == pytest.approx((z, p_value), rel=1e-12)


def by_definition(outcome, scores, subject):
    """Obuchowski 1997 written out pair by pair, as slow as the formula."""
    outcome, subject, persons = np.asarray(outcome), np.asarray(subject), np.unique(subject)
    cases, controls = np.flatnonzero(outcome == 1), np.flatnonzero(outcome == 0)
    aurocs, over_cases, over_controls = [], [], []
    for score in np.asarray(scores, dtype=float):
        wins = (score[cases][:, None] > score[controls]) + 0.5 * (score[cases][:, None] == score[controls])
        auroc = wins.mean()
        x, y = wins.mean(axis=1) - auroc, wins.mean(axis=0) - auroc
        over_cases.append([x[subject[cases] == person].sum() for person in persons])
        over_controls.append([y[subject[controls] == person].sum() for person in persons])
        aurocs.append(auroc)
    x, y = np.array(over_cases), np.array(over_controls)
    with_case, with_control = (len(set(subject[which])) for which in (cases, controls))
    s10 = with_case / ((with_case - 1) * cases.size) * x @ x.T
    s01 = with_control / ((with_control - 1) * controls.size) * y @ y.T
    s11 = persons.size / (persons.size - 1) * x @ y.T
    return aurocs, s10 / cases.size + s01 / controls.size + (s11 + s11.T) / (cases.size * controls.size)


def test_clustered_covariance_is_the_formula_pair_by_pair():
    # Unequal persons; "a" and "c" hold both outcomes; ties within and across persons.
    outcome = [1, 0, 0, 1, 1, 0, 0, 0, 1]
    subject = ["a", "a", "b", "c", "c", "c", "d", "e", "e"]
    scores = [[3, 2, 2, 4, 1, 2, 0, 5, 5], [1, 2, 0, 4, 3, 3, 2, 1, 6]]
    aurocs, covariance = by_definition(outcome, scores, subject)
    found, found_covariance = statistics.auroc_covariance(outcome, scores, subject)
    np.testing.assert_allclose(found, aurocs, rtol=1e-14)
    np.testing.assert_allclose(found_covariance, covariance, rtol=1e-12)


def test_delong_variance_by_hand():
    # Cases 2, 3 beat controls 1, 2 by 3/4 and 1; controls lose by 1 and 3/4. Both sample variances are 1/32.
    found = statistics.auroc_interval([0, 0, 1, 1], [1, 2, 2, 3])
    assert found.value == 0.875
    assert found.variance == pytest.approx(1 / 32 / 2 + 1 / 32 / 2, rel=1e-14)


def test_one_image_a_subject_is_delong():
    outcome, score, _ = knees(100, 0.0, 0.8, np.random.default_rng(0))
    other = score + np.random.default_rng(1).normal(size=score.size)
    names = [f"p{i}" for i in range(score.size)]
    plain = statistics.auroc_covariance(outcome, [score, other])
    clustered = statistics.auroc_covariance(outcome, [score, other], names)
    np.testing.assert_allclose(clustered[1], plain[1], rtol=1e-13)


def test_doubling_every_subject_changes_nothing():
    outcome, score, _ = knees(60, 0.0, 0.7, np.random.default_rng(2))
    other = score + np.random.default_rng(3).normal(size=score.size)
    twice = [np.repeat(each, 2) for each in (outcome, score, other, np.arange(score.size))]
    once = statistics.auroc_covariance(outcome, [score, other])
    clustered = statistics.auroc_covariance(twice[0], twice[1:3], twice[3])
    np.testing.assert_allclose(clustered[0], once[0], rtol=1e-13)
    np.testing.assert_allclose(clustered[1], once[1], rtol=1e-12)
    plain = statistics.auroc_interval(twice[0], twice[1])
    assert plain.variance < 0.6 * once[1][0, 0]


def test_the_order_of_the_images_does_not_matter():
    outcome, score, subject = knees(50, 0.7, 0.8, np.random.default_rng(4))
    order = np.random.default_rng(5).permutation(outcome.size)
    first = statistics.auroc_interval(outcome, score, subject)
    second = statistics.auroc_interval(outcome[order], score[order], subject[order])
    assert second.variance == pytest.approx(first.variance, rel=1e-12)


def test_coverage_on_two_knees_a_person():
    rng, repeats = np.random.default_rng(6), 400
    covered = {"clustered": 0, "logit": 0, "plain": 0}
    for _ in range(repeats):
        outcome, score, subject = knees(120, 0.9, 0.8, rng)
        found = {
            "clustered": statistics.auroc_interval(outcome, score, subject),
            "logit": statistics.auroc_interval(outcome, score, subject, scale="logit"),
            "plain": statistics.auroc_interval(outcome, score),
        }
        for name, each in found.items():
            covered[name] += each.low <= 0.8 <= each.high
    # Three standard errors of 400 repetitions at 95 % are 3.3 points.
    assert covered["clustered"] / repeats == pytest.approx(0.95, abs=0.033)
    assert covered["logit"] / repeats == pytest.approx(0.95, abs=0.033)
    assert covered["plain"] < covered["clustered"] - 0.03 * repeats


def test_coverage_counts_the_intervals_that_hold_the_truth():
    coverage = pytest.importorskip("benchmarks.coverage", reason="benchmarks are not part of this copy")
    found = coverage.coverage(60, 0.95, 0.7, repeats=200, rng=np.random.default_rng(0))
    # Three standard errors of 200 repetitions at 95 % are 4.6 points.
    assert found["plain, clustered"] == pytest.approx(0.95, abs=0.046)
    assert found["logit, clustered"] == pytest.approx(0.95, abs=0.046)
    assert found["plain"] < found["plain, clustered"] - 0.03
    values = coverage.pairs(500, 40, 0.7, np.random.default_rng(1)).reshape(500, 40, 2)
    assert np.mean(values[..., 0] * values[..., 1]) == pytest.approx(0.7, abs=0.03)


def test_logit_interval_is_symmetric_in_log_odds_and_stays_inside():
    found = statistics.auroc_interval([0] * 6 + [1] * 6, [*range(6), 4.5, 6, 7, 8, 9, 10], scale="logit")
    odds = [np.log(p / (1 - p)) for p in (found.low, found.value, found.high)]
    assert odds[2] - odds[1] == pytest.approx(odds[1] - odds[0])
    # Placements by hand: cases beat 5, 6, 6, 6, 6, 6 of six controls, controls lose to 6, 6, 6, 6, 6, 5 of six cases.
    influence = np.tile([-5 / 36, 1 / 36, 1 / 36, 1 / 36, 1 / 36, 1 / 36], 2) / 6
    assert found.variance == pytest.approx(2 * 6 / 5 * np.sum(influence[:6] ** 2))
    freedom = 4 * found.variance**2 / (np.sum(influence**4) - np.sum(influence**2) ** 2 / 12)
    step = t.ppf(0.975, freedom) * np.sqrt(found.variance) / (found.value * (1 - found.value))
    assert odds[2] - odds[1] == pytest.approx(step)
    assert step > 1.05 * 1.959963984540054 * np.sqrt(found.variance) / (found.value * (1 - found.value))
    assert found.high < 1
    assert found.method == "DeLong, logit scale, t"


@pytest.mark.parametrize("scale", statistics.SCALES)
@pytest.mark.parametrize("clustered", [False, True])
def test_p_is_small_exactly_where_the_interval_leaves_chance_out(scale, clustered):
    rng, outside = np.random.default_rng(14), 0
    for _ in range(500):
        persons, shift = rng.integers(8, 25), rng.uniform(0, 1.5)
        outcome, score, person = knees(persons, 0.5, norm.cdf(shift), rng)
        outcome[:4] = [0, 0, 1, 1]
        outcome[-4:] = [1, 1, 0, 0]
        score = np.round(score, rng.integers(0, 3))
        confidence = rng.choice([0.8, 0.95])
        found = statistics.auroc_interval(
            outcome, score, person if clustered else None, confidence=confidence, scale=scale, fewest=2
        )
        beyond = not found.low <= 0.5 <= found.high
        assert beyond == (found.p_value < 1 - confidence), found
        outside += beyond
    assert 100 < outside < 400


def test_p_on_the_logit_scale_by_hand():
    found = statistics.auroc_interval([0, 0, 1, 1], [1, 2, 2, 3], scale="logit")
    # Log-odds ln 7 of 7/8; standard error sqrt(1/32) by the delta method over 7/8 * 1/8.
    assert found.p_value == pytest.approx(2 * norm.sf(np.log(7) * (7 / 64) * np.sqrt(32)))
    plain = statistics.auroc_interval([0, 0, 1, 1], [1, 2, 2, 3])
    assert plain.p_value == pytest.approx(2 * norm.sf(0.375 * np.sqrt(32)))


def test_classes_that_do_not_overlap_keep_an_honest_interval():
    outcome = [0] * 5 + [1] * 5
    best, worst = (statistics.auroc_interval(outcome, sign * np.arange(10)) for sign in (1, -1))
    assert best.low > 0.5 and best.p_value < 0.05
    assert (best.value, best.high) == (1.0, 1.0)
    assert (worst.value, worst.low) == (0.0, 0.0)
    assert worst.high == pytest.approx(1 - best.low)
    # Newcombe's method 5 at its own bound: (1 - a)^2 = z^2 V(a).
    a = best.low
    variance = a * (1 - a) * (9 - 3 * 4 / ((2 - a) * (1 + a))) / 25
    assert (1 - a) ** 2 == pytest.approx(1.959963984540054**2 * variance)
    assert best.p_value == pytest.approx(2 * norm.sf(0.5 / np.sqrt(11 / 300)))
    assert "Newcombe" in best.method


def test_equal_scores_are_no_better_than_chance():
    found = statistics.auroc_interval([0, 0, 1, 1], [7, 7, 7, 7])
    assert (found.value, found.low, found.high, found.p_value) == (0.5, 0.5, 0.5, 1.0)
    same = statistics.compare_aurocs([0, 0, 1, 1], [1, 2, 2, 3], [1, 2, 2, 3])
    assert (same.difference, same.z, same.p_value) == (0.0, 0.0, 1.0)


def test_proportion_is_wilson_and_counts_subjects():
    found = statistics.proportion([1] * 3 + [0] * 7)
    assert (found.low, found.high) == pytest.approx((0.10779126740630098, 0.6032218525388546))
    doubled = statistics.proportion(np.repeat([1] * 3 + [0] * 7, 2), np.repeat(np.arange(10), 2))
    assert (doubled.low, doubled.high) == pytest.approx((found.low, found.high))
    none, none_doubled = statistics.proportion([0] * 10), statistics.proportion([0] * 20, [*range(10)] * 2)
    # Wilson at none of n: z^2 / (n + z^2).
    assert none.high == pytest.approx(3.841458820694124 / 13.841458820694124)
    assert none_doubled.high == pytest.approx(none.high)


def test_more_successes_never_have_a_lower_interval():
    person = np.repeat(np.arange(38), 2)
    for step in (1, 2):  # of both images of a person, or of one each
        few = [statistics.proportion(np.isin(np.arange(76), np.arange(0, step * k, step)), person) for k in range(6)]
        assert few[1].high >= few[0].high == pytest.approx(3.841458820694124 / 41.841458820694124)
        assert (np.diff([each.high for each in few]) >= 0).all()
        most = statistics.proportion(~np.isin(np.arange(76), [0]), person)
        assert most.low == pytest.approx(1 - few[1].high) and most.high == pytest.approx(1 - few[1].low)


@pytest.mark.parametrize("specificity", [0.5, 0.8, 0.9, 0.95, 1.0])
def test_sensitivity_interval_is_of_the_same_rule_as_the_metric(specificity):
    rng = np.random.default_rng(7)
    outcome, score = rng.integers(0, 2, 80), rng.integers(0, 15, 80)
    found = statistics.sensitivity_interval(outcome, score, specificity, repeats=200, fewest=2)
    assert found.value == pytest.approx(metrics.sensitivity_at_specificity(outcome, score, specificity))
    assert found.low <= found.value <= found.high


def test_weights_in_the_bootstrap_are_repeated_images():
    rng = np.random.default_rng(8)
    outcome, score = rng.integers(0, 2, 60), rng.integers(0, 15, 60)
    weights = rng.integers(0, 4, (20, 60))
    statistic = statistics.sensitivity._weighted_sensitivity(outcome == 1, score.astype(float), 0.9)
    expected = [
        metrics.sensitivity_at_specificity(np.repeat(outcome, row), np.repeat(score, row), 0.9) for row in weights
    ]
    np.testing.assert_allclose(statistic(weights.astype(float)), expected, atol=1e-12)


def test_bootstrap_is_a_function_of_its_seed_and_draws_whole_subjects():
    outcome, score, subject = knees(80, 0.7, 0.8, np.random.default_rng(9))
    first, again, other = (
        statistics.sensitivity_interval(outcome, score, 0.9, subject, repeats=300, seed=seed) for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other
    twice = [np.repeat(each, 2) for each in (outcome, score, subject)]
    doubled = statistics.sensitivity_interval(*twice[:2], 0.9, twice[2], repeats=300, seed=1)
    assert (doubled.low, doubled.high) == pytest.approx((first.low, first.high))


def test_all_events_found_falls_back_on_wilson():
    found = statistics.sensitivity_interval([0] * 10 + [1] * 10, range(20), 0.9, repeats=100, fewest=2)
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(10 / 13.841458820694124)
    assert found.method == "Wilson"


def test_average_precision_interval_is_of_the_same_rule_as_the_metric():
    rng = np.random.default_rng(13)
    outcome, score = rng.integers(0, 2, 60), rng.integers(0, 15, 60)
    found = statistics.average_precision_interval(outcome, score)
    assert found.value == pytest.approx(metrics.average_precision(outcome, score))
    assert found.low < found.value < found.high
    assert found.method == "influence of images, logit scale, t"


def test_influence_on_average_precision_is_its_derivative_by_weight():
    rng = np.random.default_rng(13)
    outcome, score = rng.integers(0, 2, 40) == 1, rng.integers(0, 15, 40).astype(float)
    found, influence = statistics.precision._influence(outcome, score)
    step = 1000  # an image more among so many copies of all
    for image in range(40):
        copies = np.full(40, step)
        copies[image] += 1
        more = metrics.average_precision(np.repeat(outcome, copies), np.repeat(score, copies))
        assert (more - found) * step == pytest.approx(influence[image], abs=2e-3)
    assert np.sum(influence) == pytest.approx(0, abs=1e-12)


def test_average_precision_of_one_keeps_an_honest_interval():
    outcome = [0] * 20 + [1] * 12
    found = statistics.average_precision_interval(outcome, range(32))
    area = statistics.auroc_interval(outcome, range(32), scale="logit")
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.method == area.method
    # By hand: the precision of exponential scores of that AUROC, averaged over the share of cases found.
    share = (np.arange(100_000) + 0.5) / 100_000
    above = share ** (area.low / (1 - area.low))
    assert found.low == pytest.approx(np.mean(12 * share / (12 * share + 20 * above)), abs=1e-6)
    assert found.low < 0.95


def mean_of(values):
    return lambda weights: weights @ values / weights.sum(axis=1)


def test_bootstrap_variance_of_a_mean_is_the_textbook_one():
    values = np.random.default_rng(10).normal(size=100)
    found = statistics.bootstrap(mean_of(values), np.arange(100), np.zeros(100), repeats=4000)
    assert found.value == pytest.approx(values.mean())
    assert found.variance == pytest.approx(values.var() / 100, rel=0.08)
    assert found.high - found.low == pytest.approx(2 * t.ppf(0.975, 99) * values.std(ddof=1) / 10, rel=0.05)


def test_bca_moves_the_interval_of_a_skewed_mean_towards_the_tail():
    values = np.random.default_rng(11).exponential(size=60)
    settings = {"subject": np.arange(60), "outcome": np.zeros(60), "repeats": 4000}
    plain = statistics.bootstrap(mean_of(values), **settings)
    bca = statistics.bootstrap(mean_of(values), **settings, bca=True)
    assert bca.low > plain.low
    assert bca.high > plain.high


def test_ten_thousand_subjects_take_less_than_a_second():
    outcome, score, subject = knees(10_000, 0.7, 0.8, np.random.default_rng(12))
    names = np.array([f"person{i}" for i in subject])
    start = time.perf_counter()
    statistics.auroc_interval(outcome, score, names)
    assert time.perf_counter() - start < 1


def test_what_allows_no_interval_is_told():
    with pytest.raises(EvaluationError, match="1 subjects with the event and 2 without"):
        statistics.auroc_interval([1, 1, 0, 0], [1, 2, 3, 4], ["a", "a", "b", "c"])
    with pytest.raises(EvaluationError, match="one subject an image"):
        statistics.auroc_interval([1, 1, 0, 0], [1, 2, 3, 4], ["a", "b"])
    with pytest.raises(EvaluationError, match="scale must be one of plain, logit, got 'log'"):
        statistics.auroc_interval([1, 0], [1, 2], scale="log")
    with pytest.raises(EvaluationError, match="2 of 4 scores are NaN"):
        statistics.compare_aurocs([1, 1, 0, 0], [1, 2, 3, 4], [np.nan, np.nan, 3, 4])
    with pytest.raises(EvaluationError, match="a share needs"):
        statistics.proportion([])
    with pytest.raises(EvaluationError, match="specificity must lie"):
        statistics.sensitivity_interval([1, 0], [1, 2], 0.0)
