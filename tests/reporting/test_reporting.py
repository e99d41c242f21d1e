import base64
import importlib.util
import io
import json
import os
import re
from datetime import datetime

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from pages import Reader
from PIL import Image
from spoken import german

from anomaly import evaluation
from anomaly.errors import EvaluationError
from anomaly.reporting import gallery, page, template, viewer
from anomaly.runs import calibration


def folder_of(tmp_path, count, *, side=200, shown=True):
    """A folder as scoring leaves it: `count` images, their value rising with their number, the last three flagged."""
    ids = [f"image{place:03d}" for place in range(count)]
    rng = np.random.default_rng(0)
    for name in ids if shown else []:
        noise = rng.integers(0, 255, (side, side * 2, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{name}.png")
    table = pd.DataFrame({"id": ids, "subject": ids, "path": ids, "value": np.arange(count) / 10})
    table["z"], table["p_value"] = table["value"] - 1, 1 - np.arange(count) / max(count, 1)
    table["flagged"] = np.arange(count) >= count - 3
    table["heatmap"] = [f"{name}.png" for name in ids]
    table.to_csv(tmp_path / "scores.csv", index=False)
    return table


def page_of(folder):
    return page.report(folder).read_text(encoding="utf-8")


def led_nowhere(read, folder):
    """Links of a page in the folder that lead neither into itself nor to a file beside it."""
    ids = {f"#{found['id']}" for _, found in read.facts if "id" in found}
    inside = [link for link in read.links if link not in ids and not link.startswith("data:image/")]
    return [link for link in inside if ":" in link or not (folder / link).is_file()]


def test_the_page_stands_alone_with_an_evaluation(tmp_path):
    table = folder_of(tmp_path, 60)
    cohort = pd.DataFrame({"id": table["id"], "progression": [0, 1] * 20 + [1] * 20})
    found = evaluation.evaluate(tmp_path, cohort, outcome="progression", out=tmp_path)
    read = Reader(page_of(found.out))
    assert led_nowhere(read, found.out) == []
    assert found.headline in read.words
    assert "60 images scored; 3 (5 %) flagged as abnormal" in read.words
    # ROC and distribution, odds, thirds and calibration, both ends, highest controls and lowest cases
    assert len(read.of("img")) == 2 + 3 + 16 + 16
    assert "with progression" in read.words and "without progression" in read.words
    assert "not a medical device" in read.words and "standard deviations of normal variation" in read.words


def test_images_at_both_ends_are_shown_in_order(tmp_path):
    folder_of(tmp_path, 40, shown=False)
    words = Reader(page_of(tmp_path)).words
    order = re.findall(r"image\d{3}", words)
    assert order == [f"image{place:03d}" for place in [*range(39, 31, -1), *range(8)]]


@pytest.mark.parametrize(("count", "most", "least"), [(0, 0, 0), (1, 1, 0), (5, 3, 2), (16, 8, 8), (100, 8, 8)])
def test_no_image_is_at_both_ends(count, most, least):
    high, low = gallery.extremes(pd.DataFrame({"id": range(count), "value": np.arange(count, dtype=float)}))
    assert (len(high), len(low)) == (most, least)
    assert not set(high["id"]) & set(low["id"])


def test_size_does_not_grow_with_the_cohort(tmp_path):
    for name, count in {"few": 20, "many": 400}.items():
        (tmp_path / name).mkdir()
        folder_of(tmp_path / name, count, shown=count == 20)
    for place in [*range(8), *range(392, 400)]:
        (tmp_path / "many" / f"image{place:03d}.png").write_bytes((tmp_path / "few" / "image001.png").read_bytes())
    few, many = (len(page_of(tmp_path / name)) for name in ("few", "many"))
    assert many < 1.1 * few
    assert few < 2_000_000


def test_hostile_names_stay_text(tmp_path):
    hostile = '<script>alert("1")</script>'
    harmless, names = page_of_names(tmp_path, "name", ["a", "b", "c", "d"]), [hostile, '"><img src=x>', "a & b", "c"]
    page = page_of_names(tmp_path, hostile, names)
    read = Reader(page)
    assert read.tags == Reader(harmless).tags and hostile not in page
    assert led_nowhere(read, tmp_path) == []
    assert read.words.count(hostile) == 4
    assert [row[0] for row in rows_of(page)["rows"]] == names[::-1]


def rows_of(page):
    return json.loads(re.search(r'<script type="application/json" id="rows">(.*?)</script>', page, re.DOTALL)[1])


def page_of_names(tmp_path, hostile, names):
    table = folder_of(tmp_path, 4)
    table["id"] = names
    table.to_csv(tmp_path / "scores.csv", index=False)
    pd.DataFrame({"path": [hostile], "error": ["<b>no image</b>"]}).to_csv(tmp_path / "errors.csv", index=False)
    (tmp_path / "run").mkdir(exist_ok=True)
    (tmp_path / "run" / "run.json").write_text(json.dumps({"settings": hostile}), encoding="utf-8")
    (tmp_path / "run" / "MODEL_CARD.md").write_text(hostile, encoding="utf-8")
    (tmp_path / "score.json").write_text(json.dumps({"runs": ["run"], "alpha": 0.05}), encoding="utf-8")
    return page_of(tmp_path)


def test_files_that_could_not_be_read_are_told_and_bounded(tmp_path):
    folder_of(tmp_path, 4, shown=False)
    rows = pd.DataFrame({"path": [f"bad{place:02d}.png" for place in range(30)], "error": "12 bytes, no image"})
    rows.to_csv(tmp_path / "errors.csv", index=False)
    words = Reader(page_of(tmp_path)).words
    assert "30 could not be read" in words
    assert "the first 20 are listed" in words
    assert "bad19.png" in words and "bad20.png" not in words


def test_facts_of_the_run_and_alpha_are_told(tmp_path):
    folder_of(tmp_path, 4, shown=False)
    (tmp_path / "run").mkdir()
    facts = {"method": "pca", "settings": {"components": 12}, "empty": None}
    (tmp_path / "run" / "run.json").write_text(json.dumps(facts), encoding="utf-8")
    (tmp_path / "score.json").write_text(json.dumps({"runs": ["run"], "alpha": 0.05}), encoding="utf-8")
    words = Reader(page_of(tmp_path)).words
    assert "method pca" in words and "components = 12" in words and "empty" not in words
    assert "alpha = 0.05" in words


def page_with(tmp_path, alpha, data):
    folder_of(tmp_path, 4, shown=False)
    (tmp_path / "run").mkdir(exist_ok=True)
    (tmp_path / "run" / "run.json").write_text(json.dumps({"method": "pca", "data": data}), encoding="utf-8")
    (tmp_path / "score.json").write_text(json.dumps({"runs": ["run"], "alpha": alpha}), encoding="utf-8")
    return Reader(page_of(tmp_path)).words


@pytest.mark.parametrize(
    ("alpha", "subjects", "images", "expected"),
    [
        (0.05, 30, 30, "like those of the 30 subjects used for calibration, 3.23 % are flagged"),
        (0.05, 19, 19, "like those of the 19 subjects used for calibration, 5 % are flagged"),
        (0.29, 99, 99, "like those of the 99 subjects used for calibration, 29 % are flagged"),
        (0.025, 60, 90, "like those of the 60 subjects used for calibration, at most 2.5 % are flagged"),
        (0.05, 18, 18, "nothing can be flagged at this alpha with 18 normal subjects to calibrate by; it takes 19"),
        (0.03, 20, 20, "nothing can be flagged at this alpha with 20 normal subjects to calibrate by; it takes 33"),
        (0.025, None, 60, "normal images like those used for calibration are flagged at most about 2.5 % of the time"),
    ],
)
def test_the_rate_of_false_alarms_is_that_of_the_calibration(tmp_path, alpha, subjects, images, expected):
    data = {"split": {"calibrate": images}}
    data |= {} if subjects is None else {"calibration_subjects": subjects}
    assert expected in page_with(tmp_path, alpha, data)


def test_the_rate_told_is_the_share_of_ranks_that_are_flagged():
    for subjects in range(1, 120):
        normals = np.arange(subjects, dtype=float)
        p = calibration.conformal_p(normals, np.arange(subjects + 1) - 0.5)
        for alpha in (0.025, 0.05, 0.07, 0.1, 0.29):
            data = {"calibration_subjects": subjects, "split": {"calibrate": subjects}}
            told = page._false_alarms(alpha, [data])
            rate = np.mean(p <= alpha)
            assert (f" {100 * rate:.3g} % are flagged" if rate else "nothing can be flagged") in told


def test_percentages_keep_what_tells_them_apart():
    told = [template.percent(share) for share in (0.025, 0.05, 1 / 3, 1.0, 0.0005, None)]
    assert told == ["2.5 %", "5 %", "33.3 %", "100 %", "0.05 %", "–"]


def test_subjects_of_training_among_the_scores_are_told(tmp_path):
    assert "were let in" not in page_with(tmp_path, 0.05, {})
    (tmp_path / "score.json").write_text(json.dumps({"alpha": 0.05, "allow_overlap": True}), encoding="utf-8")
    assert "Subjects the model was trained on were let in (allow_overlap)" in Reader(page_of(tmp_path)).words


def test_a_reversed_baseline_and_the_methods_are_told(tmp_path):
    table = folder_of(tmp_path, 60, shown=False)
    outcome = [0, 1] * 20 + [1] * 20
    table.assign(baseline_intensity=-table["value"]).to_csv(tmp_path / "scores.csv", index=False)
    cohort = pd.DataFrame({"id": table["id"], "progression": outcome})
    words = Reader(page_of(evaluation.evaluate(tmp_path, cohort, outcome="progression", out=tmp_path).out)).words
    assert "no better than the best trivial score, mean brightness (reversed), which reaches" in words
    assert "trivial baseline, reversed: lower counts as more abnormal" in words
    draws = "bootstrap of subjects (percentile, 2,000 draws, seed 0)"
    precision = "average precision by influence of images, logit scale, t"
    assert f"AUROC by DeLong, logit scale, t; {precision}; sensitivity by {draws}." in words


def test_a_missing_or_damaged_picture_is_said_not_fatal(tmp_path):
    folder_of(tmp_path, 2)
    (tmp_path / "image000.png").write_bytes(b"not a picture")
    (tmp_path / "image001.png").unlink()
    assert Reader(page_of(tmp_path)).words.count("no heatmap picture") == 2


def test_no_image_scored_still_makes_a_page(tmp_path):
    (tmp_path / "scores.csv").write_text("id,value\n", encoding="utf-8")
    (tmp_path / "errors.csv").write_text("path,error\na.png,empty\n", encoding="utf-8")
    assert "0 images scored; 1 could not be read." in Reader(page_of(tmp_path)).words


def test_pages_are_dated_in_english_by_dates_that_are_dates(tmp_path):
    folder_of(tmp_path, 2, shown=False)
    scores, written = tmp_path / "scores.csv", datetime(2021, 3, 4, 12).timestamp()
    os.utime(scores, (written, written))
    with german(tmp_path):
        dated = page_of(tmp_path)
        assert "scored on 4 March 2021" in dated and template.day(datetime(2020, 12, 1)) == "1 December 2020"
    for never in (0, 315_532_800, 2_500_000_000, 300_000_000_000):  # 1970, where ZIP begins, 2049, beyond the year 9999
        os.utime(scores, (never, never))
        assert scores.stat().st_mtime == never or never > 2**33  # some disks end in 2446
        assert page_of(tmp_path) == dated.replace("; scored on 4 March 2021", "")


def test_an_evaluation_elsewhere_finds_its_scores(tmp_path):
    scored = tmp_path / "scored"
    scored.mkdir()
    table = folder_of(scored, 40)
    cohort = pd.DataFrame({"id": table["id"], "outcome": [0, 1] * 20})
    found = evaluation.evaluate(scored, cohort, outcome="outcome", out=tmp_path / "evaluated")
    assert len(Reader(page_of(found.out)).of("img")) == 37


def test_a_folder_without_scores_is_told(tmp_path):
    with pytest.raises(EvaluationError, match=r"holds no scores\.csv; give a folder"):
        page.report(tmp_path)
    folder_of(tmp_path, 2, shown=False)
    (tmp_path / "evaluation.json").write_text("{", encoding="utf-8")
    with pytest.raises(EvaluationError, match="is not valid JSON"):
        page.report(tmp_path)


def test_pictures_are_made_small_and_flat(tmp_path):
    buffer = io.BytesIO()
    Image.new("RGBA", (3000, 1500), (0, 0, 0, 0)).save(buffer, "PNG")
    uri = gallery.as_uri(buffer.getvalue())
    small = Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))
    assert (small.size, small.getpixel((5, 5))) == ((1000, 500), (255, 255, 255))


def volumes(folder, count=4):
    rng = np.random.default_rng(1)
    rows = []
    for place in range(count):
        values = rng.normal(size=(20, 24, 16)).astype(np.float32) ** 2
        image = nib.Nifti1Image(values, np.diag([2.0, 2, 2, 1]))
        nib.save(image, folder / f"v{place}_anomaly.nii.gz")
        nib.save(nib.Nifti1Image(100 - values, image.affine), folder / f"v{place}.nii.gz")
        source = str(folder / f"v{place}.nii.gz")
        rows.append({"id": f"v{place}", "path": source, "value": place, "heatmap": f"v{place}_anomaly.nii.gz"})
    pd.DataFrame(rows).to_csv(folder / "scores.csv", index=False)


def test_volumes_are_shown_as_slices_and_in_viewers_without_a_network(tmp_path):
    pytest.importorskip("nilearn")
    volumes(tmp_path)
    page = page_of(tmp_path)
    read = Reader(page)
    assert read.tags.count("iframe") == 2  # the more abnormal half of four
    assert len(read.of("img")) == 1 + 4
    table = pd.read_csv(tmp_path / "scores.csv")
    views, advice = viewer.viewers(table, tmp_path)
    assert advice is None and len(views) == viewer.SHOWN
    for view in views:
        inner = Reader(view.page)
        assert all(link.startswith(("data:", "#")) for link in inner.links)


def test_without_nilearn_the_page_says_how_to_get_viewers(tmp_path, monkeypatch):
    volumes(tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    read = Reader(page_of(tmp_path))
    assert "iframe" not in read.tags
    assert 'pip install "anomaly-explain[neuro]"' in read.words


def test_coarser_volumes_keep_their_peak_and_their_place():
    values = np.zeros((130, 64, 10), dtype=np.float32)
    values[100, 30, 4] = 7
    affine = np.array([[2.0, 0, 0, -10], [0, 1, 0, 5], [0, 0, 3, 1], [0, 0, 0, 1]])
    small, moved = viewer.coarser(values, affine, peaks=True)
    assert small.shape == (44, 22, 4)
    assert small[33, 10, 1] == small.max() == 7
    # Voxels 99-101, 30-32 and 3-5 are one; its centre is that of the middle one, (100, 31, 4).
    np.testing.assert_allclose(moved @ [33, 10, 1, 1], affine @ [100, 31, 4, 1])
    mean, _ = viewer.coarser(values, affine, peaks=False)
    assert mean[33, 10, 1] == pytest.approx(7 / 27)
