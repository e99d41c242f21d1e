"""Commands on folders and tables as strangers have them, from end to end."""

import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from studies import calling, pictures, table, trained

from anomaly.reporting import report
from anomaly.scoring.score import score


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    return trained(pictures(home / "normals", 40), home / "run").folder


def test_scores_beside_their_images_are_never_scored_themselves(run: Path, tmp_path: Path) -> None:
    images = pictures(tmp_path / "images", 4, name="i")
    for out in (images / "out", images):
        assert score(run, images, out, heatmaps=["png", "nifti"]).new == 4
        again = score(run, images, out, heatmaps=["png", "nifti"])
        assert (again.new, again.before, again.failed) == (0, 4, 0)


def test_an_image_added_later_renames_nobody(run: Path, tmp_path: Path) -> None:
    pictures(tmp_path / "images" / "s1", 1, name="i")
    first = table(score(run, tmp_path / "images", tmp_path / "out").path)
    pictures(tmp_path / "images" / "s2", 1, name="i", first=0)
    scored = score(run, tmp_path / "images", tmp_path / "out")
    assert (scored.new, scored.before) == (1, 1)
    assert list(first["id"]) == ["s1_i000"] and list(table(scored.path)["id"]) == ["s1_i000", "s2_i000"]


def test_scores_with_ids_of_the_older_rule_go_on(run: Path, tmp_path: Path) -> None:
    pictures(tmp_path / "images" / "s1", 2, name="i")
    out = score(run, tmp_path / "images", tmp_path / "out", heatmaps=["none"], alpha=0.99).path
    out.write_text(out.read_text().replace("\ns1_i00", "\ni00"))  # ids as they were: the files' names
    (out.parent / "grid.csv").unlink()  # which came later than that rule went
    scored = score(run, tmp_path / "images", tmp_path / "out", heatmaps=["none"], alpha=0.99)
    assert (scored.new, scored.before) == (0, 2) and list(table(scored.path)["id"]) == ["i000", "i001"]
    assert scored.flagged == sum(int(each) for each in table(scored.path)["flagged"])


def test_a_name_that_is_not_utf8_is_scored_told_and_shown(run: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    images = pictures(tmp_path / "images", 2, name="i")
    os.rename(images / "i000.png", os.fsencode(images) + b"/i\xe9 0.png")
    with open(os.fsencode(images) + b"/bad\xff.png", "wb") as file:
        file.write(b"x")
    code, out, errors = calling(tmp_path, monkeypatch, capsys)(f"score {run} --images images --out out")
    assert code == 3 and "1 unreadable" in out, errors
    scored = table(tmp_path / "out" / "scores.csv")
    assert list(scored["id"]) == ["i001", "i_xe9_0"] and scored["path"][1] == str(images / "i\\xe9 0.png")
    assert (tmp_path / "out" / "heatmaps" / "i_xe9_0.png").is_file()
    assert "bad\\xff.png" in (tmp_path / "out" / "errors.csv").read_text(encoding="utf-8")
    assert "i_xe9_0" in report(tmp_path / "out").read_text(encoding="utf-8")


def test_masks_beside_scans_are_not_scored_and_patterns_choose(run: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    images = pictures(tmp_path / "images" / "sub-1", 2, name="i")
    (images / "i000.png").rename(images / "sub-1_T1w.png")
    (images / "i001.png").rename(images / "sub-1_FLAIR.png")
    mask = np.zeros((12, 12, 1), dtype=np.uint8)
    nib.save(nib.Nifti1Image(mask, np.eye(4)), images / "sub-1_desc-brain_mask.nii.gz")
    call = calling(tmp_path, monkeypatch, capsys)
    code, out, errors = call(f"score {run} --images images --out all --heatmaps none")
    assert code == 0 and "2 new" in out, errors
    code, out, errors = call(f"score {run} --images images --out some --match *_T1w.png --heatmaps none")
    assert code == 0 and "1 new" in out, errors
    assert call(f"score {run} --images images --out other --exclude *FLAIR* --heatmaps none")[0] == 0
    for name in ("some", "other"):
        assert list(table(tmp_path / name / "scores.csv")["id"]) == ["sub-1_T1w"]


def test_codes_for_missing_are_an_option(tmp_path: Path, monkeypatch, capsys) -> None:
    rng = np.random.default_rng(0)
    oa = np.repeat([0, 1, -9], [30, 30, 5])
    pd.DataFrame({"id": [f"p/{n} x" for n in range(65)], "oa": oa}).to_csv(
        tmp_path / "people.csv", sep=";", index=False
    )
    scores = pd.DataFrame({"id": [f"p_{n}_x" for n in range(65)], "value": oa + rng.normal(size=65)})
    scores.to_csv(tmp_path / "scores.csv", index=False)
    call = calling(tmp_path, monkeypatch, capsys)
    code, out, errors = call("evaluate scores.csv --cohort people.csv --outcome oa --out out")
    assert code and "holds 0 and 1, and beside them -9 (5 rows), which look like codes" in out + errors
    code, out, errors = call("evaluate scores.csv --cohort people.csv --outcome oa --out out --missing -9,999")
    assert code == 0 and out.startswith("AUROC 0."), errors
    notes = (tmp_path / "out" / "oa" / "evaluation.json").read_text(encoding="utf-8")
    assert "hold a code for missing, by column: oa: 5." in notes and "65 of 65 scores joined the cohort on id." in notes
