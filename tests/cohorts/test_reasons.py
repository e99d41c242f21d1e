"""Why images cannot be used, counted."""

import pytest

from anomaly.cohorts.reasons import reasons


@pytest.mark.parametrize(
    ("told", "lines"),
    [
        ([], []),
        ([("a", "a: is empty"), ("b", "b: is empty"), ("c", "c: is cut")], ["2: is empty", "1: is cut"]),
        ([("a", "a: is empty"), ("b", "its value is nan")], ["1: is empty", "1: its value is nan"]),
        ([("a", "a: has 4 rows"), ("b", "b: has 5 rows")], ["2: as a: has 4 rows"]),
        ([("a", "a: has 4 rows"), ("b", "b: has 4 rows")], ["2: has 4 rows"]),
        ([("a1", "a1: lost 1.5"), ("a2", "a2: lost 27")], ["2: as a1: lost 1.5"]),
    ],
)
def test_reasons_are_counted_and_nobodys_numbers_stand_for_others(told, lines):
    assert reasons(told) == lines


def test_many_reasons_are_summed_up():
    told = [(letter, f"{letter}: is {letter}") for letter in "abcdefg"] + [("h", "h: is g")]
    found = reasons(told, most=2)
    assert found == ["2: is g", "1: is a", "5: 5 other reasons"]
    assert reasons(told[:3], most=2)[-1] == "1: 1 other reason"
