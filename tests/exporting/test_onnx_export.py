"""A run as an ONNX model: what it says under onnxruntime is what the run says, or it is refused by name."""

import dataclasses
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import onnxruntime
import pandas as pd
import PIL.Image
import pytest
import torch
from studies import AE, FLAT, pictures, values
from tiny import CPU

import anomaly
from anomaly.errors import AnomalyError
from anomaly.exporting import verifying, writing
from anomaly.exporting.export import export
from anomaly.exporting.judgement import made_images, real_images
from anomaly.exporting.judging import of_detector
from anomaly.exporting.verifying import TOLERANCE
from anomaly.runs.learning import learn
from anomaly.runs.run import Run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run over pictures of 12 pixels."""
    home = tmp_path_factory.mktemp("exported")
    return learn(
        pictures(home / "normals", 24), home / "run", method="autoencoder", settings=AE, preprocessing=FLAT, machine=CPU
    )


@pytest.fixture(scope="module")
def exported(run: Run) -> Path:
    return export(run.folder).folder


def test_what_is_written_can_be_used_with_numpy_and_onnxruntime_alone(run, exported):
    assert exported == run.folder / "onnx"
    names = ["README.md", "example.npz", "model.onnx", "prepare.py", "preprocessing.json", "score.py"]
    assert sorted(each.name for each in exported.iterdir()) == names
    told, example = json.loads((exported / "preprocessing.json").read_text()), np.load(exported / "example.npz")
    ran = onnxruntime.InferenceSession(str(exported / "model.onnx"))
    for name in told["outputs"]:
        (found,) = ran.run([name], {"image": example["image"]})
        assert np.abs(found - example[name]).max() <= TOLERANCE * np.abs(example[name]).max()
    assert told["verified"] and max(told["compared"]["differences"].values()) <= TOLERANCE
    assert "held-out normals" in told["compared"]["images"] and told["preprocessing"]["size"] == [12, 12]


def test_the_example_shows_no_person(run, exported):
    shown = np.load(exported / "example.npz")["image"]
    judged = of_detector(run)
    assert np.array_equal(shown, made_images(judged)[-2:]) and len(real_images(judged))
    for real in real_images(judged):
        assert min(np.abs(each - real).mean() for each in shown) > 0.05


def test_the_script_beside_it_gives_the_value_the_z_and_the_p_of_the_run(run, exported, tmp_path):
    PIL.Image.fromarray(values((30, 21), seed=5)).save(tmp_path / "new.png")
    turned = np.array([[0, 0, -3.0, 9], [1.5, 0, 0, 2], [0, -0.7, 0, 5], [0, 0, 0, 1]])
    nib.save(nib.Nifti1Image(values((9, 14, 3), seed=6), turned), tmp_path / "volume.nii.gz")  # slice by slice
    names = ["new.png", "volume.nii.gz"]
    call = [sys.executable, exported / "score.py", *names, "--out", "found"]
    answer = subprocess.run(call, cwd=tmp_path, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    table = pd.read_csv(tmp_path / "found" / "scores.csv")
    assert list(table.columns) == ["image", "value", "z", "p", "files", "error"]
    for row, name in zip(table.to_dict("records"), names, strict=True):
        expected = run.score(tmp_path / name)
        assert row["image"] == name and row["value"] == pytest.approx(expected.value[0], rel=1e-4)
        assert row["z"] == pytest.approx(expected.z[0], abs=1e-3)
        assert row["p"] == pytest.approx(expected.p_value[0], abs=1e-4)
    assert np.load(tmp_path / "found" / "new_map_z.npy").shape == (1, 1, 12, 12)
    assert np.load(tmp_path / "found" / "volume_map_z.npy").shape == (14, 1, 12, 12)


def test_a_model_that_says_something_else_is_not_left_behind(run, tmp_path, monkeypatch):
    monkeypatch.setattr(verifying, "TOLERANCE", 1e-12)
    with pytest.raises(AnomalyError, match=r"largest difference of value .*nothing was written"):
        export(run.folder, tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_what_stands_out_hides_nothing_of_what_is_usual():
    expected = {"value": np.array([1, 2, 1e-9, 1000], np.float32)}
    given = {"value": expected["value"] + np.array([0, 1e-3, 0, 0.01], np.float32)}
    alike = (slice(None, 2), 0.1), (slice(2, None), 1.0)
    assert verifying.differences(given, expected, alike)["value"] == pytest.approx(5e-4, rel=1e-3)
    assert verifying.differences(given, expected)["value"] == pytest.approx(1e-5, rel=1e-2)  # of a tenth of 1000
    none = {"value": np.zeros((0, 1, 3), np.float32)}
    assert verifying.differences(none, none, alike) == {"value": 0}
    given["value"][0] = np.nan
    assert verifying.differences(given, expected, alike)["value"] == np.inf


def test_values_that_lie_too_close_for_a_graph_are_refused(run, tmp_path, monkeypatch):
    z = lambda values: (values - 100) / 0.01  # noqa: E731
    expected = np.array([100.0, 100.02], np.float32)
    assert verifying._of_z(expected, expected, z) <= 0
    assert verifying._of_z(expected + np.float32(0.005), expected, z) == pytest.approx(0.4, abs=0.01)
    monkeypatch.setattr(verifying, "APART", -9)
    with pytest.raises(AnomalyError, match=r"lie too close .*nothing was written"):
        export(run.folder, tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_a_place_that_is_taken_is_kept(run, exported, tmp_path):
    with pytest.raises(AnomalyError, match="is there already"):
        export(run.folder)
    (tmp_path / "empty").mkdir()
    assert export(run.folder, tmp_path / "empty").differences is not None


def test_what_a_killed_export_left_is_removed_by_the_next(run, tmp_path):
    old, new, other = (tmp_path / f".0123456{k}.part.{name}" for k, name in enumerate(("model", "model", "else")))
    for each in (old, new, other):
        each.mkdir()
        (each / "model.onnx").write_bytes(b"half")
    for each in (old, other):
        os.utime(each, (1e9, 1e9))
    export(run.folder, tmp_path / "model")
    assert not old.exists() and new.exists() and other.exists()


def test_the_same_run_gives_the_same_bytes(run, exported, tmp_path):
    again = export(run.folder, tmp_path / "again").folder
    for name in ("model.onnx", "preprocessing.json"):
        assert (again / name).read_bytes() == (exported / name).read_bytes()


def test_it_is_a_function_of_the_library():
    assert anomaly.export is export


def test_without_onnxruntime_it_is_written_and_says_loudly_that_nobody_verified_it(run, tmp_path, monkeypatch):
    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else there(name))
    exported = export(run.folder, tmp_path / "model")
    assert exported.differences is None and exported.told.startswith("NOT VERIFIED")
    assert json.loads((exported.folder / "preprocessing.json").read_text())["verified"] is False
    assert "**Not verified**" in (exported.folder / "README.md").read_text()


def test_a_graph_that_onnxruntime_cannot_run_is_not_left_behind(run, tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "as_graph", lambda judged: b"no model")
    with pytest.raises(AnomalyError, match=r"onnxruntime cannot run the graph .*nothing was written"):
        export(run.folder, tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_a_run_that_draws_at_test_time_is_refused_before_anything_is_written(run, tmp_path, monkeypatch):
    kept = type(run.detector).score

    def drawing(self, x):
        found = kept(self, x)
        return dataclasses.replace(found, value=found.value + torch.rand(len(x)))

    monkeypatch.setattr(type(run.detector), "score", drawing)
    with pytest.raises(AnomalyError, match="draws random numbers"):
        export(run.folder, tmp_path / "model")
    assert not list(tmp_path.iterdir())
