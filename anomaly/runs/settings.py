"""What a user asks of a method, as text and as values: read and checked before anything heavy is imported."""

import ast
import dataclasses
import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from anomaly.errors import AnomalyError

Method = TypeVar("Method")
KINDS = {int: "a whole number", float: "a number", bool: "True or False", str: "text"}


def parse_settings(pairs: Sequence[str]) -> dict[str, Any]:
    """`["latent=4", "objective=l1"]` -> `{"latent": 4, "objective": "l1"}`; numbers as Python writes them."""
    settings: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name.strip():
            raise AnomalyError(f"expected name=value, got {pair!r}")
        try:
            settings[name.strip()] = ast.literal_eval(text.strip())
        except (ValueError, SyntaxError):
            settings[name.strip()] = text.strip()
    return settings


def known(methods: Mapping[str, Method], method: str) -> Method:
    """The method of that name; AnomalyError with the nearest name where there is none."""
    if method not in methods:
        raise AnomalyError(
            f"method {method!r} is unknown; {nearest(method, methods)}there are {', '.join(methods)}, or FILE.py:CLASS"
        )
    return methods[method]


def nearest(name: str, names: Iterable[str]) -> str:
    """`did you mean X? ` where a name comes near, else nothing."""
    near = difflib.get_close_matches(name, list(names), n=1)
    return f"did you mean {near[0]}? " if near else ""


def checked(cls: Any, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings for the fields of a dataclass of a method; whole numbers serve where fractions are expected.

    Raises:
        AnomalyError: there is no such setting, or a value is of another type than the default.
    """
    given = dict(settings)
    fields = {f.name: f for f in dataclasses.fields(cls) if f.init and f.repr}
    for name, value in settings.items():
        if name not in fields:
            has = ", ".join(f"{f.name}={f.default!r}" for f in fields.values()) or "none"
            raise AnomalyError(f"{cls.name} has no setting {name!r}; {nearest(name, fields)}it has {has}")
        expected = type(fields[name].default)
        if expected is float and type(value) is int:
            given[name] = float(value)
        elif fields[name].default is not dataclasses.MISSING and type(value) is not expected:
            raise AnomalyError(f"{cls.name} expects {name} as {KINDS.get(expected, expected.__name__)}, got {value!r}")
    return given
