"""One process to a folder: a second command that would write where another one writes is refused by name."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from anomaly.commandline import log
from anomaly.errors import RunError
from anomaly.files import LOCK, sweep
from anomaly.training.machine import begun_first

try:
    import fcntl
except ImportError:  # pragma: no cover  # Windows has no such locks
    fcntl = None  # type: ignore[assignment]

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""Of these errors the system says not where; what is whole names its file (`files.naming`), all else this folder."""
FOLLOWERS = ("LOCAL_RANK", "NODE_RANK", "GROUP_RANK")
"""By which Fabric numbers the processes that `--processes` asks for, and whoever starts some by hand, computers."""
PATIENCE = 10.0
"""Seconds that those who share wait for one another: the first of them has the folder to itself while it tidies."""
_mine: dict[Path, bool] = {}
"""Folders that this process holds, and whether it shares them; the system tells a process nothing of its own locks."""


@contextmanager
def held(folder: Path, *, shared: bool = False, training: bool = False) -> Iterator[None]:
    """Keep a folder to this command while it runs, and take away what killed ones left half written in it.

    A hidden file in the folder is locked, by a lock that other computers see where the file system has such: network
    drives know none of a folder itself. The lock goes with the process, and the file with the last of those who hold
    it; a killed one leaves it, and it is taken over. A folder that had to be made for that, and in which nothing
    appeared, is removed again. Systems without such locks, as Windows and some network drives, let everybody in, and
    nothing is taken away there; the log says so. Of the processes of one training only the first asks. The library
    locks nothing, so a command that calls for much of it, as `demo` does, does not meet itself.

    Args:
        folder: what the command makes or adds to.
        shared: others who share may write there too, as other shards of one scoring do.
        training: several processes may do this together, the first of which asks for all.

    Raises:
        RunError: another process holds it.
        OSError: it cannot be made.
    """
    if (training and _follows()) or (folder.exists() and not folder.is_dir()):
        yield
        return
    made = _made(folder)
    key = folder.resolve()
    if key in _mine and shared and _mine[key]:
        yield
        return
    if key in _mine:
        raise _refused(folder)
    place = _locked(folder, shared)
    if place is not None:
        _mine[key] = shared
    try:
        with _told(folder):
            yield
    finally:
        if place is not None:
            del _mine[key]
            _given_back(place, folder)
        for each in made:
            with suppress(OSError):  # it is in use
                each.rmdir()


def _follows() -> bool:
    """Whether this is a further process of a training, the first of which holds the folder for all."""
    return not begun_first() or any(os.environ.get(name, "0") != "0" for name in FOLLOWERS)


def _made(folder: Path) -> list[Path]:
    """Make a folder; those that had to be made, the innermost first."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return missing


def _locked(folder: Path, shared: bool) -> int | None:
    """The locked file, or None where nothing can be locked; this process is let in then, or refused."""
    if fcntl is None:
        _without(folder, "this system has none")
        return None
    until = time.monotonic() + PATIENCE
    while True:
        new = not (folder / LOCK).exists()
        try:
            place = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)  # to write: else no lock keeps others out
        except OSError as error:
            _without(folder, error.strerror)
            return None
        try:
            if _let_in(place, folder, shared):
                return place
        except OSError as error:
            os.close(place)
            if new:
                (folder / LOCK).unlink(missing_ok=True)
            _without(folder, error.strerror)
            return None
        os.close(place)
        if not shared or time.monotonic() >= until:
            raise _refused(folder)
        time.sleep(0.05)


def _let_in(place: int, folder: Path, shared: bool) -> bool:
    """Lock the file and tidy up; False where another process holds it, or has just taken it away."""
    alone = _lock(place, fcntl.LOCK_EX)
    if alone and _there(place, folder):
        sweep(folder)
        if not shared:
            return True
    return shared and _lock(place, fcntl.LOCK_SH) and _there(place, folder)


def _lock(place: int, how: int) -> bool:
    try:
        fcntl.lockf(place, how | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # either means that another process has it
        return False
    return True


def _there(place: int, folder: Path) -> bool:
    """Whether the file that was opened is still the one that lies there."""
    try:
        found, opened = os.stat(folder / LOCK), os.fstat(place)
    except OSError:
        return False
    return (found.st_dev, found.st_ino) == (opened.st_dev, opened.st_ino)


def _given_back(place: int, folder: Path) -> None:
    """Take the file away, if nobody else holds it, and the lock with it."""
    with suppress(OSError):
        if _lock(place, fcntl.LOCK_EX) and _there(place, folder):
            (folder / LOCK).unlink()
    os.close(place)


def _refused(folder: Path) -> RunError:
    told = "wait until it has ended, or choose another --out"
    return RunError(f"another process is writing to {folder}; {told}")


def _without(folder: Path, why: str | None) -> None:
    log.note(f"{folder} is not locked ({why}): a second command that writes there at the same time is not refused")


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    """A full disk is told by its folder where nothing says more."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL and error.filename is None:
            raise OSError(error.errno, error.strerror, str(folder)) from error
        raise
