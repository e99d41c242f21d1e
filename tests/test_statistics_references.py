"""R's pROC on fifty drawn data sets with ties, stored by `python -m benchmarks.references --store`."""

import json
from pathlib import Path

import pytest

from anomaly import statistics

SETS = json.loads((Path(__file__).parent / "data" / "proc.json").read_text(encoding="utf-8"))


def test_the_stored_sets_have_ties_and_many_sizes():
    assert len(SETS) == 50
    sizes = [len(each["outcome"]) for each in SETS]
    assert min(sizes) < 40 and max(sizes) > 250
    assert all(len(set(each["first"])) < len(each["first"]) for each in SETS)


@pytest.mark.parametrize("each", SETS, ids=lambda each: f"set{each['set']}")
def test_delong_is_that_of_proc(each):
    outcome, first, second, expected = each["outcome"], each["first"], each["second"], each["r"]
    found = statistics.auroc_interval(outcome, first)
    pair = statistics.compare_aurocs(outcome, first, second)
    here = {
        "auroc": found.value,
        "variance": found.variance,
        "low": found.low,
        "high": found.high,
        "second": statistics.auroc_interval(outcome, second).value,
        "z": pair.z,
        "p_value": pair.p_value,
    }
    assert here == pytest.approx(expected, abs=1e-10, rel=0)
