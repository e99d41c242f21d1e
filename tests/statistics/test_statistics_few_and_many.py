"""Intervals of few persons with many images, and of so many that nothing is drawn."""

import re
import time

import numpy as np
import pytest
from scipy.stats import norm

from anomaly import statistics
from anomaly.errors import EvaluationError
from anomaly.statistics import metrics
from anomaly.statistics.estimates import too_few


def knees(persons, correlation, auroc, rng):
    """Outcome, score and person of two knees a person, both with the intraclass correlation given."""

    def drawn():
        shared = np.repeat(rng.normal(size=persons), 2)
        return np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * rng.normal(size=2 * persons)

    outcome = (drawn() > norm.ppf(0.6)).astype(int)
    return outcome, drawn() + np.sqrt(2) * norm.ppf(auroc) * outcome, np.repeat(np.arange(persons), 2)


@pytest.mark.parametrize("persons", [2, 5, 8])
def test_few_persons_with_many_images_have_figures_and_no_interval(persons):
    rng = np.random.default_rng([persons])
    person = np.repeat(np.arange(persons), 30)
    outcome = rng.random(person.size) < 0.5
    score = outcome + rng.normal(size=person.size) + rng.normal(size=persons)[person]
    have = f"{persons} persons, {persons} with the event and {persons} without"
    have += " (all have images of both and count in each)"
    told = f"no interval: {have}; 10 of each and 20 in all are needed"
    for scale in statistics.SCALES:
        area = statistics.auroc_interval(outcome, score, person, scale=scale)
        assert area.value == pytest.approx(metrics.auroc(outcome, score))
        assert np.isnan([area.low, area.high, area.p_value]).all() and area.method == told
    precision = statistics.average_precision_interval(outcome, score, person)
    found = statistics.sensitivity_interval(outcome, score, 0.9, person)
    assert precision.method == found.method == told
    assert np.isnan([precision.low, precision.high, found.low, found.high]).all()
    pair = statistics.compare_aurocs(outcome, score, -score, person)
    assert np.isnan([pair.low, pair.high, pair.z, pair.p_value]).all() and pair.method == told
    assert pair.difference == pytest.approx(2 * area.value - 1)
    share = statistics.proportion(score > 0, person)
    assert np.isnan([share.low, share.high]).all() and share.method == f"no interval: {persons} persons, 10 are needed"
    with pytest.raises(
        EvaluationError, match=re.escape(told) if persons > 2 else "2 subjects allow no model of 2 columns"
    ):
        statistics.odds_ratio(outcome, score, None, person)


def test_a_threshold_that_few_controls_set_gives_no_interval():
    rng = np.random.default_rng([2])
    outcome, score = np.repeat([0, 1], [20, 40]), rng.normal(size=60)
    assert np.isfinite(statistics.sensitivity_interval(outcome, score, 0.9).low)
    found = statistics.sensitivity_interval(outcome, score, 0.95)
    assert found.value == metrics.sensitivity_at_specificity(outcome, score, 0.95)
    assert np.isnan([found.low, found.high]).all()
    assert found.method == "no interval: 20 persons without the event set the threshold, 30 are needed"


def test_formula_and_draws_of_a_sensitivity_agree_where_one_takes_the_others_place():
    rng = np.random.default_rng([3])
    outcome, score, subject = knees(6000, 0.5, 0.8, rng)
    formula = statistics.sensitivity_interval(outcome, score, 0.9, subject)
    assert formula.method == "influence of subjects, logit scale, t"
    statistic = statistics.sensitivity._weighted_sensitivity(outcome == 1, score, 0.9)
    drawn = statistics.bootstrap(statistic, subject, outcome, repeats=400)
    assert formula.value == pytest.approx(drawn.value)
    assert np.sqrt(formula.variance) == pytest.approx(np.sqrt(drawn.variance), rel=0.1)


def test_folds_are_averaged_by_their_comparisons():
    rng = np.random.default_rng([4])
    outcome, score, fold = rng.integers(0, 2, 90), rng.integers(0, 9, 90), rng.integers(0, 4, 90)
    outcome[fold == 3] = 1  # a fold without controls compares nothing
    kept = [np.flatnonzero(fold == k) for k in range(3)]
    areas = [metrics.auroc(outcome[inside], score[inside]) for inside in kept]
    weights = [outcome[inside].sum() * (1 - outcome[inside]).sum() for inside in kept]
    found = statistics.auroc_interval(outcome, score, fold=fold, scale="logit")
    assert found.value == pytest.approx(np.average(areas, weights=weights))
    assert found.method == "DeLong, logit scale, t, averaged over folds"
    # What is added to all scores of a fold plays no part.
    assert statistics.auroc_interval(outcome, score + 100 * fold, fold=fold, scale="logit") == found
    one = statistics.auroc_interval(outcome, score, fold=np.zeros(90), scale="logit")
    assert one.value == pytest.approx(metrics.auroc(outcome, score))
    assert one.variance == pytest.approx(statistics.auroc_interval(outcome, score).variance)
    apart = statistics.compare_aurocs(outcome, score, score, folds=(None, fold))
    assert apart.difference == pytest.approx(metrics.auroc(outcome, score) - found.value)


def test_twelve_persons_of_both_classes_are_too_few():
    rng = np.random.default_rng([5])
    person, outcome = np.repeat(np.arange(12), 6), np.tile([0, 1], 36)
    found = statistics.auroc_interval(outcome, rng.normal(size=72), person, scale="logit")
    have = "12 persons, 12 with the event and 12 without (all have images of both and count in each)"
    assert found.method == f"no interval: {have}; 10 of each and 20 in all are needed"
    # Of other persons each, five of a class have an interval that covers (97 % and more).
    assert np.isfinite(statistics.auroc_interval(np.tile([0, 1], 5), rng.normal(size=10)).low)


def test_persons_with_both_are_told_to_count_twice():
    outcome, person = np.tile([0, 0], 38), np.repeat(np.arange(38), 2)
    outcome[:12:2] = 1
    told = too_few(outcome, person)
    assert "38 persons, 6 with the event and 38 without (6 have images of both and count in each); 10 of each" in told
    outcome[:12] = 1
    assert "38 persons, 6 with the event and 32 without; 10 of each" in too_few(outcome, person)


def test_calibration_of_few_persons_has_figures_and_no_interval():
    rng = np.random.default_rng([6])
    person, chance = np.repeat(np.arange(6), 20), rng.random(120)
    found = statistics.calibration(rng.random(120) < chance, chance, person, bins=3)
    assert np.isfinite([found.error, found.brier, found.slope.value, found.in_the_large.value]).all()
    assert np.isnan([found.slope.low, found.in_the_large.high]).all()
    assert found.slope.method.startswith("no interval: 6 persons")


def test_many_persons_are_quick():
    outcome, score, subject = knees(100_000, 0.5, 0.8, np.random.default_rng([7]))
    times = np.random.default_rng([8]).exponential(np.exp(-score))
    asked = {
        "area": lambda: statistics.auroc_interval(outcome, score, subject, scale="logit"),
        "precision": lambda: statistics.average_precision_interval(outcome, score, subject),
        "sensitivity": lambda: statistics.sensitivity_interval(outcome, score, 0.9, subject),
        "adjusted": lambda: statistics.adjusted_auroc(outcome, score, subject % 7, subject),
        "cox": lambda: statistics.cox(times, outcome, score, None, subject),
        "curves": lambda: statistics.kaplan_meier(times, outcome, statistics.thirds(score), subject),
        "by a time": lambda: statistics.time_dependent_auroc(times, outcome, score, [0.5, 1], subject),
    }
    for name, ask in asked.items():
        start = time.process_time()
        ask()
        assert time.process_time() - start < 5, name
