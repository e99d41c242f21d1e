"""Classes: read from a table, and handed to a method that learns to draw them apart."""

import logging
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
from classed import NAMES, as_table, cohort, drawing, image, learned, opened
from studies import AE, SIDE, trained
from tiny import tiny

from anomaly.cohorts.classes import Classes, classed
from anomaly.errors import AnomalyError, CohortError, RunError
from anomaly.runs.describing import describe
from anomaly.scoring.score import _warn_of_classes


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`normals/cohort.csv`, and a run of them, `run`; no test changes them."""
    home = tmp_path_factory.mktemp("home")
    learned(cohort(home / "normals"), home / "run")
    return home


# From a table


def people(values: list[Any]) -> pd.DataFrame:
    table = pd.DataFrame({"id": [f"i{k}" for k in range(len(values))], "finding": values})
    table.attrs["subjects_from"] = "here"
    return table


@pytest.mark.parametrize(
    ("values", "names", "of_images"),
    [
        (["b", "a", "b"], ("a", "b"), ["b", "a", "b"]),
        ([1, 0, 1], ("0", "1"), ["1", "0", "1"]),
        ([1.0, None, 0.0], ("0", "1"), ["1", "0"]),
        ([10, 9, 2.5], ("2.5", "9", "10"), ["10", "9", "2.5"]),
        ([True, False], ("False", "True"), ["True", "False"]),
        ([" b", "", "a ", None], ("a", "b"), ["b", "a"]),
        (["01", "1"], ("01", "1"), ["01", "1"]),
    ],
)
def test_classes_are_the_sorted_values_of_a_column(values: list[Any], names: tuple, of_images: list[str]) -> None:
    table, classes = classed(people(values), "finding")
    assert classes == Classes("finding", names)
    assert list(table["class"]) == of_images and list(table.index) == list(range(len(of_images)))
    assert table.attrs["subjects_from"] == "here"


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ([None, "", float("nan")], "no image of the normals has a finding"),
        (["a", "a", None], r"finding has 1 values \(a\); expected 2 to 100 classes"),
        (list(range(101)), r"finding has 101 values \(0, 1, 2, ...\); expected 2 to 100 classes"),
    ],
)
def test_columns_that_hold_no_classes(values: list[Any], told: str) -> None:
    with pytest.raises(CohortError, match=told):
        classed(people(values), "finding")
    with pytest.raises(CohortError, match="have no column 'site'; their columns are id, finding"):
        classed(people(values), "site")


def test_a_hundred_classes_are_not_too_many() -> None:
    assert len(classed(people(list(range(100))), "finding")[1].names) == 100


def test_slices_are_of_the_class_of_their_volume() -> None:
    table = pd.DataFrame({"class": ["b", "a", "b"], "slices": [2, 1, 3]})
    numbers = Classes("finding", ("a", "b")).numbers(table)
    assert numbers.tolist() == [1, 1, 0, 1, 1, 1] and numbers.dtype == np.int64


# Learned


def test_a_method_is_given_the_class_of_each_image(home: Path) -> None:
    run = opened(home / "run")
    assert run.detector.settings()["classes"] == 3
    means = run.detector.net_.means[:, 0]
    half = SIDE // 2
    assert min(means[0, :, :half].mean(), means[1, :, half:].mean(), means[2, :half].mean()) > 0.3
    assert max(means[0, :, half:].mean(), means[1, :, :half].mean(), means[2, half:].mean()) < -0.3


def test_a_run_tells_its_classes(home: Path) -> None:
    run = opened(home / "run")
    assert run.facts["classes"]["column"] == "finding" and tuple(run.facts["classes"]["names"]) == NAMES
    table = run.normals.set_index("id")
    assert (table["class"] == table["finding"]).all()
    train = table[table["split"] == "train"]["class"].value_counts()
    assert run.facts["data"]["classes"] == {name: train[name] for name in NAMES}
    assert "\nclasses    finding: left, right, upper\n" in describe(home / "run")
    card = " ".join((home / "run" / "MODEL_CARD.md").read_text().split())
    counts = ", ".join(f"{name} ({train[name]})" for name in NAMES)
    assert f"classes it learned to draw apart, with images to train on: {counts}" in card
    assert "The column `finding` told, in training alone" in card and "Labels of disease were never used" not in card


def test_without_classes_nothing_is_told_of_any(home: Path, tmp_path: Path) -> None:
    run = learned(home / "normals" / "cohort.csv", tmp_path / "run", classes=None)
    assert run.detector.settings()["classes"] == 0 and run.facts["classes"] is None
    assert "class" not in run.normals and "classes" not in describe(run.folder).split("classes=0")[1]
    made = drawing(tmp_path / "run", tmp_path / "out")
    assert "class" not in pd.read_csv(made.table)
    assert "class" not in " ".join(made.measures["features"])
    with pytest.raises(AnomalyError, match="learned no classes apart; leave them out, or train one with --classes"):
        drawing(tmp_path / "run", tmp_path / "new", classes=["left"])


def test_scores_do_not_know_of_classes(home: Path) -> None:
    run = opened(home / "run")
    x = np.random.default_rng(0).uniform(-1, 1, size=(2, 1, SIDE, SIDE)).astype(np.float32)
    expected = np.abs(x - run.detector.net_.means.mean(0).numpy()).mean((1, 2, 3))
    assert run.judge(x).value.numpy() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("value", "warned"), [("both", True), ("features", True), ("image", False)])
def test_values_of_a_critic_that_was_told_classes_are_warned_of(value, warned, caplog) -> None:
    facts = {"classes": {"column": "kind", "names": ["a", "b"]}}
    detector = replace(tiny("stylegan"), classes=2, value_from=value)
    _warn_of_classes(SimpleNamespace(facts=facts, detector=detector, folder="runs/gan"))  # type: ignore[arg-type]
    assert ("nothing fair of an outcome that is kind" in caplog.text) is warned
    caplog.clear()
    _warn_of_classes(SimpleNamespace(facts={}, detector=tiny("stylegan"), folder="runs/gan"))  # type: ignore[arg-type]
    assert not caplog.text


def test_images_without_a_class_are_left_out_and_counted(
    home: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = as_table(home)
    table.loc[[0, 5, 17], "finding"] = None
    with caplog.at_level(logging.WARNING):
        run = learned(table, tmp_path / "run")
    assert "3 of 60 images of the normals have no finding and are left out" in caplog.text
    assert run.facts["data"]["images"] == 57 and set(run.normals["class"]) == set(NAMES)


def test_numbers_and_names_that_look_like_numbers_come_back_as_text(home: Path, tmp_path: Path) -> None:
    table = as_table(home)
    table["finding"] = [["01", "1", "NA"][i % 3] for i in range(60)]
    run = learned(table, tmp_path / "run")
    assert run.facts["classes"]["names"] == ["01", "1", "NA"]
    assert set(run.normals["class"]) == {"01", "1", "NA"}
    made = drawing(tmp_path / "run", tmp_path / "out")
    told = pd.read_csv(made.table, dtype=str, keep_default_na=False)["class"]
    assert list(told) == ["01", "1", "NA", "01", "1", "NA", "01"]


def test_a_class_wants_two_subjects_to_train_on(home: Path, tmp_path: Path) -> None:
    table = as_table(home)
    train = opened(home / "run").normals.query("split == 'train'")["id"]
    rare = table["path"].map(lambda path: Path(path).stem).isin(train[:2])
    one = table.assign(finding=table["finding"].where(~rare, "rare"))
    assert learned(one, tmp_path / "two").facts["data"]["classes"]["rare"] == 2
    told = r"classes of finding \(rare: 1\); expected 2 or more of each, the held-out ones not counted"
    with pytest.raises(CohortError, match=told):
        learned(one.drop(index=one.index[rare][0]), tmp_path / "one")
    same = one.assign(person=one["person"].where(~rare, one["person"][rare].iloc[0]))
    with pytest.raises(CohortError, match=told):
        learned(same, tmp_path / "one")
    assert not (tmp_path / "one").exists()
    (tmp_path / "broken.png").write_bytes(b"")  # which is known only once it is read
    one.loc[one.index[rare][0], "path"] = str(tmp_path / "broken.png")
    with pytest.raises(CohortError, match=told):
        learned(one, tmp_path / "one")


def test_classes_that_are_set_and_methods_that_learn_none(home: Path, tmp_path: Path) -> None:
    normals = home / "normals" / "cohort.csv"
    with pytest.raises(AnomalyError, match="prototypes are counted, not set; give --classes COLUMN"):
        learned(normals, tmp_path / "run", settings={"classes": 3})
    with pytest.raises(AnomalyError, match=r"vae learns no classes apart; .* one of: .*stylegan"):
        trained(normals, tmp_path / "run", "vae", settings=AE, classes="finding")
    with pytest.raises(AnomalyError, match="vae has no setting 'classes'"):
        trained(normals, tmp_path / "run", "vae", settings={"classes": 3})
    assert not (tmp_path / "run").exists()


def test_going_on_with_other_classes_is_refused(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = as_table(home)
    table["site"] = table["finding"].map({"left": "x", "right": "y", "upper": "y"})
    swapped = table.assign(finding=table["finding"].replace({"left": "right", "right": "left"}))
    out, run = tmp_path / "out", learned(table, tmp_path / "run")

    class Stopped(BaseException):
        pass

    def stop(*args: Any) -> None:
        (out / "checkpoint" / "00").mkdir()  # as a training leaves it
        raise Stopped

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr("anomaly.runs.learning.calibrated", stop)
        learned(table, out)
    for folder in (out, run.folder):
        with pytest.raises(RunError, match=r"column was finding, now site; names was \['left', .*now \['x', 'y'\]"):
            learned(table, folder, classes="site", resume=True)
        with pytest.raises(RunError, match=r"classes was 3, now 0; classes was \{.*\}, now None"):
            learned(table, folder, classes=None, resume=True)
        with pytest.raises(RunError, match=r"other settings \(labels was [0-9a-f]+, now [0-9a-f]+\)"):
            learned(swapped, folder, resume=True)
        again = learned(table, folder, resume=True)
        assert torch.equal(again.detector.net_.means, run.detector.net_.means)


def test_slices_of_volumes_take_the_class_of_their_volume(tmp_path: Path) -> None:
    rows = []
    for i in range(30):
        file = nib.Nifti1Image(np.stack([image(i % 3, 10 * i + k) for k in range(3)], axis=-1), np.eye(4))
        nib.save(file, tmp_path / f"{i}.nii.gz")
        rows.append({"path": str(tmp_path / f"{i}.nii.gz"), "finding": NAMES[i % 3], "person": f"p{i}"})
    run = learned(pd.DataFrame(rows), tmp_path / "run")
    assert set(run.normals["slices"]) == {"3"}
    shown = run.detector.net_.means[:, 0] > 0
    expected = np.stack([image(k, 0) > 100 for k in range(3)])
    assert (shown.numpy() == expected).all()
    made = drawing(tmp_path / "run", tmp_path / "out")
    assert list(pd.read_csv(made.table)["class"][:3]) == list(NAMES)
