"""Loaded by processes that a command begins as workers: Ctrl-C is for the command, which then ends them in good order.

A terminal sends it to all of them at once, and a worker that it ends would be begun anew.
"""

import signal
import threading
from typing import Any


def dask_setup(worker: Any) -> None:
    """Let Ctrl-C pass; Dask calls this where a worker begins."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
