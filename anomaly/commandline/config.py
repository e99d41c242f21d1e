"""Options of a command from a file: JSON or TOML, or what a run or a folder of results says of itself."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import typer

from anomaly.commandline.records import plain, record_of
from anomaly.errors import CohortError
from anomaly.runs.settings import nearest

OWN = ("config", "log", "help")


def taken(context: typer.Context, path: Path | None) -> dict[str, Any]:
    """The options of a command that a file names, made its defaults, so that those that are typed win.

    Raises:
        BadParameter: the file is no table of options, or names one that the command has not.
        CohortError: there is no such file.
    """
    if path is None:
        return {}
    found = _read(path)
    command = _called(context)
    params = {_typed(each): each for each in context.command.params if _typed(each) not in OWN}
    kind = record_of(found)
    if kind is None:
        found = _named(found, params, path)
    elif command not in kind.commands(found):
        made_by = " or ".join(f"`anomaly {each}`" for each in kind.commands(found))
        raise typer.BadParameter(f"{path} holds the settings of {made_by}, not of `anomaly {command}`")
    else:
        options = {name.replace("_", "-"): value for name, value in kind.options(found, path.parent).items()}
        found = {name: value for name, value in options.items() if name in params}
    told = {name: value for name, value in found.items() if value is not None and value not in ([], {}, "")}
    context.default_map = {str(params[name].name): _as_typed(params[name], value) for name, value in told.items()}
    return dict(context.default_map)


def _called(context: typer.Context) -> str:
    """The command as it is typed, without the name of the program: `explain train`."""
    names: list[str] = []
    here: Any = context
    while here.parent is not None:
        names, here = [str(here.info_name), *names], here.parent
    return " ".join(names)


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise CohortError(f"{path}: no such file; correct the path of --config")
    try:
        text = path.read_text(encoding="utf-8-sig")
        found = tomllib.loads(text) if path.suffix.lower() == ".toml" else json.loads(text)
    except (ValueError, RecursionError) as error:
        told = f"{path} cannot be read as {'TOML' if path.suffix.lower() == '.toml' else 'JSON'} ({error})"
        raise typer.BadParameter(f"{told}; give JSON, a file.toml, or the run.json of a run") from None
    if not isinstance(found, dict):
        raise typer.BadParameter(f'{path} holds no options; expected something like {{"method": "vae", "size": 64}}')
    return found


def _named(found: Mapping[str, Any], params: Iterable[str], path: Path) -> dict[str, Any]:
    """The same with the names as they are typed: `subject_pattern` and `--subject-pattern` alike."""
    known = list(params)
    named = {name.lstrip("-").replace("_", "-"): value for name, value in found.items()}
    for name in named:
        if name not in known:
            raise typer.BadParameter(
                f"{path} asks for {name!r}, which is no option of this command; {nearest(name, known)}it has "
                f"{', '.join(known)}"
            )
    return named


def _typed(param: Any) -> str:
    """The name of an option as it is typed, of an argument as it is."""
    options = [each.lstrip("-") for each in param.opts if each.startswith("--")]
    return options[0] if options else str(param.name)


def _as_typed(param: Any, value: Any) -> Any:
    """A value of the file as the command line would give it."""
    if isinstance(value, bool):
        return value
    several = param.nargs == -1 or getattr(param, "multiple", False)
    return list(plain(value)) if several else ",".join(plain(value))
