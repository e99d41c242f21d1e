"""What `anomaly register` takes and leaves: volumes of one contrast, a folder of its own that may be moved."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image as Picture
from scipy import ndimage

from anomaly.cohorts.cohort import read_cohort
from anomaly.errors import CohortError, RunError
from anomaly.images import write_volume
from anomaly.pictures.pages import views
from anomaly.progression.pairing import Visits
from anomaly.registration.drawing import _middle
from anomaly.registration.template import register_template
from anomaly.registration.visits import register_pair, register_sides, register_visits

pytest.importorskip("SimpleITK")


def slices(folder: Path) -> pd.DataFrame:
    """One person with two visits, one slice each, as files and a table."""
    noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(30, 32)), 2.0)
    for visit in (0, 1):
        write_volume(folder / f"{visit}.nii.gz", np.roll(100 + 900 * noise, visit, 0)[:, :, None], np.eye(4))
    paths = [str(folder / f"{visit}.nii.gz") for visit in (0, 1)]
    return pd.DataFrame({"id": ["a", "b"], "path": paths, "subject": "s", "visit": [0, 1], "map": paths})


def test_a_folder_that_was_moved_goes_on_and_is_found_by_others(tmp_path: Path) -> None:
    table = slices(tmp_path / "images")
    register_visits(table, tmp_path / "one", unit="years", by="rigid", maps="map")
    (tmp_path / "one").rename(tmp_path / "two")
    pairs = tmp_path / "two" / "pairs.csv"
    assert list(pd.read_csv(pairs)["path"]) == ["registered/b.nii.gz"]
    assert list(read_cohort(pairs)["path"]) == [str(tmp_path / "two" / "registered" / "b.nii.gz")]
    found = Visits(images=pairs, maps="map").found().iloc[0]
    assert found["map"] == str(tmp_path / "two" / "registered" / "b_map.nii.gz")
    assert found["baseline"] == found["baseline_map"] == table["path"][0]
    again = register_visits(table, tmp_path / "two", unit="years", by="rigid", maps="map")
    assert (again.new, again.before) == (0, 1)


def test_a_folder_with_its_template_may_be_moved(tmp_path: Path) -> None:
    slices(tmp_path / "images")
    register_template(tmp_path / "images", tmp_path / "one", rounds=1, by="rigid")
    (tmp_path / "one").rename(tmp_path / "two")
    assert set(pd.read_csv(tmp_path / "two" / "pairs.csv")["baseline"]) == {"template.nii.gz"}
    assert register_template(tmp_path / "images", tmp_path / "two", rounds=1, by="rigid").before == 2


def test_two_volumes_in_a_file_are_refused_as_elsewhere(tmp_path: Path) -> None:
    slices(tmp_path)
    values = np.random.default_rng(0).normal(size=(12, 12, 12, 2))
    write_volume(tmp_path / "two.nii.gz", values, np.eye(4), channels=True)
    done = register_pair(tmp_path / "two.nii.gz", tmp_path / "0.nii.gz", tmp_path / "out", by="rigid")
    assert done.failed == 1 and "holds 2 volumes; give one contrast a file" in done.errors.read_text()


def test_sides_of_pictures_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    for name in ("left", "right"):
        Picture.fromarray(np.eye(16, dtype=np.uint8) * 200).save(tmp_path / f"{name}.png")
    table = pd.DataFrame({"id": ["l", "r"], "path": [str(tmp_path / "left.png"), str(tmp_path / "right.png")]})
    with pytest.raises(CohortError, match=r"does not tell where left is; sides are laid on one another in volumes"):
        register_sides(table.assign(subject="s", side=["left", "right"]), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_folder_of_another_command_is_refused_and_stays(tmp_path: Path) -> None:
    table, out = slices(tmp_path / "images"), tmp_path / "out"
    out.mkdir()
    for name in ("changes.csv", "errors.csv"):
        (out / name).write_text("id\nx\n")
    with pytest.raises(RunError, match=r"holds changes.csv, the table of another command; choose another --out"):
        register_visits(table, out, unit="years", by="rigid")
    assert sorted(path.name for path in out.iterdir()) == ["changes.csv", "errors.csv"]


def test_pictures_are_cut_where_both_images_show_something() -> None:
    one, other = np.zeros((20, 22, 24)), np.zeros((20, 22, 24))
    one[4:12, 5:15, 6:20], other[6:14, 5:15, 2:12] = 100, 50  # common: 6 to 11, 5 to 14, 6 to 11
    seen = _middle(one, other, np.ones(one.shape, dtype=bool))
    place = np.unravel_index(seen.argmax(), seen.shape)
    assert all(low <= at <= high for at, low, high in zip(place, (8, 9, 8), (9, 10, 9), strict=True))
    for view in views(seen, np.diag([1, 1, 3, 1.0])):
        assert view.cut(one).any() and view.cut(other).any()
