"""Which label map belongs to an image: by a column of a table, or by the names in a folder."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from studies import pictures, values

from anomaly.cohorts.cohort import read_cohort
from anomaly.cohorts.labels import base_of, with_labels
from anomaly.errors import CohortError


def of_folder(folder: Path, labels: Path) -> pd.DataFrame:
    return with_labels(read_cohort(folder), labels, base_of(folder), str(folder))


def test_a_column_names_label_maps_from_the_folder_of_its_table(tmp_path: Path) -> None:
    pictures(tmp_path / "images", 3)
    pictures(tmp_path / "maps", 3, name="m")
    table = tmp_path / "cohort.csv"
    rows = [{"path": f"images/n00{i}.png", "drawn": f"maps/m00{i}.png" if i else ""} for i in range(3)]
    pd.DataFrame(rows).to_csv(table, index=False)
    found = with_labels(read_cohort(table), "drawn", base_of(table), str(table))
    assert list(found["labels"]) == ["", str(tmp_path / "maps/m001.png"), str(tmp_path / "maps/m002.png")]
    assert found.attrs["subjects_from"]


def test_a_folder_beside_the_images_or_among_them(tmp_path: Path) -> None:
    pictures(tmp_path / "beside" / "images", 3)
    maps = pictures(tmp_path / "beside" / "maps", 3)
    found = of_folder(tmp_path / "beside" / "images", maps)
    assert list(found["labels"]) == [str(maps / f"n00{i}.png") for i in range(3)]
    pictures(tmp_path / "among", 3)
    among = pictures(tmp_path / "among" / "labels", 3)
    (among / "n002.png").unlink()
    found = of_folder(tmp_path / "among", among)
    assert list(found["id"]) == ["n000", "n001", "n002"]
    assert list(found["labels"]) == [str(among / "n000.png"), str(among / "n001.png"), ""]


def test_label_maps_that_are_called_after_their_images(tmp_path: Path) -> None:
    pictures(tmp_path / "images", 2)
    (tmp_path / "maps").mkdir()
    for i in range(2):
        (tmp_path / "images" / f"n00{i}.png").rename(tmp_path / "images" / f"sub-{i}_T2w.png")
        np.save(tmp_path / "maps" / f"sub-{i}_dseg.npy", values((12, 12), i))
    found = of_folder(tmp_path / "images", tmp_path / "maps")
    assert [Path(each).name for each in found["labels"]] == ["sub-0_dseg.npy", "sub-1_dseg.npy"]


def test_images_that_are_label_maps_of_others_are_no_images(tmp_path: Path) -> None:
    pictures(tmp_path, 4)
    table = tmp_path / "cohort.csv"
    rows = [{"path": f"n00{i}.png", "drawn": f"n00{i + 2}.png" if i < 2 else ""} for i in range(4)]
    pd.DataFrame(rows).to_csv(table, index=False)
    found = with_labels(read_cohort(table), "drawn", base_of(table), str(table))
    assert list(found["id"]) == ["n000", "n001"]


def test_no_such_column_or_folder_and_no_label_map_at_all(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "images", 2)
    with pytest.raises(CohortError, match="has no column 'drawn', and there is no folder of that name"):
        of_folder(folder, Path("drawn"))
    other = pictures(tmp_path / "other", 2, name="o")
    with pytest.raises(CohortError, match="is the label map of one of 2 images"):
        of_folder(folder, other)
    table = pd.DataFrame({"path": [str(folder / "n000.png")], "drawn": [""]})
    with pytest.raises(CohortError, match="no image has a label map by drawn"):
        with_labels(read_cohort(table), "drawn", Path(), "the table")
    kept = with_labels(read_cohort(table), "drawn", Path(), "the table", missing="keep")
    assert list(kept["labels"]) == [""]
