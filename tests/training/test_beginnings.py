"""Which training is the beginning of a longer one, and what a person is told of its stages."""

import logging
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn

from anomaly.training.batches import Batches
from anomaly.training.beginnings import unlike
from anomaly.training.games import Course, Player, Stage, lately
from anomaly.training.journal import Journal
from anomaly.training.loop import cosine, train_stages

NET = nn.Linear(3, 1)
POINTS = torch.randn(20, 3, generator=torch.Generator().manual_seed(7))
PLAYER = Player(name="one", owns=[NET], loss=lambda x: NET(x).square().mean())


def stages(first: int, last: int, **changes: object) -> list[Stage]:
    player = replace(PLAYER, **changes)  # type: ignore[arg-type]
    return [Stage(name="warm", players=[PLAYER], steps=first), Stage(name="game", players=[player], steps=last)]


def until(done: float, half: float) -> float:
    """1 in the first half."""
    return 1.0 if done < half else 0.5


@pytest.mark.parametrize(
    ("longer", "told"),
    [
        (stages(5, 20), ""),
        (stages(6, 20), "stage warm would be longer, and game comes after it"),
        (stages(5, 10), "its last stage, game, would be as long as it is"),
        (stages(5, 20)[1:], "its stages would be others (game)"),
        ([], "it learns in closed form, not by steps"),
        (stages(5, 20, every=2), "the turn of 'one' follows"),
        (stages(5, 20, ema=0.9), "the running average of 'one' follows from how many steps there are in all"),
    ],
)
def test_a_longer_training_begins_with_a_shorter_one_where_only_the_end_is_farther(longer, told):
    assert unlike(stages(5, 10), longer).startswith(told) and bool(told) == bool(unlike(stages(5, 10), longer))


def test_a_learning_rate_that_follows_from_the_length_is_another_training():
    assert "the learning rate of 'one'" in unlike(stages(5, 10, schedule=cosine), stages(5, 20, schedule=cosine))
    assert unlike(stages(5, 10, schedule=lambda done: 1.0), stages(5, 20)) == ""
    falling = partial(until, half=0.5)
    assert "the learning rate" in unlike(stages(5, 10, schedule=falling), stages(5, 20, schedule=falling))
    average = [stages(5, steps, ema=lately(0.999, steps)) for steps in (10, 20)]
    assert "the running average" in unlike(*average)


def test_stages_their_steps_and_where_it_goes_on_are_told(tmp_path, caplog):
    def play(resume: bool) -> None:
        with caplog.at_level(logging.INFO):
            journal = Journal(folder=tmp_path, resume=resume, save_every=2)
            train_stages(nn.ModuleList([NET]), stages(3, 4), Batches(POINTS, size=4), journal=journal)

    play(resume=False)
    assert caplog.messages == ["stage 1 of 2, warm: 3 steps (3 + 4 = 7 in all)", "stage 2 of 2, game: 4 steps"]
    caplog.clear()
    play(resume=True)
    assert caplog.messages == ["all steps were done: it goes on with what comes after training"]
    caplog.clear()
    for path in sorted((tmp_path / "checkpoint").glob("0*"))[-1:]:  # that after the last step
        path.rename(tmp_path / path.name)
    play(resume=True)
    assert caplog.messages == ["stage 2 of 2, game: goes on from step 2 of 4"]


def test_the_time_left_is_that_of_the_stage_whose_steps_it_is_told_by(caplog, monkeypatch):
    hours = iter(range(1000))
    monkeypatch.setattr("anomaly.progress.time.monotonic", lambda: 3600.0 * next(hours))
    with caplog.at_level(logging.INFO):
        train_stages(nn.ModuleList([NET]), stages(3, 4), Batches(POINTS, size=4))
        train_stages(nn.ModuleList([NET]), stages(3, 4)[:1], Batches(POINTS, size=4))
    told = [each for each in caplog.messages if "left" in each]
    assert told[0].startswith("warm (1 of 2): 1 of 3, ") and "s left of this stage" in told[0]
    assert told[3].startswith("game (2 of 2): 1 of 4, ") and "s left of this stage" in told[3]
    assert told[7].startswith("warm: 1 of 3, ") and "of this stage" not in told[7]


def test_the_place_of_a_stage_is_that_within_all():
    course = Course(stages(3, 4), 1)
    assert (course.steps, course.name, course.last) == (7, "game (2 of 2)", True)
    assert Course(stages(3, 4)[:1], 0).told(0) == ""
