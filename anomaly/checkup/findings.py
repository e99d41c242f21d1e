"""What is found of one thing, and a list of such that nothing can stop."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Finding:
    """A line of what is found.

    Args:
        name: of the thing.
        told: what it is, in words.
        wrong: whether something that is needed is broken.
    """

    name: str
    told: str
    wrong: bool = False


Asked = Callable[[], Iterable[Finding]]


def gathered(questions: Iterable[tuple[str, Asked]]) -> Iterator[Finding]:
    """The answers to all questions; one that fails is answered by its error, as something broken."""
    for name, asked in questions:
        try:
            yield from asked()
        except Exception as error:  # a broken library raises what it has, and that is what is asked
            reason = (str(error).strip().splitlines() or [""])[0]
            yield Finding(name, f"fails: {type(error).__name__}: {reason}", wrong=True)


def nameless(text: str, place: str | None = None) -> str:
    """A text without the folders of this person: a place stands as it was given, the home as `~`."""
    if place is not None:
        text = text.replace(os.path.abspath(place), place)
    for folder, name in ((str(Path.cwd()), "."), (str(Path.home()), "~"), (tempfile.gettempdir(), "TMP")):
        if len(folder) > 1:
            text = re.sub(rf"(?<![\w.~-]){re.escape(folder)}(?=[{re.escape(os.sep)}:\s]|$)", name, text)
    return text
