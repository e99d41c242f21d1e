"""Processes that draw for another one end with it, also where it was killed and could not tell them to."""

import os
import subprocess
import sys
import time
from pathlib import Path

from studies import ROOT

KILLED = """
import os, signal
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from anomaly.simulation.knees import _drawer

if __name__ == "__main__":
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_drawer) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_process_that_draws_does_not_outlive_the_one_it_draws_for(tmp_path: Path) -> None:
    (tmp_path / "killed.py").write_text(KILLED)
    with subprocess.Popen(
        [sys.executable, str(tmp_path / "killed.py")],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True,
    ) as killed:  # fmt: skip
        assert killed.stdout is not None
        drawer = int(killed.stdout.readline())
        killed.wait()
        for _ in range(600):
            if not _runs(drawer):
                return
            time.sleep(0.1)
    raise AssertionError(f"process {drawer} waits for scans that will never come")


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{process}/stat")  # where nobody waits for it, it stays as a zombie
    return not (status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z")
