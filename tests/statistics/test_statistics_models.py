from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from statsmodels.discrete.discrete_model import Logit

from anomaly.errors import EvaluationError
from anomaly.statistics import metrics
from anomaly.statistics.design import design
from anomaly.statistics.likelihood import maximised
from anomaly.statistics.models import added_value, cross_fitted, odds_ratio

ASAH = Path(__file__).parents[2] / ".." / "shared" / "data" / "aSAH.csv"


def people(size, seed=0, slope=1.0):
    rng = np.random.default_rng([seed, size])
    score, age = rng.normal(size=(2, size))
    outcome = rng.random(size) < 1 / (1 + np.exp(1 - slope * score - 0.5 * age))
    return outcome.astype(int), score, age


def pairs(subjects, slope, rng, correlation=0.6):
    """Two images a person whose outcomes go together, each with the log-odds -1 + slope * score exactly."""
    shared, own = np.repeat(rng.normal(size=subjects), 2), rng.normal(size=2 * subjects)
    score = np.sqrt(0.7) * np.repeat(rng.normal(size=subjects), 2) + np.sqrt(0.3) * rng.normal(size=2 * subjects)
    chance = 1 / (1 + np.exp(1 - slope * score))
    outcome = norm.cdf(np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * own) < chance
    return outcome, score, np.repeat(np.arange(subjects), 2)


def test_design_codes_texts_and_keeps_numbers():
    kinds = {"site": ["B", "A", "C", "A", "B", "C"], "sex": [True, False, True, True, False, True]}
    table = pd.DataFrame({"age": [50, 61, 47, 70, 52, 49]} | kinds)
    matrix = design(table, ["age", "site", "sex"])
    assert list(matrix) == ["age", "site=B", "site=C", "sex"]
    np.testing.assert_array_equal(matrix[:4], [[50, 1, 0, 1], [61, 0, 0, 0], [47, 0, 1, 1], [70, 0, 0, 1]])


def test_design_takes_texts_that_read_as_numbers_and_codes_categories():
    table = pd.DataFrame({"bmi": ["20.5", "31", "27", "22"], "grade": pd.Categorical([1, 3, 2, 1])})
    np.testing.assert_array_equal(design(table, ["bmi"])["bmi"], [20.5, 31, 27, 22])
    assert list(design(table, ["grade"])) == ["grade=2", "grade=3"]


def test_design_leaves_incomplete_rows_empty_and_says_how_many(caplog):
    table = pd.DataFrame({"age": [50, np.nan, 47, 70, 52], "site": ["B", "A", None, "A", "B"]})
    matrix = design(table, ["age", "site"])
    np.testing.assert_array_equal(matrix.isna().all(axis=1), [False, True, True, False, False])
    assert not matrix.isna().any(axis=1)[[0, 3, 4]].any()
    assert "2 of 5 rows lack one of: age, site" in caplog.text


@pytest.mark.parametrize(
    ("columns", "names", "told"),
    [
        ({"a": [1, 2, 3]}, ["a", "bmi"], "no column 'bmi'.* has a"),
        ({"a": [1, 2, 3]}, [], "no covariate was named"),
        ({"a": [1, 2, 3, 9], "b": [5, 5, 5, 5]}, ["a", "b"], "^b: the same in every image"),
        ({"a": [1, 2, 3, 9], "b": ["x"] * 4}, ["a", "b"], "^b: the same in every image"),
        ({"a": [1, 2, 4, 9], "b": [3, 1, 2, 2], "c": [5, 4, 7, 12]}, ["a", "b", "c"], "^a, b, c: one of these"),
        ({"a": [0, 1, 0, 1], "b": [3, 1, 2, 2], "c": list("xyxy")}, ["a", "b", "c"], "^a, c=y: one of these"),
        ({"a": [np.nan, 1.0], "b": [1.0, np.nan]}, ["a", "b"], "no image has all"),
        ({"id": [f"person {k}" for k in range(60)]}, ["id"], "id holds 60 different texts"),
    ],
)
def test_design_refuses_by_name(columns, names, told):
    with pytest.raises(EvaluationError, match=told):
        design(pd.DataFrame(columns), names)


def test_odds_ratio_of_a_binary_score_is_that_of_its_table():
    # 30 of 50 with the sign have the event, 20 of 80 without: the odds ratio is (30 * 60) / (20 * 20).
    score, outcome = np.repeat([1, 1, 0, 0], [30, 20, 20, 60]), np.repeat([1, 0, 1, 0], [30, 20, 20, 60])
    found = odds_ratio(outcome, score)
    deviation = score.std(ddof=1)
    assert np.log(found.value) / deviation == pytest.approx(np.log(4.5), abs=1e-8)
    assert found.variance / deviation**2 == pytest.approx(1 / 30 + 1 / 20 + 1 / 20 + 1 / 60, rel=1e-6)
    assert found.low < found.value < found.high
    # Twice the gain of telling the two rows apart, from the cells.
    cells, rows, all_ = np.array([30, 20, 20, 60]), np.array([50, 50, 80, 80]), np.array([50, 80, 50, 80])
    gain = 2 * np.sum(cells * np.log(cells / rows)) - 2 * np.sum(cells * np.log(all_ / 130))
    assert norm.isf(found.p_value / 2) ** 2 == pytest.approx(gain, rel=1e-8)


def test_profile_interval_ends_where_the_likelihood_ratio_says():
    outcome, score, age = people(80, slope=0.6)
    for confidence in (0.5, 0.9):
        found = odds_ratio(outcome, score, age, confidence=confidence)
        columns = np.column_stack([age, np.ones(80)])
        best = Logit(outcome, np.column_stack([score, columns])).fit(disp=False).llf
        for end in (found.low, found.high):
            held = np.log(end) / score.std(ddof=1) * score
            assert 2 * (best - _log_likelihood(outcome, held, columns)) == pytest.approx(
                norm.ppf(0.5 + confidence / 2) ** 2, abs=1e-5
            )


def _log_likelihood(outcome, offset, columns):
    """The highest there is with part of the log-odds held, by Newton's method."""
    beta = np.zeros(columns.shape[1])
    for _ in range(50):
        chance = 1 / (1 + np.exp(-offset - columns @ beta))
        information = (columns * (chance * (1 - chance))[:, None]).T @ columns
        beta += np.linalg.solve(information, columns.T @ (outcome - chance))
    return np.sum(np.log(np.where(outcome == 1, chance, 1 - chance)))


def test_the_highest_point_is_found_where_whole_steps_run_away():
    # Newton's method on log cosh overshoots further each time from |x| > 1.09 on.
    found = maximised(
        lambda x: float(-np.log(np.cosh(x - 3)).sum()),
        lambda x: -np.tanh(x - 3),
        lambda x: np.diag(1 / np.cosh(x - 3) ** 2),
        np.array([5.0, 0.0]),
    )
    np.testing.assert_allclose(found, 3, atol=1e-8)


def test_scores_with_far_tails_keep_their_odds_ratio():
    rng = np.random.default_rng([2])
    score = rng.standard_cauchy(150)
    outcome = (rng.random(150) < 1 / (1 + np.exp(-np.clip(score, -2, 2)))).astype(int)
    found = odds_ratio(outcome, score)
    best = np.log(found.value) / score.std(ddof=1) * score
    heights = [_log_likelihood(outcome, best * (1 + change), np.ones((150, 1))) for change in (-1e-3, 0, 1e-3)]
    assert heights[1] == max(heights)
    assert np.abs(score).max() > 20 * np.median(np.abs(score))


def test_odds_ratio_does_not_depend_on_units():
    outcome, score, age = people(120)
    first, second = odds_ratio(outcome, score, age), odds_ratio(outcome, 5 + 1e-6 * score, 1e5 * age - 3)
    assert (first.value, first.low, first.high) == pytest.approx((second.value, second.low, second.high), rel=1e-5)


def test_subjects_named_once_each_change_nothing():
    outcome, score, age = people(100)
    assert odds_ratio(outcome, score, age, np.arange(100)[::-1]) == odds_ratio(outcome, score, age)


def test_writing_every_subject_down_again_gains_nothing():
    outcome, score, age = people(100)

    def copies(times):
        repeated = [np.tile(each, times) for each in (outcome, score, age, np.arange(100))]
        found = odds_ratio(*repeated)
        return np.log(found.value) / repeated[1].std(ddof=1), np.sqrt(found.variance) / repeated[1].std(ddof=1)

    assert copies(2) == pytest.approx(copies(4), rel=1e-6)
    single = odds_ratio(outcome, score, age)
    deviation = score.std(ddof=1)
    assert copies(2)[0] == pytest.approx(np.log(single.value) / deviation, rel=1e-6)
    assert copies(2)[1] == pytest.approx(np.sqrt(single.variance) / deviation, rel=0.2)


def test_clustered_interval_covers_the_truth():
    rng, covered = np.random.default_rng([3]), 0
    for _ in range(100):
        outcome, score, subject = pairs(60, 0.7, rng)
        found = odds_ratio(outcome, score, None, subject)
        covered += np.log(found.low) <= 0.7 * score.std(ddof=1) <= np.log(found.high)
    assert 88 <= covered <= 99  # 95 expected, three standard deviations of the binomial below


@pytest.mark.parametrize(
    ("outcome", "score", "covariates", "told"),
    [
        (np.zeros(20), np.arange(20), None, "0 events among 20"),
        (np.tile([0, 1], 10), np.ones(20), None, "all scores are the same"),
        (np.tile([0, 1], 10), np.full(20, 0.1) + np.arange(20) * 1e-18, None, "all scores are the same"),
        (np.tile([0, 1], 10), np.append(np.arange(19), np.nan), None, "1 of 20 scores are NaN or infinite"),
        (np.tile([0, 1], 10), np.arange(20) * 1e300, None, "out of reach; rescale"),
        (np.tile([0, 1], 10), np.tile([0.2, 0.7], 10), None, "the score: tells some .* without a single exception"),
        (np.repeat([0, 1], 10), np.sin(np.arange(20)), np.arange(20), "covariate 1: tells some of the outcomes"),
        (np.tile([0, 1], 10), np.sin(np.arange(20)), np.ones(20), "covariate 1: the same in every image"),
        (np.tile([0, 1], 10), np.sin(np.arange(20)), 2 * np.sin(np.arange(20)), "covariate 1, the score: one of these"),
        (np.tile([0, 1], 10), np.sin(np.arange(20)), np.append(np.arange(19), np.nan), "1 of 20 rows of covariates"),
        (np.tile([0, 1], 10), np.sin(np.arange(20)), np.arange(19), "shape \\(19, 1\\) for 20 images"),
        (np.tile([0, 1], 10), np.sin(np.arange(20)), np.array(["a"] * 20), "code texts by `design` first"),
    ],
)
def test_what_allows_no_odds_ratio_is_told(outcome, score, covariates, told):
    with pytest.raises(EvaluationError, match=told):
        odds_ratio(outcome, score, covariates)


def test_partial_separation_by_one_site_is_told_by_its_name():
    outcome, score, _ = people(60)
    site = pd.DataFrame({"site=B": (outcome == 1) & (np.arange(60) % 3 == 0), "bmi": np.cos(np.arange(60))})
    with pytest.raises(EvaluationError, match=r"^site=B: tells some of the outcomes"):
        odds_ratio(outcome, score, site)


def test_too_few_subjects_for_the_columns_are_told():
    outcome, score, _ = people(40)
    with pytest.raises(EvaluationError, match="3 subjects allow no model of 5 columns"):
        odds_ratio(outcome, score, np.random.default_rng([0]).normal(size=(40, 3)), np.arange(40) % 3)


def test_added_value_gives_the_reference_likelihood_ratio():
    if not ASAH.is_file():
        pytest.skip(f"reference values NOT checked: aSAH.csv (GPL-3, from R's pROC) is not at {ASAH}")
    table = pd.read_csv(ASAH)
    found = added_value(table["outcome"] == "Poor", table["s100b"], design(table, ["age", "gender"]))
    assert found.statistic == pytest.approx(19.960, abs=5e-4)
    assert found.method == "likelihood-ratio test"


def test_added_value_tests_by_subject_where_they_repeat():
    outcome, score, subject = pairs(100, 0.8, np.random.default_rng([8]))
    covariate = np.random.default_rng([9]).normal(size=200)
    found = added_value(outcome, score, covariate, subject)
    assert found.method.startswith("Wald test, GEE")
    assert found.p_value == odds_ratio(outcome, score, covariate, subject).p_value


def test_chances_come_from_models_that_never_saw_the_subject():
    outcome, score, subject = pairs(40, 1.0, np.random.default_rng([1]))
    covariate = np.random.default_rng([2]).normal(size=80)
    found = added_value(outcome, score, covariate, subject, seed=4)
    # A subject with one event keeps its fold when its outcomes are turned round, and with it both its chances.
    mixed = np.flatnonzero(outcome[::2] != outcome[1::2])[0]
    changed = np.where(subject == mixed, ~outcome, outcome)
    again = added_value(changed, score, covariate, subject, seed=4)
    # Their order within the fold is that of a model of other persons; the scale they are told on is of all images.
    fold = found.fold == found.fold[subject == mixed][0]
    np.testing.assert_array_equal(np.argsort(again.with_score[fold]), np.argsort(found.with_score[fold]))
    assert not np.allclose(again.with_score, found.with_score, rtol=1e-4)
    assert metrics.auroc(outcome, found.with_score) > metrics.auroc(outcome, found.covariates_alone)
    np.testing.assert_array_equal(
        added_value(outcome, score, covariate, subject, seed=4).covariates_alone, found.covariates_alone
    )
    assert not np.array_equal(added_value(outcome, score, covariate, subject, seed=5).with_score, found.with_score)


def test_added_value_needs_covariates_and_two_subjects_of_each_kind():
    outcome, score, age = people(60)
    with pytest.raises(EvaluationError, match="nothing for the score to add to"):
        added_value(outcome, score, None)
    with pytest.raises(EvaluationError, match="1 subjects of one class"):
        cross_fitted(np.arange(30) == 4, score[:30], age[:30])
