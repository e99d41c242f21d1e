"""Runs commands, each in a process of its own that may be killed (SIGKILL) at a file; `python killed.py JOBS`.

Processes are forked from this one, which does the first command itself and so has imported what takes long. JOBS is
JSON: a list of (words of the command, where to be killed): null, or ("before" or "after", what the path of a
file moved to its place ends in). Prints the exit status of each, in JSON; -9 is a kill.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import cli


def dying(when: str, end: str) -> None:
    """Have this process killed before or after the next file or folder of such a path is moved to its place."""
    move = os.replace

    def replace(source: Any, target: Any, **options: Any) -> None:
        hit = str(target).endswith(end)
        if hit and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        move(source, target, **options)
        if hit:
            os.kill(os.getpid(), signal.SIGKILL)

    os.replace = replace


def done(words: list[str]) -> int:
    """Run one command in this process; its exit status."""
    sys.argv = ["anomaly", *words]
    try:
        cli.app()
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def forked(words: list[str], kill: list[str] | None) -> int:
    """Run one command in a process of its own; its exit status, negative for the signal that ended it."""
    child = os.fork()
    if child == 0:
        status = 70
        try:
            if kill is not None:
                dying(*kill)
            status = done(words)
        finally:
            sys.stderr.flush()
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    first, *others = json.loads(sys.argv[1])
    print("\n" + json.dumps([done(first[0]), *(forked(words, kill) for words, kill in others)]))
