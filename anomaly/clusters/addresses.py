"""Where a cluster is: a scheduler's address or file, SLURM, or processes on this computer."""

import re
from dataclasses import dataclass

from anomaly.errors import AnomalyError

HOW = "tcp://HOST:PORT, the scheduler file (.json) of a cluster, slurm, slurm:JOBS or local:PROCESSES"
ADDRESS = re.compile(r"(?:(tcp|tls|ws|wss)://)?([^\s/:]+|\[[0-9a-fA-F:.]+\]):(\d{1,5})")
LOCAL, SLURM, FILE, SCHEDULER = "local", "slurm", "file", "scheduler"


@dataclass(frozen=True)
class Place:
    """Where a cluster is.

    Args:
        kind: "local", "slurm", "file" or "scheduler".
        where: address or path of a scheduler that runs; "" where one is begun.
        count: processes or jobs to begin; 0 where others begin the workers.
    """

    kind: str
    where: str = ""
    count: int = 0

    def __str__(self) -> str:
        return self.where or f"{self.kind}:{self.count}"


def place(text: str) -> Place:
    """Read where a cluster is, as `--cluster` says it.

    Args:
        text: `local:4` (processes on this computer), `slurm` or `slurm:8` (jobs), `tcp://host:8786`, `host:8786`, or
            the path of a scheduler file.

    Raises:
        AnomalyError: it is none of these.
    """
    kind, colon, count = text.strip().partition(":")
    if kind in (LOCAL, SLURM):
        if not colon and kind == SLURM:
            count = "1"
        if not (count.isascii() and count.isdigit() and int(count) >= 1):
            raise AnomalyError(f"a cluster is {HOW}, with 1 or more; got {text!r}")
        return Place(kind, count=int(count))
    if found := ADDRESS.fullmatch(text.strip()):
        return Place(SCHEDULER, f"{found[1] or 'tcp'}://{found[2]}:{found[3]}")
    if text.strip().endswith(".json"):
        return Place(FILE, text.strip())
    raise AnomalyError(f"a cluster is {HOW}; got {text!r}")
