"""One process to a folder: a second command that would write where another one writes is refused by name."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from anomaly.errors import RunError
from anomaly.files import sweep
from anomaly.training.machine import begun_first

try:
    import fcntl
except ImportError:  # pragma: no cover  # Windows has no such locks; there nobody is refused
    fcntl = None  # type: ignore[assignment]

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""Of these errors the system says not where; what is whole names its file (`files.naming`), all else this folder."""


@contextmanager
def held(folder: Path, *, shared: bool = False) -> Iterator[None]:
    """Keep a folder to this command while it runs, and take away what killed ones left half written in it.

    The folder itself is locked, so that nothing is left where the command is killed: the lock goes with the process.
    A folder that had to be made for that, and in which nothing appeared, is removed again. File systems without such
    locks, as some network drives, let everybody in, and nothing is taken away there.

    Args:
        folder: what the command makes or adds to.
        shared: others who share may write there too, as other shards of one scoring do.

    Raises:
        RunError: another process holds it.
        OSError: it cannot be made.
    """
    if fcntl is None or not begun_first() or (folder.exists() and not folder.is_dir()):
        yield
        return
    made = _made(folder)
    try:
        place = os.open(folder, os.O_RDONLY)
        try:
            if alone := _locked(place, fcntl.LOCK_EX):
                sweep(folder)
            if alone and shared:
                _locked(place, fcntl.LOCK_SH)
            if alone is False and not (shared and _locked(place, fcntl.LOCK_SH)):
                told = "wait until it has ended, or choose another --out"
                raise RunError(f"another process is writing to {folder}; {told}")
            yield
        except OSError as error:
            if error.errno in FULL and error.filename is None:
                raise OSError(error.errno, error.strerror, str(folder)) from error
            raise
        finally:
            os.close(place)
    finally:
        for each in made:
            with suppress(OSError):  # it is in use
                each.rmdir()


def _made(folder: Path) -> list[Path]:
    """Make a folder; those that had to be made, the innermost first."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return missing


def _locked(place: int, how: int) -> bool | None:
    """Whether it could be locked; None where the file system knows no locks."""
    try:
        fcntl.flock(place, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True
