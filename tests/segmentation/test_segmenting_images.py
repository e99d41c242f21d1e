"""Images segmented on their own grid, by one run or several, and gone on with; and their label maps used elsewhere."""

import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import PIL.Image
import pytest
import torch
from annotated import BOX, DISC, SHORT, drawn, learned, pictures, volumes
from explained import write
from studies import broken, calling, trained

from anomaly.errors import AnomalyError, CohortError, RunError
from anomaly.evaluation import evaluate
from anomaly.images import read
from anomaly.images.labels import Labels
from anomaly.images.preprocessing import Preprocessing
from anomaly.scoring.score import score
from anomaly.segmentation.cleaning import cleaned
from anomaly.segmentation.evaluating import evaluate_segmentation
from anomaly.segmentation.marking import uncertainty_of
from anomaly.segmentation.opening import open_runs
from anomaly.segmentation.run import SegmenterRun
from anomaly.segmentation.segmenting import prepared_for, segment
from anomaly.segmentation.writing import file_names


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table to learn from, others to segment in `new/`, and the run `run/` that finds discs."""
    home = tmp_path_factory.mktemp("home")
    learned(pictures(home, 12), home / "run", settings=SHORT, classes="disc=2,box=5")
    pictures(home / "new", 4, first=100, name="n")
    return home


def stored(path: Path) -> np.ndarray:
    return np.array(PIL.Image.open(path)) if path.suffix == ".png" else np.asarray(nib.load(path).dataobj)


def test_label_maps_lie_on_the_grid_of_their_images_with_the_numbers_learned_from(home: Path, tmp_path: Path) -> None:
    done = segment(home / "run", home / "new" / "images", tmp_path, device="cpu")
    assert (done.new, done.before, done.failed) == (4, 0, 0)
    table = pd.read_csv(done.path, dtype={"id": str})
    assert list(table.columns) == [
        *("id", "subject", "path", "file", "volume_disc", "volume_box", "unit", "uncertainty", "uncertainty_marked"),
        "files",
    ]
    for row, i in zip(table.to_dict("records"), range(100, 104), strict=True):
        found = stored(tmp_path / row["file"])
        assert found.shape == (24, 24) and found.dtype == np.uint8 and set(np.unique(found)) <= {0, DISC, BOX}
        assert row["volume_disc"] == (found == DISC).sum() and row["unit"] == "pixels"
        truth = drawn(i)[1] == DISC
        assert 2 * (truth & (found == DISC)).sum() / (truth.sum() + (found == DISC).sum()) > 0.7
        assert 0 < row["uncertainty"] <= 1


def test_volumes_keep_affine_and_shape_and_are_told_in_millimetres(tmp_path: Path) -> None:
    table = volumes(tmp_path, 3)
    for dims in (2, 3):
        prepared, settings = Preprocessing(dims=dims, size=None), {**SHORT, "window": 0, "steps": 20}
        run = learned(table, tmp_path / f"run{dims}", preprocessing=prepared, settings=settings)
        out = tmp_path / f"out{dims}"
        asked = {"probabilities": True, "uncertainty": True, "allow_overlap": True, "device": "cpu"}
        done = segment(run.folder, tmp_path / "images", out, **asked)
        for row in pd.read_csv(done.path).to_dict("records"):
            source, found = nib.load(row["path"]), nib.load(out / row["file"])
            assert found.shape == source.shape and np.array_equal(found.affine, source.affine)
            assert found.get_data_dtype() == np.uint8 and row["unit"] == "mm3"
            assert row["volume_2"] == 6 * (np.asarray(found.dataobj) == 2).sum()
            shares = [nib.load(out / f"{row['id']}_probability-{name}.nii.gz").get_fdata() for name in ("2", "5")]
            places = np.stack([1 - sum(shares), *shares]).argmax(0)
            assert (np.array([0, 2, 5])[places] == np.asarray(found.dataobj)).mean() > 0.999
            unsure = nib.load(out / f"{row['id']}_uncertainty.nii.gz").get_fdata()
            assert unsure.shape == source.shape and unsure.mean() == pytest.approx(row["uncertainty"], rel=1e-5)


def test_a_second_call_goes_on_and_makes_again_what_is_gone(home: Path, tmp_path: Path) -> None:
    folder = home / "new" / "images"
    segment(home / "run", folder, tmp_path, match="*n100.png", device="cpu")
    done = segment(home / "run", folder, tmp_path, device="cpu")
    assert (done.new, done.before) == (3, 1)
    before = (tmp_path / "n101_segmentation.png").read_bytes()
    os.unlink(tmp_path / "n101_segmentation.png")
    done = segment(home / "run", folder, tmp_path, device="cpu")
    assert (done.new, done.before) == (1, 3)
    assert (tmp_path / "n101_segmentation.png").read_bytes() == before
    with pytest.raises(RunError, match="made with another smallest"):
        segment(home / "run", folder, tmp_path, smallest=4, device="cpu")


def test_files_that_cannot_be_read_are_named_and_the_rest_is_segmented(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pictures(tmp_path, 1, first=200, name="n")
    bad = broken(tmp_path / "images")
    call = calling(home, monkeypatch, capsys)
    code, out, _ = call(f"segment apply run --images {tmp_path}/images --out {tmp_path}/out --device cpu")
    assert code == 3 and "segmentations: " in out
    errors = pd.read_csv(tmp_path / "out" / "errors.csv", keep_default_na=False)
    assert set(errors["id"]) <= bad and len(errors) >= 4
    assert "n200" in set(pd.read_csv(tmp_path / "out" / "cohort.csv")["id"])
    code, _, told = call(f"segment apply run --images cohort.csv --out {tmp_path}/over --device cpu")
    assert code == 1 and "subjects are in both the training images and those given now" in told
    code, _, told = call(f"segment apply run --images new/images --out {tmp_path}/over --largest disk --device cpu")
    assert code in (1, 2) and "there is no class 'disk'; did you mean disc?" in told


def test_several_runs_are_averaged_and_unlike_ones_refused(home: Path, tmp_path: Path) -> None:
    other = learned(home / "cohort.csv", tmp_path / "other", settings=SHORT, classes="disc=2,box=5", seed=1)
    runs = open_runs([home / "run", other.folder])
    images = home / "new" / "images"
    done = segment([home / "run", other.folder], images, tmp_path / "out", uncertainty=True, device="cpu")
    assert done.new == 4
    alone = segment(home / "run", images, tmp_path / "alone", uncertainty=True, device="cpu")
    assert not any("disagreement" in files for files in pd.read_csv(alone.path)["files"])
    for row in pd.read_csv(done.path).to_dict("records"):
        pixels = prepared_for(read(Path(row["path"])), runs[0].preprocessing)[0].pixels
        each = [run.segmenter.whole(torch.from_numpy(pixels)).numpy().astype(float) for run in runs]
        mean, halves = sum(each) / 2, [-(one * np.log(one + 1e-30)).sum(1) for one in each]
        information = (-(mean * np.log(mean)).sum(1) - sum(halves) / 2)[0] / np.log(3)
        unsure, apart = (
            nib.load(tmp_path / "out" / f"{row['id']}_{what}.nii.gz").get_fdata().squeeze()
            for what in ("uncertainty", "disagreement")
        )
        assert np.allclose(apart, information, atol=1e-4) or np.allclose(apart, information.T, atol=1e-4)
        assert apart.max() > 1e-3 and (apart <= unsure + 1e-5).all()
    unlike = {
        "has the classes disc=2, .* has the classes|disc=2, ": {"classes": "disc=2"},
        "prepare images otherwise .intensity percentile and range": {
            "classes": "disc=2,box=5", "preprocessing": Preprocessing(size=None)
        },
    }  # fmt: skip
    for k, (told, asked) in enumerate(unlike.items()):
        run = learned(home / "cohort.csv", tmp_path / f"unlike{k}", **asked)
        with pytest.raises(RunError, match=told):
            open_runs([home / "run", run.folder])
    with pytest.raises(RunError, match="given twice"):
        open_runs([home / "run", home / "run"])


def test_channels_dropped_by_chance_are_the_same_every_time(home: Path, tmp_path: Path) -> None:
    with pytest.raises(AnomalyError, match="run was trained without dropout"):
        segment(home / "run", home / "new" / "images", tmp_path / "none", dropout_draws=3, device="cpu")
    run = learned(home / "cohort.csv", tmp_path / "run", settings={**SHORT, "dropout": 0.5, "steps": 20})
    tables = []
    for k in range(2):
        done = segment(run.folder, home / "new" / "images", tmp_path / f"out{k}", dropout_draws=3, device="cpu")
        tables.append(pd.read_csv(done.path))
    assert tables[0].equals(tables[1])
    plain = pd.read_csv(segment(run.folder, home / "new" / "images", tmp_path / "plain", device="cpu").path)
    assert (plain["uncertainty"] - tables[0]["uncertainty"]).abs().max() > 1e-4
    assert not any(layer.training for layer in run.segmenter.net_.modules())


def test_masks_say_what_counts(home: Path, tmp_path: Path) -> None:
    inside = np.zeros((24, 24), np.uint8)
    inside[2:22, 4:24] = 255
    for i in [*range(12), *range(100, 104)]:
        write(tmp_path / "masks" / f"{'s' if i < 12 else 'n'}{i:03d}.png", inside)
    masks = str(tmp_path / "masks")
    run = learned(home / "cohort.csv", tmp_path / "run", mask=masks, settings=SHORT)
    with pytest.raises(CohortError, match="was trained with masks, and these images have none"):
        segment(run.folder, home / "new" / "images", tmp_path / "out", device="cpu")
    done = segment(run.folder, home / "new" / "images", tmp_path / "out", mask=masks, device="cpu")
    assert not any(stored(tmp_path / "out" / f"n{i}_segmentation.png")[inside == 0].any() for i in range(100, 104))
    assert (pd.read_csv(done.cohort)["mask"].str.contains("masks/n10")).all()
    judged = evaluate_segmentation(tmp_path / "out", home / "new" / "maps", tmp_path / "judged")
    rows = pd.read_csv(judged.path)
    for row, i in zip(rows.to_dict("records"), range(100, 104), strict=True):
        places = drawn(i)[1]
        assert row["2:volume"] == ((places == DISC) & (inside > 0)).sum()
        assert row["5:volume_outside"] == ((places == BOX) & (inside == 0)).sum()
    assert rows["5:volume_outside"].sum() > 0 and set(rows["seen"]) == {"new"}


def test_pieces_that_are_not_wanted_become_background() -> None:
    places = np.zeros((8, 8), np.uint8)
    places[:3, :3], places[5, 5], places[7, 7], places[0, 5:8] = 1, 1, 2, 2
    only = cleaned(places, largest=[1])
    assert (only == 1).sum() == 9 and (only == 2).sum() == 4
    large = cleaned(places, smallest=4.0, voxel=2.0)
    assert (large == 1).sum() == 9 and (large == 2).sum() == 3
    assert (cleaned(places, smallest=2.0, voxel=2.0) == places).all()
    assert places[5, 5] == 1


def test_files_of_classes_differ_by_more_than_capitals() -> None:
    assert file_names(Labels.asked("Bone=1,cyst=2")) == ["Bone", "cyst"]
    assert file_names(Labels.asked("Bone=1,bone=2,bone-2=3")) == ["Bone-1", "bone-2", "bone-2-3"]


def test_uncertainty_is_the_entropy_of_shares() -> None:
    shares = np.array([[1, 0.5, 0.25, 1 / 3], [0, 0.5, 0.5, 1 / 3], [0, 0, 0.25, 1 / 3]], np.float32)
    expected = np.array([0, np.log(2), 1.5 * np.log(2), np.log(3)]) / np.log(3)
    assert np.allclose(uncertainty_of(shares), expected, atol=1e-6)


# What is found is taken elsewhere


def test_label_maps_serve_as_labels_masks_and_truths(home: Path, tmp_path: Path) -> None:
    done = segment(home / "run", home / "new" / "images", tmp_path / "out", device="cpu")
    table = pd.read_csv(done.cohort)
    assert list(table.columns) == ["id", "subject", "path", "segmentation"]
    again = learned(done.cohort, tmp_path / "again", labels="segmentation")
    assert isinstance(again, SegmenterRun) and again.labels == Labels.asked("2,5")
    # A mask has to leave 32 pixels, so discs and boxes together.
    rows = pd.concat([table.assign(id=[f"{k}{each}" for each in table["id"]]) for k in range(2)])
    for kind in ("segmentation", "path"):
        rows[kind] = [str((tmp_path / "out" / each).resolve()) for each in rows[kind]]
    rows["subject"] = rows["id"]
    rows.to_csv(tmp_path / "twice.csv", index=False)
    within = trained(tmp_path / "twice.csv", tmp_path / "normals", mask="segmentation", choose=0.2, calibrate=0.3)
    assert within.preprocessing.mask == "given"
    plain = trained(home / "images", tmp_path / "plain")
    scored = score(plain.folder, home / "new" / "images", tmp_path / "scores", heatmaps=["nifti"], device="cpu")
    result = evaluate(scored.path, done.cohort, truth="segmentation", labels=(DISC,), out=tmp_path / "evaluated")
    assert any("pixel" in sentence for section in result.sections for sentence in section.sentences)


def test_a_run_of_another_kind_is_refused(home: Path, tmp_path: Path) -> None:
    plain = trained(home / "images", tmp_path / "plain")
    with pytest.raises(RunError, match="a detector"):
        segment(plain.folder, home / "new" / "images", tmp_path / "out")
    with pytest.raises(AnomalyError, match="made by `anomaly segment train`"):
        segment([], home / "new" / "images", tmp_path / "out")


def test_colours_are_taken_as_grey_where_the_run_is(home: Path, tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 255, (24, 24, 3)).astype(np.uint8)
    write(tmp_path / "images" / "c.png", colours)
    assert segment(home / "run", tmp_path / "images", tmp_path / "out", device="cpu").new == 1
