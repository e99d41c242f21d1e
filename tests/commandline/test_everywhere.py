"""Options that every command has: `--config` reads options from a file, `--log` keeps what is told."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from studies import SIDE, call, calling, pictures, trained

from anomaly.commandline import records
from anomaly.images.preprocessing import Preprocessing
from anomaly.runs.facts import read_facts

PCA = f"--method pca --set components=2 --size {SIDE} --fit crop --seed 3 --calibrate 0.3 --device cpu"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`normals/` and `images/`, and a run in `run/`."""
    home = tmp_path_factory.mktemp("home")
    code, _, errors = call("train", "--normals", pictures(home / "normals", 24), "--out", home / "run", *PCA.split())
    assert code == 0, errors
    pictures(home / "images", 4, name="i")
    return home


@pytest.fixture
def run(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Call the program in this process: exit code, output and errors."""
    return calling(home, monkeypatch, capsys)


def test_a_run_is_trained_again_by_its_own_facts_and_what_is_typed_wins(run, home, tmp_path):
    words = f"train --config run/run.json --normals normals --device cpu --out {tmp_path}"
    assert run(f"{words}/same")[0] == 0 and run(f"{words}/other --set components=3 --seed 4")[0] == 0
    first, second = (load_file(folder / "weights.safetensors") for folder in (home / "run", tmp_path / "same"))
    assert all(np.array_equal(first[name], second[name]) for name in first)
    facts = read_facts(tmp_path / "other")
    assert (facts["seed"], facts["calibrate"], facts["settings"]["components"]) == (4, 0.3, 3)
    assert facts["preprocessing"] == read_facts(home / "run")["preprocessing"]


def test_scores_are_made_again_by_what_they_say_of_themselves(run, tmp_path):
    assert run(f"score run --images images --out {tmp_path}/a --heatmaps none --alpha 0.3 --device cpu")[0] == 0
    assert run(f"score --config {tmp_path}/a/score.json --images images --out {tmp_path}/b --device cpu")[0] == 0
    first, second = (json.loads((tmp_path / name / "score.json").read_text()) for name in "ab")
    assert first["alpha"] == second["alpha"] == 0.3 and second["heatmaps"] == ["none"]
    assert (tmp_path / "a" / "scores.csv").read_bytes() == (tmp_path / "b" / "scores.csv").read_bytes()


def test_the_refusal_of_what_is_unlike_is_repeated_and_masks_are_asked_for(run, tmp_path, caplog):
    words = f"--images images --heatmaps none --device cpu --out {tmp_path}"
    assert run(f"score run {words}/a --refuse-unlike")[0] == run(f"score --config {tmp_path}/a/score.json {words}/b")[0]
    assert json.loads((tmp_path / "b" / "score.json").read_text())["refuse_unlike"] is True
    facts = json.loads((tmp_path / "b" / "score.json").read_text())
    for masks, told in (("brains", True), ("the column brain", True), ("the column mask", False), (None, False)):
        caplog.clear()
        records.record_of(facts).options({**facts, "masks": masks}, tmp_path / "b")
        assert (f"scored with masks, by {masks}; give --mask again" in caplog.text) is told


def test_a_file_of_ones_own_names_options_as_they_are_typed(run, home, tmp_path):
    text = f'normals = "normals"\nout = "{tmp_path}/run"\nmethod = "pca"\nsize = [{SIDE}, {SIDE}]\n'
    text += 'subject_pattern = "n(..)"\nexclude = ["n000*", "n001*"]\n[set]\ncomponents = 2\n'
    (tmp_path / "mine.toml").write_text(text)
    code, _, errors = run(f"train --config {tmp_path}/mine.toml")
    assert code == 0, errors
    facts = read_facts(tmp_path / "run")
    assert facts["data"]["images"] == 22 and facts["preprocessing"]["size"] == [SIDE, SIDE]
    assert facts["settings"]["components"] == 2 and "n(..)" in facts["data"]["subjects_from"]


@pytest.mark.parametrize(
    ("text", "command", "told"),
    [
        ('{"nromals": "x"}', "train", "asks for 'nromals', which is no option of this command; did you mean normals?"),
        ("[1]", "train", "holds no options; expected something like"),
        ("{", "score", "cannot be read as JSON"),
        ('{"dims": "two"}', "train --normals normals --out new", "for '--dims'"),
        (None, "score", "holds the settings of `anomaly train`, not of `anomaly score`"),
        (None, "explain train", "holds the settings of `anomaly train`, not of `anomaly explain train`"),
    ],
)
def test_a_file_that_is_no_config_of_the_command_is_refused(run, home, tmp_path, text, command, told):
    (tmp_path / "it.json").write_text((home / "run" / "run.json").read_text() if text is None else text)
    code, _, errors = run(f"{command} --config {tmp_path}/it.json")
    assert code == 2 and told in " ".join(errors.split())


def test_what_no_option_asks_for_is_refused_and_not_left_out(run, home, tmp_path):
    trained(home / "normals", tmp_path / "run", preprocessing=Preprocessing(size=SIDE, percentiles=(5, 95)))
    code, _, errors = run(f"train --config {tmp_path}/run/run.json --normals normals --out {tmp_path}/new")
    assert code == 2 and "prepared with percentiles=[5.0, 95.0], which no option asks for" in " ".join(errors.split())


def test_records_become_the_options_of_their_commands(tmp_path):
    question = {"scores": "/s.csv", "cohort": "/c.csv", "outcome": "event", "time": "t", "event": "event", "seed": 2}
    facts = {**question, "headline": "", "notes": [], "where": {"visit": 0}, "adjust": ["age", "sex"]}
    kind = records.record_of(facts)
    told = kind.options(facts, tmp_path)
    assert kind.commands(facts) == ("evaluate",) and told["outcome"] is None and told["seed"] == 2
    explained = {
        "source": {}, "outputs": ["png"], "thresholds": {}, "settings": {"side": 3},
        "runs": {"source": "occlusion", "target": "../run"},
    }  # fmt: skip
    told = records.record_of(explained).options(explained, tmp_path / "out")
    assert told["source"] == "occlusion" and told["target"] == str(tmp_path / "run") and told["set"] == {"side": 3}


def test_a_log_gets_what_the_screen_gets_and_is_added_to(run, home, tmp_path):
    log = tmp_path / "logs" / "it.log"
    words = f"score run --images images --out {tmp_path}/out --heatmaps none --device cpu"
    _, out, _ = run(f"{words} --log {log}")
    assert run(f"{words} --log {log} --alpha 2")[0] == 2
    assert run(f"score run --images normals --out {tmp_path}/n --log {log}")[0] == 1
    lines = log.read_text().splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ", line) for line in lines)
    told = [line[20:] for line in lines]
    assert told[0].startswith(f"anomaly 0.1.0.dev0: anomaly {words}") and out.strip() in told
    assert told.count("ended with code 0") == 1 and "ended with code 2" in told and told[-1] == "ended with code 1"
    assert any(line.startswith("error: 24 subjects are in both") for line in told)
    assert any("expected a number between 0 and 1" in line for line in told)


def test_a_log_in_the_folder_to_be_made_is_refused_and_leaves_nothing(run, tmp_path):
    code, _, errors = run(f"train --normals normals --out {tmp_path}/new --log {tmp_path}/new/a.log")
    assert code == 2 and f"put it beside, as {tmp_path}/new.log" in " ".join(errors.split())
    assert not (tmp_path / "new").exists()
