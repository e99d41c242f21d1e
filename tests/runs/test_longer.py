"""A finished run that is trained on: the same as so many steps from the start, or refused; the old one stays until."""

import json
import logging
import os
import shutil
from pathlib import Path

import pandas as pd
import pytest
from safetensors.numpy import load_file
from studies import AE, FLAT, SIDE, call, pictures, trained
from tiny import CPU

from anomaly.errors import RunError
from anomaly.runs import longer
from anomaly.runs.run import Run
from explain.runs.learning import learn as learn_explainer
from explain.sides.sides import Sides

SMALL = {name: value for name, value in AE.items() if name != "steps"}
ADDITIVE = {"width": 2, "critic_width": 2, "batch": 4, "warm_up": 2, "critic_turns": 1}


@pytest.fixture(scope="module")
def normals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pictures(tmp_path_factory.mktemp("normals"), 20)


def files(folder: Path) -> dict[str, bytes]:
    """What a run folder holds, but for times: the seconds of curves, the day of making."""
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    facts = json.loads(found["run.json"])
    found["run.json"] = json.dumps({k: v for k, v in facts.items() if k not in ("created", "checksum")}).encode()
    found["training.csv"] = pd.read_csv(folder / "training.csv").drop(columns="seconds").to_csv().encode()
    return {
        name: text for name, text in found.items() if not name.startswith(("samples", "MODEL_CARD", "training.png"))
    }


@pytest.mark.parametrize(
    ("method", "settings"),
    [("vae", SMALL), ("autoencoder", {**SMALL, "patience": 2, "look_every": 4})],
)
def test_twenty_steps_and_twenty_more_are_forty_bit_by_bit(method, settings, normals, tmp_path):
    at_once = trained(normals, tmp_path / "whole", method, settings={**settings, "steps": 40})
    trained(normals, tmp_path / "run", method, settings={**settings, "steps": 20})
    run = trained(normals, tmp_path / "run", method, settings={**settings, "steps": 40}, resume=True)
    one, other = files(at_once.folder), files(run.folder)
    assert one.keys() == other.keys() and [name for name in one if one[name] != other[name]] == []
    assert run.facts["settings"]["steps"] == 40 and longer.KEPT in {path.name for path in run.folder.iterdir()}


def test_an_explainer_is_trained_on_as_well(normals, tmp_path):
    cases = pictures(tmp_path / "cases", 12, name="c")

    def learned(out: Path, steps: int, resume: bool = False, decay: float = 0.0):
        return learn_explainer(
            Sides(cases=cases, controls=normals), out, settings={**ADDITIVE, "steps": steps, "decay": decay},
            preprocessing=FLAT, machine=CPU, workers=1, resume=resume,
        )  # fmt: skip

    at_once = learned(tmp_path / "whole", 8)
    learned(tmp_path / "run", 4)
    run = learned(tmp_path / "run", 8, resume=True)
    one, other = (load_file(each.folder / "weights.safetensors") for each in (at_once, run))
    assert all((one[name] == other[name]).all() for name in one)
    learned(tmp_path / "falling", 4, decay=0.4)
    with pytest.raises(RunError, match=r"the learning rate of '(critic|generator)' follows from how many steps"):
        learned(tmp_path / "falling", 8, resume=True, decay=0.4)


def test_the_autoencoder_of_a_committee_is_trained_on_with_the_members_it_has(normals, tmp_path):
    settings = {"members": "texture,autoencoder"}
    at_once = trained(normals, tmp_path / "whole", "auto", settings={**settings, "steps": 6})
    trained(normals, tmp_path / "run", "auto", settings={**settings, "steps": 3})
    run = trained(normals, tmp_path / "run", "auto", settings={**settings, "steps": 6}, resume=True)
    assert run.identity == at_once.identity


def test_a_finished_run_is_returned_as_it_is_and_says_so(normals, tmp_path, caplog):
    run = trained(normals, tmp_path / "run", "vae", settings={**SMALL, "steps": 4})
    before = files(run.folder)
    with caplog.at_level(logging.INFO):
        for settings in (SMALL, {**SMALL, "steps": 4}):
            trained(normals, run.folder, "vae", settings=settings, resume=True)
    assert files(run.folder) == before
    assert caplog.text.count("is finished already (4 steps); --steps N with more of them and --resume goes on") == 2


def test_what_cannot_be_gone_on_with_is_refused_by_name(normals, tmp_path):
    run = trained(normals, tmp_path / "run", "vae", settings={**SMALL, "steps": 4})
    with pytest.raises(RunError, match=r"is finished and has 4 steps, more than the 3 asked for"):
        trained(normals, run.folder, "vae", settings={**SMALL, "steps": 3}, resume=True)
    shutil.rmtree(run.folder / longer.KEPT)
    with pytest.raises(RunError, match="holds no further/ to go on from"):
        trained(normals, run.folder, "vae", settings={**SMALL, "steps": 8}, resume=True)
    falling = {"width": 8, "batch": 8, "steps": 2}
    own = trained(normals, tmp_path / "own", "own-features", settings=falling)
    assert not (own.folder / longer.KEPT).exists()
    with pytest.raises(RunError, match="the learning rate of 'own-features' follows from how many steps"):
        trained(normals, own.folder, "own-features", settings={**falling, "steps": 4}, resume=True)


def test_the_old_run_stays_until_the_new_one_is_whole_and_a_move_cut_short_is_ended(normals, tmp_path, monkeypatch):
    small = {**SMALL, "steps": 4}
    identity = trained(normals, tmp_path / "run", "vae", settings=small).identity
    whole = trained(normals, tmp_path / "whole", "vae", settings={**small, "steps": 8}).identity

    def go_on() -> Run:
        return trained(normals, tmp_path / "run", "vae", settings={**small, "steps": 8}, resume=True)

    with monkeypatch.context() as patched:
        patched.setattr("anomaly.runs.learning.calibrated", lambda *given: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            go_on()
    assert Run.open(tmp_path / "run").identity == identity
    with pytest.raises(RunError, match="is being trained on to 8 steps, which is not finished; give --steps 8 to go"):
        trained(normals, tmp_path / "run", "vae", settings={**small, "steps": 9}, resume=True)

    move = Path.replace

    def dying(path: Path, target: Path) -> Path:
        if path.parent.name == longer.DRAFT and path.name == "weights.safetensors":
            raise KeyboardInterrupt
        return move(path, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", dying)
        with pytest.raises(KeyboardInterrupt):
            go_on()
    with pytest.raises(RunError, match="half replaced by a longer training; end that by its command with --resume"):
        Run.open(tmp_path / "run")
    assert go_on().identity == whole and not (tmp_path / "run" / longer.DRAFT).exists()


def test_fewer_steps_are_refused_before_anything_is_imported(normals, tmp_path):
    trained(normals, tmp_path / "run", "vae", settings={**SMALL, "steps": 4})
    words = ["train", "--normals", normals, "--out", tmp_path / "run", "--method", "vae", "--size", SIDE]
    code, _, errors = call(*words, "--steps", 2, "--resume")
    assert code == 1 and "give --steps above 4 to go on" in errors
    assert os.listdir(tmp_path / "run")
