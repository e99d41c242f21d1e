import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm, t
from statsmodels.discrete.discrete_model import Logit
from statsmodels.duration.survfunc import survdiff

from anomaly.errors import EvaluationError
from anomaly.statistics import metrics
from anomaly.statistics.hazards import concordance, cox, person_periods, pooled_logistic
from anomaly.statistics.models import odds_ratio
from anomaly.statistics.survival import kaplan_meier, log_rank, thirds
from anomaly.statistics.time_roc import time_dependent_auroc


def cohort(size, effect=1.0, seed=0, visits=None):
    """Times to an event that high scores have sooner, with leaving; at visits where a width is given."""
    rng = np.random.default_rng([seed, size])
    score = rng.normal(size=size)
    comes, leaves = rng.exponential(2 * np.exp(-effect * score)), rng.uniform(0.5, 5, size)
    time, event = np.minimum(comes, leaves), (comes <= leaves).astype(int)
    return (time if visits is None else np.ceil(time / visits) * visits), event, score


@pytest.fixture
def rossi():
    reason = "Rossi's reference values NOT checked here: pip install lifelines (drawn studies are, against R)"
    return pytest.importorskip("lifelines.datasets", reason=reason).load_rossi()


def test_kaplan_meier_by_hand():
    # Of twelve, two events at 1, one leaves at 1, nine are left at 2 when one event falls, and so on.
    time = [1, 1, 1, 2, 2, 3, 3, 3, 3, 3, 3, 3]
    event = [1, 1, 0, 1, 0, 1, 1, 1, 1, 1, 1, 1]
    (curve,) = kaplan_meier(time, event)
    np.testing.assert_array_equal(curve.time, [0, 1, 2, 3])
    np.testing.assert_allclose(curve.free, [1, 10 / 12, 10 / 12 * 8 / 9, 0])
    np.testing.assert_array_equal(curve.at_risk, [12, 12, 9, 7])
    np.testing.assert_array_equal(curve.events, [0, 2, 1, 7])
    np.testing.assert_array_equal(curve.numbers_at_risk([0, 1, 1.5, 3, 4]), [12, 12, 9, 7, 0])
    # Greenwood's variance of log(-log S) at 1 is (2 / (12 * 10)) / log(S)^2.
    width = norm.ppf(0.975) * np.sqrt(2 / 120) / abs(np.log(10 / 12))
    assert curve.low[1] == pytest.approx((10 / 12) ** np.exp(width))
    assert curve.high[1] == pytest.approx((10 / 12) ** np.exp(-width))
    assert np.isnan(curve.low[[0, 3]]).all()


def test_kaplan_meier_without_leaving_is_the_share_left():
    (curve,) = kaplan_meier(cohort(50)[0], np.ones(50))
    np.testing.assert_allclose(curve.free, 1 - np.arange(51) / 50, atol=1e-12)
    assert curve.group == "all"
    known = (curve.free > 0) & (curve.free < 1)
    assert ((curve.low < curve.free) & (curve.free < curve.high))[known].all()


def test_kaplan_meier_gives_each_group_its_own_curve():
    time, event, score = cohort(90)
    groups = thirds(score)
    curves = {curve.group: curve for curve in kaplan_meier(time, event, groups)}
    assert sorted(curves) == ["high", "low", "middle"]
    assert curves["high"].free[-1] < curves["low"].free[-1]
    (alone,) = kaplan_meier(time[groups == "low"], np.ones(30))
    assert curves["low"].at_risk[0] == alone.at_risk[0] == 30


def test_thirds_keep_ties_together():
    assert thirds([3, 1, 2, 9, 8, 7]).tolist() == ["middle", "low", "low", "high", "high", "middle"]
    assert thirds([1, 1, 1, 2, 3, 3]).tolist() == ["low"] * 3 + ["middle"] + ["high"] * 2
    with pytest.raises(EvaluationError, match="too many scores tie"):
        thirds([1, 1, 1, 1, 1, 2])


@pytest.mark.parametrize("visits", [None, 0.5])
def test_log_rank_is_the_usual_one(visits):
    time, event, score = cohort(80, visits=visits)
    found = log_rank(time, event, thirds(score))
    assert (found.statistic, found.p_value) == pytest.approx(survdiff(time, event, thirds(score)), rel=1e-10)
    assert (found.degrees, found.method) == (2, "log-rank")


def test_log_rank_by_subject_counts_copies_once():
    time, event, score = cohort(60, effect=0.4, visits=0.5)

    def copies(times):
        each = [np.tile(column, times) for column in (time, event, score > 0, np.arange(60))]
        return log_rank(*each), log_rank(*each[:3])

    (twice, plain), (fourfold, plainer) = copies(2), copies(4)
    assert twice.statistic == pytest.approx(fourfold.statistic, rel=1e-10)
    assert plainer.statistic == pytest.approx(2 * plain.statistic, rel=0.1)
    assert "Lin & Wei" in twice.method


def test_rossi_gives_the_reference_values(rossi):
    # Expected values computed with R's survival: coxph with and without cluster = pair, Efron's ties.
    columns, pair = rossi.drop(columns=["week", "arrest", "fin"]), np.arange(len(rossi)) // 2
    scale = rossi["fin"].std()
    plain = cox(rossi["week"], rossi["arrest"], rossi["fin"], columns)
    assert np.log(plain.hazard_ratio.value) / scale == pytest.approx(-0.3794221664859, abs=1e-7)
    assert plain.concordance == pytest.approx(0.64032924710, abs=1e-10)
    robust = cox(rossi["week"], rossi["arrest"], rossi["fin"], columns, pair)
    assert np.sqrt(robust.hazard_ratio.variance) / scale == pytest.approx(0.1911877485927, abs=1e-8)
    assert robust.hazard_ratio.value == plain.hazard_ratio.value
    # The robust score test of coxph(..., ties = "breslow") on thirds of age.
    found = log_rank(rossi["week"], rossi["arrest"], thirds(rossi["age"]), pair)
    assert found.statistic == pytest.approx(12.9243808043585, rel=1e-10)


def test_cox_finds_the_effect_and_its_error_by_subject():
    time, event, score = cohort(1500, effect=0.7)
    found = cox(time, event, score).hazard_ratio
    assert np.log(found.low) < 0.7 * score.std(ddof=1) < np.log(found.high)
    copies = [np.tile(each, 2) for each in (time, event, score, np.arange(1500))]
    clustered = cox(*copies[:3], None, copies[3]).hazard_ratio
    assert clustered.variance == pytest.approx(found.variance, rel=0.15)
    assert cox(*copies[:3]).hazard_ratio.variance == pytest.approx(found.variance / 2, rel=0.02)


def test_cox_interval_by_subject_covers_the_truth():
    rng, covered = np.random.default_rng([6]), 0
    for _ in range(100):
        shared = np.repeat(rng.normal(size=60), 2)
        score = np.sqrt(0.7) * np.repeat(rng.normal(size=60), 2) + np.sqrt(0.3) * rng.normal(size=120)
        # Exponential times by a normal copula between the images of one person.
        chance = norm.sf(np.sqrt(0.6) * shared + np.sqrt(0.4) * rng.normal(size=120))
        comes, leaves = -np.log(chance) * np.exp(-0.5 * score), rng.uniform(0.5, 2, 120)
        found = cox(np.minimum(comes, leaves), comes <= leaves, score, None, np.repeat(np.arange(60), 2)).hazard_ratio
        covered += np.log(found.low) <= 0.5 * score.std(ddof=1) <= np.log(found.high)
    assert 88 <= covered <= 99  # 95 expected


def test_concordance_by_hand():
    time, event, risk = np.array([1, 2, 2, 3, 4]), np.array([1, 1, 0, 0, 1]), np.array([5, 2, 2, 6, 1])
    # From 1: beats 2, 2, 1 and not 6; from 2: ties with the one who left at 2, loses to 6, beats 1.
    assert concordance(time, event.astype(bool), risk) == pytest.approx((3 + 0.5 + 1) / 7)


def test_person_periods_by_hand():
    # Found at 2; left at 3; found within the first; left before the close of the first; found at 3.
    times, events = np.array([2.0, 3.0, 0.4, 0.9, 3.0]), np.array([True, False, True, False, True])
    image, visit, found = person_periods(times, events, 1.0)
    rows = list(zip(image.tolist(), visit.tolist(), found.tolist(), strict=True))
    assert rows == [
        *((0, 1, False), (0, 2, True)),
        *((1, 1, False), (1, 2, False), (1, 3, False)),
        (2, 1, True),
        *((4, 1, False), (4, 2, False), (4, 3, True)),
    ]
    # A third of a year, three times over, is a visit at one year whatever the rounding.
    assert person_periods(np.array([0.1 * 3, 0.3]), np.array([True, False]), 0.1)[1].tolist() == [3, 3]


def test_pooled_logistic_is_logistic_regression_of_rows():
    time, event, score = cohort(150, visits=1.0)
    rows = [(k, score[i], float(event[i] and k == time[i])) for i in range(150) for k in range(1, int(time[i]) + 1)]
    table = pd.DataFrame(rows, columns=["visit", "score", "found"])
    share = table.groupby("visit")["found"].transform("mean")
    table = table[(share > 0) & (share < 1)]
    levels = pd.get_dummies(table["visit"]).to_numpy(float)
    direct = Logit(table["found"], np.column_stack([table["score"], levels])).fit(disp=False)
    found = pooled_logistic(time, event, score)
    assert np.log(found.value) / score.std(ddof=1) == pytest.approx(direct.params.iloc[0], rel=1e-6)
    assert np.sqrt(found.variance) / score.std(ddof=1) == pytest.approx(direct.bse.iloc[0], rel=1e-5)
    copies = [np.tile(each, 2) for each in (time, event, score, np.arange(150))]
    clustered = pooled_logistic(*copies[:3], None, copies[3])
    assert np.log(clustered.value) / copies[2].std(ddof=1) == pytest.approx(direct.params.iloc[0], rel=1e-5)
    assert clustered.variance == pytest.approx(found.variance, rel=0.3)
    assert "independent" in clustered.method


def test_one_interval_is_the_odds_ratio():
    _, event, score = cohort(100)
    assert pooled_logistic(np.ones(100), event, score, np.cos(score)) == odds_ratio(event, score, np.cos(score))


def test_time_dependent_auroc_without_leaving_is_the_auroc():
    time, _, score = cohort(120)
    score = np.round(score, 1)
    found = time_dependent_auroc(time, np.ones(120), score, [0.5, 2.0])
    for at, estimate in zip([0.5, 2.0], found, strict=True):
        assert estimate.value == pytest.approx(metrics.auroc(time <= at, score), abs=1e-12)


@pytest.mark.parametrize("visits", [None, 0.25])
def test_time_dependent_auroc_weighs_by_the_chance_of_being_watched(visits):
    time, event, score = cohort(150, visits=visits)
    score, at = np.round(score, 1), 1.5

    def watched(moment):
        """The chance of not having left before a moment; events come before leavings at the same time."""
        chance = 1.0
        for step in np.unique(time[(event == 0) & (time < moment)]):
            at_risk = np.sum((time > step) | ((time == step) & (event == 0)))
            chance *= 1 - np.sum((time == step) & (event == 0)) / at_risk
        return chance

    cases, controls = np.flatnonzero((event == 1) & (time <= at)), np.flatnonzero(time > at - (event == 0) * 1e-9)
    weight = np.array([1 / watched(time[case]) for case in cases])
    order = np.sign(score[cases][:, None] - score[controls]) / 2 + 0.5
    expected = np.sum(weight[:, None] * order) / (weight.sum() * controls.size)
    (found,) = time_dependent_auroc(time, event, score, at)
    assert found.value == pytest.approx(expected, abs=1e-12)
    assert found.low < found.value < found.high


def test_time_dependent_auroc_agrees_with_scikit_survival():
    reason = "time-dependent AUROC NOT compared: pip install scikit-survival (weights by hand are, above)"
    sksurv_metrics, util = (pytest.importorskip(f"sksurv.{name}", reason=reason) for name in ("metrics", "util"))
    time, event, score = cohort(200)
    known = util.Surv.from_arrays(event == 1, time)
    expected = sksurv_metrics.cumulative_dynamic_auc(known, known, np.round(score, 1), [0.7, 1.4])[0]
    found = time_dependent_auroc(time, event, np.round(score, 1), [0.7, 1.4])
    assert [each.value for each in found] == pytest.approx(expected, abs=1e-12)


def test_time_dependent_interval_counts_subjects():
    each = [np.repeat(column, 2) for column in cohort(100)]
    (alone,) = time_dependent_auroc(*each, 1.0)
    (clustered,) = time_dependent_auroc(*each, 1.0, np.repeat(np.arange(100), 2))
    assert clustered.variance == pytest.approx(2 * alone.variance, rel=0.3)
    assert [clustered] == time_dependent_auroc(*each, 1.0, np.repeat(np.arange(100), 2))


FIGURES = {
    "kaplan_meier": lambda time, event, score: kaplan_meier(time, event, score > 0),
    "log_rank": lambda time, event, score: log_rank(time, event, score > 0),
    "cox": cox,
    "pooled_logistic": pooled_logistic,
    "time_dependent_auroc": lambda time, event, score: time_dependent_auroc(time, event, score, 1.0),
}


@pytest.mark.parametrize("figure", FIGURES.values(), ids=FIGURES)
def test_times_and_events_that_allow_nothing_are_told(figure):
    time, event, score = cohort(60)
    for bad in (-1.0, np.nan, np.inf):
        with pytest.raises(EvaluationError, match=r"1 of 60 times are negative, NaN or infinite .* position 3"):
            figure(np.where(np.arange(60) == 3, bad, time), event, score)
    with pytest.raises(EvaluationError, match="event must be 1 where it was seen"):
        figure(time, event + 1, score)
    with pytest.raises(EvaluationError, match="9 events: at least 10 are needed"):
        figure(time, event * (np.cumsum(event) <= 9), score)
    with pytest.raises(EvaluationError, match="1 images have their event at time 0"):
        figure(np.where(np.arange(60) == np.argmax(event), 0.0, time), event, score)
    with pytest.raises(EvaluationError, match="shape \\(59,\\) and events of shape \\(60,\\)"):
        figure(time[1:], event, score)


@pytest.mark.parametrize("figure", [cox, pooled_logistic])
def test_scores_and_covariates_that_allow_no_ratio_are_told(figure):
    time, event, score = cohort(60)
    with pytest.raises(EvaluationError, match="all scores are the same"):
        figure(time, event, np.ones(60))
    with pytest.raises(EvaluationError, match="1 of 60 scores are NaN or infinite"):
        figure(time, event, np.append(score[1:], np.nan))
    with pytest.raises(EvaluationError, match="covariate 1: the same in every image"):
        figure(time, event, score, np.ones(60))
    with pytest.raises(EvaluationError, match="covariate 1, the score: one of these"):
        figure(time, event, score, 1 + score)
    with pytest.raises(EvaluationError, match="shape \\(59,\\) for 60 images"):
        figure(time, event, score[1:])
    with pytest.raises(EvaluationError, match=r"has no bound|without a single exception"):
        figure(time, event, event * (10.0 - time) - 20.0 * (event == 0))


def test_a_hazard_ratio_without_bound_names_its_column():
    time, event, score = cohort(120)
    alone = np.where((event == 1) & (np.arange(120) % 2 == 0), 0.0, 1.0)
    # Nobody with the event has the sign, whenever they are compared with those who are left.
    sign = pd.DataFrame({"age": np.cos(np.arange(120)), "sign": alone * (event == 0)})
    with pytest.raises(EvaluationError, match=r"^sign: orders the events"):
        cox(time, event, score, sign)


def test_what_allows_no_survival_figure_is_told():
    time, event, score = cohort(60)
    with pytest.raises(EvaluationError, match="compares two groups at least, got one"):
        log_rank(time, event, np.zeros(60))
    with pytest.raises(EvaluationError, match=r"at time 99 .* 0 are watched free of it"):
        time_dependent_auroc(time, event, score, [1.0, 99.0])
    with pytest.raises(EvaluationError, match="width must be above zero"):
        pooled_logistic(time, event, score, width=0)
    with pytest.raises(EvaluationError, match=r"no interval of width 100.0"):
        pooled_logistic(time, np.ones(60), score, width=100.0)


def test_limits_count_persons_where_they_repeat():
    time, event, _ = cohort(120)
    alone = kaplan_meier(time, event)[0]
    once = kaplan_meier(time, event, None, np.arange(120)[::-1])[0]
    np.testing.assert_array_equal(once.low, alone.low)
    twice = [np.repeat(each, 2) for each in (time, event, np.arange(120))]
    copied, taken = kaplan_meier(twice[0], twice[1], None, twice[2])[0], kaplan_meier(*twice[:2])[0]
    np.testing.assert_allclose(copied.free, alone.free)
    inside = slice(5, 60)
    # A person written down twice says no more than once: Greenwood's limits, but for t and 120 / 119.
    np.testing.assert_allclose((copied.high - copied.low)[inside], (alone.high - alone.low)[inside], rtol=0.03)
    assert ((taken.high - taken.low)[inside] < 0.75 * (alone.high - alone.low)[inside]).all()


def test_robust_limits_are_the_sum_over_persons_written_out():
    time, event, _ = cohort(60, visits=0.25)
    person = np.arange(60) // 2
    curve = kaplan_meier(time, event, None, person)[0]
    steps = curve.time[1:]
    at_risk = (time[:, None] >= steps).astype(float)
    died = (time[:, None] == steps) * event[:, None]
    total, deaths = at_risk.sum(axis=0), died.sum(axis=0)
    stayed = np.where(total > deaths, total - deaths, np.inf)
    moved = np.cumsum((died - at_risk * deaths / total) / stayed, axis=1)
    variance = 30 / 29 * np.sum(np.stack([moved[person == one].sum(axis=0) for one in range(30)]) ** 2, axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        width = t.ppf(0.975, 29) * np.sqrt(variance) / np.log(curve.free[1:])
        low = curve.free[1:] ** np.exp(-width)
    known = np.isfinite(curve.low[1:])
    np.testing.assert_allclose(curve.low[1:][known], low[known])


def test_few_persons_have_curves_without_limits_and_no_hazard_ratio():
    time, event, score = cohort(60)
    person = np.arange(60) % 6
    curve = kaplan_meier(time, event, None, person)[0]
    assert np.isnan(curve.low).all() and np.isfinite(curve.free).all()
    with pytest.raises(
        EvaluationError, match="no interval: 6 persons, 6 with the event; 20 are needed, and of them 10"
    ):
        cox(time, event, score, None, person)
    (area,) = time_dependent_auroc(time, event, score, 1.0, person)
    assert np.isfinite(area.value) and np.isnan([area.low, area.high]).all()
    assert area.method.startswith("no interval: 6 persons")


def test_all_persons_may_have_the_event():
    _, _, score = cohort(80)
    time = np.random.default_rng([1]).exponential(np.exp(-score)) + 0.01
    assert cox(time, np.ones(80), score, None, np.arange(80) // 2).hazard_ratio.value > 1.5


def test_influence_on_the_auroc_by_a_time_is_that_of_drawing_anew():
    time, event, score = cohort(300, visits=0.25)
    person, rng = np.arange(300) // 2, np.random.default_rng(0)
    (found,) = time_dependent_auroc(time, event, score, 1.5, person)
    drawn = []
    for _ in range(300):
        rows = np.concatenate([[2 * one, 2 * one + 1] for one in rng.integers(0, 150, 150)])
        drawn.append(time_dependent_auroc(time[rows], event[rows], score[rows], 1.5)[0].value)
    assert np.sqrt(found.variance) == pytest.approx(np.std(drawn), rel=0.12)


def test_concordance_is_that_of_every_pair():
    rng = np.random.default_rng([4])
    time, event, risk = rng.integers(1, 9, 90), rng.random(90) < 0.6, rng.integers(0, 12, 90)
    won = compared = 0.0
    for one in np.flatnonzero(event):
        later = (time > time[one]) | ((time == time[one]) & ~event)
        won += np.sum(risk[later] < risk[one]) + np.sum(risk[later] == risk[one]) / 2
        compared += later.sum()
    assert concordance(time, event, risk) == pytest.approx(won / compared, abs=1e-14)
