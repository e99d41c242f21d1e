"""Detectors as restorers: holes are filled and nothing else touched, each kind of degradation takes what it needs."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from poor import pictures, volume, volumes

from anomaly import learn
from anomaly.errors import RunError
from anomaly.images.preprocessing import Preprocessing
from anomaly.restoration.brushes import open_brush
from anomaly.restoration.restoring import Restored, restore
from anomaly.runs.run import Run
from anomaly.training.machine import Machine

TINY = {"width": 4, "levels": 2, "steps": 4, "batch": 2}
HOLE = (slice(6, 15), slice(9, 17))


def detector(place: Path, degradation: str, images: Path, size: int | None = 24, dims: int = 2, **own: object) -> Path:
    prepared = Preprocessing(size=size, dims=dims, intensity="range" if dims == 2 else "percentile")
    asked = {**TINY, "degradation": degradation, **own}
    return learn(
        images, place, method="restoration", settings=asked, preprocessing=prepared, machine=Machine(device="cpu")
    ).folder  # fmt: skip


@pytest.fixture(scope="module")
def filler(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("filler")
    return detector(place / "run", "mask", pictures(place / "images", side=24), block=6)


def poor(folder: Path, side: int, within: int | None = None) -> tuple[Path, np.ndarray]:
    """A picture whose hole has one value; and the picture."""
    table = pictures(folder, count=2, side=side)
    (folder / "p01.png").unlink()
    table.unlink()
    with Pillow.open(folder / "p00.png") as picture:
        values = np.array(picture)
    if within is not None:
        values[HOLE] = within
        Pillow.fromarray(values).save(folder / "p00.png")
    holes = np.zeros(values.shape, np.uint8)
    holes[HOLE] = 255
    (folder / "holes").mkdir()
    Pillow.fromarray(holes).save(folder / "holes" / "p00_mask.png")
    return folder, values


def filled(run: Path, images: Path, out: Path, holes: bool = True) -> Restored:
    return restore(
        run, images / "p00.png", out, holes=images / "holes" if holes else None, device="cpu", allow_overlap=True
    )


def test_a_hole_is_drawn_of_what_is_known_alone(filler: Path, tmp_path: Path) -> None:
    """On the detector's own grid: what it draws where it is told to, and the picture to the bit elsewhere."""
    images, values = poor(tmp_path / "poor", 24, within=255)
    done = filled(filler, images, tmp_path / "out")
    with Pillow.open(done.images / "p00_restored.png") as picture:
        drawn = np.asarray(picture)
    known = np.ones((24, 24), dtype=bool)
    known[HOLE] = False
    assert np.array_equal(drawn[known], values[known])
    x = torch.from_numpy(values / 127.5 - 1).float().masked_fill(~torch.from_numpy(known), 0.0)[None, None]
    run = Run.open(filler, device="cpu")
    expected = run.detector.restored(x, torch.from_numpy(known)[None, None])  # type: ignore[attr-defined]
    inside = (expected[0, 0].numpy() + 1) * 127.5
    assert np.abs(drawn[HOLE] - inside[HOLE]).max() <= 0.51


@pytest.mark.parametrize("side", [24, 40])
def test_what_is_in_a_hole_does_not_matter(filler: Path, tmp_path: Path, side: int) -> None:
    found = []
    for within in (0, 255):
        images, values = poor(tmp_path / f"{within}", side, within=within)
        done = filled(filler, images, tmp_path / f"{within} out")
        with Pillow.open(done.images / "p00_restored.png") as picture:
            found.append(np.asarray(picture))
        change = found[-1].astype(int) - values
        change[HOLE] = 0
        assert (change == 0).all()
    assert np.array_equal(*found)
    assert found[0][HOLE].std() > 0


def test_without_holes_nothing_is_filled(filler: Path, tmp_path: Path) -> None:
    images, _ = poor(tmp_path / "poor", 24)
    done = filled(filler, images, tmp_path / "out", holes=False)
    assert (done.new, done.failed) == (0, 1)
    assert "nothing says what of it is to be drawn; give --holes" in done.errors.read_text()


def test_holes_mean_nothing_to_a_detector_of_noise_which_changes_everything(tmp_path: Path) -> None:
    run = detector(tmp_path / "run", "noise", pictures(tmp_path / "normals"), noise_sigma=0.1, coarse=1)
    images, values = poor(tmp_path / "poor", 24)
    done = filled(run, images, tmp_path / "holes")
    assert "leave --holes out" in done.errors.read_text()
    done = filled(run, images, tmp_path / "out", holes=False)
    with Pillow.open(done.images / "p00_restored.png") as picture:
        drawn = np.asarray(picture)
    x = torch.from_numpy(values / 127.5 - 1).float()[None, None]
    expected = Run.open(run, device="cpu").detector.restored(x)  # type: ignore[attr-defined]
    assert np.abs(drawn - (expected[0, 0].numpy() + 1) * 127.5).max() <= 0.51


def test_slices_between_thin_ones_are_drawn_and_those_measured_kept(tmp_path: Path) -> None:
    folder = volumes(tmp_path / "volumes", space=(16, 16, 16))
    run = detector(tmp_path / "run", "slices", folder, size=16, dims=3, factor=2)
    source = nib.load(folder / "sub-00_T1w.nii.gz")
    holes = np.zeros(source.shape)
    holes[:, :, 1::2] = 1
    values = np.where(holes > 0, -500.0, source.get_fdata())
    file = volume(tmp_path / "poor" / "a.nii.gz", values, source.affine)
    volume(tmp_path / "holes" / "a_mask.nii.gz", holes, source.affine)
    done = restore(run, file, tmp_path / "out", holes=tmp_path / "holes", device="cpu", allow_overlap=True)
    drawn = nib.load(done.images / "a_restored.nii.gz").get_fdata()
    assert np.array_equal(drawn[:, :, ::2], values[:, :, ::2].astype(np.float32))
    assert np.abs(drawn[:, :, 1::2] - source.get_fdata()[:, :, 1::2]).mean() < 600  # and not -500


def test_a_run_with_masks_is_refused(tmp_path: Path) -> None:
    table = pictures(tmp_path / "images")
    for k in range(12):
        with Pillow.open(tmp_path / "images" / f"p{k:02d}.png") as picture:
            mask = np.full(picture.size[::-1], 255, dtype=np.uint8)
        (tmp_path / "masks").mkdir(exist_ok=True)
        Pillow.fromarray(mask).save(tmp_path / "masks" / f"p{k:02d}_mask.png")
    run = learn(
        table, tmp_path / "run", method="restoration", settings={**TINY, "noise_sigma": 0.1, "coarse": 3},
        machine=Machine(device="cpu"), mask=tmp_path / "masks", preprocessing=Preprocessing(size=16, intensity="range"),
    )  # fmt: skip
    with pytest.raises(RunError, match="was trained with masks, of which restoring makes nothing"):
        open_brush(run.folder, device="cpu")
