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
from anomaly.files import sweep
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


@contextmanager
def held(folder: Path, *, shared: bool = False) -> Iterator[None]:
    """Keep a folder to this command while it runs, and take away what killed ones left half written in it.

    The folder itself is locked, so that nothing is left where the command is killed: the lock goes with the process.
    A folder that had to be made for that, and in which nothing appeared, is removed again. Systems without such locks,
    as Windows and some network drives, let everybody in, and nothing is taken away there; the log says so. Of the
    processes of one training only the first asks. The library locks nothing, so a command that calls for much of it,
    as `demo` does, does not meet itself.

    Args:
        folder: what the command makes or adds to.
        shared: others who share may write there too, as other shards of one scoring do.

    Raises:
        RunError: another process holds it.
        OSError: it cannot be made.
    """
    if _follows() or (folder.exists() and not folder.is_dir()):
        yield
        return
    made = _made(folder)
    place = _opened(folder)
    try:
        if place is not None:
            _lock(place, folder, shared)
        with _told(folder):
            yield
    finally:
        if place is not None:
            os.close(place)
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


def _opened(folder: Path) -> int | None:
    """What can be locked, None where nothing can."""
    if fcntl is None:
        _without(folder, "this system has none")
        return None
    try:
        return os.open(folder, os.O_RDONLY)
    except OSError as error:  # one may write there and not look
        _without(folder, error.strerror)
        return None


def _lock(place: int, folder: Path, shared: bool) -> None:
    """Let this process in and tidy up, or refuse it."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        except OSError as error:
            return _without(folder, error.strerror)
        else:
            sweep(folder)
            if not shared:
                return None
        with suppress(BlockingIOError):  # also of the process that was let in between
            if shared:
                return fcntl.flock(place, fcntl.LOCK_SH | fcntl.LOCK_NB)
        if not shared or time.monotonic() >= until:
            told = "wait until it has ended, or choose another --out"
            raise RunError(f"another process is writing to {folder}; {told}")
        time.sleep(0.05)


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
