"""Several prepared images in an .npy: one volume, or an image each, by what the run was calibrated with."""

import csv
import importlib.util
import json
import sys

import numpy as np
import pytest
from studies import FLAT, SIDE, pictures, trained, volumes

import anomaly
from anomaly.exporting import prepare, stranger
from anomaly.exporting.export import export


@pytest.fixture
def applied(tmp_path, monkeypatch):
    """A function that applies an exported model by its own `score.py`: the rows of the table."""

    def rows(exported, *images):
        monkeypatch.syspath_prepend(str(exported))
        monkeypatch.delitem(sys.modules, "prepare", raising=False)
        spec = importlib.util.spec_from_file_location("score", exported / "score.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        out = tmp_path / "found"
        assert module.main([*map(str, images), "--out", str(out)]) == 0
        with (out / "scores.csv").open(newline="") as file:
            return list(csv.DictReader(file))

    yield rows
    sys.modules.pop("prepare", None)


def unit(exported):
    return json.loads((exported / "preprocessing.json").read_text())["calibration"]["unit"]


def slices(run, path, folder):
    """The prepared slices of a volume as an .npy."""
    np.save(folder / "slices.npy", run.preprocessing.apply(anomaly.images.read(path)).pixels)
    return folder / "slices.npy"


def test_of_a_run_calibrated_with_volumes_they_are_one_with_the_value_z_and_p_of_the_run(applied, tmp_path):
    run = trained(volumes(tmp_path / "normals", 12, space=(9, 8, 5)), tmp_path / "run", preprocessing=FLAT)
    exported = export(run.folder).folder
    path = volumes(tmp_path / "new", 1, name="a", space=(9, 8, 5)) / "a000.nii.gz"
    expected = run.score(path)
    npy = slices(run, path, tmp_path)
    found = applied(exported, path, npy)
    assert unit(exported) == "volume" and [row["image"] for row in found] == [str(path), str(npy)]
    for row in found:
        assert float(row["value"]) == pytest.approx(expected.value[0], rel=1e-4)
        assert float(row["z"]) == pytest.approx(expected.z[0], abs=1e-3)
        assert float(row["p"]) == pytest.approx(expected.p_value[0], abs=1e-9)
    assert np.load(tmp_path / "found" / "slices_map_z.npy").shape == (5, 1, SIDE, SIDE)
    assert "are the slices of one volume" in (exported / "README.md").read_text()


def test_of_a_run_calibrated_with_both_they_have_neither_z_nor_p(applied, tmp_path):
    normals = volumes(pictures(tmp_path / "normals", 24), 24, space=(9, 8, 5))
    run = trained(normals, tmp_path / "run", preprocessing=FLAT)
    exported = export(run.folder).folder
    path, npy = normals / "v000.nii.gz", slices(run, normals / "v000.nii.gz", tmp_path)
    volume, *each = applied(exported, path, npy)
    assert unit(exported) == "either" and volume["z"] and volume["p"]
    assert [row["image"] for row in each] == [f"{npy}[{k}]" for k in range(5)]
    assert all(row["z"] == row["p"] == "" for row in each)
    assert np.mean([float(row["value"]) for row in each]) == pytest.approx(float(volume["value"]), rel=1e-5)
    assert "each has a row with neither z nor p" in (exported / "README.md").read_text()


def test_of_a_run_calibrated_with_pictures_each_has_a_row(applied, tmp_path):
    run = trained(pictures(tmp_path / "normals", 12), tmp_path / "run")
    exported = export(run.folder).folder
    np.save(tmp_path / "two.npy", np.random.default_rng(0).uniform(-1, 1, (2, 1, SIDE, SIDE)))
    found = applied(exported, tmp_path / "two.npy")
    assert unit(exported) == "image" and len(found) == 2 and all(row["z"] and row["p"] for row in found)


def test_slices_weigh_as_many_pixels_as_lie_in_their_masks():
    images = np.full((3, 2, 2, 4), -1, np.float32)  # a channel of the image, and one of its context
    images[0, 0, 0] = 0.5
    images[2, 0, 0, 0] = -0.9
    images[1, 1] = 0.0  # is not of the image
    masked = {"outside_of_a_mask": -1.0, "preprocessing": {"channels": 1}}
    assert prepare.areas(images, masked).tolist() == [4, 0, 1]
    assert prepare.areas(images, {**masked, "outside_of_a_mask": None}).tolist() == [1, 1, 1]
    assert prepare.mean(np.array([1.0, np.nan, 6.0]), np.array([4, 0, 1])) == 2.0
    with pytest.raises(prepare.Unusable, match="outside of its mask"):
        prepare.mean(np.ones(3), np.zeros(3))


def test_of_a_volume_slice_by_slice_the_probability_is_that_of_the_mean_logit(monkeypatch):
    class Model:
        def run(self, names, given):
            logits = np.array([-3.0, 1.0, 8.0], np.float32)
            found = {"logit": logits, "probability": 1 / (1 + np.exp(-logits))}
            return [found[name] for name in names]

    facts = {
        "numbers": ["logit", "probability"], "arrays": [], "outside_of_a_mask": None,
        "sigmoid_of": {"probability": "logit"},
    }  # fmt: skip
    monkeypatch.setattr(stranger, "read", lambda path, facts: np.zeros((3, 1, 2, 2), np.float32))
    rows, _ = stranger.said("volume.nii", facts, Model())
    assert rows == {"volume.nii": {"logit": 2.0, "probability": pytest.approx(1 / (1 + np.exp(-2)), abs=1e-12)}}
    rows, _ = stranger.said("slices.npy", facts, Model())  # of no calibration, so each has a row
    assert [row["probability"] for row in rows.values()] == pytest.approx([0.04742587, 0.73105858, 0.99966465])
