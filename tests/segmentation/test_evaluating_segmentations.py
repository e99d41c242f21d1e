"""Segmentations against label maps drawn: figures by hand, floors, intervals, and what is absent is named."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from annotated import SHORT, drawn, learned, pictures
from explained import write
from studies import calling

from anomaly.errors import AnomalyError, CohortError, EvaluationError, RunError
from anomaly.images import read
from anomaly.images.labels import Labels
from anomaly.segmentation.evaluating import evaluate_segmentation
from anomaly.segmentation.floors import BINS, Floors, best_between, resized
from anomaly.segmentation.judging import Judge
from anomaly.segmentation.segmenting import segment

LABELS = Labels.asked("disc=2,box=5")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, images of others in `test/` with their label maps, and what the run found in `out/`."""
    home = tmp_path_factory.mktemp("home")
    run = learned(pictures(home, 14, normal=3), home / "run", settings=SHORT, classes="disc=2,box=5")
    pictures(home / "test", 12, first=100, name="n", normal=2)
    segment(run.folder, home / "test" / "images", home / "out", device="cpu")
    return home


def by_hand(folder: Path, affine: np.ndarray) -> Path:
    """Three volumes with label maps found and drawn: alike, moved by a voxel, and one has what the other lacks."""
    rows = []
    for i in range(3):
        image = np.random.default_rng(i).normal(size=(10, 10, 6)).astype(np.float32)
        truth, found = np.zeros((2, 10, 10, 6), np.uint8)
        truth[2:6, 2:6, 1:4] = 1
        found[2 + (i == 1) : 6 + (i == 1), 2:6, 1:4] = 1
        if i == 2:
            truth[8, 8, 4] = 2
            found[8, 8, 1] = 3
        for kind, values in (("images", image), ("drawn", truth), ("found", found)):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(values, affine), folder / kind / f"v{i}.nii.gz")
        names = {"path": "images", "drawn": "drawn", "segmentation": "found"}
        rows.append({name: f"{kind}/v{i}.nii.gz" for name, kind in names.items()} | {"subject": f"s{i}"})
    pd.DataFrame(rows).to_csv(folder / "cohort.csv", index=False)
    return folder / "cohort.csv"


def test_figures_by_hand_in_millimetres(tmp_path: Path) -> None:
    table = by_hand(tmp_path, np.diag([2.0, 1.0, 3.0, 1.0]))
    found = evaluate_segmentation(table, "drawn", tmp_path / "out", classes="a=1,b=2,c=3", lesions=["b", "c"])
    rows = pd.read_csv(found.path, keep_default_na=False).set_index("id")
    assert list(rows["a:dice"].astype(float)) == pytest.approx([1, 0.75, 1])
    assert list(rows["a:distance95"].astype(float)) == [0, 2, 0]
    assert list(rows["a:volume"].astype(float)) == [4 * 4 * 3 * 6] * 3 and set(rows["unit"]) == {"mm3"}
    # Of each surface (44 of 48 voxels, for four have no side that is bare) the 12 of the outer layer lie 2 mm off, and
    # in the layer across from it the two in the middle 1 mm from the other's rim; all others lie on the other one.
    assert float(rows.loc["v1", "a:distance"]) == pytest.approx((12 * 2 + 2 * 1) / 44)
    assert list(rows["b:state"]) == ["neither", "neither", "missed"]
    assert list(rows["c:state"]) == ["neither", "neither", "only found"]
    assert rows.loc["v2", "b:dice"] == 0 or float(rows.loc["v2", "b:dice"]) == 0
    assert (rows["b:distance95"] == "").all() and (rows["c:distance"] == "").all()
    assert list(rows["b:lesions"].astype(int)) == [0, 0, 1] and list(rows["b:lesions_found"].astype(int)) == [0, 0, 0]
    assert list(rows["c:false_lesions"].astype(int)) == [0, 0, 1]
    means = found.summary.set_index(["class", "measure", "of"])["value"]
    assert means["a", "dice", "found"] == pytest.approx(2.75 / 3) and means["b", "dice", "found"] == 0
    assert means["b", "missed", "found"] == 1 and means["c", "only_found", "found"] == pytest.approx(1 / 3)
    assert means["a", "volume_error", "found"] == 0 and means["c", "volume_error", "found"] == pytest.approx(2)
    assert np.isnan(means["c", "dice", "found"]) and means["c", "false_lesions_an_image", "found"] == pytest.approx(
        1 / 3
    )
    assert found.summary["low"].isna().all() and found.summary["subjects"].max() == 3
    assert "c: in no image that was judged; found in 33 % of 3 all the same." in found.sentences
    assert any("No floor stands beside" in each for each in found.sentences)


def test_the_program_says_it_with_floors_and_differences(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    call = calling(home, monkeypatch, capsys)
    plain = "segment evaluate out --labels drawn --cohort test/cohort.csv --lesions disc"
    code, out, _ = call(f"{plain} --out {tmp_path}/a --compare out/segmentations.csv")
    assert code == 0 and "disc: Dice 0." in out and "by brightness alone, the better floor" in out
    assert "Compared: Dice (all classes) +0.000" in out
    files = {"agreement.csv", "agreement.html", "agreement.md", "agreement.png", "cases.png", "summary.csv"}
    assert {each.name for each in (tmp_path / "a").iterdir()} >= files | {"differences.csv"}
    means = pd.read_csv(tmp_path / "a" / "summary.csv").set_index(["class", "measure", "of"])
    assert means.loc[("disc", "dice", "found"), "n"] == 10 and means.loc[("box", "dice", "found"), "n"] == 12
    assert means.loc[("box", "dice", "found"), "value"] > 0.7
    assert means.loc[("disc", "dice", "usual place"), "value"] < 0.6
    assert means.loc[("box", "dice", "found"), "low"] < means.loc[("box", "dice", "found"), "value"]
    page = (tmp_path / "a" / "agreement.html").read_text()
    assert "usual place" in page and "data:image/png" in page and "Differences from" in page
    code, again, _ = call(f"{plain} --out {tmp_path}/a")
    assert code == 0 and again.splitlines()[0] == out.splitlines()[0]
    for words, told in {
        "--labels nothing": "has no column 'nothing', and there is no folder of that name",
        "--labels drawn --cohort test/cohort.csv --lesions disk": "there is no class 'disk'; did you mean disc?",
        "--labels drawn --cohort test/cohort.csv --classes x": "expected classes as NAME=NUMBER",
    }.items():
        code, _, errors = call(f"segment evaluate out {words} --out {tmp_path}/b")
        assert code in (1, 2) and told in errors, errors


def test_a_folder_of_others_and_classes_that_nothing_tells(home: Path, tmp_path: Path) -> None:
    for i in range(100, 112):
        write(tmp_path / "theirs" / f"n{i}.png", drawn(i, disc=i < 110)[1])
    found = evaluate_segmentation(tmp_path / "theirs", "drawn", tmp_path / "a", cohort=home / "test" / "cohort.csv")
    assert set(found.summary["class"]) == {"2", "5", "all classes"}
    assert (found.summary[found.summary["measure"] == "dice"]["value"] == 1).all()
    with pytest.raises(EvaluationError, match=r"holds no segmentations.csv; give a folder"):
        evaluate_segmentation(tmp_path / "theirs", "drawn", tmp_path / "b")
    with pytest.raises(CohortError, match="named as their own truth"):
        evaluate_segmentation(home / "out", home / "out", tmp_path / "b")
    with pytest.raises(RunError, match="made with another classes"):
        evaluate_segmentation(home / "out", home / "test" / "maps", tmp_path / "a", classes="disc=2")
    with pytest.raises(AnomalyError, match="there is no class"):
        evaluate_segmentation(home / "out", home / "test" / "maps", tmp_path / "b", lesions=["x"])


def test_what_has_no_truth_or_another_grid_is_named(home: Path, tmp_path: Path) -> None:
    for i in range(100, 103):
        write(tmp_path / "maps" / f"n{i}.png", drawn(i)[1] if i < 102 else np.zeros((8, 8), np.uint8))
    found = evaluate_segmentation(home / "out", tmp_path / "maps", tmp_path / "out")
    assert found.failed == 1 and "another grid" in found.errors.read_text()
    assert any("9 images have no label map drawn and 1 cannot be used" in each for each in found.sentences)


# Floors


def test_the_two_brightnesses_that_tell_a_class_best() -> None:
    own, every = np.zeros(BINS), np.full(BINS, 10.0)
    own[20:24], own[40] = 9, 1
    first, last = best_between(own, every)
    assert (first, last) == (20, 23)
    dice = [
        2 * own[a : b + 1].sum() / (own.sum() + every[a : b + 1].sum()) for a in range(BINS) for b in range(a, BINS)
    ]
    assert 2 * 36 / (37 + 40) == pytest.approx(max(dice))


def test_a_map_of_another_size_lies_over_the_same_image() -> None:
    ramp = (np.arange(8) + 0.5)[:, None] / 8 * np.ones((1, 4))
    assert np.allclose(resized(ramp, (16, 4))[1:-1, 0], (np.arange(16)[1:-1] + 0.5) / 16)
    assert np.allclose(resized(resized(ramp, (16, 8)), (8, 4))[1:-1], ramp[1:-1], atol=0.01)


def test_the_usual_place_marks_as_much_as_there_usually_is(tmp_path: Path) -> None:
    write(tmp_path / "image.png", np.random.default_rng(0).integers(0, 255, (32, 32)).astype(np.uint8))
    usual = np.zeros((3, 16, 16))
    usual[1, 4:8, 4:8], usual[2, 10, 10] = 0.9, 0.2
    floors = Floors(usual, np.array([0.9, 64 / 1024, 4 / 1024]), ((60, 63), (0, 3)))
    found = floors.found(read(tmp_path / "image.png"))["usual place"]
    assert 60 <= (found == 1).sum() <= 64 and found[8:16, 8:16].mean() > 0.9
    assert 4 <= (found == 2).sum() <= 6 and found[20:22, 20:22].all()


def test_the_usual_place_is_one_however_files_have_their_axes(tmp_path: Path) -> None:
    usual, where = np.zeros((2, 8, 8, 8)), []
    usual[1, 1:3, 5:7, 0:2] = 0.9
    floors = Floors(usual, np.array([0.9, 1 / 64]), ((0, 1),))
    values = np.random.default_rng(0).normal(size=(12, 10, 8)).astype(np.float32)
    whole = nib.Nifti1Image(values, np.diag([1.0, 2.0, 3.0, 1.0]))
    for codes in ("RAS", "LPI", "SAR", "PIL", "AIR"):
        turn = nib.orientations.axcodes2ornt(tuple(codes))
        nib.save(whole.as_reoriented(turn), tmp_path / f"{codes}.nii.gz")
        image = read(tmp_path / f"{codes}.nii.gz")
        found = floors.found(image)
        for floor, places in found.items():
            assert places.shape == image.space and places.any(), (codes, floor)
        millimetres = nib.affines.apply_affine(image.affine, np.argwhere(found["usual place"]))
        bright = nib.affines.apply_affine(image.affine, np.argwhere(found["brightness"]))
        where.append(tuple({tuple(each) for each in marked.round(3)} for marked in (millimetres, bright)))
    assert all(each == where[0] for each in where[1:])


def test_nothing_drawn_and_nothing_found_has_no_dice(tmp_path: Path) -> None:
    write(tmp_path / "image.png", np.random.default_rng(0).integers(0, 255, (9, 9)).astype(np.uint8))
    nothing = np.zeros((9, 9), np.uint8)
    told = Judge(LABELS, (), None)(read(tmp_path / "image.png"), nothing, nothing)
    assert told["disc:state"] == "neither" and np.isnan(told["disc:dice"]) and told["unit of distances"] == "pixels"
