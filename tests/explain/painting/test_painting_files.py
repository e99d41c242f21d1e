"""What is written of a painted image: outside of the mask every stored value is that of the source."""

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import PIL.Image
import pydicom
import pytest
from pydicom.data import get_testdata_file

from anomaly.errors import UnreadableImage
from anomaly.images import Image, read
from anomaly.images.labels import write_labels
from anomaly.images.redrawn import write_redrawn
from explain.painting.stored import differing, transparency
from explain.painting.writing import SAYS_MASK, write_painted

RNG = np.random.default_rng(0)


def painted_on(path: Path, out: Path) -> tuple[Image, np.ndarray, Path]:
    """The image, what was painted (*space) bool, and the file in which that is 3 more than it was."""
    image = read(path)
    hole = np.zeros(image.space, dtype=bool)
    hole[tuple(slice(1, 4) for _ in image.space)] = True
    values = np.where(hole, image.pixels + 3, image.pixels + 0.3)  # what a careless caller gives outside of it
    if image.kind != "nifti":
        values = np.where(hole, image.pixels + 3, image.pixels)
    return image, hole, write_painted(out / "x_painted-out", image, values, hole)


@pytest.mark.parametrize(("kind", "shape"), [(np.uint8, (9, 7)), (np.uint16, (9, 7)), (np.uint8, (9, 7, 3))])
def test_pictures_keep_their_depth(kind: type, shape: tuple[int, ...], tmp_path: Path) -> None:
    stored = RNG.integers(0, 200, shape).astype(kind)
    PIL.Image.fromarray(stored).save(tmp_path / "x.png")
    _, hole, written = painted_on(tmp_path / "x.png", tmp_path)
    with PIL.Image.open(written) as opened:
        assert opened.info["Description"] == "drawn by anomaly paint, not measured"
        back = np.asarray(opened)
    assert back.dtype == kind
    assert np.array_equal(back[~hole], stored[~hole])
    assert np.array_equal(back[hole], stored[hole] + 3)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize(
    ("kind", "slope", "inter", "shape"),
    [
        (">i2", 0.37, -12.5, (6, 5, 7)),
        ("<i2", 2.0, 10.0, (6, 5, 1)),
        ("<f4", 1.0, 0.0, (6, 5, 7)),
        ("<f8", 1.0, 0.0, (6, 5, 7, 1)),
        ("<u1", 1.0, 0.0, (6, 5, 7, 2)),
        ("<i4", 1.0, 0.0, (6, 5)),
    ],
)
def test_nifti_keeps_its_type_scaling_and_header(
    kind: str, slope: float, inter: float, shape: tuple[int, ...], ending: str, tmp_path: Path
) -> None:
    values = RNG.integers(0, 200, shape)
    stored = (values + (RNG.random(shape) if "f" in kind else 0)).astype(kind)
    header = nib.Nifti1Header(endianness=kind[0])
    header.set_data_dtype(np.dtype(kind))
    header.set_data_shape(shape)
    header["vox_offset"], header["scl_slope"], header["scl_inter"] = 352, slope, inter
    header["magic"], header["intent_name"] = b"n+1", b"kept"
    header.set_sform(np.diag([2.0, 1.0, 3.0, 1.0]), 1)
    content = header.binaryblock + bytes(4) + stored.tobytes(order="F")
    path = tmp_path / f"x{ending}"
    path.write_bytes(gzip.compress(content) if ending == ".nii.gz" else content)
    image, hole, written = painted_on(path, tmp_path)
    back = gzip.decompress(written.read_bytes())
    assert written.name == "x_painted-out.nii.gz"
    assert back[:148] == content[:148]
    assert back[148:180].startswith(b"drawn by anomaly paint")
    assert back[228:352] == content[228:352]
    raw = np.frombuffer(back, dtype=kind, offset=352).reshape(shape, order="F")
    whole = hole.reshape(*hole.shape, *[1] * (len(shape) - hole.ndim)) | np.zeros(shape, dtype=bool)
    assert np.array_equal(raw[~whole], stored[~whole])
    assert (raw[whole] != stored[whole]).all()
    step = slope / 2 if "f" not in kind else 1e-4
    assert np.abs(read(written).pixels - image.pixels - 3 * hole)[:, hole].max() <= step * 1.001 + 1e-4


def test_values_that_a_type_cannot_hold_are_its_ends(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(np.full((5, 5, 5), 254, dtype=np.uint8), np.eye(4)), tmp_path / "x.nii.gz")
    _, hole, written = painted_on(tmp_path / "x.nii.gz", tmp_path)
    found = np.asarray(nib.load(written).dataobj)
    assert (found[hole] == 255).all()
    assert (found[~hole] == 254).all()


def test_dicom_gives_whole_numbers_where_it_holds_such(tmp_path: Path) -> None:
    source = Path(str(get_testdata_file("CT_small.dcm")))
    image, hole, written = painted_on(source, tmp_path)
    file = nib.load(written)
    assert file.get_data_dtype() == np.int16
    assert np.isnan(file.dataobj.slope) or file.dataobj.slope == 1
    back = read(written)
    assert np.array_equal(back.pixels[:, ~hole], image.pixels[:, ~hole])
    assert np.array_equal(back.pixels[:, hole], image.pixels[:, hole] + 3)
    raw = pydicom.dcmread(source)
    hounsfield = raw.pixel_array * float(raw.RescaleSlope) + float(raw.RescaleIntercept)
    assert np.array_equal(back.pixels[0][~hole], hounsfield[~hole])


def test_arrays_of_fractions_stay_fractions(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", RNG.random((6, 7)).astype(np.float32))
    image, hole, written = painted_on(tmp_path / "x.npy", tmp_path)
    assert np.array_equal(read(written).pixels[:, ~hole], image.pixels[:, ~hole])


def test_masks_lie_on_the_grid_of_their_image(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(np.zeros((4, 5, 6), dtype=np.int16), np.diag([2.0, 3, 4, 1])), tmp_path / "x.nii.gz")
    places = RNG.integers(0, 3, (4, 5, 6))
    written = nib.load(
        write_labels(tmp_path / "x_mask", read(tmp_path / "x.nii.gz"), places.astype(np.uint8), SAYS_MASK)
    )
    assert np.array_equal(np.asarray(written.dataobj), places)
    assert np.array_equal(written.affine, np.diag([2.0, 3, 4, 1]))


@pytest.mark.parametrize("kind", [np.float64, np.int16, np.int64, np.float16])
@pytest.mark.parametrize("shape", [(6, 7), (2, 4, 5, 6)])
def test_arrays_keep_every_value(kind: type, shape: tuple[int, ...], tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", (RNG.random(shape) * 1000 + 1e-9).astype(kind))
    image, hole, written = painted_on(tmp_path / "x.npy", tmp_path)
    assert np.array_equal(differing(image, written), hole)
    values = np.asarray(nib.load(written).dataobj)
    assert values.dtype == (np.float32 if kind is np.float16 else np.int16 if kind is np.int64 else kind)
    first = values[..., 0] if len(shape) == 4 else values[:, :, 0]
    source = np.load(tmp_path / "x.npy")
    assert np.array_equal(first[~hole], (source[0] if len(shape) == 4 else source)[~hole])


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_stays(mode: str, tmp_path: Path) -> None:
    stored = RNG.integers(0, 200, (9, 7, len(mode))).astype(np.uint8)
    PIL.Image.fromarray(stored, mode).save(tmp_path / "x.png")
    image, hole, written = painted_on(tmp_path / "x.png", tmp_path)
    back = np.asarray(PIL.Image.open(written))
    assert np.array_equal(back[..., -1], stored[..., -1])
    assert np.array_equal(back[~hole], stored[~hole])
    assert np.array_equal(differing(image, written), hole)


def test_transparency_of_a_format_that_is_not_read_is_not_asked_for(tmp_path: Path) -> None:
    picture = PIL.Image.fromarray(RNG.integers(0, 200, (16, 16, 4)).astype(np.uint8))
    picture.save(tmp_path / "x.png")
    image = read(tmp_path / "x.png")
    assert transparency(image) is not None
    picture.save(tmp_path / "x.png", format="ICO", sizes=[(16, 16)])  # written over meanwhile
    with pytest.raises(UnreadableImage, match=r"^\S+x\.png: holds no PNG, JPEG, TIFF, BMP, GIF any more") as refused:
        transparency(image)
    assert "\n" not in str(refused.value)


def test_what_a_file_loses_is_seen(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", 1 + np.arange(12).reshape(3, 4) * 1e-12)
    image = read(tmp_path / "x.npy")
    assert (image.pixels == 1).all()  # in 32 bits
    rounded = write_redrawn(tmp_path / "y", image, image.pixels)
    assert differing(image, rounded).sum() == 11
    PIL.Image.fromarray(np.full((3, 4, 4), 9, dtype=np.uint8)).save(tmp_path / "x.png")
    image = read(tmp_path / "x.png")
    assert differing(image, write_redrawn(tmp_path / "z", image, image.pixels)).all()
