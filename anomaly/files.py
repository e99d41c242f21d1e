"""Files that appear whole or not at all, and are known by their content."""

import errno
import hashlib
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PART = re.compile(r"\.[0-9a-f]{8}\.part\..+")
_FULL = re.compile(r"os error (\d+)|requested and \d+ written|inline_container")
"""What safetensors, NumPy and PyTorch say where they could not write all of a file; only the first gives the reason."""


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to; renamed to it when the block ends well, removed when it does not.

    The folder is made where there is none.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{secrets.token_hex(4)}.part.{path.name}")
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
    except Exception as error:
        number = error.errno if isinstance(error, OSError) else None
        if number is not None and getattr(error, "filename", None) in (None, str(part)):
            raise OSError(number, os.strerror(number), str(path)) from error
        if number is None and (found := _FULL.search(str(error))):
            number = int(found[1] or errno.ENOSPC)
            raise OSError(number, os.strerror(number), str(path)) from error
        raise


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file, text as UTF-8, so that a reader finds all of it or nothing."""
    with whole(path) as part:
        part.write_bytes(content.encode() if isinstance(content, str) else content)


def sweep(folder: Path) -> None:
    """Remove what processes that were killed in the middle of `whole` left in a folder and below it.

    Only for a folder that nobody else writes to now.
    """
    for path in folder.rglob(".*.part.*"):
        if PART.fullmatch(path.name):
            with suppress(OSError):  # it can only be read; what is in nobody's way there stays
                path.unlink()


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's content."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
