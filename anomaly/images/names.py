"""File names as text that every table, page and screen can hold, and the way back from it to the file."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

_ESCAPED = re.compile(rb"\\x([89a-fA-F][0-9a-fA-F])")


def spelled(name: str) -> str:
    r"""A path as text: bytes of it that are no UTF-8 stand as \xNN, as in `caf\xe9.png`; all else as it is."""
    if name.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in name):
        return name
    try:
        return os.fsencode(name).decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # half a pair of UTF-16, which no file system gave
        return name.encode("utf-8", "backslashreplace").decode()


def located(path: Path) -> Path:
    """The file that a path means: itself, or the one whose name `spelled` wrote as that.

    Where there is no such file, names are tried that look alike but differ in bytes: accents composed or not (macOS
    and Linux do so differently), and folders parted by backslashes in a table from Windows. Gives the path back where
    none of them is there.
    """
    if os.path.lexists(path):
        return path
    return next((other for other in _others(str(path)) if os.path.lexists(other)), path)


def _others(text: str) -> Iterator[Path]:
    if "\\x" in text:
        stored = text.encode("utf-8", "surrogateescape")
        yield Path(os.fsdecode(_ESCAPED.sub(lambda found: bytes([int(found[1], 16)]), stored)))
    if not text.isascii():
        yield from (Path(unicodedata.normalize(form, text)) for form in ("NFC", "NFD"))
    if "\\" in text:
        yield Path(text.replace("\\", "/"))
