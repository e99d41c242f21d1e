import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import chi2, f, norm, t, ttest_1samp, ttest_ind
from statsmodels.regression.mixed_linear_model import MixedLM

from anomaly.errors import EvaluationError
from anomaly.statistics.hazards import cox, pooled_logistic
from anomaly.statistics.linear import least_squares, mean_difference
from anomaly.statistics.models import odds_ratio
from anomaly.statistics.repeatability import REACH, degrees_of, repeatability
from anomaly.statistics.slopes import slopes
from anomaly.statistics.time_varying import cox_by_interval, odds_by_visit


def test_the_within_deviation_and_its_interval_by_hand():
    # Changes 1, -1 ... of twelve persons: sum d^2 / 2n = 1 / 2, and squares that are all alike tell no long tails.
    before = np.arange(12.0)
    after = before + np.tile([1.0, -1.0], 6)
    found = repeatability(before, after)
    low, high = np.sqrt(12 * 0.5 / chi2.ppf([0.975, 0.025], 12))
    assert (found.within.value, found.within.low, found.within.high) == pytest.approx((np.sqrt(0.5), low, high))
    assert found.least_detectable.value == pytest.approx(norm.ppf(0.975))  # 1.96 sqrt(2) sqrt(1/2)
    assert found.least_detectable.high == pytest.approx(REACH * high)
    assert found.drift.value == 0
    assert found.inside.value == 1
    # One-way analysis of variance of the same twelve pairs.
    middle = (before + after) / 2
    ratio = 2 * middle.var(ddof=1) / 0.5
    assert found.correlation.value == pytest.approx((ratio - 1) / (ratio + 1))
    assert found.correlation.low == pytest.approx(
        (ratio / f.ppf(0.975, 11, 12) - 1) / (ratio / f.ppf(0.975, 11, 12) + 1)
    )


def test_a_drift_is_noise_and_is_told():
    before = np.random.default_rng(0).normal(size=40)
    found = repeatability(before, before + 0.5 + 0.01 * np.random.default_rng(1).normal(size=40))
    assert found.within.value == pytest.approx(0.5 / np.sqrt(2), rel=0.02)
    assert found.drift.low > 0.49


def test_pairs_that_go_together_count_less():
    change = np.random.default_rng(0).normal(size=50)
    twice, people = np.repeat(change, 2), np.repeat(np.arange(50), 2)
    # Two changes that are the same are one.
    assert degrees_of(twice, people) == pytest.approx(degrees_of(change, np.arange(50)))
    assert degrees_of(change, np.arange(50)) <= 50


def test_long_tails_widen_the_interval():
    rng = np.random.default_rng(0)
    assert degrees_of(rng.standard_t(4, 400), np.arange(400)) < 0.6 * degrees_of(rng.normal(size=400), np.arange(400))


@pytest.mark.parametrize(("sides", "shared"), [(1, 0.0), (2, 0.7)])
def test_the_least_detectable_change_covers_and_holds_95_of_100(sides, shared):
    rng, held, inside = np.random.default_rng(5), 0, []
    people = np.repeat(np.arange(40), sides)
    for _ in range(100):
        common = np.repeat(rng.normal(size=40), sides)
        change = np.sqrt(shared) * common + np.sqrt(1 - shared) * rng.normal(size=people.size)
        level = rng.normal(size=people.size)
        found = repeatability(level, level + change, people)
        held += found.least_detectable.low <= norm.ppf(0.975) <= found.least_detectable.high
        inside.append(2 * norm.cdf(found.least_detectable.value) - 1)
    assert 89 <= held  # 95 expected
    assert np.mean(inside) == pytest.approx(0.95, abs=0.01)


def test_too_few_or_copies_are_refused():
    with pytest.raises(EvaluationError, match="9 pairs of 9 persons who did not change; 10 persons are needed"):
        repeatability(np.arange(9.0), np.arange(9.0) + 1)
    with pytest.raises(EvaluationError, match="these are copies"):
        repeatability(np.arange(20.0), np.arange(20.0))
    with pytest.raises(EvaluationError, match="must be finite"):
        repeatability(np.arange(20.0), np.full(20, np.nan))


def test_a_mean_is_the_t_test_and_a_difference_is_welchs():
    rng = np.random.default_rng(0)
    value, group = rng.normal(size=30), np.arange(30) < 12
    found = least_squares(value, np.ones((30, 1)), np.arange(30))
    expected = ttest_1samp(value, 0)
    assert found.p_value == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval()))
    difference = mean_difference(value, group)
    welch = ttest_ind(value[group], value[~group], equal_var=False)
    assert difference.value / np.sqrt(difference.variance) == pytest.approx(welch.statistic)
    # Bell and McCaffrey's degrees where both spread alike: those of Welch with equal variances.
    one, other = 1 / 12, 1 / 18
    degrees = (one + other) ** 2 / (one**2 / 11 + other**2 / 17)
    assert difference.p_value == pytest.approx(2 * t.sf(abs(welch.statistic), degrees))


def test_persons_with_two_sides_count_once():
    rng = np.random.default_rng(1)
    value, group = rng.normal(size=30), np.arange(30) < 12
    doubled = mean_difference(np.repeat(value, 2), np.repeat(group, 2), None, np.repeat(np.arange(30), 2))
    single = mean_difference(value, group)
    assert (doubled.low, doubled.high) == pytest.approx((single.low, single.high))
    assert "by subject" in doubled.method


def test_slopes_find_their_truth_and_agree_with_changes():
    rng = np.random.default_rng(2)
    people, time = np.repeat(np.arange(80), 3), np.tile([0.0, 1.0, 2.0], 80)
    group = (people < 30).astype(float)
    level = rng.normal(size=80)[people] + (0.3 * rng.normal(size=80))[people] * time
    value = level + (0.2 + 0.6 * group) * time + 0.3 * rng.normal(size=people.size)
    found = slopes(value, time, people, group)
    assert found.remark.startswith("a level and a slope of each person")
    for part in (found.mixed, found.marginal):
        assert part["difference"].low < 0.6 < part["difference"].high
        assert part["difference"].value == pytest.approx(part["with"].value - part["without"].value)
    # Balanced visits: both are the difference of mean changes over two years, halved.
    change = value[2::3] - value[::3]
    expected = (change[:30].mean() - change[30:].mean()) / 2
    assert found.mixed["difference"].value == pytest.approx(expected, rel=1e-4)
    assert found.marginal["difference"].value == pytest.approx(expected, rel=1e-9)
    plain = MixedLM(value, np.column_stack([time, np.ones(240)]), people, np.column_stack([np.ones(240), time])).fit()
    alone = slopes(value, time, people).mixed["all"]
    assert alone.value == pytest.approx(plain.fe_params[0], rel=1e-4)
    assert np.sqrt(alone.variance) == pytest.approx(plain.bse[0], rel=1e-2)


def test_what_stands_in_for_a_mixed_model_is_named():
    rng = np.random.default_rng(3)
    people, time = np.repeat(np.arange(40), 2), np.tile([0.0, 2.0], 40)
    value = rng.normal(size=40)[people] + 0.5 * time + rng.normal(size=80)
    found = slopes(value, time, people)
    assert "not a slope (nobody was seen three times)" in found.remark
    change = value[1::2] - value[::2]
    expected = ttest_1samp(change / 2, 0).confidence_interval()
    assert (found.mixed["all"].value, found.marginal["all"].value) == pytest.approx((change.mean() / 2,) * 2)
    assert (found.marginal["all"].low, found.marginal["all"].high) == pytest.approx(tuple(expected), rel=0.02)
    with pytest.raises(EvaluationError, match="nobody was seen twice"):
        slopes(value[::2], time[::2], people[::2])


def test_a_mixed_model_of_few_persons_covers_or_is_not_told():
    # Twelve persons of each group seen three times, without a difference: the normal distribution held 92 %.
    rng, held = np.random.default_rng(9), 0
    people, time = np.repeat(np.arange(24), 3), np.tile([0.0, 1.0, 2.0], 24)
    group = (people < 12).astype(float)
    for _ in range(60):
        own = rng.normal(size=24)[people] + 0.3 * rng.normal(size=24)[people] * time
        found = slopes(own + 0.3 * rng.normal(size=72), time, people, group)
        held += found.mixed["difference"].low <= 0 <= found.mixed["difference"].high
    assert held >= 54  # 57 expected
    apart, one = found.mixed["difference"], found.mixed["with"]
    # Groups of one size and spread: 22 degrees of the difference, ten of each slope.
    assert (apart.high - apart.value) / np.sqrt(apart.variance) == pytest.approx(t.ppf(0.975, 20), rel=0.01)
    assert (one.high - one.value) / np.sqrt(one.variance) == pytest.approx(t.ppf(0.975, 10))
    few = slopes(rng.normal(size=27), time[:27], people[:27])
    assert few.mixed == {} and few.remark == "none: 9 persons; 10 are needed"
    assert np.isfinite(few.marginal["all"].low)
    few = slopes(rng.normal(size=72), time, people, (people < 9).astype(float))
    assert few.mixed == {} and "24 persons, 9 with the event" in few.remark


def test_slopes_beside_what_follows_from_time_are_refused():
    rng = np.random.default_rng(0)
    people, time = np.repeat(np.arange(40), 3), np.tile([0.0, 1.0, 2.0], 40)
    value = rng.normal(size=120)
    with pytest.raises(EvaluationError, match="time, covariate 1: one of these follows from the others"):
        slopes(value, time, people, covariates=60 + time)
    with pytest.raises(EvaluationError, match="the group, covariate 1: one of these follows"):
        slopes(value, time, people, people % 2, covariates=1 - people % 2)
    with pytest.raises(EvaluationError, match="time: the same in every image"):
        slopes(value, np.ones(120), people)


def drawn(size, seed=0):
    rng = np.random.default_rng([seed, size])
    score = rng.normal(size=size)
    comes, leaves = rng.exponential(2 * np.exp(-0.7 * score)), rng.uniform(0.5, 5, size)
    return np.ceil(4 * np.minimum(comes, leaves)) / 4, (comes <= leaves).astype(int), score


def test_scores_that_do_not_vary_give_the_plain_cox_model_however_time_is_cut():
    time, event, score = drawn(150)
    plain = cox(time, event, score).hazard_ratio
    whole = cox_by_interval(np.zeros(150), time, event, score)
    assert (whole.value, whole.low, whole.variance) == pytest.approx((plain.value, plain.low, plain.variance))
    cut = time * np.random.default_rng(1).uniform(0.2, 0.8, 150)
    entry, end = np.concatenate([np.zeros(150), cut]), np.concatenate([cut, time])
    happened, twice = np.concatenate([np.zeros(150, int), event]), np.tile(score, 2)
    parts = cox_by_interval(entry, end, happened, twice, deviation=score.std(ddof=1))
    assert (parts.value, parts.high) == pytest.approx((plain.value, plain.high))
    # Errors by person, of persons with two images each.
    pair = np.arange(150) // 2
    robust = cox(time, event, score, None, pair).hazard_ratio
    again = cox_by_interval(entry, end, happened, twice, None, np.tile(pair, 2), deviation=score.std(ddof=1))
    assert (again.value, again.low, again.variance) == pytest.approx((robust.value, robust.low, robust.variance))


def test_who_comes_late_is_not_at_risk_before():
    # One binary covariate, no ties: slope of the partial likelihood written out from the sets at risk.
    rng = np.random.default_rng(4)
    entry = rng.uniform(0, 1, 60)
    end, score = entry + rng.exponential(size=60), (rng.random(60) < 0.5).astype(float)
    found = cox_by_interval(entry, end, np.ones(60, int), score, deviation=1.0)
    slope = 0.0
    for k in range(60):
        there = (entry < end[k]) & (end >= end[k])
        risk = np.exp(np.log(found.value) * score[there])
        slope += score[k] - np.average(score[there], weights=risk)
    assert slope == pytest.approx(0, abs=1e-8)


def test_rows_that_end_before_they_begin_are_refused():
    time, event, score = drawn(40)
    with pytest.raises(EvaluationError, match="40 rows end before or when they begin"):
        cox_by_interval(time, time, event, score)


def test_a_score_that_does_not_vary_gives_the_pooled_logistic_model():
    time, event, score = drawn(200)
    time = np.ceil(time)
    expected = pooled_logistic(time, event, score)
    image = np.repeat(np.arange(200), time.astype(int))
    visit = np.concatenate([np.arange(int(each)) for each in time])
    found = event[image] * (visit == time[image] - 1)
    again = odds_by_visit(found, score[image], visit, deviation=score.std(ddof=1))
    assert again.value == pytest.approx(expected.value, rel=1e-9)
    # One visit alone is the plain odds ratio.
    first = visit == 0
    alone = odds_by_visit(found[first], score, visit[first])
    plain = odds_ratio(found[first], score)
    assert (alone.value, alone.low, alone.high) == pytest.approx((plain.value, plain.low, plain.high))


def test_visits_at_which_all_or_none_have_the_event_say_nothing():
    rng = np.random.default_rng(0)
    event, score = np.r_[rng.random(60) < 0.4, np.zeros(20)], rng.normal(size=80)
    both = odds_by_visit(event, score, np.repeat([0, 1], [60, 20]), deviation=1.0)
    one = odds_by_visit(event[:60], score[:60], np.zeros(60), deviation=1.0)
    assert both.value == pytest.approx(one.value)
    with pytest.raises(EvaluationError, match="no visit holds rows with the event"):
        odds_by_visit(np.repeat([0, 1], 20), rng.normal(size=40), np.repeat([0, 1], 20))


def visited(hazard, rng):
    """Two knees of 60 persons each, a score every year until the event: person, year, end, event, score."""
    rows = []
    for person in range(60):
        shared = rng.normal()
        for _side in range(2):
            for year in range(4):
                score = 0.6 * shared + 0.8 * rng.normal()
                wait = hazard(score)
                rows.append((person, year, min(year + wait, year + 1), wait < 1, score))
                if wait < 1:
                    break
    return map(np.array, zip(*rows, strict=True))


def test_time_varying_figures_cover_their_truth():
    rng, odds, hazards = np.random.default_rng(7), 0, 0
    for _ in range(25):
        # A hazard that is constant within the year; then a chance of the year alone.
        person, year, end, event, score = visited(lambda s: rng.exponential() / (0.25 * np.exp(0.5 * s)), rng)
        found = cox_by_interval(year, end, event, score, None, person, deviation=1.0)
        hazards += found.low <= np.exp(0.5) <= found.high
        person, year, _, event, score = visited(lambda s: 0.5 + (rng.random() > expit(-1.5 + 0.5 * s)), rng)
        found = odds_by_visit(event, score, year, None, person, deviation=1.0)
        odds += found.low <= np.exp(0.5) <= found.high
    assert 21 <= hazards  # 24 expected
    assert 21 <= odds
