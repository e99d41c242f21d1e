"""What docstrings say, taken apart: the first line, the arguments, and the text as reStructuredText may read it."""

from __future__ import annotations

import inspect
import re
from textwrap import indent
from typing import Any

CODE = re.compile(r"(`[^`]+`)")
FIELDS = re.compile(r"(?:(?<=\n\n)|^)(?:[a-z_]+: .*\n(?: .*\n)*)+(?=\n|$)", re.MULTILINE)
MARKUP = re.compile(r"([*|_\\])")


def opening(thing: Any) -> str:
    """The first paragraph of a docstring, in one line."""
    return " ".join((inspect.getdoc(thing) or "").partition("\n\n")[0].split())


def as_plain_text(lines: list[str]) -> list[str]:
    """Lines of a docstring with all that reStructuredText would take for markup escaped, but for `code`.

    Docstrings here are plain text: |x - y| is an absolute value, `net_` no link, x * y no emphasis. Fields that are
    listed without a title get one.
    """
    text = FIELDS.sub(lambda found: "Args:\n" + indent(found[0], "    "), "\n".join(lines) + "\n")
    parts = CODE.split(text)
    for k, part in enumerate(parts):
        if CODE.fullmatch(part):
            parts[k] = f"`{part[1:-1].strip()}`" + ("\\ " if parts[k + 1][:1].isalnum() else "")
        else:
            parts[k] = MARKUP.sub(r"\\\1", part)
    return "".join(parts).split("\n")
