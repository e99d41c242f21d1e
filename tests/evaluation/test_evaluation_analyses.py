"""The analyses beside the main table, on a cohort of two knees a person whose truth is known."""

import json

import numpy as np
import pandas as pd
import pytest
from pages import words_of
from PIL import Image

from anomaly import statistics
from anomaly.errors import AnomalyError, EvaluationError
from anomaly.evaluation import evaluate
from anomaly.reporting import report

ADJUST = ("age", "sex", "site")


def cohort_of(persons=150, seed=0):
    """Persons of two knees: the score goes with a severity of their own and with age, the outcome with both."""
    rng = np.random.default_rng(seed)
    person = np.repeat(np.arange(persons), 2)
    age, sex = np.repeat(rng.normal(60, 8, persons), 2), np.repeat(rng.integers(0, 2, persons), 2)
    severity = 0.7 * np.repeat(rng.normal(size=persons), 2) + 0.7 * rng.normal(size=2 * persons)
    years = np.ceil(rng.exponential(np.exp(2.2 - 0.9 * severity - 0.05 * (age - 60))))
    end = np.repeat(rng.choice([2, 4], persons, p=[0.2, 0.8]), 2)
    event = (years <= end).astype(int)
    ids = [f"p{i:03d}-{side}" for i, side in zip(person, np.tile(["L", "R"], persons), strict=True)]
    people = pd.DataFrame(
        {
            "id": ids, "subject": [name[:4] for name in ids], "age": age, "sex": sex,
            "site": np.repeat(rng.choice(["A", "B"], persons), 2), "side": np.tile(["L", "R"], persons),
            "time": np.minimum(years, end), "event": event,
            "progression": np.where((event == 1) | (end == 4), event, np.nan),
        }
    )  # fmt: skip
    value = severity + 0.04 * (age - 60) + 0.5 * rng.normal(size=2 * persons)
    return pd.DataFrame({"id": ids, "value": value}), people


def run(tables, out, **settings):
    scores, people = tables
    out.mkdir(parents=True, exist_ok=True)
    scores.to_csv(out / "scores.csv", index=False)
    return evaluate(out / "scores.csv", people, **{"outcome": "progression", "out": out} | settings)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Everything asked for at once."""
    out = tmp_path_factory.mktemp("whole")
    asked = {"adjust": ADJUST, "match": "subject", "strata": ("sex", "age", "side"), "time": "time", "event": "event"}
    return run(cohort_of(), out, **asked)


def known(tables):
    scores, people = tables
    has = people["progression"].notna()
    return scores[has].reset_index(drop=True), people[has].reset_index(drop=True)


def test_every_analysis_has_its_table_its_figure_and_a_sentence(whole):
    names = [
        "comparison",
        "strata",
        "odds",
        "thirds",
        "added_value",
        "adjusted_roc",
        "matched",
        "survival",
        "calibration",
    ]
    assert [section.name for section in whole.sections] == names
    facts = json.loads((whole.out / "evaluation.json").read_text(encoding="utf-8"))
    for section, told in zip(whole.sections, facts["sections"], strict=True):
        assert section.sentences and all(sentence.endswith(".") for sentence in section.sentences)
        assert len(pd.read_csv(whole.out / f"{section.name}.csv")) == len(told["rows"]) > 0
        assert (whole.out / told["figure"]).read_bytes().startswith(b"\x89PNG")
        assert told["sentences"] == section.sentences


def test_the_report_shows_every_analysis(whole):
    page = report(whole.out).read_text(encoding="utf-8")
    for section in whole.sections:
        assert f">{section.title}</h2>" in page
        assert section.sentences[0] in words_of(page)
    # Strata have a section of their own, and are not in the table of all images.
    assert page.count('<th scope="row">value</th>') == 1


def test_odds_ratios_are_those_of_the_statistics(whole):
    scores, people = known(cohort_of())
    design = statistics.design(people, ADJUST)
    crude = statistics.odds_ratio(people["progression"], scores["value"], None, people["subject"])
    adjusted = statistics.odds_ratio(people["progression"], scores["value"], design, people["subject"])
    table = whole.section("odds").table
    assert list(table["adjusted_for"]) == ["nothing", "age, sex, site"]
    assert list(table["odds_ratio"]) == pytest.approx([crude.value, adjusted.value])
    assert list(table["odds_ratio_low"]) == pytest.approx([crude.low, adjusted.low])
    assert f"{adjusted.value:.2f} times" in whole.section("odds").sentences[1]


def test_the_covariates_alone_are_a_baseline_that_did_not_see_its_own_persons(whole):
    table = whole.table[whole.table["stratum"] == "all"].set_index("score")
    floor = table.loc["baseline_covariates"]
    scores, people = known(cohort_of())
    added = statistics.added_value(
        people["progression"], scores["value"], statistics.design(people, ADJUST), people["subject"]
    )
    assert floor["auroc"] == pytest.approx(
        statistics.auroc_interval(people["progression"], added.covariates_alone, fold=added.fold).value
    )
    assert 0.5 < floor["auroc"] < table.loc["value", "auroc"]
    assert "the covariates alone" in whole.headline
    section = whole.section("added_value")
    assert list(section.table["predictor"]) == ["score", "covariates", "both"]
    assert section.sentences[0].startswith("The score adds to what the covariates tell (Wald test")


def test_among_people_alike_the_area_is_smaller_where_age_helped(whole):
    row = whole.section("adjusted_roc").table.iloc[0]
    assert row["adjusted_auroc_low"] < row["adjusted_auroc"] < row["pooled_auroc"]


def test_matched_sets_are_the_persons_with_one_knee_of_each_kind(whole):
    scores, people = known(cohort_of())
    mixed = people.groupby("subject")["progression"].nunique() == 2
    row = whole.section("matched").table.iloc[0]
    assert row["sets"] == mixed.sum()
    both = people.assign(value=scores["value"])[people["subject"].map(mixed)].pivot(
        index="subject", columns="progression", values="value"
    )
    assert row["concordance"] == pytest.approx((both[1.0] > both[0.0]).mean())


def test_strata_are_the_figures_of_their_images(whole):
    scores, people = known(cohort_of())
    rows = whole.table[(whole.table["score"] == "value") & (whole.table["stratum"] != "all")].set_index("stratum")
    women = (people["sex"] == 1).to_numpy()
    expected = statistics.auroc_interval(
        people["progression"][women], scores["value"][women], people["subject"][women], scale="logit"
    )
    assert rows.loc["sex 1", "auroc"] == pytest.approx(expected.value)
    assert rows.loc["sex 1", "auroc_low"] == pytest.approx(expected.low)
    assert list(rows.index) == ["sex 0", "sex 1", *(name for name in rows.index if name.startswith("age ")),
                                "side L", "side R"]  # fmt: skip
    ages = [name for name in rows.index if name.startswith("age ")]
    assert len(ages) == 3 and [float(name.split()[1]) for name in ages] == sorted(float(n.split()[1]) for n in ages)
    assert rows["p_holm"].max() <= 1 and (rows["p_holm"] >= rows["p_value"]).all()
    sex, _, side = whole.section("strata").sentences
    assert "Cochran's Q" in sex
    assert "some persons are in several of these strata" in side


def test_strata_that_differ_are_told_from_those_that_do_not(tmp_path):
    scores, people = cohort_of(400, seed=3)
    same = run((scores, people), tmp_path / "same", strata=("sex",))
    noise = np.random.default_rng(0).normal(size=len(scores))
    only_men = scores.assign(value=np.where(people["sex"] == 0, scores["value"], noise))
    other = run((only_men, people), tmp_path / "other", strata=("sex",))
    assert "the strata are not shown to differ" in same.section("strata").sentences[0]
    assert "differ by more than chance" in other.section("strata").sentences[0]


def test_a_stratum_of_too_few_is_named(tmp_path):
    scores, people = cohort_of()
    people["site"] = np.where(np.arange(len(people)) < 14, "small", "large")
    found = run((scores, people), tmp_path, strata=("site",))
    assert list(found.section("strata").table["stratum"]) == ["site large"]
    assert any("site small" in note and "too few" in note for note in found.notes)


def test_survival_counts_those_whose_outcome_was_never_known(whole):
    scores, people = cohort_of()
    assert people["progression"].isna().sum() > 30
    table = whole.section("survival").table.set_index(["figure", "adjusted_for"])
    crude = statistics.cox(people["time"], people["event"], scores["value"], None, people["subject"]).hazard_ratio
    pooled = statistics.pooled_logistic(people["time"], people["event"], scores["value"], None, people["subject"])
    assert table.loc[("hazard_ratio", "nothing"), "n"] == len(people)
    assert table.loc[("hazard_ratio", "nothing"), "estimate"] == pytest.approx(crude.value)
    assert table.loc[("odds_ratio", "nothing"), "estimate_high"] == pytest.approx(pooled.high)
    assert {"auroc by 1", "auroc by 4"} <= set(table.index.get_level_values("figure"))
    first = whole.section("survival").sentences[0]
    assert first.startswith("Of 300 images that were followed up: by time 4, ") and "highest third" in first


def test_an_outcome_may_be_a_time_and_an_event(tmp_path):
    tables = cohort_of()
    by_column = run(tables, tmp_path / "column")
    by_time = run(tables, tmp_path / "time", outcome=None, time="time", event="event", at=4)
    assert by_time.table["auroc"][0] == by_column.table["auroc"][0]
    assert by_time.table["n"][0] == by_column.table["n"][0]
    sooner = run(tables, tmp_path / "sooner", outcome=None, time="time", event="event", at=2)
    assert sooner.table["n"][0] == len(tables[1])
    assert sooner.table["events"][0] == int(((tables[1]["time"] <= 2) & (tables[1]["event"] == 1)).sum())


def test_a_time_beyond_all_follow_up_is_cut_and_told(tmp_path):
    found = run(cohort_of(), tmp_path, time="time", event="event", at=9)
    assert any("Nobody was followed until time 9; survival is told to 4." in note for note in found.notes)
    assert "by time 4, " in found.section("survival").sentences[0]


def test_columns_may_be_given_as_one_text(tmp_path):
    text, tupled = (run(cohort_of(), tmp_path / str(i), adjust=a) for i, a in enumerate(("age, sex", ("age", "sex"))))
    pd.testing.assert_frame_equal(text.section("odds").table, tupled.section("odds").table)


def test_a_score_compared_with_itself_is_told(tmp_path):
    scores, people = cohort_of()
    (tmp_path / "again").mkdir()
    scores.to_csv(tmp_path / "again" / "scores.csv", index=False)
    found = run((scores, people), tmp_path, compare=[tmp_path / "again"])
    assert "again is the same as value in every image: one of the two is enough." in found.notes


def test_the_event_in_time_is_named_whatever_the_outcome(tmp_path):
    scores, people = cohort_of()
    found = run((scores, people), tmp_path, outcome="sex", time="time", event="event")
    assert "of those in the highest third of the score had the event, " in found.section("survival").sentences[0]


def test_curves_are_told_no_further_than_every_third_was_followed(tmp_path):
    scores, people = cohort_of()
    high = scores["value"] > scores["value"].quantile(2 / 3)
    people.loc[high, "event"] *= people.loc[high, "time"] <= 2
    people.loc[high, "time"] = people.loc[high, "time"].clip(upper=2)
    found = run((scores, people), tmp_path, time="time", event="event")
    assert "by time 2, " in found.section("survival").sentences[0]


def test_times_in_days_are_not_taken_for_visits(tmp_path):
    scores, people = cohort_of()
    found = run((scores, people.assign(time=365 * people["time"])), tmp_path, time="time", event="event")
    assert set(found.section("survival").table["figure"].str.split().str[0]) == {"hazard_ratio", "auroc"}
    assert any("times run up to 1460" in note for note in found.notes)


def test_what_was_fitted_to_these_images_is_not_tested_on_them(whole):
    floor = whole.table[whole.table["score"] == "baseline_covariates"]
    assert floor["p_value"].isna().all() and floor["auroc_method"].str.endswith("fitting not counted").all()
    pair = whole.comparison[whole.comparison["score_b"] == "baseline_covariates"]
    assert len(pair) == 1 and pair[["z", "p_value", "p_holm"]].isna().all(axis=None)
    assert any("not tested, since the covariates were fitted" in each for each in whole.section("comparison").sentences)
    table = whole.section("calibration").table
    assert not [name for name in table if name.endswith(("_low", "_high"))]
    assert 0 < table["expected_error_if_right"][0] < 0.15


def test_the_headline_sets_scores_side_by_side_on_the_same_images(tmp_path):
    scores, people = cohort_of()
    people.loc[people["age"] > 62, "age"] = np.nan
    found = run((scores.assign(value=-scores["value"]), people), tmp_path, adjust=("age", "sex"))
    rows = found.table.set_index("score")
    few = rows.loc["baseline_covariates"]
    pair = found.comparison.set_index("score_b").loc["baseline_covariates"]
    said = f"on the {few['n']} images that have both, where the score reaches {few['auroc'] + pair['difference']:.2f}"
    assert said in found.headline


def test_covariates_of_too_few_cost_what_is_adjusted_alone(tmp_path):
    scores, people = cohort_of()
    ill = people.index[people["progression"] == 1][7:]
    people.loc[ill, "age"] = np.nan
    found = run((scores, people), tmp_path, adjust=("age",))
    assert any("7 events and" in note and "could not be told" in note for note in found.notes)
    assert found.table["n"][0] == people["progression"].notna().sum()


def test_strata_of_perfect_scores_are_not_tested(tmp_path):
    scores, people = cohort_of()
    perfect = np.where(people["sex"] == 1, people["progression"].fillna(0) * 10, scores["value"])
    found = run((scores.assign(value=perfect), people), tmp_path, strata=("sex",))
    assert "their difference is not tested" in found.section("strata").sentences[0]


def test_conditional_odds_are_withheld_where_persons_count_twice(tmp_path):
    scores, people = cohort_of()
    pairs = people.assign(pair=np.arange(len(people)) // 6)
    found = run((scores, pairs), tmp_path, match="pair", subject="subject")
    assert found.section("matched").table["odds_ratio"].isna().all()
    assert any("persons have a part in several sets, or several images" in note for note in found.notes)


def test_where_keeps_rows_of_the_cohort(tmp_path):
    scores, people = cohort_of()
    found = run((scores, people), tmp_path, where={"side": "L"})
    assert found.table["n"][0] == int((people["progression"].notna() & (people["side"] == "L")).sum())
    assert any(note.startswith("150 of 300 rows of the cohort have side L") for note in found.notes)


def test_simulated_images_are_called_so(tmp_path):
    scores, people = cohort_of()
    assert not any("simulated" in note for note in run((scores, people), tmp_path / "real").notes)
    notes = run((scores, people.assign(simulated=1)), tmp_path / "drawn").notes
    assert any("All of these images are simulated" in note for note in notes)
    for name in ("roc.png", "odds.png"):
        files = [tmp_path / where / "progression" / name for where in ("real", "drawn")]
        red = [np.asarray(Image.open(file).convert("RGB")) for file in files]
        counts = [int((pixels == (176, 0, 0)).all(axis=-1).sum()) for pixels in red]
        assert counts[0] == 0 < counts[1]


def test_persons_with_both_outcomes_are_named(whole):
    assert any("persons have images both with and without progression (p0" in note for note in whole.notes)


def test_missing_covariates_are_counted_and_cost_only_what_is_adjusted(tmp_path):
    scores, people = cohort_of()
    lost = people.index[people["progression"].notna()][:5]
    people.loc[lost, "age"] = np.nan
    found = run((scores, people), tmp_path, adjust=("age",))
    assert any(note.startswith("5 images lack a covariate") for note in found.notes)
    table = found.section("odds").table
    assert table["n"][0] - table["n"][1] == 5


@pytest.mark.parametrize(
    ("asked", "change", "message"),
    [
        ({"adjust": ("age", "weight")}, {}, "no column 'weight'"),
        ({"adjust": ("age", "one")}, {"one": 1}, "one: the same in every image"),
        ({"adjust": ("age", "months")}, {"months": lambda t: 12 * t["age"]}, "age, months: one of these follows"),
        ({"match": "pair"}, {}, "no column 'pair'"),
        ({"strata": ("clinic",)}, {}, "no column 'clinic'"),
        ({"time": "time"}, {}, "time and event go together"),
        ({"outcome": None}, {}, "name the outcome, or the columns of time and event"),
        ({"time": "time", "event": "event"}, {"time": lambda t: t["time"] - 3}, "are negative, infinite or no numbers"),
        ({"time": "time", "event": "event"}, {"event": 2}, "'event' must be 0 or 1, but holds 2"),
        ({"time": "time", "event": "event"}, {"event": 0}, "'event' is 1 in none of 300 images"),
        ({"where": {"side": "X"}}, {}, "no row is left with side X; its values there are L, R"),
    ],
)
def test_what_cannot_be_evaluated_is_told(tmp_path, asked, change, message):
    scores, people = cohort_of()
    changed = {name: new(people) if callable(new) else new for name, new in change.items()}
    with pytest.raises(AnomalyError, match=message):
        run((scores, people.assign(**changed)), tmp_path, **asked)


def test_an_analysis_that_the_numbers_do_not_allow_costs_no_other(tmp_path):
    scores, people = cohort_of()
    # A covariate that gives the outcome away has an infinite odds ratio.
    told = people.assign(told=people["progression"].fillna(0) + 0.01 * people["sex"])
    found = run((scores, told), tmp_path, adjust=("told",), match="site")
    assert [section.name for section in found.sections] == ["odds", "thirds", "adjusted_roc", "matched", "calibration"]
    assert set(found.section("odds").table["adjusted_for"]) == {"nothing"}
    assert any("adds to the covariates could not be told" in note for note in found.notes)
    alone = run((scores, people), tmp_path / "one", match="id")
    assert any("No matched comparison" in note for note in alone.notes)


def test_all_scores_tied_give_a_half_and_a_word(tmp_path):
    scores, people = cohort_of()
    found = run((scores.assign(value=1.0), people), tmp_path, time="time", event="event")
    assert found.table["auroc"][0] == 0.5
    assert any("All scores of value are equal" in note for note in found.notes)
    assert any("Calibration could not be told" in note for note in found.notes)


def test_infinite_scores_are_refused(tmp_path):
    scores, people = cohort_of()
    scores.loc[3, "value"] = np.inf
    with pytest.raises(EvaluationError, match=r"1 of 300 values in .* are missing, NaN or infinite"):
        run((scores, people), tmp_path)


def test_without_a_time_asked_for_the_outcome_is_told_when_both_groups_are_large():
    from anomaly.evaluation.gathering import _telling

    years = pd.DataFrame(
        {"time": [1.0] * 30 + [2.0] * 30 + [8.0] + [5.0] * 50 + [8.5] * 2, "event": [1] * 61 + [0] * 52}
    )
    # By year 8, the last event, 61 have had it and 2 are left; by year 1 30 and 83; by year 2 60 and 53.
    assert _telling(years) == 2.0
    assert _telling(years.assign(event=1.0)) in years["time"].to_numpy()
    assert np.isnan(_telling(years.assign(event=0.0)))
