"""Scores of several visits: pairs, change, noise, lesions, outcomes, the latest score; and what users' tables hold."""

import json

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from looked_at import looked_at
from studies import calling

from anomaly import statistics
from anomaly.errors import CohortError, EvaluationError
from anomaly.evaluation.section import in_words
from anomaly.longitudinal import evaluate_visits
from anomaly.longitudinal.wording import wide
from anomaly.reporting import report

PERSONS = 40


def study(months=(0, 24), persons=PERSONS):
    """Two knees a person; those that progress rise by 2 in two years, all others by nothing; noise of 0.5."""
    rng, rows = np.random.default_rng(0), []
    for person in range(persons):
        age = int(rng.integers(45, 80))
        for side in ("left", "right"):
            level, worse = rng.normal(), int(rng.random() < 0.4)
            for month in months:
                value = level + worse * month / 12 + 0.5 * rng.normal()
                about = {"id": f"p{person:02d}-{side[0]}-{month}", "subject": f"p{person:02d}", "side": side}
                about |= {"month": month, "age": age, "progression": worse if month == 0 else None}
                rows.append(about | {"value": value, "baseline_intensity": rng.normal()})
    table = pd.DataFrame(rows)
    own = ["id", "value", "baseline_intensity"]
    return table[[*own[:1], "subject", *own[1:]]], table.drop(columns=own[1:])


@pytest.fixture
def told(tmp_path):
    """Evaluate scores beside a cohort, both as tables."""

    def run(tables, **asked):
        folder = tmp_path / "scores"
        folder.mkdir(exist_ok=True)
        tables[0].to_csv(folder / "scores.csv", index=False)
        return evaluate_visits(folder, tables[1], **{"visits": "month", "out": tmp_path / "out"} | asked)

    return run


def test_figures_are_those_of_the_statistics_on_pairs(told):
    scores, cohort = study()
    found = told((scores.sample(frac=1, random_state=1), cohort), outcome="progression")
    wide = scores.assign(month=cohort["month"], unit=cohort["subject"] + cohort["side"], sick=cohort["progression"])
    first, last = (wide[wide["month"] == month].set_index("unit") for month in (0, 24))
    change = last["value"] - first["value"]
    pairs = found.pairs.set_index(found.pairs["subject"] + found.pairs["side"])
    pd.testing.assert_series_equal(pairs["value_change"], change, check_names=False, check_like=True)
    row = found.section("change").table.iloc[0]
    assert (row["n"], row["persons"]) == (80, 40)
    assert row["change"] == pytest.approx(change.mean())
    assert row["change_per_time"] == pytest.approx(change.mean() / 2)  # 24 months: the column is called month
    stable = first.index[first["sick"] == 0]
    noise = statistics.repeatability(
        first.loc[stable, "value"], last.loc[stable, "value"], [name[:3] for name in stable]
    )
    least = found.section("noise").table.iloc[0]
    assert least["least_detectable"] == pytest.approx(noise.least_detectable.value)
    assert least["least_detectable_high"] == pytest.approx(noise.least_detectable.high)
    rose = (change > noise.least_detectable.value).sum()
    assert found.section("beyond").table.iloc[0]["rose_n"] == rose == (found.pairs["beyond"] == "rose").sum()
    area = statistics.auroc_interval(first["sick"], change[first.index], first["subject"], scale="logit")
    table = found.section("change_and_outcome").table.set_index("predictor")
    assert table.loc["change", ["auroc", "auroc_low"]].tolist() == pytest.approx([area.value, area.low])
    assert table.loc["change", "auroc"] > 0.9 > table.loc["first score", "auroc"]
    slope = found.section("slopes").table.query("model == 'independent'").set_index("slope of")["slope"]
    by_group = change.groupby(first["sick"]).mean() / 2
    assert slope["difference"] == pytest.approx(by_group[1] - by_group[0])


def test_what_is_written_can_be_read_and_reported(told, tmp_path):
    found = told(study(), outcome="progression", adjust="age")
    out = tmp_path / "out" / "visits_progression"
    assert found.out == out
    facts = json.loads((out / "evaluation.json").read_text(encoding="utf-8"))
    assert facts["headline"] == found.headline and facts["visits"] == "month"
    names = [each["name"] for each in facts["sections"]]
    assert names == ["change", "noise", "beyond", "change_and_outcome", "slopes"]
    assert len(pd.read_csv(out / "visits.csv")) == 80
    assert (out / "change.png").read_bytes()[:4] == b"\x89PNG"
    page = report(out).read_text(encoding="utf-8")
    for sentence in ("Of 80 pairs 27 have progression", "Least detectable change", "Slope of the score"):
        assert sentence in page
    assert "pairs" in looked_at(found)
    assert "covariates and both" in set(found.section("change_and_outcome").table["predictor"])


def test_persons_that_cannot_be_paired_are_named_and_the_rest_goes_on(told):
    scores, cohort = study()
    cohort["date"] = np.where(cohort["month"] == 0, "2020-01-01", "2022-01-01")
    cohort.loc[cohort["id"] == "p03-l-24", "date"] = "2019-01-01"
    cohort.loc[cohort["id"] == "p04-l-24", "date"] = "2020-01-01"
    keep = ~cohort["id"].isin(["p05-l-24", "p05-r-24", "p06-r-24"])
    found = told((scores[keep], cohort[keep]), date="date", outcome="progression")
    assert len(found.pairs) == 80 - 5
    said = " ".join(found.notes)
    assert "1 person has one visit only (p05); it tells no change" in said
    assert "visit 24 is dated before visit 0" in said and "two visits have one date" in said
    reasons = found.left_out.set_index("id")["reason"]
    assert reasons["p06-r-0"] == "there is no other visit of it with the same side"
    with pytest.raises(CohortError, match="nobody has two visits"):
        told((scores, cohort[cohort["month"] == 0]))
    with pytest.raises(EvaluationError, match="has no column 'wave'"):
        told((scores, cohort), visits="wave")


@pytest.mark.parametrize(
    ("figure", "said"),
    [
        ((0.00877, -2.04e-6, 0.0175), "+0.0088 (-0.0000 to +0.0175)"),
        ((16.94, 8.28, 25.4), "+16.9 (+8.3 to +25.4)"),
        ((1234.4, 1000, 1500), "+1234 (+1000 to +1500)"),
        ((0.5, np.nan, np.nan), "+0.500 (no interval with so few persons)"),
        ((1e-9, 0, 2e-9), "+1e-09 (+0 to +2e-09)"),
    ],
)
def test_figures_have_the_digits_of_their_intervals(figure, said):
    assert wide(statistics.Estimate(*figure, "")) == said


def test_a_p_value_near_a_twentieth_says_on_which_side_it_lies():
    assert [in_words(p) for p in (0.0501, 0.0499, 0.0384, 0.21)] == [
        "p = 0.0501",
        "p = 0.0499",
        "p = 0.038",
        "p = 0.21",
    ]


def test_changes_alone_need_no_outcome(told, tmp_path):
    found = told(study())
    assert found.out == tmp_path / "out" / "visits"
    assert [each.name for each in found.sections] == ["change", "slopes"]
    assert any("nothing says who did not change" in note for note in found.notes)
    assert report(found.out).is_file()


def test_rescans_tell_the_noise_and_are_no_follow_up(told):
    scores, cohort = study(months=(0, 1, 24))
    cohort["rescan"] = (cohort["month"] == 1).astype(int)
    found = told((scores, cohort), outcome="progression", stable="rescan")
    assert set(found.pairs["visit"]) == {"24"}
    row = found.section("noise").table.iloc[0]
    assert row["n"] == 80
    assert row["within"] == pytest.approx(0.5, rel=0.2)
    assert "rescans, as rescan says" in found.section("noise").sentences[0]
    # Persons known to be stable, named by a value: their first and last images, as far apart as those that are judged.
    cohort["group"] = np.where(cohort["subject"] < "p20", "healthy", "sick")
    again = told((scores, cohort), stable="group=healthy")
    assert again.section("noise").table.iloc[0]["n"] == 20 * 2
    with pytest.raises(EvaluationError, match="'group' is none of them in none of 240 images"):
        told((scores, cohort), stable="group=none of them")


def test_contradictory_outcomes_are_named_and_left_out(told):
    scores, cohort = study()
    cohort.loc[cohort["id"] == "p00-l-24", "progression"] = (
        1 - cohort.loc[cohort["id"] == "p00-l-0", "progression"].item()
    )
    found = told((scores, cohort), outcome="progression")
    assert any("1 have rows both with and without progression (p00 left)" in note for note in found.notes)
    assert found.section("change_and_outcome").table.iloc[0]["n"] == 79


def test_an_outcome_on_a_row_that_was_not_scored_counts(told):
    scores, cohort = study(months=(0, 12, 24))
    found = told((scores[cohort["month"] > 0], cohort), outcome="progression")
    assert found.section("change_and_outcome").table.iloc[0]["n"] == 80
    assert set(found.pairs["baseline_visit"]) == {"12"}


def test_an_outcome_of_each_visit_is_read_as_incidence(told):
    scores, cohort = study(months=(0, 12, 24, 36))
    rng = np.random.default_rng(3)
    value = scores["value"].to_numpy().reshape(-1, 4)
    chance = 1 / (1 + np.exp(2 - value))
    pain = np.maximum.accumulate((rng.random(value.shape) < chance) & (np.arange(4) > 0), axis=1).astype(float)
    pain[:5, 0] = 1
    found = told((scores, cohort.assign(pain=pain.reshape(-1))), outcome="pain")
    assert any("pain is told at each visit" in note for note in found.notes)
    assert found.section("change_and_outcome").table.iloc[0]["n"] == 75
    table = found.section("by_visit").table.set_index("figure")
    at_risk = pain[5:, :-1] == 0
    assert table.loc["odds_ratio", "rows"] == at_risk.sum()
    assert table.loc["odds_ratio", "events"] == (pain[5:, 1:][at_risk] == 1).sum()
    assert table.loc["odds_ratio", "estimate_low"] > 1


def test_the_latest_score_beside_times_and_those_still_free(told):
    scores, cohort = study()
    rng, first = np.random.default_rng(5), cohort["month"] == 0
    worse = cohort["progression"].fillna(0) == 1
    time = np.where(worse, rng.uniform(0.5, 4, len(cohort)), 4.0)
    cohort["time"], cohort["event"] = np.where(first, time, np.nan), np.where(first, worse, np.nan)
    found = told((scores, cohort), outcome="progression", time="time", event="event")
    events = int((worse & first).sum())
    by = found.section("by_visit").table.set_index("figure")
    assert by.loc["odds_ratio", "events"] == by.loc["hazard_ratio", "events"] == events
    early = int((first & worse & (time <= 2 + 0.1)).sum())
    assert f"Of the {events} with progression {early} had it by the last image" in " ".join(
        found.section("change_and_outcome").sentences
    )
    late = int((first & worse & (time <= 2 + 0.1)).sum())
    assert any(f"{late} images were taken at or after time" in note for note in found.notes)
    # In months, as nobody said.
    wrong = told((scores, cohort.assign(time=cohort["time"] * 12)), time="time", event="event")
    assert any("say which unit they are in: --time-unit" in note for note in wrong.notes)
    right = told((scores, cohort.assign(time=cohort["time"] * 12)), time="time", event="event", time_unit="months")
    again = right.section("by_visit").table.set_index("figure")
    assert again.loc["hazard_ratio", "estimate"] == pytest.approx(by.loc["hazard_ratio", "estimate"])


def test_years_without_the_event_are_counted_with_the_latest_image():
    from anomaly.longitudinal.following import Rows, _by_year

    class Seen:
        images = pd.DataFrame({"unit": [0, 0, 1, 2]})

    # One knee seen at 0 and 1.05 years, event at 2.5; one left at 1.9; one with its event within the first year.
    rows = Rows(np.array([0, 1, 2, 3]), np.array([0, 1.05, 0, 0]), np.array([1.05, 2.5, 1.9, 0.4]),
                np.array([False, True, False, True]))  # fmt: skip
    found = _by_year(Seen(), rows)  # type: ignore[arg-type]
    told = list(zip(found.image, found.begin, found.event, strict=True))
    assert told == [(0, 0, False), (1, 1, False), (1, 2, True), (2, 0, False), (3, 0, True)]


def write_map(file, values, size=1.5):
    file.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(values.astype(np.float32), np.diag([size, size, size, 1.0])), file)


def test_lesions_of_maps_are_followed(told, tmp_path):
    scores, cohort = study()
    for one in cohort.itertuples():
        values = np.zeros((8, 8, 4))
        values[1:3, 1:3, 1] = 5  # four voxels that stay
        if one.month == 24:
            values[5:7, 5, 1] = 5  # two that come
        write_map(tmp_path / "scores" / "heatmaps" / f"{one.id}.nii.gz", values)
    scores["heatmap"] = [f"heatmaps/{name}.nii.gz" for name in scores["id"]]
    (tmp_path / "scores" / "heatmaps" / "p00-l-0.nii.gz").write_bytes(b"nothing of the kind")
    write_map(tmp_path / "scores" / "heatmaps" / "p00-r-0.nii.gz", np.zeros((7, 8, 4)))
    found = told((scores, cohort), outcome="progression", limit=2.0)
    row = found.section("lesion_changes").table.iloc[0]
    assert (row["n"], row["lesions"], row["new"], row["stable"]) == (78, 156, 78, 78)
    assert (row["change"], row["unit"]) == (pytest.approx(2 * 1.5**3), "mm3")
    assert row["change_per_time"] == pytest.approx(1.5**3)  # two years apart
    loose = "Of 80 of 80 pairs nothing says that the later image was brought onto the first"
    assert any(loose in said for said in found.section("lesion_changes").sentences)
    large = told((scores, cohort), limit=2.0, smallest=3 * 1.5**3).section("lesion_changes").table.iloc[0]
    assert (large["new"], large["stable"]) == (0, 78)
    said = " ".join(found.notes)
    assert "different grids (p00-r-24): bring the maps of the later images onto the first by anomaly register" in said
    assert "1 maps could not be read" in said
    lesions = pd.read_csv(found.out / "lesions_by_visit.csv")
    assert len(lesions) == 156 and set(lesions["kind"]) == {"new", "stable"}
    without = told((scores, cohort))
    assert any(
        "no limit of the map was fixed on held-out normals; give one by --limit" in note for note in without.notes
    )


def test_follow_ups_that_were_registered_are_not_warned_of(told, tmp_path):
    scores, cohort = study()
    for name in scores["id"]:
        write_map(tmp_path / "scores" / "heatmaps" / f"{name}.nii.gz", np.eye(8)[:, :, None] * 5)
    scores["heatmap"] = [f"heatmaps/{name}.nii.gz" for name in scores["id"]]
    places = {0: "raw", 24: "out/registered"}
    scores["path"] = [
        f"../{places[month]}/{name}.nii.gz" for name, month in zip(scores["id"], cohort["month"], strict=True)
    ]
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "pairs.csv").write_text("id\n", encoding="utf-8")
    found = told((scores, cohort), limit=2.0)
    assert not any("nothing says that the later image" in each for each in found.section("lesion_changes").sentences)
    # The first images are as they were: the change is in part of interpolation.
    said = " ".join(found.section("change").sentences)
    assert "In 80 of 80 pairs (p00-l-24, p00-r-24, " in said and "one image was registered and the other not" in said
    scores["path"] = [f"../out/registered/{name}.nii.gz" for name in scores["id"]]
    said = " ".join(told((scores, cohort), limit=2.0).section("change").sentences)
    assert "registered" not in said


def test_a_visit_that_is_unlike_what_was_learned_is_told(told):
    scores, cohort = study()
    late = (cohort["month"] == 24).to_numpy()
    unlike = np.where(late & (np.arange(len(late)) % 10 != 1), "sharpness", "")
    said = " ".join(told((scores.assign(unlike=unlike), cohort)).section("change").sentences)
    assert f"Unlike all that was learned are 0 of 80 first images and {(unlike != '').sum()} of 80 last ones" in said
    # As often at both, or a few more: nothing is said.
    for few in (np.arange(len(late)) % 4 < 2, late & (np.arange(len(late)) < 16)):
        found = told((scores.assign(unlike=np.where(few, "sharpness", "")), cohort))
        assert not any("Unlike" in each for each in found.section("change").sentences)


def test_the_command_asks_for_visits(tmp_path, monkeypatch, capsys):
    scores, cohort = study()
    (tmp_path / "scores").mkdir()
    scores.to_csv(tmp_path / "scores" / "scores.csv", index=False)
    cohort.to_csv(tmp_path / "cohort.csv", index=False)
    run = calling(tmp_path, monkeypatch, capsys)
    asked = "evaluate scores --cohort cohort.csv --outcome progression"
    code, out, errors = run(f"{asked} --visits month")
    assert code == 0, errors
    assert out.startswith("Of 80 pairs") and "\nLeast detectable change\n" in out
    assert out.rstrip().endswith("scores/visits_progression/report.html")
    assert (tmp_path / "scores" / "index.html").is_file()
    refused = {
        "--stable month=0": "goes with --visits",
        "--limit 0": "goes with --visits",
        "--visits month --strata side": "single images",
        "--visits month --time-unit months": "goes with --time",
        "--visits month --outcome-at never": "expected visit or person",
    }
    for wrong, why in refused.items():
        code, _, errors = run(f"{asked} {wrong}")
        assert code == 2 and why in errors
    code, _, errors = run("evaluate scores --cohort cohort.csv --visits wave")
    assert code != 0 and "wave" in errors
