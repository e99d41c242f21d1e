"""From two heaps to a run: what it leaves, what it refuses before long work, and how it goes on after a stop."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from explained import write
from heaped import OPTIONS, TINY, heap, translating, two_heaps
from studies import ROOT, calling, values, volumes
from typer.testing import CliRunner

from anomaly.errors import AnomalyError, CohortError, RunError
from anomaly.images.preprocessing import Preprocessing
from anomaly.runs.describing import describe
from anomaly.runs.run import Run
from anomaly.translation.heaps import Heaps
from anomaly.translation.run import TranslatorRun
from cli import commands

FILES = {"run.json", "weights.safetensors", "cohort.csv", "training.csv", "training.png", "MODEL_CARD.md"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> TranslatorRun:
    folder = tmp_path_factory.mktemp("heaps")
    return translating(two_heaps(folder), folder / "run")


def test_a_run_folder_is_complete(run: TranslatorRun) -> None:
    assert {path.name for path in run.folder.iterdir()} == FILES | {"preview.png", "samples"}
    counts = run.facts["data"]["split"]
    assert set(counts) == {"train from", "train to", "choose from", "choose to"} and sum(counts.values()) == 22
    assert set(run.facts["held_out"]) == {"change", "lost_there_and_back", "change_of_target"}
    card = (run.folder / "MODEL_CARD.md").read_text()
    assert "cyclegan" in card and "translate apply" in card and "{" not in card
    assert "cyclegan(steps=4, batch=2" in describe(
        run.folder
    ) and f"from {counts['train from']} images to {counts['train to']}" in repr(run)


def test_other_kinds_of_runs_say_what_they_are(run: TranslatorRun) -> None:
    with pytest.raises(RunError, match=r"a translator \(cyclegan\), expected a detector"):
        Run.open(run.folder)


def test_who_is_held_out_is_in_no_heap_to_learn_from(tmp_path: Path) -> None:
    heap(tmp_path, "a", 8)
    heap(tmp_path, "b", 8)
    for name, subjects in (("a", "pqrstuvw"), ("b", "tuvwxyzk")):
        table = pd.read_csv(tmp_path / f"{name}.csv").assign(subject=list(subjects))
        table.to_csv(tmp_path / f"{name}.csv", index=False)
    table = Heaps(source=tmp_path / "a.csv", target=tmp_path / "b.csv", mask="none").parted(0.3)
    parts = table.groupby("subject")["part"].nunique()
    assert (parts == 1).all() and table["subject"].nunique() == 12
    for name in ("from", "to"):
        assert set(table.loc[table["heap"] == name, "part"]) == {"train", "choose"}


def test_people_in_both_heaps_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    heap(tmp_path, "a", 6)
    heap(tmp_path, "b", 6)
    for name in "ab":
        pd.read_csv(tmp_path / f"{name}.csv").assign(subject=list(f"{name}1234" + "5")).to_csv(
            tmp_path / f"{name}.csv", index=False
        )
    with caplog.at_level("INFO"):
        translating(Heaps(source=tmp_path / "a.csv", target=tmp_path / "b.csv", mask="none"), tmp_path / "run")
    assert "5 of 7 subjects are in both heaps" in caplog.text


def test_a_heap_given_twice_is_refused(tmp_path: Path) -> None:
    heaps = two_heaps(tmp_path)
    with pytest.raises(CohortError, match="12 images are in both heaps"):
        translating(Heaps(source=heaps.source, target=heaps.source), tmp_path / "run")
    shutil.copytree(heaps.source, tmp_path / "copy")
    shutil.copytree(heaps.target, tmp_path / "copy", dirs_exist_ok=True)
    with pytest.raises(CohortError, match="12 images are in both heaps, as"):
        translating(Heaps(source=heaps.source, target=tmp_path / "copy"), tmp_path / "run")


def test_a_heap_of_one_image_is_refused(tmp_path: Path) -> None:
    heaps = two_heaps(tmp_path)
    one = heap(tmp_path, "c", 1)
    with pytest.raises(CohortError, match="--to has 1 images of 1 subjects, too few to hold one out"):
        translating(Heaps(source=heaps.source, target=one), tmp_path / "run")


def test_heaps_that_do_not_come_out_alike_are_refused(tmp_path: Path) -> None:
    heaps = two_heaps(tmp_path)
    large = heap(tmp_path, "large", 4, side=16)
    own = Preprocessing(size=None, intensity="range")
    with pytest.raises(CohortError, match=r"--from come out in shape \(1, 12, 12\), those of --to in \(1, 16, 16\)"):
        translating(Heaps(source=heaps.source, target=large), tmp_path / "run", preprocessing=own)
    for i in range(4):
        write(tmp_path / "colours" / f"{i}.png", np.stack([values((12, 12), 3 * i + c) for c in range(3)], -1))
    both = Heaps(source=tmp_path / "colours", target=heaps.target)
    with pytest.raises(CohortError, match="--to are grey and those of --from in colours; give --channels 1"):
        translating(both, tmp_path / "run", preprocessing=Preprocessing(size=12, intensity="range", channels=3))
    assert translating(both, tmp_path / "grey").translator.shape_ == (1, 12, 12)


def test_images_smaller_than_a_patch_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(AnomalyError, match="12 x 12 pixels are smaller than the patches of 34"):
        translating(two_heaps(tmp_path), tmp_path / "run", settings={**TINY, "halved": 2})
    assert not (tmp_path / "run").exists()


def test_only_one_heap_with_masks_is_refused(tmp_path: Path) -> None:
    heaps = two_heaps(tmp_path)
    with pytest.raises(CohortError, match="only one heap has masks"):
        translating(Heaps(source=tmp_path / "a.csv", target=heaps.target), tmp_path / "run")


def test_masks_are_learned_within(tmp_path: Path) -> None:
    two_heaps(tmp_path)
    run = translating(Heaps(source=tmp_path / "a.csv", target=tmp_path / "b.csv"), tmp_path / "run")
    assert run.translator.masked_ and run.preprocessing.mask == "given"


def test_volumes_and_slices_of_them(tmp_path: Path) -> None:
    heaps = Heaps(source=volumes(tmp_path / "v", 4), target=volumes(tmp_path / "w", 4, name="w"))
    solid = Preprocessing(dims=3, size=8, fit="resize", orientation="keep")
    assert translating(heaps, tmp_path / "solid", preprocessing=solid).translator.shape_ == (1, 8, 8, 8)
    flat = translating(heaps, tmp_path / "flat", preprocessing=Preprocessing(size=8))
    assert flat.translator.shape_ == (1, 8, 8) and (flat.cohort["slices"] > 1).all()


def test_a_killed_training_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    two_heaps(tmp_path)
    words = ["translate", "train", "--from", str(tmp_path / "a"), "--to", str(tmp_path / "b"), "--size", "12"]
    words += ["--intensity", "range", "--save-every", "2", "--device", "cpu", "--workers", "1", *OPTIONS]
    cut, whole = ([*words, "--out", str(tmp_path / name)] for name in ("cut", "whole"))
    jobs = [[whole, None], [cut, ["after", "checkpoint/000001"]], [[*cut, "--resume"], None]]
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "killed.py"), json.dumps(jobs)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout.splitlines()[-1]) == [0, -9, 0], done.stderr[-2000:]
    for name in ("weights.safetensors", "cohort.csv"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_bad_words_are_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    two_heaps(tmp_path)
    ran = calling(tmp_path, monkeypatch, capsys)
    both = "translate train --from a --to b --out run"
    code, _, errors = ran(f"{both} --set cicle=1")
    assert code == 2 and "did you mean cycle?" in errors
    code, _, errors = ran(f"{both} --set network=vgg")
    assert code == 2 and "network=vgg is unknown; take one of resnet, unet" in errors
    code, _, errors = ran(f"{both} --from-where site=1")
    assert code == 1 and "has no column 'site', for it is a folder" in errors
    assert not (tmp_path / "run").exists()


def test_options_come_from_a_file_and_words_are_kept(tmp_path: Path) -> None:
    """The options that every command has, also here: a run by the facts of another is the same run."""
    for name in ("train", "apply", "evaluate"):
        told = CliRunner().invoke(commands, ["translate", name, "--help"]).output
        assert "--config" in told and "--log" in told
    heaps = two_heaps(tmp_path)
    first = translating(heaps, tmp_path / "run")
    asked = [
        "--from",
        str(heaps.source),
        "--to",
        str(heaps.target),
        "--out",
        str(tmp_path / "again"),
        "--device",
        "cpu",
    ]
    options = ["--config", str(first.folder / "run.json"), "--log", str(tmp_path / "told.log")]
    done = CliRunner().invoke(commands, ["translate", "train", *asked, *options])
    assert done.exit_code == 0, done.output
    again = TranslatorRun.open(tmp_path / "again")
    assert again.facts["settings"] == first.facts["settings"]
    assert again.facts["preprocessing"] == first.facts["preprocessing"]
    assert (tmp_path / "told.log").is_file()
