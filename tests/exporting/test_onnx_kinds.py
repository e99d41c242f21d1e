"""Classifiers, explainers, segmenters and several detectors as ONNX models: each says what its runs say."""

import dataclasses
import json
import subprocess
import sys

import annotated
import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch
from explained import SIDE, explaining, two_sides
from studies import AE, calling, pictures, trained

import anomaly
from anomaly.commandline import busy
from anomaly.errors import AnomalyError, RunError
from anomaly.exporting import verifying
from anomaly.exporting.judgement import shown
from anomaly.exporting.segmenting import by_windows
from anomaly.exporting.verifying import TOLERANCE
from anomaly.exporting.writing import written
from anomaly.nets.whole import whole
from explain.exporting.export import export
from explain.exporting.judging import DRAWN, SMALL, of_explainer
from explain.runs.calibration import Calibration, Sizes, write_calibration
from explain.runs.source import open_source
from explain.sides.sides import Sides


@pytest.fixture(scope="module")
def sides(tmp_path_factory):
    table = two_sides(tmp_path_factory.mktemp("sides"), 14)
    return Sides(cases=table.parent / "cases", controls=table.parent / "controls")


@pytest.fixture(scope="module")
def classifier(sides, tmp_path_factory):
    return explaining(sides, tmp_path_factory.mktemp("classifier") / "run", "classifier")


def facts(exported):
    return json.loads((exported.folder / "preprocessing.json").read_text())


def scored(exported, folder, images):
    """The table that `score.py` writes."""
    out = folder / "found"
    call = [sys.executable, exported.folder / "score.py", "--out", out, *images]
    answer = subprocess.run(call, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    return pd.read_csv(out / "scores.csv"), out


def test_a_classifier_says_its_logit_and_probability(classifier, sides, tmp_path):
    exported = export(classifier.folder, tmp_path / "model")
    assert exported.differences is not None and set(exported.differences) == {"logit", "probability"}
    assert "held-out images" in exported.images and max(exported.differences.values()) <= TOLERANCE
    assert facts(exported)["sigmoid_of"] == {"probability": "logit"}
    assert "that of the mean logit" in (exported.folder / "README.md").read_text()
    table, _ = scored(exported, tmp_path, [sides.cases])
    assert list(table.columns) == ["image", "logit", "probability", "files", "error"] and len(table) == 14
    pixels = classifier.preprocessing.apply(anomaly.images.read(table["image"][3])).pixels
    expected = float(classifier.learned.logit(torch.from_numpy(pixels))[0])
    assert table["logit"][3] == pytest.approx(expected, abs=1e-4)
    assert table["probability"][3] == pytest.approx(1 / (1 + np.exp(-expected)), abs=1e-4)


def test_an_explainer_gives_counterfactual_map_and_change(sides, tmp_path):
    run = explaining(sides, tmp_path / "run")
    exported = export(run.folder)
    assert exported.folder == run.folder / "onnx" and set(facts(exported)["outputs"]) == {
        "change", "counterfactual", "map",
    }  # fmt: skip
    assert facts(exported)["says"] and facts(exported)["says"] in (exported.folder / "README.md").read_text()


def drawing(run):
    """The same explainer with a last layer at random, so that it draws far more than rounding."""
    source = open_source(run.folder, device="cpu")
    layers = [each for each in source.run.explainer.net_["generator"].modules() if isinstance(each, torch.nn.Conv2d)]
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for each in (layers[-1].weight, layers[-1].bias):
            each.copy_(0.02 * torch.randn(each.shape, generator=random))
    return source


def test_what_an_explainer_draws_is_what_its_graph_draws(sides, tmp_path):
    run = explaining(sides, tmp_path / "run")
    exported = written(of_explainer(drawing(run)), tmp_path / "model")
    example = np.load(exported.folder / "example.npz")
    assert example["change"].min() > 100 * TOLERANCE and np.abs(example["map"]).max() > 100 * TOLERANCE
    assert np.allclose(example["image"] - example["counterfactual"], example["map"], atol=1e-6)
    assert np.allclose(np.abs(example["map"]).mean((1, 2, 3)), example["change"], atol=1e-6)
    ran = onnxruntime.InferenceSession(str(exported.folder / "model.onnx"))
    (found,) = ran.run(["counterfactual"], {"image": example["image"]})
    assert np.abs(found - example["counterfactual"]).max() <= TOLERANCE
    (found,) = ran.run(["map"], {"image": example["image"]})
    assert np.abs(found - example["map"]).max() <= TOLERANCE * np.abs(example["map"]).max()
    table, out = scored(exported, tmp_path, [sides.controls])
    # What labels that mean nothing would draw is taken away, where that was measured.
    sizes = Sizes(images=8, subjects=6, real=2e-5, nothing=1e-5, real_left=8e-6, nothing_left=3e-7)
    whole = np.abs(example["map"])
    measured = Calibration(
        run=run.identity, threshold=float(np.median(whole)), moves=False, smoothing=0.0, allowed=0.05, ratio=0.04,
        ratio_high=0.05, raw_ratio=0.5, raw_ratio_high=0.6, permutations=1, seed=0, changed=("8 of 17 subjects",),
        interval=True, cases=sizes, controls=None,
    )  # fmt: skip
    write_calibration(run.folder, measured)
    less = written(of_explainer(drawing(run)), tmp_path / "less")
    left = np.abs(np.load(less.folder / "example.npz")["map"])
    assert np.allclose(left, np.maximum(whole - measured.threshold, 0), atol=1e-6) and left.max() > 100 * TOLERANCE
    assert "labels" in facts(less)["says"] and facts(less)["says"] != facts(exported)["says"]
    assert table["change"].notna().all() and np.load(out / "co000_counterfactual.npy").shape == (1, 1, SIDE, SIDE)


@pytest.mark.parametrize("wrong", ["map", "change"])
def test_a_graph_that_draws_a_thousandth_more_is_refused_however_little_is_drawn(sides, tmp_path, wrong):
    judged = of_explainer(drawing(explaining(sides, tmp_path / "run")))
    drawn = np.abs(judged.expected(shown(judged)[0])[wrong]).max()
    assert drawn < 0.2  # by which maps were once compared at least
    say = lambda x: {**judged.say(x), wrong: judged.say(x)[wrong] * 1.001}  # noqa: E731
    with pytest.raises(AnomalyError, match=rf"{wrong} 0\.00\d+.*nothing was written"):
        written(dataclasses.replace(judged, say=say), tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_what_is_drawn_is_compared_by_the_largest_drawn_and_by_rounding_at_least():
    expected = {"map": np.array([[0.01, 0], [0.5, 0], [0, 0]])}
    shares = lambda apart: verifying.differences(  # noqa: E731
        {"map": expected["map"] + np.array([[apart, 0], [0, 0], [0, 0]])}, expected, smallest=SMALL, drawn=DRAWN
    )
    assert shares(1e-5)["map"] == pytest.approx(1e-5 / 0.5)
    expected["map"] /= 1000
    assert shares(3e-6)["map"] == pytest.approx(3e-6 / 0.02) and shares(3e-6)["map"] > TOLERANCE > shares(2e-6)["map"]


def test_what_differences_are_shares_of_is_told_everywhere(sides, tmp_path):
    exported = export(explaining(sides, tmp_path / "run").folder)
    told = facts(exported)["compared"]["shares_of"]
    by = "of the largest drawn among the images compared, held-out and made ones apart (of 0.02 where that is more)"
    assert f"of {told['map']}" == f"of {told['change']}" == by
    assert told["counterfactual"] == "an image's largest (of 1 where that is more)"
    for text in (exported.told, (exported.folder / "README.md").read_text()):
        assert (
            f"{by} [change, map]" in text and "of an image's largest (of 1 where that is more) [counterfactual]" in text
        )


def test_one_that_explains_a_classifier_is_written_as_well(classifier, sides, tmp_path):
    settings = {"steps": 2, "batch": 4, "width": 4, "critic_width": 4, "critic_turns": 1}
    run = explaining(sides, tmp_path / "run", "targeted", settings=settings, target=classifier.folder)
    found = export(run.folder).differences
    assert found is not None and max(found.values()) <= TOLERANCE


@pytest.fixture(scope="module")
def segmenters(tmp_path_factory):
    home = tmp_path_factory.mktemp("segmenters")
    source = annotated.pictures(home / "images", 8)
    return [annotated.learned(source, home / f"run{seed}", seed=seed) for seed in (0, 1)], source.parent


def test_a_segmenter_gives_shares_of_classes_and_the_script_label_maps(segmenters, tmp_path):
    (run, _), _ = segmenters
    exported = export(run.folder, tmp_path / "model", size=annotated.SIDE)
    assert exported.differences is not None and exported.differences["probabilities"] <= TOLERANCE
    table, out = scored(exported, tmp_path, [next(iter(run.cohort["path"]))])
    (labels,) = (np.load(each) for each in out.glob("*_labels.npy"))
    assert labels.shape == (1, annotated.SIDE, annotated.SIDE)
    assert {*np.unique(labels)} <= {0, *(numbers[0] for numbers in run.labels.numbers)}
    for name, numbers in zip(run.labels.names, run.labels.numbers, strict=True):
        assert table[f"pixels_{name}"][0] == (labels == numbers[0]).sum()


def test_several_segmenters_are_averaged_and_images_larger_than_windows_go_by_windows(segmenters, tmp_path):
    runs, _ = segmenters
    side = annotated.SIDE + 9
    exported = anomaly.export([run.folder for run in runs], tmp_path / "model", size=[side, side])
    example = np.load(exported.folder / "example.npz")
    x = torch.from_numpy(example["image"])
    expected = (runs[0].segmenter.whole(x) + runs[1].segmenter.whole(x)).numpy() / 2
    assert np.allclose(example["probabilities"], expected, atol=1e-6)
    assert exported.differences is not None and max(exported.differences.values()) <= TOLERANCE


def test_windows_are_laid_over_one_another_as_elsewhere():
    x = torch.randn(1, 2, 70, 41, generator=torch.Generator().manual_seed(0))
    for draw in (lambda y: y, lambda y: y - y.mean((2, 3), keepdim=True)):
        expected = whole(draw, x, most=10**6, window=(32, 24))
        assert torch.allclose(by_windows(draw, x, (32, 24)), expected, atol=1e-6)


def test_a_segmenter_of_any_size_has_to_be_told_one(segmenters, tmp_path):
    (run, _), _ = segmenters
    with pytest.raises(RunError, match=r"a graph those of one: say which, as --size 256,256"):
        export(run.folder, tmp_path / "model")
    with pytest.raises(RunError, match="expected one number or 2"):
        export(run.folder, tmp_path / "model", size=[9, 9, 9])
    with pytest.raises(RunError, match="given twice"):
        export([run.folder, run.folder], tmp_path / "model", size=24)
    assert not list(tmp_path.iterdir())


def test_several_detectors_are_one_judge_as_score_takes_them(tmp_path):
    normals = pictures(tmp_path / "normals", 24)
    runs = [trained(normals, tmp_path / "ae", "autoencoder", settings=AE), trained(normals, tmp_path / "mean")]
    exported = export([run.folder for run in runs], tmp_path / "model")
    assert exported.differences is not None and set(exported.differences) == {"value_1", "value_2", "map_z"}
    others = pictures(tmp_path / "others", 3, name="o")
    table, out = scored(exported, tmp_path, [others])
    expected = pd.read_csv(anomaly.score([run.folder for run in runs], others, tmp_path / "scores").path)
    assert np.allclose(table["value"], expected["value"], atol=1e-3)
    assert np.allclose(table["z"], expected["z"], atol=1e-3)
    assert np.allclose(table["p"], expected["p_value"], atol=1e-9)
    first = runs[0].preprocessing.apply(anomaly.images.read(others / "o000.png")).pixels
    maps = np.mean([run.judge(first).map.numpy() for run in runs], axis=0)
    assert np.allclose(np.load(out / "o000_map_z.npy"), maps, atol=1e-3)
    with pytest.raises(AnomalyError, match="say where with --out"):
        export([run.folder for run in runs])
    with pytest.raises(RunError, match="the same run was given twice"):
        export([runs[0].folder] * 2, tmp_path / "twice")


def test_what_is_no_judge_with_others_is_refused(classifier, segmenters, tmp_path):
    (run, _), _ = segmenters
    with pytest.raises(RunError, match="no judge with others"):
        export([classifier.folder, classifier.folder], tmp_path / "model")
    with pytest.raises(RunError, match="leave --size out"):
        export(classifier.folder, tmp_path / "model", size=12)
    with pytest.raises(RunError, match="classifiers have none"):
        export(classifier.folder, tmp_path / "model", method="./mine.py:Mine")
    with pytest.raises(RunError, match="a classifier is exported by `anomaly export` on the command line"):
        anomaly.export(classifier.folder, tmp_path / "model")
    with pytest.raises(RunError, match="holds a segmenter"):
        export([trained(pictures(tmp_path / "n", 12), tmp_path / "run").folder, run.folder], tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_an_export_keeps_its_folder_to_itself_whether_it_is_named_or_not(tmp_path, monkeypatch, capsys):
    folder = trained(pictures(tmp_path / "normals", 12), tmp_path / "run").folder
    program = calling(tmp_path, monkeypatch, capsys)
    with busy.held(folder / "onnx"):
        for words in ("export run --onnx", "export run --onnx --out run/onnx"):
            code, _, errors = program(words)
            assert code == 1 and "another process is writing to run/onnx" in errors
    assert not (folder / "onnx").exists()
    code, said, _ = program("export run --onnx")
    assert code == 0 and said.startswith("model: run/onnx/model.onnx\nlargest difference")
    assert sorted(each.name for each in (folder / "onnx").iterdir())[0] == "README.md"  # and no lock
    assert program("export gone --onnx")[0] == 1 and not (tmp_path / "gone").exists()
    assert "expected numbers" in program("export run --onnx --size wide")[2]
