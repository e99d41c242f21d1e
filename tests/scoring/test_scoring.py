"""Scoring: streamed, gone on with, shared out, and honest about what cannot be read."""

import csv
import errno
import gc
import json
import shutil
import threading
import time
import weakref
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import PIL.Image
import pytest
from looked_at import looked_at
from scipy import stats
from studies import FLAT, SIDE, SOLID, broken, call, pictures, table, trained, volumes

from anomaly import files
from anomaly.cohorts import tables
from anomaly.cohorts.tables import SCORES
from anomaly.errors import AnomalyError, CohortError, RunError
from anomaly.images import intake, read
from anomaly.images.preprocessing import Preprocessing
from anomaly.runs.calibration import capped, conformal_p
from anomaly.runs.run import Run
from anomaly.scoring import rows as making
from anomaly.scoring import score as scoring
from anomaly.scoring.score import score

COLUMNS = [
    "id", "subject", "path", "value", "z", "p_value", "flagged", "heatmap", "baseline_intensity", "baseline_mean_image",
    "unlike_p", "unlike",
]  # fmt: skip
PLAIN = {"heatmaps": ["none"], "device": "cpu", "workers": 2}


@pytest.fixture(scope="module")
def normals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pictures(tmp_path_factory.mktemp("normals"), 100)


@pytest.fixture(scope="module")
def runs(normals: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three runs over the same normals; the second prepares images in another way."""
    home = tmp_path_factory.mktemp("runs")
    larger = Preprocessing(size=16)
    return [
        trained(normals, home / "mean").folder,
        trained(normals, home / "pca", "pca", settings={"components": 4}, preprocessing=larger).folder,
        trained(normals, home / "intensity", "intensity").folder,
    ]


@pytest.fixture(scope="module")
def run(runs: list[Path]) -> Path:
    return runs[0]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pictures(tmp_path_factory.mktemp("images"), 11, name="i")


@pytest.fixture(scope="module")
def scored(run: Path, images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an uninterrupted scoring leaves; not to be changed."""
    return score(run, images, tmp_path_factory.mktemp("scored") / "out", batch=3, workers=2).path.parent


def state(folder: Path) -> dict[str, tuple[bytes, int]]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def contents(folder: Path) -> dict[str, bytes]:
    return {name: content for name, (content, _) in state(folder).items() if name.endswith("png")}


# What it says


def test_one_row_an_image_in_order_with_its_heatmap(scored, images):
    rows = pd.read_csv(scored / "scores.csv")
    assert list(rows.columns) == COLUMNS
    assert list(rows["id"]) == [f"i{i:03d}" for i in range(11)]
    assert list(rows["path"]) == [str(images / f"i{i:03d}.png") for i in range(11)]
    assert all(PIL.Image.open(scored / name).size[0] > 2 * SIDE for name in rows["heatmap"])
    assert not (scored / "errors.csv").exists() and not list(scored.rglob("*.part.*"))


def test_values_are_those_of_the_detector_and_p_is_counted_by_hand(scored, run):
    opened, rows = Run.open(run), table(scored / "scores.csv")
    calibration = opened.calibration.values
    assert len(calibration) == 20
    for row in rows.itertuples():
        pixels = FLAT.apply(read(Path(row.path))).pixels
        value = np.abs(pixels - opened.detector.net_.mean.numpy()).mean()
        assert row.value == pytest.approx(value, rel=1e-5)
        assert row.p_value == pytest.approx((1 + np.sum(calibration >= row.value)) / 21)
        assert row.flagged == (row.p_value <= 0.05)
        assert row.baseline_intensity == pytest.approx(pixels.mean(), abs=1e-6)
    np.testing.assert_allclose(rows["z"], opened.calibration.z(rows["value"].to_numpy()), rtol=1e-6)


@pytest.mark.parametrize("alpha", [0.04, 0.05, 0.5, 0.96])
def test_an_image_is_flagged_when_p_is_at_most_alpha(alpha, run, images, tmp_path):
    rows = table(score(run, images, tmp_path, alpha=alpha, **PLAIN).path)
    assert list(rows["flagged"]) == [int(p <= alpha) for p in rows["p_value"]]


def test_a_p_value_of_exactly_alpha_is_flagged(scored, run, images, tmp_path):
    before = table(scored / "scores.csv")
    alpha = float(before["p_value"].sort_values().iloc[5])
    rows = table(score(run, images, tmp_path, alpha=alpha, **PLAIN).path)
    assert rows.loc[rows["p_value"] == alpha, "flagged"].tolist() == [1] * (before["p_value"] == alpha).sum() != []
    assert list(rows["flagged"]) == [int(p <= alpha) for p in before["p_value"]]


@pytest.mark.parametrize("batch", [1, 4, 100])
def test_scores_do_not_depend_on_the_batch(batch, scored, run, images, tmp_path):
    rows, expected = table(score(run, images, tmp_path, batch=batch, **PLAIN).path), table(scored / "scores.csv")
    assert list(rows["id"]) == list(expected["id"])
    for column in ("value", "z", "p_value", "baseline_mean_image"):
        np.testing.assert_allclose(rows[column], expected[column], rtol=1e-5)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"alpha": 0}, "alpha must lie between 0 and 1"),
        ({"alpha": 1}, "alpha must lie between 0 and 1"),
        ({"heatmaps": ["jpeg"]}, "heatmaps are auto, nifti, png, dicom, none; got jpeg"),
        ({"heatmaps": []}, "got nothing"),
        ({"shard": (0, 3)}, "1 <= i <= N, got 0/3"),
        ({"shard": (4, 3)}, "1 <= i <= N, got 4/3"),
    ],
)
def test_settings_out_of_range_are_told_before_any_work(settings, told, run, images, tmp_path):
    with pytest.raises(AnomalyError, match=told) as caught:
        score(run, images, tmp_path / "out", **settings)
    assert caught.value.exit_code == 2 and not (tmp_path / "out").exists()


# Again, and after a stop


def test_a_second_call_touches_nothing(scored, run, images, tmp_path):
    out = shutil.copytree(scored, tmp_path / "out")
    (out / "score.json").unlink()  # it names the run relative to the folder
    score(run, images, out)
    before = state(out)
    again = score(run, images, out)
    assert (again.new, again.before, again.failed) == (0, 11, 0)
    assert state(out) == before


def damage_rows(out: Path) -> int:
    lines = (out / "scores.csv").read_bytes().splitlines(keepends=True)
    (out / "scores.csv").write_bytes(b"".join(lines[:3] + lines[6:]))
    return 3


def damage_last_line(out: Path) -> int:
    content = (out / "scores.csv").read_bytes()
    (out / "scores.csv").write_bytes(content[:-25])
    return 1


def damage_header(out: Path) -> int:
    (out / "scores.csv").write_bytes(b"id,subj")
    return 11


def damage_heatmap(out: Path) -> int:
    (out / "heatmaps" / "i004.png").unlink()
    (out / "heatmaps" / "i009.png").unlink()
    return 2


def damage_all(out: Path) -> int:
    (out / "scores.csv").unlink()
    return 11


@pytest.mark.parametrize("damage", [damage_rows, damage_last_line, damage_header, damage_heatmap, damage_all])
def test_only_what_is_missing_is_scored_again(damage, run, images, tmp_path, monkeypatch):
    out = score(run, images, tmp_path, batch=3, workers=2).path.parent
    expected, pictures_before = table(out / "scores.csv"), contents(out)
    missing = damage(out)
    again = score(run, images, out, batch=3, workers=2)
    assert (again.new, again.before) == (missing, 11 - missing)
    pd.testing.assert_frame_equal(table(out / "scores.csv"), expected, rtol=1e-6)
    assert contents(out) == pictures_before


def test_a_line_cut_inside_a_letter_is_dropped(run, tmp_path):
    folder = pictures(tmp_path / "Müller", 2, name="i")
    out = score(run, folder, tmp_path / "out", **PLAIN).path.parent
    expected = table(out / "scores.csv")
    content = (out / "scores.csv").read_bytes()
    (out / "scores.csv").write_bytes(content[: content.rindex("ü".encode()) + 1])
    assert score(run, folder, out, **PLAIN).new == 1
    pd.testing.assert_frame_equal(table(out / "scores.csv"), expected)


def test_a_full_disk_is_told_in_one_line_and_the_same_call_then_completes(run, images, tmp_path, monkeypatch):
    import cli
    from anomaly.commandline import exits

    written = []

    def full(*args, **kwargs):
        written.append(args[0])
        if len(written) > 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        return original(*args, **kwargs)

    original = making.write_heatmaps
    words = ["anomaly", "score", str(run), "--images", str(images), "--out", str(tmp_path), "--batch", "2"]
    monkeypatch.setattr("sys.argv", [*words, "--workers", "1", "--device", "cpu"])
    told: list[str] = []
    monkeypatch.setattr(exits, "tell", lambda error, text: told.append(text))
    with monkeypatch.context() as patch:
        patch.setattr(making, "write_heatmaps", full)
        with pytest.raises(SystemExit) as ended:
            cli.app()
    assert ended.value.code == 1
    assert told == [
        f"error: [Errno 28] No space left on device: '{tmp_path}'; what was done is kept, free the disk or mend the "
        "path and run the same command again"
    ]
    assert list(table(tmp_path / "scores.csv")["id"]) == ["i000", "i001", "i002", "i003"]
    with pytest.raises(SystemExit) as ended:
        cli.app()
    assert not ended.value.code
    assert list(pd.read_csv(tmp_path / "scores.csv")["id"]) == [f"i{i:03d}" for i in range(11)]


# What cannot be read


def test_files_that_cannot_be_used_are_named_and_all_others_scored(scored, run, images, tmp_path):
    folder = shutil.copytree(images, tmp_path / "images")
    bad = broken(folder)
    code, out, errors = call("score", run, "--images", folder, "--out", tmp_path / "out", "--heatmaps", "none")
    assert code == 3, errors
    assert f"(11 new, 0 from before, {len(bad)} unreadable)" in out
    assert f"{len(bad)} images could not be used; see {tmp_path / 'out' / 'errors.csv'}" in errors
    named = table(tmp_path / "out" / "errors.csv").set_index("id")
    assert set(named.index) == bad and list(named.columns) == ["path", "error"]
    told = {"empty": "is empty", "nan": "NaN", "constant": "all pixels have the value 7", "mixed": "holds 2 series"}
    for name, words in told.items():
        assert words.lower() in named.loc[name, "error"].lower()
    np.testing.assert_allclose(
        table(tmp_path / "out" / "scores.csv")["value"], table(scored / "scores.csv")["value"], rtol=1e-6
    )


def test_a_file_that_was_mended_is_scored_by_the_next_call(run, images, tmp_path):
    folder = shutil.copytree(images, tmp_path / "images")
    whole = (folder / "i003.png").read_bytes()
    (folder / "i003.png").write_bytes(whole[:50])
    first = score(run, folder, tmp_path / "out", **PLAIN)
    assert (first.new, first.failed) == (10, 1)
    (folder / "i003.png").write_bytes(whole)
    second = score(run, folder, tmp_path / "out", **PLAIN)
    assert (second.new, second.before, second.failed) == (1, 10, 0)
    assert not (tmp_path / "out" / "errors.csv").exists()


def test_a_file_that_a_table_names_but_is_gone_is_an_unreadable_image(run, images, tmp_path):
    rows = pd.DataFrame({"path": [images / "i000.png", images / "gone.png"]})
    assert score(run, rows, tmp_path, **PLAIN).failed == 1
    assert "no such file" in table(tmp_path / "errors.csv")["error"][0]


def test_an_image_of_another_size_is_named_where_a_run_keeps_sizes(normals, images, tmp_path):
    run = trained(normals, tmp_path / "run", preprocessing=Preprocessing(size=None)).folder
    folder = shutil.copytree(images, tmp_path / "images")
    pictures(folder, 2, name="wide", side=SIDE + 1)
    result = score(run, folder, tmp_path / "out", **PLAIN)
    assert (result.new, result.failed) == (11, 2)
    named = table(tmp_path / "out" / "errors.csv")
    assert list(named["id"]) == ["wide000", "wide001"]
    assert named["error"].str.contains(r"has shape \(1, 13, 13\) once prepared; expected \(1, 12, 12\)").all()


def test_where_nothing_can_be_read_all_are_named(run, tmp_path):
    bad = broken(tmp_path / "images")
    result = score(run, tmp_path / "images", tmp_path / "out", **PLAIN)
    assert (result.new, result.failed) == (0, len(bad))
    assert table(result.path).empty


# In shards


@pytest.mark.parametrize("shards", [3, 12])
def test_shards_joined_by_cat_are_the_whole(shards, run, images, tmp_path):
    folder = shutil.copytree(images, tmp_path / "images")
    broken(folder)
    whole = score(run, folder, tmp_path / "whole", **PLAIN).path.parent
    for i in reversed(range(1, shards + 1)):
        score(run, folder, tmp_path / "parts", shard=(i, shards), **PLAIN)
    for name in ("scores", "errors"):
        parts = sorted((tmp_path / "parts").glob(f"{name}-*-of-{shards}.csv"))
        joined = "".join(path.read_text() for path in parts)
        expected = (whole / f"{name}.csv").read_text()
        assert joined.splitlines()[0] == expected.splitlines()[0]
        assert joined.count("id,") == 1
        rows = [sorted(csv.reader(text.splitlines()[1:])) for text in (joined, expected)]
        assert [row[:3] for row in rows[0]] == [row[:3] for row in rows[1]]
        if name == "scores":
            got, right = (np.array([row[3:7] for row in part], dtype=float) for part in rows)
            np.testing.assert_allclose(got, right, rtol=1e-5)


def test_a_header_for_errors_comes_even_where_only_later_shards_have_some(run, tmp_path):
    folder = pictures(tmp_path / "images", 3, name="a")
    (folder / "d.png").write_bytes(b"")  # of the second shard, by the hash of its id
    for i in (1, 2):
        score(run, folder, tmp_path / "out", shard=(i, 2), **PLAIN)
    joined = "".join((tmp_path / "out" / f"errors-{i}-of-2.csv").read_text() for i in (1, 2)).splitlines()
    assert joined[0] == "id,path,error" and joined[1].startswith("d,") and len(joined) == 2


def test_shards_of_another_number_are_refused(run, images, tmp_path):
    score(run, images, tmp_path, shard=(1, 2), **PLAIN)
    with pytest.raises(RunError, match="another shards \\(2 there, 3 asked for\\); choose another --out"):
        score(run, images, tmp_path, shard=(1, 3), **PLAIN)


# Whom it may score, and where to


def test_subjects_of_the_training_are_refused_unless_allowed(run, normals, tmp_path):
    with pytest.raises(CohortError, match=r"100 subjects are in both .* or give --allow-overlap"):
        score(run, normals, tmp_path, **PLAIN)
    assert not list(tmp_path.iterdir())
    assert score(run, normals, tmp_path, allow_overlap=True, **PLAIN).new == 100


def test_images_of_the_training_are_refused_under_any_subject(run, normals, tmp_path):
    renamed = pd.DataFrame({"path": [normals / "n003.png"], "subject": ["somebody else"]})
    with pytest.raises(CohortError, match="knows 1 of these images"):
        score(run, renamed, tmp_path, **PLAIN)


def test_a_folder_with_scores_of_another_run_or_limit_is_refused(runs, images, tmp_path):
    score(runs[0], images, tmp_path, **PLAIN)
    with pytest.raises(RunError, match="holds scores made with another weights; choose another --out"):
        score(runs[1], images, tmp_path, **PLAIN)
    with pytest.raises(RunError, match="another alpha"):
        score(runs[0], images, tmp_path, alpha=0.1, **PLAIN)


def test_scores_of_other_images_with_the_same_names_are_not_taken_for_theirs(run, images, tmp_path):
    others = shutil.copytree(images, tmp_path / "others")
    score(run, images, tmp_path / "out", **PLAIN)
    with pytest.raises(RunError, match=r"has .*i000.png as i000, which now is .*others.*; choose"):
        score(run, others, tmp_path / "out", **PLAIN)


# Several runs


def test_an_ensemble_is_the_mean_of_z_calibrated_together(runs, images, tmp_path):
    rows = table(score(runs, images, tmp_path, **PLAIN).path)
    zs = ["z_1", "z_2", "z_3"]
    assert list(rows.columns) == COLUMNS[:8] + zs + COLUMNS[8:]
    singles = [table(score(run, images, tmp_path / run.name, **PLAIN).path) for run in runs]
    for name, single in zip(zs, singles, strict=True):
        np.testing.assert_allclose(rows[name], single["z"], rtol=1e-6)
    calibrations = [Run.open(run).calibration for run in runs]
    departures = [told.departure(own["value"].to_numpy()) for told, own in zip(calibrations, singles, strict=True)]
    np.testing.assert_allclose(rows["value"], np.mean(departures, axis=0), rtol=1e-6)
    values = [told.values for told in calibrations]
    # By hand: the image is ranked among the 20 normals under each run, quantile of the rank over 22, then averaged.
    for row, *own in zip(rows["p_value"], *(single["value"] for single in singles), strict=True):
        ranks = [stats.rankdata([*normal, new]) for normal, new in zip(values, own, strict=True)]
        means = np.mean([stats.norm.ppf(rank / 22) for rank in ranks], axis=0)
        assert row == pytest.approx((1 + np.sum(means[:-1] >= means[-1] - 1e-9)) / 21)
    joint = np.mean([stats.norm.ppf(stats.rankdata(each) / 21) for each in values], axis=0)
    np.testing.assert_allclose(rows["z"], capped(joint, rows["value"].to_numpy()), rtol=1e-6)


def test_an_ensemble_averages_its_maps_whatever_their_preparation(runs, images, tmp_path):
    order = [runs[0], runs[2], runs[1]]  # two that prepare alike, then one that does not
    kind = {"heatmaps": ["nifti"], "device": "cpu"}
    together = score(order, images, tmp_path / "all", **kind).path.parent
    apart = [score(run, images, tmp_path / run.name, **kind).path.parent for run in order]
    for i in range(3):
        name = f"heatmaps/i{i:03d}_anomaly.nii.gz"
        mean = np.mean([nib.load(folder / name).get_fdata() for folder in apart], axis=0)
        np.testing.assert_allclose(nib.load(together / name).get_fdata(), mean, atol=1e-4)


def test_runs_calibrated_on_different_subjects_are_no_ensemble(run, images, tmp_path):
    other = trained(pictures(tmp_path / "others", 30, name="o"), tmp_path / "run").folder
    with pytest.raises(RunError, match="were calibrated on different subjects"):
        score([run, other], images, tmp_path / "out", **PLAIN)


def test_the_same_run_twice_is_no_ensemble(run, images, tmp_path):
    copy = shutil.copytree(run, tmp_path / "copy")
    for twice in ([run, run], [run, copy]):
        with pytest.raises(RunError, match="the same run was given twice"):
            score(twice, images, tmp_path / "out", **PLAIN)


def test_no_run_at_all_is_told(images, tmp_path):
    with pytest.raises(RunError, match="no run was given"):
        score([], images, tmp_path / "out", **PLAIN)


# Heatmaps


@pytest.fixture(scope="module")
def solid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("solid")
    return trained(volumes(home / "normals", 24), home / "run", preprocessing=SOLID).folder


def test_heatmaps_are_made_in_the_kinds_asked_for(run, images, tmp_path):
    expected = {"none": [""], "nifti": ["_anomaly.nii.gz"], "png": [".png"], "auto": [".png"]}
    expected["nifti,png"] = ["_anomaly.nii.gz", ".png"]
    for kinds, endings in expected.items():
        out = score(run, images, tmp_path / kinds, heatmaps=kinds.split(","), device="cpu").path.parent
        names = table(out / "scores.csv")["heatmap"][0]
        assert names == ";".join(f"heatmaps/i000{ending}" for ending in endings if ending)
        made = {path.name for path in out.glob("heatmaps/*")}
        assert made == {f"i{i:03d}{ending}" for i in range(11) for ending in endings if ending}


def test_a_lesion_in_an_oblique_volume_is_shown_at_its_place(solid, tmp_path):
    """The source: 14 x 10 x 20 voxels of 1 x 2 x 0.7 mm, turned by 25 degrees, stored right to left."""
    turn = np.deg2rad(25)
    rotation = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = rotation @ np.diag([-1.0, 2.0, 0.7])
    affine[:3, 3] = [12.0, -30.0, 5.5]
    space = (14, 10, 20)
    normal = np.asarray(nib.load(tmp_path_of_normals(solid)).dataobj, dtype=np.float32)
    grid = np.meshgrid(*(np.linspace(0, 7, side).round().astype(int) for side in space), indexing="ij")
    values = normal[tuple(grid)]
    values[8:12, 6:9, 3:8] = values.max()
    (tmp_path / "images").mkdir()
    nib.save(nib.Nifti1Image(values, affine), tmp_path / "images" / "case.nii.gz")
    out = score(solid, tmp_path / "images", tmp_path / "out", device="cpu").path.parent
    row = table(out / "scores.csv").iloc[0]
    assert row["heatmap"] == "heatmaps/case_anomaly.nii.gz;heatmaps/case.png"
    map_ = nib.load(out / "heatmaps" / "case_anomaly.nii.gz")
    assert map_.shape == space and map_.get_data_dtype() == np.float32
    np.testing.assert_allclose(map_.affine, affine, atol=1e-5)
    peak = np.unravel_index(np.argmax(map_.get_fdata()), space)
    assert all(low <= at < high for at, low, high in zip(peak, (8, 6, 3), (12, 9, 8), strict=True)), peak
    inside = np.zeros(space, dtype=bool)
    inside[8:12, 6:9, 3:8] = True
    assert map_.get_fdata()[inside].mean() > 3 * np.abs(map_.get_fdata()[~inside]).mean()


def tmp_path_of_normals(run: Path) -> Path:
    return run.parent / "normals" / "v000.nii.gz"


def test_volumes_taken_slice_by_slice_get_maps_stacked_back(tmp_path):
    normals = volumes(tmp_path / "normals", 24, space=(8, 9, 10))
    run = trained(normals, tmp_path / "run", preprocessing=Preprocessing(dims=2, size=(8, 9), fit="crop")).folder
    images = volumes(tmp_path / "images", 2, name="w", space=(8, 9, 10))
    file = nib.load(images / "w001.nii.gz")
    values = np.asanyarray(file.dataobj).copy()
    values[2:5, 3:6, 6:8] = 255
    nib.save(nib.Nifti1Image(values, file.affine), images / "w001.nii.gz")
    out = score(run, images, tmp_path / "out", device="cpu", heatmaps=["nifti"]).path.parent
    map_ = nib.load(out / "heatmaps" / "w001_anomaly.nii.gz").get_fdata()
    assert map_.shape == (8, 9, 10)
    peak = np.unravel_index(np.argmax(map_), map_.shape)
    assert all(low <= at < high for at, low, high in zip(peak, (2, 3, 6), (5, 6, 8), strict=True)), peak
    opened, row = Run.open(run), table(out / "scores.csv").iloc[1]
    slices = opened.preprocessing.apply(read(images / "w001.nii.gz")).pixels
    assert slices.shape == (10, 1, 8, 9)
    assert row["value"] == pytest.approx(opened.judge(slices).value.mean().item(), rel=1e-5)
    np.testing.assert_allclose(map_, np.moveaxis(opened.judge(slices).map.numpy()[:, 0], 0, 2), atol=1e-4)


def test_a_volume_of_another_size_is_scored_on_its_own_grid(solid, tmp_path):
    images = volumes(tmp_path / "images", 1, name="x", space=(5, 11, 7))
    out = score(solid, images, tmp_path / "out", device="cpu", heatmaps=["nifti"]).path.parent
    assert nib.load(out / "heatmaps" / "x000_anomaly.nii.gz").shape == (5, 11, 7)


def test_a_picture_is_no_volume(solid, images, tmp_path):
    result = score(solid, images, tmp_path, **PLAIN)
    assert (result.new, result.failed) == (0, 11)
    assert table(tmp_path / "errors.csv")["error"].str.contains("is a 2D picture, but volumes are expected").all()


# What it costs


def test_memory_does_not_grow_with_the_number_of_images(run, tmp_path, monkeypatch):
    folder, workers, batch = pictures(tmp_path / "images", 300, name="m"), 2, 4
    alive, most, lock = weakref.WeakSet(), 0, threading.Lock()

    class Held:
        """Stands for the decoded pixels, and goes when they go."""

    def read_and_count(path: Path):
        nonlocal most
        image, held = original(path), Held()
        object.__setattr__(image, "held", held)
        with lock:
            alive.add(held)
            most = max(most, len(alive))
        return image

    original = intake.read
    monkeypatch.setattr(intake, "read", read_and_count)
    # Writing is what is slow, so that results pile up if anything lets them.
    monkeypatch.setattr(making, "write_heatmaps", lambda *arguments: time.sleep(0.004) or [])
    assert (
        score(run, folder, tmp_path / "out", heatmaps=["none"], device="cpu", workers=workers, batch=batch).new == 300
    )
    # Batches read ahead, the one being judged, those waiting to be written, and the one image that sized them.
    assert most <= batch * (making.AHEAD + 1 + making.AHEAD * workers + 1) + 1 < 100
    gc.collect()
    assert len(alive) == 0


def test_large_images_are_taken_a_few_at_a_time(run, images, tmp_path, monkeypatch):
    sizes = []

    def judge(self, prepared):
        sizes.append(len(prepared))
        return original(self, prepared)

    original = scoring.Ensemble.judge
    monkeypatch.setattr(scoring.Ensemble, "judge", judge)
    one = 2 * 4 * SIDE * SIDE  # float32, once as stored and once prepared
    monkeypatch.setattr(intake, "BATCH_BYTES", 3 * one)
    score(run, images, tmp_path, **PLAIN)
    assert sizes == [3, 3, 3, 2]


def test_what_was_scored_with_what_is_written_down(scored, run):
    facts = json.loads((scored / "score.json").read_text())
    assert (scored / facts["runs"][0]).resolve() == run.resolve()
    assert facts["weights"] == [Run.open(run).identity]
    assert (facts["alpha"], facts["heatmaps"]) == (0.05, ["auto"])


def test_conformal_p_of_a_table_never_goes_below_its_smallest(run, images, tmp_path):
    PIL.Image.fromarray(np.indices((SIDE, SIDE)).sum(0).astype(np.uint8) % 2 * 255).save(tmp_path / "chess.png")
    rows = table(score(run, pd.DataFrame({"path": [tmp_path / "chess.png"]}), tmp_path / "out", **PLAIN).path)
    calibration = Run.open(run).calibration.values
    assert rows["p_value"][0] == pytest.approx(1 / 21)
    assert conformal_p(calibration, np.array([np.inf]))[0] == 1 / 21
    assert rows["flagged"][0] == 1


def test_what_was_done_is_shown_in_five_lines(run, images, tmp_path):
    folder, out = shutil.copytree(images, tmp_path / "images"), tmp_path / "<script>"
    first = score(run, folder, out, alpha=0.4, device="cpu", workers=2)
    (folder / "empty.png").write_bytes(b"")
    again = score(run, folder, out, alpha=0.4, device="cpu", workers=2)
    flagged = int(table(out / "scores.csv")["flagged"].sum())
    assert 0 < flagged < 11 and (first.flagged, again.flagged) == (flagged, flagged)
    shutil.rmtree(out)
    assert looked_at(first) == {
        "": "11 images new, 0 from before, 0 unreadable",
        "flagged": f"{flagged} of 11, with a p of at most 0.4; {first.unlike}",
        "table": str(out / "scores.csv"),
        "heatmaps": str(out / "heatmaps"),
    }
    assert looked_at(again)[""] == "0 images new, 11 from before, 1 unreadable"
    assert looked_at(again)["errors"] == str(out / "errors.csv")


def test_flagged_are_counted_among_the_images_of_the_call_alone(run, images, tmp_path):
    shards = [score(run, images, tmp_path / "out", shard=(i, 3), alpha=0.4, **PLAIN) for i in (1, 2, 3)]
    flags = [int(line.split(",")[6]) for each in shards for line in each.path.read_text().splitlines() if "i0" in line]
    assert sum(each.flagged for each in shards) == sum(flags) > 0 and len(flags) == 11
    assert shards[0].heatmaps is None and looked_at(shards[0])["heatmaps"] == "none"
    all_ = score(run, images, tmp_path / "all", alpha=0.4, **PLAIN)
    one = table(all_.path).query("flagged == 1")["path"].iloc[0]
    here = score(run, pd.DataFrame({"path": [one]}), tmp_path / "all", alpha=0.4, **PLAIN)
    assert (here.new, here.before, here.flagged) == (0, 1, 1) and all_.flagged > 1


def test_of_shards_that_begin_at_once_with_other_settings_one_is_refused(tmp_path, monkeypatch):
    def at_once(alpha):
        return tables.GrowingTable(SCORES, tmp_path, settings={"alpha": alpha}, columns=[], shard=(1, 2))

    def meanwhile(path, content):
        with monkeypatch.context() as patch:
            patch.setattr(tables, "write_first", files.write_first)
            at_once(0.1)
        return files.write_first(path, content)

    monkeypatch.setattr(tables, "write_first", meanwhile)
    with pytest.raises(RunError, match=r"another alpha \(0\.1 there, 0\.05 asked for\)"):
        at_once(0.05)
    assert json.loads((tmp_path / "score.json").read_text()) == {"alpha": 0.1}
    assert not list(tmp_path.glob(".*"))


def test_an_image_whose_id_changed_stays_in_the_table_of_the_shard_it_was_in(tmp_path):
    def shard(number, shards=2):
        return tables.GrowingTable(SCORES, tmp_path, settings={"alpha": 0.1}, columns=[], shard=(number, shards))

    def image(name, path):
        return {**dict.fromkeys(SCORES.first, ""), "id": name, "path": path}

    with shard(1) as first, shard(2) as second:
        first.add([image("x", "a/x.png")])
        second.add([image("y", "a/y.png"), image("cut", "a/cut.png")])
    (tmp_path / "scores-2-of-2.csv").write_bytes((tmp_path / "scores-2-of-2.csv").read_bytes()[:-2])
    renamed = [image("x_png", "a/x.png"), image("x_jpg", "a/x.jpg"), image("y_png", "a/y.png"), image("c", "a/cut.png")]
    assert [row["id"] for row in shard(1).left(renamed)] == ["x_jpg", "c"]
    assert [row["id"] for row in shard(2).left(renamed)] == ["x_jpg", "c"]
