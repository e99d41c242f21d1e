"""Where a file cannot be written for want of room, the error names it, nothing is left half, a repeat is as good."""

import errno
import json
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from nibabel import Nifti1Image, save
from typer.testing import CliRunner

import cli
from anomaly.cohorts.tables import SCORES, GrowingTable
from anomaly.commandline.busy import held
from anomaly.files import naming, whole, write_whole
from anomaly.training.checkpoints import Checkpoint, newest, save_as, save_tensors

ROOM = 20_000
NOISE = np.random.default_rng(0).normal(size=(40, 40, 10)).astype(np.float32)
LARGE = {"a": torch.from_numpy(NOISE)}


@contextmanager
def no_room() -> Iterator[None]:
    """No file can be larger than 20 kB; the system tells it as it tells a full disk."""
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, usual[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)


def as_nifti(path: Path) -> None:
    with whole(path) as part:
        save(Nifti1Image(NOISE, np.eye(4)), part)


def as_array(path: Path) -> None:
    with whole(path) as part:
        np.save(part, NOISE)


WRITERS: dict[str, Callable[[Path], None]] = {
    "table.csv": lambda path: write_whole(path, NOISE.tobytes()),
    "weights.safetensors": lambda path: save_tensors(path, LARGE),
    "map.nii.gz": as_nifti,
    "image.npy": as_array,
}


@pytest.mark.parametrize("name", WRITERS)
def test_the_error_names_the_file_and_nothing_is_left(name: str, tmp_path: Path) -> None:
    with no_room(), pytest.raises(OSError, match=rf"{tmp_path}/{name}'") as error:
        WRITERS[name](tmp_path / name)
    assert error.value.errno in (errno.EFBIG, errno.ENOSPC)
    assert list(tmp_path.iterdir()) == []
    WRITERS[name](tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_checkpoint_without_room_leaves_the_one_before(tmp_path: Path) -> None:
    save_as(tmp_path / "000001", Checkpoint({}, {}, {"step": 1}))
    full = Checkpoint({}, LARGE, {"step": 2})
    with no_room(), pytest.raises(OSError, match=f"{tmp_path}/000002'"):
        save_as(tmp_path / "000002", full)
    assert [path.name for path in tmp_path.iterdir()] == ["000001"]
    found = newest(tmp_path)
    assert found is not None and found.facts["step"] == 1
    save_as(tmp_path / "000002", full)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000001", "000002"]


def test_a_growing_table_without_room_is_named_and_keeps_whole_rows(tmp_path: Path) -> None:
    def table() -> GrowingTable:
        return GrowingTable(SCORES, tmp_path, settings={}, columns=["long"])

    row = {"id": "a", "path": "a.png", "heatmap": "", "long": "x" * 15_000}
    with no_room(), pytest.raises(OSError, match=f"{tmp_path}/scores.csv'"), table() as growing:
        growing.add([row])
        growing.add([{**row, "id": "b", "path": "b.png"}])
    assert list(table().done) == ["a"]


def test_a_file_that_is_not_written_whole_is_told_by_its_folder(tmp_path: Path) -> None:
    with no_room(), pytest.raises(OSError, match=f"File too large: '{tmp_path}'"), held(tmp_path):
        with (tmp_path / "images.raw").open("wb") as raw:
            raw.write(NOISE.tobytes())


@pytest.mark.parametrize(
    "error", [ValueError("3 values"), OSError("disk full"), FileNotFoundError(errno.ENOENT, "none", "other.png")]
)
def test_other_errors_stay_as_they_are(error: Exception, tmp_path: Path) -> None:
    with pytest.raises(type(error)) as raised, naming(tmp_path / "a.csv"):
        raise error
    assert raised.value is error


def test_names_that_are_no_utf8_are_written_as_json_reads_them(tmp_path: Path) -> None:
    write_whole(tmp_path / "facts.json", json.dumps({"scores": "caf\udce9"}, ensure_ascii=False))
    assert json.loads((tmp_path / "facts.json").read_text(encoding="utf-8")) == {"scores": "caf\udce9"}


def test_a_simulation_without_room_says_what_to_do_and_goes_on_to_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["simulate", "squares", "--count", "20", "--size", "80", "--out"]
    monkeypatch.setattr("sys.argv", ["anomaly", *words, str(tmp_path / "a")])
    with no_room(), pytest.raises(SystemExit) as ended:
        cli.app()
    told = capsys.readouterr().err
    assert ended.value.code == 1 and f"{tmp_path}/a/images/" in told and "run the same command again" in told
    for name in ("a", "b"):
        assert CliRunner().invoke(cli.commands, [*words, str(tmp_path / name)]).exit_code == 0
    found = [{path.name: path.read_bytes() for path in (tmp_path / name).rglob("*") if path.is_file()} for name in "ab"]
    assert found[0] == found[1]
