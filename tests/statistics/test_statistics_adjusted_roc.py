import numpy as np
import pytest
from scipy.stats import norm

from anomaly.errors import EvaluationError
from anomaly.statistics import auroc_interval, metrics
from anomaly.statistics.adjusted_roc import adjusted_auroc


def people(size, slope=1.0):
    rng = np.random.default_rng([size])
    score, age = rng.normal(size=(2, size))
    outcome = rng.random(size) < 1 / (1 + np.exp(1 - slope * score - 0.5 * age))
    return outcome.astype(int), score, age


def test_adjusted_auroc_is_the_binormal_one():
    rng = np.random.default_rng([11])
    age, event = rng.normal(size=20000), rng.random(20000) < 0.4
    score = 2 * age + 1.2 * event + rng.normal(size=20000)
    found = adjusted_auroc(event, score, age)
    assert found.auroc.value == pytest.approx(norm.cdf(1.2 / np.sqrt(2)), abs=0.012)
    # The mean of the scores' difference over all ages, were age the same share of both classes.
    assert metrics.auroc(event, score) == pytest.approx(norm.cdf(1.2 / np.sqrt(2 * (1 + 4))), abs=0.012)


def test_a_confounder_alone_leaves_nothing_when_adjusted_for():
    rng = np.random.default_rng([12])
    age = rng.normal(size=3000)
    event, score = rng.random(3000) < 1 / (1 + np.exp(-age)), 2 * age + rng.normal(size=3000)
    found = adjusted_auroc(event, score, age)
    assert metrics.auroc(event, score) > 0.65
    assert found.auroc.low < 0.5 < found.auroc.high
    assert found.auroc.value == pytest.approx(0.5, abs=0.03)


def test_a_covariate_without_effect_changes_little():
    outcome, score, _ = people(2000, slope=1.5)
    found = adjusted_auroc(outcome, score, np.random.default_rng([1]).normal(size=2000))
    assert found.auroc.value == pytest.approx(metrics.auroc(outcome, score), abs=0.002)


def test_stratified_auroc_is_the_mean_within_strata_by_their_cases():
    rng = np.random.default_rng([13])
    site, event = rng.choice(list("abc"), 300), rng.random(300) < 0.3
    score = np.round(rng.normal(size=300) + event + 3.0 * (site == "b"), 1)
    each = [metrics.auroc(event[site == kind], score[site == kind]) for kind in "abc"]
    found = adjusted_auroc(event, score, strata=site)
    assert found.auroc.value == pytest.approx(np.average(each, weights=[event[site == k].sum() for k in "abc"]))


def test_curve_has_the_area_that_is_told():
    outcome, score, age = people(150)
    found = adjusted_auroc(outcome, np.round(score), np.round(age))
    assert np.trapezoid(found.sensitivity, found.false_positive_rate) == pytest.approx(found.auroc.value, abs=1e-12)
    assert (found.false_positive_rate[[0, -1]] == (0, 1)).all() and (found.sensitivity[[0, -1]] == (0, 1)).all()
    assert found.placement.shape == (outcome.sum(),)


def test_adjusted_interval_is_wider_when_images_are_copies():
    outcome, score, age = people(100)
    copies = [np.repeat(each, 2) for each in (outcome, score, age)]
    alone, clustered = adjusted_auroc(*copies), adjusted_auroc(*copies, np.repeat(np.arange(100), 2))
    assert clustered.auroc.variance == pytest.approx(2 * alone.auroc.variance, rel=0.3)
    assert clustered.auroc == adjusted_auroc(*copies, np.repeat(np.arange(100), 2)).auroc


@pytest.mark.parametrize(
    ("event", "covariates", "strata", "told"),
    [
        (np.tile([0, 1], 20), None, None, "the plain AUROC is what you want"),
        (np.tile([0, 1], 20), None, np.repeat(["a", "b"], [39, 1]), "stratum 'b' has 1 cases and 0 controls"),
        (np.tile([0, 1], 20), None, [None, *["a"] * 39], "got 39 known strata for 40"),
        (np.tile([0, 1], 20), np.tile([5, 1, 5, 2], 10), None, "covariate 1: the same in every image"),
        (np.arange(40) > 1, np.sin(np.arange(40)), None, "2 controls allow no model of 2 columns"),
    ],
)
def test_what_allows_no_adjusted_auroc_is_told(event, covariates, strata, told):
    with pytest.raises(EvaluationError, match=told):
        adjusted_auroc(event, np.cos(np.arange(40)), covariates, strata=strata)


def test_one_score_out_of_all_proportion_moves_nothing_but_its_own_place():
    outcome, score, age = people(400, slope=1.5)
    before = adjusted_auroc(outcome, score, age).auroc
    for image in (np.flatnonzero(outcome == 1)[0], np.flatnonzero(outcome == 0)[0]):
        far, highest = score.copy(), score.copy()
        far[image], highest[image] = 1e12, score.max() + 1
        found = adjusted_auroc(outcome, far, age).auroc
        assert found == adjusted_auroc(outcome, highest, age).auroc
        assert found.value == pytest.approx(before.value, abs=0.01)


def test_the_scale_of_the_scores_plays_no_part():
    outcome, score, age = people(200)
    assert adjusted_auroc(outcome, np.exp(3 * score), age).auroc == adjusted_auroc(outcome, score, age).auroc


def test_classes_that_do_not_overlap_keep_an_honest_interval():
    age = np.tile(np.linspace(-1, 1, 20), 2)
    outcome = np.repeat([0, 1], 20)
    found = adjusted_auroc(outcome, age + 5 * outcome, age).auroc
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == auroc_interval(outcome, outcome, scale="logit").low
    assert found.low < 0.95 and "Newcombe" in found.method


def test_few_persons_have_no_interval():
    outcome, score, age = people(60)
    found = adjusted_auroc(outcome, score, age, np.arange(60) % 6).auroc
    assert np.isfinite(found.value) and np.isnan([found.low, found.high]).all()
    assert found.method.startswith("no interval: 6 persons, 6 with the event")


def test_interval_is_that_of_drawing_whole_persons_anew():
    outcome, score, age = people(300)
    who = np.repeat(np.arange(150), 2)
    found, rng, drawn = adjusted_auroc(outcome, score, age, who).auroc, np.random.default_rng(0), []
    for _ in range(300):
        rows = np.concatenate([np.flatnonzero(who == person) for person in rng.integers(0, 150, 150)])
        drawn.append(adjusted_auroc(outcome[rows], score[rows], age[rows]).auroc.value)
    assert np.sqrt(found.variance) == pytest.approx(np.std(drawn), rel=0.15)
