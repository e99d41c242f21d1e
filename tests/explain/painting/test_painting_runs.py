"""`anomaly paint` from images to runs, twins, new cases and their evaluation; and what is refused by name."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from painted import LESIONS, RANGE, SIDE, TINY, write
from typer.testing import CliRunner

import cli
from anomaly.errors import AnomalyError, CohortError
from anomaly.images import read
from anomaly.images.labels import Labels
from explain.evaluating.judging import evaluate
from explain.painting.cohort import Lesions
from explain.painting.evaluating import evaluate_painter
from explain.painting.learning import learn_painter
from explain.painting.putting_in import paint_in
from explain.painting.run import PainterRun
from explain.painting.taking_out import paint_out


def differing(one: Path, other: Path) -> np.ndarray:
    return np.asarray((read(one).pixels != read(other).pixels).any(0))


def test_a_run_says_what_it_learned(home: Path) -> None:
    run = PainterRun.open(home / "run")
    assert run.names == ("bright", "dark")
    assert run.facts["counts"]["bright"] >= 2
    assert {each.place for each in run.shapes} == {1, 2}
    assert {each.outline.shape for each in run.shapes} == {(4, 4)}
    assert run.trained.isdisjoint(set(run.cohort.loc[run.cohort["split"] == "choose", "subject"]))
    assert "bright, dark" in (home / "run" / "MODEL_CARD.md").read_text()
    assert "lesion-painter" in str(run)


def test_painting_out_leaves_the_rest_and_an_explanation(home: Path, tmp_path: Path) -> None:
    done = paint_out(home / "run", home / "q.csv", "mask", tmp_path / "out", draws=2)
    assert (done.new, done.failed, done.without) == (12, 0, 6)
    table = pd.read_csv(done.path)
    for row in table.to_dict("records"):
        name = Path(row["path"]).stem
        mask = read(home / f"masks/{name}.png").pixels[0] > 0
        changed = differing(Path(row["path"]), tmp_path / f"out/images/{row['id']}_painted-out.png")
        assert changed.any()
        assert not changed[~mask].any()
        found = read(tmp_path / f"out/maps/{row['id']}_map.nii.gz").pixels[0].reshape(SIDE, SIDE)
        assert not found[~mask].any()
        assert row["painted"] == pytest.approx(mask.mean())
        assert all((tmp_path / "out" / each).is_file() for each in row["files"].split(";"))
    again = paint_out(home / "run", home / "q.csv", "mask", tmp_path / "out", draws=2)
    assert (again.new, again.before) == (0, 12)
    judged = evaluate(tmp_path / "out", home / "q.csv", mask="mask", twin="twins")
    assert judged.images is not None
    assert judged.images["id"].nunique() == 12


def test_growing_masks_paints_more(home: Path, tmp_path: Path) -> None:
    done = paint_out(home / "run", home / "q.csv", "mask", tmp_path / "out", grow=1, where={"kind": "dark"})
    found = (pd.read_csv(done.path)["painted"] * SIDE**2).round(6)
    assert set(found) == {16 + 4 * 4, 16 + 2 * 4}  # four more on each side, of which the image cuts off two


def test_painting_in_makes_marked_cases(home: Path, tmp_path: Path) -> None:
    asked = dict(count=8, where={"ill": "0"}, seed=3)
    done = paint_in(home / "run", home / "q.csv", "dark", tmp_path / "in", **asked)
    cases = pd.read_csv(done.path)
    assert len(cases) == done.new == 8
    assert set(cases["class"]) == {"dark"} and set(cases["drawn"]) == {1}
    assert set(cases["subject"]) == {f"q{k}" for k in range(2, 18, 3)}
    for row in cases.to_dict("records"):
        mask = read(tmp_path / "in" / row["mask"]).pixels[0]
        assert set(np.unique(mask)) == {0, 2}
        assert int((mask > 0).sum()) == row["pixels"] == 16
        assert not differing(tmp_path / "in" / row["path"], Path(row["drawn_from"]))[mask == 0].any()
    first, second = (tmp_path / "in" / cases["mask"].iloc[k] for k in (0, 6))  # of one image, drawn twice
    assert cases["drawn_from"].iloc[0] == cases["drawn_from"].iloc[6]
    assert differing(first, second).any() or differing(*(tmp_path / "in" / cases["path"].iloc[k] for k in (0, 6))).any()
    assert paint_in(home / "run", home / "q.csv", "dark", tmp_path / "in", **asked).new == 0
    same = paint_in(home / "run", home / "q.csv", "dark", tmp_path / "same", **asked)
    assert pd.read_csv(same.path).equals(cases)
    assert not differing(tmp_path / "in" / cases["path"].iloc[0], tmp_path / "same" / cases["path"].iloc[0]).any()


def test_painting_in_where_masks_or_tissues_say(home: Path, tmp_path: Path) -> None:
    normals = dict(where={"ill": "0"})
    masks = tmp_path / "where"
    for k in range(3):
        mask = np.zeros((SIDE, SIDE))
        mask[:2, 5:9] = 255  # at the border
        write(masks / f"m{k}.png", mask)
    done = paint_in(home / "run", home / "q.csv", "bright", tmp_path / "a", lesions=str(masks), **normals)
    for row in pd.read_csv(done.path).to_dict("records"):
        found = read(tmp_path / "a" / row["mask"]).pixels[0] > 0
        assert found[:2, 5:9].all() and found.sum() == 8
    done = paint_in(
        home / "run", home / "q.csv", "bright", tmp_path / "b", tissues="tissues", where_label=["2"], **normals
    )  # fmt: skip
    assert done.new == 6
    for row in pd.read_csv(done.path).to_dict("records"):
        assert not (read(tmp_path / "b" / row["mask"]).pixels[0] > 0)[: SIDE // 2].any()


def test_numbers_say_the_class_and_tissues_are_told(home: Path, tmp_path: Path) -> None:
    lesions = Lesions(given="numbers", classes=Labels.asked("bright=1,dark=2"), tissues="tissues")
    run = learn_painter(home / "p.csv", tmp_path / "run", lesions, settings=TINY, preprocessing=RANGE)
    assert run.names == ("bright", "dark")
    assert run.tissues is not None and run.tissues.names == ("1", "2")
    assert run.painter.tissues_ == 2
    with pytest.raises(CohortError, match="with tissues; give --labels"):
        paint_out(tmp_path / "run", home / "q.csv", "numbers", tmp_path / "out")
    done = paint_out(
        tmp_path / "run", home / "q.csv", "numbers", tmp_path / "out", tissues="tissues",
        classes=Labels.asked("any=1+2"),
    )  # fmt: skip
    assert (done.new, done.failed, done.without) == (12, 0, 6)  # numbers may mark nothing
    made = paint_in(tmp_path / "run", home / "q.csv", "dark", tmp_path / "in", tissues="tissues", where={"ill": "0"})
    assert made.new == 6


def test_an_evaluation_stands_beside_its_floors(home: Path, tmp_path: Path) -> None:
    found = evaluate_painter(
        home / "run", home / "q.csv", "mask", tmp_path / "out", twin="twins", judge_steps=30, segment_steps=3
    )  # fmt: skip
    table = pd.read_csv(found.path)
    ways = {measure: set(rows["of"]) for measure, rows in table.groupby("measure")}
    floors = {"painted", "real", "copy-paste", "smooth", "local mean", "unchanged", "chance"}
    assert ways["painted_in"] == floors
    assert ways["twin_off"] == {"painted", "unchanged", "smooth", "laplace", "local mean"}
    assert ways["dice"] == {"with painted", "without painted"}
    value = table.set_index(["measure", "of"])["value"]
    assert value["changed_outside", "painted"] == 0
    assert value["painted_in", "chance"] == pytest.approx(1 / 3)
    assert 40 / 127.5 < value["twin_off", "unchanged"] < 60 / 127.5  # lesions are 50 of 255 brighter or darker
    assert value["twin_off", "local mean"] < value["twin_off", "unchanged"]
    assert (tmp_path / "out/preview.png").is_file()


def test_what_cannot_be_painted_is_named(home: Path, tmp_path: Path) -> None:
    table = pd.read_csv(home / "q.csv", keep_default_na=False)
    table = table[table["kind"] != ""].head(4).assign(mask=[f"{tmp_path}/{k}.png" for k in range(4)])
    table["path"] = [str(home / path) for path in table["path"]]
    write(tmp_path / "0.png", np.zeros((SIDE, SIDE)))
    write(tmp_path / "1.png", np.ones((SIDE, SIDE + 1)))
    write(tmp_path / "2.png", np.ones((SIDE, SIDE)))
    edge = np.zeros((SIDE, SIDE))
    edge[-3:, -3:] = 1
    write(tmp_path / "3.png", edge)
    done = paint_out(home / "run", table, "mask", tmp_path / "out")
    assert (done.new, done.failed) == (1, 3)
    errors = pd.read_csv(done.errors)["error"]
    assert [("is empty" in errors[0]), "another grid" in errors[1], "covers 100%" in errors[2]] == [True] * 3
    with pytest.raises(AnomalyError, match="has not learned the class 'grey'; it knows bright, dark"):
        paint_in(home / "run", home / "q.csv", "grey", tmp_path / "in")
    with pytest.raises(CohortError, match="subjects are in both"):
        paint_out(home / "run", home / "p.csv", "mask", tmp_path / "again")


def test_too_few_lesions_are_refused(home: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    table = pd.read_csv(home / "p.csv", keep_default_na=False)
    for name in ("path", "mask"):
        table[name] = [str(home / each) if each else "" for each in table[name]]
    dark = table["kind"] == "dark"
    few = pd.concat([table[~dark], table[dark].head(1)])
    with pytest.raises(CohortError, match=r"dark has lesions of [01] persons to learn from; expected 2 or more"):
        learn_painter(few, tmp_path / "few", LESIONS, settings=TINY, preprocessing=RANGE)
    assert not (tmp_path / "few").exists()
    with pytest.raises(CohortError, match="no image has a label map"):
        learn_painter(table[table["kind"] == ""], tmp_path / "none", LESIONS, settings=TINY, preprocessing=RANGE)
    ill = table[table["kind"] != ""]
    with caplog.at_level("INFO"):
        run = learn_painter(ill, tmp_path / "ill", LESIONS, settings={**TINY, "steps": 1}, preprocessing=RANGE)
    assert run.facts["counts"]["normal"] == 0
    assert "none is without lesions" in caplog.text
    with pytest.raises(AnomalyError, match="one of the two"):
        Lesions(given="mask")


def test_the_commands(home: Path, tmp_path: Path) -> None:
    asked = [
        "paint",
        "train",
        "--images",
        home / "p.csv",
        "--lesions",
        "mask",
        "--class",
        "kind",
        "--out",
        tmp_path / "r",
    ]
    asked += ["--intensity", "range", *(each for name, value in TINY.items() for each in ("--set", f"{name}={value}"))]
    commands = [
        asked,
        ["paint", "out", tmp_path / "r", "--images", home / "q.csv", "--lesions", "mask", "--out", tmp_path / "o"],
        ["paint", "in", tmp_path / "r", "--images", home / "q.csv", "--class", "bright", "--count", 2],
    ]
    commands[-1] += ["--out", tmp_path / "i"]  # fmt: skip
    for command in commands:
        found = CliRunner().invoke(cli.commands, list(map(str, command)))
        assert found.exit_code == 0, found.output
    assert PainterRun.open(tmp_path / "r").identity == PainterRun.open(home / "run").identity
    assert len(pd.read_csv(tmp_path / "i/cohort.csv")) == 2
