import numpy as np
import pytest

from anomaly.errors import EvaluationError
from anomaly.statistics.multiplicity import adjust
from anomaly.statistics.probabilities import calibration, error_if_right
from anomaly.statistics.shares import wilson


def told(odds, size=200):
    """Chances of two kinds that are exactly the shares in which the event comes, and log-odds to bend them by."""
    outcome = np.concatenate([np.arange(size) < size // 5, np.arange(size) < size // 2]).astype(int)
    right = np.repeat([np.log(0.2 / 0.8), 0.0], size)
    return outcome, 1 / (1 + np.exp(-odds(right)))


def test_chances_that_are_right_are_called_right():
    found = calibration(*told(lambda right: right))
    assert found.in_the_large.value == pytest.approx(0, abs=1e-8)
    assert found.in_the_large.p_value == pytest.approx(1, abs=1e-6)
    assert found.slope is not None
    assert found.slope.value == pytest.approx(1, abs=1e-8)
    assert found.slope.p_value == pytest.approx(1, abs=1e-6)
    assert found.error == pytest.approx(0, abs=1e-12)
    assert found.brier == pytest.approx((0.2 * 0.8 + 0.5 * 0.5) / 2)
    assert found.scaled_brier == pytest.approx(1 - found.brier / (0.35 * 0.65))


def test_chances_too_high_and_too_extreme_are_called_that():
    higher = calibration(*told(lambda right: right + 0.7))
    assert higher.slope is not None
    assert higher.slope.value == pytest.approx(1, abs=1e-6)
    assert higher.in_the_large.value == pytest.approx(-0.7, abs=0.01)
    assert higher.in_the_large.high < 0 and higher.in_the_large.p_value < 1e-6
    extreme = calibration(*told(lambda right: 3 * right + 0.2))
    assert extreme.slope is not None
    assert extreme.slope.value == pytest.approx(1 / 3, abs=1e-6)
    assert extreme.slope.high < 1 and extreme.slope.p_value < 0.05


def test_calibration_in_the_large_is_the_log_odds_ratio_of_one_chance():
    outcome = np.arange(50) < 20
    found = calibration(outcome, np.full(50, 0.25), bins=5)
    assert found.in_the_large.value == pytest.approx(np.log(0.4 / 0.6) - np.log(0.25 / 0.75), abs=1e-8)
    assert found.in_the_large.variance == pytest.approx(1 / 20 + 1 / 30, rel=1e-6)
    assert found.slope is None
    assert found.error == pytest.approx(0.15)
    assert found.scaled_brier == pytest.approx(-(0.15**2) / 0.24)
    assert len(found.curve) == 1


def test_curve_by_hand():
    outcome = np.array([0, 0, 1, 0, 1, 1, 0, 1])
    chance = np.array([0.1, 0.1, 0.1, 0.3, 0.4, 0.6, 0.8, 0.9])
    found = calibration(outcome, chance, bins=4)
    # Pairs by rank, but three chances tie across the first edge, so the first two bins are one.
    assert found.curve["images"].tolist() == [4, 2, 2]
    np.testing.assert_allclose(found.curve["predicted"], [0.15, 0.5, 0.85])
    np.testing.assert_allclose(found.curve["observed"], [0.25, 1, 0.5])
    assert (found.curve["low"][0], found.curve["high"][0]) == pytest.approx(wilson(0.25, 4, 0.95))
    assert found.error == pytest.approx((4 * 0.1 + 2 * 0.5 + 2 * 0.35) / 8)


def test_repeated_subjects_widen_what_is_told():
    rng = np.random.default_rng([3])
    chance = rng.uniform(0.1, 0.9, 150)
    outcome = rng.random(150) < chance
    alone = calibration(outcome, chance)
    copies = [np.repeat(each, 2) for each in (outcome, chance)]
    clustered, naive = calibration(*copies, np.repeat(np.arange(150), 2)), calibration(*copies)
    assert clustered.in_the_large.variance == pytest.approx(alone.in_the_large.variance, rel=0.2)
    assert naive.in_the_large.variance == pytest.approx(alone.in_the_large.variance / 2, rel=1e-6)
    assert alone.slope is not None and clustered.slope is not None
    assert clustered.slope.variance == pytest.approx(alone.slope.variance, rel=0.3)
    assert "robust errors by subject" in clustered.slope.method
    assert ((clustered.curve["high"] - clustered.curve["low"]) > (naive.curve["high"] - naive.curve["low"])).all()


def test_chances_of_nothing_and_of_certainty_can_be_judged():
    outcome = np.tile([0, 0, 1, 1], 20)
    chance = np.tile([0.0, 0.5, 0.5, 1.0], 20)
    chance[[0, 2]] = 1.0, 0.0
    found = calibration(outcome, chance)
    assert found.slope is not None
    assert 0 < found.slope.value < 1


@pytest.mark.parametrize(
    ("outcome", "chance", "bins", "told"),
    [
        ([0, 1, 1], [0.2, 0.4, 1.2], 1, "chances run from 0.2 to 1.2"),
        ([0, 1, 1], [0.2, 0.4, np.nan], 1, "1 of 3 scores are NaN"),
        ([1, 1, 1], [0.2, 0.4, 0.5], 1, "3 events among 3"),
        ([0, 1, 1], [0.2, 0.4, 0.5], 4, "4 bins for 3 images"),
        ([0, 0, 1, 1], [0.2, 0.4, 0.5, 0.6], 2, "the chance: tells some of the outcomes without"),
    ],
)
def test_chances_that_cannot_be_judged_are_told(outcome, chance, bins, told):
    with pytest.raises(EvaluationError, match=told):
        calibration(outcome, chance, bins=bins)


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("holm", [0.03, np.nan, 0.06, 0.06]),
        ("bonferroni", [0.03, np.nan, 0.12, 0.09]),
        ("bh", [0.03, np.nan, 0.04, 0.04]),
        ("by", [0.03 * 11 / 6, np.nan, 0.04 * 11 / 6, 0.04 * 11 / 6]),
    ],
)
def test_p_values_are_adjusted_by_hand(method, expected):
    np.testing.assert_allclose(adjust([0.01, np.nan, 0.04, 0.03], method), expected)


def test_nothing_to_adjust_stays_nothing():
    np.testing.assert_array_equal(adjust([np.nan, np.nan]), [np.nan, np.nan])
    assert adjust([]).size == 0
    assert adjust([0.03]).tolist() == [0.03]


@pytest.mark.parametrize(
    ("p_values", "method", "told"),
    [
        ([0.1], "tukey", "one of holm, bh, by, bonferroni"),
        ([0.1, 1.2], "holm", "from 0 to 1"),
        ([[0.1]], "holm", "one row of numbers"),
    ],
)
def test_p_values_that_are_none_are_told(p_values, method, told):
    with pytest.raises(EvaluationError, match=told):
        adjust(p_values, method)


def test_the_error_of_chances_that_are_right_is_that_of_a_binomial():
    # One bin of n images: the mean of |X - np| / n, which for large n is that of a normal, sqrt(2 p q / (pi n)).
    found = error_if_right(np.full(400, 0.3), bins=5, draws=4000)
    assert found == pytest.approx(np.sqrt(2 * 0.3 * 0.7 / (np.pi * 400)), rel=0.05)
    spread = np.random.default_rng(0).uniform(0.1, 0.9, 400)
    event = np.random.default_rng(1).random(400) < spread
    right = error_if_right(spread, bins=10)
    assert 0.02 < right < 0.08 and abs(calibration(event, spread, bins=10).error - right) < 0.04
