"""Loaded by processes that a command begins as workers: to stop is for the command, which then ends them in good order.

A terminal sends Ctrl-C to all of them at once, SLURM a request to end, and a worker that it ends would be begun anew.
"""

import signal
import threading
from typing import Any


def dask_setup(worker: Any) -> None:
    """Let Ctrl-C and requests to end pass; Dask calls this where a worker begins."""
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
