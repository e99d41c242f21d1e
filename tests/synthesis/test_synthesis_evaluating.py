"""What drawn images are worth: a segmenter's Dice beside that on real ones, distances, floors worked by hand."""

import json

import numpy as np
import pandas as pd
import pytest
from synthesized import cohort, synthesizing

from anomaly.errors import CohortError
from anomaly.synthesis.evaluating import evaluate_synthesis
from anomaly.synthesis.floors import class_means, nearest
from anomaly.synthesis.mapped import Mapped
from anomaly.synthesis.telling import DRAWN, MEANS, NEAREST, ON_DRAWN, REAL

SMALL = {"steps": 120, "width": 6, "levels": 2, "lr": 1e-2, "ema": 0.0}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mapped")
    synthesizing(cohort(folder / "a"), folder / "run")
    cohort(folder / "b", 12, first=40)
    return folder


def test_everything_stands_beside_its_floor(home, tmp_path):
    found = evaluate_synthesis(
        home / "run", Mapped(images=home / "b" / "cohort.csv", labels="labels"), tmp_path, settings=SMALL, device="cpu"
    )
    figures = pd.read_csv(found.path)
    assert {(row.measure, row.of) for row in figures.itertuples()} >= {
        *(("dice", way) for way in (DRAWN, REAL, MEANS, NEAREST, ON_DRAWN)),
        *((measure, way) for measure in ("l1", "ssim") for way in (DRAWN, MEANS, NEAREST)),
        *(("frechet", way) for way in (DRAWN, REAL, MEANS)),
        ("dice_7", DRAWN), ("between_draws", DRAWN),
    }  # fmt: skip
    # Grey values are means with noise of 6 of 255: painted means are as near as anything comes.
    assert found.figure("l1", MEANS).value == pytest.approx(2 * 6 / 255 * np.sqrt(2 / np.pi), rel=0.15)
    assert found.figure("dice", REAL).value > 0.7 and found.figure("dice", MEANS).value > 0.7
    told = json.loads((tmp_path / "synthesis.json").read_text())
    assert told["sentences"] == list(found.sentences) and "the run learned from" in told["floors"]
    assert (tmp_path / "sheet.png").stat().st_size > 2000 and not (tmp_path / "errors.csv").exists()
    assert len(pd.read_csv(tmp_path / "images.csv")) == 12


def test_who_was_trained_on_is_refused_and_nothing_need_be_segmented(home, tmp_path):
    given = Mapped(images=home / "a" / "cohort.csv", labels="labels")
    with pytest.raises(CohortError, match="--allow-overlap"):
        evaluate_synthesis(home / "run", given, tmp_path, device="cpu")
    found = evaluate_synthesis(home / "run", given, tmp_path, segmenter="none", allow_overlap=True, device="cpu")
    assert not any(figure.measure == "dice" for figure in found.figures)
    assert "not asked" in found.sentences[-1]


def test_floors_by_hand():
    known = np.array([[[[0.0, 1.0], [0.5, 0.5]]], [[[1.0, -1.0], [0.0, 0.0]]]])
    of_known = np.array([[[0, 1], [2, 2]], [[1, 0], [2, 255]]], dtype=np.uint8)
    places = np.array([[[0, 1], [2, 255]], [[3, 0], [0, 0]]], dtype=np.uint8)
    drawn = class_means(known, of_known, places, 4)
    assert drawn[0, 0].tolist() == [[-0.5, 1.0], [pytest.approx(1 / 3), -1.0]]
    assert drawn[1, 0, 0, 0] == pytest.approx(2 / 7)  # no class 3: the mean of all
    np.testing.assert_array_equal(nearest(known, of_known, of_known[::-1]), known[::-1])
