"""Headers that claim more than their files hold are refused by it, before memory is taken or a library is asked."""

import gzip
import io
import re
import struct
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import PIL.Image
import pytest

from anomaly.errors import UnreadableImage
from anomaly.images import itk_headers, read
from anomaly.images.claims import Within, refuse_more
from anomaly.images.contents import pointer, tiff_tag
from anomaly.images.image import Image
from anomaly.images.preprocessing import Preprocessing

VALUES = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
CLAIM = "its header tells .* values, .* bytes, and the file holds"
META = "ObjectType = Image\nNDims = {axes}\nDimSize = {sizes}\nElementType = MET_SHORT\nElementDataFile = LOCAL\n"


def refused(path: Path, told: str) -> None:
    with pytest.raises(UnreadableImage, match=told) as caught:
        read(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_what_a_file_can_just_hold_is_not_refused(tmp_path: Path) -> None:
    refuse_more(tmp_path, (10, 8), 16, 160)
    refuse_more(tmp_path, (10, 8), 1, 1, 10)
    with pytest.raises(UnreadableImage, match=r"10 x 9 values, 180 bytes, and the file holds 160;.* copy it again"):
        refuse_more(tmp_path, (10, 9), 16, 160)


def test_a_length_beyond_the_end_is_cut(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(20_000))
    with Within(tmp_path / "a") as file:
        assert len(file.read(2)) == 2 and len(file.read(2**40)) == 19_998 and file.read(2**40) == b""


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".mgh", ".mgz"])
def test_more_voxels_than_there_are(tmp_path: Path, ending: str) -> None:
    kind = nib.MGHImage if "mg" in ending else nib.Nifti1Image
    content = bytearray(kind(VALUES, np.eye(4)).to_bytes())
    place, form = (4, ">3i") if "mg" in ending else (42, "<3h")
    struct.pack_into(form, content, place, 2000, 2000, 2000)
    (tmp_path / f"a{ending}").write_bytes(gzip.compress(content) if "z" in ending else content)
    refused(tmp_path / f"a{ending}", CLAIM)


@pytest.mark.parametrize(("kind", "place"), [(nib.Nifti1Image, 352), (nib.Nifti2Image, 544)])
def test_an_extension_of_nifti_longer_than_its_file(tmp_path: Path, kind: type, place: int) -> None:
    file = kind(VALUES, np.eye(4))
    file.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"as it was"))
    content = bytearray(file.to_bytes())
    (tmp_path / "a.nii").write_bytes(content)
    assert read(tmp_path / "a.nii").space == (2, 3, 4)
    struct.pack_into("<i", content, place, 1600)
    (tmp_path / "a.nii").write_bytes(content)
    refused(tmp_path / "a.nii", CLAIM)


@pytest.mark.parametrize("ending", [".npy", ".npz"])
def test_more_values_of_an_array_than_there_are(tmp_path: Path, ending: str) -> None:
    stream = io.BytesIO()
    np.save(stream, VALUES)
    content = stream.getvalue().replace(b"(2, 3, 4), ", b"(2, 3, 99),")
    if ending == ".npz":
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as file:
            file.writestr("image.npy", content)
        content = stream.getvalue()
    (tmp_path / f"a{ending}").write_bytes(content)
    refused(tmp_path / f"a{ending}", CLAIM)


def with_tag(content: bytes, tag: int, value: int) -> bytes:
    """A small TIFF with another number in one of its tags."""
    changed = bytearray(content)
    entry = max(content.find(struct.pack("<HH", tag, form)) for form in (3, 4))
    struct.pack_into("<H", changed, entry + 8, value)
    return bytes(changed)


def test_a_tiff_of_fewer_strips_or_bytes_than_rows(tmp_path: Path) -> None:
    stream = io.BytesIO()
    PIL.Image.fromarray(np.ones((20, 18), np.uint8)).save(stream, "TIFF")
    (tmp_path / "strips.tif").write_bytes(with_tag(stream.getvalue(), 257, 40))
    refused(tmp_path / "strips.tif", "lists 1 strips or tiles, and its size of 40 x 18 asks for 2")
    (tmp_path / "bytes.tif").write_bytes(with_tag(with_tag(stream.getvalue(), 257, 40), 278, 40))
    refused(tmp_path / "bytes.tif", "40 x 18 x 1 values, 720 bytes, and the file holds 360")
    (tmp_path / "untold.tif").write_bytes(with_tag(stream.getvalue(), 279, 0))
    assert read(tmp_path / "untold.tif").space == (20, 18)


def test_a_tag_of_a_tiff_cut_short_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(b"II*\0\x08\0")
    assert tiff_tag(tmp_path / "a.tif", 258) is None
    refused(tmp_path / "a.tif", "TIFF|damaged")


@pytest.mark.parametrize(("axes", "sizes"), [("2", "2 3 4"), ("3", "2 3"), ("3", "2 3 many")])
def test_axes_of_a_metaimage_without_their_lengths(tmp_path: Path, axes: str, sizes: str) -> None:
    pytest.importorskip("SimpleITK")
    (tmp_path / "a.mha").write_bytes(META.format(axes=axes, sizes=sizes).encode() + VALUES.tobytes())
    refused(tmp_path / "a.mha", "expected one number of axes .up to 10. and as many lengths above 0")


@pytest.mark.parametrize("ending", [".mha", ".mhd"])
def test_a_compressed_metaimage_of_fewer_values_than_told(tmp_path: Path, ending: str) -> None:
    itk = pytest.importorskip("SimpleITK")
    itk.WriteImage(itk.GetImageFromArray(VALUES), str(tmp_path / f"a{ending}"), True)
    assert read(tmp_path / f"a{ending}").space == (4, 3, 2)
    content = (tmp_path / f"a{ending}").read_bytes()
    (tmp_path / f"a{ending}").write_bytes(content.replace(b"DimSize = 4 3 2", b"DimSize = 4 3 9"))
    refused(tmp_path / f"a{ending}", "4 x 3 x 9 x 1 values, 216 bytes, and the file holds 48")


def test_a_metaimage_without_a_file_of_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    itk = pytest.importorskip("SimpleITK")
    itk.WriteImage(itk.GetImageFromArray(VALUES), str(tmp_path / "a.mha"))
    monkeypatch.setattr(itk_headers, "STRANGE", re.compile("LOCAL"))
    refused(tmp_path / "a.mha", "its header names no file of values")


def test_a_long_line_of_a_header_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    itk = pytest.importorskip("SimpleITK")
    itk.WriteImage(itk.GetImageFromArray(VALUES), str(tmp_path / "a.nrrd"))
    assert read(tmp_path / "a.nrrd").space == (4, 3, 2)
    monkeypatch.setattr(itk_headers, "LONGEST", 20)
    refused(tmp_path / "a.nrrd", "a line of more than 20 letters")


def test_an_image_too_long_and_thin_for_the_grid_lies_on_one_row_of_it() -> None:
    values = np.linspace(0, 1, 900, dtype=np.float32).reshape(1, 1, 900)
    pixels = Preprocessing(size=16).apply(Image(values, np.eye(4), Path("thin.png"), "picture")).pixels[0, 0]
    assert (pixels.std(axis=1) > 0).sum() == 1 and np.isfinite(pixels).all()


def test_voxels_of_absurd_sizes_cost_no_memory() -> None:
    pixels = np.random.default_rng(0).normal(size=(1, 5, 6, 7)).astype(np.float32)
    image = Image(pixels, np.diag([1e9, 1.0, 1.0, 1.0]), Path("a.nii"), "nifti")
    assert Preprocessing(dims=3, size=15).apply(image).pixels.shape == (1, 1, 15, 15, 15)


def test_a_name_too_long_for_the_disk_points_nowhere(tmp_path: Path) -> None:
    assert pointer(tmp_path / ("x" * 3000)) == ""
