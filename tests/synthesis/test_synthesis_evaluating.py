"""What drawn images are worth: a segmenter's Dice beside that on real ones, distances, floors worked by hand."""

import json

import numpy as np
import pandas as pd
import PIL.Image
import pytest
from synthesized import cohort, synthesizing, volumes

from anomaly.errors import AnomalyError, CohortError
from anomaly.images.preprocessing import Preprocessing
from anomaly.segmentation.annotations import Annotations
from anomaly.segmentation.learning import learn_segmentation
from anomaly.synthesis import holding, judging
from anomaly.synthesis.applying import synthesize
from anomaly.synthesis.evaluating import _drawn, evaluate_synthesis
from anomaly.synthesis.floors import class_means, nearest
from anomaly.synthesis.holding import Held, read_held
from anomaly.synthesis.mapped import Mapped
from anomaly.synthesis.run import SynthesizerRun
from anomaly.synthesis.telling import DRAWN, MEANS, NEAREST, ON_DRAWN, REAL, sentences
from anomaly.training.machine import Machine
from anomaly.translation.figures import Figure

JUDGE = {"width": 6, "levels": 2, "steps": 80, "batch": 4, "window": 16, "augment": "none", "lr": 1e-2, "dropout": 0.0}
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
    assert found.figure("share_of_real").value == pytest.approx(
        found.figure("dice").value / found.figure("dice", REAL).value, rel=0.02
    )
    run = SynthesizerRun.open(home / "run")
    synthesize(home / "run", home / "b" / "cohort.csv", tmp_path / "drawn", device="cpu")
    shown = np.asarray(PIL.Image.open(tmp_path / "drawn" / "p045_synthesized.png")) / 127.5 - 1
    held = read_held(run, Mapped(images=home / "b" / "cohort.csv", labels="labels").read())
    row = list(held.ids).index("p045")
    np.testing.assert_allclose(_drawn(run, held, 0, 0)[row, 0], shown, atol=0.005)  # what apply draws is what is judged
    assert (tmp_path / "sheet.png").stat().st_size > 2000 and not (tmp_path / "errors.csv").exists()
    assert len(pd.read_csv(tmp_path / "images.csv")) == 12


def test_who_was_trained_on_is_refused_and_nothing_need_be_segmented(home, tmp_path):
    given = Mapped(images=home / "a" / "cohort.csv", labels="labels")
    with pytest.raises(CohortError, match="--allow-overlap"):
        evaluate_synthesis(home / "run", given, tmp_path, device="cpu")
    found = evaluate_synthesis(home / "run", given, tmp_path, segmenter="none", allow_overlap=True, device="cpu")
    assert not any(figure.measure == "dice" for figure in found.figures)
    assert "not asked" in found.sentences[-1]


def test_where_the_training_images_are_gone_there_are_no_floors(tmp_path):
    """The images given must not stand in for them: the nearest to each would be itself."""
    synthesizing(cohort(tmp_path / "a"), tmp_path / "run")
    given = Mapped(images=cohort(tmp_path / "b", 12, first=40), labels="labels")
    (tmp_path / "a" / "images").rename(tmp_path / "a" / "elsewhere")
    found = evaluate_synthesis(tmp_path / "run", given, tmp_path / "out", settings=SMALL, device="cpu")
    assert not {figure.of for figure in found.figures} & {MEANS, NEAREST} and found.figure("frechet").images
    assert "these are gone" in (tmp_path / "out" / "synthesis.json").read_text()
    assert not any("painted with their means" in each for each in found.sentences)


def test_the_nearest_training_image_is_never_of_the_same_person(home, tmp_path):
    given = Mapped(images=home / "a" / "cohort.csv", labels="labels")
    found = evaluate_synthesis(home / "run", given, tmp_path, segmenter="none", allow_overlap=True, device="cpu")
    assert found.figure("l1", NEAREST).value > 0.05  # 0 of the very image


@pytest.fixture(scope="module")
def judges(home):
    """Segmenters of real images: of people of their own, those to be judged, of other classes, prepared otherwise."""

    def learn(name, first, numbers="3,7", size=20):
        table = cohort(home / name / "data", 12, first=first)
        frame = pd.read_csv(table).assign(subject=lambda rows: [f"s{int(path[8:11]) // 2}" for path in rows["path"]])
        frame.to_csv(table, index=False)
        return learn_segmentation(
            Annotations(labelled=table, labels="labels", classes=numbers), home / name / "run", settings=JUDGE,
            preprocessing=Preprocessing(size=size, intensity="range"), machine=Machine(device="cpu"), workers=1,
        ).folder  # fmt: skip

    return {
        "apart": learn("c", 80),
        "same": learn("d", 40),
        "classes": learn("e", 80, "3"),
        "size": learn("f", 80, size=16),
    }


def test_a_segmenter_that_is_given_judges(home, judges, tmp_path):
    given = Mapped(images=home / "b" / "cohort.csv", labels="labels")
    found = evaluate_synthesis(home / "run", given, tmp_path, segmenter=judges["apart"], device="cpu")
    assert found.figure("dice", REAL).note == "by the segmenter given" and found.figure("dice", REAL).images == 12
    assert found.figure("dice", REAL).value > 0.5 and not any(each.of == ON_DRAWN for each in found.figures)
    with pytest.raises(CohortError, match=r"d/run.*allow-overlap"):
        evaluate_synthesis(home / "run", given, tmp_path, segmenter=judges["same"], device="cpu")
    evaluate_synthesis(home / "run", given, tmp_path, segmenter=judges["same"], allow_overlap=True, device="cpu")
    with pytest.raises(AnomalyError, match="knows the classes"):
        evaluate_synthesis(home / "run", given, tmp_path, segmenter=judges["classes"], device="cpu")
    with pytest.raises(AnomalyError, match="images prepared otherwise"):
        evaluate_synthesis(home / "run", given, tmp_path, segmenter=judges["size"], device="cpu")


def test_dice_by_hand_and_what_is_found_where_there_is_none():
    """Of class 1: 2 of 3 found and 1 beside is 4 / 6. Class 2 is found where none is, missed, then nowhere."""
    places = np.array([[[1, 1, 1, 0]], [[0, 2, 2, 255]], [[0, 0, 0, 0]]], dtype=np.uint8)
    found = np.array([[[1, 1, 2, 1]], [[0, 0, 0, 2]], [[0, 0, 0, 0]]], dtype=np.uint8)
    held = Held(np.zeros((3, 1, 1, 4)), places, np.array(list("abc")), np.array(list("abc")), [])
    dice, falsely = judging.judged(found, held, 3)
    np.testing.assert_array_equal(dice, [[4 / 6, np.nan], [np.nan, 0], [np.nan, np.nan]])
    np.testing.assert_array_equal(falsely, [[np.nan, 1], [0, np.nan], [0, 0]])
    np.testing.assert_array_equal(judging.dice_of(lambda images: found, held.pixels, held, 3), dice)
    (_, second) = judging.false_finds("drawn", falsely, ["one", "two"], held.subjects)
    assert second.measure == "false_two" and second.value == 0.5 and second.images == 2


def test_the_share_of_real_is_of_classes_that_are_seen_and_in_pairs():
    """Drawn is 0.9 of real for each of four people; the class that the judge is blind to would make it 1.0."""
    real = np.array([[0.8, 0.05], [0.4, 0.05], [0.6, 0.1], [0.2, 0.0]])
    drawn = np.array([[0.72, 0.95], [0.36, 0.05], [0.54, 0.9], [0.18, 0.0]])
    dice = {REAL: real, DRAWN: drawn, MEANS: real - 0.1}
    share, gain = judging.compared(dice, np.arange(4).astype(str), drawn=DRAWN, real=REAL, means=MEANS, seed=0)
    assert (share.value, share.low, share.high) == pytest.approx((0.9, 0.9, 0.9))
    assert gain.value == pytest.approx(0.45 - 0.4) and share.subjects == 4
    (blind,) = judging.compared(
        {REAL: real * 0.1, DRAWN: drawn}, np.arange(4).astype(str), drawn=DRAWN, real=REAL, means=MEANS, seed=0
    )
    assert np.isnan(blind.value)


def test_what_follows_is_said_whichever_way_it_falls():
    rest = [Figure(each, of, 0.1) for each in ("l1", "ssim", "between_draws") for of in (DRAWN, MEANS, NEAREST)]
    rest += [Figure("dice", of, 0.6) for of in (DRAWN, REAL, MEANS, NEAREST)] + [Figure("dice_cyst", REAL, 0.05)]
    for low, high, says in ((0.91, 1.0, "they show it"), (0.6, 0.8, "not show it well"), (0.8, 0.95, "cannot be told")):
        gain = Figure("beyond_means", DRAWN, 0.02, low - 0.9, high - 0.9)
        told = sentences([*rest, Figure("share_of_real", DRAWN, 0.9, low, high, 9, 9), gain])[-1]
        assert says in told and "says nothing of cyst" in told
        assert ("is above that" if low > 0.9 else "is below that" if high < 0.9 else "not surely") in told
    told = sentences([*rest, Figure("share_of_real", DRAWN, float("nan"))])[-1]
    assert "hardly finds any class" in told and "they show it" not in told
    assert "too few" in sentences([*rest, Figure("share_of_real", DRAWN, 1.0, images=2, subjects=1)])[-1]


def test_volumes_count_by_their_slices_and_it_is_told_that_not_all_were_looked_at(tmp_path, monkeypatch, caplog):
    table = volumes(tmp_path)
    run = synthesizing(table, tmp_path / "run", preprocessing=Preprocessing(size=12, slices="axial"))
    rows = Mapped(images=table, labels="labels").read()
    whole = read_held(run, rows)
    assert whole.left == 0 and len(set(whole.ids)) == 6
    each = len(whole.ids) // 6
    monkeypatch.setattr(holding, "MOST", 2 * each + 1)
    held = read_held(run, rows)
    assert len(held.pixels) == 2 * each and held.left == 4 and list(held.ids) == sorted(held.ids)
    assert f"looked at 2 of 6 images ({2 * each} slices)" in caplog.text
    monkeypatch.setattr(holding, "MOST", 1)
    assert len(read_held(run, rows).pixels) == each  # one at least


def test_floors_by_hand():
    known = np.array([[[[0.0, 1.0], [0.5, 0.5]]], [[[1.0, -1.0], [0.0, 0.0]]]])
    of_known = np.array([[[0, 1], [2, 2]], [[1, 0], [2, 255]]], dtype=np.uint8)
    places = np.array([[[0, 1], [2, 255]], [[3, 0], [0, 0]]], dtype=np.uint8)
    drawn = class_means(known, of_known, places, 4)
    assert drawn[0, 0].tolist() == [[-0.5, 1.0], [pytest.approx(1 / 3), -1.0]]
    assert drawn[1, 0, 0, 0] == pytest.approx(2 / 7)  # no class 3: the mean of all
    np.testing.assert_array_equal(nearest(known, of_known, of_known[::-1]), known[::-1])
    np.testing.assert_array_equal(nearest(known, of_known, of_known, np.eye(2, dtype=bool)), known[::-1])
