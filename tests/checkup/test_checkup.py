"""`anomaly doctor`: whatever is broken is a line, what lies in a place is told, and nobody's folders are."""

import json
from pathlib import Path

import PIL.Image
import pytest
from studies import broken, calling, pictures, trained, volumes

from anomaly.checkup import installation
from anomaly.checkup.examining import checkup
from anomaly.checkup.findings import nameless
from anomaly.checkup.place import _stored
from anomaly.images import read


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Call the program in this process: exit code, output and errors."""
    return calling(tmp_path, monkeypatch, capsys)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the place is asked for."""
    monkeypatch.setattr(installation, "questions", lambda: [])
    monkeypatch.setattr("anomaly.checkup.examining._trial", lambda: iter(()))


def lines(found) -> dict[str, str]:
    return {each.name: each.told for each in found}


def test_a_sound_installation_is_fine_and_has_been_tried(run):
    code, out, errors = run("doctor")
    assert code == 0 and out.endswith("fine: nothing that is needed is broken\n") and not errors
    told = [line.split()[0] for line in out.splitlines() if line]
    assert {"anomaly", "Python", "torch", "numpy", "cores", "memory", "disk", "language", "self"} <= set(told)
    assert "mean-image and texture trained and scored in" in out and str(Path.home()) not in out


def test_what_is_broken_is_a_line_and_stops_nothing(run, monkeypatch):
    monkeypatch.setattr(installation, "NEEDED", {"numpy": "numpy", "gone-package": "gone"})
    monkeypatch.setattr("anomaly.checkup.trial._draw", lambda *given, **options: 1 / 0)
    code, out, _ = run("doctor --json")
    told = json.loads(out)
    wrong = {each["name"]: each["told"] for each in told["installation"] if each["wrong"]}
    assert code == 1 and told["fine"] is False
    assert wrong == {
        "gone-package": "missing: pip install gone-package",
        "self test": "fails: ZeroDivisionError: division by zero",
    }


def test_images_are_told_with_what_cannot_be_read_and_why(quick, tmp_path):
    home = pictures(tmp_path / "images", 3)
    volumes(home, 2, name="v")
    bad = broken(home)
    found = checkup(home)
    told = lines(found.place)
    assert found.fine and told["images"].startswith(f"{5 + len(bad)}: .png (5)")
    assert told["read"] == f"all: 6 can be read, {len(bad) - 1} cannot"  # a picture of one value is read
    assert sum(each.name == "unreadable" for each in found.place) == 3
    assert told["size"] == "12 x 12 (4), 8 x 8 x 8 (2)" and told["spacing"] == "1 x 1 x 1 mm (2)"
    assert told["stored as"] == "L (PNG) (4), uint8 (2)" and told["axes"] == "RAS (2)"


def test_a_run_is_told_and_one_that_was_changed_is_broken(quick, tmp_path):
    run = trained(pictures(tmp_path / "normals", 20), tmp_path / "run")
    told = lines(checkup(run.folder).place)
    assert told["run"].startswith("a detector, mean-image()") and told["files"] == "as they were written"
    (run.folder / "weights.safetensors").write_bytes(b"")
    assert not checkup(run.folder).fine


def test_a_place_that_is_none_is_told(quick, tmp_path):
    found = checkup(tmp_path / "gone")
    assert not found.fine and "no such folder" in found.place[0].told


def test_folders_of_a_person_are_not_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = f"{tmp_path}/a/b.png: is bad, {Path.home()}/data, /other{tmp_path}/x"
    assert nameless(text, "a") == f"a/b.png: is bad, ~/data, /other{tmp_path}/x"


def test_a_package_that_ends_python_is_told_and_the_next_are_still_asked(tmp_path, monkeypatch):
    (tmp_path / "deadly.py").write_text("import os\nos._exit(9)\n")
    (tmp_path / "raising.py").write_text("raise OSError('no symbol')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = installation._broken(["json", "deadly", "raising", "csv"])
    assert found == {"deadly": "it ends Python with 9", "raising": "OSError: no symbol"}


def test_only_formats_that_are_read_are_asked_how_they_store(tmp_path):
    home = pictures(tmp_path / "images", 1)
    (path,) = home.iterdir()
    image = read(path)
    assert _stored(image) == "L (PNG)"
    with PIL.Image.open(path) as picture:
        picture.load()
    picture.save(path, format="PPM")  # written over meanwhile
    assert _stored(image) == ""
