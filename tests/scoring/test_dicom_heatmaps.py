"""`--heatmaps dicom`: maps beside the series of each image, in its study; others are told by name."""

import csv
import importlib.abc
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_series import OBLIQUE, decimals, saved, series, slice_of, stored
from pydicom import dcmread
from pydicom.uid import ComputedRadiographyImageStorage
from studies import SOLID, pictures, trained, values, volumes

from anomaly.errors import CohortError, MissingPackage
from anomaly.images import find, read
from anomaly.images.dicom_sources import sources
from anomaly.pictures.heatmaps import coloured, grey
from anomaly.reporting.gallery import picture
from anomaly.runs.run import Run
from anomaly.scoring.maps import _write_dicom
from anomaly.scoring.score import score

PLAIN: dict[str, Any] = {"device": "cpu", "workers": 1}


@pytest.fixture(scope="module")
def solid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("solid")
    return trained(volumes(home / "normals", 20), home / "run", preprocessing=SOLID).folder


@pytest.fixture(scope="module")
def flat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("flat")
    return trained(pictures(home / "normals", 20), home / "run").folder


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def radiograph(path: Path, seed: int = 5) -> Path:
    tags: dict[str, Any] = {
        "SOPClassUID": ComputedRadiographyImageStorage,
        "FrameOfReferenceUID": None,
        "Modality": "CR",
    }
    return saved(path, slice_of(values((12, 12), seed).astype(int) * 16, seed, **tags))


def test_a_series_gets_a_map_and_an_overlay_and_scoring_again_gives_the_same_bytes(solid: Path, tmp_path: Path) -> None:
    folder = series(tmp_path / "images/P7", OBLIQUE)
    files = []
    for out in ("a", "b"):
        scored = score(solid, tmp_path / "images", tmp_path / out, heatmaps=["nifti", "dicom"], **PLAIN)
        (row,) = table(scored.path)
        assert row["heatmap"].split(";") == [f"heatmaps/P7_anomaly{end}" for end in (".nii.gz", ".dcm")] + [
            "heatmaps/P7_overlay.dcm"
        ]
        files.append([(tmp_path / out / name).read_bytes() for name in row["heatmap"].split(";")[1:]])
    assert files[0] == files[1]
    nifti, numbers, colours = (read(tmp_path / "a" / name) for name in row["heatmap"].split(";"))
    np.testing.assert_allclose(numbers.affine, read(folder).affine, atol=1e-6)
    np.testing.assert_allclose(nifti.affine, numbers.affine, atol=1e-4)
    np.testing.assert_allclose(numbers.pixels, nifti.pixels, atol=6e-4)
    np.testing.assert_allclose(numbers.pixels, np.round(numbers.pixels, 3), atol=1e-6)
    assert colours.space == numbers.space and colours.pixels.shape[0] == 3
    data = dcmread(tmp_path / "a/heatmaps/P7_anomaly.dcm")
    assert (
        data.StudyInstanceUID == "1.2.3" and data.PatientID == "P1" and row["p_value"][:5] in data.DerivationDescription
    )
    for name in ("anomaly", "overlay"):
        assert Run.open(solid).identity in dcmread(tmp_path / f"a/heatmaps/P7_{name}.dcm").DerivationDescription


def test_last_digits_of_sums_change_no_name(tmp_path: Path) -> None:
    image = read(radiograph(tmp_path / "P7.dcm"))
    z = np.round(image.pixels[0] / 100) + 2e-4
    (tmp_path / "heatmaps").mkdir()
    bytes_ = []
    for change in (0, 1e-5, -1e-5, 1e-3):
        names = _write_dicom(tmp_path, "P7", image, z + change, sources(image), "value 1")
        bytes_.append([(tmp_path / name).read_bytes() for name in names])
    assert bytes_[0] == bytes_[1] == bytes_[2] and bytes_[0][0] != bytes_[3][0]


def test_scoring_again_into_the_same_folder_leaves_files_alone_and_takes_no_map_for_an_image(
    solid: Path, tmp_path: Path
) -> None:
    series(tmp_path / "P7")
    out = tmp_path / "scores"
    score(solid, tmp_path, out, heatmaps=["dicom"], **PLAIN)
    before = {path: path.stat().st_mtime_ns for path in out.glob("heatmaps/*")}
    scored = score(solid, tmp_path, out, heatmaps=["dicom"], **PLAIN)
    assert (scored.new, scored.before) == (0, 1) and len(before) == 2
    assert {path: path.stat().st_mtime_ns for path in out.glob("heatmaps/*")} == before
    assert find(tmp_path) == [tmp_path / "P7"]
    (out / "heatmaps/P7_overlay.dcm").unlink()
    assert score(solid, tmp_path, out, heatmaps=["dicom"], **PLAIN).new == 1
    assert {*out.glob("heatmaps/*")} == {*before}


def test_colours_are_those_of_the_png_on_the_pixels_of_the_source(flat: Path, tmp_path: Path) -> None:
    radiograph(tmp_path / "images/P7.dcm")
    score(flat, tmp_path / "images", tmp_path / "out", heatmaps=["auto", "dicom"], **PLAIN)
    z, colours = (read(tmp_path / f"out/heatmaps/P7_{name}.dcm").pixels for name in ("anomaly", "overlay"))
    assert (tmp_path / "out/heatmaps/P7.png").is_file()
    expected = coloured(grey(read(tmp_path / "images/P7.dcm").pixels[0]), z[0])
    assert (z > 2).any() and np.ptp(expected, axis=-1).any()
    np.testing.assert_array_equal(np.moveaxis(colours, 0, -1), expected)


def test_images_none_of_which_is_dicom_are_refused_before_anything_is_done(flat: Path, tmp_path: Path) -> None:
    folder = pictures(tmp_path / "images", 2, name="i")
    with pytest.raises(CohortError, match=r"none of the 2 images is one \(.*i000.png, ...\); give DICOM"):
        score(flat, folder, tmp_path / "out", heatmaps=["dicom"], **PLAIN)
    assert not (tmp_path / "out").exists()


def test_where_some_are_dicom_the_others_are_named_and_leave_no_file(flat: Path, tmp_path: Path) -> None:
    folder = pictures(tmp_path / "images", 1, name="i")
    radiograph(folder / "P7.dcm")
    scored = score(flat, folder, tmp_path / "out", heatmaps=["dicom", "nifti"], **PLAIN)
    (wrong,) = table(scored.errors)
    assert wrong["id"] == "i000" and "i000.png: is no DICOM (picture)" in wrong["error"]
    assert {path.name for path in (tmp_path / "out/heatmaps").iterdir()} == {
        *("P7_anomaly.nii.gz", "P7_anomaly.dcm", "P7_overlay.dcm")
    }


def test_without_the_extra_it_says_so_before_anything_is_done(
    flat: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [each for each in sys.modules if each.split(".")[0] == "highdicom"]:
        monkeypatch.delitem(sys.modules, name)

    class Absent(importlib.abc.MetaPathFinder):
        def find_spec(self, name: str, *_: object) -> None:
            if name == "highdicom":
                raise ImportError(name)

    monkeypatch.setattr(sys, "meta_path", [Absent(), *sys.meta_path])
    radiograph(tmp_path / "images/P7.dcm")
    with pytest.raises(MissingPackage, match=r"highdicom.*pip install 'anomaly-explain\[dicom\]'"):
        score(flat, tmp_path / "images", tmp_path / "out", heatmaps=["dicom"], **PLAIN)
    assert not (tmp_path / "out").exists()


def test_a_report_takes_no_dicom_for_a_picture(tmp_path: Path) -> None:
    import pandas as pd

    saved(tmp_path / "heatmaps/P7_anomaly.dcm", slice_of(stored(1)[0], 1, PixelSpacing=decimals((1, 1))))
    assert picture(pd.Series({"heatmap": "heatmaps/P7_anomaly.dcm"}), tmp_path) is None
