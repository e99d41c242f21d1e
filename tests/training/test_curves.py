"""`training.csv` of a training that was killed at the worst moments is as that of one that was not."""

from pathlib import Path

import pytest
import torch
from test_training import POINTS, counting, curve, play
from torch import nn

from anomaly.training import journal
from anomaly.training.batches import Batches
from anomaly.training.journal import Journal
from anomaly.training.loop import Stage, train_stages


class Killed(BaseException):
    """Stands for a kill: nothing in the program catches it."""


def killed(*given: object, **options: object) -> None:
    raise Killed


def test_a_line_of_the_curve_that_was_cut_short_is_written_again(tmp_path: Path) -> None:
    play(tmp_path / "whole", steps=14)
    play(tmp_path / "cut", steps=12)  # its last checkpoint, of step 12, is dropped: the one before is of step 7
    for file in max((tmp_path / "cut" / "checkpoint").glob("[0-9]*")).iterdir():
        file.unlink()
    path = tmp_path / "cut" / "training.csv"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:4]) + b"train,1")  # was to be: train,10,...
    play(tmp_path / "cut", steps=14, resume=True)
    assert curve(tmp_path / "cut") == curve(tmp_path / "whole")


def test_a_kill_while_the_curve_is_cut_back_loses_no_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    play(tmp_path, steps=14)
    before = curve(tmp_path)
    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(journal.csv.DictWriter, "writerows", killed)
        play(tmp_path, steps=21, resume=True)
    assert curve(tmp_path) == before


def stopping(folder: Path, resume: bool = False) -> None:
    """A training that stops early, at step 4, where a checkpoint is due as well."""
    torch.manual_seed(0)
    layer = nn.Linear(3, 1)
    stage = Stage(
        name="train", players=[counting(layer, [], "one")], steps=100, watch=lambda: 1.0, look_every=1, patience=3
    )
    kept = Journal(folder=folder, resume=resume, save_every=2, log_every=50)
    train_stages(nn.ModuleDict({"one": layer}), [stage], Batches(POINTS, size=8), journal=kept)


def test_a_kill_where_a_training_stops_early_repeats_no_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stopping(tmp_path / "whole")
    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr("anomaly.training.playing.Play.finish", killed)
        stopping(tmp_path / "killed")
    stopping(tmp_path / "killed", resume=True)
    assert curve(tmp_path / "killed") == curve(tmp_path / "whole")
