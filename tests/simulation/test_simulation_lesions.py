"""Synthetic lesions in real normals: size, contrast and place as asked, and nothing else touched."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import PIL.Image
import pydicom
import pytest
from pydicom.data import get_testdata_file
from scipy import ndimage
from studies import broken, pictures, values, volumes

from anomaly.cohorts.cohort import read_cohort
from anomaly.errors import CohortError, UnreadableImage
from anomaly.images import Image, read
from anomaly.simulation.lesions import simulate_lesions
from anomaly.simulation.planting import Planted, Recipe, foreground, plant

SMALL: dict[str, Any] = {"radius": (1.5, 2.5)}


def body(space: tuple[int, ...], spacing: tuple[float, ...] = (1, 1, 1), sd: float = 5.0) -> Image:
    """A bright noisy ellipsoid on black, as large as the image allows."""
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in space), indexing="ij")
    inside = sum(axis**2 for axis in axes) < 0.98
    noise = 100 + sd * np.random.default_rng(0).standard_normal(space)
    pixels = np.where(inside, noise, 0).astype(np.float32)
    return Image(pixels[None], np.diag([*spacing, 1.0]), Path("body"), "nifti")


def planted(image: Image, *, seed: int = 0, **recipe: Any) -> Planted:
    return plant(image, Recipe(**recipe), np.random.default_rng(seed))


def contents(folder: Path) -> dict[str, bytes]:
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


def cases(path: Path) -> pd.DataFrame:
    cohort = read_cohort(path)
    return cohort[cohort["label"] == 1]


# One image in memory


@pytest.mark.parametrize("kind", ["blob", "sphere", "deformation"])
@pytest.mark.parametrize("space", [(60, 50), (32, 30, 28)])
def test_the_mask_is_where_the_image_differs_from_the_clean_one(kind: str, space: tuple[int, ...]) -> None:
    image = body(space)
    lesion = planted(image, kind=kind, radius=(4, 6))
    changed = (lesion.pixels != image.pixels)[0]
    assert lesion.pixels.shape == image.pixels.shape and lesion.mask.shape == space
    assert not changed[~lesion.mask].any()
    assert changed[lesion.mask].mean() > 0.97
    assert foreground(image.pixels[0])[lesion.mask].all()
    assert ndimage.label(lesion.mask, np.ones((3,) * len(space)))[1] == 1


@pytest.mark.parametrize("kind", ["blob", "sphere"])
def test_the_lesion_is_as_large_as_a_ball_of_its_radius_in_millimetres(kind: str) -> None:
    image = body((60, 60, 30), spacing=(1, 1, 2))
    for seed in range(4):
        lesion = planted(image, kind=kind, radius=(5, 9), seed=seed)
        radius = lesion.lesions[0]["radius"]
        assert 5 <= radius <= 9
        assert 2 * lesion.mask.sum() == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.06)


def test_in_pixels_the_spacing_does_not_matter() -> None:
    lesion = planted(body((40, 40), spacing=(0.5, 0.5, 1)), kind="sphere", unit="pixels", radius=(5, 5))
    assert lesion.mask.sum() == pytest.approx(np.pi * 25, abs=4)
    finer = planted(body((40, 40), spacing=(0.5, 0.5, 1)), kind="sphere", unit="mm", radius=(3, 3))
    assert finer.mask.sum() == pytest.approx(np.pi * 36, abs=4)


def test_a_sphere_is_round_and_a_blob_is_not() -> None:
    image = body((90, 90))

    def farthest(kind: str) -> float:
        lesion = planted(image, kind=kind, radius=(12, 12), seed=3)
        places = np.argwhere(lesion.mask) - lesion.lesions[0]["centre"]
        return float(np.hypot(*places.T).max())

    assert farthest("sphere") == pytest.approx(12, abs=0.6)
    assert farthest("blob") > 13.5


@pytest.mark.parametrize(("polarity", "sign"), [("bright", 1), ("dark", -1)])
def test_the_middle_is_brighter_by_the_contrast_in_foreground_standard_deviations(polarity: str, sign: int) -> None:
    image = body((60, 60))
    inside = foreground(image.pixels[0])
    lesion = planted(image, radius=(8, 8), contrast=(2.5, 2.5), polarity=polarity)
    change = (lesion.pixels - image.pixels)[0]
    middle = change[tuple(lesion.lesions[0]["centre"])]
    assert middle == pytest.approx(sign * 2.5 * image.pixels[0][inside].std(), rel=1e-4)
    assert lesion.lesions[0]["contrast"] == sign * 2.5
    assert sign * change.max() >= 0 and np.abs(change).max() == pytest.approx(abs(middle), rel=1e-4)
    edge = lesion.mask & ~ndimage.binary_erosion(lesion.mask)
    assert np.abs(change[edge]).mean() < abs(middle) / 2, "the edge is soft"


def test_contrast_in_units_of_the_range() -> None:
    image = body((60, 60), sd=10)
    inside = image.pixels[0][foreground(image.pixels[0])]
    lesion = planted(image, radius=(8, 8), contrast=(0.5, 0.5), contrast_unit="range")
    expected = 0.5 * np.ptp(np.percentile(inside, (0.5, 99.5)))
    assert (lesion.pixels - image.pixels).max() == pytest.approx(expected, rel=1e-4)


def test_signal_to_noise_is_the_mean_change_over_the_noise_around() -> None:
    image = body((80, 80), sd=5)
    lesion = planted(image, kind="sphere", radius=(10, 10), contrast=(2, 2))
    change = (lesion.pixels - image.pixels)[0][lesion.mask].mean()
    assert lesion.lesions[0]["snr"] == pytest.approx(change / 5, rel=0.05)


def test_both_polarities_come_about_equally_often() -> None:
    image = body((40, 40))
    signs = [planted(image, polarity="both", seed=seed, **SMALL).lesions[0]["contrast"] > 0 for seed in range(60)]
    assert 18 < sum(signs) < 42


def test_several_lesions_do_not_overlap() -> None:
    for seed in range(5):
        lesion = planted(body((48, 48)), kind="sphere", count_per_image=4, radius=(5, 5), seed=seed)
        assert len(lesion.lesions) == 4
        assert 4 * 76 <= lesion.mask.sum() <= 4 * 82, "a ball of radius 5 has 78.5 pixels"


def test_a_deformation_shows_in_the_middle_what_lay_nearer_to_it_enlarged() -> None:
    """Close to the centre everything is enlarged by 1 / (1 - contrast), and it never folds."""
    image = body((81, 81), sd=0)
    ramp = Image((image.pixels > 0) * (200 + np.arange(81, dtype=np.float32)), image.affine, image.path, "nifti")
    lesion = planted(ramp, kind="deformation", radius=(20, 20), contrast=(0.6, 0.6), seed=1)
    row, column = lesion.lesions[0]["centre"]
    line = lesion.pixels[0, row, column - 19 : column + 20]
    assert (np.diff(line) > 0).all()
    assert line[20] - line[18] == pytest.approx(2 * (1 - 0.6 * 0.95**2), abs=1e-3)
    pulled = planted(ramp, kind="deformation", radius=(20, 20), contrast=(0.6, 0.6), polarity="dark", seed=1)
    assert (np.diff(pulled.pixels[0, row, column - 19 : column + 20]) > 0).all()
    assert pulled.pixels[0, row, column + 1] - pulled.pixels[0, row, column - 1] > 2


def test_dark_lesions_do_not_fall_below_the_image_nor_bright_ones_above_white() -> None:
    image = body((40, 40))
    dark = planted(image, polarity="dark", contrast=(90, 90))
    assert dark.pixels.min() == image.pixels.min()
    white = Image(image.pixels, image.affine, image.path, "picture", (0.0, 255.0))
    assert planted(white, contrast=(90, 90)).pixels.max() == 255


def test_the_foreground_is_told_from_black_and_from_noise_and_has_no_holes() -> None:
    image = body((40, 40)).pixels[0].copy()
    inside = image > 0
    image[18:22, 18:22] = 0
    np.testing.assert_array_equal(foreground(image), inside)
    noisy = image + np.abs(np.random.default_rng(1).normal(0, 2, image.shape))
    assert (foreground(noisy) != inside).mean() < 0.01


def test_an_image_without_room_or_without_contrast_is_refused() -> None:
    with pytest.raises(UnreadableImage, match=r"no room for a lesion of radius 30; .* deep: choose a smaller radius"):
        planted(body((40, 40)), radius=(30, 40))
    with pytest.raises(UnreadableImage, match="one value alone"):
        planted(body((40, 40), sd=0))
    lesion = planted(body((40, 40)), radius=(3, 400), kind="sphere")
    assert 3 <= lesion.lesions[0]["radius"] < 20


@pytest.mark.parametrize(
    ("recipe", "told"),
    [
        ({"kind": "cube"}, r"kind is 'cube'; expected one of blob, sphere, deformation"),
        ({"unit": "inch"}, "unit is 'inch'; expected one of mm, pixels"),
        ({"polarity": "grey"}, "polarity is 'grey'"),
        ({"contrast_unit": "z"}, "contrast_unit is 'z'"),
        ({"radius": (5, 2)}, r"radius is \(5, 2\); expected two numbers above 0, the smaller one first"),
        ({"contrast": (0, 2)}, r"contrast is \(0, 2\)"),
        ({"kind": "deformation", "contrast": (0.5, 1.0)}, "must stay below 1, or the image folds"),
        ({"count_per_image": 0}, "count_per_image is 0; expected 1 or more"),
    ],
)
def test_recipes_out_of_range_are_told(recipe: dict[str, Any], told: str) -> None:
    with pytest.raises(CohortError, match=told):
        Recipe(**recipe)


# Folders of files


def test_nifti_keeps_affine_type_scale_and_every_value_outside(tmp_path: Path) -> None:
    normals = tmp_path / "normals"
    affine = np.array([[-2.0, 0, 0, 90], [0, 2, 0, -120], [0, 0, 3, -70], [0, 0, 0, 1]])
    normals.mkdir()
    for i in range(6):
        file = nib.Nifti1Image(body((24, 22, 20), sd=9 + i).pixels[0].astype(np.int16), affine)
        file.header.set_slope_inter(0.25, 10)
        nib.save(file, normals / f"v{i}.nii.gz")
    path = simulate_lesions(normals, tmp_path / "out", radius=(6, 10), share=1.0)
    for row in cases(path).itertuples():
        before, after = nib.load(path.parent / row.source), nib.load(row.path)
        mask = nib.load(path.parent / row.mask)
        inside = mask.get_fdata() > 0
        np.testing.assert_array_equal(after.affine, affine)
        np.testing.assert_array_equal(mask.affine, affine)
        assert after.get_data_dtype() == np.int16
        assert (after.dataobj.slope, after.dataobj.inter) == (0.25, 10)
        np.testing.assert_array_equal(after.get_fdata()[~inside], before.get_fdata()[~inside])
        assert (after.get_fdata()[inside] - before.get_fdata()[inside]).mean() > 1
        volume = 12 * inside.sum()
        assert volume == pytest.approx(4 / 3 * np.pi * row.radius**3, rel=0.03)
    assert len(cases(path)) == 6


@pytest.mark.parametrize(("depth", "top"), [(np.uint8, 255), (np.uint16, 65535)])
def test_pictures_keep_their_depth(depth: type, top: int, tmp_path: Path) -> None:
    normals = tmp_path / "normals"
    normals.mkdir()
    for i in range(4):
        grey = body((30, 26), sd=6 + i).pixels[0] * (top / 400)
        PIL.Image.fromarray(grey.astype(depth)).save(normals / f"p{i}.png")
    path = simulate_lesions(normals, tmp_path / "out", share=1.0, contrast=(2, 2), radius=(3, 5))
    for row in cases(path).itertuples():
        before, after = (np.asarray(PIL.Image.open(file)) for file in (path.parent / row.source, row.path))
        mask = np.asarray(PIL.Image.open(path.parent / row.mask))
        assert after.dtype == depth and set(np.unique(mask)) == {0, 255}
        np.testing.assert_array_equal(before[mask == 0], after[mask == 0])
        assert (after[mask > 0] > before[mask > 0]).mean() > 0.8


def test_colours_stay_colours_arrays_stay_arrays_and_dicom_becomes_nifti(tmp_path: Path) -> None:
    normals = tmp_path / "normals"
    normals.mkdir()
    grey = body((30, 30)).pixels[0]
    PIL.Image.fromarray(np.stack([grey, grey / 2, grey / 3], -1).astype(np.uint8)).save(normals / "colour.png")
    np.save(normals / "floats.npy", grey / 50 - 1)
    np.save(normals / "channels.npy", np.stack([body((12, 12, 12)).pixels[0]] * 2))
    data = pydicom.dcmread(str(get_testdata_file("CT_small.dcm")))
    data.save_as(normals / "ct.dcm")
    path = simulate_lesions(normals, tmp_path / "out", share=1.0, unit="pixels", radius=(2, 3))
    assert not (tmp_path / "out" / "errors.csv").exists()
    for row in read_cohort(path).itertuples():
        before, after = read(path.parent / row.source), read(Path(row.path))
        mask = read(path.parent / row.mask).pixels[0] > 0
        assert after.pixels.shape == before.pixels.shape
        np.testing.assert_array_equal(after.pixels[:, ~mask], before.pixels[:, ~mask])
        assert (after.pixels[:, mask] > before.pixels[:, mask]).mean() > 0.8
    names = {Path(one).name for one in read_cohort(path)["path"]}
    assert names == {"sim-colour.png", "sim-floats.npy", "sim-channels.npy", "sim-ct.nii.gz"}


def test_subjects_are_split_and_become_cases_as_a_whole(tmp_path: Path) -> None:
    for visit in ("a", "b"):
        for i in range(30):
            folder = tmp_path / "normals" / f"sub-{i:02d}"
            folder.mkdir(parents=True, exist_ok=True)
            PIL.Image.fromarray(values((16, 16), seed=i)).save(folder / f"{visit}{i}.png")
    path = simulate_lesions(tmp_path / "normals", tmp_path / "out", **SMALL)
    cohort = read_cohort(path)
    assert len(cohort) == 60 and cohort["id"].str.startswith("sim-").all()
    people = cohort.groupby("subject")[["split", "label"]].nunique()
    assert (people == 1).all(axis=None)
    first = cohort.drop_duplicates("subject")
    assert first["split"].value_counts().to_dict() == {"train": 19, "test": 6, "val": 5}
    assert first[first["split"] == "test"]["label"].sum() == 3
    assert (cohort["simulated"] == cohort["label"]).all()
    assert (cohort["mask"].notna() == (cohort["label"] == 1)).all()
    controls = cohort[cohort["label"] == 0]
    for row in controls.itertuples():
        np.testing.assert_array_equal(read(Path(row.path)).pixels, read(path.parent / row.source).pixels)


def test_each_lesion_has_a_row_and_the_cohort_their_means(tmp_path: Path) -> None:
    pictures(tmp_path / "normals", 8, side=32)
    path = simulate_lesions(tmp_path / "normals", tmp_path / "out", count_per_image=2, polarity="both", **SMALL)
    lesions = pd.read_csv(tmp_path / "out" / "lesions.csv")
    assert list(lesions.columns) == ["id", "radius", "contrast", "snr", "centre"]
    assert (lesions.groupby("id").size() == 2).all()
    table = cases(path).set_index("id")
    assert set(lesions["id"]) == set(table.index) and (table["lesions"] == 2).all()
    for name in ("radius", "contrast", "snr"):
        np.testing.assert_allclose(lesions.groupby("id")[name].mean().loc[table.index], table[name])
    facts = json.loads((tmp_path / "out" / "truth.json").read_text())
    assert facts["lesions"] == len(lesions) and facts["settings"]["lesion"] == "blob"


@pytest.mark.parametrize("make", [lambda folder: pictures(folder, 6, side=24), lambda folder: volumes(folder, 4)])
def test_same_seed_same_bytes_and_a_later_call_does_what_is_missing(
    make: Callable[[Path], Path], tmp_path: Path
) -> None:
    normals = make(tmp_path / "normals")
    for out, seed in (("a", 0), ("b", 0), ("c", 1)):
        simulate_lesions(normals, tmp_path / out, seed=seed, share=1.0, radius=(1, 2))
    first = contents(tmp_path / "a")
    assert first == contents(tmp_path / "b")
    images = [name for name in first if name.startswith("images/")]
    assert first[images[0]] != contents(tmp_path / "c")[images[0]]
    (tmp_path / "b" / images[0]).unlink()
    (tmp_path / "b" / "cohort.csv").unlink()
    kept = (tmp_path / "b" / images[1]).stat().st_mtime_ns
    simulate_lesions(normals, tmp_path / "b", share=1.0, radius=(1, 2))
    assert first == contents(tmp_path / "b")
    assert (tmp_path / "b" / images[1]).stat().st_mtime_ns == kept


def test_lesions_of_an_image_do_not_depend_on_the_others(tmp_path: Path) -> None:
    pictures(tmp_path / "few", 4)
    pictures(tmp_path / "many", 9)
    few, many = (
        simulate_lesions(tmp_path / name, tmp_path / f"out-{name}", share=1.0, **SMALL) for name in ("few", "many")
    )
    for row in cases(few).itertuples():
        other = many.parent / Path(row.path).relative_to(few.parent)
        assert Path(row.path).read_bytes() == other.read_bytes()


def test_files_that_cannot_be_used_are_named_and_all_others_done(tmp_path: Path) -> None:
    pictures(tmp_path / "normals", 9)
    bad = broken(tmp_path / "normals")
    path = simulate_lesions(tmp_path / "normals", tmp_path / "out", share=1.0, **SMALL)
    errors = pd.read_csv(tmp_path / "out" / "errors.csv", keep_default_na=False)
    assert list(errors.columns) == ["id", "path", "error"]
    assert set(errors["id"]) == bad
    assert len(read_cohort(path)) == 9
    assert json.loads((tmp_path / "out" / "truth.json").read_text())["unreadable"] == len(bad)


def test_nothing_that_can_be_used_other_settings_and_a_bad_share_are_told(tmp_path: Path) -> None:
    normals = pictures(tmp_path / "normals", 4)
    simulate_lesions(normals, tmp_path / "out", **SMALL)
    with pytest.raises(CohortError, match=r"made with .*seed 0.*; choose another --out"):
        simulate_lesions(normals, tmp_path / "out", seed=1, **SMALL)
    pictures(normals, 1, name="z")
    with pytest.raises(CohortError, match="normals"):
        simulate_lesions(normals, tmp_path / "out", **SMALL)
    with pytest.raises(CohortError, match=r"none of 5 images can be used; the first: .*no room"):
        simulate_lesions(normals, tmp_path / "none", radius=(50, 60), share=1.0)
    with pytest.raises(CohortError, match="share is 0"):
        simulate_lesions(normals, tmp_path / "none", share=0)
