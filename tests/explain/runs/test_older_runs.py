"""Runs that were trained before there were two games open, and are trained again, as what they are."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from explained import ADDITIVE, RANGE, explaining, two_sides
from safetensors.torch import load_file
from tiny import CPU

from anomaly.errors import RunError
from anomaly.nets.critics import MeanCritic
from anomaly.runs.facts import read_facts, write_facts
from anomaly.runs.plans import claim
from anomaly.training.checkpoints import facts_of, save_tensors
from explain.checking.again import Again, images_of
from explain.runs.foreseeing import foresee
from explain.runs.run import LearnedRun
from explain.sides.sides import Sides

SINCE = ("game", "slope", "identity")
"""Settings that `additive` and `deformation` did not have."""
OLDER = {**ADDITIVE, "game": "wasserstein", "identity": 0.0, "critic_turns": 2, "decay": 0.0, "ema": 0.0}


def made_older(folder: Path, lacking: tuple[str, ...]) -> None:
    """Take from the files of a run what settings there were not then."""
    weights, facts = folder / "weights.safetensors", read_facts(folder)
    told = facts_of(weights)
    for each in (told, facts):
        each["settings"] = {k: v for k, v in each["settings"].items() if k not in lacking}
    save_tensors(weights, load_file(weights), told)
    kept = {k: v for k, v in facts.items() if k not in ("created", "checksum", "files", "versions", "device")}
    write_facts(folder, kept, device="cpu", checked=("weights.safetensors", "cohort.csv"))


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Sides:
    home = tmp_path_factory.mktemp("sides")
    two_sides(home)
    return Sides(cases=home / "cases", controls=home / "controls")


def test_an_older_run_opens_as_one_of_the_published_game_and_is_trained_again_as_such(
    sides: Sides, tmp_path: Path
) -> None:
    run = explaining(sides, tmp_path / "run", settings=OLDER)
    x = torch.rand(2, 1, 12, 12) * 2 - 1
    before = run.explainer.explain(x).map
    made_older(run.folder, SINCE)
    assert "game" not in json.loads((run.folder / "run.json").read_text())["settings"]
    older = LearnedRun.open(run.folder)
    assert older.learned.settings() == run.learned.settings() | {"slope": older.learned.settings()["slope"]}
    assert isinstance(older.explainer.net_["critic"], MeanCritic)
    assert torch.equal(older.explainer.explain(x).map, before)
    again = Again(run=older, out=tmp_path, method=None, steps=None, device="cpu", save_every=9, workers=1)
    retrained = again.train(1, images_of(older), "nothing is")
    assert retrained.identity != older.identity  # whose file of weights lacks settings
    assert torch.equal(retrained.explainer.explain(x).map, before)
    with pytest.raises(RunError, match=r"begun with other settings .*game was wasserstein, now logistic"):
        explaining(sides, run.folder, settings=ADDITIVE, resume=True)


@pytest.mark.parametrize(
    ("method", "settings", "lacking"),
    [
        ("deformation", {**OLDER, "levels": 2}, SINCE),
        (
            "conditional",
            {**OLDER, "identity": 50.0, "skips": 1, "lost": "squared"},
            ("game", "slope", "warm_up", "ema", "skips", "lost"),
        ),
    ],
)
def test_older_runs_of_the_others_open_too(
    sides: Sides, method: str, settings: dict[str, object], lacking: tuple[str, ...], tmp_path: Path
) -> None:
    run = explaining(sides, tmp_path / "run", method, settings={**settings, "warm_up": 0, "steps": 1})
    made_older(run.folder, lacking)
    older = LearnedRun.open(run.folder).learned
    assert older.settings() == run.learned.settings()


@pytest.mark.parametrize(
    ("method", "settings", "lacking"),
    [
        ("additive", {}, ("jitter",)),
        ("conditional", {"skips": 1, "lost": "squared"}, ("skips", "lost")),
        ("targeted", {}, ("skips",)),
    ],
)
def test_trainings_begun_before_a_setting_was_there_go_on(
    sides: Sides, method: str, settings: dict[str, object], lacking: tuple[str, ...], tmp_path: Path
) -> None:
    """One that ended, and one that was stopped after its first checkpoint."""
    target = explaining(sides, tmp_path / "target", "classifier", settings={"steps": 2, "width": 4}).folder
    small: dict[str, object] = {"steps": 2, "batch": 2, "width": 4, "critic_width": 4, **settings}
    small |= {"warm_up": 0} if method != "targeted" else {}
    beside: dict[str, Any] = {"target": target} if method == "targeted" else {}
    run = explaining(sides, tmp_path / "run", method, settings=small, **beside)
    made_older(run.folder, lacking)
    older = LearnedRun.open(run.folder, **beside)
    assert explaining(sides, run.folder, method, settings=small, resume=True, **beside).identity == older.identity
    plan = {"kind": "explainer", "settings": run.learned.settings()}
    stopped = tmp_path / "stopped"
    claim(stopped, {**plan, "settings": {k: v for k, v in plan["settings"].items() if k not in lacking}}, False)
    (stopped / "checkpoint" / "1").mkdir()
    claim(stopped, plan, True, type(run.learned).completed)
    with pytest.raises(RunError, match=rf"{lacking[0]} was None, now"):
        claim(stopped, plan, True)


def test_a_run_says_what_was_filled_in_and_is_trained_again_with_it(sides: Sides, tmp_path: Path) -> None:
    settings = {name: value for name, value in ADDITIVE.items() if name != "batch"}
    run = explaining(sides, tmp_path / "run", settings=settings, preprocessing=RANGE)
    told = foresee(sides, settings=settings, preprocessing=RANGE, machine=CPU)
    assert told.settings == run.learned.settings()
    facts = read_facts(run.folder)
    assert facts["settings"]["batch"] == 16 and facts["settings_asked"]["batch"] == 0
    assert explaining(sides, run.folder, settings=settings, resume=True).identity == run.identity
    again = Again(run=run, out=tmp_path, method=None, steps=None, device="cpu", save_every=9, workers=1)
    retrained = again.train(1, images_of(run), "nothing is")
    assert retrained.learned.settings() == run.learned.settings() and retrained.identity == run.identity
