"""What opening a run checks, and that nothing in it is ever run."""

import hashlib
import json
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from looked_at import looked_at
from safetensors.numpy import load_file, save_file
from studies import call, pictures, trained
from tiny import TINY

from anomaly.errors import AnomalyError, RunError
from anomaly.files import sha256_of
from anomaly.images.preprocessing import Preprocessing
from anomaly.runs.describing import describe, method_in_short, preprocessing_in_short
from anomaly.runs.methods import create
from anomaly.runs.run import Run, torch_device

OWN = """
from dataclasses import dataclass
from pathlib import Path

from anomaly.detectors.baselines import Buffers
from anomaly.detectors.base import Detector

Path(__file__).with_name("was_run").touch()


@dataclass(kw_only=True)
class Darkness(Detector):
    name = "darkness"
    summary = "how dark an image is"
    cite = "nobody"
    power: float = 1.0

    def build(self, shape):
        import torch

        return Buffers(nothing=torch.zeros(1))

    def error(self, x):
        return (1 - x.mean(1, keepdim=True)).clamp_min(0) ** self.power
"""


@pytest.fixture(scope="module")
def normals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pictures(tmp_path_factory.mktemp("normals"), 20)


@pytest.fixture(scope="module")
def finished(normals: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(normals, tmp_path_factory.mktemp("finished") / "run").folder


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy to be damaged."""
    return shutil.copytree(finished, tmp_path / "run")


def refused(run: Path, **options: str) -> str:
    with pytest.raises(RunError) as caught:
        Run.open(run, **options)
    told = str(caught.value)
    assert str(run) in told and "\n" not in told
    return told


def test_a_run_may_be_moved(run, finished):
    moved = Run.open(shutil.move(run, run.with_name("elsewhere")))
    assert moved.identity == Run.open(finished).identity
    x = np.zeros((2, 1, 12, 12), dtype=np.float32)
    np.testing.assert_array_equal(moved.judge(x).map, Run.open(finished).judge(x).map)


def test_maps_are_in_units_of_normal_variation(finished):
    run = Run.open(finished)
    x = np.random.default_rng(0).uniform(-1, 1, (70, 1, 12, 12)).astype(np.float32)
    error = np.abs(x - run.detector.net_.mean.numpy())
    expected = (error - run.calibration.map_mean) / run.calibration.map_sd
    np.testing.assert_allclose(run.judge(x).map, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(run.judge(x).value, error.mean((1, 2, 3)), rtol=1e-5)


@pytest.mark.parametrize("name", ["weights.safetensors", "calibration.safetensors", "cohort.csv"])
def test_a_file_cut_short_or_missing_is_told(run, name):
    (run / name).write_bytes((run / name).read_bytes()[:-1])
    assert f"{name} was changed or cut short after training; copy it again" in refused(run)
    (run / name).unlink()
    assert f"lacks {name}; copy the whole run folder" in refused(run)


def test_a_setting_edited_by_hand_is_told(run):
    text = (run / "run.json").read_text()
    (run / "run.json").write_text(text.replace('"seed": 0', '"seed": 1'))
    assert "was edited after training; restore it, or train again" in refused(run)


def signed(run, **changes):
    """Change what `run.json` says, its checksums made to match: None takes a fact out."""
    facts = json.loads((run / "run.json").read_text())
    facts = {name: value for name, value in (facts | changes).items() if value is not None and name != "checksum"}
    facts["files"] = {name: sha256_of(run / name) for name in facts["files"]}
    checksum = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    (run / "run.json").write_text(json.dumps(facts | {"checksum": checksum}))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"created": None, "shape": "1 x 12"}, "does not tell shape, created as a run does"),
        ({"data": {"images": 3}}, "does not tell data"),
        ({"data": {"images": -3, "subjects": 3, "subjects_from": "", "split": {}}}, "does not tell data"),
        ({"kind": "else"}, "does not tell kind"),
        ({"classes": {"column": 3}}, "does not tell classes"),
        ({"preprocessing": {"sise": 12}}, "no preprocessing that can be used .*sise"),
        ({"preprocessing": {"size": 12, "channels": True}}, "no preprocessing that can be used .*channels is True"),
        ({"preprocessing": {"size": 14}}, r"not make images of the shape \[1, 12, 12\]"),
        ({"settings": {"latent": 3}}, "has other settings than run.json"),
        ({"files": {"cohort.csv": ""}}, "has no checksum of weights.safetensors"),
        ({"method": "mean.py:Mean"}, "names the method 'mean.py:Mean', which is none of this program"),
    ],
)
def test_facts_that_are_no_run_are_told_behind_the_checksum(run, changes, told, tmp_path, monkeypatch):
    (tmp_path / "mean.py").write_text("raise SystemExit('was run')")
    monkeypatch.chdir(tmp_path)
    signed(run, **changes)
    assert re.search(told, refused(run))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"map_sd": np.zeros((1, 12, 12), np.float32)}, "map_sd that are not all above 0"),
        ({"map_mean": np.full((1, 12, 12), np.nan, np.float32)}, "map_mean that are not all numbers"),
        ({"map_mean": np.zeros((1, 1, 12), np.float32)}, r"map_mean of the shape \(1, 1, 12\), expected \(1, 12, 12\)"),
        ({"values": np.zeros(2)}, r"values of the shape \(2,\), expected"),
        ({"more": np.zeros(2)}, "cannot be read as a calibration"),
    ],
)
def test_a_calibration_that_does_not_fit_is_told_behind_the_checksum(run, change, told):
    path = run / "calibration.safetensors"
    save_file(load_file(path) | change, path)
    signed(run)
    assert re.search(told, refused(run))


def test_weights_and_normals_that_are_none_are_told_behind_the_checksum(run):
    (run / "cohort.csv").write_text("id,path\na,b\n")
    signed(run)
    with pytest.raises(RunError, match=r"cohort\.csv has no column subject"):
        _ = Run.open(run).normals
    (run / "cohort.csv").write_bytes(b"\xff\xfe,\xff")
    signed(run)
    with pytest.raises(RunError, match=r"cohort\.csv cannot be read"):
        _ = Run.open(run).normals
    (run / "weights.safetensors").write_bytes(b"no tensors")
    signed(run)
    assert "weights.safetensors cannot be read" in refused(run)


def test_checksums_edited_to_fit_other_weights_are_told(run):
    (run / "weights.safetensors").write_bytes(b"other")
    facts = json.loads((run / "run.json").read_text())
    facts["files"]["weights.safetensors"] = sha256_of(run / "weights.safetensors")
    (run / "run.json").write_text(json.dumps(facts))
    assert "was edited after training" in refused(run)


@pytest.mark.parametrize("keep", [0, 1, 200, -3])
def test_run_json_cut_short_is_told(run, keep):
    text = (run / "run.json").read_text()
    (run / "run.json").write_text(text[:keep])
    assert "run.json is not readable" in refused(run)


@pytest.mark.parametrize("content", ["[1, 2]", "3", "null"])
def test_run_json_that_holds_something_else_is_told(run, content):
    (run / "run.json").write_text(content)
    assert "run.json is not readable" in refused(run)


def test_a_run_of_another_version_names_both_formats(run):
    facts = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**facts, "format": 2}))
    assert "has format 2, this version reads 1; use the version that wrote it" in refused(run)


def test_a_folder_that_is_no_run_is_told(tmp_path):
    assert "holds no run.json: give a folder made by train" in refused(tmp_path)
    assert "holds no run.json: give a folder made by train" in refused(tmp_path / "nowhere")


def test_an_unknown_device_is_told():
    with pytest.raises(RunError, match="device 'gpu' cannot be used here"):
        torch_device("gpu")


def test_a_run_describes_itself(finished):
    told = describe(finished).splitlines()
    assert told[1] == "method     mean-image()"
    assert told[3] == "normals    20 images of 20 subjects: 14 to train, 2 to choose, 4 to calibrate"
    assert told[4] == "subjects   from the file names, each taken for another subject"
    assert told[6] == "smallest p 0.2"


def test_a_run_shows_itself_in_five_lines_also_when_its_folder_is_gone(run, finished):
    opened = Run.open(run)
    shutil.rmtree(run)
    assert looked_at(opened) == {
        "": "mean-image",
        "normals": "20 images of 20 subjects: 14 to train, 2 to choose, 4 to calibrate",
        "prepared": "2D, 12 x 12 pixels, fit pad, intensity percentile",
        "calibrated": "by 4 subjects, so the smallest p is 0.2",
        "folder": str(run),
    }
    told = describe(finished)
    assert looked_at(opened)["normals"] in told and "smallest p 0.2" in told
    assert looked_at(replace(opened, folder=Path("<script>")))["folder"] == "<script>"


def test_unreadable_normals_are_counted(run, finished):
    opened = Run.open(finished)
    data = {**opened.facts["data"], "unreadable": 2}
    some_lost = replace(opened, facts={**opened.facts, "data": data})
    assert looked_at(some_lost)["normals"].endswith("4 to calibrate; 2 more unreadable")


def test_settings_are_told_where_they_are_not_the_default():
    assert method_in_short(create("pca")) == "pca as by default"
    assert method_in_short(create("pca", {"components": 3})) == "pca with components=3, else as by default"
    assert method_in_short(create("mean-image")) == "mean-image"
    many = create("stylegan", TINY["stylegan"])
    told = method_in_short(many)
    assert told.startswith("stylegan with ") and told.endswith(", else as by default") and len(told) < 150
    assert "latent=4, width=4" in told and "lr=0.0025" not in told
    own = Preprocessing(
        dims=3, size=(8, 6, 7), spacing=1.5, intensity="window", window=(-1000, 400), foreground="otsu", channels=2
    )
    assert preprocessing_in_short(own) == (
        "3D, 8 x 6 x 7 voxels, fit pad, spacing 1.5 x 1.5 x 1.5, intensity window, window -1000 to 400, "
        "foreground otsu, channels 2"
    )
    free = Preprocessing(size=None, percentiles=(1, 99.5), slices="sagittal")
    assert preprocessing_in_short(free) == (
        "2D, their own size, fit pad, slices sagittal, intensity percentile, percentiles 1 to 99.5"
    )


# A method of one's own


@pytest.fixture
def own(tmp_path: Path) -> Path:
    (tmp_path / "own.py").write_text(OWN)
    return tmp_path / "own.py"


@pytest.fixture
def own_run(own: Path, normals: Path, tmp_path: Path) -> Path:
    folder = trained(normals, tmp_path / "own_run", f"{own}:Darkness", settings={"power": 2}).folder
    own.with_name("was_run").unlink()
    return folder


def test_the_file_of_ones_own_method_is_recorded(own, own_run):
    facts = json.loads((own_run / "run.json").read_text())
    assert facts["code"] == {"path": str(own), "sha256": sha256_of(own)}
    assert (facts["method"], facts["settings"]) == ("darkness", {"power": 2.0})
    assert not list(own_run.glob("*.py"))


def test_ones_own_method_is_not_loaded_unless_given_again(own, own_run):
    assert "was trained with a method of your own" in refused(own_run)
    assert not own.with_name("was_run").exists()


def test_ones_own_method_works_when_given_again_from_anywhere(own, own_run, tmp_path):
    (tmp_path / "moved").mkdir()
    moved = shutil.copy(own, tmp_path / "moved")
    run = Run.open(own_run, method=f"{moved}:Darkness")
    x = np.full((1, 1, 12, 12), -0.5, dtype=np.float32)
    assert run.judge(x).value.item() == pytest.approx(1.5**2)


def test_a_file_that_changed_since_is_refused_and_not_run(own, own_run):
    own.write_text(OWN + "\n# one more line\n")
    with pytest.raises(RunError, match=r"is not the file that .* was trained with \(sha256 "):
        Run.open(own_run, method=f"{own}:Darkness")
    assert not own.with_name("was_run").exists()


@pytest.mark.parametrize("method", ["mean-image", "nowhere.py:Darkness"])
def test_another_method_is_refused_for_a_run_of_ones_own(own_run, method):
    with pytest.raises(AnomalyError):
        Run.open(own_run, method=method)


def test_training_goes_on_only_with_the_same_code(own, own_run, normals, tmp_path, monkeypatch):
    monkeypatch.setattr("anomaly.runs.learning.write_run", lambda *args, **kwargs: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        trained(normals, tmp_path / "run", f"{own}:Darkness")
    (tmp_path / "run" / "checkpoint" / "000001").mkdir()
    own.write_text(OWN + "\n# one more line\n")
    with pytest.raises(RunError, match="code_sha256 was "):
        trained(normals, tmp_path / "run", f"{own}:Darkness", resume=True)


def test_ones_own_method_from_the_command_line(own, own_run, normals, tmp_path):
    images = pictures(tmp_path / "images", 3, name="i")
    score = ("score", own_run, "--images", images, "--out", tmp_path / "out", "--heatmaps", "none")
    code, _, errors = call(*score)
    assert code == 1 and "give it again with --method FILE.py:CLASS" in errors
    code, out, errors = call(*score, "--method", f"{own}:Darkness")
    assert code == 0 and "3 new" in out, errors


def test_no_file_beside_a_run_is_imported(run, monkeypatch):
    for name in ("sitecustomize.py", "weights.py", "mean-image.py", "__init__.py"):
        (run / name).write_text("raise SystemExit('run')")
    before = set(sys.modules)
    Run.open(run)
    assert not any(str(run) in str(getattr(sys.modules[name], "__file__", "")) for name in set(sys.modules) - before)
