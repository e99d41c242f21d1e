"""Images restored as they are: on the right grid, in their own values, marked as drawn; only what is missing."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image as Pillow
from poor import TINY, blobs, pictures, volume, volumes

from anomaly import learn
from anomaly.errors import CohortError, RunError
from anomaly.images.preprocessing import Preprocessing
from anomaly.restoration.restoring import restore
from anomaly.restoration.writing import SAYS
from anomaly.restorers.learning import learn_restorer
from anomaly.restorers.run import RestorerRun
from anomaly.training.machine import Machine

CPU = Machine(device="cpu")
RANGE = Preprocessing(intensity="range")


def trained(place: Path, images: Path, degrade: str, preprocessing: Preprocessing = RANGE, **settings: object) -> Path:
    asked = {**TINY, "window": 0, "steps": 2, **settings}
    return learn_restorer(
        images, place, degrade=degrade, settings=asked, preprocessing=preprocessing, machine=CPU
    ).folder  # fmt: skip


@pytest.fixture(scope="module")
def finer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("finer")
    return trained(place / "run", pictures(place / "images"), "downsample", factor=2)


@pytest.mark.parametrize("depth", [8, 16])
def test_a_picture_grows_keeps_its_depth_and_says_that_it_was_drawn(finer: Path, tmp_path: Path, depth: int) -> None:
    table = pictures(tmp_path / "poor", count=2, side=20, depth=depth)
    done = restore(finer, table.parent, tmp_path / "out", device="cpu", allow_overlap=True)
    found = pd.read_csv(done.path)
    assert list(found["files"]) == ["images/p00_restored.png", "images/p01_restored.png"]
    with Pillow.open(done.path.parent / found["files"][0]) as picture:
        assert picture.size == (40, 40)
        assert picture.text["Description"] == SAYS
        drawn = np.asarray(picture).astype(float)
    with Pillow.open(tmp_path / "poor" / "p00.png") as picture:
        poor = np.asarray(picture).astype(float)
    assert drawn.max() > 255 if depth == 16 else drawn.max() <= 255
    lifted = torch.nn.functional.interpolate(torch.from_numpy(poor)[None, None], scale_factor=2, mode="bilinear")[0, 0]
    assert np.abs(drawn - lifted.numpy()).max() < 0.1 * (2**depth)  # two steps have taught it little
    told = json.loads((tmp_path / "out" / "restore.json").read_text())
    assert told["run"] == RestorerRun.open(finer).identity
    assert "Downsample" in told["undoes"]


def test_a_second_call_does_what_is_missing_alone(finer: Path, tmp_path: Path) -> None:
    images = pictures(tmp_path / "poor", count=3).parent
    (images / "broken.png").write_bytes(b"no picture")
    first = restore(finer, images, tmp_path / "out", device="cpu", allow_overlap=True)
    assert (first.new, first.before, first.failed) == (3, 0, 1)
    assert "broken" in first.errors.read_text()
    (tmp_path / "out" / "images" / "p01_restored.png").unlink()
    second = restore(finer, images, tmp_path / "out", device="cpu", allow_overlap=True)
    assert (second.new, second.before, second.failed) == (1, 2, 1)
    with pytest.raises(RunError, match="made with another degraded"):
        restore(finer, images, tmp_path / "out", degrade=True, device="cpu", allow_overlap=True)


def test_people_of_the_training_are_refused_unless_asked_for(finer: Path, tmp_path: Path) -> None:
    with pytest.raises(CohortError, match=r"11 subjects are in both.*give --allow-overlap"):
        restore(finer, finer.parent / "images" / "cohort.csv", tmp_path / "out", device="cpu")


def test_made_poor_first_it_comes_back_on_the_grid_of_the_source(finer: Path, tmp_path: Path) -> None:
    images = pictures(tmp_path / "good", count=2, side=21).parent
    done = restore(finer, images, tmp_path / "out", degrade=True, device="cpu", allow_overlap=True)
    with Pillow.open(done.images / "p00_restored.png") as picture:
        assert picture.size == (20, 20)  # without what is left over beyond whole steps
        drawn = np.asarray(picture).astype(float)
    expected = (blobs(0, 21, 21)[:20, :20] * 255).astype(np.uint8)
    assert np.abs(drawn - expected).mean() < 12


def test_colours_are_restored_by_their_luminance_or_in_three_channels(finer: Path, tmp_path: Path) -> None:
    values = np.stack([blobs(k, 16, 16) for k in range(3)], -1)
    folder = tmp_path / "colours"
    folder.mkdir()
    for k in range(6):
        Pillow.fromarray((255 * np.roll(values, k, 0)).astype(np.uint8)).save(folder / f"c{k}.png")
    done = restore(finer, folder, tmp_path / "grey", device="cpu")
    with Pillow.open(done.images / "c0_restored.png") as picture:
        assert (picture.size, picture.mode) == ((32, 32), "RGB")
    three = Preprocessing(intensity="range", channels=3)
    run = trained(tmp_path / "run", folder, "downsample", three, factor=2)
    done = restore(run, folder, tmp_path / "three", device="cpu", allow_overlap=True)
    with Pillow.open(done.images / "c0_restored.png") as picture:
        assert (picture.size, picture.mode) == ((32, 32), "RGB")


@pytest.fixture(scope="module")
def sliced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("sliced")
    return trained(place / "run", volumes(place / "volumes"), "slices", Preprocessing(dims=3), factor=3)


def test_slices_are_drawn_between_those_that_are_there(sliced: Path, tmp_path: Path) -> None:
    """The slices that were measured keep their place in space and their values."""
    affine = np.array([[-2.0, 0, 0, 30], [0, 0, 2.0, -20], [0, -6.0, 0, 50], [0, 0, 0, 1]])  # LIA: slices along axis 1
    values = 1000 * blobs(7, 16, 8, 18)
    file = volume(tmp_path / "poor.nii.gz", values, affine)
    done = restore(sliced, file, tmp_path / "out", device="cpu")
    found = nib.load(done.images / "poor_restored.nii.gz")
    assert found.shape == (16, 24, 18)
    assert bytes(found.header["descrip"].tobytes()).rstrip(b"\0").decode() == SAYS
    assert np.allclose(found.header.get_zooms(), (2, 2, 2))
    back = np.linalg.inv(found.affine) @ affine  # from a measured voxel to where it lies now
    for index in ([0, 0, 0], [5, 3, 2], [15, 7, 17]):
        place = back @ [*index, 1]
        assert np.allclose(place, np.rint(place), atol=1e-4)
        x, y, z = np.rint(place[:3]).astype(int)
        assert found.get_fdata()[x, y, z] == pytest.approx(values[tuple(index)], abs=0.05)


def test_what_goes_beyond_the_percentiles_is_not_clipped(tmp_path: Path) -> None:
    folder = volumes(tmp_path / "volumes")
    run = trained(tmp_path / "run", folder, "noise", Preprocessing(dims=2), coarse=1, sigma=0.05)
    values = 1000 * blobs(3, 16, 18, 12)
    values[8, 9, 6] = 50_000.0
    file = volume(tmp_path / "metal.nii.gz", values, np.diag([-2.0, -2.0, 3.0, 1.0]))
    done = restore(run, file, tmp_path / "out", device="cpu")
    found = nib.load(done.images / "metal_restored.nii.gz")
    assert np.array_equal(found.affine, nib.load(file).affine)
    assert found.get_fdata()[8, 9, 6] > 45_000
    assert np.abs(found.get_fdata() - values).mean() < 100


def test_holes_are_filled_and_nothing_else_changes(tmp_path: Path) -> None:
    images = pictures(tmp_path / "images").parent
    run = trained(tmp_path / "run", images / "cohort.csv", "mask", block=6)
    holes = tmp_path / "holes"
    holes.mkdir()
    for k in range(12):
        with Pillow.open(images / f"p{k:02d}.png") as picture:
            mask = np.zeros(picture.size[::-1], dtype=np.uint8)
        mask[4:12, 6:14] = 255
        Pillow.fromarray(mask).save(holes / f"p{k:02d}_mask.png")
    done = restore(run, images, tmp_path / "out", holes=holes, device="cpu", allow_overlap=True)
    assert (done.new, done.failed) == (12, 0)
    with Pillow.open(done.images / "p00_restored.png") as drawn, Pillow.open(images / "p00.png") as before:
        change = np.asarray(drawn).astype(int) - np.asarray(before)
    assert (change[4:12, 6:14] != 0).mean() > 0.8
    change[4:12, 6:14] = 0
    assert (change == 0).all()
    bare = restore(run, images, tmp_path / "bare", device="cpu", allow_overlap=True)
    assert bare.failed == 12
    assert "give --holes" in bare.errors.read_text()


def test_a_hole_of_one_pixel_is_drawn_and_one_of_none_or_all_is_refused(tmp_path: Path) -> None:
    images, holes = pictures(tmp_path / "images", count=3, side=24).parent, tmp_path / "holes"
    run = trained(tmp_path / "run", images / "cohort.csv", "mask", block=6)
    holes.mkdir()
    for k, (hole, height) in enumerate([(np.s_[7:8, 9:10], 24), (np.s_[:0], 24), (np.s_[:], 33)]):
        mask = np.zeros((height, 24), np.uint8)
        mask[hole] = 255
        Pillow.fromarray(mask).save(holes / f"p{k:02d}_mask.png")
    done = restore(run, images, tmp_path / "out", holes=holes, device="cpu", allow_overlap=True)
    assert (done.new, done.failed) == (1, 2)
    told = done.errors.read_text()
    assert "p01.png: its hole is empty on the grid of the run: there is nothing to draw" in told
    assert "p02.png: its hole covers all of it: nothing is left of it to draw from" in told


def test_holes_mean_nothing_to_other_runs(finer: Path, tmp_path: Path) -> None:
    images = pictures(tmp_path / "images", count=2).parent
    holes = tmp_path / "holes"
    holes.mkdir()
    for k, height in ((0, 24), (1, 33)):
        Pillow.fromarray(np.full((height, 24), 255, np.uint8)).save(holes / f"p{k:02d}_mask.png")
    done = restore(finer, images, tmp_path / "out", holes=holes, device="cpu", allow_overlap=True)
    assert done.failed == 2
    assert "leave --holes out" in done.errors.read_text()


def test_a_detector_that_restores_draws_on_its_own_grid_and_keeps_that_of_the_image(tmp_path: Path) -> None:
    tiny = {"width": 4, "levels": 2, "steps": 2, "batch": 2, "noise_sigma": 0.1, "coarse": 3}
    learnt = learn(
        pictures(tmp_path / "images"), tmp_path / "run", method="restoration", settings=tiny, machine=CPU,
        preprocessing=Preprocessing(size=16, intensity="range"),
    )  # fmt: skip
    images = pictures(tmp_path / "poor", count=2, side=31).parent
    done = restore(learnt.folder, images, tmp_path / "out", device="cpu", allow_overlap=True)
    assert (done.new, done.failed) == (2, 0)
    with Pillow.open(done.images / "p00_restored.png") as drawn, Pillow.open(images / "p00.png") as before:
        assert drawn.size == before.size
        assert np.abs(np.asarray(drawn).astype(int) - np.asarray(before)).max() < 60
    assert "Noise" in json.loads((tmp_path / "out" / "restore.json").read_text())["undoes"]
    other = learn(
        pictures(tmp_path / "images"), tmp_path / "pca", method="pca", settings={"components": 2}, machine=CPU
    )
    with pytest.raises(RunError, match="is a run of pca, which restores nothing"):
        restore(other.folder, images, tmp_path / "no", device="cpu")


def test_channels_that_do_not_suit_and_runs_that_restore_nothing_are_named(sliced: Path, tmp_path: Path) -> None:
    file = tmp_path / "two.nii.gz"
    nib.save(nib.Nifti1Image(np.random.rand(8, 8, 6, 2).astype(np.float32), np.eye(4)), file)
    done = restore(sliced, file, tmp_path / "out", device="cpu")
    assert "has 2 channels; expected 1" in done.errors.read_text()
    with pytest.raises(RunError, match=r"holds no run\.json"):
        restore(tmp_path, file, tmp_path / "other", device="cpu")
