"""From cases and controls to a run: what it leaves, what it refuses, and how it goes on after a stop."""

import json
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from explained import ADDITIVE, CLASSIFIER, RANGE, SOLID, explaining, solid_sides, two_sides
from looked_at import looked_at
from safetensors.numpy import load_file
from studies import call, start, trained

from anomaly.errors import AnomalyError, RunError
from anomaly.images.preprocessing import Preprocessing
from anomaly.runs.describing import describe
from anomaly.runs.run import Run
from explain.runs.given import open_target
from explain.runs.run import LearnedRun
from explain.sides.sides import Sides

FILES = {"run.json", "weights.safetensors", "cohort.csv", "training.csv", "training.png", "MODEL_CARD.md"}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return two_sides(tmp_path_factory.mktemp("sides"))


@pytest.fixture(scope="module")
def sides(cohort: Path) -> Sides:
    return Sides(cohort=cohort, outcome="sick")


@pytest.fixture(scope="module")
def run(sides: Sides, tmp_path_factory: pytest.TempPathFactory) -> LearnedRun:
    return explaining(sides, tmp_path_factory.mktemp("run") / "run")


@pytest.fixture(scope="module")
def classifier(sides: Sides, tmp_path_factory: pytest.TempPathFactory) -> LearnedRun:
    return explaining(sides, tmp_path_factory.mktemp("run") / "classifier", "classifier")


def test_a_run_folder_is_complete(run: LearnedRun, classifier: LearnedRun) -> None:
    assert {path.name for path in run.folder.iterdir()} == FILES | {"preview.png", "samples", "further"}
    assert {path.name for path in classifier.folder.iterdir()} == FILES
    told = run.facts["held_out"]
    assert told["limit"] > 0 and told["change_in_cases"] >= 0
    assert 0 <= classifier.facts["held_out"]["auroc"] <= 1
    counts = run.facts["data"]["split"]
    assert sum(counts.values()) == 40 and set(counts) == {
        "train controls", "train cases", "choose controls", "choose cases",
    }  # fmt: skip
    card = (run.folder / "MODEL_CARD.md").read_text()
    assert "additive" in card and "explain map" in card and "{" not in card


def test_info_says_what_each_is(run: LearnedRun, classifier: LearnedRun) -> None:
    assert "additive(steps=4" in describe(run.folder) and "40 images of 20 subjects" in describe(run.folder)
    assert "classifier(architecture=residual" in describe(classifier.folder)


def test_a_run_shows_itself_in_five_lines(run: LearnedRun, classifier: LearnedRun) -> None:
    told, held_out = looked_at(run), run.facts["held_out"]
    assert told.pop("").startswith("additive with ") and "steps=4" in repr(run)
    assert told == {
        "learned": "from 16 cases and 18 controls; 4 and 2 held out; 20 subjects in all",
        "prepared": "2D, 12 x 12 pixels, fit pad, intensity range",
        "held out": f"mean change {held_out['change_in_cases']:.4f} in cases, "
        f"{held_out['change_in_controls']:.4f} in controls",
        "folder": str(run.folder),
    }
    assert looked_at(classifier)[""].startswith("classifier with ")
    assert looked_at(classifier)["held out"].startswith(f"AUROC {classifier.facts['held_out']['auroc']:.3f}")
    assert looked_at(replace(run, folder=Path("<script>")))["folder"] == "<script>"


def test_a_run_that_has_a_target_names_it_also_when_both_folders_are_gone(
    sides: Sides, classifier: LearnedRun, tmp_path: Path
) -> None:
    target = shutil.copytree(classifier.folder, tmp_path / "<target>")
    settings = {"steps": 2, "batch": 4, "width": 4}
    run = explaining(sides, tmp_path / "run", "targeted", target=target, settings=settings)
    shutil.rmtree(tmp_path / "run")
    shutil.rmtree(target)
    assert looked_at(run)[""].endswith("; target " + str(run.target.folder)) and "<target>" in looked_at(run)[""]


def test_opened_again_it_says_the_same(run: LearnedRun) -> None:
    x = torch.rand(2, 1, 12, 12) * 2 - 1
    again = LearnedRun.open(run.folder)
    assert torch.equal(again.explainer.explain(x).map, run.explainer.explain(x).map)


def test_kinds_of_runs_are_told_apart(run: LearnedRun, classifier: LearnedRun, cohort: Path, tmp_path: Path) -> None:
    detector = trained(cohort.parent / "controls", tmp_path / "detector")
    with pytest.raises(RunError, match=r"an explainer \(additive\), expected a detector; give .* `anomaly train`"):
        Run.open(run.folder)
    with pytest.raises(RunError, match=r"a detector \(mean-image\), expected an explainer; .* `anomaly explain train`"):
        LearnedRun.open(detector.folder)
    with pytest.raises(RunError, match="a target is a detector or a classifier"):
        open_target(run.folder)
    assert (open_target(classifier.folder).threshold, open_target(classifier.folder).scale) == (0, 1)
    assert open_target(detector.folder).kind == "detector"


def test_a_threshold_of_a_detector_leaves_one_normal_in_twenty(cohort: Path, tmp_path: Path) -> None:
    detector = trained(cohort.parent / "controls", tmp_path / "detector", calibrate=0.5)
    bound, values = open_target(detector.folder).threshold, detector.calibration.values
    opened, weights = open_target(detector.folder), detector.calibration.weights
    spread = np.sqrt(np.cov(values, aweights=weights, ddof=0))
    assert opened.scale == pytest.approx(spread * np.sqrt(3) / np.pi)
    assert bound == values.max()  # too few for one of them to be flagged
    assert detector.calibration.bound(0.5) < bound


def test_both_sides_can_be_volumes_whole_or_slice_by_slice(tmp_path: Path) -> None:
    whole = explaining(solid_sides(tmp_path), tmp_path / "whole", preprocessing=SOLID)
    assert whole.explainer.shape_ == (1, 8, 8, 8)
    sliced = Preprocessing(size=8, fit="resize", orientation="keep")
    run = explaining(solid_sides(tmp_path), tmp_path / "sliced", preprocessing=sliced)
    assert run.explainer.shape_ == (1, 8, 8)
    assert set(run.cohort["slices"]) == {8}


def test_a_broken_pair_is_left_out_on_both_sides_and_told(cohort: Path, tmp_path: Path) -> None:
    table = pd.read_csv(cohort)
    table["path"] = [str(cohort.parent / path) for path in table["path"]]
    table["twin"] = [str(cohort.parent / path) if isinstance(path, str) else path for path in table["twin"]]
    first = table.index[table["sick"] == 1][0]
    (tmp_path / "broken.png").write_bytes(b"no image")
    table.loc[first, "twin"] = str(tmp_path / "broken.png")
    run = explaining(
        Sides(cohort=table, pair="twin"), tmp_path / "run", "red-cnn", settings={"steps": 2, "batch": 4, "width": 4}
    )
    assert len(run.cohort) == 38 and run.facts["data"]["unreadable"] == 2
    assert (run.cohort.groupby("pair").size() == 2).all() and "0" not in set(run.cohort["pair"].astype(str))
    errors = pd.read_csv(tmp_path / "run" / "errors.csv")
    assert len(errors) == 2 and "its counterpart cannot be used" in errors["error"].iloc[1]
    cases, controls = (run.cohort[run.cohort["label"] == label] for label in (1, 0))
    assert list(cases["pair"]) == list(controls["pair"])


def test_a_target_is_kept_and_must_be_the_same(sides: Sides, classifier: LearnedRun, tmp_path: Path) -> None:
    settings = {name: value for name, value in ADDITIVE.items() if name != "warm_up"}
    run = explaining(sides, tmp_path / "run", "targeted", target=classifier.folder, settings=settings)
    assert run.facts["target"]["identity"] == classifier.identity
    x = torch.rand(2, 1, 12, 12) * 2 - 1
    torch.testing.assert_close(run.explainer.ask(x), open_target(classifier.folder).value(x))
    other = explaining(sides, tmp_path / "other", "classifier", seed=1)
    with pytest.raises(RunError, match="is not the target that"):
        LearnedRun.open(run.folder, target=other.folder)


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("additive", {"target": "here"}, "takes no target; leave it out"),
        ("targeted", {}, "give --target, the run folder"),
        ("paired", {}, "learns from pairs; give --cohort with --pair"),
        ("aditive", {}, "did you mean additive"),
        ("saliency", {}, "is not trained: use `anomaly explain map saliency --target RUN`"),
        ("additive", {"settings": {"sparsty": 1}}, "did you mean sparsity"),
    ],
)
def test_what_does_not_go_together_is_told(sides: Sides, tmp_path: Path, method, options, message) -> None:
    with pytest.raises(AnomalyError, match=message):
        explaining(sides, tmp_path / "run", method, **{"settings": {}, **options})
    assert not (tmp_path / "run").exists()


def test_a_target_prepared_otherwise_is_refused(sides: Sides, classifier: LearnedRun, tmp_path: Path) -> None:
    other = Preprocessing(size=16, intensity="range")
    with pytest.raises(AnomalyError, match=r"prepared otherwise .*size \(12, 12\) against \(16, 16\)"):
        explaining(sides, tmp_path / "run", "targeted", target=classifier.folder, preprocessing=other, settings={})


def test_another_training_in_the_folder_is_refused(sides: Sides, run: LearnedRun) -> None:
    with pytest.raises(RunError, match="already holds a trained run"):
        explaining(sides, run.folder)
    assert explaining(sides, run.folder, resume=True).identity == run.identity
    with pytest.raises(RunError, match="seed was 0, now 1"):
        explaining(sides, run.folder, resume=True, seed=1)


def test_a_stopped_training_goes_on_exactly(cohort: Path, tmp_path: Path) -> None:
    words = ["explain", "train", "--cohort", cohort, "--outcome", "sick", "--size", 12, "--intensity", "range"]
    words += ["--device", "cpu", "--save-every", 10, "--workers", 1]
    words += [word for name, value in {**ADDITIVE, "steps": 300}.items() for word in ("--set", f"{name}={value}")]
    code, out, errors = call(*words, "--out", tmp_path / "whole")
    assert code == 0 and "held out: limit" in out, errors
    process = start(*words, "--out", tmp_path / "stopped")
    end = time.monotonic() + 60
    while not list((tmp_path / "stopped" / "checkpoint").glob("[0-9]*")):
        assert process.poll() is None and time.monotonic() < end, process.communicate()
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130 and "Traceback" not in errors
    code, _, errors = call(*words, "--out", tmp_path / "stopped")
    assert code == 1 and "add --resume" in errors
    code, _, errors = call(*words, "--out", tmp_path / "stopped", "--resume")
    assert code == 0, errors
    one, other = (load_file(tmp_path / name / "weights.safetensors") for name in ("whole", "stopped"))
    assert all(np.array_equal(one[name], other[name]) for name in one)


def test_a_run_that_was_edited_is_refused(sides: Sides, tmp_path: Path) -> None:
    run = explaining(sides, tmp_path / "run", "classifier", settings=CLASSIFIER, preprocessing=RANGE)
    facts = json.loads((run.folder / "run.json").read_text())
    facts["method"] = "additive"
    (run.folder / "run.json").write_text(json.dumps(facts))
    with pytest.raises(RunError, match="was edited after training"):
        open_target(run.folder)
