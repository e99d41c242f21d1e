"""What the program can do: a line each, or one of them with every setting, its default and its meaning."""

from collections.abc import Iterator, Mapping
from textwrap import fill, indent
from typing import Any

from anomaly.commandline.analyses import ANALYSES, Analysis
from anomaly.commandline.meanings import Setting, arguments, opening, settings
from anomaly.commandline.sources import Function, Unknown
from anomaly.errors import AnomalyError
from anomaly.runs.settings import nearest

WIDTH = 110


def listing(methods: Mapping[str, Mapping[str, Any]], kinds: Mapping[str, Function]) -> str:
    """A line each of the methods by title and name (classes that say `summary`), the analyses and simulated cohorts."""
    groups = {title: {name: cls.summary for name, cls in table.items()} for title, table in methods.items()}
    groups["analyses"] = {each.name: each.summary for each in ANALYSES}
    groups["simulated cohorts"] = {name: opening(each.doc) for name, each in kinds.items()}
    wide = max(len(name) for group in groups.values() for name in group)
    told = [
        "\n".join(_titled(title, [f"{n:<{wide}}  {s}" for n, s in group.items()])) for title, group in groups.items()
    ]
    return "\n\n".join([*told, "`anomaly methods NAME` says all of one: every setting, its default and what it means."])


def about(name: str, methods: Mapping[str, Mapping[str, Any]], kinds: Mapping[str, Function]) -> str:
    """All of one method, analysis or simulated cohort, by its name.

    Raises:
        AnomalyError: there is none of that name.
    """
    all_ = {each.name: each for each in ANALYSES} | dict(kinds)
    for table in methods.values():
        all_ |= table
    if name not in all_:
        raise AnomalyError(f"there is no {name!r}; {nearest(name, all_)}`anomaly methods` lists all there are")
    return "\n".join(_told(name, all_[name]))


def _told(name: str, one: Any) -> Iterator[str]:
    if isinstance(one, Analysis):
        yield from (f"{name}: {one.summary}", f"asked by: anomaly {one.asked}", f"cite: {one.cite}")
        return
    if isinstance(one, Function):
        meanings = arguments(one.doc)
        takes = [Setting(each, default, meanings.get(each, "")) for each, default in one.takes.items() if each != "out"]
        yield f"{name}: {opening(one.doc)}"
        yield f"asked by: anomaly simulate {name} --out DIR"
    else:
        takes = settings(one)
        yield f"{name}: {one.summary}"
        yield f"cite: {one.cite}"
    yield ""
    yield from (_setting(each) for each in takes)
    if not takes:
        yield "It has no settings."


def _setting(setting: Setting) -> str:
    default = "" if isinstance(setting.default, Unknown) else f"={setting.default}"
    words = "; ".join(filter(None, [setting.meaning.rstrip("."), setting.allowed]))
    return f"{setting.name}{default}\n{indent(fill(words, WIDTH - 4), '    ')}"


def _titled(title: str, lines: list[str]) -> list[str]:
    return [title, "-" * len(title), *lines]
