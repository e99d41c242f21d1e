"""What `score.py` makes of images without this program, held against what this program makes of them."""

import re
from dataclasses import asdict

import nibabel as nib
import numpy as np
import PIL.Image
import pytest
from studies import values

from anomaly.errors import UnreadableImage
from anomaly.exporting import stranger
from anomaly.exporting.readme import SCRIPT
from anomaly.images import read
from anomaly.images.preprocessing import Preprocessing
from anomaly.runs.calibration import Calibration

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
    found = stranger.prepared(str(path), asdict(how), ["n", *expected.shape[1:]])
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
        with pytest.raises(SystemExit, match="no slices beside it"):
            stranger.prepared(str(saved(tmp_path, file)), asdict(how), ["n", 4, 12, 12])
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
    with pytest.raises(SystemExit, match=told):
        stranger.prepared(str(saved(tmp_path, file)), asdict(how), ["n", 1, *(12,) * how.dims])


def test_files_that_say_nothing_are_refused(tmp_path):
    PIL.Image.new("L", (9, 9), 7).save(tmp_path / "flat.png")
    how = Preprocessing(size=12)
    with pytest.raises(UnreadableImage, match="all pixels have the value 7"):
        how.apply(read(tmp_path / "flat.png"))
    with pytest.raises(SystemExit, match="all pixels have the value 7"):
        stranger.prepared(str(tmp_path / "flat.png"), asdict(how), ["n", 1, 12, 12])
    with pytest.raises(SystemExit, match=r"expected one of \.png"):
        stranger.prepared("scan.dcm", asdict(how), ["n", 1, 12, 12])


def test_z_and_p_are_those_of_the_calibration():
    random = np.random.default_rng(0)
    normals = np.round(random.normal(size=30), 1)
    none = np.zeros((1, 2, 2))
    told = Calibration(normals, np.array([f"s{k // 2 if k < 20 else k}" for k in range(30)]), none, none + 1, none)
    facts = {"values": told.values.tolist(), "weights": told.weights.tolist()}
    new = np.array([-9, *normals[:5], 0.123, 9, np.nan])
    found = np.array([stranger.standing(float(each), facts) for each in new])
    assert np.allclose(found[:, 0], told.z(new), rtol=1e-9, atol=1e-12, equal_nan=True)
    assert np.allclose(found[:, 1], told.p_value(new), rtol=1e-12, equal_nan=True)


def test_it_imports_nothing_of_this_program():
    assert not re.search(r"^\s*(from|import) (anomaly|explain|torch|scipy)", SCRIPT.read_text(), re.MULTILINE)


def test_maps_are_written_over_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert stranger.targets(["a/x.png", "b/y.nii.gz", "z.npy"]) == ["x_map_z.npy", "y_map_z.npy", "z_map_z.npy"]
    for one, other in (("a/x.png", "b/x.png"), ("x.nii.gz", "x.npy"), ("x.png", "X.png")):
        with pytest.raises(SystemExit, match=f"{other}: its map would be written over that of {one}"):
            stranger.main([one, other])
    (tmp_path / "x_map_z.npy").write_bytes(b"kept")
    with pytest.raises(SystemExit, match=r"x_map_z\.npy is there already"):
        stranger.main(["y.png", "x.png"])
    assert (tmp_path / "x_map_z.npy").read_bytes() == b"kept"


def test_without_images_it_says_how_it_is_called():
    with pytest.raises(SystemExit, match=r"python score\.py IMAGE"):
        stranger.main([])
