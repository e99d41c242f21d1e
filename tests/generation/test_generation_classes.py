"""Classes drawn one by one, and held beside real images of the same."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import PIL.Image
import pytest
import torch
from classed import NAMES, OWN, cohort, drawing, learned, opened
from studies import SIDE, calling

from anomaly.errors import AnomalyError, RunError
from anomaly.generation import generate as generation
from anomaly.generation.comparison import Real, compare, real_cohort
from anomaly.generation.generate import draw


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`normals/cohort.csv`, and a run of them, `run`; no test changes them."""
    home = tmp_path_factory.mktemp("home")
    learned(cohort(home / "normals"), home / "run")
    return home


# Drawn


def bright(pixels: np.ndarray) -> str:
    """Which class an image (1, rows, columns) shows."""
    half = SIDE // 2
    sides = (pixels[0, :, :half], pixels[0, :, half:], pixels[0, :half])
    return NAMES[int(np.argmax([side.mean() for side in sides]))]


def test_classes_are_drawn_in_turn_and_told_in_the_table(home: Path, tmp_path: Path) -> None:
    made = drawing(home / "run", tmp_path / "out")
    table = pd.read_csv(made.table)
    assert list(table) == ["id", "path", "number", "seed", "run", "class"]
    assert list(table["class"]) == [*NAMES, *NAMES, "left"]
    for path, name in zip(table["path"], table["class"], strict=True):
        with PIL.Image.open(tmp_path / "out" / path) as file:
            assert bright(np.asarray(file)[None]) == name


def test_an_image_follows_from_its_number_and_its_class(home: Path) -> None:
    run = opened(home / "run")

    def images(numbers: Any, *options: Any, **more: Any) -> np.ndarray:
        return np.concatenate([pixels for _, pixels in draw(run, numbers, 3, *options, **more)])

    every = images(range(7))
    assert [bright(each) for each in every] == [*NAMES, *NAMES, "left"]
    assert np.array_equal(images([4]), every[[4]])
    assert np.array_equal(images(range(7), 2), every)
    right = images(range(7), classes="right")
    assert {bright(each) for each in right} == {"right"} and np.array_equal(right[[1, 4]], every[[1, 4]])
    noise = [np.random.default_rng([3, i]).standard_normal(1) for i in range(7)]
    with torch.no_grad():
        expected = run.detector.net_.means[1] + torch.tensor(np.array(noise), dtype=torch.float32).view(7, 1, 1, 1) / 20
    assert np.allclose(right, expected.clamp(-1, 1), atol=1e-6)
    two = images(range(4), classes=["upper", "left", "left"])  # in the run's order, each once
    assert [bright(each) for each in two] == ["left", "upper"] * 2


def test_a_folder_goes_on_with_the_classes_it_was_begun_with(home: Path, tmp_path: Path) -> None:
    made = drawing(home / "run", tmp_path / "out", count=2, classes=["upper", "left"])
    assert list(pd.read_csv(made.table)["class"]) == ["left", "upper"]
    made = drawing(home / "run", tmp_path / "out", count=3, classes=["left", "upper"])
    assert (made.new, made.before) == (1, 2) and list(pd.read_csv(made.table)["class"]) == ["left", "upper", "left"]
    with pytest.raises(RunError, match=r"classes \['left', 'upper'\] there, \['left', 'right', 'upper'\] asked for"):
        drawing(home / "run", tmp_path / "out")
    with pytest.raises(RunError, match=r"classes \['left', 'upper'\] there, \['left'\] asked for"):
        drawing(home / "run", tmp_path / "out", classes=["left"])


def test_a_folder_from_before_there_were_classes_goes_on(home: Path, tmp_path: Path) -> None:
    learned(home / "normals" / "cohort.csv", tmp_path / "run", classes=None)
    drawing(tmp_path / "run", tmp_path / "out", count=2)
    facts = tmp_path / "out" / "generated.json"
    told = json.loads(facts.read_text())
    assert told.pop("classes") == []
    facts.write_text(json.dumps(told))
    assert drawing(tmp_path / "run", tmp_path / "out", count=3).new == 1


def test_unknown_classes_are_told_those_there_are(home: Path, tmp_path: Path) -> None:
    with pytest.raises(AnomalyError, match=r"has no class 'lower'; its classes, by finding, are left, right, upper"):
        drawing(home / "run", tmp_path / "out", classes=["left", "lower"])
    assert not (tmp_path / "out").exists()


# Beside real images


def test_each_class_has_its_own_distance_and_its_own_rows(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sheets: list[Any] = []
    monkeypatch.setattr(generation, "generated_sheet", lambda *args, **options: sheets.append((args, options)))
    others = cohort(tmp_path / "others", 36, first=300)
    made = drawing(home / "run", tmp_path / "out", count=30, real=others, subject="person")
    rows = made.measures.set_index("measure").loc["frechet"]
    name = rows["features"].iloc[0]
    assert list(rows["features"]) == [name, *(f"{name}, class {each}" for each in NAMES)]
    assert list(rows["n_real"]) == [18, 6, 6, 6]
    assert any(f"Frechet distance on {name}, class upper: " in sentence for sentence in made.sentences)
    (_, new, real), told = sheets[0]
    assert list(told["classes"]) == [*NAMES] * 10 and [bright(each) for each in new[:3]] == list(NAMES)
    assert len(told["real_classes"]) == 36 and all(
        bright(each) == name for each, name in zip(real, told["real_classes"], strict=True)
    )
    assert told["title"] == "prototypes, seed 0: new images above real ones it was not trained on, class by class"


def test_a_class_alone_is_compared_with_real_images_of_it(home: Path, tmp_path: Path) -> None:
    others = cohort(tmp_path / "others", 24, first=300)
    made = drawing(home / "run", tmp_path / "out", classes="right", real=others, subject="person")
    assert made.measures["n_real"][0] == 8
    run, own = opened(home / "run"), opened(home / "run").normals.set_index("id")
    known = real_cohort(run, None, classes=("right",))
    assert set(known.loc[known["split"] == "reference", "class"]) == {"right"}
    assert set(known.loc[known["split"] == "train", "class"]) == set(NAMES)
    assert (own.loc[known["id"], "finding"].to_numpy() == known["class"]).all()


def test_real_images_without_their_classes_are_compared_all_together(
    home: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    sheets: list[dict[str, Any]] = []
    monkeypatch.setattr(generation, "generated_sheet", lambda *args, **options: sheets.append(options))
    table = pd.read_csv(cohort(tmp_path / "others", 24, first=300))
    table["path"] = [str(tmp_path / "others" / name) for name in table["path"]]
    for k, real in enumerate((table.drop(columns="finding"), table.assign(finding="unheard of"))):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            made = drawing(home / "run", tmp_path / f"{k}", classes="left", real=real, subject="person")
        assert "no real image has one of the classes left, right, upper in a column finding" in caplog.text
        assert made.measures["n_real"][0] == 24 and sheets[k]["real_classes"] is None
        assert not made.measures["features"].str.contains("class").any()
    some = real_cohort(opened(home / "run"), table.assign(finding=table["finding"].replace("left", None)))
    assert set(some.loc[some["split"] == "reference", "class"]) == {"right", "upper", ""}


def test_classes_with_too_few_images_are_told(caplog: pytest.LogCaptureFixture) -> None:
    images = np.random.default_rng(0).uniform(-1, 1, size=(90, 1, 8, 8)).astype(np.float32)
    of = np.array(["a"] * 20 + ["b"] * 3 + [""])
    real = Real(images[:40], images[40:64], np.arange(24).astype(str), classes=of)
    with caplog.at_level(logging.WARNING):
        found = compare(images[64:], real, features=None, pairs=3, classes=np.resize(["a", "b", "c"], 26))
    assert [each.features[-7:] for each in found if each.measure == "frechet"][1:] == ["class a"]
    assert "too few new or real images to compare these classes one by one: b, c" in caplog.text


# The program


def test_from_the_command_line(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program = calling(home, monkeypatch, capsys)
    words = f"--normals normals/cohort.csv --method {OWN} --size {SIDE} --device cpu --workers 1 --subject person"
    code, out, errors = program(f"train {words} --classes finding --out {tmp_path}/run")
    assert (code, out) == (0, f"run: {tmp_path}/run\n"), errors
    assert "classes    finding: left, right, upper" in program(f"info {tmp_path}/run")[1]
    draw = f"generate {tmp_path}/run --method {OWN} --count 4 --pairs 5 --device cpu --out {tmp_path}/out"
    code, out, errors = program(f"{draw} --class upper --class left")
    assert code == 0 and "(4 new, 0 from before)" in out, errors
    assert list(pd.read_csv(tmp_path / "out" / "generated.csv")["class"]) == ["left", "upper"] * 2
    code, _, errors = program(f"{draw} --class lower")
    assert code == 2 and "has no class 'lower'; its classes, by finding, are left, right, upper" in errors
    code, _, errors = program(f"train {words} --classes site --out {tmp_path}/new")
    assert code == 1 and "has no column 'site'" in errors and not (tmp_path / "new").exists()
    code, _, errors = program(f"train {words} --set classes=3 --out {tmp_path}/new")
    assert code == 2 and "give --classes COLUMN" in errors and not (tmp_path / "new").exists()
