"""Covariates of strangers: groups coded as numbers, and numbers with something else among them."""

import numpy as np
import pandas as pd
import pytest

from anomaly.errors import EvaluationError
from anomaly.evaluation import evaluate
from anomaly.statistics.design import column_of, design, perhaps_groups

SITES = pd.DataFrame({"site": [1, 2, 3, 10, 2, 1], "age": [60, 61, 62, 63, 64, 70.5], "name": list("abcabc")})


def test_a_column_of_numbers_is_coded_where_it_is_named_as_categories():
    coded = design(SITES, ["age", "C(site)"])
    assert list(coded) == ["age", "site=2", "site=3", "site=10"]
    np.testing.assert_array_equal(coded["site=10"], [0, 0, 0, 1, 0, 0])
    floats = design(SITES.assign(site=SITES["site"].astype(float)), ["C(site)"])
    assert list(floats) == ["site=2", "site=3", "site=10"]
    texts = design(SITES.assign(site="S" + SITES["site"].astype(str)), ["site"])
    np.testing.assert_array_equal(texts.to_numpy().sum(axis=0), [1, 2, 1])


def test_a_missing_site_stays_missing():
    coded = design(SITES.assign(site=[1, 2, np.nan, 2, 1, 2]), ["C(site)"])
    assert coded["site=2"].isna().sum() == 1 and list(coded) == ["site=2"]


def test_a_column_that_has_that_very_name_is_taken():
    table = SITES.rename(columns={"age": "C(site)"})
    assert column_of("C(site)", table) == "C(site)" and column_of("C(site)") == "site"
    assert list(design(table, ["C(site)"])) == ["C(site)"]


def test_numbers_that_may_be_groups_are_remarked_upon():
    (told,) = perhaps_groups(SITES, ["site", "age", "name", "C(site)"])
    assert told.startswith("site was taken as a number (its values are 1, 2, 3, 10)") and "C(site)" in told
    assert perhaps_groups(SITES.assign(site=[0, 1, 0, 1, 0, 1]), ["site"]) == []


@pytest.mark.parametrize("other", [".", "90+", "unknown"])
def test_numbers_with_something_else_among_them_are_refused_by_name(other):
    ages = [*map(str, range(50, 80)), other]
    with pytest.raises(EvaluationError, match=r"age holds numbers and, in 1 rows, .*--missing.*C\(age\)"):
        design(pd.DataFrame({"age": ages}), ["age"])


def test_sites_of_any_names_give_the_same_odds(tmp_path):
    rng = np.random.default_rng(0)
    n = 240
    site, sick = rng.integers(1, 4, n), np.zeros(n, int)
    sick[:] = rng.random(n) < np.array([0.2, 0.8, 0.3])[site - 1]
    value = sick + 2.0 * (site == 2) + rng.normal(size=n)
    ids = [f"i{k}" for k in range(n)]
    pd.DataFrame({"id": ids, "subject": ids, "path": ids, "value": value}).to_csv(tmp_path / "scores.csv", index=False)
    told = {}
    for name, column, adjust in (("codes", site, "C(site)"), ("names", [f"S{k}" for k in site], "site")):
        cohort = pd.DataFrame({"id": ids, "sick": sick, "site": column})
        found = evaluate(tmp_path / "scores.csv", cohort, outcome="sick", adjust=[adjust], out=tmp_path / name)
        told[name] = found.section("odds").table.iloc[-1]
        assert "people of the same site" in " ".join(found.section("odds").sentences)
    ends = [column for column in told["codes"].index if column.startswith("odds_ratio")]
    np.testing.assert_allclose(told["codes"][ends].astype(float), told["names"][ends].astype(float), rtol=1e-8)
    straight = evaluate(
        tmp_path / "scores.csv", pd.DataFrame({"id": ids, "sick": sick, "site": site}),
        outcome="sick", adjust=["site"], out=tmp_path / "line",
    )  # fmt: skip
    assert any(note.startswith("site was taken as a number") for note in straight.notes)
