"""R's pROC and survival on drawn data sets with ties, stored by `python -m benchmarks.references --store`."""

import json
from pathlib import Path

import numpy as np
import pytest

from anomaly import statistics
from anomaly.statistics import conditional_odds_ratio, cox, log_rank

DATA = Path(__file__).parents[1] / "data"
SETS = json.loads((DATA / "proc.json").read_text(encoding="utf-8"))
STUDIES = json.loads((DATA / "survival.json").read_text(encoding="utf-8"))


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


def test_the_stored_studies_have_ties_pairs_and_sets_of_several_controls():
    assert len(STUDIES) == 6
    for each in STUDIES:
        assert len(set(each["time"])) < 10 < sum(each["event"]) < len(each["event"])
        sizes, cases = np.bincount(each["stratum"]), np.bincount(each["stratum"], each["case"])
        assert {2, 3, 4} <= set(sizes[cases > 0])
    # Only where a set holds two cases does the exact likelihood differ from those that approximate it.
    assert sum(max(np.bincount(each["stratum"], each["case"])) > 1 for each in STUDIES) == 3


def beside(study):
    """The two covariates (n, 2)."""
    return np.column_stack([study["age"], study["bmi"]])


@pytest.mark.parametrize("each", STUDIES, ids=lambda each: f"study{each['set']}")
def test_hazards_and_rank_tests_are_those_of_survival(each):
    scale, expected = np.std(each["score"], ddof=1), each["r"]
    asked = (each["time"], each["event"], each["score"], beside(each))
    plain, robust = cox(*asked), cox(*asked, each["pair"])
    ranks = [log_rank(each["time"], each["event"], each["third"], who).statistic for who in (None, each["pair"])]
    here = {
        "cox": np.log(plain.hazard_ratio.value) / scale,
        "cox_error": np.sqrt(plain.hazard_ratio.variance) / scale,
        "concordance": plain.concordance,
        "robust_error": np.sqrt(robust.hazard_ratio.variance) / scale,
        "log_rank": ranks[0],
        "robust_score": ranks[1],
    }
    assert here == pytest.approx({name: expected[name] for name in here}, abs=1e-6, rel=0)
    assert abs(here["robust_error"] - here["cox_error"]) > 1e-3


@pytest.mark.parametrize("each", STUDIES, ids=lambda each: f"study{each['set']}")
def test_conditional_odds_are_those_of_clogit(each):
    scale = np.std(each["score"], ddof=1)
    found = conditional_odds_ratio(each["case"], each["score"], each["stratum"], beside(each))
    here = np.log(found.value) / scale, np.sqrt(found.variance) / scale
    assert here == pytest.approx((each["r"]["matched"], each["r"]["matched_error"]), abs=1e-6, rel=0)
