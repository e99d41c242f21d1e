"""The commands simulate, evaluate and associate as a user calls them, on a small simulated study of knees."""

import json
import os
import signal
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from studies import call, calling, start

from anomaly.commandline import exits
from anomaly.errors import AnomalyError
from anomaly.simulation import KINDS, simulate


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of knees in `knees/`, and scores with maps for those of `split=test` in `scores/`.

    The map of a knee is noise with a disc that its marrow lesions raise, its value the mean of that and noise.
    """
    home = tmp_path_factory.mktemp("study")
    cohort = simulate("knees", home / "knees", count=150, size=32, image_months=(0,), twins=True, seed=4, workers=1)
    people = pd.read_csv(cohort, dtype={"id": str})
    people = people[people["split"] == "test"]
    rng, rows = np.random.default_rng(0), []
    disc = np.hypot(*(np.indices((16, 16)) - 8)) < 4
    (home / "scores" / "heatmaps").mkdir(parents=True)
    for one in people.itertuples():
        map_ = rng.normal(size=(16, 16)) + 3 * one.true_marrow * disc
        name = f"heatmaps/{one.id}_anomaly.nii.gz"
        nib.save(nib.Nifti1Image(map_.astype(np.float32), np.eye(4)), home / "scores" / name)
        rows.append({"id": one.id, "subject": one.subject, "value": map_.mean() + rng.normal() / 8, "heatmap": name})
    pd.DataFrame(rows).to_csv(home / "scores" / "scores.csv", index=False)
    return home


@pytest.fixture
def run(study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Call the program in this process: exit code, output and errors."""
    return calling(study, monkeypatch, capsys)


def test_evaluate_asks_everything_in_one_call(run, study, tmp_path):
    code, out, errors = run(
        f"evaluate scores --cohort knees/cohort.csv --outcome pain --subject subject --adjust age,sex,bmi "
        f"--match subject --strata sex,site --where visit=0 --out {tmp_path}"
    )
    assert code == 0, errors
    titles = ["Within strata", "Odds of the outcome", "Beside the covariates", "Among people alike"]
    assert [title for title in [*titles, "Within matched sets", "As a chance"] if f"\n{title}\n" not in out] == []
    assert out.startswith("AUROC 0.") and out.rstrip().endswith(f"report: {tmp_path}/pain_visit-0/report.html")
    facts = json.loads((tmp_path / "pain_visit-0" / "evaluation.json").read_text(encoding="utf-8"))
    assert any("All of these images are simulated" in note for note in facts["notes"])
    assert facts["adjust"] == ["age", "sex", "bmi"] and facts["where"] == {"visit": "0"}


def test_evaluate_follows_people_in_time(run, tmp_path):
    words = "evaluate scores --cohort knees/cohort.csv --time time --event event --at 4 --subject subject"
    code, out, errors = run(f"{words} --out {tmp_path}")
    assert code == 0, errors
    assert "\nTime to the event\nOf " in out and " followed up: by time 4, " in out
    figures = pd.read_csv(tmp_path / "event" / "survival.csv")["figure"]
    assert {"hazard_ratio", "odds_ratio", "auroc by 4"} <= set(figures)


def test_associate_finds_the_disc_and_sets_scores_beside(run, tmp_path):
    code, out, errors = run(
        f"associate scores --cohort knees/cohort.csv --outcome pain --subject subject --adjust age --out {tmp_path} "
        "--permutations 99 --predict pain,progression --beside twin_difference,true_osteophytes --where visit=0"
    )
    assert code == 0, errors
    assert out.startswith("Maps are higher with pain in a region")
    assert f"report: {tmp_path / 'association.html'}" in out and "<h2" in (tmp_path / "association.html").read_text()
    t = np.asarray(nib.load(tmp_path / "significant.nii.gz").dataobj)
    disc = np.hypot(*(np.indices((16, 16)) - 8)) < 4
    assert (t.reshape(16, 16) > 0)[disc].mean() > 0.5
    predicted = pd.read_csv(tmp_path / "prediction.csv").set_index(["outcome", "score"])["auroc"]
    beside = {"load", "value", "twin_difference", "true_osteophytes"}
    assert beside <= set(predicted.loc["pain"].index) and beside <= set(predicted.loc["progression"].index)
    # What hurts is told best by the twin, and the decoy tells nothing.
    assert predicted["pain", "twin_difference"] > 0.65 > 0.6 > predicted["pain", "true_osteophytes"]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("knees", "lesions")])
def test_simulate_draws_each_kind(run, tmp_path, kind):
    code, out, errors = run(f"simulate {kind} --out {tmp_path} --count 20 --size 32")
    assert (code, out) == (0, f"cohort: {tmp_path}/cohort.csv\n"), errors
    table = pd.read_csv(tmp_path / "cohort.csv")
    assert len(table) == 20 * (2 if kind == "evolving" else 1)  # there persons are counted, seen twice
    assert (table["simulated"] == 1).all() and table["id"].str.startswith("sim").all()


def test_simulate_puts_lesions_into_images_and_names_those_it_cannot_use(run, study, tmp_path):
    normals = tmp_path / "normals"
    simulate("knees", tmp_path / "source", count=10, size=48, image_months=(0,), seed=5, workers=1)
    (tmp_path / "source" / "images").rename(normals)
    (normals / "sim0001-L-m00.png").write_bytes(b"damaged")
    words = f"simulate lesions --normals {normals} --out {tmp_path}/out --set kind=sphere --set radius=(2,4)"
    assert run(f"{words} --set contrast=5")[0] == 1  # told, and nothing is made
    code, _, errors = run(words)
    assert code == exits.SOME_UNREADABLE and "errors.csv" in errors
    assert list(pd.read_csv(tmp_path / "out" / "errors.csv")["id"].str.contains("sim0001-L")) == [True]
    assert pd.read_csv(tmp_path / "out" / "cohort.csv")["label"].sum() > 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("simulate hips --out x", "there is no kind 'hips' of cohort; choose one of knees, squares"),
        ("simulate squares --out x --dims 3", "squares has no setting 'dims'; it has count, size, seed"),
        ("simulate lesions --out x", "name their folder or table (--normals)"),
        ("simulate knees --out x --count 3", "10"),
        ("simulate knees --out x --dims 4", "dims is 4"),
        ("simulate knees --out x --set image_months=12", "0 must be among those with images"),
        ("simulate knees --out x --set image_months=two", "image_months is 'two'; expected something like (0, 24)"),
        ("simulate knees --out x --set twins=yes", "twins is 'yes'; expected something like False"),
        ("simulate lesions --normals knees/images --out x --set radius=5", "radius"),
        ("evaluate scores --cohort knees/cohort.csv", "name the outcome, or the columns of time and event"),
        ("evaluate scores --truth gone", "there is no folder 'gone'"),
        ("evaluate scores --cohort knees/cohort.csv --outcome pain --adjust age,weight", "no column 'weight'"),
        ("associate scores --cohort knees/cohort.csv --outcome pain --out x --correction holm", "max-t"),
        ("associate scores --cohort knees/cohort.csv --outcome pain --out x --beside weight", "no column 'weight'"),
        ("associate knees --cohort knees/cohort.csv --outcome pain --out x", "knees"),
    ],
)
def test_wrong_arguments_are_told(run, words, message):
    code, _, errors = run(words)
    assert code in (1, 2)
    assert "rror: " in errors and message in errors and "Traceback" not in errors, errors


def test_a_kind_checks_its_settings():
    with pytest.raises(AnomalyError, match="knees has no setting 'people'; it has persons, dims"):
        simulate("knees", "nowhere", people=3)


def test_a_simulation_that_is_stopped_goes_on(tmp_path):
    words = ("simulate", "knees", "--out", tmp_path / "k", "--count", "60", "--size", "64")
    process = start(*words, start_new_session=True)
    until = time.monotonic() + 60
    while not list((tmp_path / "k").glob("images/*.png")) and time.monotonic() < until:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == exits.INTERRUPTED
    before = {file.name: file.stat().st_mtime_ns for file in (tmp_path / "k" / "images").glob("*.png")}
    code, _, errors = call(*words)
    assert code == 0, errors
    after = {file.name: file.stat().st_mtime_ns for file in (tmp_path / "k" / "images").glob("*.png")}
    assert before and before.items() <= after.items()
    assert len(after) == len(pd.read_csv(tmp_path / "k" / "cohort.csv"))
