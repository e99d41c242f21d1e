"""Visits as users write them, and who can be compared with whom."""

import numpy as np
import pandas as pd
import pytest

from anomaly.cohorts.times import times_of
from anomaly.cohorts.visits import visit_pairs
from anomaly.errors import CohortError


@pytest.mark.parametrize(
    ("cells", "values", "unit"),
    [
        ([0, 12, 24], [0, 12, 24], ""),
        ([0.0, 1.5, None], [0, 1.5, np.nan], ""),
        (["00", "12"], [0, 12], ""),
        (["bl", "m06", "M12"], [0, 6, 12], "months"),
        (["baseline", "24 months", "month 36"], [0, 24, 36], "months"),
        (["Year 1", "year2", "3y"], [1, 2, 3], "years"),
        (["ses-01", "ses-2", "ses-baseline"], [1, 2, 0], "visits"),
        (["V1", "V10", "v2"], [1, 10, 2], "visits"),
        (["ses-m12", "ses-m24"], [12, 24], "months"),
        (["pre", "post"], [0, 1], "visits"),
        (["2020-02-28", "2020/3/1", "2021-02-28T10:00"], [0, 2, 366], "days"),
        (["20200228", "20200301"], [0, 2], "days"),
        (["ses-20200228", "ses-20200301"], [0, 2], "days"),
        ([20200228.0, 20200301.0], [0, 2], "days"),
    ],
)
def test_times_are_read_as_written(cells: list[object], values: list[float], unit: str) -> None:
    times = times_of(pd.Series(cells, name="visit"))
    shift = times.values[0] if unit == "days" else 0
    np.testing.assert_array_equal(times.values - shift, values)
    assert times.unit == unit


def test_unit_of_numbers_is_given_or_stands_in_the_name() -> None:
    assert times_of(pd.Series([0, 12], name="visit"), unit="months").per_year == 12
    assert times_of(pd.Series([0, 2], name="visit_years")).unit == "years"
    assert np.isnan(times_of(pd.Series([0, 2], name="visit")).per_year)


@pytest.mark.parametrize(
    ("cells", "given", "message"),
    [
        (["01/02/2020", "03/02/2021"], {}, "do not say which number is the day"),
        (["baseline", "2021-03-30"], {}, "holds dates beside names such as baseline"),
        (["bl", "2015", "2017"], {}, "holds years of the calendar beside names"),
        (["12", "m24"], {}, "tells times in months and numbers without a unit"),
        (["m12", "y1"], {}, "tells times in months and years"),
        (["m12", "m24"], {"unit": "years"}, "tells times in months .* not in years"),
        (["early", "late"], {}, "no cell of the column visit tells when"),
        ([None, ""], {}, "no cell of the column visit is filled"),
        ([0, 1], {"unit": "moons"}, "unit of visits is 'moons'"),
        (["early", "late"], {"order": ["soon", "late"]}, "its values are early, late"),
    ],
)
def test_times_that_tell_nothing_are_refused(cells: list[object], given: dict[str, object], message: str) -> None:
    with pytest.raises(CohortError, match=message):
        times_of(pd.Series(cells, name="visit"), **given)  # type: ignore[arg-type]


def test_names_may_be_put_in_order() -> None:
    times = times_of(pd.Series(["late", "early", "once"], name="visit"), order=["early", "late"])
    np.testing.assert_array_equal(times.values, [1, 0, np.nan])
    assert times.untold == ("once",)


def images(*rows: tuple[object, ...], columns: str = "subject visit") -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=columns.split())
    ids = [f"i{place}" for place in range(len(frame))]
    return frame.assign(id=ids, path=[f"/images/{one}.nii.gz" for one in ids])


def told(table: pd.DataFrame, **given: object) -> list[tuple[str, str]]:
    pairs = visit_pairs(table, **given).pairs  # type: ignore[arg-type]
    return list(zip(pairs["baseline_id"], pairs["id"], strict=True))


def test_later_visits_stand_beside_earlier_ones() -> None:
    table = images(("a", 24), ("a", 0), ("a", 12), ("b", 12), ("b", 0), ("c", 0))
    assert told(table) == [("i1", "i2"), ("i1", "i0"), ("i4", "i3")]
    assert told(table, which="next") == [("i1", "i2"), ("i2", "i0"), ("i4", "i3")]
    assert told(table, which="last") == [("i1", "i0"), ("i4", "i3")]
    between = visit_pairs(table, which="last").left_out
    assert dict(zip(between["id"], between["reason"], strict=True)) == {
        "i2": "it lies between the visits that are compared",
        "i5": "there is no other visit that it could be compared with"
    }  # fmt: skip
    found = visit_pairs(table, unit="months")
    assert "nothing is told a year; give their unit" in visit_pairs(table).told()[1]
    assert found.single == ("c",) and list(found.left_out["id"]) == ["i5"]
    np.testing.assert_allclose(found.pairs["years"], [1, 2, 1])
    assert "1 person has one visit only (c)" in found.told()[1]


def test_sides_and_contrasts_are_not_mixed() -> None:
    table = images(
        ("a", 0, "L"), ("a", 1, "R"), ("a", 1, "L"), ("b", 0, "L"), ("b", 1, "R"), columns="subject visit side"
    )
    found = visit_pairs(table)
    assert list(found.pairs["id"]) == ["i2"]
    assert set(found.left_out["reason"]) == {"there is no other visit of it with the same side"}
    bids = images(("a", 0), ("a", 1), ("b", 0), ("b", 1)).assign(
        path=["/s/sub-a_ses-0_FLAIR.nii.gz", "/s/sub-a_ses-1_T1w.nii.gz", "/s/sub-b_0_T1w.nii", "/s/sub-b_1_T1w.nii"]
    )
    found = visit_pairs(bids)
    assert list(found.pairs["id"]) == ["i3"]
    assert list(found.left_out["reason"]) == ["there is no other visit of it with the same contrast"] * 2


def test_dates_that_run_against_visits_are_named_and_the_rest_goes_on() -> None:
    table = images(
        ("a", "V1", "2020-01-01"), ("a", "V2", "2019-01-01"), ("b", "V1", "2020-01-01"), ("b", "V2", "2020-01-01"),
        ("c", "V1", "2020-01-01"), ("c", "V2", "2021-01-01"), ("d", "V1", None), ("d", "V2", "2021-01-01"),
        columns="subject visit date",
    )  # fmt: skip
    found = visit_pairs(table, date="date")
    assert list(found.pairs["subject"]) == ["c"] and found.unit == "days"
    np.testing.assert_allclose(found.pairs["years"], 366 / 365.25)
    reasons = dict(zip(found.left_out["id"], found.left_out["reason"], strict=True))
    assert "visit V2 is dated before visit V1" in reasons["i0"] and "two visits have one date" in reasons["i2"]
    assert reasons["i6"] == "its date tells no date"


def test_two_images_of_one_time_are_named() -> None:
    table = images(("a", 0), ("a", 0), ("a", 1), ("b", 0), ("b", 1), ("b", None))
    found = visit_pairs(table)
    reasons = dict(zip(found.left_out["id"], found.left_out["reason"], strict=True))
    assert list(found.pairs["subject"]) == ["b"]
    assert reasons["i0"] == "2 images have the same visit 0; keep one of each"
    assert reasons["i5"] == "its visit tells no time"


def test_nobody_seen_twice_is_refused() -> None:
    with pytest.raises(CohortError, match="nobody has two visits that can be compared: 2 images of 2 persons"):
        visit_pairs(images(("a", 0), ("b", 1)))
    with pytest.raises(CohortError, match="has no column when"):
        visit_pairs(images(("a", 0)), visit="when")
