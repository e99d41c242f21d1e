"""Drawn images with label maps to learn from: a cohort that segment takes, and what it is worth, said whichever way."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from synthesized import cohort, synthesizing
from typer.testing import CliRunner

import cli
from anomaly.errors import AnomalyError, CohortError
from anomaly.images import read
from anomaly.segmentation.annotations import Annotations
from anomaly.synthesis.for_training import draw_for_training
from anomaly.synthesis.mapped import Mapped
from anomaly.synthesis.use import BOTH, DRAWN, GAIN, REAL, told
from anomaly.translation.figures import Figure

SMALL = {"steps": 30, "width": 6, "levels": 2, "lr": 5e-3, "ema": 0.0, "window": 16}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("training")
    synthesizing(cohort(folder / "a"), folder / "run")
    cohort(folder / "b", 8, first=40)
    return folder


def test_a_cohort_to_learn_from_whose_maps_are_new_and_whose_persons_are_kept(home, tmp_path):
    done = draw_for_training(home / "run", tmp_path / "out", count=11, lesions=["7"], seed=3, device="cpu")
    table = pd.read_csv(done.cohort)
    learned = pd.read_csv(home / "run" / "cohort.csv").query("split == 'train'")
    assert done.count == len(table) == 11 and set(table["subject"]) <= set(learned["subject"])
    assert set(table["drawn_from"]) <= set(learned["labels"])
    maps = [read(tmp_path / "out" / path).pixels[0] for path in table["labels"]]
    images = [read(tmp_path / "out" / path).pixels[0] for path in table["path"]]
    assert {each.shape for each in (*maps, *images)} == {(20, 20)} and {*np.unique(maps)} <= {0, 3, 7}
    originals = [read(path).pixels[0] for path in learned["labels"]]
    assert sum(any((each == other).all() for other in originals) for each in maps) < 3
    found = Annotations(labelled=done.cohort, labels="labels").read()
    assert len(found) == 11 and not done.sentences
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*_synthesized.png")}
    again = draw_for_training(home / "run", tmp_path / "out", count=11, lesions=["7"], seed=3, device="cpu")
    assert again.count == 11 and before == {path: path.stat().st_mtime_ns for path in before}
    pd.testing.assert_frame_equal(pd.read_csv(again.cohort), table)
    with pytest.raises(CohortError, match="choose another --out"):
        draw_for_training(home / "run", tmp_path / "out", count=11, lesions=["7"], seed=4, device="cpu")


def test_a_count_that_grows_adds_and_one_that_falls_lists_fewer(home, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tables = {}
    for count in (3, 11, 5):
        done = draw_for_training(home / "run", "out", count=count, seed=1, device="cpu")
        tables[count] = pd.read_csv(done.cohort)
        assert done.count == len(tables[count]) == count
        assert not set(tables[count]["drawn_from"]) & set(tables[count]["labels"])
    assert set(tables[3]["id"]) <= set(tables[5]["id"]) <= set(tables[11]["id"])
    maps = len(pd.read_csv(home / "run" / "cohort.csv").query("split == 'train'"))
    assert tables[11]["drawn_from"].nunique() == min(11, maps)  # nobody is drawn twice before all were once


def test_what_cannot_be_read_is_named_in_one_table(home, tmp_path):
    synthesizing(cohort(tmp_path / "a"), tmp_path / "run")
    first = pd.read_csv(tmp_path / "run" / "cohort.csv").query("split == 'train'")["labels"].iloc[0]
    Path(first).write_bytes(b"no picture")
    done = draw_for_training(tmp_path / "run", tmp_path / "out", count=20, device="cpu")
    assert done.failed and set(pd.read_csv(tmp_path / "out" / "errors.csv")["path"]) == {first}
    assert first not in set(pd.read_csv(done.cohort)["drawn_from"])


def test_it_is_put_to_use_on_people_who_were_not_learned_from(home, tmp_path):
    real = Mapped(images=home / "b" / "cohort.csv", labels="labels")
    done = draw_for_training(
        home / "run", tmp_path, count=6, real=real, settings=SMALL, seeds=(0, 1), device="cpu"
    )  # fmt: skip
    figures = pd.read_csv(done.use).set_index(["measure", "of"])["value"]
    assert {of for _, of in figures.index} == {REAL, DRAWN, BOTH, GAIN}
    assert figures["dice", GAIN] == pytest.approx(figures["dice", BOTH] - figures["dice", REAL], abs=1e-6)
    assert figures["dice_3", REAL] > 0.7
    assert "4 persons that nobody learned from" in done.sentences[0] and len(done.sentences) == 2
    known = Mapped(images=home / "a" / "cohort.csv", labels="labels")
    with pytest.raises(CohortError, match="--allow-overlap"):
        draw_for_training(home / "run", tmp_path / "other", real=known, device="cpu")


def test_it_is_said_whichever_way_it_falls():
    dice = [Figure("dice", way, 0.5, 0.4, 0.6, 9, 9) for way in (REAL, DRAWN, BOTH)]
    for low, high, by, says in (
        (0.01, 0.03, "+0.010, +0.030", "helped"),
        (0.01, 0.03, "-0.001, +0.030", "cannot be told"),  # trainings disagree
        (-0.03, -0.01, "-0.020, -0.010", "did harm"),
        (-0.01, 0.03, "+0.010, +0.030", "cannot be told"),
    ):
        note = f"in pairs, by subject; by training {by}"
        assert says in told([*dice, Figure("dice", GAIN, 0.01, low, high, 9, 9, note)])[1]
    assert (
        "some were learned from"
        in told([*dice, Figure("dice", GAIN, 0.01, 0, 1, 9, 9, "by training +0.010")], new=False)[0]
    )
    assert "too few people" in told([*dice, Figure("dice", GAIN, 0.01, images=1, subjects=1)])[1]


def test_what_cannot_be_is_refused_by_name(home, tmp_path):
    with pytest.raises(AnomalyError, match="no class '9'"):
        draw_for_training(home / "run", tmp_path / "a", lesions=["9"], device="cpu")
    with pytest.raises(AnomalyError, match="count is 0"):
        draw_for_training(home / "run", tmp_path / "b", count=0, device="cpu")
    moved = tmp_path / "gone"
    synthesizing(cohort(moved), tmp_path / "run")
    (moved / "labels").rename(moved / "elsewhere")
    with pytest.raises(CohortError, match="synthesize vary"):
        draw_for_training(tmp_path / "run", tmp_path / "c", device="cpu")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--labels", "labels"], "add it"),
        (["--for-training", "--class", "3"], "leave it out"),
        (["--for-training", "--labels", "labels"], "--real and --labels"),
        (["--for-training", "--batch", "4"], "--batch"),
        (["--for-training", "--where", "a=1"], "--where"),
        (["--allow-overlap"], "--allow-overlap"),
        ([], "synthesize apply"),
    ],
)
def test_options_that_do_not_go_together(home, tmp_path, arguments, says):
    shown = CliRunner().invoke(
        cli.commands, ["generate", str(home / "run"), "--out", str(tmp_path), *arguments], env={"COLUMNS": "200"}
    )
    assert shown.exit_code == 2 and says in shown.output
