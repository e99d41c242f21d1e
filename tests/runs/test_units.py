"""Hounsfield units and millimetres that a degradation takes for granted, held against what images have."""

import logging
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from anomaly.degradations.photons import LowDose
from anomaly.errors import AnomalyError
from anomaly.images import read
from anomaly.images.preprocessing import Preprocessing
from anomaly.runs.foreseeing import foresee
from anomaly.runs.learning import learn
from anomaly.runs.units import sides, warn_of_spacing
from anomaly.training.machine import Machine

CT = Preprocessing(intensity="window", window=(-1000, 400), size=None)
LOW_DOSE = LowDose(hounsfield=(-1000, 400), spacing=0.5)


def scan(path: Path, *voxel: float) -> Path:
    values = np.random.default_rng(0).uniform(-1000, 400, (8, 12, 4)).astype(np.float32)
    nib.save(nib.Nifti1Image(values, np.diag([-voxel[0], -voxel[1], voxel[2], 1])), path)
    return path


def scans(folder: Path, *voxels: tuple[float, float, float]) -> pd.DataFrame:
    paths = [scan(folder / f"s{k}.nii.gz", *each) for k, each in enumerate(voxels)]
    return pd.DataFrame({"path": list(map(str, paths)), "subject": [path.name for path in paths]})


@pytest.mark.parametrize(
    ("preprocessing", "expected"),
    [
        (CT, (0.5, 0.75)),
        (Preprocessing(size=None, slices="sagittal"), (0.75, 3)),
        (Preprocessing(size=None, dims=3), (0.5, 0.75)),
        (Preprocessing(size=None, dims=3, orientation="ARS"), (0.75, 0.5)),
        (Preprocessing(size=3), (3, 3)),  # "pad" has 9 mm, the longer side, in 3 pixels
        (Preprocessing(size=4, fit="resize"), (1, 2.25)),
        (Preprocessing(size=8, spacing=1.5), (1.5, 1.5)),
    ],
)
def test_sides_of_pixels_are_those_of_the_prepared_slice(
    tmp_path: Path, preprocessing: Preprocessing, expected: tuple[float, float]
) -> None:
    image = read(scan(tmp_path / "s.nii.gz", 0.5, 0.75, 3))
    assert sides(image, preprocessing.apply(image)) == pytest.approx(expected)


def test_a_picture_tells_no_millimetres(tmp_path: Path) -> None:
    np.save(tmp_path / "p.npy", np.zeros((6, 6), np.float32))
    image = read(tmp_path / "p.npy")
    assert sides(image, CT.apply(image)) is None


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if "spacing" in each.getMessage()]


def test_another_spacing_is_told_once_with_both(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    near, far = (0.51, 0.49, 3), (0.8, 0.8, 3)
    warn_of_spacing(LOW_DOSE, scans(tmp_path, near, near), CT)
    for other in (LowDose(spacing=0.5), LowDose(hounsfield=(-1000, 400), dose=1), None):  # these know no millimetres
        warn_of_spacing(other, scans(tmp_path, far, far), CT)
    assert not said(caplog)
    warn_of_spacing(LOW_DOSE, scans(tmp_path, near, far, far), CT)
    (message,) = said(caplog)
    assert "pixels of 0.5 mm" in message and "2 of 3" in message and "0.49 to 0.8 mm" in message
    assert message.endswith("--set spacing=0.8")


def test_an_image_that_cannot_be_read_says_nothing_of_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    table = scans(tmp_path, (0.8, 0.8, 3), (0.8, 0.8, 3))
    Path(table["path"][0]).write_bytes(b"no image")
    warn_of_spacing(LOW_DOSE, table, CT)
    assert "1 of 1" in said(caplog)[0]


ASKED: dict[str, Any] = {
    "degradation": "lowdose",
    "hounsfield": "-1000,400",
    "spacing": 0.8,
    "width": 4,
    "steps": 2,
    "batch": 2,
}


@pytest.mark.parametrize(
    ("preprocessing", "complaint"),
    [
        (Preprocessing(size=8), "hounsfield of lowdose is -1000 to 400, but intensity is percentile; .*--window=-1000"),
        (Preprocessing(size=8, intensity="window", window=(0, 80)), "but intensity is window 0 to 80"),
    ],
)
def test_a_detector_is_refused_black_and_white_that_are_no_such_units(
    tmp_path: Path, preprocessing: Preprocessing, complaint: str
) -> None:
    table = scans(tmp_path, *[(0.8, 0.8, 3)] * 4)
    for ask in (learn, foresee):
        with pytest.raises(AnomalyError, match=complaint):
            ask(table, tmp_path / "run", method="restoration", settings=ASKED, preprocessing=preprocessing)
    assert not (tmp_path / "run").exists()


def test_a_detector_is_told_of_the_spacing_of_its_grid(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    table = scans(tmp_path, *[(0.8, 0.8, 3)] * 6)
    asked: dict[str, Any] = dict(
        method="restoration", settings=ASKED, machine=Machine(device="cpu"), choose=0.2, calibrate=0.2
    )
    grid = Preprocessing(size=8, fit="crop", intensity="window", window=(-1000, 400))
    with caplog.at_level(logging.WARNING):
        learn(table, tmp_path / "own", preprocessing=grid, **asked)
        assert not said(caplog)
        foresee(table, preprocessing=Preprocessing(size=8, intensity="window", window=(-1000, 400)), **asked)
    (message,) = said(caplog)
    assert "pixels of 0.8 mm" in message and "theirs are 1.2 mm" in message


def test_what_is_not_taken_as_ct_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    nothing = pd.DataFrame({"path": []})
    with caplog.at_level(logging.INFO):
        warn_of_spacing(LowDose(), nothing, Preprocessing())
    assert [each.getMessage()[:38] for each in caplog.records] == ["lowdose: images are not taken as CT, e"]
