"""Explanations in shards: joined by `cat` they are the whole, and colours end alike in all of them."""

import json
from pathlib import Path

import pandas as pd
import pytest
from studies import pictures, trained

from anomaly.clusters.shards import shard_of
from anomaly.errors import AnomalyError, RunError
from explain.runs.mapping import map_images


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    trained(pictures(home / "normals", 24), home / "run")
    pictures(home / "images", 7, name="i")
    return home


def mapped(home: Path, out: str, **options: object) -> Path:
    asked = {
        "settings": {"window": 0.5, "stride": 0.5},
        "target": home / "run",
        "outputs": ["nifti"],
        "device": "cpu",
        "workers": 1,
    }
    return map_images("occlusion", home / "images", home / out, **asked, **options).path  # type: ignore[arg-type]


def test_shards_joined_by_cat_are_the_whole(home):
    whole = pd.read_csv(mapped(home, "whole"))
    for i in (3, 1, 2):
        path = mapped(home, "parts", shard=(i, 3))
        assert path.name == f"explanations-{i}-of-3.csv"
    joined = "".join(path.read_text() for path in sorted((home / "parts").glob("explanations-*-of-3.csv")))
    (home / "joined.csv").write_text(joined)
    again = pd.read_csv(home / "joined.csv")
    pd.testing.assert_frame_equal(again.sort_values("id", ignore_index=True), whole, rtol=1e-5)
    assert list(again["id"]) == sorted(whole["id"], key=lambda name: (shard_of(name, 3), name))
    limits = {json.loads((home / name / "explain.json").read_text())["limit"] for name in ("whole", "parts")}
    assert len(limits) == 1


def test_other_shards_are_refused(home):
    mapped(home, "some", shard=(1, 2))
    with pytest.raises(RunError, match="another sharded"):
        mapped(home, "some", shard=(1, 3))
    with pytest.raises(AnomalyError, match="1 <= i <= N, got 3/2"):
        mapped(home, "some", shard=(3, 2))
