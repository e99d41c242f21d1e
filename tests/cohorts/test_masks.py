"""Which mask belongs to which image: by a column, by names, by the entities of BIDS, or by lying beside it."""

from pathlib import Path

import numpy as np
import pandas as pd
import PIL.Image
import pytest

from anomaly.cohorts.cohort import fingerprint, read_cohort
from anomaly.cohorts.masks import counting, suited
from anomaly.errors import CohortError


def files(folder: Path, *names: str) -> Path:
    for k, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(k).integers(0, 255, (20, 20), dtype=np.uint8)
        mask = any(word in name for word in ("mask", "seg"))
        PIL.Image.fromarray(np.where(pixels > 128, np.uint8(255), np.uint8(0)) if mask else pixels).save(path)
    return folder


def pairs(table: pd.DataFrame, base: Path) -> dict[str, str]:
    found = ((Path(path), mask) for path, mask in zip(table["path"], table["mask"], strict=True))
    return {p.relative_to(base).as_posix(): Path(m).relative_to(base).as_posix() if m else "" for p, m in found}


@pytest.mark.parametrize(
    ("images", "masks", "given"),
    [
        (("i/a.png", "i/b.png"), ("m/a.png", "m/b.png"), "m"),
        (("i/a.png", "i/b.png"), ("m/a_mask.png", "m/b_mask.png"), "m"),
        (
            ("i/a.png", "i/a-24.png"),
            ("m/a_anomaly.png", "m/a-24_anomaly.png"),
            "m",
        ),  # maps, as scoring names them
        (("a.png", "b.png"), ("a_seg.png", "b_seg.png"), "*_seg.png"),
        (("i/s1_v1_FLAIR.png", "i/s12_v1_FLAIR.png"), ("m/s1_brainmask.png", "m/s12_brainmask.png"), "m"),
        (
            ("raw/sub-1/anat/sub-1_T1w.png", "raw/sub-12/anat/sub-12_T1w.png"),
            ("prep/sub-1/anat/sub-1_desc-brain_mask.png", "prep/sub-12/anat/sub-12_desc-brain_mask.png"),
            "prep",
        ),
        (
            ("raw/sub-1/ses-1/sub-1_ses-1_T1w.png", "raw/sub-1/ses-2/sub-1_ses-2_T1w.png"),
            ("prep/sub-1_ses-1_desc-brain_mask.png", "prep/sub-1_ses-2_desc-brain_mask.png"),
            "prep",
        ),
        (("p1/t1.png", "p2/t1.png"), ("p1/mask.png", "p2/mask.png"), "*/mask.png"),
    ],
)
def test_masks_are_known_by_their_names(tmp_path, images, masks, given):
    files(tmp_path, *images, *masks)
    home = tmp_path if "*" in given else tmp_path / images[0].split("/")[0]
    table = read_cohort(home, mask=given if "*" in given else tmp_path / given)
    assert pairs(table, tmp_path) == dict(zip(images, masks, strict=True))


def test_a_mask_of_another_space_is_not_taken_where_one_of_its_own_is_there(tmp_path):
    files(tmp_path, "i/sub-1_T1w.png", "m/sub-1_desc-brain_mask.png", "m/sub-1_space-MNI_desc-brain_mask.png")
    table = read_cohort(tmp_path / "i", mask=tmp_path / "m")
    assert list(pairs(table, tmp_path).values()) == ["m/sub-1_desc-brain_mask.png"]


def test_several_masks_of_an_image_are_refused_by_name(tmp_path):
    files(tmp_path, "i/a.png", "m/a_mask.png", "m/a_brain_mask.png")
    with pytest.raises(CohortError, match="2 masks may be meant"):
        read_cohort(tmp_path / "i", mask=tmp_path / "m")


def test_images_without_a_mask_and_masks_without_an_image_are_told(tmp_path, caplog):
    files(tmp_path, "i/a.png", "i/b.png", "m/a_mask.png", "m/z_mask.png")
    table = read_cohort(tmp_path / "i", mask=tmp_path / "m")
    assert list(pairs(table, tmp_path).values()) == ["m/a_mask.png", ""]
    assert "b.png" in caplog.text and "z_mask.png" in caplog.text
    with pytest.raises(CohortError, match="no masks at nowhere"):
        read_cohort(tmp_path / "i", mask="nowhere")
    files(tmp_path, "n/other_mask.png")
    with pytest.raises(CohortError, match="has the name of an image"):
        read_cohort(tmp_path / "i", mask=tmp_path / "n")


def test_the_column_mask_counts_where_all_rows_have_one(tmp_path, caplog):
    files(tmp_path, "a.png", "b.png", "m/a.png", "m/b.png")
    whole = pd.DataFrame({"path": ["a.png", "b.png"], "mask": ["m/a.png", "m/b.png"], "other": ["m/a.png", ""]})
    whole.to_csv(tmp_path / "t.csv", index=False)
    table = read_cohort(tmp_path / "t.csv")
    assert list(pairs(table, tmp_path).values()) == ["m/a.png", "m/b.png"]
    assert table.attrs["masks_from"] == "the column mask"
    assert "mask" not in counting(read_cohort(tmp_path / "t.csv", mask="none"))
    assert list(pairs(read_cohort(tmp_path / "t.csv", mask="other"), tmp_path).values()) == ["m/a.png", ""]
    whole.assign(mask=["m/a.png", ""]).to_csv(tmp_path / "half.csv", index=False)
    caplog.set_level("INFO")
    half = read_cohort(tmp_path / "half.csv")
    assert list(half["mask"].fillna("")) == ["m/a.png", ""] and "1 of 2 rows" in caplog.text
    assert half.attrs["masks_from"] == "" and "mask" not in counting(half)
    assert fingerprint(table) != fingerprint(table.drop(columns="mask"))


def test_masks_go_with_what_was_trained_with_masks(tmp_path):
    files(tmp_path, "a.png", "m/a.png")
    bare, table = read_cohort(tmp_path, match="a.png", exclude="m"), read_cohort(tmp_path, exclude="m", mask="m")
    assert "mask" in suited(table, "m", "given", "runs/r")
    assert "mask" not in suited(table, None, "none", "runs/r")
    with pytest.raises(CohortError, match="trained with masks, and these images have none"):
        suited(bare, None, "given", "runs/r")
    with pytest.raises(CohortError, match="trained without masks"):
        suited(table, "m", "none", "runs/r")
