"""Images of another kind than the normals: told in the scores, refused where that is asked, never in the way."""

import json
import shutil
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from studies import call, pictures, table, trained

from anomaly.errors import RunError
from anomaly.runs.facts import read_facts, write_facts
from anomaly.scoring.score import score

PLAIN = {"heatmaps": ["none"], "device": "cpu", "workers": 1}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("run")
    return trained(pictures(home / "normals", 70, side=24), home / "run").folder


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six of the normals' kind, three turned, three of half the size."""
    folder = pictures(tmp_path_factory.mktemp("images"), 12, name="i", side=24)
    for i in range(6, 12):
        path = folder / f"i{i:03d}.png"
        grey = PIL.Image.open(path)
        (grey.rotate(180) if i < 9 else grey.resize((12, 12))).save(path)
    return folder


def test_strangers_are_told_with_the_reason(run, images, tmp_path):
    scored = score(run, images, tmp_path, **PLAIN)
    rows = table(scored.path)
    assert list(rows["unlike"][6:9].str.contains("orientation")) == [True] * 3
    assert list(rows["unlike"][9:].str.contains("size")) == [True] * 3
    assert ((rows["unlike_p"].astype(float) <= 0.05) == (rows["unlike"] != "")).all()
    count = int((rows["unlike"] != "").sum())
    assert 6 <= count <= 8 and scored.unlike.startswith(
        f"{count} of 12 images are unlike what was learned, most often by"
    )
    assert scored.unlike in repr(scored)
    again = score(run, images, tmp_path, **PLAIN)
    assert (again.new, again.unlike) == (0, scored.unlike)


def test_strangers_are_refused_where_that_is_asked(run, images, tmp_path):
    before = table(score(run, images, tmp_path / "all", **PLAIN).path)
    code, out, _ = call(
        "score", run, "--images", images, "--out", tmp_path / "few", "--refuse-unlike", "--heatmaps", "none"
    )
    errors, rows = table(tmp_path / "few" / "errors.csv"), table(tmp_path / "few" / "scores.csv")
    assert code == 3 and "unlike" not in out
    assert list(errors["id"]) == list(before.loc[before["unlike"] != "", "id"])
    assert errors["error"].str.contains(r"is unlike what was learned, by its .*--refuse-unlike").all()
    assert list(rows["id"]) == list(before.loc[before["unlike"] == "", "id"])
    with pytest.raises(RunError, match="refuse_unlike"):
        score(run, images, tmp_path / "few", **PLAIN)


def test_runs_and_tables_of_older_versions_go_on(run, images, tmp_path):
    old = shutil.copytree(run, tmp_path / "run")
    (old / "likeness.safetensors").unlink()
    facts = read_facts(old)
    names = [name for name in facts.pop("files") if name != "likeness.safetensors"]
    write_facts(old, facts, device="cpu", checked=names)
    rows = table(score(old, images, tmp_path / "old", **PLAIN).path)
    assert (rows["unlike_p"] == "").all() and (rows["unlike"] == "").all()
    with pytest.raises(RunError, match="nothing can be refused as unlike; train again"):
        score(old, images, tmp_path / "refused", refuse_unlike=True, **PLAIN)
    # A folder begun by a version without the columns.
    score(run, images, tmp_path / "begun", **PLAIN)
    lines = [
        line.rpartition(",")[0].rpartition(",")[0] for line in (tmp_path / "begun" / "scores.csv").read_text().split()
    ]
    (tmp_path / "begun" / "scores.csv").write_text("\n".join(line.split(',"')[0] for line in lines[:1]) + "\n")
    settings = json.loads((tmp_path / "begun" / "score.json").read_text())
    settings.pop("refuse_unlike")
    (tmp_path / "begun" / "score.json").write_text(json.dumps(settings))
    scored = score(run, images, tmp_path / "begun", **PLAIN)
    assert scored.new == 12 and scored.unlike == "" and "unlike" not in table(scored.path)


def test_values_beyond_all_normals_keep_their_order_though_z_ends(run, images, tmp_path):
    for i in range(3):
        noise = np.random.default_rng(i).integers(0, 256, (24, 24)).astype(np.uint8)
        PIL.Image.fromarray(noise).save(images / f"noise{i}.png")
    rows = table(score(run, images, tmp_path, **PLAIN).path)
    far = rows[rows["id"].str.startswith("noise")]
    assert far["z"].nunique() == 1 and far["value"].nunique() == 3 and (far["z"] == rows["z"].max()).all()
