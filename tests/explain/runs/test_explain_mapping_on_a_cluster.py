"""Explaining by the workers of a cluster: the bytes of one process, also where a worker is killed."""

import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import PIL.Image
import pytest
from distributed import LocalCluster
from explained import BOX, SIDE, explaining, two_sides
from studies import broken

from anomaly.errors import ClusterError, CohortError, RunError
from explain.runs import mapping
from explain.runs.mapping import map_images
from explain.runs.mapping_rows import Asked
from explain.sides.sides import Sides

OPTIONS: dict[str, Any] = {"device": "cpu", "workers": 1, "batch": 2}
CLASSIFIED = {"settings": {"samples": 3}}


@dataclass(frozen=True)
class Killed(Asked):
    """Kills the first worker that has drawn the maps of some images, before it can say so."""

    def open(self, threads: int) -> Any:
        rows, marker = super().open(threads), Path(self.out).with_suffix(".killed")

        def dying(batches: Sequence[Any]) -> list[Any]:
            found = rows(batches)
            if any(row["id"] == "i005" for batch in batches for row in batch) and not marker.exists():
                marker.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return found

        return dying


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs `additive` and `target`, `images/` of which some cannot be read, and what one process makes of these."""
    home = tmp_path_factory.mktemp("home")
    sides = Sides(cohort=two_sides(home / "sides"), outcome="sick")
    explaining(sides, home / "additive")
    explaining(sides, home / "target", "classifier")
    (home / "images").mkdir()
    for i in range(13):
        image = np.random.default_rng(i).integers(0, 120, (SIDE, SIDE), dtype=np.uint8)
        image[BOX] += 100
        PIL.Image.fromarray(image).save(home / "images" / f"i{i:03d}.png")
    broken(home / "images")
    map_images(home / "additive", home / "images", home / "one", **OPTIONS)
    return home


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50) as begun:
        yield begun.scheduler_address


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_trained_explainer_leaves_the_bytes_that_one_process_leaves(home, address):
    found = map_images(home / "additive", home / "images", home / "two", cluster=address, **OPTIONS)
    assert found.new + found.failed == 19 and found.failed >= 5
    assert contents(home / "two") == contents(home / "one")
    assert len(contents(home / "one")) == 3 * found.new + 3, "maps, explanations, errors, settings"


def test_a_worker_killed_in_the_middle_leaves_the_same_bytes(home, address, monkeypatch):
    monkeypatch.setattr(mapping, "Asked", Killed)
    map_images(home / "additive", home / "images", home / "killed", cluster=address, **OPTIONS)
    assert (home / "killed.killed").exists()
    assert contents(home / "killed") == contents(home / "one")


def test_an_attribution_whose_first_images_set_the_colours_does_as_well(home, address):
    given = {"target": home / "target", "outputs": ("nifti", "png"), **CLASSIFIED, **OPTIONS}
    map_images("smooth-grad", home / "images", home / "grad-one", **given)
    found = map_images("smooth-grad", home / "images", home / "grad-two", cluster=address, **given)
    assert contents(home / "grad-two") == contents(home / "grad-one")
    again = map_images(
        "smooth-grad", home / "images", home / "grad-two", cluster="gone.json", **given | {"match": "i*"}
    )
    assert (again.new, again.before) == (0, 13) and found.new >= 13, "where nothing is left no cluster is asked"


def test_a_run_that_is_another_one_for_the_workers_is_refused(home):
    asked = dict.fromkeys(("settings", "target", "generator", "judge", "baseline", "controls", "method", "workers"))
    asked |= {"source": str(home / "additive"), "identities": {"source": "other"}, "device": "cpu", "raw": False}
    with pytest.raises(RunError, match=r"additive holds another run where the worker is; put runs on a shared disk"):
        Asked(**asked, out="out", outputs=("png",), limit=1.0).open(1)  # type: ignore[arg-type]


def test_a_cluster_that_is_not_there_leaves_nothing_that_looks_like_a_result(home, tmp_path):
    with pytest.raises(ClusterError, match=r"gone\.json: no such scheduler file"):
        map_images(home / "additive", home / "images", tmp_path, cluster=str(tmp_path / "gone.json"), **OPTIONS)
    assert not list(tmp_path.iterdir())


def test_where_no_image_can_be_read_each_is_named_with_its_own_reason(home, tmp_path):
    (tmp_path / "images").mkdir()
    for name in ("a.png", "b.png"):
        (tmp_path / "images" / name).write_bytes(b"")
    np.save(tmp_path / "images" / "c.npy", np.full((SIDE, SIDE), np.nan, dtype=np.float32))
    with pytest.raises(
        CohortError, match=r"none of the 3 images can be read \(2: is empty .*; 1: .*\); see .*errors\.csv"
    ):
        map_images(home / "additive", tmp_path / "images", tmp_path / "out", **OPTIONS)
    told = pd.read_csv(tmp_path / "out" / "errors.csv")
    assert list(told["id"]) == ["a", "b", "c"] and told["error"].nunique() == 3
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["errors.csv"]
