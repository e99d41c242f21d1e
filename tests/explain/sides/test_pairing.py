"""Who is whose counterpart, and counterparts written where SimpleITK is there."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from anomaly.errors import CohortError
from anomaly.images import read, write_volume
from explain.sides.pairing import knee_pairs, registered, write_pairs


def table(*rows: tuple[str, str, int, float | None]) -> pd.DataFrame:
    """Images of (subject, side, visit, womac), ids as in s1-L-0."""
    frame = pd.DataFrame(rows, columns=["subject", "side", "visit", "womac"])
    ids = frame["subject"] + "-" + frame["side"].str[0] + "-" + frame["visit"].astype(str)
    return frame.assign(id=ids, path="/images/" + ids + ".nii.gz")


KNEES = table(
    ("s1", "R", 0, 0), ("s1", "L", 0, 4),  # a pair
    ("s1", "R", 1, 9), ("s1", "L", 1, 0),  # and another, the other way round
    ("s2", "R", 0, 0), ("s2", "L", 0, 3),  # too little
    ("s3", "R", 0, 1), ("s3", "L", 0, 9),  # the better one hurts
    ("s4", "R", 0, 0), ("s4", "L", 1, 9),  # not at one visit
    ("s5", "R", 0, None), ("s5", "L", 0, 9),  # not known
    ("s6", "R", 0, 7),  # one knee
)  # fmt: skip


def test_pair_rule() -> None:
    pairs = knee_pairs(KNEES)
    assert pairs[["id", "counterpart_id", "subject", "visit", "side", "difference"]].values.tolist() == [
        ["s1-L-0", "s1-R-0", "s1", 0, "L", 4.0],
        ["s1-R-1", "s1-L-1", "s1", 1, "R", 9.0],
    ]
    assert pairs.loc[0, "path"] == "/images/s1-L-0.nii.gz" and pairs.loc[0, "counterpart"] == "/images/s1-R-0.nii.gz"


def test_rule_can_be_widened() -> None:
    assert list(knee_pairs(KNEES, difference=3)["subject"]) == ["s1", "s1", "s2"]
    assert list(knee_pairs(KNEES, painless=1)["subject"]) == ["s1", "s1", "s3"]
    once = KNEES[KNEES["visit"] == 0].rename(columns={"subject": "who", "side": "knee", "womac": "pain"})
    renamed = knee_pairs(once, subject="who", side="knee", visit=None, score="pain")
    assert renamed[["subject", "side", "visit"]].values.tolist() == [["s1", "L", ""]]


@pytest.mark.parametrize(
    ("knees", "message"),
    [
        (KNEES.drop(columns=["side", "womac"]), "has no column side, womac; its columns are subject, visit, id, path"),
        (KNEES.assign(side="both"), "side must have two values, the two sides; its values are both"),
        (KNEES.assign(womac="much"), "womac must be numbers, got much"),
        (KNEES[KNEES["subject"].isin(["s2", "s3"])], "2 persons have both knees, 1 of them with womac apart by 4"),
        (pd.concat([KNEES, KNEES[:1].assign(id="again")]), r"2 images are of one knee at one visit \(s1-R-0, again\)"),
    ],
)
def test_tables_without_pairs_are_told(knees: pd.DataFrame, message: str) -> None:
    with pytest.raises(CohortError, match=message):
        knee_pairs(knees)


def test_difference_must_tell_the_knees_apart() -> None:
    with pytest.raises(CohortError, match="difference is 0"):
        knee_pairs(KNEES, difference=0)


def test_pairs_are_written_for_training(tmp_path: Path) -> None:
    pairs = knee_pairs(KNEES)
    path = write_pairs(pairs, tmp_path / "new")
    written = pd.read_csv(path)
    assert path.name == "pairs.csv" and list(written)[:4] == ["id", "path", "subject", "counterpart"]
    pd.testing.assert_frame_equal(written[list(pairs)], pairs, check_dtype=False)
    with pytest.raises(CohortError, match=r"1 paths do not start from the root \(a.png\)"):
        write_pairs(pairs[:1].assign(path="a.png"), tmp_path)
    with pytest.raises(CohortError, match="no column counterpart"):
        write_pairs(KNEES, tmp_path)


def knee(space: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Soft blobs inside the volume, black around them."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=space), 2.5)
    inside = np.zeros(space)
    inside[tuple(slice(side // 5, side - side // 5) for side in space)] = 1
    return np.clip(noise / noise.std() + 1, 0, None) * ndimage.gaussian_filter(inside, 1.5)


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def test_counterparts_are_mirrored_and_registered_into_files(tmp_path: Path) -> None:
    pytest.importorskip("SimpleITK")
    values = knee((24, 32, 28))
    right, left = np.diag([1.5, 1.5, 1.5, 1.0]), np.diag([1.5, 1.5, 1.5, 1.0])
    right[0, 3], left[0, 3] = 70, -70 - 1.5 * 23
    write_volume(tmp_path / "R.nii.gz", values, right)
    write_volume(tmp_path / "L.nii.gz", ndimage.shift(values[::-1], [0, 2, 0]), left)
    rows = {"id": ["s1-R"], "path": [str(tmp_path / "R.nii.gz")], "subject": ["s1"]}
    pairs = pd.DataFrame({**rows, "counterpart": [str(tmp_path / "L.nii.gz")]})
    done = registered(pairs, tmp_path)
    laid = read(Path(done["counterpart"][0]))
    assert Path(done["counterpart"][0]) == tmp_path / "counterparts" / "s1-R.nii.gz"
    assert correlation(laid.pixels[0], values) > 0.98 and np.allclose(laid.affine, right)
    (tmp_path / "L.nii.gz").unlink()  # what is there is not made again
    pd.testing.assert_frame_equal(registered(pairs, tmp_path), done)
