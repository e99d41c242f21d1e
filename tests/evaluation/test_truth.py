"""Maps beside a truth: a folder of scores whose figures can be told by hand, and all that may be wrong with it."""

import json
from functools import partial

import numpy as np
import pandas as pd
import PIL.Image
import pytest

from anomaly.cohorts import truth_files
from anomaly.errors import EvaluationError
from anomaly.evaluation import evaluate
from anomaly.images import read, write_volume
from anomaly.images.masking import read_mask
from anomaly.reporting import report
from anomaly.statistics import bootstrap

AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])
SPACE = (6, 6, 6)


@pytest.fixture
def study(tmp_path, monkeypatch):
    """Twelve persons, one volume each: two lesions of 8 and 1 voxels, the first of which maps find; two are healthy."""
    for name, given in {"localisation.beside": None, "lesionwise.froc": None, "truthful.examples": []}.items():
        monkeypatch.setattr(f"anomaly.evaluation.{name}", lambda *_, given=given, **__: given)
    monkeypatch.setattr("anomaly.evaluation.beside.bootstrap", partial(bootstrap, repeats=50))
    rng = np.random.default_rng(0)
    for name in ("images", "truths", "scores/heatmaps"):
        (tmp_path / name).mkdir(parents=True)
    rows = []
    for person in range(12):
        truth, map_ = np.zeros(SPACE, np.float32), np.zeros(SPACE, np.float32)
        if person >= 2:
            truth[0:2, 0:2, 0:2], truth[5, 5, 5] = 1, 1
            map_[0:2, 0:2, 0:2] = 5
        map_[4, 0, 0] = 4  # false, in all of them
        name = f"p{person:02d}"
        write_volume(tmp_path / "images" / f"{name}.nii.gz", rng.normal(size=SPACE), AFFINE)
        write_volume(tmp_path / "truths" / f"{name}_lesion.nii.gz", truth, AFFINE)
        write_volume(tmp_path / "scores/heatmaps" / f"{name}_anomaly.nii.gz", map_, AFFINE)
        heatmap = f"heatmaps/{name}_anomaly.nii.gz;heatmaps/{name}.png"
        rows.append({"id": name, "subject": name, "path": str(tmp_path / "images" / f"{name}.nii.gz")})
        rows[-1] |= {"value": float(person), "heatmap": heatmap}
    save(tmp_path, pd.DataFrame(rows))
    (tmp_path / "scores/score.json").write_text(json.dumps({"map_limits": {"0.05": 3.0, "0.01": 4.5}}))
    return tmp_path


def save(study, table):
    table.to_csv(study / "scores/scores.csv", index=False)


def asked(study, truth="truths", **settings):
    return evaluate(study / "scores", truth=study / truth, out=study / "out", **settings)


def figure(found, name, map_="map"):
    table = found.section("truth").table
    return table[(table["figure"] == name) & (table["map"] == map_)].iloc[0]


def test_figures_by_hand(study):
    found = asked(study)
    marked, false, rest = 9 * 10, 12, 12 * 216 - 9 * 10
    # 80 of 90 marked voxels lie highest, with none beside; the last ten are tied with all that is 0.
    assert figure(found, "pooled_average_precision")["value"] == pytest.approx(80 / 90 + 10 / 90 * 90 / (12 * 216))
    one = (8 + 1 * 9 / 216) / 9
    assert figure(found, "average_precision")["value"] == pytest.approx(one)
    pairs = 80 * rest + 10 * (rest - false) / 2
    assert figure(found, "pooled_auroc")["value"] == pytest.approx(pairs / (marked * rest))
    # Half of all lesions at once; from the share of false voxels that lie higher, the rest in a straight line.
    low = false / rest
    slope = 0.5 / (1 - low)
    area = 0.5 * 0.3 + slope * (0.3 - low) ** 2 / 2
    assert figure(found, "region_overlap")["value"] == pytest.approx(area / 0.3)
    assert figure(found, "dice_at_5")["value"] == pytest.approx(2 * 8 / (9 + 9))
    assert figure(found, "dice_at_1")["value"] == figure(found, "dice_oracle")["value"] == pytest.approx(2 * 8 / 17)
    assert figure(found, "pooled_average_precision", "all alike")["value"] == pytest.approx(90 / (12 * 216))
    assert figure(found, "pooled_auroc", "all alike")["value"] == 0.5
    assert figure(found, "region_overlap", "all alike")["value"] == pytest.approx(0.15)
    lesions = found.section("lesions").table
    five = lesions[(lesions["limit"] == "5 %") & (lesions["map"] == "map") & (lesions["size"] == "all")].iloc[0]
    assert (five["lesions"], five["sensitivity"], five["false_per_image"]) == (20, 0.5, 1.0)
    curve = found.section("froc").table
    assert curve["sensitivity"].tolist() == [0.5, 1.0]
    assert curve["marked"].tolist() == [0.0, 1.0]
    assert curve["false_per_image"].tolist() == [
        0.0,
        2 / 12,
    ]  # all is marked: one place, in two of them no lesion
    assert found.lesions["size"].unique().tolist() == [64.0, 8.0]


def test_intervals_take_ten_persons(study):
    row = figure(asked(study), "pooled_average_precision")
    assert row["value_low"] <= row["value"] <= row["value_high"]
    assert figure(asked(study), "pooled_average_precision", "raw image")["map_above_it_low"] > 0.5
    table = pd.read_csv(study / "scores/scores.csv")
    save(study, table.assign(subject=[f"s{k // 2}" for k in range(12)]))
    few = figure(asked(study), "pooled_average_precision")
    assert np.isnan([few["value_low"], few["value_high"]]).all()
    assert few["value"] == row["value"]


def test_a_report_is_drawn(study, monkeypatch):
    monkeypatch.undo()
    found = asked(study)
    assert found.out == study / "out/truth"
    for name in ("truth.csv", "truth.png", "truth_images.csv", "truth_lesions.csv", "froc.png", "truth_best.png"):
        assert (found.out / name).is_file()
    page = report(found.out).read_text()
    assert "Do maps mark what the truth marks" in page
    assert "What went into these figures" not in page  # nothing was left out


def test_only_what_lies_in_the_mask_counts(study):
    mask = np.zeros(SPACE, np.float32)
    mask[:3] = 1  # neither the small lesion nor the false place
    write_volume(study / "scores/mask.nii.gz", mask, AFFINE)
    table = pd.read_csv(study / "scores/scores.csv")
    save(study, table.assign(mask="mask.nii.gz"))
    found = asked(study)
    assert figure(found, "pooled_average_precision")["value"] == 1.0
    assert figure(found, "pooled_average_precision", "all alike")["value"] == pytest.approx(80 / (12 * 108))
    assert any("reaches out of their masks, by 10 pixels" in note for note in found.notes)
    save(study, table.assign(mask=["gone.nii.gz", *["mask.nii.gz"] * 11]))
    assert any("1 images were left out" in note and "gone.nii.gz" in note for note in asked(study).notes)


def test_masks_count_what_they_counted_in_scoring(study):
    inside = np.zeros(SPACE, np.float32)
    inside[:3] = 1
    write_volume(study / "scores/plain.nii.gz", inside, AFFINE)
    write_volume(study / "scores/chance.nii.gz", np.where(inside > 0, 0.75, 0.25).astype(np.float32), AFFINE)
    turned = AFFINE @ np.diag([-1, 1, 1, 1])
    turned[0, 3] = 2 * 5 + 0.5  # a quarter of a voxel off
    write_volume(study / "scores/turned.nii.gz", inside[::-1], turned)
    table = pd.read_csv(study / "scores/scores.csv")
    found = {}
    for name in ("plain", "chance", "turned"):
        case = read(study / "images/p00.nii.gz")
        assert np.array_equal(read_mask(study / f"scores/{name}.nii.gz", case), inside > 0)
        save(study, table.assign(mask=f"{name}.nii.gz"))
        found[name] = asked(study)
    for name in ("chance", "turned"):
        assert not any("left out" in note for note in found[name].notes)
        pd.testing.assert_frame_equal(found[name].section("truth").table, found["plain"].section("truth").table)


def test_two_rounds_over_files_give_what_one_over_memory_gives(study, monkeypatch):
    first = asked(study).section("truth").table
    monkeypatch.setattr("anomaly.evaluation.tallying.SMALL", 300)
    pd.testing.assert_frame_equal(asked(study).section("truth").table, first)


def test_floors_mark_as_many_voxels_as_the_map(study):
    for person in range(12):
        map_ = read(study / f"scores/heatmaps/p{person:02d}_anomaly.nii.gz").pixels[0]
        write_volume(study / f"images/p{person:02d}.nii.gz", -map_, AFFINE)  # the negative is as good as the map
    found = asked(study)
    assert figure(found, "dice_at_5", "raw image, dark")["value"] == figure(found, "dice_at_5")["value"]
    assert figure(found, "average_precision", "raw image, dark")["best_floor"] == "best"


def test_without_a_limit_only_the_oracle_is_told(study):
    (study / "scores/score.json").unlink()
    found = asked(study)
    assert [each.name for each in found.sections] == ["truth", "froc"]
    assert not any(name.startswith("dice_at") for name in found.section("truth").table["figure"])
    assert any("No limit of the map was fixed on held-out normals" in note for note in found.notes)


def test_with_an_outcome_both_are_told(study):
    table = pd.read_csv(study / "scores/scores.csv")
    more = [table.assign(id=table["id"] + f"_{k}", subject=table["subject"] + f"_{k}") for k in "ab"]
    save(study, pd.concat(more))
    cohort = pd.concat(more)[["id"]].assign(ill=[int(k % 2) for k in range(24)], mask=None)
    cohort["mask"] = [f"truths/{name[:3]}_lesion.nii.gz" if k else "" for k, name in enumerate(cohort["id"])]
    cohort.to_csv(study / "cohort.csv", index=False)
    found = evaluate(study / "scores", study / "cohort.csv", outcome="ill", truth="mask", out=study / "out")
    assert found.out == study / "out/ill"
    assert {"odds", "truth", "lesions", "froc"} <= {each.name for each in found.sections}
    assert any("1 of 24 images have no truth" in note and "p00_a" in note for note in found.notes)


def test_what_cannot_be_used_is_named(study):
    write_volume(study / "truths/p05_lesion.nii.gz", np.ones((6, 6, 5)), AFFINE)
    write_volume(study / "truths/p06_lesion.nii.gz", np.ones(SPACE), np.diag([1.0, 2.0, 2.0, 1.0]))
    write_volume(study / "truths/p07_lesion.nii.gz", np.full(SPACE, 0.5), AFFINE)
    (study / "truths/p08_lesion.nii.gz").unlink()
    write_volume(study / "truths/p09_seg.nii.gz", np.ones(SPACE), AFFINE)
    (study / "images/p10.nii.gz").unlink()
    notes = "\n".join(asked(study).notes)
    assert "3 images were left out" in notes
    assert "p05_lesion.nii.gz: the truth of p05 has the shape (6, 6, 5)" in notes
    assert "lies elsewhere than the image" in notes
    assert "holds 0.5, and masks hold whole numbers" in notes
    assert "2 of 12 images have no truth and were left out of the comparison with it (p08, p09)" in notes
    assert "fit several files" in notes
    assert "floors of the raw image were left out, since 1 images" in notes


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda study, table: table.assign(heatmap="heatmaps/p.png"), "--heatmaps nifti"),
        (lambda study, table: table.drop(columns="heatmap"), "needs the columns path and heatmap"),
        (lambda study, table: table.assign(id=["x"] * 11 + ["y"], path="z.nii").iloc[10:], "is the truth of one of 2"),
    ],
)
def test_scores_that_have_nothing_to_compare_are_refused(study, change, words):
    save(study, change(study, pd.read_csv(study / "scores/scores.csv")))
    with pytest.raises(EvaluationError, match=words):
        asked(study)


def test_truths_that_mark_nothing_and_columns_that_are_not_there_are_refused(study):
    with pytest.raises(EvaluationError, match="no such folder, nor such a column"):
        asked(study, "gone")
    with pytest.raises(EvaluationError, match="adjust asks about outcome"):
        asked(study, adjust=["age"])
    for file in (study / "truths").iterdir():
        write_volume(file, np.zeros(SPACE), AFFINE)
    with pytest.raises(EvaluationError, match="truths of all 12 images are empty"):
        asked(study)


def test_labels_choose_and_several_values_are_told(study):
    for person in range(2, 12):
        truth = np.zeros(SPACE)
        truth[0:2, 0:2, 0:2], truth[5, 5, 5] = 1, 2
        write_volume(study / f"truths/p{person:02d}_lesion.nii.gz", truth, AFFINE)
    assert any("hold several values other than 0 (1, 2)" in note for note in asked(study).notes)
    found = asked(study, labels=[1])
    assert figure(found, "average_precision")["value"] == 1.0
    assert not any("several values" in note for note in found.notes)


def test_maps_that_hit_no_lesion(study):
    for person in range(12):
        map_ = np.zeros(SPACE)
        map_[4, 0, 0] = 4
        write_volume(study / f"scores/heatmaps/p{person:02d}_anomaly.nii.gz", map_, AFFINE)
    found = asked(study)
    assert figure(found, "dice_at_5")["value"] == 0
    lesions = found.section("lesions").table
    assert lesions[lesions["map"] == "map"]["sensitivity"].tolist() == [0.0] * len(lesions[lesions["map"] == "map"])


def test_pictures_and_their_masks(study, tmp_path):
    for name in ("flat", "flat_truths/deep"):
        (tmp_path / name).mkdir(parents=True)
    rng, rows = np.random.default_rng(1), []
    for person in range(3):
        mask = np.zeros((8, 12), np.uint8)
        mask[2:4, 5:9] = 255
        PIL.Image.fromarray(rng.integers(0, 255, (8, 12), np.uint8)).save(tmp_path / f"flat/{person}.png")
        PIL.Image.fromarray(mask).save(tmp_path / f"flat_truths/deep/{person}.png")
        image = read(tmp_path / f"flat/{person}.png")
        write_volume(study / f"scores/heatmaps/{person}_anomaly.nii.gz", mask / 50.0, image.frame)
        row = {"id": str(person), "path": str(tmp_path / f"flat/{person}.png"), "value": 1.0}
        rows.append(row | {"heatmap": f"heatmaps/{person}_anomaly.nii.gz"})
    save(study, pd.DataFrame(rows))
    found = asked(study, "flat_truths")
    assert figure(found, "average_precision")["value"] == 1.0
    assert "pixels of all images together" in found.section("truth").sentences[1]


def test_names_of_truths(tmp_path):
    pairs = {
        "p1/scan.nii.gz": "p1/scan.nii.gz",
        "p2/scan.nii.gz": "p2_scan_mask.nii.gz",
        "one.nii.gz": "one_seg.nii.gz",
        "brats_7_FLAIR.nii.gz": "brats_7_tumour.nii.gz",
        "case_0001.nii.gz": "case.nii.gz",
        "sub-01_ses-a_T1w.nii.gz": "bids/sub-01_ses-a_space-T1w_label-lesion_mask.nii.gz",
        "sub-02_run-1_FLAIR.nii.gz": "sub-02_run-1_desc-manual_label-lesion_mask.nii.gz",
        "alone.nii.gz": "",
    }
    organs = ("one_brain_mask.nii.gz", "sub-02_run-1_desc-brain_mask.nii.gz")
    for name in filter(None, [*pairs.values(), *organs]):
        (tmp_path / "t" / name).parent.mkdir(parents=True, exist_ok=True)
        write_volume(tmp_path / "t" / name, np.zeros((3, 3, 3)), AFFINE)
    images = pd.DataFrame({"path": [str(tmp_path / "i" / name) for name in pairs]})
    images["id"] = [name.removesuffix(".nii.gz").replace("/", "_") for name in pairs]
    found, notes = truth_files.beside(tmp_path / "t", images)
    told = ["" if each is None else str(each.relative_to(tmp_path / "t")) for each in found]
    assert told == list(pairs.values())
    assert not notes
