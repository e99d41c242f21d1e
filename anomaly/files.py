"""Files that appear whole or not at all, and are known by their content."""

import errno
import hashlib
import os
import re
import secrets
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PART = re.compile(r"\.[0-9a-f](?:([0-9a-f]{5})([0-9a-f]{6,8})|[0-9a-f]{7})\.part\..+")
"""Names of files that are not whole: chance, computer and process; older versions gave chance alone."""
DAY = 86400.0
NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EINVAL}
"""What drives say that know no second name of a file."""
LOCK = ".anomaly.lock"
"""Lies in a folder while a command writes there; a killed one leaves it, and nobody minds."""
_FULL = re.compile(r"os error (\d+)|requested and \d+ written|inline_container")
"""What safetensors, NumPy and PyTorch say where they could not write all of a file; only the first gives the reason."""


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to; renamed to it when the block ends well, removed when it does not.

    The folder is made where there is none.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = part_of(path)
    with naming(path, part):
        try:
            part.touch()
            mode = part.stat().st_mode
            yield part
            part.chmod(mode)  # safetensors makes files that only their owner can read
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)


@contextmanager
def naming(path: Path, part: Path | None = None) -> Iterator[None]:
    """Whatever keeps a file from being written, a full disk above all, is an OSError that names the file.

    The system names none where a disk is full, and libraries raise what they like.

    Args:
        path: the file.
        part: what it is called until it is whole, which tells a user nothing.
    """
    try:
        yield
    except UnicodeEncodeError as error:
        names = sys.getfilesystemencoding()
        if names.startswith("utf"):
            raise
        reason = f"names of files are {names} in this locale; set PYTHONUTF8=1"
        raise OSError(errno.EILSEQ, reason, str(path)) from error
    except Exception as error:
        number = error.errno if isinstance(error, OSError) else None
        if number is not None and getattr(error, "filename", None) in (None, str(part)):
            raise OSError(number, os.strerror(number), str(path)) from error
        if number is None and (found := _FULL.search(str(error))):
            number = int(found[1] or errno.ENOSPC)
            raise OSError(number, os.strerror(number), str(path)) from error
        raise


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file, text as UTF-8, so that a reader finds all of it or nothing.

    What of a text is no UTF-8, as in a folder's name of another encoding, is written as JSON has it: \\udcff.
    """
    with whole(path) as part:
        part.write_bytes(content.encode(errors="backslashreplace") if isinstance(content, str) else content)


def write_first(path: Path, content: str) -> bool:
    """Write a file, as UTF-8, unless there is one: whether it was written. Of several that do so at once, one does."""
    part = part_of(path)
    with naming(path, part):
        try:
            part.write_text(content, encoding="utf-8")
            os.link(part, path)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
    return True


def part_of(path: Path) -> Path:
    """What a file or folder of this process is called until it is whole, beside its place."""
    return path.with_name(f".{secrets.token_hex(1)[0]}{_computer()}{os.getpid():06x}.part.{path.name}")


def bare(folder: Path) -> bool:
    """Whether nothing lies in a folder, but for the lock of whoever writes there now."""
    return all(each.name == LOCK for each in folder.iterdir())


def sweep(folder: Path) -> None:
    """Remove what processes that were killed in the middle of `whole` left in a folder and below it.

    That is what dead processes of this computer left, and what is older than a day, or dated later than tomorrow by a
    clock that was wrong. Only for a folder that nobody else writes to now; where others do all the same, as workers of
    a cluster that finish for nobody, their files stay.
    """
    for path in folder.rglob(".*.part.*"):
        if found := PART.fullmatch(path.name):
            with suppress(OSError):  # it can only be read, or is whole by now
                if _left(found[1], found[2]) or abs(time.time() - path.stat().st_mtime) > DAY:
                    path.unlink()


def _computer() -> str:
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:5]


def _left(computer: str | None, process: str | None) -> bool:
    """Whether a process of this computer has ended; what bears the number of this one is of an ended one, too."""
    if process is None or computer != _computer() or os.name == "nt":  # there, asking would end it
        return False
    try:
        if int(process, 16) != os.getpid():
            os.kill(int(process, 16), 0)
            return False
    except ProcessLookupError:
        pass
    except (OSError, OverflowError):  # of another user
        return False
    return True


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's content."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
