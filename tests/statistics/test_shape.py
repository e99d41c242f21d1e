"""Whether odds rise evenly: a line is left alone, a bend is seen however long the tail, thirds are what one counts."""

import numpy as np
import pytest
from scipy.special import expit

from anomaly.errors import EvaluationError
from anomaly.statistics import bend, odds_in_thirds, odds_ratio

SIZE = 400


def drawn(bent: bool, seed: int = 0, images: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Outcomes that go with a lognormal score by a straight line, or by its logarithm; and whose they are."""
    rng = np.random.default_rng(seed)
    person = np.repeat(np.arange(SIZE // images), images)
    under = np.sqrt(0.5) * (rng.normal(size=SIZE // images)[person] + rng.normal(size=SIZE))
    score = np.exp(1.5 * under)
    event = rng.random(SIZE) < expit(3 * under if bent else 0.3 * (score - score.mean()) / score.std())
    return event.astype(int), score, person


@pytest.mark.parametrize("images", [1, 2])
def test_a_bend_is_told_from_a_line_where_the_score_has_a_long_tail(images: int) -> None:
    found = [bend(y, score, None, person).p_value for y, score, person in (drawn(b, 0, images) for b in (True, False))]
    assert found[0] < 0.01 and found[1] > 0.05


def test_a_bend_does_not_depend_on_the_scale_of_the_score() -> None:
    event, score, person = drawn(True)
    first, second = (bend(event, each, None, person) for each in (score, 1e4 * score - 7))
    assert first.value == pytest.approx(second.value, rel=1e-6) and first.p_value == pytest.approx(second.p_value)


def test_odds_of_thirds_are_those_that_are_counted() -> None:
    event, score, person = drawn(True)
    order = np.argsort(score)
    odds = [event[part].mean() / (1 - event[part].mean()) for part in np.split(order, [134, 267])]
    found = odds_in_thirds(event, score, None, person)
    assert found.middle.value == pytest.approx(odds[1] / odds[0], rel=1e-5)
    assert found.high.value == pytest.approx(odds[2] / odds[0], rel=1e-5)
    assert found.middle.low < found.middle.value < found.middle.high


def test_too_little_for_a_bend_is_told() -> None:
    event, score, person = drawn(True)
    few = np.r_[np.flatnonzero(event == 1)[:19], np.flatnonzero(event == 0)]
    with pytest.raises(EvaluationError, match="a bend is told from 20 images"):
        bend(event[few], score[few], None, person[few])
    with pytest.raises(EvaluationError, match="so many scores tie"):
        bend(event, (score > 1).astype(float), None, person)
    assert odds_ratio(event, (score > 1).astype(float), None, person).value > 1
