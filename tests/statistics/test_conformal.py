"""Conformal intervals reach as far as the ranks say, hold what they promise, and are never made up."""

import math

import numpy as np
import pytest

from anomaly.errors import EvaluationError
from anomaly.statistics.conformal import chance_above, fewest, of_persons, reach


def test_ranks_by_hand_and_nothing_finite_of_too_few() -> None:
    assert fewest(0.95) == 19 and fewest(0.9) == 9 and fewest(0.5) == 1
    assert reach(np.arange(1.0, 20)) == 19  # ceil(20 * 0.95) = 19th of 19
    assert math.isinf(reach(np.arange(1.0, 19))) and math.isinf(reach([]))
    assert reach(np.arange(1.0, 40)) == 38  # ceil(40 * 0.95) = 38th of 39
    with pytest.raises(EvaluationError, match="between 0 and 1"):
        reach([1.0], 1.5)


def test_a_person_has_the_largest_of_their_scores() -> None:
    assert sorted(of_persons([1.0, 5.0, 2.0, 3.0], ["a", "b", "a", "b"])) == [2.0, 5.0]


@pytest.mark.parametrize("persons", [19, 39, 60])
def test_coverage_of_exchangeable_persons_with_two_pairs_each(persons: int) -> None:
    rng, held = np.random.default_rng(0), []
    for _ in range(1500):
        own = rng.exponential(size=persons + 1)  # persons differ, and their pairs are alike
        scores = own[:, None] * rng.exponential(size=(persons + 1, 2))
        known = of_persons(scores[:-1].ravel(), np.repeat(np.arange(persons), 2))
        held.append(scores[-1].max() <= reach(known))
    expected = math.ceil((persons + 1) * 0.95) / (persons + 1)
    assert abs(np.mean(held) - expected) < 4 * math.sqrt(expected * (1 - expected) / 1500) + 1e-3


def test_chance_above_counts_persons_once() -> None:
    # One person off by -2 and +2, another by +1: of a prediction of -1.5, half of the first, nothing of the second.
    found = chance_above([-1.5], [-2.0, 2.0, 1.0], ["a", "a", "b"])
    assert found == pytest.approx([(0.5 + 0.5) / 3])
    assert chance_above([0.0], [0.0], ["a"]) == pytest.approx([0.5])
    assert chance_above([-3.0], [1.0], ["a"], 4.0) == pytest.approx([0.75])  # -3 + 4 is above 0
