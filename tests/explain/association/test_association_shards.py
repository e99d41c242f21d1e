"""Shufflings shared out over shards and joined: the bytes of one process, and honest refusals."""

from pathlib import Path

import pytest
from test_association import cohort
from typer.testing import CliRunner

import cli
from anomaly.errors import AnomalyError, EvaluationError
from explain.association import associate
from explain.association.shuffling import parts

OPTIONS = {"outcome": "pain", "permutations": 250, "seed": 3}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith("shufflings-")}


@pytest.mark.parametrize("correction", ["max-t", "cluster"])
def test_shards_that_are_joined_leave_the_bytes_of_one_process(correction, tmp_path):
    maps, table = tmp_path / "maps", tmp_path / "maps" / "cohort.csv"
    cohort(maps)
    options = {**OPTIONS, "correction": correction}
    associate(maps, table, out=tmp_path / "one", **options)
    for i in (4, 1, 3, 2):  # there are three portions of a hundred, so one shard has none
        found = associate(maps, table, out=tmp_path / "parts", shard=(i, 4), **options)
        assert "the same without --shard joins them" in found.headline and found.regions.empty
    assert not contents(tmp_path / "parts")
    told = associate(maps, table, out=tmp_path / "parts", **options)
    assert contents(tmp_path / "parts") == contents(tmp_path / "one") and not told.regions.empty


def test_what_is_missing_or_of_other_settings_is_told(tmp_path):
    maps, table = tmp_path / "maps", tmp_path / "maps" / "cohort.csv"
    cohort(maps)
    out = tmp_path / "out"
    associate(maps, table, out=out, shard=(2, 3), **OPTIONS)
    with pytest.raises(EvaluationError, match=r"lacks the shufflings of 2 of 3 shards \(1, 3\); run these"):
        associate(maps, table, out=out, **OPTIONS)
    for i in (1, 3):
        associate(maps, table, out=out, shard=(i, 3), **OPTIONS)
    assert [path.name[-19:-12] for path in parts(out)] == ["-1-of-3", "-2-of-3", "-3-of-3"]
    with pytest.raises(EvaluationError, match=r"shufflings of other maps, people or settings; remove these files"):
        associate(maps, table, out=out, **{**OPTIONS, "seed": 4})
    (out / "shufflings-2-of-3.safetensors").write_bytes(b"cut")
    with pytest.raises(EvaluationError, match=r"shufflings-2-of-3\.safetensors cannot be read .*run its shard again"):
        associate(maps, table, out=out, **OPTIONS)
    associate(maps, table, out=out, shard=(1, 2), **OPTIONS)
    with pytest.raises(EvaluationError, match=r"holds shufflings of 2 and of 3 shards; remove"):
        associate(maps, table, out=out, **OPTIONS)
    with pytest.raises(AnomalyError, match="1 <= i <= N, got 3/2"):
        associate(maps, table, out=out, shard=(3, 2), **OPTIONS)


def test_the_command_makes_a_shard_and_says_what_next(tmp_path):
    maps, table = tmp_path / "maps", tmp_path / "maps" / "cohort.csv"
    cohort(maps)
    words = ["associate", maps, "--cohort", table, "--outcome", "pain", "--out", tmp_path / "out"]
    done = CliRunner().invoke(cli.commands, [*map(str, words), "--permutations", "100", "--shard", "1/1"])
    assert done.exit_code == 0 and (tmp_path / "out" / "association.html").exists()
    done = CliRunner().invoke(cli.commands, [*map(str, words[:-1]), str(tmp_path / "part"), "--shard", "2/8"])
    assert done.exit_code == 0 and "200 of 1000 shufflings are in" in done.stdout
    assert [path.name for path in (tmp_path / "part").iterdir()] == ["shufflings-2-of-8.safetensors"]
