"""`score.py` with images that are not there or cannot be used, and with a folder that is damaged."""

import csv
import importlib.util
import json
import sys

import numpy as np
import pytest
from studies import pictures, trained

from anomaly.exporting.export import export


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    home = tmp_path_factory.mktemp("exported")
    run = trained(pictures(home / "normals", 12), home / "run")
    pictures(home / "images", 2, name="i")
    return export(run.folder).folder


@pytest.fixture
def script(exported, monkeypatch, tmp_path):
    """`score.py` as it lies in the folder, called in another one."""
    monkeypatch.syspath_prepend(str(exported))
    monkeypatch.delitem(sys.modules, "prepare", raising=False)
    spec = importlib.util.spec_from_file_location("score", exported / "score.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.chdir(tmp_path)
    yield module
    sys.modules.pop("prepare", None)


def rows(folder):
    with (folder / "scores.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_it_goes_on_past_images_that_cannot_be_used(script, exported, tmp_path, capsys):
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "cut.nii.gz").write_bytes(b"\x1f\x8b half")
    (tmp_path / "empty").mkdir()
    np.save(tmp_path / "odd.npy", np.zeros((1, 1, 7, 7)))
    np.save(tmp_path / "two.npy", np.random.default_rng(0).uniform(-1, 1, (2, 1, 12, 12)))
    np.savez(tmp_path / "several.npz", a=np.zeros(3))
    (tmp_path / "several.npz").rename(tmp_path / "several.npy")
    images = str(exported.parents[1] / "images")
    bad = ["text.png", "cut.nii.gz", "empty", "gone.png", "odd.npy", "several.npy", "scan.dcm"]
    (tmp_path / "scan.dcm").write_bytes(b"0")
    assert script.main(["text.png", images, *bad[1:], "two.npy", "--out", "found"]) == 1
    found = rows(tmp_path / "found")
    assert [row["image"] for row in found if row["error"]] == bad
    good = [row for row in found if not row["error"]]
    assert [row["image"] for row in good] == [f"{images}/i000.png", f"{images}/i001.png", "two.npy[0]", "two.npy[1]"]
    assert all(float(row["value"]) > 0 and 0 < float(row["p"]) <= 1 for row in good)
    assert np.load(tmp_path / "found" / "two_map_z.npy").shape == (2, 1, 12, 12)
    said = capsys.readouterr().err.splitlines()
    assert [line.partition(":")[0] for line in said] == [*bad, "score.py"]  # one line each
    assert "there is no such file" in said[3] and "model takes" in said[4] and "no file in this folder" in said[2]
    assert said[-1] == "score.py: 7 of 10 images could not be used; found/scores.csv says why"


def test_nothing_is_written_over(script, exported, tmp_path):
    image = str(exported.parents[1] / "images" / "i000.png")
    assert script.main([image]) == 0
    before = (tmp_path / "scores" / "scores.csv").read_bytes()
    with pytest.raises(SystemExit, match="scores is there already"):
        script.main([image])
    assert (tmp_path / "scores" / "scores.csv").read_bytes() == before
    with pytest.raises(SystemExit, match="is no folder; make it"):
        script.main([image, "--out", "gone/scores"])
    (tmp_path / ".other.part").mkdir()
    with pytest.raises(SystemExit, match=r"\.other\.part is there: another call writes to other"):
        script.main([image, "--out", "other"])


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_what_is_stopped_in_the_middle_leaves_nothing(script, exported, tmp_path, monkeypatch, error):
    def stopped(*given):
        raise error

    monkeypatch.setattr(script.csv, "DictWriter", stopped)
    with pytest.raises(SystemExit, match="scores was not written"):
        script.main([str(exported.parents[1] / "images" / "i000.png")])
    assert not list(tmp_path.iterdir())


def test_it_says_how_it_is_called(script, capsys):
    with pytest.raises(SystemExit) as ended:
        script.main(["--help"])
    told = capsys.readouterr().out
    assert ended.value.code == 0 and "python score.py knee.png others/ --out scores" in told
    assert ".nii.gz" in told and "--out" in told
    with pytest.raises(SystemExit) as ended:
        script.main([])
    assert ended.value.code == 2 and "required: IMAGE" in capsys.readouterr().err


DAMAGED = {
    "a flipped bit": ("model.onnx", lambda was: was[:-1] + bytes([was[-1] ^ 1]), "model.onnx is damaged"),
    "half of it": ("model.onnx", lambda was: was[: len(was) // 2], "model.onnx is damaged"),
    "no model": ("model.onnx", None, "model.onnx cannot be read"),
    "no facts": ("preprocessing.json", None, "preprocessing.json cannot be used .*copy the whole folder"),
    "half the facts": ("preprocessing.json", lambda was: was[: len(was) // 2], "preprocessing.json cannot be used"),
    **{
        f"a model elsewhere, {name!r}": (
            "preprocessing.json",
            lambda was, name=name: was.replace(b'"model.onnx"', json.dumps(name).encode()),
            "expected the name of a file in its own folder",
        )
        for name in ("../model.onnx", "/model.onnx", "a/model.onnx", "..", "", "a\\model.onnx", "C:model.onnx", "a\0b")
    },
    "other facts": ("preprocessing.json", lambda was: b"{}", "preprocessing.json cannot be used"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_folder_is_told_in_a_line(script, exported, tmp_path, case):
    name, change, told = DAMAGED[case]
    for each in ("model.onnx", "preprocessing.json"):
        (tmp_path / each).write_bytes((exported / each).read_bytes())
    if change is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_bytes(change((exported / name).read_bytes()))
    with pytest.raises(SystemExit, match=told) as ended:
        script.opened(tmp_path)
    assert "\n" not in str(ended.value)


def test_what_is_not_installed_is_told_in_a_line(script, exported, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    assert script.main([str(exported.parents[1] / "images" / "i000.png")]) == 1
    assert "pip install pillow" in rows(tmp_path / "scores")[0]["error"] and capsys.readouterr().err.count("\n") == 2
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(SystemExit, match=r"onnxruntime cannot be used .*pip install onnxruntime"):
        script.main(["x.png", "--out", "other"])
    assert not (tmp_path / "other").exists()
