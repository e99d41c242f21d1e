"""What a worker does: one chunk after another, by the threads that are its own, after it was found to be fit."""

import os
import platform
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from anomaly import __version__
from anomaly.errors import ClusterError

Work = Callable[[Sequence[Any]], list[Any]]
_alone = threading.Lock()
_open: dict[str, Any] = {"task": None, "work": None}


class Unfit(ClusterError):
    """A worker, told by its address, cannot do the work, told in words."""


class Task(Protocol):
    """What is to be done to every chunk, in plain values: it travels to the workers, and may be compared."""

    def open(self, threads: int) -> Work:
        """Load what the work takes (a run, say): a function of a chunk that gives one result an item.

        Args:
            threads: of the processor, that this process may use.
        """
        ...


@dataclass(frozen=True)
class Fitness:
    """What a worker has to be and to see.

    Args:
        versions: of this program and what its numbers rest on, by name.
        probe: a file that whoever asks wrote a moment ago.
        token: what stands in it.
        needs: files and folders that whoever asks sees.
    """

    versions: tuple[tuple[str, str], ...]
    probe: str
    token: str
    needs: tuple[str, ...]


def versions() -> tuple[tuple[str, str], ...]:
    """Of this process: the program, Python (to its second number) and PyTorch (but for what it was built for)."""
    from importlib.metadata import version  # slow to import

    python = ".".join(platform.python_version_tuple()[:2])
    return (
        ("anomaly", __version__),
        ("python", python),
        ("torch", version("torch").partition("+")[0]),
    )


def unfit(fitness: Fitness) -> str:
    """Why this process cannot do the work, in words; "" where it can."""
    pairs = zip(versions(), fitness.versions, strict=True)
    others = [f"{name} {own}, expected {asked}" for (name, own), (_, asked) in pairs if own != asked]
    if others:
        return f"has {', and '.join(others)}; install there what is installed here"
    try:
        seen = Path(fitness.probe).read_text(encoding="utf-8") == fitness.token
    except OSError:
        seen = False
    if not seen:
        return f"does not see what is written to {Path(fitness.probe).parent}; --out has to lie on a shared disk"
    absent = [name for name in fitness.needs if not os.access(name, os.R_OK)]
    return f"cannot read {absent[0]}; runs and images have to lie on a shared disk" if absent else ""


def done(task: Task, chunk: Sequence[Any], threads: int | None, fitness: Fitness) -> list[Any]:
    """Do one chunk in a worker, alone in its process, by so many threads; None: as many as the worker has.

    Raises:
        Unfit: this process cannot do the work; it was begun anew, perhaps, after it had been asked.
    """
    with _alone:
        if _open["task"] != task:
            if reason := unfit(fitness):
                raise Unfit(_worker().address, reason)
            _open.update(task=None, work=None)  # what was open before may hold much memory
            _open.update(work=task.open(threads or _own_threads()), task=task)
        return list(_open["work"](chunk))


def _own_threads() -> int:
    return int(_worker().state.nthreads)


def _worker() -> Any:
    from distributed import get_worker

    return get_worker()
