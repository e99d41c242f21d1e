import time

import numpy as np
import pytest
from scipy.stats import norm
from statsmodels.discrete.conditional_models import ConditionalLogit
from statsmodels.genmod.families import Binomial
from statsmodels.genmod.generalized_linear_model import GLM

from anomaly.errors import EvaluationError
from anomaly.statistics import metrics
from anomaly.statistics.paired import conditional_odds_ratio, matched_concordance
from anomaly.statistics.shares import wilson


def knees(persons, shift, seed=0):
    """One painful and one painless knee a person, who has a level of their own."""
    rng = np.random.default_rng([seed, persons])
    outcome, person = np.tile([0, 1], persons), np.repeat(np.arange(persons), 2)
    return outcome, rng.normal(size=2 * persons) + shift * outcome + np.repeat(3 * rng.normal(size=persons), 2), person


def test_pairs_by_hand():
    # Ten persons of twelve score higher in the knee with the event: exact p is 2 (1 + 12 + 66) / 2^12.
    match, outcome = np.repeat(np.arange(12), 2), np.tile([0, 1], 12)
    score = np.tile([1.0, 2.0], 12)
    score[[0, 2]] = 5
    found = matched_concordance(outcome, score, match)
    assert found.concordance.value == pytest.approx(10 / 12)
    assert found.concordance.p_value == pytest.approx(158 / 4096, abs=1e-12)
    # The variance between sets, twelfths over eleven, gives Wilson's interval its number of sets.
    assert found.concordance.variance == pytest.approx(10 / 12 * 2 / 12 / 11)
    assert (found.concordance.low, found.concordance.high) == pytest.approx(wilson(10 / 12, 11, 0.95))
    assert (found.sets, found.left_out, found.comparisons, found.favourable) == (12, 0, 12, 10)
    assert found.test == "sign flips, exact"


def test_sets_of_any_size_ties_and_sets_left_out_by_hand():
    match = np.array([1, 1, 1, 2, 2, 2, 3, 3, 4])
    outcome = np.array([1, 0, 0, 1, 1, 0, 0, 0, 1])
    score = np.array([5, 5, 7, 3, 9, 4, 1, 2, 3])
    found = matched_concordance(outcome, score, match)
    # Set 1: a tie and a loss; set 2: a loss and a win; set 3 has no case, set 4 no control.
    assert (found.favourable, found.comparisons, found.sets, found.left_out) == (1.5, 4, 2, 2)
    assert found.concordance.value == 0.375


def test_one_set_is_the_auroc():
    outcome, score, _ = knees(40, 0.5)
    found = matched_concordance(outcome, score, np.zeros(80))
    assert found.concordance.value == pytest.approx(metrics.auroc(outcome, score))


def test_the_level_of_a_set_plays_no_part():
    outcome, score, person = knees(50, 0.8)
    moved = score + 100 * np.sin(person)
    assert matched_concordance(outcome, moved, person) == matched_concordance(outcome, score, person)
    assert matched_concordance(outcome, score, person).concordance.value > metrics.auroc(outcome, score) + 0.1


def test_drawn_signs_agree_with_all_of_them():
    outcome, score, person = knees(15, 0.6, seed=2)
    exact = matched_concordance(outcome, score, person)
    more = np.tile(score, 2)
    more[30:] = score  # thirty sets, of which each two are one person's
    linked = matched_concordance(np.tile(outcome, 2), more, np.arange(60) // 2, np.tile(person, 2))
    assert exact.test == linked.test == "sign flips, exact"
    assert linked.concordance.p_value == exact.concordance.p_value
    assert linked.concordance.variance == pytest.approx(exact.concordance.variance)
    drawn = matched_concordance(*knees(100, 0.15, seed=5))
    assert drawn.test == "sign flips, 9,999 draws, seed 0"
    # Signs of ±1: the normal with continuity correction is close to the binomial.
    excess = abs(2 * drawn.favourable - 100)
    assert drawn.concordance.p_value == pytest.approx(2 * norm.sf((excess - 1) / 10), abs=0.02)
    assert matched_concordance(*knees(100, 0.15, seed=5)) == drawn
    assert matched_concordance(*knees(100, 5.0)).concordance.p_value == 1 / 10000


def test_null_p_values_are_uniform_enough():
    rejected = sum(
        matched_concordance(*knees(30, 0.0, seed), draws=199).concordance.p_value <= 0.05 for seed in range(400)
    )
    assert rejected <= 33  # at most 5 %, and three standard deviations of the binomial


def test_all_tied_is_chance_and_all_won_is_certain():
    outcome, person = np.tile([0, 1], 20), np.repeat(np.arange(20), 2)
    tied = matched_concordance(outcome, np.ones(40), person).concordance
    assert (tied.value, tied.p_value) == (0.5, 1.0)
    won = matched_concordance(outcome, outcome, person).concordance
    assert (won.value, won.high) == (1.0, 1.0)
    assert won.low == pytest.approx(20 / (20 + norm.ppf(0.975) ** 2))


def test_conditional_odds_ratio_of_pairs_is_logistic_on_differences():
    outcome, score, person = knees(80, 0.5)
    other = np.random.default_rng([4]).normal(size=160)
    found = conditional_odds_ratio(outcome, score, person, other)
    differences = np.column_stack([score[1::2] - score[::2], other[1::2] - other[::2]])
    direct = GLM(np.ones(80), differences, family=Binomial()).fit(tol=1e-12)
    deviation = score.std(ddof=1)
    assert np.log(found.value) / deviation == pytest.approx(direct.params[0], rel=1e-6)
    assert np.sqrt(found.variance) / deviation == pytest.approx(direct.bse[0], rel=1e-5)
    assert found.p_value == pytest.approx(direct.pvalues[0], rel=1e-4)


def test_conditional_odds_ratio_of_a_sign_is_that_of_the_discordant_pairs():
    # 18 pairs where the case alone has the sign, 6 where the control alone has it; the other 30 say nothing.
    case = np.repeat([1, 0, 1, 0], [18, 6, 10, 20])
    control = np.repeat([0, 1, 1, 0], [18, 6, 10, 20])
    score, outcome = np.stack([case, control], axis=1).ravel(), np.tile([1, 0], 54)
    found = conditional_odds_ratio(outcome, score, np.repeat(np.arange(54), 2))
    deviation = score.std(ddof=1)
    assert np.log(found.value) / deviation == pytest.approx(np.log(18 / 6), abs=1e-6)
    assert found.variance / deviation**2 == pytest.approx(1 / 18 + 1 / 6, rel=1e-5)


def test_conditional_odds_ratio_ignores_sets_without_both():
    outcome, score, person = knees(40, 0.7)
    more = [np.append(outcome, [1, 0, 0]), np.append(score, score[:3]), np.append(person, [90, 91, 91])]
    with_more, without = conditional_odds_ratio(*more), conditional_odds_ratio(outcome, score, person)
    ratio = more[1].std(ddof=1) / score.std(ddof=1)
    assert np.log(with_more.value) == pytest.approx(ratio * np.log(without.value), rel=1e-6)


@pytest.mark.parametrize("figure", [matched_concordance, conditional_odds_ratio])
def test_what_allows_no_matched_figure_is_told(figure):
    outcome, score, person = knees(20, 0.5)
    with pytest.raises(EvaluationError, match="holds a case and a control; check the column"):
        figure(outcome, score, np.arange(40))
    with pytest.raises(EvaluationError, match="got 39 known matched sets for 40 images"):
        figure(outcome, score, np.append(person[:-1].astype(float), np.nan))
    with pytest.raises(EvaluationError, match="0 events among 40"):
        figure(np.zeros(40), score, person)
    with pytest.raises(EvaluationError, match="1 of 40 scores are NaN"):
        figure(outcome, np.append(score[:-1], np.inf), person)


def test_what_allows_no_conditional_odds_ratio_is_told():
    outcome, score, person = knees(20, 0.5)
    with pytest.raises(EvaluationError, match="covariate 1: constant within every matched set"):
        conditional_odds_ratio(outcome, score, person, person)
    with pytest.raises(EvaluationError, match="the score: constant within every matched set"):
        conditional_odds_ratio(outcome, person, person)
    with pytest.raises(EvaluationError, match="the score: tells some of the outcomes without a single exception"):
        conditional_odds_ratio(outcome, person + 0.5 * outcome, person)
    with pytest.raises(EvaluationError, match="all scores are the same"):
        conditional_odds_ratio(outcome, np.ones(40), person)


@pytest.mark.parametrize("sizes", [(2, 3, 4), (6, 9), (40,)])
def test_sets_of_any_size_are_those_of_statsmodels(sizes):
    rng = np.random.default_rng([len(sizes)])
    match = np.repeat(np.arange(30), rng.choice(sizes, 30))
    score, other = rng.normal(size=(2, match.size))
    outcome = rng.random(match.size) < 1 / (1 + np.exp(-score))
    found = conditional_odds_ratio(outcome, score, match, other)
    mixed = np.isin(match, [k for k in range(30) if len(set(outcome[match == k])) == 2])
    direct = ConditionalLogit(
        outcome[mixed].astype(float), np.column_stack([score, other])[mixed], groups=match[mixed]
    ).fit(disp=False, method="newton", gtol=1e-10)
    deviation = score.std(ddof=1)
    assert np.log(found.value) / deviation == pytest.approx(direct.params[0], rel=1e-5)
    assert np.sqrt(found.variance) / deviation == pytest.approx(direct.bse[0], rel=1e-4)


def test_sets_of_fifteen_hundred_have_their_odds_ratio():
    rng = np.random.default_rng([3])
    match, score = np.repeat([0, 1], 1500), rng.normal(size=3000)
    outcome = rng.random(3000) < 1 / (1 + np.exp(1 - score + match))
    start = time.process_time()
    found = conditional_odds_ratio(outcome, score, match)
    assert time.process_time() - start < 20
    # With so many in a set the exact likelihood is that of a level a set.
    level = GLM(outcome.astype(float), np.column_stack([score, match, np.ones(3000)]), family=Binomial()).fit(tol=1e-12)
    assert np.log(found.value) / score.std(ddof=1) == pytest.approx(level.params[0], rel=2e-3)
    concordance = matched_concordance(outcome, score, match).concordance
    areas = [metrics.auroc(outcome[match == k], score[match == k]) for k in range(2)]
    assert min(areas) < concordance.value < max(areas)
    assert np.isnan([concordance.low, concordance.high]).all()
    assert concordance.method == "no interval: 2 sets apart from each other, 10 are needed"


def test_sets_too_large_for_it_are_refused_and_strata_offered():
    outcome, score = np.arange(60_000) % 2, np.random.default_rng([1]).normal(size=60_000)
    with pytest.raises(
        EvaluationError, match="30000 cases and 30000 controls; such sets are strata: name their column"
    ):
        conditional_odds_ratio(outcome, score, np.zeros(60_000))


def test_a_large_set_that_is_separated_is_told():
    outcome = np.arange(1500) % 3 == 0
    score = np.random.default_rng([1]).random(1500) + 2 * outcome
    with pytest.raises(EvaluationError, match="the score: tells some of the outcomes without a single exception"):
        conditional_odds_ratio(outcome, score, np.zeros(1500))


def test_few_sets_have_no_interval_and_few_cases_no_odds():
    outcome, score, person = knees(8, 0.5)
    found = matched_concordance(outcome, score, person)
    assert np.isnan([found.concordance.low, found.concordance.high]).all() and found.concordance.p_value <= 1
    assert found.concordance.method == "no interval: 8 sets apart from each other, 10 are needed"
    with pytest.raises(EvaluationError, match="8 cases with a control of their own, 10 are needed"):
        conditional_odds_ratio(outcome, score, person)
