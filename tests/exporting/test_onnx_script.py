"""What `score.py` makes of images without this program, held against what this program makes of them."""

import re
from dataclasses import asdict

import nibabel as nib
import numpy as np
import PIL.Image
import pytest
from studies import values

from anomaly.errors import UnreadableImage
from anomaly.exporting import prepare, stranger
from anomaly.exporting.readme import scripts
from anomaly.images import read
from anomaly.images.preprocessing import Preprocessing
from anomaly.runs.calibration import Calibration, capped, joint_p

LYING = np.array([[0, 0, -3.0, 9], [1.5, 0, 0, 2], [0, -0.7, 0.1, 5], [0, 0, 0, 1]])  # axes exchanged and turned round
UPRIGHT = np.diag([1.0, 1, 2, 1])


def saved(folder, name):
    """A file of a kind: pictures of one, eight and sixteen bits and of colours, volumes that lie in several ways."""
    kind, _, rest = name.partition(" ")
    space = tuple(int(each) for each in rest.split("x"))
    pixels, path = values(space, seed=sum(space)), folder / f"{kind}.{'png' if len(space) == 2 else 'nii.gz'}"
    modes = {"bit": "1", "palette": "P", "alpha": "LA", "colours": "RGB", "clear": "RGBA"}
    if kind == "deep":
        PIL.Image.fromarray(pixels.astype(np.uint16) * 200).save(path)
    elif kind in ("colours", "clear"):
        three = np.stack([pixels, pixels[::-1], pixels // 2], -1)
        PIL.Image.fromarray(three).convert(modes[kind]).save(path)
    elif len(space) == 2:
        PIL.Image.fromarray(pixels).convert(modes.get(kind, "L")).save(path)
    else:
        affine = {"lying": LYING, "metres": np.diag([1e-3, 1e-3, 2e-3, 1])}.get(kind, UPRIGHT)
        stored = pixels.astype(np.float32) - 100 if kind == "lying" else pixels
        stored = np.stack([stored, stored[::-1]], -1) if kind == "pair" else stored
        file = nib.Nifti1Image(stored, affine)
        file.header.set_xyzt_units("meter" if kind == "metres" else "mm")
        nib.save(file, path)
    return path


FILES = ("grey 30x21", "deep 9x14", "bit 20x20", "palette 16x12", "alpha 13x12", "colours 24x31", "clear 12x12")
VOLUMES = ("lying 9x14x11", "upright 12x10x7", "metres 8x8x5")
PICTURED = {
    "padded": {},
    "stretched, whole range": {"fit": "resize", "intensity": "range"},
    "cut, deviations": {"fit": "crop", "intensity": "zscore"},
    "window, odd": {"size": (7, 11), "intensity": "window", "window": (20, 170)},
    "three channels": {"channels": 3},
    "far smaller": {"size": 2},
    "their own size": {"size": None},
}
SOLID = {
    "padded": {},
    "spacing": {"spacing": (1.5, 2.0, 2.5)},
    "cut to spacing, as they lie": {"fit": "crop", "spacing": 2.0, "orientation": "keep"},
    "stretched, turned": {"fit": "resize", "orientation": "LPI", "percentiles": (2, 90)},
    "blocks": {"size": (2, 3, 2), "fit": "resize"},
    "their own size": {"size": None, "spacing": 1.7},
}
SLICED = {
    "axial": {},
    "sagittal, spacing": {"slices": "sagittal", "spacing": 1.3},
    "coronal, with context": {"slices": "coronal", "context": 1, "orientation": "PIR"},
}


def held(path, how):
    """What the program and the script make of one file."""
    expected = read(path)
    expected = how.apply(expected).pixels
    found = prepare.prepared(str(path), asdict(how), ["n", *expected.shape[1:]])
    assert found.shape == expected.shape and found.dtype == np.float32
    assert np.abs(found - expected).max() <= 2e-5


@pytest.mark.parametrize("case", PICTURED)
@pytest.mark.parametrize("file", FILES)
def test_pictures_are_prepared_as_here(tmp_path, file, case):
    held(saved(tmp_path, file), Preprocessing(**{"size": 12, **PICTURED[case]}))


@pytest.mark.parametrize("case", SOLID)
@pytest.mark.parametrize("file", VOLUMES)
def test_volumes_are_prepared_as_here(tmp_path, file, case):
    held(saved(tmp_path, file), Preprocessing(**{"dims": 3, "size": 8, **SOLID[case]}))


@pytest.mark.parametrize("case", SLICED)
@pytest.mark.parametrize("file", [*VOLUMES, "lying 9x1x11", "upright 6x9x1"])
def test_slices_are_prepared_as_here(tmp_path, file, case):
    how = Preprocessing(**{"size": 12, **SLICED[case]})
    if "1" in re.split("[ x]", file) and how.context is not None:
        with pytest.raises(prepare.Unusable, match="no slices beside it"):
            prepare.prepared(str(saved(tmp_path, file)), asdict(how), ["n", 4, 12, 12])
    else:
        held(saved(tmp_path, file), how)


def test_channels_of_a_volume_and_values_as_they_are(tmp_path):
    held(saved(tmp_path, "pair 6x7x8"), Preprocessing(dims=3, size=8, channels=2, intensity="range"))
    nib.save(nib.Nifti1Image(np.linspace(-1, 1, 60, dtype=np.float32).reshape(3, 4, 5), UPRIGHT), tmp_path / "own.nii")
    held(tmp_path / "own.nii", Preprocessing(dims=3, size=8, intensity="none"))


REFUSED = {
    "masks": ("grey 9x9", {"mask": "given"}, "masks and foregrounds"),
    "foregrounds": ("grey 9x9", {"foreground": "otsu"}, "masks and foregrounds"),
    "a picture for volumes": ("grey 9x9", {"dims": 3}, "is a picture"),
    "a spacing that is not told": ("grey 9x9", {"spacing": 1.0}, "pixel size"),
    "a range that is not told": ("lying 5x6x7", {"dims": 3, "intensity": "range"}, "range of its values"),
    "other channels": ("pair 5x6x7", {"dims": 3}, "2 channels; expected 1"),
    "values beyond": ("grey 9x9", {"intensity": "none"}, r"expected \[-1, 1\]"),
    "another size": ("grey 9x9", {"size": 11}, "the model takes"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_it_does_not_prepare_is_refused_by_name(tmp_path, case):
    file, settings, told = REFUSED[case]
    how = Preprocessing(**{"size": 12, **settings})
    with pytest.raises(prepare.Unusable, match=told):
        prepare.prepared(str(saved(tmp_path, file)), asdict(how), ["n", 1, *(12,) * how.dims])


@pytest.mark.parametrize("format", ["TIFF", "GIF", "PPM", "ICO"])
def test_only_formats_that_it_names_are_opened_whatever_a_file_is_called(tmp_path, format):
    PIL.Image.fromarray(values((16, 16), seed=1)).save(tmp_path / "x.png", format=format)
    with pytest.raises(prepare.Unusable, match="is no PNG, JPEG or BMP whatever its name says") as refused:
        prepare.prepared(str(tmp_path / "x.png"), asdict(Preprocessing(size=12)), ["n", 1, 12, 12])
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("format", ["JPEG", "BMP", "MPO"])
def test_formats_that_it_names_are_opened_whatever_a_file_is_called(tmp_path, format):
    PIL.Image.fromarray(values((16, 16), seed=1)).convert("RGB").save(tmp_path / "x.png", format=format)
    held(tmp_path / "x.png", Preprocessing(size=12))


def test_files_that_say_nothing_are_refused(tmp_path):
    PIL.Image.new("L", (9, 9), 7).save(tmp_path / "flat.png")
    how = Preprocessing(size=12)
    with pytest.raises(UnreadableImage, match="all pixels have the value 7"):
        how.apply(read(tmp_path / "flat.png"))
    with pytest.raises(prepare.Unusable, match="all pixels have the value 7"):
        prepare.prepared(str(tmp_path / "flat.png"), asdict(how), ["n", 1, 12, 12])
    with pytest.raises(prepare.Unusable, match=r"expected one of \.png"):
        prepare.prepared("scan.dcm", asdict(how), ["n", 1, 12, 12])


def test_z_and_p_are_those_of_the_calibration():
    random = np.random.default_rng(0)
    normals = np.round(random.normal(size=30), 1)
    none = np.zeros((1, 2, 2))
    told = Calibration(normals, np.array([f"s{k // 2 if k < 20 else k}" for k in range(30)]), none, none + 1, none)
    new = np.array([-9, *normals[:5], 0.123, 9, np.nan])
    found = np.array([stranger.standing(float(each), told.values, told.weights) for each in new])
    assert np.allclose(found[:, 0], told.z(new), rtol=1e-9, atol=1e-12, equal_nan=True)
    assert np.allclose(found[:, 1], told.p_value(new), rtol=1e-12, equal_nan=True)


def test_several_values_are_joined_as_an_ensemble_joins_them():
    random = np.random.default_rng(1)
    normals, whose = random.normal(size=(3, 24)), np.array([f"s{k // 2}" for k in range(24)])
    none = np.zeros((1, 2, 2))
    told = [Calibration(row, whose, none, none + 1, none) for row in normals]
    means = np.mean([each.departure(each.values) for each in told], axis=0)
    for new in (random.normal(size=3), np.full(3, 9.0), normals[:, 4], normals[:, 7] + 1e-3):
        mean, z, p = stranger.together(new, normals, told[0].weights)
        assert mean == pytest.approx(np.mean([each.departure(new[k : k + 1])[0] for k, each in enumerate(told)]))
        assert z == pytest.approx(capped(means, np.array([mean]), told[0].weights)[0])
        assert p == pytest.approx(joint_p(normals, new, told[0].weights))
    assert np.isnan(stranger.together(np.array([0, np.nan, 1]), normals, told[0].weights)).all()


def test_they_import_nothing_of_this_program():
    texts = scripts()
    assert set(texts) == {"score.py", "prepare.py"}
    for text in texts.values():
        assert not re.search(r"^\s*(from|import) (anomaly|explain|torch|scipy)", text, re.MULTILINE)


def test_images_of_one_name_get_files_of_their_own():
    taken = set()
    names = [stranger.stem(each, taken) for each in ("a/x.png", "b/x.nii.gz", "X.npy", "x-2.png", "y.nii")]
    assert names == ["x", "x-2", "X-3", "x-2-2", "y"]
