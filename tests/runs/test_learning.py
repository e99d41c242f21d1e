"""From normals to a run: what it leaves, whom it holds out, what it refuses, and how it goes on after a stop."""

import os
import random
import signal
import time
from pathlib import Path

import numpy as np
import pandas as pd
import PIL.Image
import pytest
from safetensors.numpy import load_file
from studies import AE, SIDE, SOLID, broken, call, pictures, start, trained, volumes

from anomaly.errors import AnomalyError, CohortError, RunError
from anomaly.files import LOCK
from anomaly.images import caching
from anomaly.images.preprocessing import Preprocessing
from anomaly.runs.run import Run
from anomaly.training.machine import Machine

FILES = {
    "run.json", "weights.safetensors", "calibration.safetensors", "likeness.safetensors", "cohort.csv",
    "training.csv", "preview.png",
    "MODEL_CARD.md", "training.png", "samples", "further",
}  # fmt: skip
LONG = ["--method", "autoencoder", "--size", SIDE, "--device", "cpu", "--workers", 1, "--save-every", 10]
LONG += [word for name, value in {**AE, "steps": 600}.items() for word in ("--set", f"{name}={value}")]


@pytest.fixture(scope="module")
def normals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pictures(tmp_path_factory.mktemp("normals"), 30)


@pytest.fixture(scope="module")
def uninterrupted(normals: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return trained(normals, tmp_path_factory.mktemp("whole") / "run", "autoencoder", settings={**AE, "steps": 600})


def same_weights(a: Path, b: Path) -> bool:
    one, other = (load_file(folder / "weights.safetensors") for folder in (a, b))
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def until(condition, process, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "the training never came so far"
        time.sleep(0.01)


# What it leaves


def test_a_run_folder_is_complete_and_holds_nothing_else(uninterrupted):
    assert {path.name for path in uninterrupted.folder.iterdir()} == FILES
    assert not any(os.access(path, os.X_OK) for path in uninterrupted.folder.rglob("*") if path.is_file())
    curve = pd.read_csv(uninterrupted.folder / "training.csv")
    assert curve["step"].iloc[-1] == 600


def test_others_in_the_group_may_read_a_run_as_they_may_any_new_file(uninterrupted, tmp_path):
    (tmp_path / "new").touch()
    usual = (tmp_path / "new").stat().st_mode
    assert {path.stat().st_mode for path in uninterrupted.folder.rglob("*") if path.is_file()} == {usual}


def test_the_table_of_a_run_says_who_was_in_which_part(uninterrupted):
    cohort = pd.read_csv(uninterrupted.folder / "cohort.csv")
    assert cohort["split"].value_counts().to_dict() == {"train": 21, "calibrate": 6, "choose": 3}
    assert set(cohort.loc[cohort["split"] == "calibrate", "subject"]) == set(uninterrupted.calibration.subjects)
    assert uninterrupted.facts["data"]["split"] == {"train": 21, "choose": 3, "calibrate": 6}


def test_the_split_is_by_subject_and_a_function_of_the_subjects_alone(normals, tmp_path):
    paths = sorted(normals.iterdir())
    rows = [{"path": path, "subject": f"s{i // 2}", "age": i} for i, path in enumerate(paths)]
    first = trained(pd.DataFrame(rows), tmp_path / "a", seed=0)
    again = trained(pd.DataFrame(rows[::-1]).drop(columns="age"), tmp_path / "b", seed=7)
    splits = [pd.read_csv(run.folder / "cohort.csv").groupby("subject")["split"].agg(set) for run in (first, again)]
    assert all(len(parts) == 1 for parts in splits[0])
    assert splits[0].to_dict() == splits[1].to_dict()
    assert sorted(first.calibration.subjects) == sorted(again.calibration.subjects)
    assert len(set(first.calibration.subjects)) == 3


def test_runs_with_other_seeds_share_their_calibration_subjects_and_differ_in_weights(normals, tmp_path):
    runs = [trained(normals, tmp_path / str(seed), "autoencoder", settings=AE, seed=seed) for seed in (0, 1)]
    assert list(runs[0].calibration.subjects) == list(runs[1].calibration.subjects)
    assert runs[0].identity != runs[1].identity


def test_images_are_read_once(normals, tmp_path, monkeypatch):
    seen: list[str] = []

    def read(path: Path):
        seen.append(path.name)
        return original(path)

    original = caching.read
    monkeypatch.setattr(caching, "read", read)
    trained(normals, tmp_path / "run", "autoencoder", settings={**AE, "steps": 20})
    assert sorted(seen) == sorted(path.name for path in normals.iterdir())


# What cannot be read, and what does not fit together


def test_normals_that_cannot_be_read_are_named_and_left_out(tmp_path):
    folder = pictures(tmp_path / "normals", 20)
    bad = broken(folder)
    code, _, errors = call(
        "train", "--normals", folder, "--out", tmp_path / "run", "--method", "mean-image", "--size", SIDE
    )  # fmt: skip
    assert code == 3, errors
    assert f"{len(bad)} images could not be used; see {tmp_path / 'run' / 'errors.csv'}" in errors
    named = pd.read_csv(tmp_path / "run" / "errors.csv", keep_default_na=False)
    assert set(named["id"]) == bad and named["error"].str.len().min() > 20
    run = Run.open(tmp_path / "run")
    assert (run.facts["data"]["images"], run.facts["data"]["unreadable"]) == (20, len(bad))
    assert set(pd.read_csv(run.folder / "cohort.csv")["id"]).isdisjoint(bad)


def test_images_of_unlike_sizes_are_refused_where_each_keeps_its_own(tmp_path):
    folder = pictures(tmp_path / "normals", 10)
    pictures(folder, 10, name="wide", side=SIDE + 4)
    with pytest.raises(CohortError, match=r"has shape \(1, 1[26], 1[26]\), images before it .*; give one --size"):
        trained(folder, tmp_path / "run", preprocessing=Preprocessing(size=None))


def test_images_all_of_one_size_may_keep_it(normals, tmp_path):
    assert trained(normals, tmp_path / "run", preprocessing=Preprocessing(size=None)).detector.shape_ == (1, SIDE, SIDE)


def test_images_with_other_channels_are_named_and_left_out(tmp_path):
    folder = pictures(tmp_path / "normals", 20)
    np.save(folder / "two.npy", np.random.default_rng(0).random((SIDE, SIDE, SIDE)))
    run = trained(folder, tmp_path / "run", preprocessing=Preprocessing(size=SIDE, channels=3))
    assert run.facts["data"]["unreadable"] == 1 and run.detector.shape_ == (3, SIDE, SIDE)
    assert "has 1 channels; expected 3" in (run.folder / "errors.csv").read_text()


def test_colours_and_greys_become_one_kind(tmp_path):
    folder = pictures(tmp_path / "normals", 19)
    PIL.Image.open(folder / "n000.png").convert("RGB").save(folder / "colour.png")
    assert trained(folder, tmp_path / "run").facts["data"]["images"] == 20


def test_a_subject_may_be_called_na(tmp_path):
    folder = pictures(tmp_path / "normals", 6)
    rows = [
        {"path": path, "subject": name} for path, name in zip(folder.iterdir(), ["NA", "None", *"abcd"], strict=True)
    ]
    run = trained(pd.DataFrame(rows), tmp_path / "run", choose=0.4, calibrate=0.4)
    kept = pd.read_csv(run.folder / "cohort.csv", keep_default_na=False)
    assert set(kept["subject"]) == {"NA", "None", *"abcd"}
    assert set(run.calibration.subjects) == set(kept.loc[kept["split"] == "calibrate", "subject"])


def test_where_no_image_can_be_read_the_first_reason_is_told(tmp_path):
    broken(tmp_path / "normals")
    with pytest.raises(CohortError, match=r"none of the 6 images can be read; the first: .*/"):
        trained(tmp_path / "normals", tmp_path / "run")


TABLES = {
    "has no column 'path'; its columns are scan": "scan\nn000.png\n",
    "1 ids are there twice": "id,path\na,n000.png\na,n001.png\n",
    "1 of 2 files do not exist": "path\nn000.png\ngone.png\n",
    "has no rows": "path\n",
    "there are 2 subjects; expected 3": "path\nn000.png\nn001.png\n",
}


@pytest.mark.parametrize("told", TABLES)
def test_a_table_that_cannot_be_used_says_why(told, tmp_path):
    cohort = pictures(tmp_path / "normals", 2) / "cohort.csv"
    cohort.write_text(TABLES[told])
    with pytest.raises(CohortError, match=told):
        trained(cohort, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_empty_folder_is_refused(tmp_path):
    (tmp_path / "normals").mkdir()
    with pytest.raises(CohortError, match="holds no image"):
        trained(tmp_path / "normals", tmp_path / "run")


@pytest.mark.parametrize("shares", [{"choose": 0}, {"calibrate": 0}, {"calibrate": -0.1}])
def test_a_run_holds_normals_out_or_is_refused_before_any_work(normals, tmp_path, shares):
    with pytest.raises(AnomalyError, match="choose and calibrate must be above 0"):
        trained(normals, tmp_path / "run", **shares)
    assert not (tmp_path / "run").exists()


# Folders that are taken


def test_a_folder_with_other_things_in_it_is_left_alone(normals, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(RunError, match="is not empty and holds no training; choose another --out"):
        trained(normals, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_finished_run_is_not_trained_over(normals, tmp_path):
    before = trained(normals, tmp_path / "run").identity
    with pytest.raises(RunError, match="already holds a trained run; choose another --out"):
        trained(normals, tmp_path / "run", "pca", settings={"components": 2})
    assert Run.open(tmp_path / "run").identity == before


def test_resuming_a_finished_run_gives_it_back_untouched(normals, tmp_path, monkeypatch):
    made = trained(normals, tmp_path / "run")
    before = {path: path.stat().st_mtime_ns for path in made.folder.iterdir()}
    monkeypatch.setattr("anomaly.images.caching.read", None)  # no image is read
    assert trained(normals, tmp_path / "run", resume=True).facts == made.facts
    assert {path: path.stat().st_mtime_ns for path in made.folder.iterdir()} == before


def test_resuming_a_finished_run_with_other_settings_is_refused(normals, tmp_path):
    trained(normals, tmp_path / "run", "autoencoder", settings=AE)
    with pytest.raises(RunError, match=r"other settings \(width was 2, now 3; seed was 0, now 3\)"):
        trained(normals, tmp_path / "run", "autoencoder", settings={**AE, "width": 3}, seed=3, resume=True)


# Stopped and resumed


class Stopped(BaseException):
    """As if the computer had been switched off."""


def stopped(normals: Path, out: Path, monkeypatch, where: str, method: str = "autoencoder", **options) -> None:
    """A training that ends when it comes to the function `where` of learning."""

    def stop(*args, **kwargs):
        raise Stopped

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(f"anomaly.runs.learning.{where}", stop)
        trained(normals, out, method, **options)


def test_an_unfinished_training_is_no_run_and_says_how_to_go_on(normals, tmp_path, monkeypatch):
    stopped(normals, tmp_path / "run", monkeypatch, "calibrated", settings=AE)
    with pytest.raises(RunError, match="its training is unfinished; go on with --resume"):
        Run.open(tmp_path / "run")
    with pytest.raises(RunError, match="holds an unfinished training; add --resume"):
        trained(normals, tmp_path / "run", "autoencoder", settings=AE)


CHANGES = {
    "latent was 2, now 3": {"settings": {**AE, "latent": 3}},
    "seed was 0, now 1": {"seed": 1},
    r"size was \[12, 12\], now \[16, 16\]": {"preprocessing": Preprocessing(size=16)},
    "calibrate was 0.2, now 0.3": {"calibrate": 0.3},
    "subjects_from was the file names, .* now the pattern": {"subject_pattern": "(n[0-9]+)"},
    "method was autoencoder, now pca": {"method": "pca", "settings": {}},
}


@pytest.mark.parametrize("told", CHANGES)
def test_resuming_with_other_settings_is_refused_naming_them(told, normals, tmp_path, monkeypatch):
    stopped(normals, tmp_path / "run", monkeypatch, "calibrated", settings=AE)
    with pytest.raises(RunError, match=told) as caught:
        trained(normals, tmp_path / "run", resume=True, **{"method": "autoencoder", "settings": AE, **CHANGES[told]})
    assert "hidden" not in str(caught.value)


def test_resuming_on_other_images_is_refused(normals, tmp_path, monkeypatch):
    stopped(normals, tmp_path / "run", monkeypatch, "calibrated", settings=AE)
    with pytest.raises(RunError, match="fingerprint was"):
        trained(pictures(tmp_path / "others", 30, name="o"), tmp_path / "run", "autoencoder", settings=AE, resume=True)


@pytest.mark.parametrize("resume", [True, False])
@pytest.mark.parametrize("where", ["CachedImages.open", "calibrated", "preview", "write_whole", "write_run"])
def test_a_method_in_closed_form_goes_on_wherever_it_was_stopped(where, resume, normals, tmp_path, monkeypatch):
    place = {"where": where, "method": "mean-image"}
    stopped(normals, tmp_path / "run", monkeypatch, **place)
    run = trained(normals, tmp_path / "run", resume=resume)
    assert {path.name for path in run.folder.iterdir()} >= FILES - {
        "training.csv",
        "training.png",
        "samples",
        "further",
    }
    assert not (run.folder / "checkpoint").exists()


def test_killed_and_resumed_gives_the_same_weights(normals, uninterrupted, tmp_path):
    out = tmp_path / "run"
    process = start("train", "--normals", normals, "--out", out, *LONG)
    last = random.randrange(1, 50)  # any moment will do: the result must not depend on it
    until(lambda: any(int(path.name) >= last for path in (out / "checkpoint").glob("[0-9]*")), process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (out / "run.json").exists()
    trained(normals, out, "autoencoder", settings={**AE, "steps": 600}, resume=True)
    assert same_weights(out, uninterrupted.folder), f"killed at checkpoint {last}"
    curves = [pd.read_csv(folder / "training.csv") for folder in (out, uninterrupted.folder)]
    assert curves[0]["step"].is_monotonic_increasing
    assert curves[0]["step"].iloc[-1] == curves[1]["step"].iloc[-1] == 600
    left = {path.name for path in out.iterdir()}
    assert left == FILES | {LOCK}, "the command that was killed left its lock, which holds nobody up"


def test_control_c_says_how_to_go_on_and_that_works(normals, uninterrupted, tmp_path):
    out = tmp_path / "run"
    process = start("train", "--normals", normals, "--out", out, *LONG)
    until(lambda: any((out / "checkpoint").glob("[0-9]*")), process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130
    last = errors.splitlines()[-1]
    assert last == "stopped; what was done is kept, the same command goes on (train: with --resume)", errors
    trained(normals, out, "autoencoder", settings={**AE, "steps": 600}, resume=True)
    assert same_weights(out, uninterrupted.folder)


def test_two_processes_stop_together_go_on_and_leave_one_run(normals, tmp_path):
    out = tmp_path / "run"
    words = ("train", "--normals", normals, "--out", out, *LONG, "--processes", 2)
    process = start(*words, start_new_session=True)
    until(lambda: any((out / "checkpoint").glob("[0-9]*")), process)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to both
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in errors, errors
    code, _, errors = call(*words, "--resume")
    assert code == 0, errors
    run = Run.open(out)
    assert {path.name for path in out.iterdir()} == FILES
    assert pd.read_csv(out / "training.csv")["step"].iloc[-1] == 600
    assert run.facts["data"]["split"] == {"train": 21, "choose": 3, "calibrate": 6}


# Volumes


def test_volumes_are_learned_whole_or_slice_by_slice(tmp_path):
    folder = volumes(tmp_path / "normals", 10, space=(8, 9, 10))
    whole = trained(folder, tmp_path / "whole", preprocessing=SOLID)
    sliced = trained(folder, tmp_path / "sliced", preprocessing=Preprocessing(dims=2, size=8))
    assert whole.detector.shape_ == (1, 8, 8, 8) and sliced.detector.shape_ == (1, 8, 8)
    assert len(whole.calibration.values) == len(sliced.calibration.values) == 2
    assert set(pd.read_csv(sliced.folder / "cohort.csv")["slices"]) == {10}


def test_what_was_decided_by_the_clock_stays_decided(tmp_path, monkeypatch):
    from anomaly.detectors import Auto
    from anomaly.detectors import auto as module
    from anomaly.runs.plans import decided

    (tmp_path / "checkpoint").mkdir()
    images, machine = np.zeros((100, 1, 64, 64), np.float32), Machine(device="cpu")
    found = []
    for pace in (1.0, 1e6):  # a machine that is busy when the training goes on
        monkeypatch.setattr(module, "pace", lambda device, pace=pace: pace)
        found.append(decided(tmp_path, Auto(), images, machine).settings())
    assert found[0] == found[1] and len(found[0]["members"].split(",")) >= 3
    (tmp_path / "checkpoint" / "decided.json").unlink()
    assert len(decided(tmp_path, Auto(), images, machine).named) == 1
