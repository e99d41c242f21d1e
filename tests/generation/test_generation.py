"""The command that draws new images: which, as which files, begun and gone on with, and beside which real ones."""

import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import PIL.Image
import pytest
import torch
from looked_at import looked_at
from studies import AE, SIDE, SOLID, calling, pictures, trained, values, volumes

import anomaly
from anomaly.cohorts.cohort import read_cohort
from anomaly.errors import AnomalyError, CohortError, RunError
from anomaly.generation import generate as generation
from anomaly.generation.comparison import Real, compare, real_cohort, sliced
from anomaly.generation.generate import Generated, draw, generate
from anomaly.images import read
from anomaly.images.preprocessing import Preprocessing
from anomaly.runs.run import Run

VAE = {**AE, "steps": 60, "lr": 1e-2, "beta": 0.0}  # so that images differ with their codes


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures and a run of them, `flat`; a run that draws none, `mean`."""
    home = tmp_path_factory.mktemp("home")
    normals = pictures(home / "normals", 40)
    trained(normals, home / "flat", "vae", settings=VAE)
    trained(normals, home / "mean")
    trained(normals, home / "pca", "pca", settings={"components": 3})
    return home


@pytest.fixture(scope="module")
def drawn(home: Path) -> Generated:
    """Six images of the run `flat`; no test changes them."""
    return generate(home / "flat", home / "drawn", count=6, seed=3, pairs=20, device="cpu")


def decoded(run: Path, numbers: list[int], seed: int) -> np.ndarray:
    """What the run draws for these numbers, by the words of the documentation."""
    detector = Run.open(run).detector
    codes = [np.random.default_rng([seed, i]).standard_normal(detector.latent) for i in numbers]
    with torch.no_grad():
        return detector.decode(torch.tensor(np.array(codes), dtype=torch.float32)).numpy()


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "images").iterdir())}


# Files


def test_pictures_are_what_the_run_decodes_the_right_way_up(home: Path, drawn: Generated) -> None:
    expected = decoded(home / "flat", list(range(6)), seed=3)[:, 0]
    assert np.abs(expected - expected.transpose(0, 2, 1)).max() > 0.2  # a picture on its side would be seen
    between = np.abs(expected[:, None] - expected).max((2, 3))[np.triu_indices(6, 1)]
    assert between.min() > 0.02  # and so would one in the place of another
    for i, image in enumerate(expected):
        with PIL.Image.open(home / "drawn" / "images" / f"generated_{i:05d}.png") as file:
            assert file.mode == "L"
            assert np.abs(np.asarray(file) - (image + 1) * 127.5).max() <= 0.51


def test_the_table_tells_of_every_image(home: Path, drawn: Generated) -> None:
    table = pd.read_csv(drawn.table)
    assert list(table) == ["id", "path", "number", "seed", "run"]
    assert list(table["number"]) == list(range(6)) and set(table["seed"]) == {3}
    assert set(table["run"]) == {Run.open(home / "flat").identity}
    assert (drawn.new, drawn.before, drawn.unreadable) == (6, 0, 0)
    assert sorted(path.name for path in drawn.folder.iterdir()) == [
        "generated.csv", "generated.json", "images", "sheet.png", "synthesis.csv"
    ]  # fmt: skip


def test_images_and_table_are_cohorts_without_the_sheet(home: Path, drawn: Generated) -> None:
    by_table = read_cohort(drawn.table)
    assert list(by_table["id"]) == [f"generated_{i:05d}" for i in range(6)]
    for folder in (drawn.folder, drawn.folder / "images"):
        by_folder = read_cohort(folder)
        assert list(by_folder["id"]) == list(by_table["id"]) and list(by_folder["path"]) == list(by_table["path"])
    scored = anomaly.score(home / "mean", drawn.table, home / "scores", heatmaps=["none"], device="cpu", workers=1)
    assert (scored.new, scored.failed) == (6, 0)


def test_an_image_does_not_depend_on_how_many_there_are_or_on_the_batch(home: Path, drawn: Generated) -> None:
    run = Run.open(home / "flat")
    alone = np.concatenate([pixels for _, pixels in draw(run, [4], 3)])
    by_two = np.concatenate([pixels for _, pixels in draw(run, range(7), 3, batch=2)])
    assert np.abs(alone[0] - by_two[4]).max() < 1e-5
    other = np.concatenate([pixels for _, pixels in draw(run, [4], 4)])
    assert np.abs(alone[0] - other[0]).max() > 1e-3


def test_volumes_lie_where_the_preprocessing_puts_them(tmp_path: Path) -> None:
    normals = volumes(tmp_path / "normals", 24)
    turned = Preprocessing(dims=3, size=(8, 6, 7), fit="crop", orientation="LIP", spacing=(1.0, 2.0, 1.5))
    trained(normals, tmp_path / "run", "vae", settings=VAE, preprocessing=turned, choose=0.2)
    made = generate(tmp_path / "run", tmp_path / "out", count=3, pairs=5, device="cpu")
    file = nib.load(tmp_path / "out" / "images" / "generated_00002.nii.gz")
    assert file.get_data_dtype() == np.float32
    assert nib.aff2axcodes(file.affine) == ("L", "I", "P")
    assert file.header.get_zooms() == (1.0, 2.0, 1.5)
    expected = decoded(tmp_path / "run", [2], seed=0)[0, 0]
    assert np.abs(file.get_fdata() - expected).max() < 1e-5
    again = Preprocessing(**{**vars(turned), "intensity": "none"}).apply(read(Path(file.get_filename()))).pixels
    assert np.abs(again[0, 0] - expected).max() < 1e-5  # read again, it is not moved
    assert list(made.measures["measure"]) == ["ms_ssim", "mmd2", "frechet", "kid"]


def test_a_volume_is_centred_and_one_millimetre_a_voxel_where_nothing_else_is_known() -> None:
    affine = SOLID.grid((8, 8, 9))
    assert (affine[:3, :3] == np.eye(3)).all()
    assert affine @ [3.5, 3.5, 4, 1] == pytest.approx([0, 0, 0, 1])


def test_colours_and_other_channels(tmp_path: Path) -> None:
    folder = tmp_path / "normals"
    folder.mkdir()
    for i in range(24):
        colours = np.stack([values((SIDE, SIDE), 3 * i + k) for k in range(3)], axis=-1)
        PIL.Image.fromarray(colours).save(folder / f"{i}.png")
        two = np.moveaxis(colours[..., :2], -1, 0)[..., None].astype(np.float32)
        (tmp_path / "two").mkdir(exist_ok=True)
        np.save(tmp_path / "two" / f"{i}.npy", two / 127.5 - 1)
    colour = Preprocessing(size=SIDE, channels=3)
    trained(folder, tmp_path / "rgb", "vae", settings=VAE, preprocessing=colour)
    generate(tmp_path / "rgb", tmp_path / "out", count=2, pairs=5, device="cpu")
    with PIL.Image.open(tmp_path / "out" / "images" / "generated_00001.png") as file:
        shown = np.asarray(file)
    expected = decoded(tmp_path / "rgb", [1], seed=0)[0]
    assert np.abs(np.moveaxis(shown, -1, 0) - (expected + 1) * 127.5).max() <= 0.51
    pair = Preprocessing(size=SIDE, channels=2, intensity="none")
    trained(tmp_path / "two", tmp_path / "run2", "vae", settings=VAE, preprocessing=pair)
    generate(tmp_path / "run2", tmp_path / "out2", count=2, pairs=5, device="cpu")
    again = pair.apply(read(tmp_path / "out2" / "images" / "generated_00001.npy")).pixels
    assert np.abs(again - decoded(tmp_path / "run2", [1], seed=0)).max() < 1e-6


def test_slices_of_volumes_are_stored_as_the_run_knows_them_and_shown_upright(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    normals = volumes(tmp_path / "normals", 24, space=(12, 12, 3))
    run = trained(normals, tmp_path / "run", "vae", settings=VAE)
    sheets: list[dict[str, Any]] = []
    monkeypatch.setattr(generation, "generated_sheet", lambda *args, **options: sheets.append(options))
    generate(tmp_path / "run", tmp_path / "out", count=2, pairs=5, device="cpu")
    assert sliced(run) and sheets[0]["slices"] and sheets[0]["affine"] is None
    with PIL.Image.open(tmp_path / "out" / "images" / "generated_00001.png") as file:
        expected = decoded(tmp_path / "run", [1], seed=0)[0, 0]
        assert np.abs(np.asarray(file) - (expected + 1) * 127.5).max() <= 0.51


# Going on


def test_what_is_there_is_kept_and_what_is_missing_is_drawn(home: Path, tmp_path: Path) -> None:
    def again(count: int) -> tuple[int, int]:
        made = generate(home / "flat", tmp_path / "out", count=count, pairs=5, device="cpu")
        assert len(pd.read_csv(made.table)) == len(files(made.folder))
        return made.new, made.before

    assert again(4) == (4, 0)
    first = files(tmp_path / "out")
    (tmp_path / "out" / "images" / "generated_00002.png").unlink()
    kept = tmp_path / "out" / "images" / "generated_00001.png"
    os.utime(kept, (1, 1))
    assert again(6) == (3, 3)
    assert kept.stat().st_mtime == 1  # not written again
    now = files(tmp_path / "out")
    assert len(now) == 6 and {name: now[name] for name in first} == first
    assert again(2) == (0, 2)
    assert files(tmp_path / "out") == now  # a smaller count takes nothing away


def test_a_stop_keeps_what_was_done(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, done = generation._write, []

    def stopped(path: Path, image: np.ndarray, preprocessing: Preprocessing) -> None:
        if len(done) == 5:
            raise KeyboardInterrupt
        done.append(path)
        write(path, image, preprocessing)

    monkeypatch.setattr(generation, "_write", stopped)
    with pytest.raises(KeyboardInterrupt):
        generate(home / "flat", tmp_path / "out", count=8, batch=2, pairs=5, device="cpu")
    assert list(pd.read_csv(tmp_path / "out" / "generated.csv")["number"]) == list(range(5))
    monkeypatch.setattr(generation, "_write", write)
    made = generate(home / "flat", tmp_path / "out", count=8, pairs=5, device="cpu")
    assert (made.new, made.before) == (3, 5)
    assert list(pd.read_csv(made.table)["number"]) == list(range(8))


def test_a_folder_of_another_seed_run_or_kind_is_refused(home: Path, drawn: Generated, tmp_path: Path) -> None:
    before = files(drawn.folder)
    with pytest.raises(RunError, match="holds images drawn otherwise \\(seed 3 there, 4 asked for\\); choose another"):
        generate(home / "flat", drawn.folder, count=6, seed=4, device="cpu")
    other = trained(home / "normals", tmp_path / "run", "vae", settings=VAE, seed=1)
    with pytest.raises(RunError, match=f"run {Run.open(home / 'flat').identity} there, {other.identity} asked for"):
        generate(tmp_path / "run", drawn.folder, count=6, seed=3, device="cpu")
    with pytest.raises(RunError, match="is not empty and holds no generated images"):
        generate(home / "flat", home / "normals", device="cpu")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "generated.json").write_text("[]")
    with pytest.raises(RunError, match=r"generated.json cannot be read"):
        generate(home / "flat", tmp_path / "out", device="cpu")
    assert files(drawn.folder) == before


# Measures


def test_measures_compare_with_held_out_normals_on_features_of_the_trained_ones(drawn: Generated) -> None:
    table = drawn.measures
    assert list(table["measure"]) == ["ms_ssim", "mmd2", "frechet", "kid"], "four images tell nothing of copies"
    assert list(table["features"]) == ["pixels", *["pca-27 of the run's training normals"] * 3]
    assert np.isfinite(table[["generated", "real_against_real"]]).all(axis=None)
    assert list(table["n_generated"]) == [6, 2, 2, 2]
    assert list(table["n_real"]) == [4, 2, 2, 2]  # 4 of 40 to choose by, in halves; the 8 to calibrate by untouched
    assert pd.read_csv(drawn.folder / "synthesis.csv")["measure"].tolist() == list(table["measure"])
    assert len(drawn.sentences) == 4 and "2 images are few for 27 features" in drawn.sentences[2]
    again = json.loads((drawn.folder / "generated.json").read_text())
    assert again["seed"] == 3 and again["method"] == "vae"


@pytest.mark.parametrize(("count", "told"), [(39, False), (40, True)])
def test_copies_are_told_only_where_enough_real_images_say_what_is_usual(count: int, told: bool) -> None:
    images = np.random.default_rng(0).uniform(-1, 1, size=(count + 60, 1, 16, 16)).astype(np.float32)
    real = Real(train=images[:50], reference=images[60:], subjects=np.arange(count).astype(str))
    found = {each.measure for each in compare(images[50:60], real, features=None, pairs=3)}
    assert ({"closer_to_training", "copies"} <= found) is told and "frechet" in found


def test_codes_of_another_run_are_named_by_it(home: Path, tmp_path: Path) -> None:
    made = generate(home / "flat", tmp_path / "out", count=4, features=home / "pca", pairs=5, device="cpu")
    identity = Run.open(home / "pca").identity
    assert set(made.measures["features"][1:]) == {f"codes of the pca run {identity[:12]}"}


def test_those_that_calibrate_are_left_alone_and_few_others_are_told(
    home: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    split = pd.read_csv(home / "flat" / "cohort.csv", dtype=str).set_index("id")["split"]
    cohort = real_cohort(Run.open(home / "flat"), None)
    assert set(split[cohort["id"]]) == {"train", "choose"}
    assert (split[cohort["id"]].to_numpy() == cohort["split"].replace("reference", "choose")).all()
    with caplog.at_level(logging.WARNING):
        generate(home / "flat", tmp_path / "out", count=4, pairs=5, device="cpu")
    assert "only 4 real images of 4 subjects are at hand, which say little; give more by --real" in caplog.text
    trained(pictures(tmp_path / "normals", 20, first=500), tmp_path / "run", "vae", settings=VAE)
    with caplog.at_level(logging.WARNING):
        made = generate(tmp_path / "run", tmp_path / "few", count=4, pairs=5, device="cpu")
    assert list(made.measures["measure"]) == ["ms_ssim"]
    assert "2 real images of 2 subjects are too few" in caplog.text and "give more real images by --real" in caplog.text


def test_subjects_that_were_trained_on_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    normals = pictures(tmp_path / "normals", 48)
    people = pd.DataFrame({"path": sorted(normals.iterdir()), "person": [f"p{i // 2}" for i in range(48)]})
    run = trained(people, tmp_path / "run", "vae", settings=VAE, subject="person")
    split = run.normals.drop_duplicates("subject").set_index("subject")["split"]
    gone, kept = split[split != "choose"].index[:3], [*split[split == "choose"].index[:2], "q1", "q2"]
    visits = sorted(pictures(tmp_path / "visits", 14, name="w").iterdir())
    real = pd.DataFrame({"path": visits, "who": [*gone, *kept] * 2})
    with caplog.at_level(logging.WARNING):
        cohort = real_cohort(run, real, subject="who").query("split == 'reference'")
    assert list(cohort["subject"]) == kept * 2
    assert f"6 of the 14 real images are of 3 subjects that {run.folder} was trained on or calibrated by" in caplog.text
    assert "nothing says whose image is whose" not in caplog.text
    with pytest.raises(CohortError, match=r"all 6 real images are of 3 subjects that .* tell them apart by --subject"):
        real_cohort(run, real[real["who"].isin(gone)], subject="who")
    # A file that was trained on tells whose it is, also under another name, and so whose other files are.
    file = run.normals.query("split == 'train'")["path"].iloc[0]
    renamed = pd.DataFrame({"path": [file, *visits[:3]], "who": ["x", "x", "y", "z"]})
    assert list(real_cohort(run, renamed, subject="who").query("split == 'reference'")["subject"]) == ["y", "z"]


def test_where_nothing_says_whose_images_are_that_is_told(
    home: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    others, run = pictures(tmp_path / "others", 4, name="o"), Run.open(home / "flat")
    with caplog.at_level(logging.WARNING):
        cohort = real_cohort(run, others).query("split == 'reference'")
    assert "nothing says whose image is whose" in caplog.text and "taken for those of others" in caplog.text
    assert list(cohort["subject"]) == list(cohort["id"])
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        cohort = real_cohort(run, others, subject_pattern=r"o(\d\d)").query("split == 'reference'")
    assert set(cohort["subject"]) == {"00"}
    assert f"{run.folder} took each of its files for another subject" in caplog.text


def test_no_more_files_are_read_than_are_looked_at(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anomaly.generation.comparison.MOST_BYTES", 3 * 4 * SIDE**2)
    cohort = real_cohort(Run.open(home / "flat"), None)
    assert list(cohort["split"]) == ["train"] * 3 + ["reference"] * 3


def test_what_was_drawn_to_be_written_is_not_drawn_again(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[int]] = []

    def drawing(run: Run, numbers: Any, *options: Any) -> Any:
        asked.append(list(numbers))
        return draw(run, numbers, *options)

    measured: list[np.ndarray] = []
    compare = generation.compare
    monkeypatch.setattr(generation, "draw", drawing)
    monkeypatch.setattr(generation, "compare", lambda x, *a, **o: measured.append(x) or compare(x, *a, **o))
    generate(home / "flat", tmp_path / "out", count=3, pairs=5, device="cpu")
    generate(home / "flat", tmp_path / "out", count=5, pairs=5, device="cpu")
    assert asked == [[0, 1, 2], [], [3, 4], [0, 1, 2]]
    assert np.abs(measured[1] - decoded(home / "flat", list(range(5)), seed=0)).max() < 1e-5
    monkeypatch.setattr(generation, "most_of", lambda shape: 2)  # more are written than are measured
    generate(home / "flat", tmp_path / "more", count=4, pairs=5, device="cpu")
    assert asked[4:] == [[0, 1, 2, 3], []] and len(measured[2]) == 2


def test_large_images_are_drawn_a_few_at_once(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generation, "passes", lambda shape: 2)
    assert [list(part) for part, _ in draw(Run.open(home / "flat"), range(5), 3)] == [[0, 1], [2, 3], [4]]


def test_real_images_can_be_given(home: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    others = pictures(tmp_path / "others", 10, name="o")
    rows = [{"path": path, "site": "ab"[i % 2]} for i, path in enumerate(sorted(others.iterdir()))]
    trained_on = pd.read_csv(home / "flat" / "cohort.csv").query("split == 'train'")["path"].head(3)
    table = pd.DataFrame([*rows, *({"path": path, "site": "a"} for path in trained_on)])
    run = Run.open(home / "flat")
    with caplog.at_level(logging.WARNING):
        cohort = real_cohort(run, table, where={"site": "a"})
    assert list(cohort.query("split == 'reference'")["id"]) == [f"others_o{i:03d}" for i in range(0, 10, 2)]
    assert "3 of the 8 real images are of 3 subjects" in caplog.text
    with pytest.raises(CohortError, match="all 3 real images are of 3 subjects"):
        real_cohort(run, pd.DataFrame({"path": trained_on}))
    made = generate(home / "flat", tmp_path / "out", count=4, real=others, pairs=5, device="cpu")
    assert made.measures["n_real"][0] == 10


def test_real_images_that_cannot_be_read_are_told(home: Path, tmp_path: Path) -> None:
    others = pictures(tmp_path / "others", 10, name="o")
    (others / "empty.png").write_bytes(b"")
    made = generate(home / "flat", tmp_path / "out", count=4, real=others, pairs=5, device="cpu")
    assert made.unreadable == 1 and made.measures["n_real"][0] == 10
    assert "empty.png" in (tmp_path / "out" / "errors.csv").read_text()
    assert not [path for path in (tmp_path / "out").iterdir() if path.name[0] == "."]


def test_without_real_images_only_what_needs_none_is_measured(
    home: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    normals = pictures(tmp_path / "normals", 30, first=500)
    trained(normals, tmp_path / "run", "vae", settings=VAE)
    shutil.rmtree(normals)
    with caplog.at_level(logging.WARNING):
        made = generate(tmp_path / "run", tmp_path / "out", count=4, pairs=5, device="cpu")
    assert "3 of the run's 3 normals held out to choose by are gone" in caplog.text
    assert "no real images are at hand" in caplog.text
    assert list(made.measures["measure"]) == ["ms_ssim"] and np.isnan(made.measures["real_against_real"][0])
    assert len(files(made.folder)) == 4 and (made.folder / "sheet.png").exists()
    others = pictures(tmp_path / "others", 10, name="o")
    made = generate(tmp_path / "run", tmp_path / "out", count=4, real=others, pairs=5, device="cpu")
    assert list(made.measures["measure"]) == ["ms_ssim"] and made.measures["real_against_real"][0] > 0
    made = generate(
        tmp_path / "run", tmp_path / "out", count=4, real=others, features=home / "pca", pairs=5, device="cpu"
    )
    assert list(made.measures["measure"]) == ["ms_ssim", "mmd2", "frechet", "kid"]


def test_one_image_is_drawn_and_not_measured(home: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        made = generate(home / "flat", tmp_path / "out", count=1, device="cpu")
    assert made.new == 1 and made.measures.empty and "one image alone cannot be measured" in caplog.text


# Mistakes


def test_a_method_that_draws_nothing_is_told_which_do(home: Path, tmp_path: Path) -> None:
    with pytest.raises(AnomalyError, match=r"run of mean-image, which draws no new images; train one of .*vae"):
        generate(home / "mean", tmp_path / "out", device="cpu")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("wrong", [{"count": 0}, {"pairs": 0}, {"batch": 0}, {"seed": -1}])
def test_numbers_out_of_range(home: Path, tmp_path: Path, wrong: dict[str, int]) -> None:
    (name, value), *_ = wrong.items()
    with pytest.raises(AnomalyError, match=f"{name} must be {1 + min(value, 0)} or more, got {value}"):
        generate(home / "flat", tmp_path / "out", device="cpu", **wrong)
    assert not (tmp_path / "out").exists()


def test_runs_and_features_that_cannot_be_used(home: Path, tmp_path: Path) -> None:
    shutil.copytree(home / "flat", tmp_path / "run")
    weights = tmp_path / "run" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(RunError, match="was changed or cut short after training"):
        generate(tmp_path / "run", tmp_path / "out", device="cpu")
    with pytest.raises(AnomalyError, match="has no codes of images: its method is mean-image"):
        generate(home / "flat", tmp_path / "out", features=home / "mean", device="cpu")
    small = Preprocessing(size=SIDE - 1)
    trained(home / "normals", tmp_path / "small", "pca", settings={"components": 3}, preprocessing=small)
    with pytest.raises(AnomalyError, match=r"prepared otherwise \(size \[11, 11\], expected \[12, 12\]\)"):
        generate(home / "flat", tmp_path / "out", features=tmp_path / "small", device="cpu")
    with pytest.raises(AnomalyError, match="subject and where without real images; give these too"):
        generate(home / "flat", tmp_path / "out", where={"site": "a"}, subject="who", device="cpu")
    with pytest.raises(CohortError, match="no such folder"):
        generate(home / "flat", tmp_path / "out", real=tmp_path / "gone", device="cpu")
    assert not (tmp_path / "out").exists()


def test_values_that_are_no_numbers_are_not_written(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = torch.full((4, 1, SIDE, SIDE), torch.nan)
    monkeypatch.setattr("anomaly.detectors.VAE.decode", lambda self, code: nothing)
    with pytest.raises(RunError, match="draws NaN or infinite values in images 0 to 3"):
        generate(home / "flat", tmp_path / "out", count=4, device="cpu")
    assert not list((tmp_path / "out").glob("images/*"))


# The program


@pytest.fixture
def program(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    return calling(home, monkeypatch, capsys)


def test_from_the_command_line(program: Any, tmp_path: Path) -> None:
    code, out, errors = program(f"generate flat --count 5 --out {tmp_path}/out --pairs 5 --batch 2 --device cpu")
    assert code == 0, errors
    lines = out.splitlines()
    assert lines[0] == f"images: {tmp_path}/out/generated.csv (5 new, 0 from before)"
    assert [line.split(":")[0].split(" ")[0] for line in lines[1:]] == [
        "Diversity", "MMD^2", "Frechet", "Kernel"
    ]  # fmt: skip
    others = pictures(tmp_path / "others", 6, name="o")
    (others / "empty.png").write_bytes(b"")
    words = f"generate flat --count 6 --out {tmp_path}/out --real {others} --pairs 5 --device cpu"
    code, out, errors = program(f"{words} --subject-pattern (.+)")
    assert code == 3 and "(1 new, 5 from before)" in out and "nothing says whose" not in errors
    assert f"1 image could not be used; see {tmp_path}/out/errors.csv" in errors


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ("generate mean --out new", 2, "draws no new images; train one of"),
        ("generate gone --out new", 1, "gone holds no run.json"),
        ("generate flat --out normals", 1, "normals is not empty and holds no generated images"),
        ("generate flat --out new --real gone.csv", 1, "gone.csv: no such file or folder"),
    ],
)
def test_mistakes_end_with_one_line(program: Any, home: Path, words: str, code: int, told: str) -> None:
    ended, _, errors = program(f"{words} --device cpu")
    assert ended == code and told in errors and errors.count("\n") == 1
    assert not (home / "new").exists()


def test_what_was_drawn_is_shown_in_five_lines(home: Path, drawn: Generated, tmp_path: Path) -> None:
    told = looked_at(drawn)
    first = drawn.measures.iloc[0]
    assert told.pop("measures").startswith(
        f"ms_ssim {first['generated']:.3g} (real {first['real_against_real']:.3g}), mmd2 "
    )
    place = home / "drawn"
    assert told == {
        "": "6 images new, 0 from before", "table": str(place / "generated.csv"), "sheet": str(place / "sheet.png")
    }  # fmt: skip
    gone = Generated(tmp_path / "<b>", tmp_path / "<b>" / "generated.csv", drawn.measures[:0], (), 0, 6, 2)
    assert looked_at(gone) == {
        "": "0 images new, 6 from before", "table": str(gone.table), "sheet": str(gone.folder / "sheet.png"),
        "unreadable": f"2 of the real ones, see {gone.folder / 'errors.csv'}",
    }  # fmt: skip
