"""What settings mean: read from the docstrings that say it, so that a list, a page and the code cannot disagree."""

import dataclasses
import inspect
import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from anomaly.training import amounts

_ARGUMENT = re.compile(r"    (\w+(?:, \w+)*): (.*)")
_LIMITS = (("positive", "above 0"), ("not_negative", "0 or more"), ("below_one", "below 1"), ("at_most_one", "up to 1"))


@dataclass(frozen=True)
class Setting:
    """A setting of a method: its name, its default, and what it means, in words."""

    name: str
    default: object
    meaning: str
    allowed: str = ""


def settings(cls: Any) -> list[Setting]:
    """The settings of a method, a dataclass; what they mean is told by its docstring or by one of its bases'."""
    told: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        told.update(arguments(vars(base).get("__doc__")))
    fields = [field for field in dataclasses.fields(cls) if field.init and field.repr]
    return [Setting(field.name, field.default, told.get(field.name, ""), _allowed(cls, field.name)) for field in fields]


def arguments(doc: str | None) -> dict[str, str]:
    """What a docstring says under `Args:`, each argument in one line; those told together are told alike."""
    told: dict[str, str] = {}
    names: list[str] = []
    _, _, below = f"\n{inspect.cleandoc(doc or '')}\n".partition("\nArgs:\n")
    for line in itertools.takewhile(lambda line: not line or line.startswith(" "), below.splitlines()):
        if found := _ARGUMENT.fullmatch(line):
            names = found[1].split(", ")
            told |= dict.fromkeys(names, found[2].strip())
        elif line.strip():
            told |= {name: f"{told[name]} {line.strip()}" for name in names}
    return told


def opening(doc: str | None) -> str:
    """The first line of a docstring."""
    return next(iter(inspect.cleandoc(doc or "").splitlines()), "")


def _allowed(cls: Any, name: str) -> str:
    choices: Mapping[str, Any] = getattr(cls, "choices", {})
    if name in choices:
        return "one of " + ", ".join(map(str, choices[name]))
    limits = " and ".join(words for limit, words in _LIMITS if name in getattr(cls, limit, ()))
    return amounts.told(cls, name) or limits
