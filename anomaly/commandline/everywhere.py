"""Options that every command has, without saying so: where its options come from, and where its words go."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from anomaly.commandline import busy, config, log, options

Config = Annotated[
    Path | None,
    typer.Option(
        help="Options from a JSON or TOML file, or the run.json of a run; those typed here win.",
        metavar="FILE",
        is_eager=True,
        callback=config.taken,
    ),
]
Log = Annotated[
    Path | None,
    typer.Option(
        help="Add all that is told here to this file too, with times.", metavar="FILE", is_eager=True, callback=log.to
    ),
]

SHARING = ("evaluate", "report")
"""What reads a folder and adds to it, several at a time if need be: their files are whole, and each has its own."""


WITHIN = {"export": "onnx"}
"""What writes within a run where no other place is named, and the folder there."""


def configured(config: Config = None) -> None:
    """Where options come from."""


def logged(log: Log = None) -> None:
    """Where words go."""


def furnish(commands: typer.Typer, *, quick: Collection[str], plain: Collection[str] = ()) -> None:
    """Give these options to the commands.

    Args:
        commands: of the program.
        quick: those that say something at once and need neither.
        plain: those whose options are too few for a file.
    """
    for each in commands.registered_commands:
        assert each.callback is not None
        name = each.name or each.callback.__name__
        if name not in quick:
            groups = (logged,) if name in plain else (configured, logged)
            each.callback = options.shared(*groups)(_served(each.callback))


def _served(command: Callable[..., Any]) -> Callable[..., Any]:
    """The command, which learns nothing of these options."""

    @functools.wraps(command)
    def called(**given: Any) -> Any:
        read, path = given.pop("config", None) or {}, given.pop("log", None)
        log.refuse_within(path, given.get("out"))
        if "set_" in read:  # a setting that is typed changes that one alone
            given["set_"] = [*read["set_"], *(given["set_"] or [])]
        folder, shared = _place(command.__name__, given)
        with nullcontext() if folder is None else busy.held(folder, shared=shared, training="processes" in given):
            return command(**given)

    called.__signature__ = inspect.signature(command, eval_str=True)  # type: ignore[attr-defined]
    return called


def _place(name: str, given: Mapping[str, Any]) -> tuple[Path | None, bool]:
    """The folder that a command writes to, if it writes, and whether others like it may write there too."""
    reading = next((given[each] for each in ("scores", "maps", "folder") if isinstance(given.get(each), Path)), None)
    if reading is not None and not reading.is_dir():
        reading = reading.parent
    folder = given.get("out") or reading
    if folder is None and name in WITHIN and len(given["runs"]) == 1 and given["runs"][0].is_dir():
        folder = given["runs"][0] / WITHIN[name]
    shared = name in SHARING or given.get("shard", "1/1") != "1/1"
    return (folder if isinstance(folder, Path) and not given.get("dry_run") else None), shared
