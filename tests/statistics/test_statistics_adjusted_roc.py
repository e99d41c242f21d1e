import numpy as np
import pytest
from scipy.stats import norm

from anomaly.errors import EvaluationError
from anomaly.statistics import metrics
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
    found = adjusted_auroc(event, score, age, repeats=20)
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
    found = adjusted_auroc(outcome, score, np.random.default_rng([1]).normal(size=2000), repeats=50)
    assert found.auroc.value == pytest.approx(metrics.auroc(outcome, score), abs=0.002)


def test_stratified_auroc_is_the_mean_within_strata_by_their_cases():
    rng = np.random.default_rng([13])
    site, event = rng.choice(list("abc"), 300), rng.random(300) < 0.3
    score = np.round(rng.normal(size=300) + event + 3.0 * (site == "b"), 1)
    each = [metrics.auroc(event[site == kind], score[site == kind]) for kind in "abc"]
    found = adjusted_auroc(event, score, strata=site, repeats=50)
    assert found.auroc.value == pytest.approx(np.average(each, weights=[event[site == k].sum() for k in "abc"]))


def test_curve_has_the_area_that_is_told():
    outcome, score, age = people(150)
    found = adjusted_auroc(outcome, np.round(score), np.round(age), repeats=50)
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
