"""`--log FILE`: all that the screen gets, in a file as well, each line with its time."""

from __future__ import annotations

import logging
import os
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

import typer

PROGRESS = "anomaly.progress"
FORM = "%Y-%m-%d %H:%M:%S"


class Log(logging.Handler):
    """A file that lines are added to; it is opened for the first of them."""

    def __init__(self, path: Path) -> None:
        super().__init__(logging.DEBUG)
        self.path, self.streams = path, (sys.stdout, sys.stderr)
        self._file: TextIO | None = None
        self._gone = False

    def emit(self, record: logging.LogRecord) -> None:
        """Add what was logged."""
        for line in self.format(record).splitlines():
            self.add(line)

    def add(self, line: str) -> None:
        """Add a line; a log that cannot be written costs a word, not the command."""
        if self._gone:
            return
        try:
            self._add(line)
        except OSError as error:
            self._gone, self._file = True, None
            self.streams[1].write(f"the log {self.path} cannot be written ({error.strerror}); going on without it\n")

    def _add(self, line: str) -> None:
        if self._file is None:
            from anomaly import __version__

            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("a", encoding="utf-8", errors="backslashreplace", buffering=1)
            if os.environ.get("LOCAL_RANK", "0") == "0":
                self.add(f"anomaly {__version__}: {shlex.join(['anomaly', *sys.argv[1:]])}")
        self._file.write(f"{time.strftime(FORM)} {line}\n")

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            with suppress(OSError):  # a full disk, which has been told
                self._file.close()
            self._file = None
        super().close()


class Both:
    """A stream that also adds what is written to a log, line by line; a bar that is drawn again and again is not."""

    def __init__(self, stream: TextIO, log: Log) -> None:
        self._stream, self._log, self._begun = stream, log, ""

    def write(self, text: str) -> int:
        """Write to the stream, and add lines that are complete."""
        count = self._stream.write(text)
        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            if "\r" not in line and line:
                self._log.add(line)
        return count

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


_begun: list[Log] = []


def to(path: Path | None) -> Path | None:
    """Begin to keep a log; it ends with `kept`."""
    if path is None or _begun:
        return path
    if path.is_dir():
        raise typer.BadParameter(f"{path} is a folder; give a file, as {path / 'anomaly.log'}")
    log = Log(path)
    _begun.append(log)
    logging.getLogger().addHandler(log)
    logging.getLogger(PROGRESS).setLevel(logging.DEBUG)  # lines beside a bar
    sys.stdout, sys.stderr = Both(sys.stdout, log), Both(sys.stderr, log)
    return path


def note(line: str) -> None:
    """Add a line to the log, if one is kept, that the screen need not have."""
    for log in _begun:
        log.add(line)


def refuse_within(path: Path | None, out: Any) -> None:
    """Say so when a log would lie in the folder that is to be made, which must be empty."""
    if path is not None and isinstance(out, Path) and path.resolve().is_relative_to(out.resolve()):
        _end()  # or this would be told there
        raise typer.BadParameter(
            f"{path} lies in {out}, which holds what the command makes and nothing else; put it beside, as {out}.log",
            param_hint="--log",
        )


@contextmanager
def kept() -> Iterator[None]:
    """While a command runs, and until all has been told of how it ended."""
    try:
        yield
    except SystemExit as ended:
        for log in _begun:
            log.add(f"ended with code {ended.code or 0}")
        raise
    finally:
        _end()


def _end() -> None:
    while _begun:
        log = _begun.pop()
        sys.stdout, sys.stderr = log.streams
        logging.getLogger(PROGRESS).setLevel(logging.NOTSET)
        logging.getLogger().removeHandler(log)
        log.close()
