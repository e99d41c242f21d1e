"""From pairs of visits to a run, predictions and figures, with files: every step, and all that can be wrong."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import cli
from anomaly.errors import AnomalyError, CohortError, RunError
from anomaly.images import read
from anomaly.images.nifti import write_volume
from anomaly.images.pictures import write_grey
from anomaly.images.preprocessing import Preprocessing
from anomaly.progression.calibrating import Calibration
from anomaly.progression.evaluating import evaluate_progression
from anomaly.progression.floors import Floors, own_trends, reaching
from anomaly.progression.judging import overlap, right, summary
from anomaly.progression.learning import learn_progression
from anomaly.progression.pairing import Visits
from anomaly.progression.predicting import predict_progression
from anomaly.progression.run import ForecasterRun
from anomaly.runs.run import Run
from anomaly.training.machine import Machine

CPU = Machine(device="cpu")
TINY: dict[str, Any] = {"steps": 2, "batch": 2, "width": 4, "levels": 2, "look_every": 1}
GAN: dict[str, Any] = {**TINY, "best": 2, "critic_width": 2, "turns": 1}
PLAIN = Preprocessing(size=16, intensity="range")


def blob(side: int, radius: float, dims: int = 2) -> np.ndarray:
    grid = np.indices((side,) * dims) - (side - 1) / 2
    return np.clip(radius - np.sqrt((grid**2).sum(0)) + 0.5, 0, 1).astype(np.float32)


def study(folder: Path, persons: int = 8, dims: int = 2, visits: int = 2, first: str = "p") -> Path:
    """Persons whose disc grows; maps are the images, pictures or volumes of 2 mm."""
    rows = []
    for k in range(persons):
        for v in range(visits):
            values = blob(16 if dims == 2 else 8, 2 + 0.2 * k / persons + 0.6 * v, dims)
            name = f"{first}{k}-v{v}"
            path = folder / f"{name}{'.png' if dims == 2 else '.nii.gz'}"
            folder.mkdir(parents=True, exist_ok=True)
            if dims == 2:
                write_grey(path, np.rint(255 * values).astype(np.uint8))
            else:
                write_volume(path, values, np.diag([2.0, 2, 2, 1]))
            rows.append({"id": name, "path": path.name, "subject": f"{first}{k}", "year": v})
    table = folder / "cohort.csv"
    pd.DataFrame(rows).to_csv(table, index=False)
    return table


def trained(table: Path, out: Path, **more: Any) -> ForecasterRun:
    given: dict[str, Any] = {"settings": GAN, "preprocessing": PLAIN, "machine": CPU, **more}
    return learn_progression(Visits(images=table, visits="year"), out, **given)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ForecasterRun]:
    folder = tmp_path_factory.mktemp("pictures")
    study(folder / "test", persons=3, first="t")
    return folder, trained(study(folder / "train"), folder / "run")


def test_a_run_says_what_it_is_and_is_the_same_again(pictures: tuple[Path, ForecasterRun], tmp_path: Path) -> None:
    folder, run = pictures
    assert {"run.json", "MODEL_CARD.md", "preview.png", "training.csv", "cohort.csv", "weights.safetensors"} <= {
        each.name for each in run.folder.iterdir()
    }
    assert run.facts["data"]["split"] == {"train": 5, "choose": 1, "calibrate": 2} and run.unit == "pixels"
    card = (run.folder / "MODEL_CARD.md").read_text()
    assert "must not guide care" in card and "2 persons were held out to calibrate it; 19 are needed" in card
    again = trained(folder / "train" / "cohort.csv", tmp_path / "again")
    assert again.identity == run.identity
    assert trained(folder / "train" / "cohort.csv", tmp_path / "again", resume=True).identity == run.identity
    with pytest.raises(RunError, match="expected a detector"):
        Run.open(run.folder)


def test_predictions_without_enough_persons_have_no_interval(
    pictures: tuple[Path, ForecasterRun], tmp_path: Path
) -> None:
    folder, run = pictures
    table = folder / "test" / "cohort.csv"
    done = predict_progression(run.folder, table, tmp_path, device="cpu")
    found = pd.read_csv(done.path)
    assert done.new == 6 and "19 are needed" in done.why_none
    assert found["change_low"].isna().all() and found["p_growing"].isna().all()
    np.testing.assert_allclose(found["change"], found["predicted_volume"] - found["volume"])
    name = found["id"].iloc[0]
    after, change = (read(tmp_path / "maps" / f"{name}_{what}.png") for what in ("followup", "evolution"))
    assert (after.pixels > 127.5).sum() == pytest.approx(found["predicted_volume"].iloc[0], abs=2)
    assert after.space == (16, 16) and (tmp_path / "pictures" / f"{name}.png").is_file()
    assert b"not measured" in (tmp_path / "maps" / f"{name}_followup.png").read_bytes()
    assert abs(change.pixels - 128).max() <= 127
    assert predict_progression(run.folder, table, tmp_path, device="cpu").new == 0
    alone = predict_progression(run.folder, table, tmp_path / "one", where={"id": name}, device="cpu")
    pd.testing.assert_frame_equal(pd.read_csv(alone.path), found[found["id"] == name].reset_index(drop=True))


def test_persons_of_the_training_are_refused(pictures: tuple[Path, ForecasterRun], tmp_path: Path) -> None:
    folder, run = pictures
    table = folder / "train" / "cohort.csv"
    with pytest.raises(CohortError, match="in both"):
        predict_progression(run.folder, table, tmp_path, device="cpu")
    with pytest.raises(CohortError, match="in both"):
        evaluate_progression(run.folder, Visits(images=table, visits="year"), tmp_path, device="cpu")
    assert predict_progression(run.folder, table, tmp_path, allow_overlap=True, device="cpu").new == 16
    with pytest.raises(AnomalyError, match="3 years lie between its visits, and about 1 were learned from"):
        predict_progression(run.folder, folder / "test" / "cohort.csv", tmp_path / "far", years=3.0, device="cpu")


def test_volumes_in_mm3_on_their_own_grid_and_pairs_of_a_table(tmp_path: Path) -> None:
    solid = Preprocessing(dims=3, size=8, intensity="range")
    run = trained(study(tmp_path / "train", dims=3), tmp_path / "run", settings=TINY, method="difference-unet",
                  preprocessing=solid)  # fmt: skip
    assert run.unit == "mm3"
    table = study(tmp_path / "test", persons=3, dims=3, first="t")
    done = predict_progression(run.folder, table, tmp_path / "out", where={"year": "0"}, device="cpu")
    found = pd.read_csv(done.path)
    after = read(tmp_path / "out" / "maps" / "t0-v0_followup.nii.gz")
    np.testing.assert_array_equal(after.affine, np.diag([2.0, 2, 2, 1]))
    assert 8 * (after.pixels > 0.5).sum() == found["predicted_volume"].iloc[0]
    assert found["volume"].iloc[0] == 8 * (blob(8, 2, 3) > 0.5).sum()
    images = pd.read_csv(table)
    now, then = (images[images["year"] == year].reset_index(drop=True) for year in (0, 1))
    pairs = then.assign(baseline=now["path"], years=1.0)
    pairs.to_csv(tmp_path / "test" / "pairs.csv", index=False)
    judged = evaluate_progression(
        run.folder, Visits(images=tmp_path / "test" / "pairs.csv"), tmp_path / "e", device="cpu"
    )
    told = judged.summary.set_index(["version", "measure"])["value"]
    truth = pd.read_csv(judged.path)["true_change"]
    assert told["persistence", "absolute_error"] == pytest.approx(truth.abs().mean())
    assert told["majority", "accuracy"] == 1 and told["persistence", "accuracy"] == 0.5
    assert {"progression.html", "progression.png", "summary.csv", "summary.json"} <= {
        each.name for each in (tmp_path / "e").iterdir()
    }


def test_bad_files_are_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    table = study(tmp_path / "train", persons=12)
    folder, rows = tmp_path / "train", pd.read_csv(table)
    write_grey(folder / "p0-v1.png", np.zeros((12, 16), np.uint8))  # another grid
    (folder / "p1-v1.png").write_bytes(b"damaged")
    (folder / "p2-v0.png").unlink()
    rows.loc[rows["id"] == "p3-v1", "year"] = 0  # two on one date
    rows.to_csv(table, index=False)
    run = trained(table, tmp_path / "run", settings=TINY, method="difference-unet")
    errors = pd.read_csv(run.folder / "errors.csv").set_index("id")["error"]
    assert "register them first" in errors["p0-v1"] and "p1-v1" in errors and "p2-v1" in errors
    left = pd.read_csv(run.folder / "left_out.csv").set_index("id")["reason"]
    assert "the same year 0" in left["p3-v0"] and len(errors) == 3 and run.facts["data"]["unreadable"] == 3
    assert run.facts["data"]["images"] == 8


def test_maps_beside_images_masks_and_ranges(tmp_path: Path) -> None:
    table = study(tmp_path / "train")
    rows = pd.read_csv(table)
    for each in rows["id"]:
        write_grey(tmp_path / "train" / f"{each}_lesion.png", read(tmp_path / "train" / f"{each}.png").pixels[0] > 127)
        inside = np.ones((16, 16), dtype=bool)
        inside[:4, :4] = False
        write_grey(tmp_path / "train" / f"{each}_brain.png", inside)
    rows.assign(map=rows["id"] + "_lesion.png", brain=rows["id"] + "_brain.png").to_csv(table, index=False)
    visits = Visits(images=table, visits="year", maps="map", mask="brain")
    run = learn_progression(visits, tmp_path / "run", settings=GAN, preprocessing=PLAIN, image="beside", machine=CPU)
    assert run.forecaster.shape_ == (2, 16, 16) and run.forecaster.masked_
    plain = Visits(images=table, visits="year")
    cut = learn_progression(plain, tmp_path / "cut", settings=TINY, method="difference-unet", preprocessing=PLAIN,
                            span=(0.0, 100.0), machine=CPU)  # fmt: skip
    assert cut.pairs["volume"].sum() > run.pairs["volume"].sum()  # grey of more than 50 counts


def test_a_map_of_other_values_says_the_way_out(tmp_path: Path) -> None:
    table = study(tmp_path / "train", dims=3)
    for path in (tmp_path / "train").glob("*.nii.gz"):
        write_volume(path, 3 * read(path).pixels[0], np.eye(4))
    with pytest.raises(CohortError, match=r"--range 0,255"):
        trained(table, tmp_path / "run", preprocessing=Preprocessing(dims=3, size=8))
    assert not (tmp_path / "run" / "run.json").exists()


def test_floors_by_hand() -> None:
    table = pd.DataFrame({"subject": ["a", "a", "b"], "volume": [10.0, 10, 20], "true_change": [2.0, 4, -9],
                          "years": [1.0, 1, 1], "sureness": 1.0, "brightness": 0.0})  # fmt: skip
    floors = Floors.of(table)
    assert floors.yearly == pytest.approx((3 - 9) / 2) and floors.grow == 1
    row = {"volume": 5.0, "years": 2.0, "sureness": 1.0, "brightness": 0.0}
    told = floors.changes(row, None)
    assert told["persistence"] == 0 and told["trend"] == -5  # a volume does not fall below 0
    assert floors.changes(row, 1.5)["trend"] == 3
    pairs = pd.DataFrame({"subject": ["a", "a"], "path": ["v1", "v2"], "baseline": ["v0", "v1"],
                          "true_change": [3.0, 9], "years": [2.0, 1]})  # fmt: skip
    assert own_trends(pairs) == {"v2": 1.5}


def test_a_disease_grows_and_shrinks_evenly_to_a_volume() -> None:
    disc, everything = blob(15, 4) > 0.5, np.ones((15, 15), dtype=bool)
    for pixels in (0, 9, int(disc.sum()), 90):
        found = reaching(disc, pixels, everything)
        assert found.sum() == pixels and ((found & disc).sum() in (pixels, disc.sum()))
    assert reaching(~everything, 9, everything).sum() == 0


def test_figures_by_hand() -> None:
    assert right(np.array([1.0, -1, 0, 1]), np.array([2.0, 2, 2, 0.5]), 1.0).tolist()[:3] == [1, 0, 0.5]
    assert np.isnan(right(np.array([1.0]), np.array([0.5]), 1.0)).all()
    a, b = np.array([True, True, False]), np.array([False, True, True])
    assert overlap(a, b) == 0.5 and np.isnan(overlap(a, a & ~a))
    told = pd.DataFrame({"subject": list("abcdefghijkl"), "true_change": 2.0, "change_low": 0.0, "change_high": 1.0})
    for name in ("drawn", "persistence", "trend", "regression"):
        told[f"{name}_change"] = 1.0
        for way in ("growing", "shrinking"):
            told[f"{name}_dice_{way}"], told[f"{name}_hit_{way}"], told[f"{name}_said_{way}"] = "", 0, 0
    found = summary(told, 1).set_index(["version", "measure"])["value"]
    assert found["drawn", "coverage"] == 0 and found["drawn", "width"] == 1
    assert found["drawn", "volume_error"] == -1 and found["drawn", "volume_error_sd"] == 0
    assert not {("drawn", "dice_growing"), ("drawn", "pooled_dice_growing")} & {*found.index}


def test_calibration_takes_the_unit_that_is_narrowest_and_holds_its_own_persons() -> None:
    rng = np.random.default_rng(0)
    volume = rng.uniform(10, 1000, 80)
    change = pd.Series(np.zeros(80))
    table = pd.DataFrame({"subject": [f"p{k}" for k in range(80)], "volume": volume, "spread": 1.0, "change": change,
                          "true_change": volume * rng.normal(0, 0.2, 80)})  # fmt: skip
    made = Calibration.of(table.iloc[:40], table.iloc[40:])
    assert made.unit == "volume" and made.persons == 40 and not made.why_none
    ends = made.said(table)
    held = (table["true_change"] >= ends["change_low"]) & (table["true_change"] <= ends["change_high"])
    assert held.iloc[40:].mean() >= 0.95 and (ends["change_low"] >= -volume).all()
    assert "no interval: 10 persons" in Calibration.of(table.iloc[:40], table.iloc[40:50]).why_none


def test_the_command_line_asks_for_one_of_two(tmp_path: Path) -> None:
    table = study(tmp_path / "train")
    for words, said in (
        (["--out", str(tmp_path / "r")], "one of the two"),
        (["--images", str(table), "--out", str(tmp_path / "r")], "no column 'visit'"),
        (["--images", str(table), "--visits", "month", "--out", str(tmp_path / "r")], "no column 'month'"),
    ):
        with pytest.raises(Exception, match=said):
            cli.commands(["progress", "train", *words], standalone_mode=False)
