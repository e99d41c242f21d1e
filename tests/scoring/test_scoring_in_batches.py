"""What was stopped goes on in the batches of what was not, since last bits depend on who else is in a batch."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from studies import pictures, trained

from anomaly.images import Image, intake
from anomaly.scoring.ensemble import Ensemble
from anomaly.scoring.score import score

ROWS = [{"path": f"{k}"} for k in range(11)]


def batches(monkeypatch: pytest.MonkeyPatch, left: Sequence[int], refused: Sequence[int] = ()) -> list[list[int]]:
    """The batches of four of which those that are left are."""
    image = Image(np.zeros((1, 2, 2), np.float32), np.eye(4), Path("x"), "picture")
    monkeypatch.setattr(intake, "_ready", lambda row, prepare, fewest: intake.Ready(row, image, ()))
    found = intake.in_batches(
        [ROWS[k] for k in left], lambda image: (), 4, of=ROWS, refused=[f"{k}" for k in refused]
    )  # fmt: skip
    return [[int(row["path"]) for row in each] for each in found]


def test_batches_are_those_of_all_rows_whatever_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    assert batches(monkeypatch, range(11)) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10]]
    assert batches(monkeypatch, range(4, 11)) == [[4, 5, 6, 7], [8, 9, 10]]
    assert batches(monkeypatch, [6, 9]) == [[4, 5, 6, 7], [8, 9, 10]]  # 6 was lost, or cut short
    assert batches(monkeypatch, [1, 6, 9], [1, 9]) == [[1], [4, 5, 6, 7], [9]]  # 1 and 9 could not be read
    assert batches(monkeypatch, [1, 2, 9], [1]) == [[0, 1, 2, 3], [8, 9, 10]]
    assert batches(monkeypatch, []) == []


def test_scores_go_on_in_the_same_batches_to_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = trained(pictures(tmp_path / "normals", 20), tmp_path / "run", "pca", settings={"components": 2}).folder
    images = pictures(tmp_path / "images", 10, name="i")
    (images / "a.png").write_bytes(b"")
    judge, sizes = Ensemble.judge, list[int]()

    def counted(self: Ensemble, prepared: Sequence[Any]) -> Any:
        sizes.append(len(prepared))
        return judge(self, prepared)

    monkeypatch.setattr(Ensemble, "judge", counted)
    whole, again = tmp_path / "a" / "scores", tmp_path / "b" / "scores"
    options: dict[str, Any] = {"heatmaps": ["png"], "batch": 4, "device": "cpu", "workers": 1}
    score(run, images, whole, **options)
    assert sizes == [3, 4, 3]
    shutil.copytree(whole, again)
    rows = (again / "scores.csv").read_bytes().splitlines(keepends=True)
    (again / "scores.csv").write_bytes(b"".join(rows[:6]))  # the first batch, and half of the second
    sizes.clear()
    found = score(run, images, again, **options)
    assert (found.new, found.before, found.failed) == (5, 5, 1)
    assert sizes == [4, 3]
    for name in ("scores.csv", "grid.csv", "errors.csv"):
        assert (again / name).read_bytes() == (whole / name).read_bytes()
