"""Folders of strangers: what of them is an image, what is passed over, and with which word."""

import json
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import PIL.Image
import pydicom
import pytest

from anomaly.errors import CohortError, UnreadableImage
from anomaly.images import find, read
from anomaly.images.itk import has_reader
from anomaly.images.pictures import write_grey
from anomaly.images.reading import READERS

RNG = np.random.default_rng(0)
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 12345\n"
RUN = {"format": 1, "checksum": "x"}
SCORE = {"weights": ["x"], "alpha": 0.05, "heatmaps": ["auto"]}
EXPLAIN = {"source": "x", "outputs": ["auto"], "thresholds": {}}
GENERATED = {"run": "x", "method": "y", "seed": 0}


def picture(path: Path, values: np.ndarray | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_grey(path, RNG.integers(0, 255, (32, 32), dtype=np.uint8) if values is None else values)
    return path


def volume(path: Path, values: np.ndarray | None = None, dtype: type = np.int16) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = RNG.integers(0, 900, (8, 9, 10)) if values is None else values
    nib.save(nib.Nifti1Image(values.astype(dtype), np.diag([2.0, 2, 3, 1])), path)
    return path


def facts(path: Path, told: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(told))


def found(folder: Path, **options: object) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in find(folder, **options)]  # type: ignore[arg-type]


def blob(shape: tuple[int, ...], *values: int) -> np.ndarray:
    made = np.zeros(shape, dtype=np.uint8)
    for n, value in enumerate(values):
        made[2 + 2 * n : 4 + 2 * n, 2:6] = value
    return made


# What the program made itself


def test_what_the_program_made_is_passed_over_with_a_word(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    picture(tmp_path / "a.png")
    for name, told in (("run", RUN), ("score", SCORE), ("explain", EXPLAIN), ("generated", GENERATED)):
        facts(tmp_path / "made" / name / f"{name}.json", told)
        picture(tmp_path / "made" / name / "deep" / "x.png")
    facts(tmp_path / "unfinished" / "checkpoint" / "plan.json", {"fingerprint": "x", "preprocessing": {}})
    picture(tmp_path / "unfinished" / "samples" / "x.png")
    volume(tmp_path / "heatmaps" / "a_anomaly.nii.gz")
    with caplog.at_level(logging.INFO):
        assert found(tmp_path) == ["a.png"]
    assert "passed over 6 folders of this program, such as" in caplog.text


def test_scores_written_into_the_folder_of_the_images(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    facts(tmp_path / "score.json", SCORE)
    facts(tmp_path / "evaluation.json", {"headline": "", "notes": [], "sections": [{"name": "odds"}]})
    for name in ("heatmaps/a.png", "roc.png", "distribution.png", "odds.png"):
        picture(tmp_path / name)
    assert found(tmp_path) == ["a.png"]


def test_a_folder_of_the_programs_given_on_purpose_is_taken(tmp_path: Path) -> None:
    facts(tmp_path / "generated" / "generated.json", GENERATED)
    picture(tmp_path / "generated" / "images" / "x.png")
    picture(tmp_path / "generated" / "sheet.png")
    assert found(tmp_path / "generated") == ["images/x.png"]
    facts(tmp_path / "explained" / "explain.json", EXPLAIN)
    volume(tmp_path / "explained" / "maps" / "x_map.nii.gz")
    assert found(tmp_path / "explained") == ["maps/x_map.nii.gz"]
    assert found(tmp_path / "explained" / "maps") == ["x_map.nii.gz"]


def test_folders_that_only_share_a_name_are_taken(tmp_path: Path) -> None:
    for name in ("run.json", "score.json", "explain.json"):
        (tmp_path / name[:-5]).mkdir()
        (tmp_path / name[:-5] / name).write_text("[]" if name == "run.json" else '{"alpha": 1}')
        picture(tmp_path / name[:-5] / "x.png")
    picture(tmp_path / "heatmaps" / "x.png")
    assert found(tmp_path) == ["explain/x.png", "heatmaps/x.png", "run/x.png", "score/x.png"]


# Masks


@pytest.mark.parametrize(
    "names",
    [
        ["sub-1/anat/sub-1_T1w.nii.gz", "sub-1/anat/sub-1_desc-brain_mask.nii.gz"],
        ["sub-1_T1w.nii.gz", "sub-1_dseg.nii.gz", "sub-1_label-GM_probseg.nii.gz"],
        ["P1.nii.gz", "P1_seg.nii.gz", "P2.nii.gz", "P2-label.nii.gz", "P2.roi.nii.gz"],
        ["BraTS_1_t1.nii.gz", "BraTS_1_seg.nii.gz"],
        ["imagesTr/knee_1_0000.nii.gz", "labelsTr/knee_1.nii.gz"],
        ["x/scan.nii.gz", "masks/scan.nii.gz"],
        ["mri/T1.mgz", "mri/aparc+aseg.mgz", "mri/ribbon.mgz", "mri/wmparc.mgz"],
    ],
)
def test_masks_are_known_by_their_names(names: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in names:
        volume(tmp_path / name, dtype=np.float32 if name.endswith("mgz") else np.int16)
    images = [name for name in names if name in ("P2.nii.gz", names[0])]
    assert found(tmp_path) == sorted(images)
    out = len(names) - len(images)
    assert f"left out {out} masks or segmentations, such as" in caplog.text and "(by its name)" in caplog.text


def test_names_that_only_sound_like_masks_are_images(tmp_path: Path) -> None:
    names = ["P1_seg.png", "labels/x.png", "unmasked.png", "x_healthy.png", "x_lesion.png"]
    for name in names:
        picture(tmp_path / name)
    assert found(tmp_path) == sorted(names)


def test_masks_are_taken_where_they_are_asked_for(tmp_path: Path) -> None:
    volume(tmp_path / "sub-1_mask.nii.gz")
    with pytest.raises(CohortError, match=r"nothing but masks .*1, such as sub-1_mask.nii.gz.*--match '\*mask\*'"):
        find(tmp_path)
    volume(tmp_path / "sub-1_T1w.nii.gz")
    assert found(tmp_path, match="*_mask.nii.gz") == ["sub-1_mask.nii.gz"]
    assert found(tmp_path, match="sub-*") == ["sub-1_T1w.nii.gz"]
    assert len(find(tmp_path, all_of_it=True)) == 2


def save_array(path: Path, values: np.ndarray) -> None:
    np.save(path, values)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("lesion.nii.gz", lambda path: volume(path, blob((32, 32, 8), 1))),
        ("lesion.nii", lambda path: volume(path, blob((32, 32, 8), 1, 2, 4), np.float32)),
        ("lesion.mgz", lambda path: nib.save(nib.MGHImage(blob((32, 32, 8), 3), np.eye(4)), path)),
        ("lesion.png", lambda path: picture(path, blob((64, 64), 255))),
        ("lesion.bmp", lambda path: PIL.Image.fromarray(blob((64, 64), 255)).save(path)),
        ("lesion.npy", lambda path: save_array(path, blob((32, 32, 8), 1).astype(bool))),
        ("colours.png", lambda path: PIL.Image.fromarray(blob((64, 64), 200)).convert("RGB").save(path)),
    ],
)
def test_a_mask_of_any_name_is_known_by_its_few_whole_numbers(
    name: str, write: Callable[[Path], object], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path / name)
    assert found(tmp_path) == [name]  # alone it is what the folder is made of
    volume(tmp_path / "scan.nii.gz", RNG.integers(0, 900, (32, 32, 8)))
    assert found(tmp_path) == ["scan.nii.gz"]
    assert f"such as {name} (few values, whole numbers)" in caplog.text
    assert found(tmp_path, match="*") == sorted([name, "scan.nii.gz"])


def test_a_constant_image_and_one_of_fractions_are_no_masks(tmp_path: Path) -> None:
    picture(tmp_path / "blank.png", np.zeros((64, 64), dtype=np.uint8))
    volume(tmp_path / "halves.nii.gz", blob((32, 32, 8), 1) / 2, np.float32)
    picture(tmp_path / "scan.png")
    assert found(tmp_path) == ["blank.png", "halves.nii.gz", "scan.png"]


# Content that is elsewhere


def test_links_to_absent_content_are_left_out_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    link = tmp_path / "sub-1_T1w.nii.gz"
    link.symlink_to("../.git/annex/objects/aa/bb/x.nii.gz")
    (tmp_path / "lfs.png").write_text(POINTER)
    (tmp_path / "unlocked.nii").write_text("/annex/objects/MD5E-s1--x.nii\n")
    with pytest.raises(CohortError, match=r"none of its 3 images is here: .*; git lfs pull"):
        find(tmp_path)
    picture(tmp_path / "a.png")
    assert found(tmp_path) == ["a.png"]
    assert "left out 3 images whose content is not here" in caplog.text and "git lfs pull" in caplog.text
    told = {
        "sub-1_T1w.nii.gz": "git annex get",
        "lfs.png": "is a pointer of Git LFS, not the image itself; git lfs pull",
    }
    for name, words in (told | {"unlocked.nii": "is a pointer of git-annex"}).items():
        with pytest.raises(UnreadableImage, match=words):
            read(tmp_path / name)


def test_a_series_with_a_slice_that_is_not_here_is_not_read_without_it(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "1.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\0" * 2000)
    (tmp_path / "s" / "2.dcm").symlink_to("/nowhere/annex/objects/2.dcm")
    with pytest.raises(UnreadableImage, match=r"1 of its 2 files are not here \(2.dcm is a link .*git annex get"):
        read(tmp_path / "s")


# Names


def test_a_file_whose_name_is_not_utf8_is_found(tmp_path: Path) -> None:
    with open(os.fsencode(tmp_path) + b"/caf\xe9.npy", "wb") as file:
        np.save(file, np.ones((4, 4)))
    (path,) = find(tmp_path)
    assert read(path).path == tmp_path / "caf\\xe9.npy"


# Formats


def test_what_a_picture_is_that_is_none_is_said(tmp_path: Path) -> None:
    (tmp_path / "page.png").write_text("<!DOCTYPE html><html><body>404</body></html>")
    (tmp_path / "paper.png").write_bytes(b"%PDF-1.7 and more")
    (tmp_path / "scan.png").write_bytes(b"\0" * 128 + b"DICM" + b"\0" * 100)
    (tmp_path / "cut.png").write_bytes(picture(tmp_path / "whole.png").read_bytes()[:20])
    told = {"page.png": "HTML page", "paper.png": "PDF", "scan.png": "a DICOM file", "cut.png": "damaged"}
    for name, words in told.items():
        with pytest.raises(UnreadableImage, match=words) as error:
            read(tmp_path / name)
        assert "MPO" not in str(error.value) and "\n" not in str(error.value)
    (tmp_path / "page.nii.gz").write_text("<html></html>")
    with pytest.raises(UnreadableImage, match=r"is an HTML page .*, not what its name says"):
        read(tmp_path / "page.nii.gz")


def tiff(path: Path, values: np.ndarray, kind: int, white: int = 1) -> Path:
    """A TIFF of one strip: TIFF 6.0, written by hand since Pillow writes none of 64 bits."""
    bits, data = values.dtype.itemsize * 8, values.tobytes()
    tags = [(256, values.shape[1]), (257, values.shape[0]), (258, bits), (259, 1), (262, white), (273, 200)]
    tags += [(277, 1), (278, values.shape[0]), (279, len(data)), (339, kind)]
    entries = b"".join(np.array([tag, 4, 1, 0, value, 0], "<u2").tobytes() for tag, value in tags)
    head = b"II*\0" + np.array([8], "<u4").tobytes() + np.array([len(tags)], "<u2").tobytes() + entries + b"\0" * 4
    path.write_bytes(head.ljust(200, b"\0") + data)
    return path


def test_tiff_of_every_kind_of_number_is_read_or_named(tmp_path: Path) -> None:
    values = np.array([[0, 1, 300], [7, 65535, 2]])
    for dtype, kind in ((np.uint16, 1), (np.uint32, 1), (np.int32, 2), (np.float32, 3)):
        image = read(tiff(tmp_path / "x.tif", values.astype(dtype), kind))
        assert (image.pixels[0] == values).all(), dtype
    large = np.array([[3_000_000_000, 1]], dtype=np.uint32)
    assert read(tiff(tmp_path / "x.tif", large, 1)).pixels.max() == np.float32(3e9)
    turned = read(tiff(tmp_path / "x.tif", values.astype(np.uint16), 1, white=0))
    assert (turned.pixels[0] == 65535 - values).all() and turned.limits == (0, 65535)
    with pytest.raises(UnreadableImage, match="a TIFF picture of 64-bit floating-point numbers; pictures are read as"):
        read(tiff(tmp_path / "x.tif", values.astype(np.float64), 3))


def test_bmp_and_gif_are_read_and_a_film_is_refused(tmp_path: Path) -> None:
    values = RNG.integers(0, 255, (5, 7), dtype=np.uint8)
    for name in ("x.bmp", "x.gif"):
        PIL.Image.fromarray(values).save(tmp_path / name)
        image = read(tmp_path / name)
        assert (image.pixels[0] == values).all() and image.limits == (0, 255) and image.kind == "picture"
    frames = [PIL.Image.fromarray(RNG.integers(0, 255, (5, 7), dtype=np.uint8)) for _ in range(2)]
    frames[0].save(tmp_path / "film.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(UnreadableImage, match="has 2 pages"):
        read(tmp_path / "film.gif")


AFFINE = np.array([[0, -2.0, 0, 10], [1.5, 0, 0, -20], [0, 0, 3.0, 30], [0, 0, 0, 1]])
VALUES = RNG.normal(size=(4, 5, 6)).astype(np.float32)


def test_mgh_lies_where_nibabel_says(tmp_path: Path) -> None:
    nib.save(nib.MGHImage(VALUES, AFFINE), tmp_path / "x.mgh")
    image = read(tmp_path / "x.mgh")
    assert (image.pixels[0] == VALUES).all() and np.allclose(image.affine, AFFINE, atol=1e-4)
    assert found(tmp_path) == ["x.mgh"]


@pytest.mark.parametrize("kind", [nib.Nifti1Pair, nib.AnalyzeImage, nib.Spm99AnalyzeImage])
def test_two_files_are_one_image(kind: type, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kind(VALUES, AFFINE if kind is nib.Nifti1Pair else np.diag([-2.0, 2, 3, 1])).to_filename(tmp_path / "x.img")
    (tmp_path / "disk.img").write_bytes(b"\0" * 600)
    assert found(tmp_path) == ["x.img"]
    assert ("do not tell left from right" in caplog.text) is (kind is not nib.Nifti1Pair)
    for name in ("x.img", "x.hdr"):
        image = read(tmp_path / name)
        assert (image.pixels[0] == VALUES).all()
        assert np.allclose(image.affine, nib.load(tmp_path / "x.img").affine)
    (tmp_path / "x.hdr").unlink()
    with pytest.raises(UnreadableImage, match=r"no \.hdr file beside it"):
        read(tmp_path / "x.img")


def test_without_simpleitk_its_formats_are_counted_and_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("anomaly.images.itk.has_reader", lambda: False)
    for name in ("a.mha", "b.nrrd"):
        (tmp_path / name).write_bytes(b"x")
    assert found(tmp_path) == ["a.mha", "b.nrrd"]
    assert (
        '2 MetaImage or NRRD files cannot be read without SimpleITK: pip install "anomaly-explain[dicom]"'
        in caplog.text
    )
    with pytest.raises(UnreadableImage, match=r"anomaly-explain\[dicom\]"):
        read(tmp_path / "a.mha")


@pytest.mark.skipif(not has_reader(), reason="SimpleITK is an extra")
@pytest.mark.parametrize("ending", ["mha", "mhd", "nrrd", "nhdr", "nii"])
def test_volumes_of_itk_lie_where_nibabel_lays_them(ending: str, tmp_path: Path) -> None:
    import SimpleITK

    volume(tmp_path / "source.nii.gz")
    nib.save(nib.Nifti1Image(VALUES, AFFINE), tmp_path / "source.nii.gz")
    source = SimpleITK.ReadImage(str(tmp_path / "source.nii.gz"))
    SimpleITK.WriteImage(source, str(tmp_path / "out" / f"x.{ending}") if (tmp_path / "out").mkdir() is None else "")
    image = read(tmp_path / "out" / f"x.{ending}")
    assert (image.pixels[0] == VALUES).all() and np.allclose(image.affine, AFFINE, atol=1e-4)
    assert found(tmp_path / "out") == [f"x.{ending}"]


@pytest.mark.skipif(not has_reader(), reason="SimpleITK is an extra")
def test_pictures_channels_and_damage_of_itk(tmp_path: Path) -> None:
    import SimpleITK

    flat = SimpleITK.GetImageFromArray(RNG.integers(0, 255, (5, 7), dtype=np.uint8))
    flat.SetSpacing((0.5, 0.25))
    SimpleITK.WriteImage(flat, str(tmp_path / "flat.mha"))
    image = read(tmp_path / "flat.mha")
    assert image.space == (5, 7) and np.diag(image.affine)[:2].tolist() == [0.25, 0.5]
    colours = RNG.normal(size=(6, 5, 4, 3)).astype(np.float32)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(colours, isVector=True), str(tmp_path / "c.nrrd"))
    assert (read(tmp_path / "c.nrrd").pixels == colours.transpose(3, 2, 1, 0)).all()
    (tmp_path / "lost.mhd").write_text(
        "NDims = 3\nDimSize = 2 2 2\nElementType = MET_FLOAT\nElementDataFile = lost.raw\n"
    )
    with pytest.raises(UnreadableImage, match=r"lost\.mhd: cannot be read by SimpleITK \(.*\)") as error:
        read(tmp_path / "lost.mhd")
    assert "\n" not in str(error.value)


def test_a_package_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(path: Path) -> None:
        raise ModuleNotFoundError("No module named 'h5py'", name="h5py")

    monkeypatch.setitem(READERS, ".mnc", missing)
    (tmp_path / "x.mnc").write_bytes(b"\x89HDF\r\n\x1a\n")
    with pytest.raises(UnreadableImage, match="needs the package h5py, which is missing: pip install h5py"):
        read(tmp_path / "x.mnc")


def test_dicom_objects_beside_images_are_left_out_with_a_word(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    from pydicom.data import get_testdata_file

    series = tmp_path / "patient"
    series.mkdir()
    for name in ("CT_small.dcm", "liver_1frame.dcm", "rtstruct.dcm", "reportsi.dcm"):
        shutil.copy(get_testdata_file(name), series / name)
    assert find(tmp_path) == [series / "CT_small.dcm"]
    assert "left out 3 DICOM objects that are no images, such as" in caplog.text and "(SEG)" in caplog.text
    assert len(find(tmp_path, all_of_it=True)) == 4
    (series / "CT_small.dcm").unlink()
    assert series / "liver_1frame.dcm" in find(tmp_path)


def test_a_series_is_read_without_the_segmentation_that_lies_in_its_folder(tmp_path: Path) -> None:
    from pydicom.data import get_testdata_file

    data = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    for k in range(3):
        data.ImagePositionPatient, data.SOPInstanceUID = [0, 0, 5.0 * k], f"1.2.3.{k}"
        data.save_as(tmp_path / f"{k}.dcm")
    before = read(tmp_path)
    shutil.copy(get_testdata_file("liver_1frame.dcm"), tmp_path / "seg.dcm")
    assert find(tmp_path) == [tmp_path]
    np.testing.assert_array_equal(read(tmp_path).pixels, before.pixels)
