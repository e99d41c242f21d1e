"""A second call: trainings go on to the bit, and what would be painted otherwise is refused by name."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import PIL.Image
import pytest
from painted import LESIONS, RANGE, SIDE, TINY, write

from anomaly.errors import CohortError, RunError
from anomaly.images import read
from anomaly.images.labels import Labels
from explain.evaluating.judging import evaluate
from explain.painting import windows
from explain.painting.learning import learn_painter
from explain.painting.putting_in import paint_in
from explain.painting.run import PainterRun
from explain.painting.taking_out import paint_out


def rooted(home: Path, name: str, *columns: str) -> pd.DataFrame:
    """A table of the study with whole paths."""
    table = pd.read_csv(home / f"{name}.csv", keep_default_na=False, dtype=str)
    for column in ("path", *columns):
        table[column] = [str(home / each) if each else "" for each in table[column]]
    return table


def test_a_stopped_training_goes_on_to_the_bit(home: Path, tmp_path: Path) -> None:
    class Stopped(Exception):
        pass

    ask = windows.LesionWindows.__getitem__

    def until_four(self: windows.LesionWindows, k: int) -> Any:
        if k == 4:
            raise Stopped
        return ask(self, k)

    asked: dict[str, Any] = dict(settings=TINY, preprocessing=RANGE, save_every=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(windows.LesionWindows, "__getitem__", until_four)
        with pytest.raises(Stopped):
            learn_painter(home / "p.csv", tmp_path / "run", LESIONS, **asked)
    assert not (tmp_path / "run/run.json").exists()
    gone_on = learn_painter(home / "p.csv", tmp_path / "run", LESIONS, resume=True, **asked)
    assert gone_on.identity == PainterRun.open(home / "run").identity
    assert not (tmp_path / "run/checkpoint").exists()


def test_a_finished_run_is_that_of_its_images_and_lesions(home: Path) -> None:
    asked: dict[str, Any] = dict(settings=TINY, preprocessing=RANGE, resume=True)
    same = learn_painter(home / "p.csv", home / "run", LESIONS, **asked)
    assert same.identity == PainterRun.open(home / "run").identity
    with pytest.raises(RunError, match="fingerprint was"):
        learn_painter(home / "q.csv", home / "run", LESIONS, **asked)
    table = rooted(home, "p", "mask")
    table["kind"] = table["kind"].map({"bright": "dark", "dark": "bright"}).fillna("")
    with pytest.raises(RunError, match="marks was"):
        learn_painter(table, home / "run", LESIONS, **asked)


def test_other_masks_and_classes_are_not_painted_into_the_same_folder(home: Path, tmp_path: Path) -> None:
    table, out = rooted(home, "q", "mask", "numbers"), tmp_path / "out"
    few = table[table["ill"] == "1"].head(2)
    asked: dict[str, Any] = dict(classes=Labels.asked("any=1+2"))
    assert paint_out(home / "run", few, "numbers", out, **asked).new == 2
    assert paint_out(home / "run", few, "numbers", out, **asked).before == 2
    with pytest.raises(RunError, match="made with another lesions"):
        paint_out(home / "run", few, "mask", out, **asked)
    with pytest.raises(RunError, match="made with another classes"):
        paint_out(home / "run", few, "numbers", out, classes=Labels.asked("any=2"))
    other = np.zeros((SIDE, SIDE))
    other[9:12, 9:12] = 1
    write(tmp_path / "other.png", other)
    changed = few.assign(numbers=[*few["numbers"][:1], str(tmp_path / "other.png")])
    with pytest.raises(RunError, match=r"q1 painted by another mask"):
        paint_out(home / "run", changed, "numbers", out, **asked)
    assert paint_out(home / "run", few, "numbers", out, **asked).before == 2


def test_other_masks_are_not_painted_into_the_same_cases(home: Path, tmp_path: Path) -> None:
    masks = tmp_path / "masks"
    mask = np.zeros((SIDE, SIDE))
    mask[4:8, 4:8] = 255
    write(masks / "a.png", mask)
    asked: dict[str, Any] = dict(where={"ill": "0"}, count=2, lesions=str(masks))
    assert paint_in(home / "run", home / "q.csv", "dark", tmp_path / "in", **asked).new == 2
    assert paint_in(home / "run", home / "q.csv", "dark", tmp_path / "in", **asked).before == 2
    write(masks / "a.png", mask.T[::-1])
    with pytest.raises(RunError, match="painted by another mask"):
        paint_in(home / "run", home / "q.csv", "dark", tmp_path / "in", **asked)
    with pytest.raises(RunError, match="made with another lesions"):
        paint_in(home / "run", home / "q.csv", "dark", tmp_path / "in", **{**asked, "lesions": None})


def test_images_with_lesions_of_their_own_get_no_others(
    home: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    done = paint_in(home / "run", home / "q.csv", "dark", tmp_path / "in")
    assert (done.new, done.without) == (6, 12)
    assert set(pd.read_csv(done.path)["subject"]) == {f"q{k}" for k in range(2, 18, 3)}
    over = paint_in(home / "run", home / "q.csv", "dark", tmp_path / "over", lesions="mask", where={"kind": "bright"})
    assert (over.new, over.without) == (6, 0)  # painted over where they lie
    with pytest.raises(CohortError, match="all 6 images have lesions by the column mask"):
        paint_in(home / "run", home / "q.csv", "dark", tmp_path / "none", where={"kind": "bright"})
    assert "have lesions of their own" not in caplog.text
    plain = rooted(home, "q")[["path", "subject"]].head(1)
    paint_in(home / "run", plain, "dark", tmp_path / "plain")
    assert "no column mask says which of 1 images have lesions of their own" in caplog.text


def test_a_picture_of_fractions_is_gone_on_with(home: Path, tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(120, 12, (SIDE, SIDE)).astype(np.float32)
    PIL.Image.fromarray(values).save(tmp_path / "x.tiff")
    table = pd.DataFrame({"path": [str(tmp_path / "x.tiff")], "subject": ["x"], "mask": [""]})
    learn_painter(home / "p.csv", tmp_path / "run", LESIONS, settings={**TINY, "steps": 1})
    first = paint_in(tmp_path / "run", table, "dark", tmp_path / "in")
    assert pd.read_csv(first.path)["path"][0].endswith(".nii.gz")
    again = paint_in(tmp_path / "run", table, "dark", tmp_path / "in")
    assert (again.new, again.before) == (0, 1)


def test_numbers_above_255_are_kept_and_masks_say_that_they_were_drawn(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PainterRun, "classes", Labels.asked("bright=300,dark=2"))
    done = paint_in(home / "run", home / "q.csv", "bright", tmp_path / "in", where={"ill": "0"}, count=1)
    mask = tmp_path / "in" / pd.read_csv(done.path)["mask"][0]
    assert set(np.unique(read(mask).pixels)) == {0, 300}
    with PIL.Image.open(mask) as opened:
        assert opened.info["Description"] == "lesions drawn by anomaly paint, not measured"


def test_maps_within_masks_are_not_praised_for_lying_there(home: Path, tmp_path: Path) -> None:
    paint_out(home / "run", home / "q.csv", "mask", tmp_path / "out", where={"kind": "dark"})
    found = evaluate(tmp_path / "out", home / "q.csv", mask="mask")
    assert "that they lie where a mask is says nothing" in found.headline
    found = evaluate(tmp_path / "out", home / "q.csv", mask="mask", twin="twins")
    assert "says nothing" not in found.headline
    assert any("says nothing" in each for each in found.sections[0].sentences)
    found = evaluate(tmp_path / "out", home / "q.csv", twin="twins")
    assert not any("says nothing" in each for each in found.sections[0].sentences)
