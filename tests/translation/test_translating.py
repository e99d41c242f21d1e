"""Translated images: on their own grid and in their own intensities, marked as drawn, and only what is missing."""

import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import PIL.Image
import pytest
import torch
from explained import CLASSIFIER, explaining, two_sides
from heaped import heap, translating, two_heaps
from studies import calling

from anomaly.cohorts.cohort import read_cohort
from anomaly.errors import CohortError, RunError
from anomaly.images import read
from anomaly.images.preprocessing import Preprocessing
from anomaly.images.redrawn import changed, write_redrawn
from anomaly.translation.run import TranslatorRun
from anomaly.translation.translating import translate
from explain.sides.sides import Sides


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> TranslatorRun:
    folder = tmp_path_factory.mktemp("heaps")
    return translating(two_heaps(folder), folder / "run")


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return heap(tmp_path_factory.mktemp("others"), "a", 3, first=50)


def test_a_picture_becomes_what_the_network_says(run: TranslatorRun, others: Path, tmp_path: Path) -> None:
    """Prepared at its own size and range: the file is the drawing itself, rounded."""
    done = translate(run.folder, others, tmp_path / "out", device="cpu")
    assert (done.new, done.before, done.failed) == (3, 0, 0)
    for path in others.iterdir():
        x = np.asarray(PIL.Image.open(path), dtype=np.float32)
        drawn = run.translator.translate(torch.from_numpy(x / 127.5 - 1)[None, None])[0, 0].numpy()
        written = PIL.Image.open(tmp_path / "out" / f"{path.stem}_translated.png")
        assert np.abs(np.asarray(written) - (drawn + 1) * 127.5).max() < 0.51
        assert written.info["Description"] == f"anomaly: drawn by cyclegan {run.identity[:12]}, not measured"
    row = pd.read_csv(done.path).iloc[0]
    assert row["change"] > 0 and 0 <= row["changed"] <= 1 and done.change > 0


def test_the_other_way_is_another_folder(run: TranslatorRun, others: Path, tmp_path: Path) -> None:
    there = translate(run.folder, others, tmp_path / "there", device="cpu")
    back = translate(run.folder, others, tmp_path / "back", back=True, device="cpu")
    assert there.change != back.change
    with pytest.raises(RunError, match=r"made with another back \(false there, true asked for\)"):
        translate(run.folder, others, tmp_path / "there", back=True, device="cpu")


def test_a_second_call_does_what_is_missing(run: TranslatorRun, others: Path, tmp_path: Path) -> None:
    first = translate(run.folder, others, tmp_path, device="cpu", batch=1)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    (tmp_path / "a051_translated.png").unlink()
    second = translate(run.folder, others, tmp_path, device="cpu", batch=32)
    assert (first.new, second.new, second.before) == (3, 1, 2)
    after = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert {name: after[name] for name in after if name.endswith(".png")} == {
        name: before[name] for name in before if name.endswith(".png")
    }


def test_what_is_drawn_is_a_cohort_to_go_on_with(run: TranslatorRun, others: Path, tmp_path: Path) -> None:
    done = translate(run.folder, others, tmp_path / "all" / "out", device="cpu")
    table = read_cohort(done.cohort)
    assert list(table["id"]) == ["a050", "a051", "a052"] and list(table["subject"]) == ["a050", "a051", "a052"]
    assert all(path.endswith("_translated.png") for path in table["path"])
    # beside other images it is not taken for images of people by itself
    shutil.copytree(others, tmp_path / "all" / "real")
    assert len(read_cohort(tmp_path / "all")) == 3


def test_volumes_keep_their_grid_and_their_units(tmp_path: Path) -> None:
    """A change on a coarse grid is brought to the finer one and added to the image, in the image's own units."""
    affine = np.diag([-2.0, 1.0, 1.5, 1.0])
    x = np.random.default_rng(0).uniform(-900, 300, (16, 16, 16)).astype(np.float32)
    nib.save(nib.Nifti1Image(x, affine), tmp_path / "x.nii.gz")
    image = read(tmp_path / "x.nii.gz")
    solid = Preprocessing(dims=3, size=8, fit="resize", intensity="window", window=(-1000, 400))
    prepared = solid.apply(image)
    left = changed(image, prepared, np.full_like(prepared.pixels, 0.1))
    assert np.allclose(left[0], x - 0.1 * 700, atol=1e-2)  # half of the window is 1 of the network's units
    again = nib.load(write_redrawn(tmp_path / "y", image, left, "anomaly: drawn"))
    assert np.array_equal(again.affine, affine) and again.shape == (16, 16, 16)
    assert bytes(again.header["descrip"]).rstrip(b"\0") == b"anomaly: drawn"


def test_people_who_were_learned_from_are_refused(run: TranslatorRun, tmp_path: Path) -> None:
    trained = Path(run.cohort["path"].iloc[0]).parent
    with pytest.raises(CohortError, match="--allow-overlap"):
        translate(run.folder, trained, tmp_path / "out", device="cpu")
    assert not (tmp_path / "out").exists()
    assert translate(run.folder, trained, tmp_path / "out", allow_overlap=True, device="cpu").new == 12


def test_one_bad_image_is_told_and_the_others_are_drawn(
    run: TranslatorRun,
    others: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ran = calling(tmp_path, monkeypatch, capsys)
    shutil.copytree(others, tmp_path / "images")
    (tmp_path / "images" / "bad.png").write_bytes(b"no picture")
    code, out, errors = ran(f"translate apply {run.folder} --images images --out out --device cpu")
    assert code == 3 and "3 new, 0 from before, 1 unreadable" in out and "errors.csv" in errors
    assert list(pd.read_csv(tmp_path / "out" / "errors.csv")["id"]) == ["bad"]


def test_a_run_of_another_kind_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sides = Sides(cohort=two_sides(tmp_path), outcome="sick")
    explaining(sides, tmp_path / "run", "classifier", settings=CLASSIFIER)
    ran = calling(tmp_path, monkeypatch, capsys)
    code, _, errors = ran("translate apply run --images cases --out out")
    assert code == 1 and "holds a classifier (classifier), expected a translator" in errors
