"""Tell a person how far long work has come: a bar on a terminal, a log line now and then elsewhere."""

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

logger = logging.getLogger(__name__)
SECONDS_BETWEEN_LINES = 20.0


class Progress:
    """Counts what is done; `advance` is cheap enough for an inner loop."""

    def __init__(self, name: str, total: int, done: int, unit: str, of: str = "") -> None:
        self.name, self.total, self.done, self.unit, self.of = name, total, done, unit, of
        self._first, self._start, self._last, self._note = done, time.monotonic(), time.monotonic(), ""
        self._bar = None
        if sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(desc=name, total=total, initial=done, unit=f" {unit}", dynamic_ncols=True)

    def advance(self, count: int = 1, note: str = "") -> None:
        """Count `count` more; `note` (a loss, say) stands behind the rate."""
        self.done += count
        self._note = note or self._note
        if self._bar is not None:
            if note:
                self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(count)
        if time.monotonic() - self._last > SECONDS_BETWEEN_LINES:
            self._log(logging.INFO if self._bar is None else logging.DEBUG)  # beside a bar for who keeps a log

    def _log(self, level: int) -> None:
        self._last = time.monotonic()
        rate = (self.done - self._first) / max(self._last - self._start, 1e-9)
        left = (self.total - self.done) / rate if rate else float("nan")
        logger.log(
            level, "%s: %d of %d, %.1f %s/s, about %.0f s left%s%s",
            self.name, self.done, self.total, rate, self.unit, left, self.of and f" of {self.of}",
            self._note and f", {self._note}",
        )  # fmt: skip

    def close(self) -> None:
        """Finish the bar."""
        if self._bar is not None:
            self._bar.close()


@contextmanager
def progress(
    name: str, total: int, *, done: int = 0, unit: str = "steps", of: str = "", shown: bool = True
) -> Iterator[Progress]:
    """A `Progress` over `total` things of which `done` were done before; silent unless `shown`.

    `of` names what the time left is of, where that is not the whole: a stage says nothing of how fast another one is.
    """
    counter = Progress(name, total, done, unit, of) if shown else _Silent(name, total, done, unit)
    try:
        yield counter
    finally:
        counter.close()


class _Silent(Progress):
    def __init__(self, name: str, total: int, done: int, unit: str) -> None:
        self.done = done

    def advance(self, count: int = 1, note: str = "") -> None:
        """Count, and say nothing."""
        self.done += count

    def close(self) -> None:
        """Nothing to finish."""
