"""When the files of a table come: with the first row or a good end; what stops before leaves none."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from anomaly.cohorts.beside import Beside
from anomaly.cohorts.tables import SCORES, GrowingTable
from anomaly.errors import RunError

CELLS = Beside("grid", ("id", "a"))


def opened(folder: Path, shard: tuple[int, int] = (1, 1), **settings: Any) -> GrowingTable:
    return GrowingTable(SCORES, folder, settings=settings, columns=[], shard=shard, beside=CELLS)


def row(name: str, **more: str) -> Mapping[str, Any]:
    return {**dict.fromkeys(SCORES.first, ""), "id": name, "path": f"{name}.png", "a": 1, **more}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_stops_before_the_first_row_leaves_nothing_and_other_settings_may_follow(tmp_path):
    with pytest.raises(KeyboardInterrupt), opened(tmp_path, alpha=0.1):
        raise KeyboardInterrupt
    assert names(tmp_path) == []
    with opened(tmp_path, alpha=0.2) as table:
        table.add([row("x")])
    assert names(tmp_path) == ["grid.csv", "score.json", "scores.csv"]
    assert (tmp_path / "grid.csv").read_text() == "id,a\nx,1\n"


def test_rows_that_came_before_a_stop_stay_and_the_next_call_goes_on(tmp_path):
    with pytest.raises(KeyboardInterrupt), opened(tmp_path) as table:
        table.add([row("x"), row("y", error="is empty")])
        raise KeyboardInterrupt
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert sorted(before) == ["errors.csv", "grid.csv", "score.json", "scores.csv"]
    with pytest.raises(KeyboardInterrupt), opened(tmp_path):
        raise KeyboardInterrupt
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before, "errors of before stay as well"
    with opened(tmp_path) as table:
        assert [each["id"] for each in table.left([row("x"), row("y")])] == ["y"]
        table.add([row("y")])
    assert names(tmp_path) == ["grid.csv", "score.json", "scores.csv"]
    assert [line.split(",")[0] for line in (tmp_path / "scores.csv").read_text().splitlines()] == ["id", "x", "y"]


def test_a_stop_after_errors_alone_leaves_no_table_of_scores(tmp_path):
    with pytest.raises(KeyboardInterrupt), opened(tmp_path) as table:
        table.add([row("y", error="is empty")])
        raise KeyboardInterrupt
    assert names(tmp_path) == ["errors.csv", "score.json"]


def test_a_good_end_leaves_a_table_also_of_no_rows(tmp_path):
    with opened(tmp_path):
        pass
    assert (tmp_path / "scores.csv").read_text() == ",".join(SCORES.first) + "\n"
    assert names(tmp_path) == ["grid.csv", "score.json", "scores.csv"]


def test_shards_keep_the_settings_that_they_share(tmp_path):
    with pytest.raises(KeyboardInterrupt), opened(tmp_path, shard=(1, 2)):
        raise KeyboardInterrupt
    assert names(tmp_path) == ["score.json"]
    for number in (1, 2):
        with opened(tmp_path, shard=(number, 2)):
            pass
    found = {path.name: path.read_bytes() for path in tmp_path.glob("*.csv")}
    others = [f"{name}-{number}-of-2.csv" for name in ("grid", "scores") for number in (1, 2)]
    assert sorted(found) == ["errors-1-of-2.csv", *others]
    assert found["scores-2-of-2.csv"] == b"" and found["errors-1-of-2.csv"] == b"id,path,error\r\n"


def test_a_file_in_the_place_of_the_folder_is_told(tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(RunError, match="out is a file; choose another --out"):
        opened(tmp_path / "out")
    assert (tmp_path / "out").read_text() == "mine"
