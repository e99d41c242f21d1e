"""What a forecaster is made of and asked of: other files are never taken for these, values of maps, masks, options."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from test_progressing import CPU, GAN, PLAIN, TINY, blob, study, trained

import cli
from anomaly.errors import AnomalyError, CohortError, RunError, UnreadableImage
from anomaly.images.nifti import write_volume
from anomaly.images.pictures import write_grey
from anomaly.images.preprocessing import Preprocessing
from anomaly.progression.calibrating import Calibration
from anomaly.progression.evaluating import evaluate_progression
from anomaly.progression.floors import reaching
from anomaly.progression.inputs import fingerprint, inputs_of
from anomaly.progression.judging import summary
from anomaly.progression.keeping import KeptPairs
from anomaly.progression.learning import _judged, learn_progression
from anomaly.progression.pairing import Visits
from anomaly.progression.predicting import predict_progression
from anomaly.progression.reading import Reading, flags_alone, read_pair
from anomaly.progression.run import ForecasterRun

PLAINLY: dict[str, Any] = {"settings": TINY, "method": "difference-unet"}


def visited(folder: Path, first: str, persons: int = 8, visits: int = 2) -> Path:
    """A study whose table has a second column of maps, copies with another size of file."""
    table = study(folder, persons=persons, visits=visits, first=first)
    rows = pd.read_csv(table)
    for name in rows["id"]:
        write_grey(folder / f"{name}_other.png", np.rint(255 * blob(16, 3)).astype(np.uint8), says="another")
    rows.assign(other=rows["id"] + "_other.png").to_csv(table, index=False)
    return table


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ForecasterRun]:
    folder = tmp_path_factory.mktemp("noisy")
    visited(folder / "test", "t", persons=3, visits=3)
    return folder, trained(visited(folder / "train", "p"), folder / "run")


def test_a_fingerprint_changes_with_every_file_and_not_with_the_folder(tmp_path: Path) -> None:
    for name in ("a", "b", "c", "moved/a", "moved/b", "moved/c"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"0" * (1 + ord(name[-1]) - ord("a")))

    def of(folder: str = "", **changes: Any) -> dict[str, Any]:
        row: dict[str, Any] = {"id": "x", "path": "a", "baseline": "b", "map": "a", "baseline_map": "b", "mask": "c"}
        row = {name: value if name == "id" else str(tmp_path / folder / value) for name, value in row.items()}
        return row | {"years": 1.0} | changes

    before = fingerprint(pd.DataFrame([of()]))
    assert fingerprint(pd.DataFrame([of("moved")])) == before
    changes: list[dict[str, Any]] = [{name: str(tmp_path / "c")} for name in ("path", "baseline", "map")]
    changes += [{"baseline_map": str(tmp_path / "a")}, {"mask": str(tmp_path / "a")}, {"years": 2.0}, {"mask": ""}]
    for change in changes:
        assert fingerprint(pd.DataFrame([of(**change)])) != before, change
        assert inputs_of(of(**change)) != inputs_of(of()), change
    assert inputs_of(of("moved")) != inputs_of(of())


def test_a_training_is_not_gone_on_with_by_other_pairs_or_maps(noisy: tuple[Path, ForecasterRun]) -> None:
    folder, run = noisy
    table = folder / "train" / "cohort.csv"
    given: dict[str, Any] = {"settings": GAN, "preprocessing": PLAIN, "machine": CPU, "resume": True}
    same = learn_progression(Visits(images=table, visits="year"), run.folder, **given)
    assert same.identity == run.identity
    cases: list[tuple[dict[str, Any], str]] = [
        ({"which": "next"}, "which was first, now next"), ({"maps": "other"}, "fingerprint was")
    ]  # fmt: skip
    for asked, said in cases:
        with pytest.raises(RunError, match=said):
            learn_progression(Visits(images=table, visits="year", **asked), run.folder, **given)


def test_figures_of_other_maps_or_visits_are_not_taken_for_these(
    noisy: tuple[Path, ForecasterRun], tmp_path: Path
) -> None:
    folder, run = noisy
    table = folder / "test" / "cohort.csv"
    predict_progression(run.folder, table, tmp_path / "p", device="cpu", where={"year": "0"})
    with pytest.raises(RunError, match="another earlier visit, map, mask or years"):
        predict_progression(run.folder, table, tmp_path / "p", device="cpu", where={"year": "0"}, maps="other")
    visits = Visits(images=table, visits="year", which="next")
    whole = evaluate_progression(run.folder, visits, tmp_path / "e", device="cpu")
    assert whole.sentences[0].startswith("6 pairs of visits of 3 persons")
    assert pd.read_csv(whole.path).set_index("id")["trend_of"]["t0-v2"] == "person"
    assert any("the same person in 3 pairs" in each for each in whole.sentences)
    cases: list[dict[str, Any]] = [{"which": "first"}, {"which": "next", "maps": "other"}]
    for asked in cases:
        with pytest.raises(RunError, match="another earlier visit, map, mask or years"):
            evaluate_progression(run.folder, Visits(images=table, visits="year", **asked), tmp_path / "e", device="cpu")
    one = dataclasses.replace(visits, where={"subject": "t1"})
    asked_for = evaluate_progression(run.folder, one, tmp_path / "e", device="cpu")
    assert asked_for.sentences[0].startswith("2 pairs of visits of 1 person") and len(pd.read_csv(whole.path)) == 6
    alone = evaluate_progression(run.folder, one, tmp_path / "alone", device="cpu")
    pd.testing.assert_frame_equal(alone.summary, asked_for.summary)


def row_of(before: Path, after: Path) -> dict[str, str]:
    return {"path": str(after), "baseline": str(before), "map": str(after), "baseline_map": str(before)}


def test_grey_1_of_255_is_a_small_probability_unless_all_maps_are_flags(tmp_path: Path) -> None:
    faint, full = np.zeros((16, 16), np.uint8), np.zeros((16, 16), np.uint8)
    faint[4:8, 4:8], full[4:8, 4:8] = 1, 255
    for name, values in (("faint", faint), ("full", full), ("empty", faint * 0)):
        write_grey(tmp_path / f"{name}.png", values)
    files = {name: tmp_path / f"{name}.png" for name in ("faint", "full", "empty")}
    by_depth, as_flags = Reading(PLAIN, None, False), Reading(PLAIN, None, False, flags=True)
    pair = read_pair(row_of(files["empty"], files["faint"]), by_depth)
    assert pair.after.max() == pytest.approx(1 / 255)
    assert read_pair(row_of(files["empty"], files["faint"]), as_flags).after.max() == 1
    with pytest.raises(UnreadableImage, match="hold 0 and 1 alone"):
        read_pair(row_of(files["empty"], files["full"]), as_flags)
    mixed = pd.DataFrame([row_of(files["empty"], files["faint"]), row_of(files["faint"], files["full"])])
    assert flags_alone(mixed.iloc[:1]) and not flags_alone(mixed)


def test_a_training_on_flags_keeps_it_for_good(tmp_path: Path) -> None:
    table = study(tmp_path / "train")
    for each in (tmp_path / "train").glob("*.png"):
        write_grey(each, (blob(16, 2 + 0.6 * each.name.endswith("v1.png")) > 0.5).astype(np.uint8))
    run = trained(table, tmp_path / "run", **PLAINLY)
    assert run.facts["flags"] and run.reading.flags and (run.pairs["volume"] > 0).all()
    other = study(tmp_path / "test", persons=2, first="t")
    done = predict_progression(run.folder, other, tmp_path / "out", device="cpu")
    assert done.new == 0 and "hold 0 and 1 alone" in pd.read_csv(done.errors)["error"].iloc[0]


def test_flags_shown_to_a_run_that_reads_by_depth_are_told(
    noisy: tuple[Path, ForecasterRun], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _, run = noisy
    table = study(tmp_path / "test", persons=1, first="t")
    for each in (tmp_path / "test").glob("*.png"):
        write_grey(each, (blob(16, 3) > 0.5).astype(np.uint8))
    predict_progression(run.folder, table, tmp_path / "out", device="cpu")
    assert "save it as the largest grey" in caplog.text


def test_each_picture_is_read_by_its_own_depth(tmp_path: Path) -> None:
    write_grey(tmp_path / "a.png", np.rint(65535 * blob(16, 4)).astype(np.uint16))
    write_grey(tmp_path / "b.png", np.rint(255 * blob(16, 4)).astype(np.uint8))
    pair = read_pair(row_of(tmp_path / "a.png", tmp_path / "b.png"), Reading(PLAIN, None, False))
    np.testing.assert_allclose(pair.before, pair.after, atol=1 / 255)
    assert pair.span == (0.0, 65535.0)


def test_a_voxel_of_a_skewed_grid_has_the_volume_of_its_edges(tmp_path: Path) -> None:
    tilt = np.deg2rad(20)
    skewed = np.array([[2, 0, 0, 0], [0, 2, 3 * np.sin(tilt), 0], [0, 0, 3 * np.cos(tilt), 0], [0, 0, 0, 1.0]])
    write_volume(tmp_path / "a.nii.gz", blob(8, 2, 3), skewed)
    pair = read_pair(row_of(*[tmp_path / "a.nii.gz"] * 2), Reading(Preprocessing(dims=3, size=8), None, False))
    assert pair.voxel == pytest.approx(12 * np.cos(tilt), rel=1e-6) and pair.unit == "mm3"


def test_context_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AnomalyError, match="makes nothing of context"):
        trained(study(tmp_path), tmp_path / "run", preprocessing=dataclasses.replace(PLAIN, context=0))


def test_intervals_are_of_the_draws_they_were_calibrated_with(
    noisy: tuple[Path, ForecasterRun], tmp_path: Path
) -> None:
    table = pd.DataFrame({"subject": [f"p{k}" for k in range(40)], "volume": 50.0, "spread": 1.0, "change": 0.0,
                          "true_change": np.linspace(-5, 5, 40)})  # fmt: skip
    made = Calibration.of(table, table, draws=10)
    assert made.said(table, 10)["change_low"].notna().all() and made.why_none_of(10) == ""
    assert made.said(table, 1).isna().all(axis=None) and "calibrated with 10 draws, not 1" in made.why_none_of(1)
    assert Calibration.read({"calibration": made.facts()}) == made
    folder, run = noisy
    assert run.calibration.draws == 10
    asked: dict[str, Any] = {"where": {"id": "t0-v0"}, "device": "cpu"}
    done = predict_progression(run.folder, folder / "test" / "cohort.csv", tmp_path, draws=1, **asked)
    row = pd.read_csv(done.path).iloc[0]
    assert "10 draws, not 1" in row["interval"] and np.isnan(row["p_growing"]) and "not 1" in done.why_none


def test_the_column_mask_counts_as_elsewhere(tmp_path: Path) -> None:
    table = study(tmp_path / "train")
    inside = np.ones((16, 16), dtype=bool)
    inside[:4, :4] = False
    write_grey(tmp_path / "train" / "brain.png", inside)
    pd.read_csv(table).assign(mask="brain.png").to_csv(table, index=False)
    visits = Visits(images=table, visits="year")
    assert set(visits.found()["mask"]) == {str(tmp_path / "train" / "brain.png")}
    assert "mask" not in dataclasses.replace(visits, mask="none").found()
    run = trained(table, tmp_path / "run", **PLAINLY)
    assert run.forecaster.masked_ and run.facts["preprocessing"]["mask"] == "given"
    now, then = (pd.read_csv(table).iloc[k::2].reset_index(drop=True) for k in range(2))
    pairs = then.assign(baseline=now["path"], years=1.0)
    pairs.to_csv(tmp_path / "train" / "pairs.csv", index=False)
    assert "mask" in Visits(images=tmp_path / "train" / "pairs.csv").found()
    as_maps = Visits(images=table, visits="year", maps="mask").found()
    assert "mask" not in as_maps and as_maps["map"].str.endswith("brain.png").all()
    with pytest.raises(CohortError, match="rename it"):
        Visits(images=table, visits="year", maps="mask", mask="brain.png").found()


def test_what_pairs_visits_is_refused_where_pairs_are_given(tmp_path: Path) -> None:
    table = study(tmp_path)
    rows = pd.read_csv(table)
    rows.assign(baseline=rows["path"]).to_csv(table, index=False)
    for name, value in (("which", "next"), ("unit", "months"), ("date", "year"), ("side", "id"), ("contrast", "id")):
        asked: dict[str, Any] = {name: value}
        with pytest.raises(CohortError, match=f"^{name} say which images"):
            Visits(images=table, **asked).found()
        words = ["train", "--pairs", str(table), f"--{name}", value, "--out", str(tmp_path / "run")]
        with pytest.raises(CohortError, match=f"^--{name} say which images"):
            cli.commands(["progress", *words], standalone_mode=False)


def test_images_in_no_pair_are_left_out_and_no_failure(noisy: tuple[Path, ForecasterRun], tmp_path: Path) -> None:
    folder, run = noisy
    rows = pd.read_csv(folder / "test" / "cohort.csv")
    rows["path"] = [str(folder / "test" / path) for path in rows["path"]]
    table = rows[~rows["id"].isin(["t0-v1", "t0-v2"])]
    visits = Visits(images=table, visits="year", which="next")
    found = evaluate_progression(run.folder, visits, tmp_path, device="cpu")
    left = pd.read_csv(tmp_path / "left_out.csv")
    assert list(left["id"]) == ["t0-v0"] and found.left_out == 1 and found.failed == 0 and not found.errors.exists()
    assert "1 image in no pair" in found.sentences[0]
    evaluate_progression(run.folder, dataclasses.replace(visits, images=table[1:]), tmp_path, device="cpu")
    assert not (tmp_path / "left_out.csv").exists()


def test_files_keep_their_id(noisy: tuple[Path, ForecasterRun], tmp_path: Path) -> None:
    folder, run = noisy
    rows = pd.read_csv(folder / "test" / "cohort.csv").iloc[:1].assign(id="p_followup")
    rows["path"] = [str(folder / "test" / path) for path in rows["path"]]
    predict_progression(run.folder, rows, tmp_path, device="cpu")
    names = {each.name for each in (tmp_path / "maps").iterdir()}
    assert names == {"p_followup_followup.png", "p_followup_evolution.png"}


def test_a_disease_grows_in_millimetres_and_leans_nowhere() -> None:
    box, everything = np.zeros((21, 21), dtype=bool), np.ones((21, 21), dtype=bool)
    box[8:13, 8:13] = True
    grown = reaching(box, 25 + 20, everything, (1.0, 5.0))
    assert grown[:, :8].sum() == grown[:, 13:].sum() == 0 and grown.sum() == 45  # 5 mm along the other axis
    ring = reaching(box, 25 + 10, everything)
    middle = np.argwhere(ring).mean(0)
    assert abs(middle - 10).max() < 0.35 and all(ring[s].any() for s in (7, 13))
    first = np.argsort(-np.where(box, 1.0, -1.0), axis=None, kind="stable")[:35]
    assert (np.unravel_index(first[25:], box.shape)[0] < 8).all()  # the lowest index would lean to one side
    np.testing.assert_array_equal(ring, reaching(box, 35, everything))


def test_dice_by_hand_of_what_changes_and_of_all_pairs_together() -> None:
    told = pd.DataFrame({"subject": list("abcdefghijkl"), "true_change": [9.0] * 6 + [0.5] * 6, "change_low": np.nan,
                         "change_high": np.nan})  # fmt: skip
    for name in ("drawn", "persistence", "trend", "regression"):
        told[f"{name}_change"] = 0.0
        for way in ("growing", "shrinking"):
            told[f"{name}_dice_{way}"] = [0.8] * 6 + [0.0] * 6
            told[f"{name}_hit_{way}"] = [8.0] * 6 + [0.0] * 6
            told[f"{name}_said_{way}"] = [10.0] * 6 + [6.0 if name == "drawn" else 1.0] * 6
    found = summary(told, 1, least=1.0).set_index(["version", "measure"])
    assert found["value"]["drawn", "dice_growing"] == pytest.approx(0.8) and found["n"]["drawn", "dice_growing"] == 6
    assert found["value"]["drawn", "pooled_dice_growing"] == pytest.approx(48 / 96)  # false growth costs
    assert found["value"]["persistence", "pooled_dice_growing"] == pytest.approx(48 / 66)
    best = found["value"].xs("pooled_dice_growing", level="measure").filter(like="drawn - ")
    assert best.iloc[0] == pytest.approx(48 / 96 - 48 / 66) and len(best) == 1
    assert summary(told, 1).set_index(["version", "measure"])["n"]["drawn", "dice_growing"] == 12


def test_a_file_that_goes_while_training_is_named(tmp_path: Path) -> None:
    table = study(tmp_path / "train")
    run = trained(table, tmp_path / "run", **PLAINLY)
    kept = KeptPairs(np.zeros(1), run.pairs.assign(slices=1), "pixels", 0, None)
    (tmp_path / "train" / "p0-v1.png").unlink()
    with pytest.raises(RunError, match="put it back, and train with --resume"):
        list(_judged(run.forecaster, kept, run.reading, 1))


def test_the_commands_end_to_end(noisy: tuple[Path, ForecasterRun], tmp_path: Path) -> None:
    folder, _ = noisy
    table, test = str(folder / "train" / "cohort.csv"), str(folder / "test" / "cohort.csv")
    tiny = [word for name, value in TINY.items() for word in ("--set", f"{name}={value}")]
    run, sized = str(tmp_path / "run"), ["--size", "16", "--intensity", "range", "--device", "cpu"]
    for words in (
        ["train", "--images", table, "--visits", "year", "--method", "difference-unet", "--out", run, *sized, *tiny],
        ["predict", run, "--images", test, "--out", str(tmp_path / "p"), "--device", "cpu", "--draws", "3"],
        ["evaluate", run, "--images", test, "--visits", "year", "--which", "next", "--out", str(tmp_path / "e")],
    ):
        cli.commands(["progress", *words], standalone_mode=False)
    assert len(pd.read_csv(tmp_path / "p" / "predictions.csv")) == 9
    assert len(pd.read_csv(tmp_path / "e" / "progression.csv")) == 6
