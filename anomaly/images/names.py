"""File names as text that every table, page and screen can hold, and the way back from it to the file."""

from __future__ import annotations

import os
import re
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_ESCAPED = re.compile(rb"\\x([89a-fA-F][0-9a-fA-F])")


def spelled(name: str) -> str:
    r"""A path as text: bytes of it that are no UTF-8 stand as \xNN, as in `caf\xe9.png`; all else as it is.

    Where Python takes names for another encoding (LC_ALL=C without its UTF-8 mode, a Latin locale), those that are
    UTF-8 are read as that, so that tables are the same everywhere; others stay as the locale has them.
    """
    halves = any("\ud800" <= letter <= "\udfff" for letter in name)
    if name.isascii() or not (halves or _foreign()):
        return name
    try:
        stored = os.fsencode(name)
    except UnicodeEncodeError:  # spelled already, perhaps in a folder whose own name is not
        try:
            stored = name.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:  # half a pair of UTF-16, which no file system gave
            return name.encode("utf-8", "backslashreplace").decode()
    try:
        return stored.decode()
    except UnicodeDecodeError:
        return stored.decode("utf-8", "backslashreplace") if halves else name


def _foreign() -> bool:
    return sys.getfilesystemencoding() != "utf-8"


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
        forms = [text, *(unicodedata.normalize(form, text) for form in ("NFC", "NFD"))]
        yield from map(Path, forms[1:])
        if _foreign():
            with suppress(UnicodeEncodeError):
                yield from (Path(os.fsdecode(form.encode("utf-8", "surrogateescape"))) for form in forms)
    if "\\" in text:
        yield Path(text.replace("\\", "/"))
