"""One process to a folder; what killed ones left half written goes when the next one has the folder to itself."""

import errno
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

import cli
from anomaly.commandline import busy, log
from anomaly.commandline.busy import held
from anomaly.errors import RunError
from anomaly.files import LOCK, bare, part_of

LOCKING = """
import fcntl, os, sys
place = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.lockf(place, getattr(fcntl, sys.argv[2]))
print("locked", flush=True)
sys.stdin.read()
"""


def ended() -> int:
    """The number of a process that is dead."""
    with subprocess.Popen(["true"]) as process:
        return process.pid


def half_written(folder: Path, process: int | None = None) -> Path:
    """What that process left; by itself a dead one."""
    whole = part_of(folder / "maps" / "map.nii.gz")
    named = re.sub(r"[0-9a-f]{6}\.part", f"{ended() if process is None else process:06x}.part", whole.name)
    path = whole.with_name(named)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"half")
    return path


@contextmanager
def another(folder: Path, how: str = "LOCK_EX") -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock of a folder; killed in the end, so that its file stays."""
    words = [sys.executable, "-c", LOCKING, str(folder / LOCK), how]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "locked\n"
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(busy, "PATIENCE", 0.0)


def test_a_second_one_is_refused_and_let_in_when_the_first_has_ended(tmp_path: Path) -> None:
    with (
        held(tmp_path),
        pytest.raises(RunError, match=rf"another process is writing to {tmp_path}; wait"),
        held(tmp_path),
    ):
        pass
    with held(tmp_path):
        pass


@pytest.mark.usefixtures("impatient")
def test_those_who_share_are_let_in_together_but_not_beside_one_who_does_not(tmp_path: Path) -> None:
    with held(tmp_path, shared=True), held(tmp_path, shared=True):
        with pytest.raises(RunError), held(tmp_path):
            pass
    with held(tmp_path), pytest.raises(RunError), held(tmp_path, shared=True):
        pass


def test_those_who_share_wait_while_the_first_of_them_tidies_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    with another(tmp_path) as tidying:

        def wait(seconds: float) -> None:
            waits.append(seconds)
            if len(waits) == 3:
                tidying.kill()
                tidying.wait()

        monkeypatch.setattr(busy.time, "sleep", wait)
        with held(tmp_path, shared=True):
            assert len(waits) == 3


@pytest.mark.usefixtures("impatient")
def test_other_processes_are_kept_out_by_the_lock_of_a_file(tmp_path: Path) -> None:
    with another(tmp_path), pytest.raises(RunError, match="another process"), held(tmp_path):
        pass
    with another(tmp_path), pytest.raises(RunError, match="another process"), held(tmp_path, shared=True):
        pass
    with another(tmp_path, "LOCK_SH"):
        half = half_written(tmp_path)
        with pytest.raises(RunError), held(tmp_path):
            pass
        with held(tmp_path, shared=True):
            assert half.exists()
        assert (tmp_path / LOCK).exists(), "the other one holds it still"
    with held(tmp_path):  # what the killed one left keeps nobody out
        assert not half.exists()
    assert not (tmp_path / LOCK).exists()


@pytest.mark.usefixtures("impatient")
def test_a_lock_that_was_taken_away_meanwhile_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = os.open

    def late(path: Path, *how: int) -> int:
        place = opened(path, *how)
        if path.name == LOCK:  # whoever held it ends, and the next one begins
            path.unlink()
            path.write_bytes(b"")
        return place

    monkeypatch.setattr(busy.os, "open", late)
    with pytest.raises(RunError), held(tmp_path):
        pass


def test_only_what_surely_nobody_writes_goes(tmp_path: Path) -> None:
    with another(tmp_path.parent) as process:
        dead, alive = half_written(tmp_path), half_written(tmp_path, process.pid)
        elsewhere = dead.with_name(".0fffff000001.part.map")
        older = [dead.with_name(name) for name in (".0123abcd.part.map", ".0fffff000002.part.map")]
        unknown = dead.with_name(".0123abce.part.map")
        coming = dead.with_name(".0fffff000003.part.map")
        for each in (elsewhere, *older, unknown, coming):
            each.touch()
        os.utime(coming, (2_500_000_000, 2_500_000_000))  # of 2049
        for each in older:
            os.utime(each, (time.time() - 90000, time.time() - 90000))
        with held(tmp_path):
            assert set(dead.parent.iterdir()) == {alive, elsewhere, unknown}
    (tmp_path.parent / LOCK).unlink()


def test_a_lock_that_was_left_makes_no_folder_full(tmp_path: Path) -> None:
    (tmp_path / LOCK).touch()
    assert bare(tmp_path)
    (tmp_path / ".other").touch()
    assert not bare(tmp_path)


@pytest.mark.parametrize(
    "numbers",
    [
        {"LOCAL_RANK": "1"},  # of --processes 2
        {"NODE_RANK": "1"},
        {"TORCHELASTIC_RUN_ID": "a", "WORLD_SIZE": "2", "GROUP_WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "2", "RANK": "1"},
        {"SLURM_STEP_ID": "0", "SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2", "SLURM_PROCID": "1"},
    ],
)
def test_processes_of_one_training_do_not_refuse_one_another(
    numbers: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def numbered(number: str) -> None:
        for name, value in numbers.items():
            monkeypatch.setenv(name, number if name.endswith(("RANK", "PROCID")) else value)

    numbered("0")
    with held(tmp_path, training=True):
        numbered("1")
        with held(tmp_path, training=True):
            pass
        with pytest.raises(RunError), held(tmp_path):  # a scoring that is begun several times
            pass
        numbered("0")
        with pytest.raises(RunError), held(tmp_path, training=True):
            pass


def no_lock(place: int, how: int) -> None:
    raise OSError(errno.ENOLCK, "No locks available")


def not_read(path: Path, how: int, mode: int) -> int:
    raise PermissionError(errno.EACCES, "Permission denied", str(path))


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("fcntl.lockf", no_lock, "No locks available"),
        ("fcntl", None, "this system has none"),
        ("os.open", not_read, "Permission denied"),
    ],
)
@pytest.mark.parametrize("shared", [False, True])
def test_where_nothing_can_be_locked_all_are_let_in_and_the_log_says_so(
    name: str, value: object, why: str, shared: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, told = tmp_path / "scores", tmp_path / "a.log"
    half = half_written(folder)
    log.to(told)
    with log.kept():
        log.note("begun")  # the file is opened
        with monkeypatch.context() as patched:
            patched.setattr(f"anomaly.commandline.busy.{name}", value)
            with held(folder, shared=shared), held(folder, shared=shared):
                assert half.exists()
    assert not (folder / LOCK).exists()
    assert told.read_text().count(f"{folder} is not locked ({why}): a second command") == 2


def test_what_can_only_be_read_stays_and_refuses_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    half = half_written(tmp_path)

    def unlink(path: Path, missing_ok: bool = False) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr(Path, "unlink", unlink)
    with held(tmp_path):
        assert half.exists()


def test_the_library_within_a_command_does_not_meet_its_lock(tmp_path: Path) -> None:
    from anomaly.simulation import simulate

    with held(tmp_path):
        simulate("squares", tmp_path, count=20, size=32)
    assert (tmp_path / "cohort.csv").exists()


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
