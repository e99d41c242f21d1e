"""The program as a process that can be killed at a chosen moment: forked from one that has imported all, or its own.

A fork begins where a process of its own has imported what it needs, and before it has read or written anything; from
there on both do the same. A moment is a share of the processor time that the command takes undisturbed, so that it is
the same moment on a busy machine; or the number of a change to the disk.
"""

import importlib
import os
import pkgutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import torch

import anomaly
import cli
import explain

ROOT = Path(__file__).parents[1]
TICK = 1 / os.sysconf("SC_CLK_TCK")
LATE = (
    "lightning_fabric", "torch._dynamo", "matplotlib.backends.backend_agg", "matplotlib.figure", "scipy.stats",
    "scipy.ndimage", "skimage.restoration", "sklearn.linear_model", "sklearn.model_selection", "nibabel", "jinja2",
    "SimpleITK", "captum.attr", "monai.networks.nets.spade_network", "tqdm",
)  # fmt: skip
CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "shutil.rmtree")
"""Names of audit events that change a disk; `open` is one as well, where it is for writing."""


@dataclass(frozen=True)
class Ended:
    """How a process ended.

    Args:
        status: its exit status, -9 where it was killed.
        seconds: of processor time.
        told: what it wrote to its error stream and to the screen.
        changes: to the disk, where they were counted.
    """

    status: int
    seconds: float
    told: str
    changes: int = 0


@dataclass(frozen=True)
class Moment:
    """When to kill: after so many seconds of processor time, or at that change to the disk (from 1), before it."""

    seconds: float | None = None
    change: int | None = None


def warm() -> None:
    """Import all rooms and what they import late, so that forks need not."""
    torch.set_num_threads(1)
    for package in (anomaly, explain):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    for name in LATE:
        importlib.import_module(name)


def forked(
    words: Sequence[str], log: Path, kill: Moment | None = None, before: Callable[[], None] = lambda: None
) -> Ended:
    """Run a command in a fork of this process, where this process stands; `before` is called there first."""
    log.parent.mkdir(parents=True, exist_ok=True)
    child = os.fork()
    if child == 0:
        before()
        _be_the_program(words, log, kill)
    return _ended(child, log, kill)


def spawned(
    words: Sequence[str], log: Path, kill: Moment | None = None, environment: Mapping[str, str] = MappingProxyType({})
) -> Ended:
    """Run a command in a process of its own."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as stream:
        child = subprocess.Popen(
            [sys.executable, str(ROOT / "cli.py"), *words], stdout=stream, stderr=stream, start_new_session=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        )  # fmt: skip
    ended = _ended(child.pid, log, kill)
    child.returncode = ended.status  # it was waited for
    return ended


def _be_the_program(words: Sequence[str], log: Path, kill: Moment | None) -> None:
    """Never returns."""
    status, count = 70, [0]
    try:
        os.setpgid(0, 0)
        for number in (1, 2):
            os.dup2(os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND | (os.O_TRUNC if number == 1 else 0)), number)
        _watch(count, log, kill)
        sys.argv = ["anomaly", *words]
        status = _status()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os.write(2, f"\nchanges to the disk: {count[0]}".encode())
        os._exit(status)


def _status() -> int:
    try:
        cli.app()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return 0


def _watch(count: list[int], log: Path, kill: Moment | None) -> None:
    """Count changes to the disk, and kill this process and its children before one of them."""
    last = kill.change if kill is not None else None

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open":
            flags = arguments[2]
            changes = isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
        else:
            changes = event in CHANGES
        if changes:
            count[0] += 1
            if count[0] == last:
                os.killpg(0, signal.SIGKILL)

    sys.addaudithook(hook)


def _ended(child: int, log: Path, kill: Moment | None) -> Ended:
    """Wait for a process, and kill its group when its moment has come."""
    moment = None if kill is None else kill.seconds
    while True:
        found, status, used = os.wait4(child, os.WNOHANG if moment is not None else 0)
        if found:
            break
        if moment is not None and (left := moment - _processor(child)) <= 0:
            time.sleep(max(0.0, left + TICK))  # moments between two ticks of the clock
            os.killpg(child, signal.SIGKILL)
            moment = None
        elif moment is not None:
            time.sleep(min(0.5, max(0.002, left / 2)))
    told, _, changes = log.read_text(errors="replace").rpartition("\nchanges to the disk: ")
    if not changes.isdigit():
        told, changes = told + changes, "0"
    return Ended(os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime, told, int(changes))


def _processor(process: int) -> float:
    """Seconds of processor time that a process has taken."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:  # it is about to end
        return 0.0
    return (int(fields[11]) + int(fields[12])) * TICK
