import json
import shutil

import numpy as np
import pandas as pd
import pytest
from looked_at import looked_at

from anomaly import statistics
from anomaly.cohorts.joining import SIMULATED
from anomaly.errors import EvaluationError
from anomaly.evaluation import discrimination, evaluate
from anomaly.statistics import metrics


@pytest.fixture
def tables(tmp_path):
    """Forty persons of two images each, twenty with the outcome; scores in another order than the cohort."""
    rng = np.random.default_rng(0)
    ids = [f"{person:03d}_{side}" for person in range(40) for side in "LR"]
    cohort = pd.DataFrame({"id": ids, "person": [name[:3] for name in ids], "progression": [1, 1, 0, 0] * 20})
    value = rng.normal(size=80) + cohort["progression"]
    scores = pd.DataFrame({"id": ids, "value": value, "flagged": value > 1.5, "baseline_mean": rng.normal(size=80)})
    return scores.sample(frac=1, random_state=1), cohort


def saved(table, folder, name="scores.csv"):
    folder.mkdir(parents=True, exist_ok=True)
    table.to_csv(folder / name, index=False)
    return folder / name


def run(tables, tmp_path, **settings):
    scores, cohort = tables
    return evaluate(
        saved(scores, tmp_path / "scores"),
        saved(cohort, tmp_path / "cohort", "cohort.csv"),
        **{"outcome": "progression", "out": tmp_path / "out"} | settings,
    )


def test_figures_are_those_of_the_statistics_on_the_joined_rows(tables, tmp_path):
    scores, cohort = tables
    found = run(tables, tmp_path, subject="person")
    joined = cohort.merge(scores, on="id")
    expected = statistics.auroc_interval(joined["progression"], joined["value"], joined["person"], scale="logit")
    row = found.table.iloc[0]
    assert (row["n"], row["events"], row["stratum"]) == (80, 40, "all")
    assert (row["auroc"], row["auroc_low"], row["auroc_high"]) == pytest.approx(
        (expected.value, expected.low, expected.high)
    )
    assert row["auroc_method"] == "DeLong, clustered by subject, logit scale, t"
    assert row["ap"] == pytest.approx(metrics.average_precision(joined["progression"], joined["value"]))
    assert row["sensitivity_at_90"] == pytest.approx(
        metrics.sensitivity_at_specificity(joined["progression"], joined["value"], 0.9)
    )
    controls = joined[joined["progression"] == 0]
    assert row["flagged_share"] == pytest.approx(controls["flagged"].mean())
    share = statistics.proportion(controls["flagged"], controls["person"])
    assert row["flagged_share_high"] == pytest.approx(share.high)


def test_files_are_written_and_agree_with_what_is_returned(tables, tmp_path):
    found = run(tables, tmp_path)
    out = tmp_path / "out" / "progression"
    assert out == found.out
    assert {file.name for file in out.iterdir()} == {
        "evaluation.csv",
        "comparison.csv",
        "evaluated.csv",
        "evaluation.json",
        "roc.png",
        "distribution.png",
        *("comparison.png", "odds.csv", "odds.png", "thirds.csv", "thirds.png", "calibration.csv", "calibration.png"),
    }
    written = pd.read_csv(out / "evaluation.csv")
    assert list(written["score"]) == ["value", "baseline_mean"]
    assert list(written)[:9] == [
        *("score", "outcome", "stratum", "n", "events", "auroc", "auroc_low", "auroc_high", "auroc_method")
    ]
    facts = json.loads((out / "evaluation.json").read_text(encoding="utf-8"))
    assert facts["headline"] == found.headline
    assert facts["evaluation"][0]["auroc"] == pytest.approx(written["auroc"][0], abs=1e-12)
    assert facts["evaluation"][1]["flagged_share"] is None
    assert (out / "roc.png").read_bytes().startswith(b"\x89PNG")


def test_without_a_subject_column_the_interval_is_plain_and_says_so(tables, tmp_path):
    found = run(tables, tmp_path)
    assert found.table["auroc_method"][0] == "DeLong, logit scale, t"
    assert any("plain DeLong: no subject is named" in note for note in found.notes)


def test_persons_with_several_images_are_clustered_without_being_asked(tables, tmp_path):
    scores, cohort = tables
    found = run((scores, cohort.rename(columns={"person": "subject"})), tmp_path)
    assert found.table["auroc_method"][0] == "DeLong, clustered by subject, logit scale, t"
    assert any("as some persons have several images: 80 images of 40 persons" in note for note in found.notes)
    from_scores = scores.assign(subject=scores["id"].str[:3])
    again = run((from_scores, cohort), tmp_path)
    assert again.table["auroc_low"][0] == found.table["auroc_low"][0]


def test_one_image_a_subject_is_plain(tables, tmp_path):
    scores, cohort = tables
    found = run((scores, cohort.assign(subject=cohort["id"])), tmp_path)
    assert found.table["auroc_method"][0] == "DeLong, logit scale, t"
    assert any("no two of the 80 images share a subject name (subjects may" in note for note in found.notes)


def test_the_scale_of_the_interval_reaches_the_table(tables, tmp_path):
    found = run(tables, tmp_path, scale="plain")
    assert found.table["auroc_method"][0] == "DeLong"


def test_comparison_is_paired_over_the_images_both_scored(tables, tmp_path):
    scores, cohort = tables
    other = scores.assign(value=scores["value"] + np.random.default_rng(3).normal(size=80)).iloc[:70]
    file = saved(other, tmp_path / "second")
    found = run(tables, tmp_path, subject="person", compare=[file])
    assert list(found.table["score"]) == ["value", "second", "baseline_mean"]
    assert list(found.table["n"]) == [80, 70, 80]
    pairs = found.comparison
    assert list(zip(pairs["score_a"], pairs["score_b"], strict=True)) == [
        ("value", "second"),
        ("value", "baseline_mean"),
        ("second", "baseline_mean"),
    ]
    both = cohort.merge(scores, on="id").merge(other[["id", "value"]], on="id", suffixes=("", "_second"))
    expected = statistics.compare_aurocs(both["progression"], both["value"], both["value_second"], both["person"])
    assert (pairs["difference"][0], pairs["z"][0]) == pytest.approx((expected.difference, expected.z))
    # Holm over three: the smallest p counts three times.
    assert pairs["p_holm"].min() == pytest.approx(min(1, 3 * pairs["p_value"].min()))
    assert any("10 images have no score in second" in note for note in found.notes)


def test_the_headline_sets_the_score_beside_the_best_trivial_one(tables, tmp_path):
    scores, cohort = tables
    noise = np.random.default_rng(4).normal(size=(2, 80))
    event = scores["id"].map(cohort.set_index("id")["progression"])
    floors = {"baseline_intensity": noise[0], "baseline_mean_image": noise[1] + event}
    scores = scores.drop(columns="baseline_mean").assign(value=noise[1] + 3 * event, **floors)
    found = run((scores, cohort), tmp_path)
    best = found.table.set_index("score").loc["baseline_mean_image"]
    expected = statistics.compare_aurocs(event, scores["value"], scores["baseline_mean_image"])
    assert expected.low > 0
    assert found.headline.endswith(
        f"times in 100; the best trivial score, distance from the mean image, reaches {best['auroc']:.2f}: "
        f"difference {expected.difference:+.2f} ({expected.low:.2f} to {expected.high:.2f})."
    )
    assert run((scores.drop(columns=list(floors)), cohort), tmp_path).headline.endswith("times in 100.")


@pytest.mark.parametrize(
    ("difference", "low", "high", "expected"),
    [
        (0.066, 0.02, 0.12, "the best trivial score, mean brightness, reaches 0.82: difference +0.07 (0.02 to 0.12)"),
        (0.03, -0.001, 0.06, "not shown to be better than the best trivial score, mean brightness, which reaches "
                             "0.82: difference +0.03 (0.00 to 0.06)"),
        (-0.05, -0.08, -0.02, "no better than the best trivial score, mean brightness, which reaches 0.82: "
                              "difference -0.05 (-0.08 to -0.02)"),
    ],
)  # fmt: skip
def test_the_headline_does_not_call_better_what_is_not(difference, low, high, expected):
    rows = [
        {"score": "value", "auroc": 0.8, "n": 80},
        {"score": "baseline_intensity", "auroc": 0.82, "n": 80},
        {"score": "baseline_mean_image", "auroc": 0.7, "n": 80},
    ]
    pair = {"score_a": "value", "difference": difference, "low": low, "high": high}
    pairs = pd.DataFrame([{**pair, "score_b": "baseline_mean_image", "low": 9}, {**pair, "score_b": rows[1]["score"]}])
    assert discrimination.against_trivial(rows, pairs) == expected


def test_a_baseline_that_points_the_other_way_is_judged_reversed(tables, tmp_path):
    scores, cohort = tables
    floor = scores["value"] - 0.005 * np.arange(80)
    straight = run((scores.assign(baseline_mean=floor), cohort), tmp_path)
    turned = run((scores.assign(baseline_mean=-floor), cohort), tmp_path)
    assert list(turned.table["score"]) == ["value", "baseline_mean_reversed"]
    assert turned.table["auroc"][1] == straight.table["auroc"][1] > 0.5
    assert turned.comparison["score_b"][0] == "baseline_mean_reversed"
    assert turned.comparison["difference"][0] == straight.comparison["difference"][0]
    assert "best trivial score, mean (reversed), " in turned.headline and "(reversed)" not in straight.headline
    assert any(note.startswith("baseline_mean is lower with the outcome") for note in turned.notes)


def test_another_score_in_a_folder_called_baseline_is_not_taken_for_trivial(tables, tmp_path):
    scores, cohort = tables
    file = saved(scores, tmp_path / "baseline_pca")
    found = run((scores.drop(columns="baseline_mean"), cohort), tmp_path, compare=[file])
    assert list(found.table["score"]) == ["value", "pca"]
    assert "trivial" not in found.headline


def test_every_interval_names_its_method(tables, tmp_path):
    row = run(tables, tmp_path, subject="person", seed=3).table.iloc[0]
    draws = "bootstrap of subjects (percentile, 2,000 draws, seed 3)"
    assert row["ap_method"] == "influence of subjects, logit scale, t"
    assert row["sensitivity_at_90_method"] == draws
    # A threshold that fewer than 30 persons set is not known.
    assert row["sensitivity_at_95_method"].startswith("no interval: ") and np.isnan(row["sensitivity_at_95_low"])
    assert row["flagged_share_method"] == "Wilson, effective number of subjects"


def test_scores_of_subjects_of_training_are_named(tables, tmp_path):
    scores, _ = tables
    other = saved(scores, tmp_path / "other")
    for allowed in (False, True):
        (other.parent / "score.json").write_text(json.dumps({"allow_overlap": allowed}), encoding="utf-8")
        notes = run(tables, tmp_path, compare=[other]).notes
        assert [str(other) in note for note in notes if "too low" in note] == [True] * allowed


def test_a_subject_called_na_or_007_keeps_its_name(tables, tmp_path):
    scores, cohort = tables
    names = cohort["person"].replace({"000": "NA", "001": "7", "003": "None"})
    named = cohort.assign(person=names)
    expected = run(tables, tmp_path, subject="person")
    found = run((scores, named), tmp_path, subject="person")
    assert set(found.images["subject"]) >= {"NA", "7", "007", "None"}
    assert found.table["auroc_low"][0] == expected.table["auroc_low"][0]
    with pytest.raises(EvaluationError, match="2 images have no person"):
        run((scores, named.assign(person=names.replace("NA", ""))), tmp_path, subject="person")


def test_images_that_do_not_join_are_counted_and_named(tables, tmp_path):
    scores, cohort = tables
    found = run((scores, cohort.iloc[5:].reset_index(drop=True)), tmp_path)
    assert found.table["n"][0] == 75
    note = next(note for note in found.notes if "no row in the cohort" in note)
    assert note.startswith("5 scored images")
    assert note.count("00") >= 3 and note.endswith(", ...).")


def test_nothing_joined_is_an_error_that_shows_both_sides(tables, tmp_path):
    scores, cohort = tables
    with pytest.raises(EvaluationError, match=r"none of 80 scores joins .* the cohort x000_L, x000_R, x001_L"):
        run((scores, cohort.assign(id="x" + cohort["id"])), tmp_path)


def test_ids_keep_their_zeros(tables, tmp_path):
    scores, cohort = tables
    numbers = {name: f"{place:04d}" for place, name in enumerate(cohort["id"])}
    renamed = [table.assign(id=table["id"].map(numbers)) for table in (scores, cohort)]
    assert run(renamed, tmp_path).images["id"].min() == "0000"


def test_a_cohort_without_ids_joins_on_the_path_or_a_unique_file_name(tables, tmp_path):
    scores, cohort = tables
    scored = scores.assign(path=[str(tmp_path / "cohort" / "images" / f"{name}.png") for name in scores["id"]])
    listed = cohort.assign(path=[f"images/{name}.png" for name in cohort["id"]])
    expected = run(tables, tmp_path).table["auroc"][0]
    whole = run((scored, listed.drop(columns="id")), tmp_path)
    assert whole.table["auroc"][0] == expected
    moved = listed.assign(path=[f"elsewhere/{name}.png" for name in cohort["id"]])
    by_name = run((scored, moved.drop(columns="id")), tmp_path)
    assert by_name.table["auroc"][0] == expected
    same_names = moved.assign(path=[f"{name}/image.png" for name in cohort["id"]])
    with pytest.raises(EvaluationError, match="joins the cohort on path"):
        run((scored, same_names.drop(columns="id")), tmp_path)


def test_missing_outcomes_are_counted_and_named(tables, tmp_path):
    scores, cohort = tables
    outcome = cohort["progression"].astype(float)
    outcome[:4] = np.nan
    found = run((scores, cohort.assign(progression=outcome)), tmp_path)
    assert found.table["n"][0] == 76
    assert any(note.startswith("Of 4 images progression is not known") and "00" in note for note in found.notes)


def test_text_outcomes_need_the_event_named(tables, tmp_path):
    scores, cohort = tables
    worded = cohort.assign(progression=cohort["progression"].map({0: "normal", 1: "pneumonia"}))
    with pytest.raises(EvaluationError, match=r"\(normal, pneumonia\).*--positive pneumonia"):
        run((scores, worded), tmp_path)
    with pytest.raises(EvaluationError, match="holds normal, pneumonia, never 'Pneumonia'"):
        run((scores, worded), tmp_path, positive="Pneumonia")
    found = run((scores, worded), tmp_path, positive="pneumonia")
    assert found.table["auroc"][0] == run(tables, tmp_path).table["auroc"][0]
    assert "with progression pneumonia" in found.headline


def test_booleans_and_numbers_serve_as_outcomes(tables, tmp_path):
    scores, cohort = tables
    expected = run(tables, tmp_path).table["auroc"][0]
    yes = cohort["progression"] == 1
    assert run((scores, cohort.assign(progression=yes)), tmp_path).table["auroc"][0] == expected
    graded = cohort.assign(progression=np.where(yes, 3.0, 1.0))
    assert run((scores, graded), tmp_path, positive="3").table["auroc"][0] == expected
    with pytest.raises(EvaluationError, match=r"holds 2 values \(1, 3\)"):
        run((scores, graded), tmp_path)


def test_more_than_two_values_name_their_controls(tables, tmp_path):
    scores, cohort = tables
    finding = ["virus", "bacteria", "normal", "normal"] * 20
    found = run((scores, cohort.assign(progression=finding)), tmp_path, positive="virus")
    assert found.table["events"][0] == 20
    assert any("not virus: bacteria, normal" in note for note in found.notes)


@pytest.mark.parametrize(
    ("outcome", "message"),
    [
        ([1] * 9 + [0] * 71, "9 events and 71 controls"),
        ([1] * 71 + [0] * 9, "71 events and 9 controls"),
        ([0] * 80, "0 events and 80 controls"),
    ],
)
def test_too_few_of_a_kind_is_an_error(tables, tmp_path, outcome, message):
    scores, cohort = tables
    with pytest.raises(EvaluationError, match=message):
        run((scores, cohort.assign(progression=outcome)), tmp_path)
    assert not (tmp_path / "out").exists()


def test_equal_scores_get_a_plain_sentence(tables, tmp_path):
    scores, cohort = tables
    found = run((scores.assign(value=2.0), cohort), tmp_path)
    assert (found.table["auroc"][0], found.table["p_value"][0]) == (0.5, 1.0)
    assert any("All scores of value are equal" in note for note in found.notes)


def test_scores_that_are_no_numbers_are_counted_and_named(tables, tmp_path):
    scores, cohort = tables
    value = scores["value"].copy()
    value.iloc[[0, 1]] = [np.nan, np.inf]
    first, second = scores["id"].iloc[:2]
    with pytest.raises(EvaluationError, match=f"2 of 80 values .* \\({first}, {second}\\)"):
        run((scores.assign(value=value), cohort), tmp_path)
    found = run((scores.assign(baseline_mean=value), cohort), tmp_path)
    assert list(found.table["score"]) == ["value"]
    assert any("baseline_mean was left out: 2" in note for note in found.notes)


def test_tables_that_cannot_be_used_are_told(tables, tmp_path):
    scores, cohort = tables
    for settings, message in [
        ({"outcome": "pain"}, "no column 'pain'; it has id, person, progression"),
        ({"subject": "name"}, "neither the cohort nor the scores have a column 'name'"),
    ]:
        with pytest.raises(EvaluationError, match=message):
            run(tables, tmp_path, **settings)
    for broken, message in [
        ((scores.drop(columns="value"), cohort), "needs the columns id and value"),
        ((pd.concat([scores, scores.iloc[:1]]), cohort), "1 ids stand on several rows"),
        ((scores, pd.concat([cohort, cohort.iloc[:2]])), "2 ids stand on several rows of the cohort"),
        ((scores, cohort.drop(columns="id")), r"needs a column id \(or path\)"),
        ((scores, cohort.assign(subject=[None] * 3 + ["a"] * 77)), "3 images have no subject"),
    ]:
        with pytest.raises(EvaluationError, match=message):
            run(broken, tmp_path)
    with pytest.raises(EvaluationError, match="there is no scores table"):
        evaluate(tmp_path / "none.csv", cohort, outcome="progression", out=tmp_path)


def test_a_table_in_memory_and_a_folder_of_scores_serve_as_well(tables, tmp_path):
    scores, cohort = tables
    folder = saved(scores, tmp_path / "scores").parent
    found = evaluate(folder, cohort, outcome="progression", out=tmp_path / "out")
    assert found.table["auroc"][0] == run(tables, tmp_path).table["auroc"][0]


def test_same_seed_same_files(tables, tmp_path):
    run(tables, tmp_path)
    first = (tmp_path / "out" / "progression" / "evaluation.csv").read_bytes()
    run(tables, tmp_path)
    assert (tmp_path / "out" / "progression" / "evaluation.csv").read_bytes() == first


def test_what_was_found_is_shown_in_five_lines_without_its_tables(tables, tmp_path):
    found = run(tables, tmp_path, subject="person", out=tmp_path / "<script>")
    shutil.rmtree(found.out)
    told = looked_at(found)
    assert list(told) == ["", "beside it", "images", "sections", "folder"]
    row = found.table.iloc[0]
    figure = f"{row['auroc']:.2f} (95 % {row['auroc_low']:.2f}–{row['auroc_high']:.2f}, {row['auroc_method']})"
    assert told[""] == f"AUROC {figure}"
    assert "the best trivial score" in told["beside it"]
    assert found.headline.startswith(told[""]) and found.headline.endswith(f"; {told['beside it']}.")
    assert told["images"] == "80 of 40 persons, 40 with the outcome"
    assert told["sections"].startswith("comparison, odds, thirds, calibration; ") and told["sections"].endswith(
        " notes"
    )
    assert told["folder"] == str(tmp_path / "<script>" / "progression")
    assert found.images["id"][0] not in repr(found)


def test_an_evaluation_without_a_trivial_score_has_nothing_beside_it(tables, tmp_path):
    scores, cohort = tables
    found = run((scores.drop(columns="baseline_mean"), cohort.assign(simulated=1)), tmp_path)
    told = looked_at(found)
    assert "beside it" not in told and told["images"] == "80, 40 with the outcome"
    assert SIMULATED in found.notes and told["sections"].endswith("; these images are SIMULATED")


def test_a_section_shows_its_first_sentence_and_not_its_table(tables, tmp_path):
    section = run(tables, tmp_path).section("odds")
    told = looked_at(section)
    assert told[""] == section.title and told["found"] == section.sentences[0]
    assert told["table"].startswith(f"{len(section.table)} rows: ") and told["figure"].startswith("a PNG of ")


def test_with_few_persons_no_interval_is_told_and_never_nan(tmp_path):
    rng = np.random.default_rng(0)
    persons = np.repeat([f"p{k}" for k in range(8)], 10)
    sick = np.tile([0, 1], 40)
    ids = [f"i{k}" for k in range(80)]
    scores = pd.DataFrame({"id": ids, "path": ids, "subject": persons, "value": sick + rng.normal(size=80)})
    scores["baseline_intensity"] = rng.normal(size=80)
    scores.to_csv(tmp_path / "scores.csv", index=False)
    cohort = pd.DataFrame({"id": ids, "subject": persons, "sick": sick, "age": rng.normal(60, 5, 80)})
    found = evaluate(tmp_path / "scores.csv", cohort, outcome="sick", subject="subject", adjust=["age"], out=tmp_path)
    said = " ".join([found.headline, *found.notes, *(line for each in found.sections for line in each.sentences)])
    assert "no interval" in found.headline and "nan" not in said.lower().split() and "nan to nan" not in said
    assert found.table["auroc"].notna().all() and found.table["auroc_low"].isna().all()
