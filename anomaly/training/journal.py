"""What a training writes down as it goes: its curves, and when to stop at somebody's request."""

import csv
import io
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anomaly.files import write_whole

CURVE = ("stage", "step", "player", "loss", "learning_rate", "seconds")
TOLD = "the first process tells of this"
"""Note on an error that every process of a training raises, in all of them but the first."""


@dataclass(kw_only=True)
class Journal:
    """Where a training keeps what it needs to be resumed, and its curves.

    Args:
        folder: gets `training.csv` and `checkpoint/`; None keeps nothing.
        resume: go on from the newest checkpoint instead of starting anew.
        save_every: steps between two checkpoints.
        log_every: steps averaged in one row of the curves.
        draw: (stage, step, glance) -> None; draws what a stage shows with each checkpoint.
    """

    folder: Path | None = None
    resume: bool = False
    save_every: int = 500
    log_every: int = 50
    draw: Callable[[str, int, Any], None] | None = None


class Curve:
    """`training.csv`, cut back to where a resumed training stands."""

    def __init__(self, folder: Path | None, facts: Mapping[str, Any] | None) -> None:
        self.path = folder / "training.csv" if folder else None
        if self.path is None:
            return
        stream = io.StringIO(newline="")
        csv.DictWriter(stream, CURVE).writeheader()
        if facts and self.path.exists():
            kept = [row for row in _rows(self.path) if _was_before(row, facts)]
            csv.DictWriter(stream, CURVE).writerows(kept)
        write_whole(self.path, stream.getvalue())  # at no moment less than the checkpoint needs

    def write(self, rows: list[dict[str, Any]]) -> None:
        """Append rows."""
        if self.path is not None and rows:
            with self.path.open("a", newline="") as stream:
                csv.DictWriter(stream, CURVE, extrasaction="ignore").writerows(rows)


def _rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a curve; a last line that was cut short is none."""
    text = path.read_bytes().decode()
    return list(csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1], newline="")))


def _was_before(row: Mapping[str, Any], facts: Mapping[str, Any]) -> bool:
    if row["stage"] != facts["stage"]:
        return row["stage"] in facts["done"]
    return int(row["step"]) <= (facts["step"] if facts.get("curve") is None else facts["curve"])


@contextmanager
def stop_when_asked() -> Iterator[threading.Event]:
    """Turn the first Ctrl-C or termination signal into a request, so that the step in hand is finished."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before: dict[int, Any] = {}

    def ask(number: int, frame: object) -> None:
        asked.set()
        signal.signal(number, before[number])

    for number in (int(signal.SIGINT), int(signal.SIGTERM)):
        before[number] = signal.signal(number, ask)
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
