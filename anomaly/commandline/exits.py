"""How a command ends: its exit code, and one line that says what happened and how to go on."""

from __future__ import annotations

import csv
import re
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from anomaly.errors import AnomalyError
from anomaly.training.journal import TOLD
from anomaly.training.machine import begun_first

INTERRUPTED = 130
SOME_UNREADABLE = 3
PATIENCE = 5.0  # seconds


class Commands(TyperGroup):
    """Ctrl-C ends a command with a word on how to go on; typer alone would end without one."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            tell(stop, "stopped; what was done is kept, the same command goes on (train: with --resume)")
            raise typer.Exit(INTERRUPTED) from None


@contextmanager
def alike() -> Iterator[None]:
    """What all processes of a training refuse alike, before any of them has begun, is told by the first of them."""
    try:
        yield
    except (AnomalyError, typer.BadParameter) as error:
        if begun_first():
            raise
        time.sleep(PATIENCE)  # one that ends takes all others with it, the first among them, before it has spoken
        raise typer.Exit(error.exit_code) from None


def end_with(unreadable: int, table: Path, *, told: bool = True) -> None:
    """End with `SOME_UNREADABLE`, naming the table of what could not be used; go on where that is nothing."""
    if unreadable:
        if told:
            images = "image" if unreadable == 1 else "images"
            typer.echo(f"{unreadable} {images} could not be used; see {table}", err=True)
            if why := _why(table):
                typer.echo(why, err=True)
        raise typer.Exit(SOME_UNREADABLE)


def _why(table: Path) -> str:
    """What most rows of a table of errors say, each without its own name; "" where there is no such table."""
    try:
        with table.open(encoding="utf-8", newline="") as lines:
            rows = list(csv.DictReader(lines))
    except OSError:
        return ""
    told = [(row.get("error") or "").removeprefix(f"{row.get('path')}: ") for row in rows]
    alike = [re.sub(r"\d+(?:\.\d+)?", "#", each) for each in told]  # of other sizes, for one reason still
    if not any(told):
        return ""
    (reason, count), *others = Counter(alike).most_common()
    first = told[alike.index(reason)]
    if others:
        return f"most often ({count} of {len(told)}): {first}"
    return f"the reason: {first}" if count == 1 else f"all for one reason, the first: {first}"


def tell(error: BaseException, text: str) -> None:
    """Of an error that all processes of a training raise alike, the first one tells; of all others, who has it."""
    if TOLD not in getattr(error, "__notes__", ()):
        typer.echo(text, err=True)
