"""What scoring keeps of each map and file: right to the pixel, gone on with, shared out, and never in the way."""

import json
import os
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import PIL.Image
import pytest
from studies import SIDE, SOLID, pictures, trained, volumes

from anomaly.cohorts.grid import CELLS, GRID, read_grid
from anomaly.images import read
from anomaly.images.preprocessing import Preprocessing
from anomaly.runs.run import Run
from anomaly.scoring.grid import cell_means, intensities
from anomaly.scoring.score import score

PLAIN = {"heatmaps": ["none"], "device": "cpu", "workers": 2, "batch": 3}


@pytest.fixture(scope="module")
def normals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pictures(tmp_path_factory.mktemp("normals"), 60)


@pytest.fixture(scope="module")
def run(normals: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(normals, tmp_path_factory.mktemp("run") / "mean").folder


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pictures(tmp_path_factory.mktemp("images"), 8, name="i", side=20)


@pytest.fixture(scope="module")
def scored(run: Path, images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an uninterrupted scoring leaves; not to be changed."""
    return score(run, images, tmp_path_factory.mktemp("scored") / "out", **PLAIN).path.parent


def cells(folder: Path) -> pd.DataFrame:
    found = read_grid(folder)
    assert found is not None and list(found) == list(GRID.columns[1:])
    return found.sort_index()


# The numbers


def test_cells_of_whole_pixels_are_their_means():
    maps = np.random.default_rng(0).normal(size=(5, 1, 16, 24)).astype(np.float32)
    np.testing.assert_allclose(cell_means(maps), maps.reshape(5, 8, 2, 8, 3).mean((2, 4)), atol=1e-6)


@pytest.mark.parametrize("space", [(12, 13), (5, 8), (1, 3), (64, 100)])
def test_cells_share_pixels_by_area_at_any_size(space):
    maps = np.random.default_rng(1).normal(size=(3, 1, *space)).astype(np.float32)
    found = cell_means(maps)
    assert found.shape == (3, 8, 8)
    np.testing.assert_allclose(found.mean((1, 2)), maps.mean((1, 2, 3)), atol=1e-6)
    fine = np.repeat(np.repeat(maps[:, 0], 8, axis=1), 8, axis=2)
    by_hand = fine.reshape(3, 8, space[0], 8, space[1]).mean((2, 4))
    np.testing.assert_allclose(found, by_hand, atol=1e-6)


def test_volumes_are_averaged_over_their_first_axis_before():
    maps = np.random.default_rng(2).normal(size=(2, 1, 5, 16, 8)).astype(np.float32)
    np.testing.assert_allclose(cell_means(maps), cell_means(maps.mean(axis=2)), atol=1e-6)


def test_border_and_mean_intensity_are_counted_by_hand():
    picture = np.full((1, 16, 24), 10.0, np.float32)
    picture[:, 2:-2, 3:-3] = 40
    inside = 12 * 18
    assert intensities(picture) == (10.0, pytest.approx((10 * (16 * 24 - inside) + 40 * inside) / (16 * 24)))
    volume = np.zeros((2, 8, 8, 1), np.float32)  # one slice has no outside
    volume[:, 1:-1, 1:-1] = 7
    assert intensities(volume) == (0.0, pytest.approx(7 * 36 / 64))
    assert intensities(np.full((1, 2, 2), 3, np.float32)) == (3.0, 3.0)


# The table


def test_one_row_an_image_of_its_map_and_its_file(scored, run, images):
    table, opened = cells(scored), Run.open(run)
    assert list(table.index) == [f"i{i:03d}" for i in range(8)]
    assert (scored / "grid.csv").read_text().splitlines()[0] == ",".join(GRID.columns)
    for name, row in table.iterrows():
        image = read(images / f"{name}.png")
        prepared = opened.preprocessing.apply(image).pixels
        expected = cell_means(opened.judge(prepared).map.numpy())[0]
        np.testing.assert_allclose(row[list(CELLS)].to_numpy(float), expected.ravel(), rtol=1e-4, atol=1e-5)
        assert (row["size_1"], row["size_2"]) == (20, 20) and np.isnan(row["size_3"])
        assert row["mean_intensity"] == pytest.approx(image.pixels.mean())
        edge = np.ones((20, 20), bool)
        edge[2:-2, 2:-2] = False
        assert row["border_intensity"] == pytest.approx(image.pixels[0][edge].mean())


def test_a_volume_and_its_slices_and_several_runs_have_one_row(normals, run, images, tmp_path):
    solid = volumes(tmp_path / "normals", 24)
    whole = trained(solid, tmp_path / "whole", preprocessing=SOLID).folder
    sliced = trained(solid, tmp_path / "sliced", preprocessing=Preprocessing(dims=2, size=8)).folder
    cases = volumes(tmp_path / "cases", 2, name="w", space=(6, 9, 10))
    for folder, shape in ((whole, (1, 1, 8, 8, 8)), (sliced, (10, 1, 8, 8))):
        out = score(folder, cases, tmp_path / f"out_{folder.name}", **PLAIN).path.parent
        row, opened = cells(out).loc["w001"], Run.open(folder)
        maps = opened.judge(opened.preprocessing.apply(read(cases / "w001.nii.gz")).pixels).map.numpy()
        assert maps.shape == shape
        np.testing.assert_allclose(row[list(CELLS)], cell_means(maps).mean(0).ravel(), rtol=1e-4, atol=1e-5)
        assert list(row[["size_1", "size_2", "size_3"]]) == [6, 9, 10]
    other = trained(normals, tmp_path / "pca", "pca", settings={"components": 3}).folder
    alone = [cells(score(each, images, tmp_path / each.name, **PLAIN).path.parent) for each in (run, other)]
    both = cells(score([run, other], images, tmp_path / "both", **PLAIN).path.parent)
    np.testing.assert_allclose(both[list(CELLS)], sum(each[list(CELLS)] for each in alone) / 2, rtol=1e-4, atol=1e-4)


def test_ids_that_look_like_something_else_stay_names(run, tmp_path):
    folder = pictures(tmp_path / "images", 2, name="i")
    (folder / "i000.png").rename(folder / "NA.png")
    (folder / "i001.png").rename(folder / "007.png")
    assert set(cells(score(run, folder, tmp_path / "out", **PLAIN).path.parent).index) == {"NA", "007"}


# Again, and after a stop


def cut_line(out: Path) -> int:
    (out / "grid.csv").write_bytes((out / "grid.csv").read_bytes()[:-9])
    return 1


def drop_row(out: Path) -> int:
    lines = (out / "grid.csv").read_bytes().splitlines(keepends=True)
    (out / "grid.csv").write_bytes(b"".join(lines[:3] + lines[4:]))
    return 1


def drop_score(out: Path) -> int:
    """As a kill between the two leaves it: the row of the grid is there, that of the score not yet."""
    lines = (out / "scores.csv").read_bytes().splitlines(keepends=True)
    (out / "scores.csv").write_bytes(b"".join(lines[:-3]))
    return 3


@pytest.mark.parametrize("damage", [cut_line, drop_row, drop_score])
def test_only_what_is_missing_is_made_again_and_nothing_stands_twice(damage, scored, run, images, tmp_path):
    out = shutil.copytree(scored, tmp_path / "out")
    (out / "score.json").unlink()  # it names the run relative to the folder
    missing = damage(out)
    again = score(run, images, out, **PLAIN)
    assert (again.new, again.before) == (missing, 8 - missing)
    pd.testing.assert_frame_equal(cells(out), cells(scored), rtol=1e-4, atol=1e-5)
    assert sorted(pd.read_csv(out / "scores.csv")["id"]) == sorted(cells(out).index)


def test_a_second_call_leaves_the_file_as_it_is(scored, run, images, tmp_path):
    out = shutil.copytree(scored, tmp_path / "out")
    (out / "score.json").unlink()
    before = os.stat(out / "grid.csv")
    score(run, images, out, **PLAIN)
    after = os.stat(out / "grid.csv")
    assert (before.st_mtime_ns, before.st_ino) == (after.st_mtime_ns, after.st_ino)


def test_a_folder_that_an_older_version_began_goes_on_without(scored, run, images, tmp_path):
    out = shutil.copytree(scored, tmp_path / "out")
    (out / "score.json").unlink()
    (out / "grid.csv").unlink()
    more = shutil.copytree(images, tmp_path / "more")
    for path in more.iterdir():
        path.unlink()
    PIL.Image.fromarray(np.indices((SIDE, SIDE)).sum(0).astype(np.uint8)).save(more / "new.png")
    again = score(run, images, out, **PLAIN)
    assert (again.new, again.before) == (0, 8)
    assert score(run, more, out, **PLAIN).new == 1
    assert not (out / "grid.csv").exists() and len(pd.read_csv(out / "scores.csv")) == 9


def test_shards_joined_by_cat_are_the_whole_and_are_read_unjoined_as_well(scored, run, images, tmp_path):
    for i in (3, 1, 2):
        score(run, images, tmp_path / "parts", shard=(i, 3), **PLAIN)
    unjoined = cells(tmp_path / "parts")
    parts = sorted((tmp_path / "parts").glob("grid-*-of-3.csv"))
    assert [path.name for path in parts] == [f"grid-{i}-of-3.csv" for i in (1, 2, 3)]
    (tmp_path / "joined").mkdir()
    (tmp_path / "joined" / "grid.csv").write_bytes(b"".join(path.read_bytes() for path in parts))
    pd.testing.assert_frame_equal(cells(tmp_path / "joined"), unjoined)
    pd.testing.assert_frame_equal(unjoined, cells(scored), rtol=1e-4, atol=1e-5)


def test_what_cannot_be_read_has_no_row(run, images, tmp_path):
    folder = shutil.copytree(images, tmp_path / "images")
    (folder / "i003.png").write_bytes(b"")
    out = score(run, folder, tmp_path / "out", **PLAIN).path.parent
    assert len(cells(out)) == 7 and "i003" not in cells(out).index


def test_a_volume_turned_by_its_header_keeps_the_sizes_of_its_file(tmp_path):
    solid = volumes(tmp_path / "normals", 24)
    run = trained(solid, tmp_path / "run", preprocessing=SOLID).folder
    (tmp_path / "cases").mkdir()
    values = np.random.default_rng(0).integers(0, 255, (6, 9, 10)).astype(np.uint8)
    turned = np.array([[0, 1, 0, 0], [0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1.0]])
    nib.save(nib.Nifti1Image(values, turned), tmp_path / "cases" / "t.nii.gz")
    row = cells(score(run, tmp_path / "cases", tmp_path / "out", **PLAIN).path.parent).loc["t"]
    assert list(row[["size_1", "size_2", "size_3"]]) == [6, 9, 10]
    assert row["mean_intensity"] == pytest.approx(values.mean())
    assert "grid" not in json.loads((tmp_path / "out" / "score.json").read_text())
