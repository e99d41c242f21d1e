"""One process to a folder; what killed ones left half written goes when the next one has the folder to itself."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

import cli
from anomaly.commandline.busy import held
from anomaly.errors import RunError

HALF = "maps/.0123abcd.part.map.nii.gz"


def half_written(folder: Path) -> Path:
    path = folder / HALF
    path.parent.mkdir(parents=True)
    path.write_bytes(b"half")
    return path


def test_a_second_one_is_refused_and_let_in_when_the_first_has_ended(tmp_path: Path) -> None:
    with (
        held(tmp_path),
        pytest.raises(RunError, match=rf"another process is writing to {tmp_path}; wait"),
        held(tmp_path),
    ):
        pass
    with held(tmp_path):
        pass


def test_those_who_share_are_let_in_together_but_not_beside_one_who_does_not(tmp_path: Path) -> None:
    with held(tmp_path, shared=True), held(tmp_path, shared=True):
        with pytest.raises(RunError), held(tmp_path):
            pass
    with held(tmp_path), pytest.raises(RunError), held(tmp_path, shared=True):
        pass


@pytest.mark.parametrize("shared", [False, True])
def test_what_was_left_half_written_goes(shared: bool, tmp_path: Path) -> None:
    half = half_written(tmp_path)
    with held(tmp_path, shared=shared):
        assert not half.exists()


def test_what_another_one_is_writing_stays(tmp_path: Path) -> None:
    with held(tmp_path, shared=True):
        half = half_written(tmp_path)
        with held(tmp_path, shared=True):
            assert half.exists()


def test_a_folder_in_which_nothing_appeared_is_gone_again(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="refused"), held(tmp_path / "new" / "deep"):
        raise ValueError("refused")
    assert list(tmp_path.iterdir()) == []
    with held(tmp_path / "new" / "deep"):
        (tmp_path / "new" / "deep" / "table.csv").touch()
    assert (tmp_path / "new" / "deep" / "table.csv").exists()


def test_a_file_in_the_place_of_the_folder_is_left_to_the_command(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    with held(tmp_path / "taken"):
        pass
    assert (tmp_path / "taken").is_file()


def test_commands_refuse_a_folder_that_another_one_writes_to(tmp_path: Path) -> None:
    words = ["simulate", "squares", "--count", "2", "--size", "24", "--out", str(tmp_path)]
    with held(tmp_path):
        refused = CliRunner().invoke(cli.commands, words)
    assert (refused.exit_code, list(tmp_path.iterdir())) == (1, [])
    assert isinstance(refused.exception, RunError) or "another process is writing" in refused.output


def test_a_shard_shares_and_an_evaluation_takes_the_folder_that_it_reads(tmp_path: Path) -> None:
    from anomaly.commandline.everywhere import _place

    (tmp_path / "scores.csv").touch()
    assert _place("score", {"out": tmp_path, "shard": "1/2"}) == (tmp_path, True)
    assert _place("score", {"out": tmp_path, "shard": "1/1"}) == (tmp_path, False)
    assert _place("evaluate", {"scores": tmp_path / "scores.csv", "out": None}) == (tmp_path, True)
    assert _place("train", {"out": tmp_path, "dry_run": True}) == (None, False)
