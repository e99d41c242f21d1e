"""How good explanations are: figures worked by hand on maps made by hand, floors beside, and a report."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import PIL.Image
import pytest
from explained import BOX, two_sides
from looked_at import looked_at
from studies import call

from anomaly.errors import EvaluationError
from anomaly.evaluation.truths import Marking
from anomaly.images import read, write_volume
from anomaly.reporting import report
from anomaly.statistics.thresholds import of_highest
from explain.evaluating import evaluate
from explain.evaluating.quality import half_of
from explain.evaluating.truths import Truth


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A cohort of 40 pictures and the explanations of all, whose map is the box in cases, a little noise elsewhere."""
    cohort = pd.read_csv(two_sides(tmp_path))
    rows = []
    for number, row in enumerate(cohort.to_dict("records")):
        name, sick = Path(row["path"]).stem, row["sick"]
        map = np.random.default_rng(number).normal(scale=0.01, size=(12, 12))
        map[BOX] = sick
        write_volume(tmp_path / "maps" / "maps" / f"{name}_map.nii.gz", map, np.eye(4))
        rows.append(
            {
                "id": name, "subject": row["subject"], "path": str(tmp_path / row["path"]),
                "files": f"maps/{name}_map.nii.gz", "change": 0.1 if sick else 0.02, "unchanged": 0.9, "folded": 0.0,
                "judge_before": 2.0 if sick and number > 4 else -1.0, "judge_after": -1.0,
                "judge_flipped": int(sick and number > 4),
            }
        )  # fmt: skip
    pd.DataFrame(rows).to_csv(tmp_path / "maps" / "explanations.csv", index=False)
    facts = {"limit": 1.0, "thresholds": {"judge": 0.0}, "runs": {"source": "mine"}}
    (tmp_path / "maps" / "explain.json").write_text(json.dumps(facts))
    return tmp_path


def asked(home: Path, **options):
    return evaluate(home / "maps", home / "cohort.csv", outcome="sick", **options)


def test_a_perfect_map_has_perfect_figures_and_beats_its_floors(home: Path) -> None:
    found = asked(home, mask="mask")
    quality = found.sections[0].table.set_index(["figure", "map"])
    for figure in ("average_precision", "pointing_game", "dice"):
        assert quality.loc[(figure, "map"), "mean"] == 1
    assert quality.loc[("relevance_mass", "map"), "mean"] == pytest.approx(0.93, abs=0.04)
    assert set(quality.loc["average_precision"].index) == {
        "map", "mean difference", "raw image", "raw image, dark", "centre", "map, blurred", "all alike",
    }  # fmt: skip
    floors = quality.loc["average_precision"].drop(index="map")
    assert list(floors.index[floors["best_floor"] == "best"]) == [floors["mean"].idxmax()]
    np.testing.assert_allclose(floors["map_above_it"], 1 - floors["mean"])
    assert floors.loc["all alike", "mean"] == pytest.approx(16 / 144)
    assert quality.loc[("dice", "all alike"), "mean"] == pytest.approx(16 / 144)
    assert found.images["inside"].dropna().tolist() == [1.0] * 20
    assert found.images["outside"].max() < 0.02
    assert len(found.images["id"].unique()) == 20
    assert found.images["prevalence"].iloc[0] == pytest.approx(16 / 144)


def test_signs_and_thresholds_are_those_asked_for(home: Path) -> None:
    wrong = asked(home, mask="mask", sign="negative").sections[0].table.set_index(["figure", "map"])
    assert wrong.loc[("pointing_game", "map"), "mean"] == 0
    high = asked(home, mask="mask", threshold=1.5).sections[0].table.set_index(["figure", "map"])
    assert high.loc[("dice", "map"), "mean"] == 0


def test_twins_and_differences_tell_the_same(home: Path) -> None:
    by_twin = asked(home, twin="twin").sections[0].table.set_index(["figure", "map"])
    assert by_twin.loc[("ncc", "map"), "mean"] > 0.99
    cohort = pd.read_csv(home / "cohort.csv")
    for row in cohort[cohort["sick"] == 1].to_dict("records"):
        images = [np.asarray(PIL.Image.open(home / row[name]), dtype=np.float32) for name in ("twin", "path")]
        np.save(home / "twins" / f"{Path(row['path']).stem}.npy", images[0] - images[1])
    cohort["difference"] = [f"twins/{Path(path).stem}.npy" if "ca" in path else None for path in cohort["path"]]
    cohort.to_csv(home / "cohort.csv", index=False)
    by_difference = asked(home, truth="difference").sections[0].table.set_index(["figure", "map"])
    assert by_difference.loc[("ncc", "map"), "mean"] == pytest.approx(by_twin.loc[("ncc", "map"), "mean"])


def test_flags_choose_among_findings(home: Path) -> None:
    for path in (home / "masks").iterdir():
        mask = np.zeros((12, 12), np.uint8)
        mask[BOX], mask[8:11, 0:3] = 2, 8
        PIL.Image.fromarray(mask).save(path)
    assert asked(home, mask="mask", flags=2).images.query("map == 'map'")["average_precision"].eq(1).all()
    assert asked(home, mask="mask", flags=8).images.query("map == 'map'")["average_precision"].lt(0.5).all()


def test_labels_choose_among_regions(tmp_path: Path) -> None:
    mask = np.zeros((12, 12), np.uint8)
    mask[BOX], mask[8:11, 0:3] = 2, 3
    PIL.Image.fromarray(mask).save(tmp_path / "mask.png")
    image, row = read(tmp_path / "mask.png"), {"id": "i", "m": "mask.png"}
    for labels, pixels in (((2,), 16), ((3,), 9), ((2, 3), 25), ((), 25)):
        marked, _ = Truth(tmp_path, mask="m", marking=Marking(labels=labels)).of(row, image)
        assert marked is not None and marked.sum() == pixels
    assert Truth(tmp_path, mask="m", marking=Marking(labels=(1,))).of(row, image) == (None, None)


def test_dice_of_as_many_pixels_by_hand() -> None:
    values = np.array([[5.0, 4, 3], [2, 2, 0]])
    mask = np.array([[True, False, False], [True, False, True]])
    assert of_highest(values, mask, 2) == pytest.approx(2 * 1 / 5)
    # The fourth pixel is one of two that are tied, one of them marked: half a hit.
    assert of_highest(values, mask, 4) == pytest.approx(2 * 1.5 / 7)
    assert of_highest(values, mask, 6) == pytest.approx(2 * 3 / 9)
    assert of_highest(values, mask, 0) == 0


def darken(home: Path) -> None:
    """Cases and twins in negative: the disease is what is darkest."""
    for path in [*(home / "cases").iterdir(), *(home / "twins").iterdir()]:
        PIL.Image.fromarray(255 - np.asarray(PIL.Image.open(path))).save(path)


def test_floors_do_not_suffer_where_disease_is_dark(home: Path) -> None:
    bright = asked(home, mask="mask", twin="twin").sections[0].table.set_index(["figure", "map"])["mean"]
    darken(home)
    dark = asked(home, mask="mask", twin="twin").sections[0].table.set_index(["figure", "map"])["mean"]
    for figure in ("average_precision", "relevance_mass", "dice"):
        assert dark[figure, "raw image, dark"] == pytest.approx(bright[figure, "raw image"])
    assert dark["ncc", "raw image"] == pytest.approx(bright["ncc", "raw image"])
    assert dark["ncc", "raw image"] > 0.2
    assert dark["ncc", "map"] == pytest.approx(-bright["ncc", "map"])


def test_validity_counts_only_what_was_taken_for_a_case(home: Path) -> None:
    section = next(each for each in asked(home).sections if each.name == "validity")
    row = section.table.iloc[0]
    assert (row["asked"], row["cases"], row["taken_for_cases"], row["flipped"]) == ("judge", 20, 18, 1)
    assert "the independent judge took 18 for cases" in section.sentences[0]


def test_what_is_changed_in_cases_and_controls(home: Path) -> None:
    section = next(each for each in asked(home).sections if each.name == "changes")
    table = section.table.set_index(["figure", "images_of"])
    assert table.loc[("change", "cases"), "mean"] == pytest.approx(0.1)
    assert table.loc[("change", "controls"), "mean"] == pytest.approx(0.02)
    assert not any(str(name).startswith("judge") for name in section.table["figure"])
    assert section.sentences[0] == "Cases are changed by 0.1 (0.1 to 0.1) on the mean, of a range of 2."
    unknown = evaluate(home / "maps").sections[1]
    assert unknown.sentences[0].startswith("Images are changed by 0.06 (")


def test_nobody_is_taken_for_a_case(home: Path) -> None:
    table = pd.read_csv(home / "maps" / "explanations.csv")
    table.assign(judge_before=-1.0, judge_flipped=0).to_csv(home / "maps" / "explanations.csv", index=False)
    found = asked(home)
    assert [section.name for section in found.sections] == ["changes"]
    assert any("None of 20 cases is taken for a case by the independent judge" in note for note in found.notes)


def test_nobody_has_a_say_in_their_own_floor(home: Path) -> None:
    """The mean difference held beside one person's image is that of the other half alone."""
    before = asked(home, mask="mask").images.query("map == 'mean difference'").set_index("id")
    one = before.index[0]
    subject = before.loc[one, "subject"]
    cohort = pd.read_csv(home / "cohort.csv")
    for path in cohort[[half_of(str(each)) == half_of(subject) for each in cohort["subject"]]]["path"]:
        PIL.Image.fromarray(np.random.default_rng(1).integers(0, 255, (12, 12), dtype=np.uint8)).save(home / path)
    after = asked(home, mask="mask").images.query("map == 'mean difference'").set_index("id")
    assert after.loc[one, "average_precision"] == before.loc[one, "average_precision"]
    assert (after["average_precision"] != before["average_precision"]).any()


def test_a_mask_of_another_shape_is_named_and_costs_no_other(home: Path) -> None:
    PIL.Image.fromarray(np.full((5, 7), 255, np.uint8)).save(home / "masks" / "ca000.png")
    found = asked(home, mask="mask")
    assert len(found.images["id"].unique()) == 19
    assert any("the mask of ca000 has the shape (5, 7), expected (12, 12)" in note for note in found.notes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mask": "masks"}, "no column 'masks'"),
        ({"mask": "mask", "threshold": float("nan")}, "threshold is nan; expected a number above 0"),
        ({"mask": "mask", "sign": "both"}, "sign is 'both'; expected one of"),
        ({"mask": "mask", "flags": 2**9}, "no case has a marked pixel"),
        ({"mask": "mask", "flags": 1, "labels": [1]}, "flags and labels are both given"),
        ({"truth": "mask", "twin": "twin"}, "truth and twin are both given"),
        ({"where": {"sick": "0"}}, "none of 20 explained images has sick"),
        ({"subject": "mask"}, "20 images have no mask"),
    ],
)
def test_what_cannot_be_used_is_told(home: Path, options, message) -> None:
    with pytest.raises(EvaluationError, match=message):
        asked(home, **options)


def test_a_folder_without_explanations_and_columns_without_a_cohort_are_told(home: Path) -> None:
    with pytest.raises(EvaluationError, match="holds no explanations"):
        evaluate(home / "masks")
    with pytest.raises(EvaluationError, match="are columns of a cohort; give it"):
        evaluate(home / "maps", mask="mask")
    assert evaluate(home / "maps").sections[0].name == "validity"


def test_from_the_command_line_to_a_report(home: Path) -> None:
    figure = PIL.Image.fromarray(np.zeros((20, 30), np.uint8))
    figure.save(home / "maps" / "maps" / "ca001.png")
    table = pd.read_csv(home / "maps" / "explanations.csv")
    table.loc[table["id"] == "ca001", "files"] += ";maps/ca001.png"
    table.to_csv(home / "maps" / "explanations.csv", index=False)
    words = ("--cohort", home / "cohort.csv", "--outcome", "sick", "--mask", "mask")
    code, out, errors = call("explain", "evaluate", home / "maps", *words)
    assert code == 0 and "Average precision of the pixels: 1.00" in out, errors
    page = (home / "maps" / "report.html").read_text()
    assert "Do maps point at the truth" in page and "data:image/jpeg" in page and "explained by mine" in page
    assert report(home / "maps") == home / "maps" / "report.html"


def still_taken(home: Path) -> list[str]:
    """Ids of the cards under the heading of those that did not change sides."""
    page = report(home / "maps").read_text()
    _, _, after = page.partition("Still taken for cases by the judge")
    return re.findall(r"<strong>(\w+)</strong>", after)


def test_the_report_shows_what_did_not_change_sides(home: Path) -> None:
    assert still_taken(home) == []
    table = pd.read_csv(home / "maps" / "explanations.csv")
    table.loc[table["id"] == "ca003", "judge_after"] = 0.5
    table.loc[table["id"] == "ca004", "judge_after"] = 1.5
    table.loc[table["id"] == "co001", "judge_after"] = 1.5  # was none before
    table.loc[table["id"] == "ca004", "files"] += ";maps/ca004.png"
    table.to_csv(home / "maps" / "explanations.csv", index=False)
    (home / "maps" / "maps" / "ca004.png").write_bytes(b"no picture")
    assert still_taken(home) == ["ca004", "ca003"]


def test_scores_in_the_same_folder_keep_their_report(home: Path) -> None:
    table = pd.read_csv(home / "maps" / "explanations.csv")
    table.assign(value=table["change"]).to_csv(home / "maps" / "scores.csv", index=False)
    assert "40 images scored" in report(home / "maps").read_text()
    asked(home)
    assert "40 images explained" in report(home / "maps").read_text()


def solid(folder: Path, *, turned: bool = False) -> None:
    """Eight volumes, every other one with a block; where `turned`, masks say they lie elsewhere than the images."""
    rows, told = [], []
    for number in range(8):
        sick, name = number % 2, f"i{number}"
        image = np.random.default_rng(number).normal(size=(6, 7, 8)).astype(np.float32)
        mask = np.zeros(image.shape, np.uint8)
        mask[1:3, 2:4, 5:7] = sick
        here = np.diag([2.0, 2, 2, 1])
        there = np.diag([-2.0, 2, 2, 1]) if turned else here
        for file, values, affine in (
            (f"{name}.nii.gz", image, here), (f"m{number}.nii.gz", mask, there),
            (f"maps/maps/{name}_map.nii.gz", mask * 0.5, here),
        ):  # fmt: skip
            write_volume(folder / file, values, affine)
        rows.append({"id": name, "subject": name, "sick": sick, "mask": f"m{number}.nii.gz"})
        told.append(
            {"id": name, "subject": name, "path": folder / f"{name}.nii.gz", "files": f"maps/{name}_map.nii.gz"}
        )
    pd.DataFrame(rows).to_csv(folder / "cohort.csv", index=False)
    pd.DataFrame(told).to_csv(folder / "maps" / "explanations.csv", index=False)
    (folder / "maps" / "explain.json").write_text(json.dumps({"limit": 0.5, "thresholds": {}}))


def test_volumes_are_judged_as_pictures_are(tmp_path: Path) -> None:
    solid(tmp_path)
    own = asked(tmp_path, mask="mask").images.query("map == 'map'")
    assert len(own) == 4 and (own["average_precision"] == 1).all()


def test_masks_that_lie_elsewhere_are_refused(tmp_path: Path) -> None:
    solid(tmp_path, turned=True)
    with pytest.raises(EvaluationError, match=r"m1\.nii\.gz: the mask of i1 lies elsewhere than the image"):
        asked(tmp_path, mask="mask")


def test_what_was_found_is_shown_in_five_lines_without_its_tables(home: Path) -> None:
    found = asked(home, mask="mask", out=home / "<script>")
    assert looked_at(found) == {
        "": found.headline,
        "images": "20 whose maps are held against a mask or a twin",
        "sections": "quality, validity, changes; 1 note",
        "folder": str(home / "<script>"),
    }
    assert "images" not in looked_at(asked(home))
