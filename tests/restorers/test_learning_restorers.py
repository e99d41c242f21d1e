"""Trainings of restorers: a run folder, the same for one seed, gone on with exactly, refused where it cannot be."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from poor import TINY, pictures, volumes

from anomaly.errors import AnomalyError, CohortError, RunError
from anomaly.files import sha256_of
from anomaly.images.preprocessing import Preprocessing
from anomaly.restorers.foreseeing import foresee_restorer
from anomaly.restorers.learning import learn_restorer, parted
from anomaly.restorers.run import RestorerRun
from anomaly.runs.describing import describe
from anomaly.training.machine import Machine

CPU = Machine(device="cpu")
RANGE = Preprocessing(intensity="range")
ASKED = {"degrade": "downsample", "settings": {**TINY, "factor": 2}, "preprocessing": RANGE, "machine": CPU}


def test_a_run_says_what_it_is(tmp_path: Path) -> None:
    run = learn_restorer(pictures(tmp_path / "images"), tmp_path / "run", **ASKED)
    assert run.degradation is not None
    assert run.degradation.factor == 2  # type: ignore[attr-defined]
    assert run.facts["held_out"]["psnr_before"] > 10
    assert run.facts["data"]["split"] == {"train": 11, "choose": 1}
    assert run.limits[0] <= -1
    assert "undoes    Downsample(factor=2" in repr(run)
    assert "restorer" in describe(run.folder)
    assert {"MODEL_CARD.md", "preview.png", "training.csv", "cohort.csv", "weights.safetensors"} <= {
        each.name for each in run.folder.iterdir()
    }
    assert not (run.folder / "checkpoint").exists()
    seen = pd.read_csv(run.folder / "training.csv")["player"]
    assert {"restorer", "seen/psnr", "seen/psnr_before"} <= set(seen)
    assert "never" not in run.undoes
    assert "was drawn, not measured" in " ".join((run.folder / "MODEL_CARD.md").read_text().split())


def test_same_seed_same_bytes_and_a_stopped_training_goes_on_exactly(tmp_path: Path) -> None:
    table = pictures(tmp_path / "images")
    whole = learn_restorer(table, tmp_path / "whole", **ASKED)

    class Stopped(Exception):
        pass

    from anomaly.restorers import windows

    ask = windows.Windows.__getitem__

    def until_four(self: windows.Windows, k: int) -> object:
        if k == 4:
            raise Stopped
        return ask(self, k)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(windows.Windows, "__getitem__", until_four)
        with pytest.raises(Stopped):
            learn_restorer(table, tmp_path / "stopped", save_every=2, **ASKED)
    gone_on = learn_restorer(table, tmp_path / "stopped", resume=True, save_every=2, **ASKED)
    assert gone_on.identity == whole.identity
    assert sha256_of(gone_on.folder / "weights.safetensors") == sha256_of(whole.folder / "weights.safetensors")
    again = learn_restorer(table, tmp_path / "whole", resume=True, **ASKED)
    assert again.identity == whole.identity


def test_a_finished_run_is_not_trained_on_since_its_rate_would_have_been_another(tmp_path: Path) -> None:
    table = pictures(tmp_path / "images")
    learn_restorer(table, tmp_path / "run", **ASKED)
    longer = {**ASKED, "settings": {**TINY, "factor": 2, "steps": 9}}
    with pytest.raises(RunError, match="the learning rate of 'restorer' follows from how many steps"):
        learn_restorer(table, tmp_path / "run", resume=True, **longer)
    with pytest.raises(RunError, match="already holds a trained run"):
        learn_restorer(table, tmp_path / "run", **ASKED)
    with pytest.raises(RunError, match="factor was 2, now 4"):
        learn_restorer(table, tmp_path / "run", resume=True, **{**ASKED, "settings": {**TINY, "factor": 4}})


def test_pairs_by_file_and_by_id(tmp_path: Path) -> None:
    good, poor = pictures(tmp_path / "good"), pictures(tmp_path / "poor")
    table = pd.read_csv(poor).assign(better=[f"../good/p{k:02d}.png" for k in range(12)])
    table.to_csv(poor, index=False)
    asked = {"pairs": "better", "settings": TINY, "preprocessing": RANGE, "machine": CPU}
    run = learn_restorer(poor, tmp_path / "run", **asked)
    assert run.degradation is None
    assert run.facts["held_out"]["psnr_before"] == pytest.approx(10 * 12 + 10 * math.log10(4), abs=1e-3)
    both = pd.concat([table.assign(id=[f"a{k}" for k in range(12)], better=[f"b{k}" for k in range(12)], path=[
        str(tmp_path / "poor" / name) for name in table["path"]]), pd.read_csv(good).assign(
        id=[f"b{k}" for k in range(12)], path=[str(tmp_path / "good" / name) for name in table["path"]])])  # fmt: skip
    by_id = learn_restorer(both, tmp_path / "by_id", **asked)
    assert by_id.facts["data"]["images"] == 12
    assert RestorerRun.open(tmp_path / "by_id").identity == by_id.identity


def test_pairs_that_share_a_file_are_on_one_side_of_the_split(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pictures(tmp_path / "good")
    poor = pictures(tmp_path / "poor")
    spelled = [f"../good/p{k // 2:02d}.png" if k % 2 else f"../poor/../good/p{k // 2:02d}.png" for k in range(12)]
    table = pd.read_csv(poor).assign(better=spelled)
    table.to_csv(poor, index=False)
    found = parted(poor, "better", 0.4)
    assert set(found["split"]) == {"train", "choose"}
    assert (found.groupby(found.index // 2)["split"].nunique() == 1).all()
    assert found["subject"].nunique() == 12
    assert "12 subjects have images in common with others" in caplog.text
    crosswise = [f"p{(k + 1) % 12:02d}.png" for k in range(12)]
    for shared in ("../good/p00.png", crosswise):
        table.assign(better=shared).to_csv(poor, index=False)
        with pytest.raises(CohortError, match="all 12 subjects have good or poor images in common"):
            parted(poor, "better", 0.1)


@pytest.mark.parametrize(
    ("degrade", "settings", "dims"),
    [("slices", {"factor": 3, "window": 12}, 3), ("kspace", {"acceleration": 2.0, "centre": 0.1}, 2),
     ("mask", {"block": 4, "window": 12}, 2), ("noise", {"coarse": 1}, 3)],
)  # fmt: skip
def test_volumes_whole_or_slice_by_slice(tmp_path: Path, degrade: str, settings: dict[str, int], dims: int) -> None:
    run = learn_restorer(
        volumes(tmp_path / "volumes"), tmp_path / "run", degrade=degrade, settings={**TINY, "window": 0, **settings},
        preprocessing=Preprocessing(dims=dims), machine=CPU,
    )  # fmt: skip
    assert len(run.restorer.shape_) == dims + 1
    assert run.facts["held_out"]["psnr"] > 5


def test_what_it_would_take_is_told_without_writing(tmp_path: Path) -> None:
    table = pictures(tmp_path / "images")
    told = foresee_restorer(table, tmp_path / "run", **ASKED)
    assert told.images == {"train": 11, "choose": 1}
    assert told.shape == (1, 16, 16)
    assert told.forecast.steps == 6
    assert not (tmp_path / "run").exists()


def test_what_cannot_be_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    table, out = pictures(tmp_path / "images"), tmp_path / "run"

    def refused(match: str, error: type[Exception] = AnomalyError, **changed: object) -> None:
        with pytest.raises(error, match=match):
            learn_restorer(changed.pop("images", table), out, **{**ASKED, **changed})  # type: ignore[arg-type]
        assert not out.exists()

    refused("there is no setting 'facto'; did you mean factor.*downsample has factor.*; the restorer has network",
            settings={"facto": 2})  # fmt: skip
    refused("degradation 'downsampel' is unknown; did you mean downsample", degrade="downsampel")
    refused("say what makes images poor", degrade=None)
    refused("--degrade downsample and --pairs path were both given; give one of the two", pairs="path")
    refused("give --dims 3", degrade="slices", settings=TINY)
    refused("is a 2D picture, but volumes are expected", CohortError, preprocessing=Preprocessing(dims=3))
    refused("spacing is", preprocessing=Preprocessing(spacing=1.0))
    refused("no column 'better'", CohortError, degrade=None, pairs="better", settings=TINY)
    refused("expected 2 or more", CohortError, images=table.parent / "p00.png")
    refused("kspace of 3 channels has no meaning", degrade="kspace", settings=TINY,
            preprocessing=Preprocessing(channels=3, intensity="range"))  # fmt: skip
    refused("factor of downsample is 1; expected", settings={"factor": 1})


def test_a_window_that_no_image_holds_leaves_nothing_behind(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "images").parent
    large = {**ASKED, "settings": {**TINY, "factor": 2, "window": 26}}
    for ask in (learn_restorer, foresee_restorer):
        with pytest.raises(AnomalyError, match="window=26 is larger than images of"):
            ask(folder, tmp_path / "run", **large)  # type: ignore[operator]
    Image.fromarray(np.zeros((40, 40), np.uint8)).save(folder / "a_first.png")  # larger than all that follow
    with pytest.raises(AnomalyError, match=r"window=26 is larger than .*p\d\d.png"):
        learn_restorer(folder, tmp_path / "run", **large)
    assert not (tmp_path / "run").exists()
    with pytest.raises(AnomalyError, match="window=26 is larger than images of"):
        foresee_restorer(folder, tmp_path / "run", **large)
    learn_restorer(folder, tmp_path / "run", **ASKED)


def test_a_folder_is_claimed_by_its_plan_alone(tmp_path: Path) -> None:
    out = tmp_path / "run"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="is not empty and holds no training"):
        learn_restorer(pictures(tmp_path / "images"), out, **ASKED)
    assert json.loads(json.dumps(sorted(each.name for each in out.iterdir()))) == ["notes.txt"]


def test_hounsfield_units_need_the_same_window_and_their_millimetres_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = volumes(tmp_path / "images")  # of 2 mm a pixel
    settings = {**TINY, "window": 8, "steps": 2, "hounsfield": (0, 1000)}
    asked = {**ASKED, "degrade": "lowdose", "settings": settings}
    for wrong in (Preprocessing(), RANGE, Preprocessing(intensity="window", window=(0, 80))):
        for ask in (learn_restorer, foresee_restorer):
            with pytest.raises(AnomalyError, match=r"hounsfield of lowdose is 0 to 1000, but .*--window=0,1000"):
                ask(folder, tmp_path / "run", **{**asked, "preprocessing": wrong})
    right = {**asked, "preprocessing": Preprocessing(intensity="window", window=(0, 1000))}
    learn_restorer(folder, tmp_path / "run", **right)
    told = [each.getMessage() for each in caplog.records if "spacing" in each.getMessage()]
    assert len(told) == 1 and "pixels of 1 mm" in told[0] and "theirs are 2 mm" in told[0]
    learn_restorer(folder, tmp_path / "own", **{**right, "settings": {**settings, "spacing": 2.0}})
    assert len([each for each in caplog.records if "spacing" in each.getMessage()]) == 1
