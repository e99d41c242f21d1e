"""The simulated study of knees: rates, what causes what, outcomes that follow their rules, files that are the same."""

import filecmp
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from studies import ROOT

from anomaly.cohorts.cohort import read_cohort
from anomaly.errors import CohortError
from anomaly.images import read
from anomaly.simulation.confounding import Confounding
from anomaly.simulation.knee_files import FLAGS, WHITE
from anomaly.simulation.knees import simulate_knees
from anomaly.simulation.population import FINDINGS, draw_population
from anomaly.simulation.truth import COVARIATES, expected, facts
from anomaly.statistics.logistic import fitted
from anomaly.statistics.metrics import auroc


@pytest.fixture(scope="module")
def study():
    return draw_population(5000, seed=11)


@pytest.fixture(scope="module")
def first(study):
    """Rows at baseline, with the loss until the end beside."""
    end = study[study["visit"] == 48].reset_index(drop=True)
    return study[study["visit"] == 0].reset_index(drop=True).assign(final_loss=end["loss"])


def known(first, outcome):
    rows = first[first[outcome].notna()]
    return rows, rows[outcome].astype(float).to_numpy()


def test_rates_are_those_of_a_study_of_knees(first):
    assert first["pain"].mean() == pytest.approx(0.35, abs=0.06)
    for outcome in ("progression", "incidence"):
        assert known(first, outcome)[1].mean() == pytest.approx(0.18, abs=0.06)
    assert first["normal"].mean() == pytest.approx(0.32, abs=0.06)
    assert first["age"].between(45, 79).all() and first["sex"].isin((0, 1)).all()


def test_both_knees_share_their_severity(first):
    right, left = (first.loc[first["knee"] == knee, "severity"].to_numpy() for knee in (0, 1))
    assert np.corrcoef(right, left)[0, 1] == pytest.approx(0.6, abs=0.05)


@pytest.mark.parametrize(
    ("outcome", "low", "high"), [("progression", 0.75, 0.85), ("incidence", 0.7, 0.82), ("pain", 0.75, 0.87)]
)
def test_the_ceiling_and_the_floor_are_apart(first, outcome, low, high):
    rows, event = known(first, outcome)
    site = {"sites": 3, "population": draw_population.__kwdefaults__["population"]}
    oracle = auroc(event, expected(rows, outcome, (*FINDINGS, *COVARIATES), **site))
    covariates = auroc(event, expected(rows, outcome, COVARIATES, **site))
    assert low < oracle < high
    assert 0.5 < covariates < 0.65


def test_osteophytes_are_seen_and_harm_nobody(first):
    rows, event = known(first, "progression")
    assert (rows["osteophytes"] > 0).mean() > 0.08
    matrix = rows[["effusion", "marrow", "thinning", "osteophytes", "age", "bmi", "sex"]].to_numpy(dtype=float)
    scaled = (matrix - matrix.mean(axis=0)) / matrix.std(axis=0)
    weights = fitted(event, np.column_stack([scaled, np.ones(len(scaled))]))
    # The standard error of a weight is about 0.03; marrow lesions weigh ten times that.
    assert abs(weights[3]) < 0.1 < 0.3 < weights[1]
    # What they tell, they tell by age alone.
    assert 0.49 < auroc(event, rows["osteophytes"]) < auroc(event, rows["age"]) < 0.6


def test_progression_is_loss_beyond_the_limit_seen_at_a_visit(study, first):
    wide = study.pivot(index=["person", "knee"], columns="visit", values=["loss", "attended"])
    beyond = (wide["loss"].astype(float) > 0.3) & wide["attended"].astype(bool)
    stayed = wide["attended"][48].astype(bool)
    expected = np.where(beyond.any(axis=1), 1.0, np.where(stayed, 0.0, np.nan))
    given = first.set_index(["person", "knee"])["progression"].astype(float)
    np.testing.assert_array_equal(given.reindex(wide.index), expected)


def test_times_agree_with_progression(first):
    rows = first[["progression", "time", "event"]].astype(float)
    assert (rows.loc[rows["event"] == 1, "progression"] == 1).all()
    assert (rows.loc[rows["event"] == 1, "time"].between(1, 4)).all()
    assert (rows.loc[rows["progression"] == 0, "time"] == 4).all()
    left = rows[rows["progression"].isna()]
    assert len(left) > 100 and (left["event"] == 0).all() and (left["time"] < 4).all()


def test_incidence_is_asked_of_painless_knees_alone(study, first):
    pain = study.pivot(index=["person", "knee"], columns="visit", values="pain")
    came = study.pivot(index=["person", "knee"], columns="visit", values="attended")
    given = first.set_index(["person", "knee"])["incidence"].astype(float).reindex(pain.index)
    assert given[pain[0] == 1].isna().all()
    later = ((pain[[24, 36, 48]] == 1) & came[[24, 36, 48]]).any(axis=1)
    assert (given[(pain[0] == 0) & later] == 1).all()
    assert (given[(pain[0] == 0) & ~later & came[48]] == 0).all()
    assert given[(pain[0] == 0) & ~later & ~came[48]].isna().all()


def test_pairs_follow_the_rule(first):
    womac = first.pivot(index="person", columns="knee", values="womac")
    paired = ((womac[0] - womac[1]).abs() >= 4) & (womac.min(axis=1) == 0)
    given = first.pivot(index="person", columns="knee", values="pair")
    assert (given[0].notna() == paired).all()
    assert (given[0][paired] == given[1][paired]).all() and given[0][paired].is_unique


def test_outcomes_stand_at_baseline_only(study):
    later = study[study["visit"] > 0]
    assert later[["pair", "progression", "incidence", "time", "event"]].isna().all(axis=None)


def test_who_left_does_not_return_and_the_old_leave_sooner(study):
    came = study[study["knee"] == 0].pivot(index="person", columns="visit", values="attended")
    assert came[0].all() and (came.astype(int).diff(axis=1).iloc[:, 1:] <= 0).all(axis=None)
    assert 0.08 < 1 - came[48].mean() < 0.3
    age = study[study["visit"] == 0].drop_duplicates("person").set_index("person")["age"]
    assert age[~came[48]].mean() > age[came[48]].mean()


def test_the_normal_have_nothing_and_two_thirds_of_them_are_to_learn_from(first):
    normal = first[first["normal"] == 1]
    assert (normal[["womac", *FINDINGS]] == 0).all(axis=None)
    assert (normal["split"] == "train").mean() == pytest.approx(2 / 3, abs=0.001)
    assert (first.loc[first["normal"] == 0, "split"] == "test").all()
    assert (first.groupby("person")["split"].nunique() == 1).all()


def test_more_persons_leave_the_first_as_they_were(study):
    fewer = draw_population(50, seed=11)
    columns = [name for name in fewer if name not in ("split", "pair")]
    pd.testing.assert_frame_equal(fewer[columns], study.head(len(fewer))[columns])


def test_the_truth_counts_what_it_rests_on(first):
    told = facts(first.assign(mean_intensity=0.0), sites=3)
    rows, event = known(first[first["split"] == "test"], "progression")
    figures = told["outcomes"]["progression"]["test"]
    assert (figures["knees"], figures["events"]) == (len(rows), int(event.sum()))
    assert figures["auroc"]["marrow"] == pytest.approx(auroc(event, rows["marrow"]), abs=1e-4)
    assert figures["auroc"]["mean_intensity"] == 0.5


def of_persons(study, sites, follows="effusion"):
    """Of each person the site, and whether a knee has it at baseline."""
    first = study.assign(site=sites)[study["visit"] == 0].groupby("person")
    assert (first["site"].nunique() == 1).all()
    return first["site"].first().to_numpy(), (first[follows].max() > 0).to_numpy()


@pytest.mark.parametrize("odds", [20.0, 0.1])
def test_scanners_go_with_the_outcome_to_the_degree_asked_for(study, odds):
    sites, has = of_persons(
        study, Confounding(scanner_odds=odds, scanner_follows="effusion").sites(study, seed=11, sites=3)
    )
    there = sites == 2
    found = (there[has].sum() * (~there)[~has].sum()) / ((~there)[has].sum() * there[~has].sum())
    counts = [part.sum() for part in (there[has], ~there[has], there[~has], ~there[~has])]
    assert abs(np.log(found / odds)) < 3.3 * np.sqrt(sum(1 / count for count in counts))
    assert (sites[~there] == 0).mean() == pytest.approx(0.5, abs=0.04)


def test_without_odds_scanners_stay_as_drawn_and_more_persons_leave_the_first(study):
    np.testing.assert_array_equal(Confounding().sites(study, seed=11, sites=3), study["site"])
    fewer = draw_population(50, seed=11)
    follows = Confounding(scanner_odds=5.0, scanner_follows="pain")
    np.testing.assert_array_equal(
        follows.sites(fewer, seed=11, sites=3), follows.sites(study, seed=11, sites=3)[: len(fewer)]
    )


# Files


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("knees") / "a"
    simulate_knees(out, persons=12, size=48, twins=True, seed=5, workers=1)
    return out


def files(folder):
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())


def test_the_same_seed_gives_the_same_bytes_whatever_the_number_of_workers(folder, tmp_path):
    simulate_knees(tmp_path / "b", persons=12, size=48, twins=True, seed=5, workers=2)
    assert files(folder) == files(tmp_path / "b")
    assert not [name for name in files(folder) if not filecmp.cmp(folder / name, tmp_path / "b" / name, shallow=False)]
    simulate_knees(tmp_path / "c", persons=12, size=48, seed=6, workers=1)
    assert (tmp_path / "c" / "cohort.csv").read_bytes() != (folder / "cohort.csv").read_bytes()


def test_the_table_reads_as_a_cohort_does(folder):
    healthy = read_cohort(folder / "cohort.csv", where={"split": "train", "visit": "0"})
    assert len(healthy) > 1 and healthy["subject"].nunique() * 2 == len(healthy)
    everyone = read_cohort(folder / "cohort.csv")
    assert everyone["id"].str.match(r"sim\d{4}-[RL]-m\d\d").all() and (everyone["simulated"] == 1).all()


def test_masks_and_twins_are_those_of_the_findings(folder):
    table = pd.read_csv(folder / "cohort.csv")
    for row in table.itertuples():
        image, twin = (read(folder / path).pixels[0] for path in (row.path, row.twin))
        flags = read(folder / row.masks).pixels[0].astype(int)
        for name in ("effusion", "marrow"):
            assert ((flags & FLAGS[name]) > 0).any() == (getattr(row, f"true_{name}") > 0.1) or getattr(
                row, f"true_{name}"
            ) < 0.3
        hurts = row.true_effusion > 0 or row.true_marrow > 0
        assert (np.abs(image - twin).max() > 0) == hurts
        assert row.twin_difference == pytest.approx(np.abs(image - twin).mean(), abs=1e-6)
        assert image.max() < 255 and image.max() > 100 / WHITE


def test_the_truth_stands_beside(folder):
    truth = json.loads((folder / "truth.json").read_text(encoding="utf-8"))
    assert set(truth["outcomes"]) == {"progression", "incidence", "pain"}
    assert truth["settings"]["seed"] == 5
    assert (folder / "preview.png").stat().st_size > 5000
    assert "SIMULATED" in (folder / "README.txt").read_text(encoding="utf-8")


def test_what_is_there_is_not_drawn_again(folder):
    before = {name: (folder / name).stat().st_mtime_ns for name in files(folder) if name.parts[0] == "images"}
    lost = folder / next(iter(before))
    content = lost.read_bytes()
    lost.unlink()
    simulate_knees(folder, persons=12, size=48, twins=True, seed=5, workers=1)
    after = {name: (folder / name).stat().st_mtime_ns for name in before}
    assert [name for name in before if before[name] != after[name]] == [lost.relative_to(folder)]
    assert lost.read_bytes() == content


def test_an_older_folder_gets_its_label_maps_and_keeps_the_rest(tmp_path):
    asked = {"persons": 10, "size": 32, "image_months": (0,), "seed": 5, "workers": 1}
    simulate_knees(tmp_path, **asked)
    whole = {name: (tmp_path / name).read_bytes() for name in files(tmp_path)}
    shutil.rmtree(tmp_path / "labels")
    (tmp_path / "cohort.csv").unlink()
    drawn_before = {name: (tmp_path / name).stat().st_mtime_ns for name in files(tmp_path) if len(name.parts) == 2}
    simulate_knees(tmp_path, **asked)
    assert {name: (tmp_path / name).stat().st_mtime_ns for name in drawn_before} == drawn_before
    assert {name: (tmp_path / name).read_bytes() for name in files(tmp_path)} == whole


def test_a_scanner_that_follows_an_outcome_is_told_everywhere_and_changes_the_scan_alone(folder, tmp_path):
    settings = {"scanner_odds": 1e6, "scanner_follows": "effusion"}
    simulate_knees(tmp_path, persons=12, size=48, twins=True, seed=5, workers=1, **settings)
    before, after = (pd.read_csv(place / "cohort.csv") for place in (folder, tmp_path))
    has = after["subject"].isin(after.loc[(after["visit"] == 0) & (after["true_effusion"] > 0), "subject"])
    assert 0 < has.mean() < 1
    np.testing.assert_array_equal(after["site"] == "C", has)
    # Who they are and what they have is the same; which scan differs is told by the site.
    changed = (before["site"] != after["site"]).to_numpy()
    columns = [name for name in before if name not in ("site", "twin_difference")]
    pd.testing.assert_frame_equal(before[columns], after[columns])
    assert 0 < changed.mean() < 1
    for path, new in zip(after["path"], changed, strict=True):
        assert filecmp.cmp(folder / path, tmp_path / path, shallow=False) != new
    old, told = (json.loads((place / "truth.json").read_text(encoding="utf-8")) for place in (folder, tmp_path))
    assert not {"scanner", *settings} & {*old, *old["settings"]}
    assert told["settings"] == {**old["settings"], **settings}
    scanner = {"scanner": "C", **settings, "share_with": 1.0, "share_without": 0.0}
    assert scanner.items() <= told["scanner"].items()
    assert "Who was scanned where was drawn last" in (tmp_path / "README.txt").read_text(encoding="utf-8")
    assert "Who was scanned" not in (folder / "README.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("dims", [2, 3])
def test_label_maps_say_what_a_pixel_is_and_findings_win(tmp_path, dims):
    simulate_knees(tmp_path, persons=10, dims=dims, size=32, image_months=(0,), seed=5, workers=1)
    table = pd.read_csv(tmp_path / "cohort.csv")
    told = json.loads((tmp_path / "truth.json").read_text(encoding="utf-8"))["labels"]
    assert told == {"bone": 1, "cartilage": 2, "meniscus": 3, "muscle": 4, "fat": 5, "effusion": 6, "marrow": 7}
    held = set()
    for row in table.itertuples():
        image, flags, labels = (read(tmp_path / path) for path in (row.path, row.masks, row.labels))
        assert labels.pixels.shape == image.pixels.shape and np.array_equal(labels.affine, image.affine)
        held |= set(np.unique(labels.pixels).astype(int).tolist())
        effusion, marrow = ((flags.pixels.astype(int) & FLAGS[name]) > 0 for name in ("effusion", "marrow"))
        np.testing.assert_array_equal(labels.pixels == 7, marrow)
        np.testing.assert_array_equal(labels.pixels == 6, effusion & ~marrow)
    assert held == set(range(8))
    shares = [(read(tmp_path / path).pixels == 1).mean() for path in table["labels"]]
    assert min(shares) > 0.1  # bone is a good part of every knee


def test_volumes_have_a_real_affine_and_sides(tmp_path):
    simulate_knees(tmp_path, persons=10, dims=3, size=32, image_months=(0,), seed=5, workers=2)
    table = pd.read_csv(tmp_path / "cohort.csv")
    for row in table.head(4).itertuples():
        image = read(tmp_path / row.path)
        assert image.space == (21, 32, 32)
        assert np.sign(image.affine[0, 3] + image.affine[0, 0] * 10) == (1 if row.side == "right" else -1)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"persons": 9}, "got 9 persons"),
        ({"dims": 4}, "dims is 4"),
        ({"size": 16}, "size is 16 pixels"),
        ({"image_months": (0, 6)}, "visits are at 0, 12, 24, 36, 48"),
        ({"image_months": (24,)}, "0 must be among those with images"),
        ({"seed": -1}, "seed -1|seed"),
        ({"workers": 0}, "workers is 0"),
        ({"scanner_odds": 0.0}, "scanner_odds is 0; give an odds ratio above 0"),
        ({"scanner_odds": float("nan")}, "scanner_odds is nan"),
        ({"scanner_follows": "age"}, "scanner_follows is 'age'; give one of effusion"),
    ],
)
def test_wrong_arguments_are_told(tmp_path, changed, message):
    with pytest.raises(CohortError, match=message):
        simulate_knees(tmp_path / "x", **{"persons": 10, "size": 48, **changed})
    assert not (tmp_path / "x" / "cohort.csv").exists()


def test_a_folder_of_other_settings_is_left_alone(folder):
    before = (folder / "cohort.csv").read_bytes()
    with pytest.raises(CohortError, match="seed"):
        simulate_knees(folder, persons=12, size=48, twins=True, seed=9, workers=1)
    assert (folder / "cohort.csv").read_bytes() == before


def test_a_script_without_a_guard_draws_in_one_process(tmp_path):
    script = tmp_path / "draw.py"
    script.write_text(
        "from anomaly.simulation import simulate\n"
        "simulate('knees', 'k', persons=10, size=32, image_months=(0,), workers=2)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run([sys.executable, script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert len(pd.read_csv(tmp_path / "k" / "cohort.csv")) == 20
