"""How a command ends: its exit code, and one line that says what happened and how to go on."""

from __future__ import annotations

import csv
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from anomaly.cohorts.reasons import reasons
from anomaly.errors import AnomalyError
from anomaly.training.journal import TOLD
from anomaly.training.machine import begun_first

INTERRUPTED, TERMINATED = 130, 143
SOME_UNREADABLE = 3
PATIENCE = 5.0  # seconds


class Terminated(KeyboardInterrupt):
    """SIGTERM, as SLURM sends it before it kills: a reason to stop as good as Ctrl-C."""


class Commands(TyperGroup):
    """Ctrl-C or SIGTERM ends a command with a word on how to go on; typer alone would end without one."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            with _stopping_when_terminated():
                return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            ended = isinstance(stop, Terminated)
            word = "stopped by SIGTERM" if ended else "stopped"
            tell(stop, f"{word}; what was done is kept, the same command goes on (train: with --resume)")
            raise typer.Exit(TERMINATED if ended else INTERRUPTED) from None


@contextmanager
def _stopping_when_terminated() -> Iterator[None]:
    """Let the first SIGTERM be raised where the command is, so that jobs and processes it began are ended; once."""
    own = os.getpid()

    def stop(number: int, frame: object) -> None:
        signal.signal(number, before or signal.SIG_DFL)
        if os.getpid() != own:  # a process that was forked ends as it would have
            os.kill(os.getpid(), number)
            return
        raise Terminated

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


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
    """How many rows of a table of errors have which reason, a line each; "" where there is no such table."""
    try:
        with table.open(encoding="utf-8", newline="") as lines:
            rows = list(csv.DictReader(lines))
    except OSError:
        return ""
    return "\n".join(reasons((row.get("path") or "", row["error"]) for row in rows if row.get("error")))


def tell(error: BaseException, text: str) -> None:
    """Of an error that all processes of a training raise alike, the first one tells; of all others, who has it."""
    if TOLD not in getattr(error, "__notes__", ()):
        typer.echo(text, err=True)
