"""Run folders that were made before the rooms, by the modules as they were called then: they open as before."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from studies import call, pictures

from anomaly.runs.run import Run
from explain.runs.given import open_target

OLD = Path(__file__).parents[1] / "data" / "before_rooms"
TOLD = json.loads((OLD / "told.json").read_text())
IMAGES = np.linspace(-1, 1, 2 * 144, dtype=np.float32).reshape(2, 1, 12, 12)


def test_an_old_detector_opens_and_says_the_same():
    run = Run.open(OLD / "detector")
    score = run.judge(IMAGES)
    assert run.detector.name == "vae" and run.facts["data"]["images"] == 24
    # Written on another processor, which adds in another order: a value is a difference, of which digits are lost.
    np.testing.assert_allclose(score.value, TOLD["values"], rtol=1e-3)
    np.testing.assert_allclose(score.map.flatten(1).sum(1), TOLD["maps"], rtol=1e-3)


def test_an_old_classifier_opens_and_says_the_same():
    target = open_target(OLD / "classifier")
    with torch.no_grad():
        logits = target.value(torch.from_numpy(IMAGES))
    np.testing.assert_allclose(logits, TOLD["logits"], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", ["detector", "classifier"])
def test_info_of_an_old_run(kind):
    code, out, errors = call("info", OLD / kind)
    assert code == 0 and "seed 0" in out, errors


def test_an_old_run_scores_new_images(tmp_path):
    images = pictures(tmp_path / "images", 2, name="new")
    code, out, errors = call(
        "score", OLD / "detector", "--images", images, "--out", tmp_path / "out", "--device", "cpu"
    )
    assert code == 0 and "2 new" in out, errors
