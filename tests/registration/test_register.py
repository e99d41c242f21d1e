"""Images registered with their files: tables, fields that ITK reads, what lies beside, and whoever does not suit."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from time import sleep
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image as Picture
from scipy import ndimage
from typer.testing import CliRunner

import cli
from anomaly.errors import AnomalyError, CohortError, RunError
from anomaly.images import Image, read, write_volume
from anomaly.images.fields import read_field
from anomaly.registration.jobs import jobs_of_sides
from anomaly.registration.sharing import BYTES, Room
from anomaly.registration.template import register_template
from anomaly.registration.visits import register_pair, register_sides, register_visits

sitk = pytest.importorskip("SimpleITK")


def texture(space: tuple[int, ...], seed: int = 0, sigma: float = 2.0) -> np.ndarray:
    """Soft texture within a body, black around it."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=space), sigma)
    apart = [((each - (side - 1) / 2) / (0.4 * side)) ** 2 for each, side in zip(np.indices(space), space, strict=True)]
    body = ndimage.gaussian_filter((np.sqrt(sum(apart)) < 1).astype(float), 1)
    return (body * (100 + 30 * noise / noise.std())).clip(0).astype(np.float32)


def oblique(spacing: tuple[float, ...] = (1.5, 1.5, 2.5)) -> np.ndarray:
    angle = np.radians(15)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag(spacing)
    affine[:3, 3] = (-20.0, 10.0, 5.0)
    return affine


def visits(folder: Path) -> pd.DataFrame:
    """Persons with two visits, the later one moved; one of them has a damaged file, another one visit alone."""
    values, affine = texture((28, 30, 16)), oblique()
    labels = (values > 110).astype(np.float32) + (values > 130)
    rows = []
    for person in ("a b", "c", "d"):
        for visit in (0, 12):
            path, beside = folder / f"{person}-{visit}.nii.gz", folder / "labels" / f"{person}-{visit}.nii.gz"
            there = np.diag([1.0, 1, 1, 1])
            there[:3, 3] = (0, 0, 0) if visit == 0 else (0, 0, 6)
            move = [0, 0, 0] if visit == 0 else [2, -1, 0]
            write_volume(path, ndimage.shift(values, move, order=1), there @ affine)
            write_volume(beside, ndimage.shift(labels, move, order=0), there @ affine)
            rows.append({"id": f"{person}-{visit}", "path": str(path), "subject": person, "visit_month": visit,
                         "labels": str(beside)})  # fmt: skip
    (folder / "d-12.nii.gz").write_bytes(b"nothing")
    return pd.DataFrame([*rows, {**rows[0], "id": "e-0", "subject": "e"}])


def test_follow_ups_come_to_lie_on_their_baselines(tmp_path: Path) -> None:
    table, out = visits(tmp_path), tmp_path / "out"
    done = register_visits(table, out, visits="visit_month", by="rigid", labels="labels", workers=1)
    assert (done.new, done.before, done.failed) == (2, 0, 1)
    pairs = pd.read_csv(done.path, dtype={"subject": str})
    assert list(pairs["id"]) == ["a_b-12", "c-12"] and list(pairs["baseline_id"]) == ["a_b-0", "c-0"]
    assert list(pairs["interval"]) == [12, 12] and list(pairs["years"]) == [1, 1]
    assert (pairs["correlation_before"] < 0.9).all() and (pairs["correlation_after"] > 0.99).all()
    assert (pairs["dice_before"] < 0.8).all() and (pairs["dice_after"] > 0.85).all()
    assert (pairs["folded"] == 0).all() and (pairs["inverse_consistency"] < 0.01).all()
    laid, base = read(done.path.parent / pairs["path"][0]), read(Path(pairs["baseline"][0]))
    assert laid.space == base.space and np.allclose(laid.affine, base.affine, atol=1e-4)
    assert set(np.unique(read(done.path.parent / pairs["labels"][0]).pixels)) <= {0, 1, 2}
    left_out = pd.read_csv(done.left_out)
    assert list(left_out["id"]) == ["e-0"] and done.unpaired == 1 and "no other visit" in left_out["reason"][0]
    errors = pd.read_csv(done.errors)
    assert list(errors["id"]) == ["d-12"] and "d-12.nii.gz" in errors["error"][0]
    assert json.loads((out / "register.json").read_text())["by"] == "rigid"
    times = {path: path.stat().st_mtime_ns for path in out.rglob("*.nii.gz")}
    (out / "pictures" / "c-12.png").unlink()  # what is missing is made again, and nothing else
    again = register_visits(table, out, visits="visit_month", by="rigid", labels="labels", workers=2)
    assert (again.new, again.before, again.failed) == (1, 1, 1)
    assert {path.name for path in times if path.stat().st_mtime_ns == times[path]} == {
        "a_b-12.nii.gz", "a_b-12_labels.nii.gz", "a_b-12_field.nii.gz"
    }  # fmt: skip
    with pytest.raises(RunError, match="another by"):
        register_visits(table, out, visits="visit_month", by="affine", labels="labels")
    swapped = table.assign(path=table["path"].replace({str(tmp_path / "c-12.nii.gz"): str(tmp_path / "a b-12.nii.gz")}))
    with pytest.raises(RunError, match="has c-12 of other images"):
        register_visits(swapped, out, visits="visit_month", by="rigid", labels="labels")


@pytest.mark.parametrize("by", ["affine", "demons"])
def test_itk_draws_by_the_field_what_is_written(tmp_path: Path, by: str) -> None:
    values = texture((30, 34, 18))
    moved = ndimage.shift(ndimage.rotate(values, 6, reshape=False, order=1), [1.5, 0, 0.5], order=1)
    write_volume(tmp_path / "fixed.nii.gz", values, oblique())
    # The moving file has its axes in another order, and one of them turned: the same places in the body.
    other = oblique()[:, [1, 0, 2, 3]] @ np.diag([1, -1, 1, 1.0])
    other[:3, 3] = (oblique() @ [29, 0, 0, 1])[:3]
    write_volume(tmp_path / "moving.nii.gz", moved.transpose(1, 0, 2)[:, ::-1], other)
    done = register_pair(tmp_path / "moving.nii.gz", tmp_path / "fixed.nii.gz", tmp_path / "out", by=by)
    row = pd.read_csv(done.path).iloc[0]
    fixed, moving = (sitk.ReadImage(str(tmp_path / f"{name}.nii.gz")) for name in ("fixed", "moving"))
    field = sitk.ReadImage(str(done.fields / "moving_field.nii.gz"), sitk.sitkVectorFloat64)
    drawn = sitk.GetArrayFromImage(
        sitk.Resample(moving, fixed, sitk.DisplacementFieldTransform(field), sitk.sitkLinear, float("nan"))
    ).T
    ours = read(done.path.parent / row["path"]).pixels[0]
    inside = np.isfinite(drawn)
    assert inside.mean() > 0.8 and np.abs(drawn - ours)[inside].max() < 0.02
    assert row["correlation_after"] > 0.99 > row["correlation_before"]


def test_pictures_lie_on_pictures_and_keep_their_depth(tmp_path: Path) -> None:
    values = texture((48, 40))
    scale = 250 / values.max()
    for name, each in (("fixed", values), ("moving", np.roll(values, (3, -2), (0, 1)))):
        Picture.fromarray(np.rint(each * scale).astype(np.uint8)).save(tmp_path / f"{name}.png")
    done = register_pair(tmp_path / "moving.png", tmp_path / "fixed.png", tmp_path / "out", by="rigid")
    row = pd.read_csv(done.path).iloc[0]
    assert row["path"].endswith("moving.png") and row["correlation_after"] > 0.999
    laid, fixed = (
        np.asarray(Picture.open(path)).astype(int) for path in (done.path.parent / row["path"], tmp_path / "fixed.png")
    )
    assert np.abs(laid - fixed)[6:-6, 6:-6].max() <= 8
    moved, _ = read_field(done.fields / "moving_field.nii.gz")
    assert np.allclose(np.median(moved, (0, 1)), [3, -2, 0], atol=0.05)  # a shift of whole pixels comes out


def test_between_contrasts_and_slices_and_what_does_not_suit(tmp_path: Path) -> None:
    values = texture((40, 44))
    write_volume(tmp_path / "t1.nii.gz", values[:, :, None], oblique())
    inverse = np.where(values > 20, 200 - np.roll(values, 2, 0), 0)
    write_volume(tmp_path / "t2.nii.gz", inverse[:, :, None], oblique())
    done = register_pair(
        tmp_path / "t2.nii.gz", tmp_path / "t1.nii.gz", tmp_path / "out", metric="mutual-information", start="rigid"
    )
    row = pd.read_csv(done.path).iloc[0]
    assert row["mutual_information_after"] > 1.2 * row["mutual_information_before"]
    write_volume(tmp_path / "volume.nii.gz", texture((20, 20, 16)), oblique())
    bad = register_pair(tmp_path / "volume.nii.gz", tmp_path / "t1.nii.gz", tmp_path / "bad")
    assert bad.failed == 1 and "register like with like" in bad.errors.read_text()
    write_volume(tmp_path / "empty.nii.gz", np.zeros((20, 20, 16)), oblique())
    empty = register_pair(tmp_path / "empty.nii.gz", tmp_path / "volume.nii.gz", tmp_path / "empty")
    assert empty.failed == 1 and "one value" in empty.errors.read_text()
    with pytest.raises(AnomalyError, match="by is 'syn'; expected rigid, affine, demons, or the run folder"):
        register_pair(tmp_path / "t2.nii.gz", tmp_path / "t1.nii.gz", tmp_path / "out", by="syn")
    with pytest.raises(AnomalyError, match="the seed is -1; expected 0 or more"):
        register_pair(tmp_path / "t2.nii.gz", tmp_path / "t1.nii.gz", tmp_path / "out", seed=-1)


def test_the_left_side_comes_to_lie_on_the_right_one(tmp_path: Path) -> None:
    values = texture((20, 26, 22))
    right, left = np.diag([2.0, 1.5, 1.5, 1.0]), np.diag([2.0, 1.5, 1.5, 1.0])
    right[0, 3], left[0, 3] = 60, -60 - 2.0 * 19
    write_volume(tmp_path / "R.nii.gz", values, right)
    write_volume(tmp_path / "L.nii.gz", ndimage.shift(values[::-1], [0, 2, 1], order=1), left)
    rows = [{"id": f"s1{side}", "path": str(tmp_path / f"{side}.nii.gz"), "subject": "s1", "side": word}
            for side, word in (("R", "right"), ("L", "left"))]  # fmt: skip
    done = register_sides(pd.DataFrame(rows), tmp_path / "out", by="rigid")
    row = pd.read_csv(done.path).iloc[0]
    assert row["id"] == "s1L" and row["baseline_id"] == "s1R" and row["side"] == "left"
    laid = read(done.path.parent / row["path"]).pixels[0]
    assert np.corrcoef(laid.ravel(), values.ravel())[0, 1] > 0.98 and row["folded"] == 0
    # The field takes a point of the right side to one of the left side's own file.
    fixed, moving = (sitk.ReadImage(str(tmp_path / f"{name}.nii.gz")) for name in "RL")
    field = sitk.ReadImage(str(done.fields / "s1L_field.nii.gz"), sitk.sitkVectorFloat64)
    drawn = sitk.Resample(moving, fixed, sitk.DisplacementFieldTransform(field), sitk.sitkLinear, float("nan"))
    drawn = sitk.GetArrayFromImage(drawn).T
    assert np.nanmax(np.abs(drawn - laid)) < 0.02
    with pytest.raises(CohortError, match=r"neither left nor right \(middle\)"):
        register_sides(pd.DataFrame(rows).assign(side="middle"), tmp_path / "other")


def test_images_that_stand_in_no_pair_of_sides_are_named() -> None:
    cells = [
        ("a", "left", "m0"), ("a", "right", "m0"), ("a", "left", "m12"), ("b", None, "m0"), ("b", "R", "m0"),
        ("c", "l", "m0"), ("c", "L", "m0"), ("c", "r", "m0"), ("d", "left", None), ("d", "right", None),
        ("e", "both", "m0"), ("f", "OS", "m0"), ("f", "od", "m0"),
    ]  # fmt: skip
    table = pd.DataFrame(cells, columns=["subject", "side", "visit"])
    names = [f"{person}{number}" for number, person in enumerate(table["subject"])]
    jobs, left_out = jobs_of_sides(
        table.assign(id=names, path=[f"/x/{name}.nii" for name in names]), None, None, "right"
    )
    assert list(zip(jobs["id"], jobs["baseline_id"], strict=True)) == [("a0", "a1"), ("f11", "f12")]
    assert dict(zip(left_out["id"], left_out["reason"], strict=True)) == {
        "a2": "its other side is not there at its visit", "b3": "its side is not told",
        "b4": "its other side is not there at its visit",
        **dict.fromkeys(["c5", "c6"], "2 images are of the left side at one visit; keep one of each"),
        "c7": "its other side is not there at its visit",
        **dict.fromkeys(["d8", "d9"], "its visit is not told"), "e10": "its side is neither left nor right (both)",
    }  # fmt: skip


def test_what_lies_beside_images_is_told_and_has_to_stay(tmp_path: Path) -> None:
    values = texture((40, 44))
    for name, shift in (("a-0", 0), ("a-1", 2), ("b-0", 0), ("b-1", 1)):
        write_volume(tmp_path / f"{name}.nii.gz", np.roll(values, shift, 0)[:, :, None], np.eye(4))
        write_volume(
            tmp_path / f"{name}-mask.nii.gz", (np.roll(values, shift, 0) > 20)[:, :, None].astype(float), np.eye(4)
        )
        write_volume(tmp_path / f"{name}-map.nii.gz", np.roll(values, shift, 0)[:, :, None] / 200, np.eye(4))
    names = ["a-0", "a-1", "b-0", "b-1"]
    table = pd.DataFrame({"id": names, "subject": [name[0] for name in names], "visit": [0, 1, 0, 1]})
    for column, end in (("path", ""), ("own", "-mask"), ("map", "-map"), ("other", "-map")):
        table[column] = [str(tmp_path / f"{name}{end}.nii.gz") for name in names]
    table.loc[2, "own"] = ""
    asked: dict[str, Any] = {"unit": "years", "by": "rigid"}
    done = register_visits(table, tmp_path / "out", mask="own", maps="map", **asked)
    row = pd.read_csv(done.path).iloc[0]
    assert (done.new, done.unpaired) == (1, 2) and row["id"] == "a-1"
    told = [row[name] for name in ("mask", "moving_mask", "baseline_map", "moving_map")]
    assert told == [str(tmp_path / f"a-{end}.nii.gz") for end in ("0-mask", "1-mask", "0-map", "1-map")]
    assert row["map"].endswith("a-1_map.nii.gz") and row["registered_mask"].endswith("a-1_mask.nii.gz")
    assert set(pd.read_csv(done.left_out)["reason"]) == {
        "it has no mask", "there is no other visit that it could be compared with"
    }  # fmt: skip
    with pytest.raises(RunError, match="has a-1 with another mask"):
        register_visits(table, tmp_path / "out", mask="other", maps="map", **asked)


def test_a_template_of_moved_copies_lies_in_their_middle(tmp_path: Path) -> None:
    values, affine = texture((40, 44)), np.diag([1.5, 1.5, 1.0, 1.0])
    for number, move in enumerate([(0, 0), (4, 0), (0, -4), (-1, 1)]):
        write_volume(tmp_path / "images" / f"{number}.nii.gz", np.roll(values, move, (0, 1))[:, :, None], affine)
    (tmp_path / "images" / "x.nii.gz").write_bytes(b"nothing")
    done = register_template(tmp_path / "images", tmp_path / "out", rounds=1, by="rigid", metric="correlation")
    assert (done.new, done.failed) == (4, 1)
    template = read(tmp_path / "out" / "template.nii.gz")
    found = ndimage.center_of_mass(template.pixels[0] > 0.2)
    place = (template.affine @ [*found, 0, 1])[:2] / 1.5
    own = np.array(ndimage.center_of_mass(values > 0.2 * values.max()))
    assert np.allclose(place - own, [0.75, -0.75], atol=0.3)  # the mean of the moves
    moved = [read_field(path)[0] for path in sorted(done.fields.glob("?_field.nii.gz"))]
    assert np.abs(np.mean(moved, axis=0)[8:-8, 8:-8]).max() < 0.3
    again = register_template(tmp_path / "images", tmp_path / "out", rounds=1, by="rigid", metric="correlation")
    assert (again.new, again.before) == (0, 4)
    with pytest.raises(RunError, match="another onto and rounds"):
        register_template(tmp_path / "images", tmp_path / "out", template=tmp_path / "images" / "0.nii.gz", by="rigid")
    left_out = pd.read_csv(tmp_path / "out" / "left_out.csv")
    assert list(left_out["id"]) == ["x"] and "takes no part in the template" in left_out["reason"][0]
    with pytest.raises(CohortError, match="of 1 images 0 can be used; a template is the mean of 2 or more"):
        register_template(tmp_path / "images" / "0.nii.gz", tmp_path / "one", by="rigid")


@pytest.mark.parametrize("metric", ["correlation", "mutual-information"])
def test_images_that_show_nothing_take_no_part_in_a_template(tmp_path: Path, metric: str) -> None:
    values = texture((40, 44))
    for name, each in (("a", 0 * values), ("b", values), ("c", np.roll(values, 2, 0)), ("d", np.roll(values, -2, 1))):
        write_volume(tmp_path / "images" / f"{name}.nii.gz", each[:, :, None], np.eye(4))
    write_volume(tmp_path / "images" / "e.nii.gz", texture((14, 14, 12)), np.eye(4))
    done = register_template(tmp_path / "images", tmp_path / "out", rounds=1, by="rigid", metric=metric)
    assert (done.new, done.failed, done.unpaired) == (3, 2, 2)
    told = pd.read_csv(tmp_path / "out" / "template.csv", keep_default_na=False)
    assert list(told.loc[told["reason"] == "", "id"]) == ["b", "c", "d"]
    assert "one value wherever it counts" in told["reason"][0] and "has 3 axes" in told["reason"][4]
    assert list(pd.read_csv(done.left_out)["id"]) == ["a", "e"]


def test_a_template_is_made_once_the_settings_agree_and_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = texture((30, 34))
    for name, move in (("a", 0), ("b", 2)):
        write_volume(tmp_path / "images" / f"{name}.nii.gz", np.roll(values, move, 0)[:, :, None], np.eye(4))

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    asked: dict[str, Any] = {"rounds": 1, "by": "rigid"}
    with monkeypatch.context() as stopped:
        stopped.setattr("anomaly.registration.template.write_volume", stop)
        with pytest.raises(KeyboardInterrupt):
            register_template(tmp_path / "images", tmp_path / "out", **asked)
    assert (tmp_path / "out" / "template.csv").exists() and not (tmp_path / "out" / "template.nii.gz").exists()
    with pytest.raises(RunError, match="another metric"):  # before anything is made
        register_template(tmp_path / "images", tmp_path / "out", metric="mutual-information", **asked)
    assert not (tmp_path / "out" / "template.nii.gz").exists()
    assert register_template(tmp_path / "images", tmp_path / "out", **asked).new == 2
    write_volume(tmp_path / "mine" / "template.nii.gz", values[:, :, None], np.eye(4))
    with pytest.raises(RunError, match="was not made by this command"):
        register_template(tmp_path / "images", tmp_path / "mine", **asked)


def test_pairs_wait_for_memory_and_a_large_one_works_alone() -> None:
    image = Image(np.zeros((1, 10, 10), dtype=np.float32), np.eye(4), Path("a.nii"), "nifti")
    room, seen = Room(total=2.5 * BYTES * 100), []

    def work(large: bool) -> None:
        with room.of(image, replace(image, pixels=np.zeros((1, 20, 20))) if large else image):
            seen.append(room.taken / (BYTES * 100))
            sleep(0.01)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, [False] * 6 + [True] + [False] * 6))
    assert max(seen) == 4 and sorted(set(seen)) in ([1, 2, 4], [2, 4], [1, 4]) and room.taken == 0


def test_a_template_of_deformed_copies_has_their_mean_shape(tmp_path: Path) -> None:
    """One person, deformed one way and the other: their template is the person, whichever of them it began with."""
    values, affine = texture((48, 48)), np.diag([1.0, 1.0, 1.0, 1.0])
    along = np.indices((48, 48))[0] - 23.5
    wave = np.zeros((2, 48, 48))
    wave[0] = 2.5 * np.sin(along / 48 * 2 * np.pi) * np.cos((np.indices((48, 48))[1] - 23.5) / 48 * np.pi) ** 2
    for name, sign in (("a", 1), ("b", -1)):
        seen = ndimage.map_coordinates(values, np.indices((48, 48)) + sign * wave, order=3)
        write_volume(tmp_path / "images" / f"{name}.nii.gz", seen[:, :, None], affine)
    register_template(tmp_path / "images", tmp_path / "out", rounds=2, by="demons", start="rigid")
    template = read(tmp_path / "out" / "template.nii.gz")
    first = read(tmp_path / "images" / "a.nii.gz").pixels[0]

    def alike(one: np.ndarray, other: np.ndarray) -> float:
        return float(np.corrcoef(one[8:-8, 8:-8].ravel(), other[8:-8, 8:-8].ravel())[0, 1])

    places = np.linalg.inv(template.affine) @ affine
    there = np.tensordot(places[:2, :2], np.indices((48, 48)), 1) + places[:2, 3, None, None]
    shown = ndimage.map_coordinates(template.pixels[0], there, order=1)
    assert alike(shown, values) > 0.98 > alike(first, values)


def test_the_commands_say_what_was_done_and_what_failed(tmp_path: Path) -> None:
    table = visits(tmp_path)
    table.to_csv(tmp_path / "cohort.csv", index=False)
    asked = ["register", "visits", "--images", str(tmp_path / "cohort.csv"), "--visits", "visit_month", "--by", "rigid"]
    told = CliRunner().invoke(cli.commands, [*asked, "--out", str(tmp_path / "out"), "--workers", "1"])
    assert told.exit_code == 3 and "(2 new, 0 from before, 1 failed)" in told.output and "errors.csv" in told.output
    assert "1 images are left out: " in told.output
    wrong = CliRunner().invoke(cli.commands, [*asked, "--date", "day", "--out", str(tmp_path / "out")])
    assert wrong.exit_code != 0 and "no column 'day'" in str(wrong.exception)


def test_columns_beside_an_image_count_where_they_are_asked_for(tmp_path: Path) -> None:
    for visit in (0, 1):
        for kind, values in (
            ("image", np.random.default_rng(visit).integers(0, 255, (24, 24))),
            ("flags", np.eye(24) * 255),
        ):
            Picture.fromarray(values.astype(np.uint8)).save(tmp_path / f"{kind}{visit}.png")
    table = pd.DataFrame({"id": ["a0", "a1"], "path": ["image0.png", "image1.png"], "subject": "a", "visit": [0, 1]})
    beside = {"mask": ["flags0.png", "flags1.png"], "map": ["gone0.png", "gone1.png"], "simulated": 1}
    table.assign(**beside).to_csv(tmp_path / "cohort.csv", index=False)
    done = register_visits(tmp_path / "cohort.csv", tmp_path / "out", visits="visit", by="rigid", labels="mask")
    pairs = pd.read_csv(tmp_path / "out" / "pairs.csv")
    assert done.failed == 0 and pairs["labels"].notna().all()
    assert "map" not in pairs or pairs["map"].isna().all()  # a column that nobody asked for
