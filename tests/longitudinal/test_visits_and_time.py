"""Visits in tables as studies have them: where time begins, whose row tells what, rescans, and no look ahead."""

import numpy as np
import pandas as pd
import pytest

from anomaly import statistics
from anomaly.errors import EvaluationError
from anomaly.longitudinal import evaluate_visits
from anomaly.pictures import figures, visits

MONTHS = (0, 12, 24)


def knees(months=MONTHS, persons=40, slope=0.5, seed=0):
    """Two knees a person: id, subject, side, visit in months, age at that visit, value, progression of every second."""
    rng, rows = np.random.default_rng(seed), []
    for person in range(persons):
        age = int(rng.integers(50, 70))
        for side in ("left", "right"):
            level = rng.normal()
            for month in months:
                value = level + slope * month / 12 + 0.2 * age + 0.2 * month / 12 + 0.3 * rng.normal()
                about = {"id": f"{person}-{side}-{month}", "subject": f"s{person:02d}", "side": side, "visit": month}
                rows.append(about | {"age": age + month / 12, "value": value, "progression": person % 2})
    return pd.DataFrame(rows)


@pytest.fixture
def told(tmp_path, monkeypatch):
    # Pictures have tests of their own, and take longer than the rest.
    for module, name in ((figures, "forest"), (visits, "lines"), (visits, "against_mean")):
        monkeypatch.setattr(module, name, lambda *_args, **_asked: None)

    def run(table, scored=None, **asked):
        folder = tmp_path / "scores"
        folder.mkdir(exist_ok=True)
        names = asked.pop("columns", ["id", "value"])
        (table if scored is None else table[scored])[names].to_csv(folder / "scores.csv", index=False)
        cohort = table.drop(columns=[name for name in names if name != "id"])
        return evaluate_visits(folder, cohort, visits="visit", visit_unit="months", out=tmp_path / "out", **asked)

    return run


def timed(table, seed=1):
    """Time and event on every row of a knee: found at month 13 to 39."""
    unit = table["subject"] + table["side"]
    first = unit.drop_duplicates()
    came = pd.Series(np.random.default_rng(seed).integers(13, 40, len(first)) / 12, index=first.to_numpy())
    found = unit.map(came)
    return table.assign(time=found, event=1, progression=(found < 2.2).astype(int))


def test_an_image_taken_just_before_the_event_it_found_foretells_nothing(told):
    # Scores are noise but for the visit at which the event is found, which lies three days before its nominal time.
    rng, rows = np.random.default_rng(3), []
    for person in range(150):
        came, event = int(rng.integers(1, 5)), bool(rng.random() < 0.6)
        for year in range(5):
            if not (event and year > came):
                about = {"id": f"{person}-{year}", "subject": f"s{person}", "visit": 12 * year - 0.1 * bool(year)}
                rows.append(about | {"value": rng.normal() + 3 * (event and year == came)}
                            | {"time": float(came) if event else 4.5, "event": int(event)})  # fmt: skip
    found = told(pd.DataFrame(rows), time="time", event="event")
    table = found.section("by_visit").table.set_index("figure")
    assert table.loc["hazard_ratio", "estimate_low"] < 1 < table.loc["hazard_ratio", "estimate_high"]
    assert any("or less than 0.1 years before the event" in note for note in found.notes)


def test_time_begins_with_the_first_visit_of_a_person_scored_or_not(told):
    table = timed(knees())
    asked = {"outcome": "progression", "time": "time", "event": "event"}
    whole, later = told(table, **asked), told(table, table["visit"] > 0, **asked)
    sentence = [found.section("change_and_outcome").sentences[1][:45] for found in (whole, later)]
    assert sentence[0] == sentence[1]
    assert "had it by the last image" in later.section("change_and_outcome").sentences[1]
    # By hand: stretches from month 12 on of who had no event within a month of it.
    unit = table.drop_duplicates(["subject", "side"])
    stretches = (unit["time"] > 1 + 0.1).sum() + (unit["time"] > 2 + 0.1).sum()
    row = later.section("by_visit").table.set_index("figure").loc["hazard_ratio"]
    assert row["rows"] == stretches


def test_persons_without_the_visit_that_time_is_counted_from_are_named(told):
    table = timed(knees())
    table = table[~((table["subject"] == "s03") & (table["visit"] == 0))]
    found = told(table, time="time", event="event")
    assert any("1 persons (s03) have no row of the visit that the others begin with" in note for note in found.notes)


@pytest.mark.parametrize("where", ["first", "last"])
def test_a_time_counts_from_whichever_row_has_it(told, where):
    table = timed(knees(months=(0, 24)))
    empty = table["visit"] == (24 if where == "first" else 0)
    table.loc[empty, ["time", "event"]] = np.nan
    found = told(table, outcome="progression", time="time", event="event")
    early = (table.drop_duplicates(["subject", "side"])["progression"] == 1).sum()
    assert f"Of the {early} with progression" in found.section("change_and_outcome").sentences[1]
    assert (found.section("change_and_outcome").table["predictor"].str.endswith("free until the last image")).any() or (
        "too few to be told alone" in found.section("change_and_outcome").sentences[1]
    )
    table.loc[table["subject"] == "s01", ["time", "event"]] = np.nan
    told_again = told(table, outcome="progression", time="time", event="event")
    assert any("by the last image is not known of 2 pairs" in note for note in told_again.notes)


def test_an_outcome_that_is_not_the_event_is_told(told):
    table = timed(knees(months=(0, 24)))
    table.loc[table["subject"] == "s05", "event"] = 0
    table["progression"] = (table["subject"] < "s20").astype(int)
    found = told(table, outcome="progression", time="time", event="event")
    assert any("pairs have progression and not event, or the other way round" in note for note in found.notes)


def test_covariates_count_as_they_are_at_the_first_image(told):
    table = knees()
    found = told(table, outcome="progression", adjust=["age"]).section("slopes").table
    slope = found.set_index(["model", "slope of"])["slope"]
    # Age at each visit runs with time and would take its part of the slope away: 0.7 in all, 0.5 beside age.
    assert slope["independent", "with progression"] == pytest.approx(0.7, abs=0.1)
    assert slope["mixed", "with progression"] == pytest.approx(0.7, abs=0.1)
    once = table.assign(age=table["age"].where(table["visit"] == 0))
    again = told(once, outcome="progression", adjust=["age"]).section("slopes").table
    pd.testing.assert_frame_equal(found, again)
    # On a row that has no score, and in the stretches by visit.
    late = told(timed(once), once["visit"] > 0, time="time", event="event", outcome="progression", adjust=["age"])
    by = late.section("by_visit").table.set_index(["figure", "adjusted_for"])
    assert by.loc[("hazard_ratio", "age"), "rows"] == by.loc[("hazard_ratio", "nothing"), "rows"]


def rescanned(seed=2):
    """Knees of whom each has a rescan at month 12, with the same visit."""
    table = knees()
    again = table[table["visit"] == 12].copy()
    again["id"] += "-again"
    again["value"] += 0.4 * np.random.default_rng(seed).normal(size=len(again))
    return pd.concat([table.assign(rescan=0), again.assign(rescan=1)], ignore_index=True)


def test_rescans_at_the_same_visit_tell_the_noise_and_nothing_else(told):
    table = rescanned()
    found = told(table, stable="rescan", outcome="progression")
    before, after = (table[(table["visit"] == 12) & (table["rescan"] == k)] for k in (0, 1))
    people = before["subject"].to_numpy()
    noise = statistics.repeatability(before["value"].to_numpy(), after["value"].to_numpy(), people)
    row = found.section("noise").table.iloc[0]
    assert row["within"] == pytest.approx(noise.within.value)
    assert "the noise of taking an image again" in " ".join(found.section("noise").sentences)
    assert any("80 images of 40 persons that rescan marks" in note and "0 days" in note for note in found.notes)
    plain = told(table[table["rescan"] == 0], outcome="progression")
    for name in ("change", "slopes"):
        pd.testing.assert_frame_equal(found.section(name).table, plain.section(name).table)


def test_rescans_are_no_stretches(told):
    table = knees(months=(0, 1, 12, 24), persons=60)
    person = table["subject"].str[1:].astype(int)
    pain = ((person % 3 == 0) & (table["visit"] >= 12)) | ((person % 3 == 1) & (table["visit"] >= 24))
    table = table.assign(pain=pain.astype(int), rescan=(table["visit"] == 1).astype(int))
    found = told(table, stable="rescan", outcome="pain").section("by_visit").table
    plain = told(table[table["rescan"] == 0], outcome="pain").section("by_visit").table
    pd.testing.assert_frame_equal(found, plain)


def test_who_has_a_rescan_alone_is_left_out_by_name(told):
    table = knees(months=(0, 1, 24)).assign(rescan=lambda rows: (rows["visit"] == 1).astype(int))
    table = table[table["id"] != "0-left-24"]
    found = told(table, stable="rescan")
    assert found.left_out.set_index("id").loc["0-left-0", "reason"] == "there is no other visit of it, only a rescan"


def test_stable_told_at_a_later_visit_takes_no_follow_up_away(told):
    table = knees()
    table["stable"] = np.where((table["visit"] == 24) & (table["progression"] == 0), 1, 0)
    found = told(table, stable="stable")
    assert len(found.pairs) == 80 and set(found.pairs["visit"]) == {"24"}
    assert found.section("noise").table.iloc[0]["n"] == 40
    assert any("read as follow-ups of persons who did not change" in note for note in found.notes)


def test_noise_is_taken_over_the_time_that_is_judged(told):
    # Scores that wander: over four years they drift twice as far as over one.
    rng, rows = np.random.default_rng(0), []
    for person in range(100):
        value = rng.normal()
        for month in (0, 12, 24, 36, 48):
            about = {"id": f"{person}-{month}", "subject": f"s{person}", "visit": month, "value": value}
            rows.append(about | {"progression": int(person < 20)})
            value += 0.3 * rng.normal()
    found = told(pd.DataFrame(rows), outcome="progression")
    row = found.section("noise").table.iloc[0]
    assert (row["n"], row["within"]) == (80, pytest.approx(0.6 / np.sqrt(2), rel=0.2))
    beyond = found.section("beyond")
    made_of = beyond.table[beyond.table["score"] == "value"].set_index("group")["made_of"]
    assert made_of.to_dict() == {"all": 80, "without progression": 80, "with progression": 0}
    assert "made of these very pairs" in beyond.sentences[1] and "made of" not in beyond.sentences[2]


def pain_of_few(table):
    """Ten persons have it throughout, four get it."""
    person = table["subject"].str[1:].astype(int)
    gets = (person >= 10) & (person < 14) & (table["visit"] >= 12)
    return table.assign(pain=((person < 10) | gets).astype(int))


def test_who_gets_an_outcome_is_never_dropped_unasked(told):
    table = pain_of_few(knees())
    with pytest.raises(EvaluationError, match=r"8 have rows without pain and later ones with it.*--outcome-at visit"):
        told(table, outcome="pain")
    found = told(table, outcome="pain", outcome_at="person")
    assert any("8 have rows both with and without pain" in note for note in found.notes)
    visit = told(table, outcome="pain", outcome_at="visit")
    assert visit.pairs["outcome"].sum() == 8 and visit.pairs["outcome"].notna().sum() == 80 - 20
    with pytest.raises(EvaluationError, match="outcome_at is 'knee'; expected visit or person"):
        told(table, outcome="pain", outcome_at="knee")


def incident(table, seed=4):
    """Pain that begins at some visit of half of the knees, or at none."""
    unit = table["subject"] + table["side"]
    first = unit.drop_duplicates()
    begins = pd.Series(np.random.default_rng(seed).choice([12, 24, 48, 99, 99], len(first)), index=first.to_numpy())
    return table.assign(pain=(table["visit"] >= unit.map(begins)).astype(int))


def test_visits_without_an_image_tell_the_outcome_too(told):
    table = incident(knees(months=(0, 12, 24, 48)))
    found = told(table, table["visit"] <= 24, outcome="pain")
    later = table[table["visit"] == 48].set_index(["subject", "side"])["pain"]
    pairs = found.pairs.set_index(["subject", "side"])["outcome"]
    assert (pairs == later.reindex(pairs.index)).all()
    # Who has it by the last image is told apart: the change of the others is a prediction.
    by_then = table[table["visit"] == 24]["pain"].sum()
    said = found.section("change_and_outcome").sentences
    assert f"Of the {int(later.sum())} with pain {by_then} had it by the last image" in said[1]
    assert found.headline == f"{said[0]} {said[1]}"
    assert "The AUROC of the score at the first visit" in said[0] and "change" not in said[0]
    table = found.section("change_and_outcome").table.set_index("predictor")
    assert table.loc["change", "holding"] == by_then and table.loc["first score", "holding"] == 0


def test_stretches_of_another_length_have_a_level_of_their_own(told):
    table = incident(knees(months=(0, 12, 24, 36), persons=60), seed=6)
    # Every third person misses month 12, without an image and without an answer: 24 months in which pain may begin.
    missed = (table["subject"].str[1:].astype(int) % 3 == 0) & (table["visit"] == 12)
    table = table[~missed].reset_index(drop=True)
    row = told(table, outcome="pain").section("by_visit").table.set_index("figure").loc["odds_ratio"]
    rows = []
    for _, own in table.groupby(["subject", "side"]):
        for one, other in zip(own.iloc[:-1].itertuples(), own.iloc[1:].itertuples(), strict=True):
            if not one.pain:
                rows.append((other.pain, one.value, f"{one.visit} {other.visit}", one.subject))
    event, score, visit, subject = (np.array(each) for each in zip(*rows, strict=True))
    first = table[table["visit"] == 0]["value"].std(ddof=1)
    expected = statistics.odds_by_visit(event, score, visit, None, subject, deviation=first)
    assert (row["rows"], row["estimate"]) == (len(rows), pytest.approx(expected.value))


def test_an_image_counts_from_a_visit_whose_outcome_is_unknown(told):
    table = incident(knees(months=(0, 12, 24, 36), persons=60), seed=6)
    table["pain"] = table["pain"].astype(float).where(table["visit"] != 12)
    found = told(table, outcome="pain").section("by_visit").table.set_index("figure")
    events = table[table["visit"] == 36].merge(table[table["visit"] == 24], on=["subject", "side"])
    fresh = ((events["pain_x"] == 1) & (events["pain_y"] == 0)).sum() + (events["pain_y"] == 1).sum()
    assert found.loc["odds_ratio", "events"] == fresh


def test_sides_of_persons_named_in_the_scores_alone_are_told_apart(told):
    table = knees(months=(0, 24))
    found = told(table, outcome="progression", columns=["id", "value", "subject"])
    assert found.pairs["outcome"].sum() == 40 and found.pairs["outcome"].notna().all()
    assert any("Persons are named in the scores alone" in note for note in found.notes)


def test_what_no_model_can_use_ends_no_other_analysis(told):
    table = knees(months=(0, 24))
    constant = told(table.assign(sex=1), outcome="progression", adjust=["sex"])
    assert {"change", "change_and_outcome"} <= {each.name for each in constant.sections}
    assert any("sex: the same in every image" in note for note in constant.notes)
    # Constant among those whose outcome is known.
    person = table["subject"].str[1:].astype(int)
    some = table.assign(sex=(person < 6).astype(int), progression=table["progression"].where(person >= 6))
    found = told(some, outcome="progression", adjust=["sex"])
    assert any("Slopes of the score are not told: sex: the same" in note for note in found.notes)


def test_baselines_are_told_as_they_are(told):
    table = knees(months=(0, 24))
    table["baseline_brightness"] = (
        np.random.default_rng(0).normal(size=len(table)) - table["progression"] * table["visit"]
    )
    found = told(table, outcome="progression", columns=["id", "value", "baseline_brightness"])
    row = found.section("change_and_outcome").table.set_index("predictor").loc["change of baseline_brightness"]
    assert row["auroc"] < 0.1 and "below 0.5" in found.section("change_and_outcome").caption


def test_a_limit_without_maps_and_a_wrong_unit_are_named(told):
    table = knees(months=(0, 24))
    assert any("limit and smallest mean nothing" in note for note in told(table, limit=2.0).notes)
    with pytest.raises(EvaluationError, match="time_unit is 'fortnights'; expected one of days"):
        told(table, time_unit="fortnights")
