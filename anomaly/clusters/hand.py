"""Chunks that are out with workers, and results that came before their turn."""

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import CancelledError
from typing import Any

from anomaly.clusters.crew import GO_ON, LOOK, Crew
from anomaly.clusters.working import Unfit
from anomaly.errors import ClusterError

AHEAD = 4
"""Chunks a worker that are handed out before their turn."""
AGAIN = 3
"""Times that a chunk may be given to others after all who could have had it are gone."""
PAUSE = 0.01
"""Seconds between two looks at what has ended."""
Send = Callable[[Sequence[Any], Collection[str]], Any]


class Hand:
    """Results of chunks in order; each chunk is with fit workers, and goes to others where these are gone.

    Args:
        crew: who works.
        send: gives a chunk to one of some workers; a future.
        chunks: numbered, in order.
    """

    def __init__(self, crew: Crew, send: Send, chunks: Iterator[tuple[int, Any]]) -> None:
        from distributed import as_completed

        self._crew, self._send, self._chunks = crew, send, chunks
        self._upcoming = next(chunks, None)
        self._out: dict[Any, tuple[int, Any, frozenset[str]]] = {}
        self._again: list[tuple[int, Any]] = []
        self._lost = Counter[int]()
        self._came: dict[int, list[Any]] = {}
        self._next = 0
        self._completed = as_completed(with_results=True, loop=crew.client.loop)

    def __iter__(self) -> Iterator[list[Any]]:
        while self._filled():
            for future, result in self._ended():
                self._take(future, result)
            while self._next in self._came:
                self._next += 1
                yield self._came.pop(self._next - 1)

    def call_back(self) -> None:
        """Let go of what is out: what nobody has begun, nobody does."""
        for future in self._out:
            future.release()

    def _filled(self) -> bool:
        """Give out what may be given out; False where all is done."""
        self._crew.look()
        self._take_back()
        if self._crew.fit:
            self._again, again = [], sorted(self._again, key=lambda each: each[0])
            more = AHEAD * len(self._crew.fit) - len(self._out) - len(again) - len(self._came)
            for number, chunk in [*again, *self._drawn(more)]:
                workers = frozenset(self._crew.fit)
                future = self._send(chunk, sorted(workers))
                self._out[future] = number, chunk, workers
                self._completed.add(future)
        return bool(self._out or self._again or self._upcoming)

    def _drawn(self, count: int) -> Iterator[tuple[int, Any]]:
        for _ in range(count):
            if self._upcoming is None:
                return
            yield self._upcoming
            self._upcoming = next(self._chunks, None)

    def _ended(self) -> list[tuple[Any, Any]]:
        """Futures that ended, with their results; after a while none, to look about."""
        until = time.monotonic() + LOOK
        while not self._completed.has_ready() and time.monotonic() < until:
            time.sleep(PAUSE)
        ended: list[tuple[Any, Any]] = self._completed.next_batch(block=False)
        return ended

    def _take(self, future: Any, result: Any) -> None:
        if future not in self._out:  # it was taken back
            return
        if future.cancelled():
            raise CancelledError
        number, chunk, _ = self._out[future]
        try:
            if future.status == "error":
                raise result[1].with_traceback(result[2])
            self._came[number] = result
        except Unfit as told:
            self._crew.leave_out(*told.args)
            self._again.append((number, chunk))
        del self._out[future]
        future.release()  # or its worker would hold the results

    def _take_back(self) -> None:
        """Chunks all of whose workers are gone: the scheduler would wait for these to come back."""
        for future, (number, chunk, workers) in list(self._out.items()):
            if workers & self._crew.fit:
                continue
            self._lost[number] += 1
            if self._lost[number] > AGAIN:
                raise ClusterError(killed(self._lost[number]))
            del self._out[future]
            future.release()
            self._again.append((number, chunk))


def killed(times: int) -> str:
    """That a chunk was with several workers that went."""
    return (
        f"images were with {times} workers that were killed or lost one after another (too little memory?); give "
        f"workers more, or a smaller --batch; {GO_ON}"
    )
