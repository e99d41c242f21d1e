"""An explainer of a user's own: it needs no more than its mathematics, and a run never takes another file for it."""

from pathlib import Path

import pytest
from explained import explaining, two_sides
from studies import call

from anomaly.errors import RunError
from explain.runs.run import LearnedRun
from explain.sides.sides import Sides

DIMMER = '''
from dataclasses import dataclass

from explain.counterfactuals.criticised import CriticisedExplainer
from explain.trained import drawn


@dataclass(kw_only=True)
class Dimmer(CriticisedExplainer):
    """Takes brightness away from a case, and never adds any."""

    weight: float = 2.0

    def build(self, shape):
        return self.networks(shape, out=shape[0])

    def moves(self, x):
        removed = self.net_["generator"](x).relu()
        return x - removed, self.weight * removed.flatten(1).mean(1)

    def counterfactual(self, x):
        return drawn(x, self.moves(x)[0].clamp(-1, 1))
'''
TINY = {"steps": 2, "batch": 4, "width": 2, "critic_width": 2, "critic_turns": 1, "warm_up": 1}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("own")
    (home / "dimmer.py").write_text(DIMMER)
    two_sides(home)
    sides = Sides(cases=home / "cases", controls=home / "controls")
    explaining(sides, home / "run", f"{home / 'dimmer.py'}:Dimmer", settings=TINY)
    return home


def test_its_card_says_that_nobody_is_to_be_cited(home: Path) -> None:
    card = (home / "run" / "MODEL_CARD.md").read_text()
    assert "a method of the user's own" in card and "not given by the author of the method" in card


def test_its_run_opens_with_the_file_it_was_trained_with_alone(home: Path, tmp_path: Path) -> None:
    run = LearnedRun.open(home / "run", method=f"{home / 'dimmer.py'}:Dimmer")
    assert run.explainer.name == "Dimmer"
    with pytest.raises(RunError, match="give it again with --method"):
        LearnedRun.open(home / "run")
    (tmp_path / "dimmer.py").write_text(DIMMER.replace("relu()", "abs()"))
    with pytest.raises(RunError, match="is not the file that"):
        LearnedRun.open(home / "run", method=f"{tmp_path / 'dimmer.py'}:Dimmer")


def test_map_says_that_its_file_is_missing(home: Path, tmp_path: Path) -> None:
    code, _, errors = call("explain", "map", home / "run", "--images", home / "cases", "--out", tmp_path / "maps")
    assert code == 1 and "was trained with a method of your own" in errors and errors.count("\n") == 1
