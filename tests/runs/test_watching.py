"""Sheets and curves that a training leaves for a person to watch."""

import csv

import numpy as np
import pytest
import torch
from PIL import Image
from studies import pictures
from tiny import TINY

from anomaly import learn
from anomaly.images.preprocessing import Preprocessing
from anomaly.runs.watching import Watch, draw_curves, draw_glance
from anomaly.training.games import Glance
from anomaly.training.machine import Machine


def gray(path):
    with Image.open(path) as picture:
        return np.asarray(picture.convert("L")).astype(int)


@pytest.mark.parametrize(("space", "turned"), [((8, 12), False), ((8, 12), True), ((8, 12, 3), False)])
def test_a_sheet_stands_as_a_reader_expects(space, turned, tmp_path):
    image = torch.full((1, 1, *space), -1.0)
    image[0, 0, 0] = 1.0  # the first row of a picture; of a volume the side turned to the right of the sheet
    draw_glance(tmp_path, "gan", 7, Glance(pictures={"sample": image}), turned=turned)
    sheet = gray(tmp_path / "samples" / "gan_000007.png")
    white = np.argwhere(sheet[24:, 40:] == 255)
    high, wide = np.ptp(white, axis=0)
    assert (high > 3 * wide) if turned or len(space) == 3 else (wide > 3 * high)


def test_nothing_is_drawn_where_nothing_is_shown(tmp_path):
    draw_glance(tmp_path, "train", 1, Glance())
    assert not list(tmp_path.iterdir())


def test_fewer_real_images_than_samples_leave_places_empty(tmp_path):
    shown = {"sample": torch.ones(3, 1, 8, 8), "image": torch.ones(1, 1, 8, 8)}
    draw_glance(tmp_path, "gan", 1, Glance(pictures=shown))
    sheet = gray(tmp_path / "samples" / "gan_000001.png") == 255
    first, second = np.array_split(sheet[24:], 2)
    assert first.sum() == pytest.approx(3 * second.sum(), rel=0.1)


def test_a_warning_stands_on_the_sheet(tmp_path):
    pictures = {"sample": torch.zeros(8, 1, 8, 8)}
    draw_glance(tmp_path, "a", 1, Glance(pictures=pictures))
    draw_glance(tmp_path, "b", 1, Glance(pictures=pictures, warnings={"won": "the critic has won"}))
    assert len(gray(tmp_path / "samples" / "b_000001.png")) > len(gray(tmp_path / "samples" / "a_000001.png"))


def test_a_picture_that_fails_costs_no_training(tmp_path, monkeypatch, caplog):
    def broken(*given, **named):
        raise RuntimeError("no font")

    monkeypatch.setattr("anomaly.runs.watching.draw_glance", broken)
    Watch(tmp_path)("gan", 3, Glance())
    assert "gan, step 3: nothing could be drawn" in caplog.text
    monkeypatch.setattr("anomaly.runs.watching.draw_glance", lambda *given, **named: (tmp_path / "none" / "x").touch())
    with pytest.raises(OSError):
        Watch(tmp_path)("gan", 3, Glance())


def test_no_curves_before_there_is_a_row(tmp_path):
    (tmp_path / "training.csv").write_text("stage,step,player,loss,learning_rate,seconds\n")
    draw_curves(tmp_path)
    assert not (tmp_path / "training.png").exists()


def test_a_run_of_fanogan_can_be_watched(tmp_path):
    normals = pictures(tmp_path / "normals", 30)
    settings = {**TINY["fanogan"], "steps": 4, "encoder_steps": 3}
    run = learn(
        normals, tmp_path / "run", method="fanogan", settings=settings, subject_pattern="(n[0-9]+)", save_every=2,
        preprocessing=Preprocessing(size=16), machine=Machine(device="cpu"),
    )  # fmt: skip
    sheets = sorted(path.name for path in (run.folder / "samples").iterdir())
    assert sheets == ["encoder_000002.png", "encoder_000003.png", "wgan_000002.png", "wgan_000004.png"]
    with (run.folder / "training.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    told = {(row["stage"], row["player"]) for row in rows}
    wgan = {"critic", "critic/distance", "critic/penalty", "generator", "seen/distance", "seen/told_apart"}
    assert told == {
        ("encoder", "encoder"),
        ("encoder", "seen/code_spread"),
        *(("wgan", each) for each in {*wgan, "seen/diversity"}),
    }
    assert [row["step"] for row in rows if row["player"] == "seen/diversity"] == ["2", "4"]
    with Image.open(run.folder / "training.png") as curves:
        assert curves.size[0] > 1000 and curves.size[1] > 400
