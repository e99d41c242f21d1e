"""Which way slices lie is told in a reader's words, by the axes of the body and not by those of the file."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from poor import volume

from anomaly.degradations.fourier import KSpace
from anomaly.degradations.noise import Noise
from anomaly.degradations.slices import Slices
from anomaly.images import read
from anomaly.images.preprocessing import Preprocessing
from anomaly.restorers.directions import direction, tell_direction

RAS = Preprocessing(dims=3, size=None)
KEEP = Preprocessing(dims=3, size=None, orientation="keep")
# The first axis of the file runs down, 3 mm a step; the second to the left, 1 mm; the third to the front, 2 mm.
AFFINE = np.array([[0, -1, 0, 0], [0, 0, 2, 0], [-3, 0, 0, 0], [0, 0, 0, 1]], dtype=float)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return volume(tmp_path / "v.nii.gz", np.random.default_rng(0).random((6, 8, 10)), AFFINE)


@pytest.mark.parametrize(
    ("axis", "preprocessing", "told"),
    [
        (2, RAS, "inferior-superior (axis 2 of volumes turned to RAS), one of 2 kept: from 3 to 6 mm"),
        (1, RAS, "posterior-anterior (axis 1 of volumes turned to RAS), one of 2 kept: from 2 to 4 mm"),
        (0, RAS, "left-right (axis 0 of volumes turned to RAS), one of 2 kept: from 1 to 2 mm"),
        (0, KEEP, "inferior-superior (axis 0 of the file), one of 2 kept: from 3 to 6 mm"),
    ],
)
def test_the_direction_is_that_of_the_body(path: Path, axis: int, preprocessing: Preprocessing, told: str) -> None:
    assert direction(read(path), Slices(axis=axis), preprocessing) == f"slices along {told}"


def test_poor_volumes_get_finer_and_thick_slices_are_means(path: Path) -> None:
    told = direction(read(path), Slices(factor=3, thick=True), RAS, poor=True)
    assert told.endswith("the mean of 3: from 3 to 1 mm")
    assert direction(read(path), KSpace(axis=1), RAS).startswith("slices along posterior-anterior")


def test_one_line_is_logged_and_none_where_slices_mean_nothing(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cohort = pd.DataFrame({"path": [str(path.parent / "gone.nii.gz"), str(path), str(path)]})
    with caplog.at_level(logging.INFO):
        tell_direction(cohort, Noise(), RAS)
        tell_direction(cohort, None, RAS)
        tell_direction(cohort, Slices(), Preprocessing())
        assert not caplog.records
        tell_direction(cohort, Slices(), RAS)
    assert [each.getMessage() for each in caplog.records] == [
        "slices along inferior-superior (axis 2 of volumes turned to RAS), one of 2 kept: from 3 to 6 mm (by v.nii.gz)"
    ]
