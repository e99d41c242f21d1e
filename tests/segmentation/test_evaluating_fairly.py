"""Evaluations where a plain mean would mislead: masks, subjects seen before, two units, lesions that run together."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from annotated import learned, pictures
from explained import write
from studies import calling

from anomaly.errors import CohortError
from anomaly.images.labels import Labels
from anomaly.segmentation.differing import differences
from anomaly.segmentation.evaluating import evaluate_segmentation
from anomaly.segmentation.judging import lesions_of
from anomaly.segmentation.segmenting import segment

INSIDE = np.zeros((16, 16), np.uint8)
INSIDE[:, :8] = 255


def halves(folder: Path, count: int = 12, *, masks: bool = True) -> Path:
    """Pictures with a class drawn in both halves, of which masks leave the left; what was found is that alone."""
    rows = []
    for i in range(count):
        truth = np.zeros((16, 16), np.uint8)
        truth[4:8, 2:6], truth[4:8, 9:15], truth[12, 12] = 1, 1, 2
        row = {"path": f"images/p{i:02d}.png", "subject": f"s{i}", "site": i % 2}
        write(folder / row["path"], np.random.default_rng(i).integers(0, 255, (16, 16)).astype(np.uint8))
        whole = {"drawn": truth, "segmentation": np.where(INSIDE > 0, truth, 2 * (truth == 2)), "mask": INSIDE}
        for name, values in whole.items():
            if name != "mask" or masks:
                row[name] = f"{name}/p{i:02d}.png"
                write(folder / row[name], values.astype(np.uint8))
        rows.append(row)
    pd.DataFrame(rows).to_csv(folder / "cohort.csv", index=False)
    return folder / "cohort.csv"


def means(found: Any) -> Any:
    return found.summary.set_index(["class", "measure", "of"])["value"]


def test_what_lies_outside_a_mask_counts_neither_as_drawn_nor_as_found(tmp_path: Path) -> None:
    table = halves(tmp_path)
    found = evaluate_segmentation(table, "drawn", tmp_path / "within", classes="a=1,b=2")
    assert means(found)["a", "dice", "found"] == 1 and np.isnan(means(found)["b", "dice", "found"])
    rows = pd.read_csv(found.path)
    assert (
        set(rows["a:volume"]) == {16} and set(rows["a:volume_outside"]) == {24} and set(rows["b:state"]) == {"neither"}
    )
    assert (
        "Masks by the column mask: outside of them, where nothing counts, lies in the mean 60 % of a, 100 % of b (all "
        "of it in 12 images)." in found.sentences
    )
    whole = evaluate_segmentation(table, "drawn", tmp_path / "whole", classes="a=1,b=2", mask="none")
    assert means(whole)["a", "dice", "found"] == pytest.approx(2 * 16 / (16 + 40))
    assert means(whole)["b", "dice", "found"] == 1 and not any("Masks by" in each for each in whole.sentences)


def test_masks_are_given_as_a_folder_and_an_image_without_is_named(tmp_path: Path) -> None:
    table = halves(tmp_path, masks=False)
    for i in range(11):
        write(tmp_path / "masks" / f"p{i:02d}.png", INSIDE)
    given = {"classes": "a=1,b=2", "mask": str(tmp_path / "masks")}
    found = evaluate_segmentation(table, "drawn", tmp_path / "out", **given)
    assert means(found)["a", "dice", "found"] == 1 and found.failed == 1
    assert "p11.png: has no mask, and others have" in found.errors.read_text()


def test_rows_are_kept_by_their_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table = halves(tmp_path)
    call = calling(tmp_path, monkeypatch, capsys)
    plain = "segment evaluate cohort.csv --labels drawn --classes a=1 --out"
    code, out, _ = call(f"{plain} {tmp_path}/one --where site=1 --mask none")
    assert code == 0 and "over 6 images of 6 subjects" in out
    bare = pd.read_csv(table)[["path", "subject", "segmentation"]]
    bare.to_csv(tmp_path / "bare.csv", index=False)
    found = evaluate_segmentation(
        tmp_path / "bare.csv", "drawn", tmp_path / "two", cohort=table, where={"site": "0"}, classes="a=1"
    )
    assert list(pd.read_csv(found.path)["id"]) == [f"p{i:02d}" for i in range(0, 12, 2)]
    assert means(found)["a", "dice", "found"] == 1  # within the masks of the cohort
    with pytest.raises(CohortError, match="no row is left with site 7"):
        evaluate_segmentation(table, "drawn", tmp_path / "three", where={"site": "7"})


def test_the_column_of_label_maps_may_be_called_labels(tmp_path: Path) -> None:
    table = halves(tmp_path)
    pd.read_csv(table).rename(columns={"drawn": "labels"}).to_csv(table, index=False)
    found = evaluate_segmentation(table, "labels", tmp_path / "out", classes="a=1", mask="none")
    assert means(found)["a", "dice", "found"] == pytest.approx(2 * 16 / (16 + 40))


def test_subjects_that_the_run_has_seen_are_counted_and_told(tmp_path: Path) -> None:
    table = pictures(tmp_path, 10)
    run = learned(table, tmp_path / "run")
    pictures(tmp_path / "new", 2, first=50)
    learned_from, chosen = sorted(run.subjects("train"))[:3], sorted(run.subjects("choose"))
    rows = []
    for folder, own in ((tmp_path, [*learned_from, *chosen]), (tmp_path / "new", ["s50", "s51"])):
        kept = pd.read_csv(folder / "cohort.csv")
        kept = kept[kept["subject"].isin(own)]
        rows.append(kept.assign(**{name: [str(folder / each) for each in kept[name]] for name in ("path", "drawn")}))
    pd.concat(rows).to_csv(tmp_path / "every.csv", index=False)
    done = segment(run.folder, tmp_path / "every.csv", tmp_path / "out", allow_overlap=True, device="cpu")
    asked = {"cohort": tmp_path / "every.csv", "compare": done.path.parent}
    found = evaluate_segmentation(done.path, "drawn", tmp_path / "judged", **asked)
    seen = pd.read_csv(found.path).set_index("subject")["seen"]
    assert {*seen[seen == "train"].index} == {*learned_from} and {*seen[seen == "choose"].index} == {*chosen}
    assert {*seen[seen == "new"].index} == {"s50", "s51"}
    told = (
        f"Of 7 subjects judged, {len(learned_from)} learned from with their label maps ({', '.join(learned_from)}), "
        f"{len(chosen)} held out to choose weights by ({', '.join(chosen)}): figures of those whose label maps were "
        "seen are too good for new ones."
    )
    assert told in found.sentences
    assert f"By the segmentation compared with: {told}" in found.sentences


def test_millimetres_and_pixels_are_not_averaged(tmp_path: Path) -> None:
    rows = []
    for i, (ending, shift) in enumerate([(".nii.gz", 1), (".npy", 4)]):
        image = np.random.default_rng(i).normal(size=(16, 10, 10)).astype(np.float32)
        truth, found = np.zeros((2, 16, 10, 10), np.uint8)
        truth[2:4, 2:6, 2:6], found[2 + shift : 4 + shift, 2:6, 2:6] = 1, 1
        row = {"subject": f"s{i}"}
        for name, values in (("path", image), ("drawn", truth), ("segmentation", found)):
            row[name] = f"{name}{i}{ending}"
            if ending == ".npy":
                np.save(tmp_path / row[name], values)
            else:
                nib.save(nib.Nifti1Image(values, np.diag([3.0, 1.0, 1.0, 1.0])), tmp_path / row[name])
        rows.append(row)
    pd.DataFrame(rows).to_csv(tmp_path / "cohort.csv", index=False)
    found = evaluate_segmentation(tmp_path / "cohort.csv", "drawn", tmp_path / "out", compare=tmp_path / "cohort.csv")
    for table, measure, values in (
        (found.summary, "distance95", {"mm": 3, "pixels": 4}),
        (found.summary, "volume", {"mm3": 32 * 3, "pixels": 32}),
        (found.differences, "distance95", {"mm": 0, "pixels": 0}),
    ):
        own = table[table["measure"] == measure]
        assert dict(zip(own["unit"], own["value"], strict=True)) == values and list(own["n"]) == [1, 1]
    assert any(
        "surfaces 3 mm" in each and "and 4 pixels" in each and "over 1 images" in each for each in found.sentences
    )


# Lesions


def test_lesions_under_one_piece_are_told_as_such() -> None:
    truth, found = np.zeros((2, 20, 20), bool)
    truth[2:4, 2:4] = truth[2:4, 6:8] = truth[10:12, 2:4] = truth[16, 16] = True
    found[2, 2:8], found[10, 2], found[18, 2] = True, True, True
    told = lesions_of(truth, found, 400)
    assert told == {
        "lesions": 4, "lesions_found": 3, "lesions_found_well": 3, "false_lesions": 1, "lesions_merged": 2,
        "marked": 100 * 8 / 400,
    }  # fmt: skip
    nothing = lesions_of(truth, np.zeros_like(truth), 400)
    assert nothing["lesions_merged"] == nothing["lesions_found"] == nothing["false_lesions"] == 0


def spots(folder: Path, found: np.ndarray, name: str, lesions: int = 3) -> Path:
    """Twelve pictures, the last two without a lesion, the others with some, and one map found for all."""
    rows = []
    for i in range(12):
        truth = np.zeros((20, 20), np.uint8)
        for k in range(lesions if i < 10 else 0):
            truth[2 + 6 * k : 4 + 6 * k, 2:4] = 1
        row = {"subject": f"s{i}"}
        image = np.random.default_rng(i).integers(0, 255, (20, 20)).astype(np.uint8)
        for kind, values in (("path", image), ("drawn", truth), (name, found.astype(np.uint8))):
            row[kind] = f"{kind}/p{i:02d}.png"
            write(folder / row[kind], values)
        rows.append(row)
    pd.DataFrame(rows).rename(columns={name: "segmentation"}).to_csv(folder / f"{name}.csv", index=False)
    return folder / f"{name}.csv"


def test_covering_everything_finds_all_lesions_and_that_is_said(tmp_path: Path) -> None:
    all_of_it, strip = np.ones((20, 20)), np.zeros((20, 20))
    strip[:, 2] = 1
    told = {}
    for name, found in (("everything", all_of_it), ("strip", strip)):
        judged = evaluate_segmentation(spots(tmp_path, found, name), "drawn", tmp_path / name, lesions=["1"])
        told[name], rows = judged.sentences[0], judged.summary.set_index("measure")
        assert rows.loc["lesions_found", "value"] == 1 and rows.loc["lesions_merged", "value"] == 1
        assert rows.loc["lesions_found", "subjects"] == 10 and rows.loc["false_lesions_an_image", "subjects"] == 12
        assert rows.loc["false_lesions_an_image", "value"] == pytest.approx(2 / 12)
        low, high = rows.loc["lesions_found", ["low", "high"]]
        assert f"100 % of 30 lesions found ({100 * low:.3g} to {100 * high:.3g})" in told[name]
    assert "100 % of the images with lesions is marked" in told["everything"]
    assert "these numbers say nothing" in told["everything"]
    assert "But 100 % of the lesions lie under what was found as one with others" in told["strip"]


# Differences


def test_differences_tell_what_distances_leave_out() -> None:
    rows = {
        "path": list("abcd"), "subject": list("abcd"), "unit": ["mm3"] * 4, "unit of distances": ["mm"] * 4,
        "x:volume": [8, 8, 8, 0], "x:lesions": [2, 1, 1, 0],
    }  # fmt: skip
    one = pd.DataFrame({
        **rows, "x:state": ["both", "both", "missed", "neither"], "x:dice": [0.8, 0.6, 0, ""],
        "x:distance95": [1, 2, "", ""], "x:distance": [1, 2, "", ""], "x:volume_found": [8, 6, 0, 0],
        "x:lesions_found": [2, 1, 0, 0], "x:lesions_found_well": [2, 1, 0, 0], "x:false_lesions": [0, 0, 0, 0],
    })  # fmt: skip
    other = pd.DataFrame({
        **rows, "x:state": ["both", "missed", "both", "only found"], "x:dice": [0.6, 0, 0.5, 0],
        "x:distance95": [3, "", 4, ""], "x:distance": [3, "", 4, ""], "x:volume_found": [4, 0, 4, 4],
        "x:lesions_found": [1, 0, 1, 0], "x:lesions_found_well": [0, 0, 1, 0], "x:false_lesions": [0, 0, 0, 2],
    })  # fmt: skip
    found = differences(one, other, Labels.asked("x=1")).set_index("measure")
    assert found.loc["dice", ["value", "n"]].tolist() == [pytest.approx((0.2 + 0.6 - 0.5) / 3), 3]
    assert found.loc["distance95", ["value", "n", "unit"]].tolist() == [-2, 1, "mm"]
    assert found.loc["missed", ["value", "n"]].tolist() == [0, 3]
    assert found.loc["only_found", ["value", "n"]].tolist() == [-1, 1]
    assert found.loc["volume_error", ["value", "unit"]].tolist() == [(4 + 6 - 4 - 4) / 4, "mm3"]
    assert found.loc["lesions_found", ["value", "n", "subjects"]].tolist() == [(1 + 1 - 1) / 4, 4, 3]
    assert found.loc["lesions_found_well", "value"] == (2 + 1 - 1) / 4
    assert found.loc["false_lesions_an_image", "value"] == -0.5


# Whom figures are without


def test_images_without_a_segmentation_and_files_of_no_image_are_named(tmp_path: Path) -> None:
    table = halves(tmp_path, 6, masks=False)
    theirs = tmp_path / "theirs"
    for i in (0, 1, 2):
        write(theirs / f"p{i:02d}.png", np.eye(16, dtype=np.uint8))
    write(theirs / "other.png", np.eye(16, dtype=np.uint8))
    found = evaluate_segmentation(theirs, "drawn", tmp_path / "one", cohort=table, classes="a=1")
    lacking = "of 6 images of the cohort have no segmentation, so these figures are without:"
    assert f"3 {lacking} p03, p04, p05." in found.sentences and f"3 {lacking}" in found.page.read_text()
    assert "1 file of the segmentations fit no image and say nothing: other.png." in found.sentences
    rows = pd.read_csv(table)
    rows.assign(segmentation=rows["segmentation"].where(rows.index < 4)).to_csv(tmp_path / "some.csv", index=False)
    both: tuple[dict[str, Any], ...] = ({}, {"cohort": table})
    for asked in both:
        out = tmp_path / f"two{len(asked)}"
        found = evaluate_segmentation(tmp_path / "some.csv", "drawn", out, classes="a=1", **asked)
        assert f"2 {lacking} p04, p05." in found.sentences and found.summary["n"].max() == 4
    whole = evaluate_segmentation(table, "drawn", tmp_path / "three", cohort=table, classes="a=1")
    assert not any("no segmentation" in each or "fit no image" in each for each in whole.sentences)


def test_images_that_apply_could_not_read_are_named_without_a_cohort(tmp_path: Path) -> None:
    halves(tmp_path, 3, masks=False)
    table = pd.read_csv(tmp_path / "cohort.csv").iloc[:2].rename(columns={"segmentation": "file"})
    table.assign(id=["p00", "p01"]).to_csv(tmp_path / "segmentations.csv", index=False)
    told = {"id": ["p01", "p02"], "path": [str(tmp_path / f"images/p0{i}.png") for i in (1, 2)], "error": "broken"}
    pd.DataFrame(told).to_csv(tmp_path / "errors.csv", index=False)
    (tmp_path / "segment.json").write_text("{}")
    found = evaluate_segmentation(tmp_path, "drawn", tmp_path / "out", classes="a=1")
    assert "1 of 3 images of the cohort has no segmentation, so these figures are without: p02." in found.sentences


def test_two_rows_for_one_image_are_refused_by_name(tmp_path: Path) -> None:
    table = halves(tmp_path, 3, masks=False)
    rows = pd.read_csv(table)
    again = rows.assign(drawn=rows["segmentation"], rater=1).iloc[:1]
    every = pd.concat([rows.assign(rater=0), again])
    every.assign(id=[f"r{k}" for k in range(len(every))]).to_csv(tmp_path / "raters.csv", index=False)
    rows[["path", "segmentation"]].to_csv(tmp_path / "found.csv", index=False)
    given: dict[str, Any] = {"classes": "a=1", "cohort": tmp_path / "raters.csv"}
    with pytest.raises(CohortError, match=r"raters.csv: 1 image \(p00.png\) of several rows with different labels"):
        evaluate_segmentation(tmp_path / "found.csv", "drawn", tmp_path / "out", **given)
    found = evaluate_segmentation(tmp_path / "found.csv", "drawn", tmp_path / "out", where={"rater": "0"}, **given)
    assert len(pd.read_csv(found.path)) == 3
    with pytest.raises(CohortError, match=r"raters.csv: 1 image \(p00.png\) of several rows; leave one"):
        evaluate_segmentation(tmp_path / "raters.csv", "drawn", tmp_path / "other", classes="a=1")


def test_a_column_that_only_the_cohort_has_asks_for_the_cohort(tmp_path: Path) -> None:
    table = halves(tmp_path, 3, masks=False)
    pd.read_csv(table)[["path", "segmentation"]].to_csv(tmp_path / "found.csv", index=False)
    with pytest.raises(CohortError, match="no column 'drawn_by_hand', and there is no folder of that name; give --coh"):
        evaluate_segmentation(tmp_path / "found.csv", "drawn_by_hand", tmp_path / "out")


def test_classes_whose_difference_is_clear_are_named_and_few_persons_told_once(tmp_path: Path) -> None:
    table = halves(tmp_path, masks=False)
    rows = pd.read_csv(table)
    for i, row in enumerate(rows.to_dict("records")):
        found = np.zeros((16, 16), np.uint8)
        found[4:8, 2:6], found[4:8, 9 : 12 + i % 3], found[12, 12 - i % 2] = 1, 1, 2
        write(tmp_path / "more" / Path(row["path"]).name, found)
    rows["segmentation"] = [f"more/{Path(each).name}" for each in rows["path"]]
    rows.to_csv(tmp_path / "more.csv", index=False)
    told = evaluate_segmentation(tmp_path / "more.csv", "drawn", tmp_path / "a", classes="a=1,b=2", compare=table)
    assert any(f"against {table}, over 12 images in both" in each for each in told.sentences)
    clear = next(each for each in told.sentences if "leaves out 0" in each)
    assert clear.startswith("Of a +0.") and "b -0.500" in clear
    few = evaluate_segmentation(
        tmp_path / "more.csv", "drawn", tmp_path / "b", classes="a=1", cohort=table, where={"subject": "s1"}
    )
    assert few.sentences[0].count("no interval with so few persons") == 1
