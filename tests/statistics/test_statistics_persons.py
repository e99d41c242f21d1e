"""Odds where the outcome is the person's and each person has several images (Pepe & Anderson 1994)."""

import time

import numpy as np
import pytest
from statsmodels.genmod.cov_struct import Independence
from statsmodels.genmod.families import Binomial
from statsmodels.genmod.generalized_estimating_equations import GEE
from statsmodels.genmod.generalized_linear_model import GLM

from anomaly.statistics import auroc_interval, metrics
from anomaly.statistics.models import added_value, odds_ratio


def knees(persons, unlike, rng, sizes=(2,)):
    """Images of persons whose outcome is the person's but for a share, as is most of what the score sees."""
    who = np.repeat(np.arange(persons), rng.choice(sizes, persons))
    trait = rng.normal(size=persons)
    outcome = (rng.random(persons) < 1 / (1 + np.exp(-1.8 * trait)))[who] ^ (rng.random(who.size) < unlike)
    return outcome, trait[who] + 0.3 * rng.normal(size=who.size), rng.normal(size=persons)[who], who


@pytest.mark.parametrize("unlike", [0.0, 0.02, 0.05, 0.1, 0.3])
def test_odds_of_an_outcome_that_is_the_persons(unlike):
    outcome, score, age, who = knees(2000, unlike, np.random.default_rng([6]))
    first = np.flatnonzero(np.diff(who, prepend=-1))  # an image a person: nothing to cluster
    truth = np.log(odds_ratio(outcome[first], score[first]).value)
    for covariates in (None, age):
        found = odds_ratio(outcome, score, covariates, who)
        assert np.log(found.value) == pytest.approx(truth, abs=0.12)
        assert np.log(found.low) < truth < np.log(found.high)
    added, adjusted = added_value(outcome, score, age, who), odds_ratio(outcome, score, age, who)
    assert added.statistic == pytest.approx(np.log(adjusted.value) ** 2 / adjusted.variance)
    assert added.p_value == adjusted.p_value


def test_clustered_odds_agree_with_statsmodels_to_many_digits():
    outcome, score, age, who = knees(80, 0.1, np.random.default_rng([8]), sizes=(1, 2, 3, 6))
    found, columns = odds_ratio(outcome, score, age, who), np.column_stack([score, age, np.ones(who.size)])
    gee = GEE(outcome.astype(float), columns, groups=who, family=Binomial(), cov_struct=Independence())
    reference = gee.fit(cov_type="bias_reduced", ctol=1e-13, maxiter=200)
    deviation = score.std(ddof=1)
    assert np.log(found.value) / deviation == pytest.approx(reference.params[0], rel=1e-9)
    assert found.variance / deviation**2 == pytest.approx(reference.cov_params()[0, 0], rel=1e-9)
    # Without the correction it is the sandwich of the logistic regression itself.
    glm = GLM(outcome.astype(float), columns, family=Binomial()).fit(
        tol=1e-13, cov_type="cluster", cov_kwds={"groups": who, "use_correction": False}
    )
    assert np.log(found.value) / deviation == pytest.approx(glm.params[0], rel=1e-9)
    assert found.variance / deviation**2 > glm.cov_params()[0, 0]
    assert "independent" in found.method


def test_the_order_and_the_names_of_persons_play_no_part():
    outcome, score, age, who = knees(60, 0.2, np.random.default_rng([9]), sizes=(1, 2, 5))
    found, mixed = odds_ratio(outcome, score, age, who), np.random.default_rng([1]).permutation(who.size)
    again = odds_ratio(outcome[mixed], score[mixed], age[mixed], np.array([f"p{k}" for k in who])[mixed])
    assert again.value == pytest.approx(found.value, rel=1e-9)
    assert again.variance == pytest.approx(found.variance, rel=1e-9)
    assert again.low == pytest.approx(found.low, rel=1e-9)


def test_one_event_in_each_person_is_weighed_as_independent():
    rng = np.random.default_rng([5])
    outcome, subject = np.tile([0, 1], 60), np.repeat(np.arange(60), 2)
    score = rng.normal(size=120) + 0.7 * outcome + np.repeat(rng.normal(size=60), 2)
    found = odds_ratio(outcome, score, None, subject)
    assert "independent" in found.method
    assert np.log(found.value) == pytest.approx(np.log(odds_ratio(outcome, score).value), rel=1e-6)


def test_a_hundred_thousand_persons_take_seconds():
    outcome, score, age, who = knees(100_000, 0.1, np.random.default_rng([10]))
    start = time.process_time()
    odds_ratio(outcome, score, np.column_stack([age, who % 2]), who)
    assert time.process_time() - start < 5


@pytest.mark.parametrize(("persons", "images"), [(60, 1), (40, 2), (200, 1), (1000, 1)])
@pytest.mark.parametrize("kind", ["binary", "number"])
def test_covariates_that_tell_nothing_have_an_auroc_of_one_half(persons, images, kind):
    areas = []
    for seed in range(60):
        rng = np.random.default_rng([seed, persons, images])
        who = np.repeat(np.arange(persons), images)
        covariate = (rng.integers(0, 2, persons) if kind == "binary" else rng.normal(size=persons))[who].astype(float)
        outcome = (rng.random(persons) < 0.4)[who] ^ (rng.random(who.size) < 0.1)
        found = added_value(outcome, rng.normal(size=who.size), covariate, who)
        assert all(len(set(found.fold[who == person])) == 1 for person in range(3))
        areas.append(
            [
                metrics.auroc(outcome, found.covariates_alone),
                auroc_interval(outcome, found.covariates_alone, who, fold=found.fold).value,
            ]
        )
    noise = np.std(areas, axis=0) / np.sqrt(len(areas))
    assert (np.abs(np.mean(areas, axis=0) - 0.5) < 3 * noise + 0.005).all()
