"""How good explanations are: figures worked by hand on maps made by hand, floors beside, and a report."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import PIL.Image
import pytest
from cohorts import call
from explained import BOX, two_sides

from anomaly.errors import EvaluationError
from anomaly.images import write_volume
from anomaly.reporting import report
from explain.evaluating import evaluate
from explain.quality import half_of


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
        "map", "mean difference", "raw image", "centre", "map, blurred",
    }  # fmt: skip
    best = quality.loc[("average_precision", "map"), "best_floor"]
    gain = 1 - quality.loc[("average_precision", best), "mean"]
    assert quality.loc[("average_precision", "map"), "above_it"] == pytest.approx(gain)
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
        ({"mask": "mask", "sign": "both"}, "sign is 'both'; expected one of"),
        ({"mask": "mask", "flags": 2**9}, "no case has a marked pixel"),
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


def test_volumes_are_judged_as_pictures_are(tmp_path: Path) -> None:
    rows, told = [], []
    for number in range(8):
        sick, space = number % 2, (6, 7, 8)
        image = np.random.default_rng(number).normal(size=space).astype(np.float32)
        mask = np.zeros(space, np.uint8)
        mask[1:3, 2:4, 5:7] = sick
        for name, values in (("i", image), ("m", mask), ("maps/maps/i", mask * 0.5)):
            path = tmp_path / f"{name}{number}{'_map' if 'maps' in name else ''}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(values.astype(np.float32), np.eye(4)), path)
        rows.append(
            {
                "id": f"i{number}",
                "path": f"i{number}.nii.gz",
                "subject": f"s{number}",
                "sick": sick,
                "mask": f"m{number}.nii.gz",
            }
        )
        told.append(
            {
                "id": f"i{number}",
                "subject": f"s{number}",
                "path": str(tmp_path / f"i{number}.nii.gz"),
                "files": f"maps/i{number}_map.nii.gz",
            }
        )
    pd.DataFrame(rows).to_csv(tmp_path / "cohort.csv", index=False)
    pd.DataFrame(told).to_csv(tmp_path / "maps" / "explanations.csv", index=False)
    found = evaluate(tmp_path / "maps", tmp_path / "cohort.csv", outcome="sick", mask="mask")
    own = found.images[found.images["map"] == "map"]
    assert len(own) == 4 and (own["average_precision"] == 1).all()
