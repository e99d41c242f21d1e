"""Trainings of segmenters: a run folder, the same for one seed, gone on with exactly, refused where it cannot be."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import PIL.Image
import pytest
from annotated import OPTIONS, RANGE, SHORT, TINY, drawn, learned, pictures, volumes
from explained import write
from studies import calling
from tiny import CPU

from anomaly.errors import AnomalyError, CohortError, RunError
from anomaly.images.preprocessing import Preprocessing
from anomaly.runs.describing import describe
from anomaly.runs.run import Run
from anomaly.segmentation.annotations import Annotations, tell
from anomaly.segmentation.classes import held, parted
from anomaly.segmentation.foreseeing import foresee_segmentation
from anomaly.segmentation.run import SegmenterRun
from anomaly.segmentation.segmenting import segment
from anomaly.segmenters.register import SEGMENTERS
from anomaly.segmenters.supervised import Supervised

FILES = {"run.json", "weights.safetensors", "cohort.csv", "training.csv", "training.png", "MODEL_CARD.md"}
FREE = {**TINY, "window": 0}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pictures(tmp_path_factory.mktemp("pictures"), 12, normal=2)


@pytest.fixture(scope="module")
def run(table: Path) -> SegmenterRun:
    return learned(table, table.parent / "run", classes="disc=2,box=5")


def test_a_run_says_what_it_is(run: SegmenterRun) -> None:
    assert {path.name for path in run.folder.iterdir()} >= FILES | {"preview.png"}
    assert not (run.folder / "checkpoint").exists()
    assert run.classes == {"disc": (2,), "box": (5,)}
    assert run.facts["data"]["split"] == {"train": 10, "choose": 2}
    assert run.facts["data"]["marked"]["box"] == 10
    assert set(run.facts["held_out"]["dice"]) == {"disc", "box"} and run.facts["held_out"]["images"] == 2
    card = (run.folder / "MODEL_CARD.md").read_text()
    assert "- disc: 2" in card and "segment apply" in card and "{" not in card
    assert "disc=2, box=5" in repr(run)
    assert "drawn: disc, box" in describe(run.folder)
    with pytest.raises(RunError, match="a segmenter"):
        Run.open(run.folder)
    assert len(run.trained) == 12 and len(run.subjects("train")) == 10


def test_it_learns_what_is_plain_to_see(table: Path, tmp_path: Path) -> None:
    run = learned(table, tmp_path / "run", settings=SHORT)
    assert run.facts["held_out"]["dice"]["2"] > 0.7


def test_same_seed_same_weights_and_a_stopped_training_goes_on_exactly(table: Path, tmp_path: Path) -> None:
    whole = learned(table, tmp_path / "whole")

    class Stopped(Exception):
        pass

    from anomaly.segmentation import windows

    ask = windows.LabelledWindows.__getitem__

    def until_two(self: windows.LabelledWindows, k: int) -> Any:
        if k == 2:
            raise Stopped
        return ask(self, k)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(windows.LabelledWindows, "__getitem__", until_two)
        with pytest.raises(Stopped):
            learned(table, tmp_path / "stopped", save_every=1)
    gone_on = learned(table, tmp_path / "stopped", resume=True, save_every=1)
    assert gone_on.identity == whole.identity
    assert learned(table, tmp_path / "whole", resume=True).identity == whole.identity
    with pytest.raises(RunError, match="seed was 0, now 1"):
        learned(table, tmp_path / "whole", resume=True, seed=1)
    with pytest.raises(RunError, match="numbers was"):
        learned(table, tmp_path / "whole", resume=True, classes="disc=2")
    with pytest.raises(RunError, match="the learning rate of 'supervised' follows from how many steps"):
        learned(table, tmp_path / "whole", resume=True, settings={**TINY, "steps": 9})


def test_label_maps_that_changed_are_another_training(tmp_path: Path) -> None:
    table = pictures(tmp_path, 4)
    learned(table, tmp_path / "run")
    rows = pd.read_csv(table)
    rows["drawn"] = list(rows["drawn"][::-1])
    rows.to_csv(table, index=False)
    with pytest.raises(RunError, match="annotations was"):
        learned(table, tmp_path / "run", resume=True)


def test_a_label_map_drawn_anew_at_the_same_size_is_another_training(tmp_path: Path) -> None:
    table = pictures(tmp_path, 3)
    rows = pd.read_csv(table)
    rows["drawn"] = [f"maps/s{i:03d}.npy" for i in range(3)]
    rows.to_csv(table, index=False)
    for i in range(3):
        np.save(tmp_path / "maps" / f"s{i:03d}.npy", drawn(i)[1])
    learned(table, tmp_path / "run")
    assert learned(table, tmp_path / "run", resume=True).facts["data"]["images"] == 3
    np.save(tmp_path / "maps" / "s001.npy", np.roll(drawn(1)[1], 1, axis=0))
    with pytest.raises(RunError, match="annotations was"):
        learned(table, tmp_path / "run", resume=True)


def test_what_is_drawn_outside_a_mask_changes_nothing_and_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = pictures(tmp_path, 3)
    inside = np.zeros((24, 24), np.uint8)
    inside[2:22, :14] = 255
    for i in range(3):
        write(tmp_path / "masks" / f"s00{i}.png", inside)
        places = drawn(i)[1]
        places[3:6, 4:8] = 2
        write(tmp_path / "maps" / f"s00{i}.png", places)
    given = {"mask": str(tmp_path / "masks"), "settings": FREE}
    one = learned(table, tmp_path / "one", **given)
    for i in range(3):
        places = np.array(PIL.Image.open(tmp_path / "maps" / f"s00{i}.png"))
        write(tmp_path / "maps" / f"s00{i}.png", np.where(inside > 0, places, 5).astype(np.uint8))
    assert learned(table, tmp_path / "other", **given).identity == one.identity
    for i in range(2):
        places = np.where(inside > 0, 2 * (np.array(PIL.Image.open(tmp_path / "maps" / f"s00{i}.png")) == 2), 5)
        write(tmp_path / "maps" / f"s00{i}.png", places.astype(np.uint8))
    caplog.clear()
    assert learned(table, tmp_path / "third", **given).identity != one.identity
    assert "class 5 is marked in 2 images outside of their masks alone (s000, s001)" in caplog.text


def test_volumes_whole_slice_by_slice_and_of_different_sizes(tmp_path: Path) -> None:
    table = volumes(tmp_path, 3)
    volumes(tmp_path / "other", 1, space=(14, 20, 9))
    for kind in ("images", "maps"):
        shutil.copy(tmp_path / "other" / kind / "v0.nii.gz", tmp_path / kind / "v0.nii.gz")
    expected = {
        (1, 14, 18, 9): Preprocessing(dims=3, size=None),
        (1, 14, 9): Preprocessing(size=None, slices="coronal"),
        (1, 7, 18, 14): Preprocessing(dims=3, size=None, spacing=2.0),
        (1, 16, 16, 16): Preprocessing(dims=3, size=16),
    }
    for k, (shape, preprocessing) in enumerate(expected.items()):
        run = learned(table, tmp_path / f"run{k}", preprocessing=preprocessing, settings=FREE)
        assert run.segmenter.shape_ == shape


def test_masks_are_learned_within(tmp_path: Path) -> None:
    table = pictures(tmp_path, 3)
    inside = np.zeros((24, 24), np.uint8)
    inside[3:21, 2:22] = 255
    for i in range(3):
        write(tmp_path / "masks" / f"s00{i}.png", inside)
    run = learned(table, tmp_path / "run", mask=str(tmp_path / "masks"), settings=FREE)
    assert run.preprocessing.mask == "given" and run.segmenter.masked_ and run.segmenter.shape_ == (1, 18, 20)


# Who is held out


def test_none_is_held_out_of_few_and_that_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = learned(pictures(tmp_path, 3), tmp_path / "run")
    assert "there are 3 labelled subjects, fewer than 8, so none is held out" in caplog.text
    assert run.facts["data"]["split"] == {"train": 3} and run.facts["held_out"] == {}
    assert "Nobody was held out" in (run.folder / "MODEL_CARD.md").read_text() and "nobody" in repr(run)


def test_who_alone_has_a_class_is_learned_from(table: Path, caplog: pytest.LogCaptureFixture) -> None:
    cohort = Annotations(labelled=table, labels="drawn").read()
    every = held(cohort, None).holders
    first = set(parted(cohort, every, None).query("split == 'choose'")["subject"])
    lone = {**every, "2": frozenset(sorted(first)[:1])}
    again = parted(cohort, lone, None)
    assert set(again.query("split == 'choose'")["subject"]) == first - lone["2"]
    assert "class 2 is marked in images of one subject alone" in caplog.text
    caplog.clear()
    parted(cohort, {**lone, "5": lone["2"]}, None)
    alone = [each.getMessage() for each in caplog.records if "one subject alone" in each.getMessage()]
    whose = next(iter(lone["2"]))
    assert len(alone) == 1 and "2 of 2 classes are" in alone[0] and f"(2 of {whose}, 5 of {whose})" in alone[0]


def two_sides(folder: Path, **columns: Any) -> Annotations:
    labelled = pictures(folder, 10)
    other = pictures(folder / "other", 6, name="u")
    pd.read_csv(other).assign(**columns).to_csv(other, index=False)
    return Annotations(labelled=labelled, labels="drawn", unlabelled=other)


def test_who_is_held_out_is_not_seen_without_label_map_either(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    sides = two_sides(tmp_path, subject=[f"s{i}" for i in range(6)])
    cohort = parted(sides.read(), {}, 0.5)
    chosen = set(cohort.query("split == 'choose'")["subject"])
    assert len(chosen) == 5 and not chosen & set(cohort.query("split != 'choose'")["subject"])
    left = {f"s{i}" for i in range(6)} - chosen
    assert set(cohort.query("split == 'unlabelled'")["subject"]) == left and 0 < len(left) < 6
    with caplog.at_level("INFO"):
        tell(cohort)
    assert f"{len(left)} of 10 subjects have images with and images without label maps" in caplog.text


def test_label_maps_and_labelled_images_are_no_unlabelled_images(tmp_path: Path) -> None:
    pictures(tmp_path, 4)
    pictures(tmp_path / "other", 2, name="u")
    shutil.copytree(tmp_path / "other" / "images", tmp_path / "images", dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "other")
    sides = {"labelled": tmp_path / "cohort.csv", "unlabelled": tmp_path}
    for labels in ("drawn", str(tmp_path / "maps")):
        found = Annotations(labels=labels, **sides).read()
        assert list(found.query("side == 'unlabelled'")["id"]) == ["u000", "u001"]


def test_one_folder_may_hold_images_label_maps_and_images_without(tmp_path: Path) -> None:
    for i in range(5):
        image, places = drawn(i)
        write(tmp_path / f"s{i}.png", image)
        if i < 3:
            write(tmp_path / f"s{i}_seg.png", places)
    found = Annotations(labelled=tmp_path, labels=str(tmp_path), unlabelled=tmp_path).read()
    told = found[["id", "side"]].apply(tuple, axis=1)
    assert set(told) == {*((f"s{i}", "labelled") for i in range(3)), ("s3", "unlabelled"), ("s4", "unlabelled")}
    assert [Path(each).name for each in found["labels"]] == ["s0_seg.png", "s1_seg.png", "s2_seg.png", "", ""]


def test_images_below_the_folder_of_label_maps_are_images_all_the_same(tmp_path: Path) -> None:
    for i in range(5):
        image, places = drawn(i)
        write(tmp_path / ("a" if i < 3 else "b") / f"s{i}.png", image)
        write(tmp_path / ("a" if i < 3 else "b") / f"s{i}_seg.png", places)
    (tmp_path / "b" / "s4_seg.png").unlink()
    found = Annotations(labelled=tmp_path / "a", labels=str(tmp_path), unlabelled=tmp_path / "b").read()
    assert list(found.query("side == 'unlabelled'")["id"]) == ["s3", "s4"]
    assert len(found.query("side == 'labelled'")) == 3


class Peeking(Supervised):
    """A method that is given images without label maps."""

    name = "peeking"
    unlabelled = True

    def fit(self, labelled: Any, shape: Any, classes: int, **given: Any) -> Any:
        """Look at what is given, and learn from label maps alone."""
        assert given["unlabelled"][3].shape == (4, 1, 16, 16)
        type(self).unlabelled = False
        try:
            return super().fit(labelled, shape, classes, **{**given, "unlabelled": None})
        finally:
            type(self).unlabelled = True


def test_images_without_label_maps_reach_the_methods_that_ask_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(SEGMENTERS, "peeking", Peeking)
    sides = two_sides(tmp_path)
    table = Path(str(sides.labelled))
    run = learned(table, tmp_path / "run", method="peeking", unlabelled=sides.unlabelled)
    assert run.facts["data"]["split"] == {"train": 8, "choose": 2, "unlabelled": 6}
    assert run.subjects("unlabelled") == {f"u{i}" for i in range(6)} and len(run.trained) == 10
    with caplog.at_level("INFO"):
        done = segment(run.folder, sides.unlabelled, tmp_path / "out", device="cpu")
    assert done.new == 6 and "6 subjects were seen by" in caplog.text and "without their label maps (u0" in caplog.text
    with pytest.raises(CohortError, match="10 subjects are in both the training images"):
        segment(run.folder, table, tmp_path / "over", device="cpu")
    with pytest.raises(AnomalyError, match="peeking learns from images without label maps as well; give --unlabelled"):
        learned(table, tmp_path / "none", method="peeking")
    with pytest.raises(AnomalyError, match=r"supervised makes nothing of images without label maps; .*peeking"):
        learned(table, tmp_path / "none", unlabelled=sides.unlabelled)
    assert not (tmp_path / "none").exists()


# Bad input


def test_numbers_of_no_class_and_numbers_that_are_skipped_are_told(
    table: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cohort = Annotations(labelled=table, labels="drawn").read()
    with caplog.at_level("INFO"):
        assert held(cohort, "disc=2").labels.count == 2
    assert "label maps hold 5 as well, which is of no class here and counts as background" in caplog.text
    with caplog.at_level("INFO"):
        assert held(cohort, None).labels.numbers == ((2,), (5,))
    assert "label maps hold the numbers 2, 5; what is written later holds the same" in caplog.text


def test_a_class_that_no_file_holds_is_refused(table: Path, tmp_path: Path) -> None:
    with pytest.raises(AnomalyError, match=r"no label map holds class 'bone' \(number 1\); they hold 2, 5: mend"):
        learned(table, tmp_path / "run", classes="disc=2,bone=1")
    assert not (tmp_path / "run").exists()


def test_a_class_of_which_nothing_is_left_is_refused(table: Path, tmp_path: Path) -> None:
    inside, drawn = np.zeros((2, 24, 24), np.uint8)
    inside[:16, :16] = 255
    drawn[20:, 20:], drawn[:3, :3] = 2, 5
    for i in range(12):
        write(tmp_path / "masks" / f"s{i:03d}.png", inside)
        write(tmp_path / "maps" / f"s{i:03d}.png", drawn)
    given = {"labels": str(tmp_path / "maps"), "mask": str(tmp_path / "masks")}
    with pytest.raises(CohortError, match="nothing is left of class '2' in the images to train on"):
        learned(table, tmp_path / "run", **given)
    assert not (tmp_path / "run").exists()


def test_what_cannot_be_used_is_named_and_the_rest_is_learned(tmp_path: Path) -> None:
    table = pictures(tmp_path, 9)
    maps = tmp_path / "maps"
    PIL.Image.fromarray(np.zeros((24, 24), np.uint8)).save(maps / "s000.jpg")
    write(maps / "s001.png", np.zeros((20, 24), np.uint8))
    write(maps / "s002.png", np.random.default_rng(0).integers(0, 9, (24, 24, 3)).astype(np.uint8))
    np.save(maps / "s003.npy", np.full((24, 24), 0.5, np.float32))
    write(maps / "s004.png", np.zeros((24, 24), np.uint8))  # a normal image, which is fine
    (tmp_path / "images" / "s005.png").write_bytes(b"none")
    rows = pd.read_csv(table)
    rows.loc[[0, 3, 6], "drawn"] = ["maps/s000.jpg", "maps/s003.npy", "maps/gone.png"]
    rows.to_csv(table, index=False)
    run = learned(table, tmp_path / "run", choose=0)
    errors = dict(pd.read_csv(run.folder / "errors.csv")[["id", "error"]].to_numpy().tolist())
    assert set(errors) == {"s000", "s001", "s002", "s003", "s005", "s006"}
    for name, told in {"s000": "JPEG", "s001": "another grid", "s002": "colours", "s003": "holds 0.5"}.items():
        assert told in errors[name]
    assert run.facts["data"]["images"] == 3 and run.facts["data"]["unreadable"] == 6


def test_images_without_a_label_map_are_left_out_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pictures(tmp_path, 4)
    (tmp_path / "maps" / "s002.png").unlink()
    found = Annotations(labelled=tmp_path / "images", labels=str(tmp_path / "maps")).read()
    assert "1 of 4 labelled images have no label map and are left out: s002" in caplog.text
    assert list(found["id"]) == ["s000", "s001", "s003"]


def test_nothing_but_background_is_refused(table: Path, tmp_path: Path) -> None:
    for i in range(12):
        write(tmp_path / "maps" / f"s{i:03d}.png", np.zeros((24, 24), np.uint8))
    with pytest.raises(AnomalyError, match="label maps hold nothing but 0"):
        learned(table, tmp_path / "run", labels=str(tmp_path / "maps"))


def test_the_column_of_label_maps_may_be_called_mask(tmp_path: Path) -> None:
    table = pictures(tmp_path, 3)
    pd.read_csv(table).rename(columns={"drawn": "mask"}).to_csv(table, index=False)
    assert learned(table, tmp_path / "run", labels="mask").preprocessing.mask == "none"


# The command line


def test_the_program_trains_and_says_at_once_what_is_wrong(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    call = calling(table.parent, monkeypatch, capsys)
    plain = f"segment train --labelled cohort.csv --device cpu {' '.join(OPTIONS)} --out {tmp_path}"
    code, out, _ = call(f"{plain}/run --labels drawn --classes disc=2,box=5 --intensity range")
    assert code == 0 and "run: " in out and "held out: " in out and "disc" in out
    for words, told in {
        "nothing": "has no column 'nothing'",
        "drawn --method supervisd": "did you mean supervised",
        "drawn --labelled-where site=7": "no row is left with site 7",
        "drawn --unlabelled images": "supervised makes nothing of images without label maps",
        "drawn --set widht=4": "did you mean width?",
        "drawn --choose 1.5": "choose must be 0 or more and below 1",
    }.items():
        code, _, errors = call(f"{plain}/new --labels {words}")
        assert code in (1, 2) and told in errors, errors
    code, out, _ = call(f"{plain}/new --labels drawn --dry-run")
    assert code == 0 and "supervised would take 4 steps" in out and "12 found: 10 to train, 2 to choose" in out


def test_a_dry_run_writes_nothing_and_takes_what_a_training_takes(table: Path, tmp_path: Path) -> None:
    sides = Annotations(labelled=table, labels="drawn")
    found = foresee_segmentation(sides, tmp_path / "run", settings=TINY, preprocessing=RANGE, machine=CPU)
    assert found.shape == (1, 16, 16) and found.images == {"train": 10, "choose": 2}
    assert not (tmp_path / "run").exists()
    with pytest.raises(AnomalyError, match="takes what learn_segmentation takes"):
        foresee_segmentation(sides, colour="red")


def test_windows_are_turned_by_the_lengths_of_voxels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The median of volumes of 1 x 2 x 3 mm; a file that has gone since has no say."""
    seen: list[Any] = []
    monkeypatch.setattr(Supervised, "fit", lambda self, *_, **__: seen.append(self.spacing_) or 1 / 0)
    table = volumes(tmp_path, 4)
    with pytest.raises(ZeroDivisionError):
        learned(table, tmp_path / "run", preprocessing=Preprocessing(dims=3, size=None), settings={**TINY, "window": 0})
    assert np.allclose(seen, [(1, 2, 3)])
