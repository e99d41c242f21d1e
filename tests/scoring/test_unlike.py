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
from anomaly.runs.run import Run
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


def test_in_a_table_that_an_older_version_began_z_has_no_end(run, images, tmp_path):
    for i in range(2):
        PIL.Image.fromarray(np.random.default_rng(i).integers(0, 256, (24, 24)).astype(np.uint8)).save(
            tmp_path / f"noise{i}.png"
        )
    files = [*sorted(images.glob("i00*.png"))[:3], *sorted(tmp_path.glob("*.png"))]
    other = trained(run.parent / "normals", tmp_path / "other", method="pca", settings={"components": 2}).folder
    for runs in ([run], [run, other]):
        out = tmp_path / f"of{len(runs)}"
        now = table(score(runs, files, out, **PLAIN).path)
        now.iloc[:4].drop(columns=["unlike_p", "unlike"]).to_csv(out / "scores.csv", index=False)
        rows = table(score(runs, files, out, **PLAIN).path)
        assert list(rows["id"]) == list(now["id"]) and "unlike" not in rows
        same = [name for name in rows if not name.startswith("z")]
        assert rows[same].equals(now[same])
        beyond = [name for name in now if name.startswith("z") and now[name].nunique() < now[name].size]
        assert beyond and (rows[beyond].iloc[:4] == now[beyond].iloc[:4]).all(axis=None)  # kept as they are
        assert (rows[beyond].iloc[4].astype(float) > now[beyond].iloc[4].astype(float) + 0.5).all()
    calibration = Run.open(run, device="cpu").calibration
    last = table(tmp_path / "of1" / "scores.csv").iloc[4]
    assert float(last["z"]) == pytest.approx(calibration.departure(np.array([float(last["value"])]))[0])


def test_values_beyond_all_normals_keep_their_order_though_z_ends(run, images, tmp_path):
    for i in range(3):
        noise = np.random.default_rng(i).integers(0, 256, (24, 24)).astype(np.uint8)
        PIL.Image.fromarray(noise).save(images / f"noise{i}.png")
    rows = table(score(run, images, tmp_path, **PLAIN).path)
    far = rows[rows["id"].str.startswith("noise")]
    assert far["z"].nunique() == 1 and far["value"].nunique() == 3 and (far["z"] == rows["z"].max()).all()
