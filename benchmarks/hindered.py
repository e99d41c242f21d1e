"""What becomes of commands that are hindered otherwise than by a kill, and of what they leave.

    python -m benchmarks.hindered HOME [--how two,full,...] [--only WORDS] [--seed 0]

HOME as of `benchmarks.killed`; `hindered.jsonl` there gets a line for each trial, and the same command goes on where it
stopped. For a full disk and a folder that cannot be written to it mounts small disks in memory, which takes root.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.killed import begin, given, judged, read, undisturbed
from benchmarks.killed_commands import COMMANDS, Long
from benchmarks.killed_processes import Ended, forked, spawned, warm

CHOSEN = (
    "simulate knees", "train auto", "train pca", "train vae", "score nifti,png", "evaluate", "associate", "generate",
    "report", "explain train additive", "explain map trained", "explain check", "register visits", "register template",
    "progress predict", "restore apply", "translate apply", "segment apply", "synthesize vary", "paint in",
)  # fmt: skip
COLUMNS = ("same bits", "refused, then same bits", "different", "not told", "failed", "left over")
FUTURE = 2_500_000_000  # in 2049


def two(command: Long, draw: random.Random) -> str:
    """The same command twice at once, the second a little later; the first or the second may be refused by name."""
    usual = undisturbed(command, False)
    begin(command)
    other = os.fork()
    if other == 0:
        time.sleep(draw.random() * usual.seconds)
        ended = forked(command.typed(), Path("logs/second.txt"))
        os._exit(0 if ended.status == usual.status else 1 if _by_name(ended) else 2)
    first = forked(command.typed(), Path("logs/first.txt"))
    second = os.waitstatus_to_exitcode(os.waitpid(other, 0)[1])
    if second == 2 or (first.status != usual.status and not _by_name(first)):
        return "failed"
    if first.status != usual.status and second:
        return "failed"  # both were refused
    refused = first.status != usual.status or second == 1
    done = first if first.status == usual.status else Ended(usual.status, 0.0, "")
    return _then("refused, then " if refused else "", judged(command, usual, done)[0])


def _by_name(ended: Ended) -> bool:
    told = ("another process is writing to", "unfinished training", "already holds a trained run")
    return ended.status == 1 and any(each in ended.told for each in told)


def _then(before: str, result: str) -> str:
    return before + result if result == "same bits" else result


def full(command: Long, draw: random.Random) -> str:
    """A disk with room for a part of what the command makes; then the same command with more room."""
    usual = undisturbed(command, False)
    size = _size(Path("made") / command.name)
    begun = _size(Path("made") / command.start) if command.start else 0
    with disk(begun + int((size - begun) * draw.uniform(0.05, 0.9)) + 8192) as change:
        begin(command)
        first = forked(command.typed(), Path("logs/full.txt"))
        told = first.status == 1 and command.out in first.told and "run the same command again" in first.told
        change("size=1g")
        if first.status != usual.status and not told:
            return "not told"
        result = judged(command, usual, given(command, None, False))[0]
    return _then("refused, then " if told else "", result)


def locked(command: Long, draw: random.Random) -> str:
    """A folder on a disk that can only be read; then the same command where it can be written to."""
    usual = undisturbed(command, False)
    with disk(1 << 30) as change:
        begin(command)
        change("ro")
        first = forked(command.typed(), Path("logs/locked.txt"))
        change("rw")
        if not (first.status == 1 and "out/" in first.told and "run the same command again" in first.told):
            return "not told"
        result = judged(command, usual, given(command, None, False))[0]
    return _then("refused, then ", result)


def clock(command: Long, draw: random.Random) -> str:
    """A clock that jumps back and forth by days at every look, and a system that has just begun to count."""

    def jump() -> None:
        real = time.time
        time.time = lambda: real() - draw.randrange(10**6)

    usual = undisturbed(command, False)
    begin(command)
    return judged(command, usual, forked(command.typed(), Path("logs/clock.txt"), before=jump))[0]


def future(command: Long, draw: random.Random) -> str:
    """Files of 2049, what is read and what was begun."""
    usual = undisturbed(command, False)
    begin(command)
    inputs = [path for top in ("given", command.out) for path in Path(top).rglob("*") if path.is_file()]
    times = {path: path.stat() for path in inputs}
    for path in inputs:
        os.utime(path, (FUTURE, FUTURE))
    try:
        return judged(command, usual, forked(command.typed(), Path("logs/future.txt")))[0]
    finally:
        for path, was in times.items():
            if path.exists():
                os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))


def place(**environment: str) -> Callable[[Long, random.Random], str]:
    """A process of its own in another time zone or locale."""

    def tried(command: Long, draw: random.Random) -> str:
        usual = undisturbed(command, False)
        begin(command)
        return judged(command, usual, spawned(command.typed(), Path("logs/place.txt"), environment=environment))[0]

    return tried


HOW: dict[str, Callable[[Long, random.Random], str]] = {
    "two at once": two,
    "full disk": full,
    "disk that can only be read": locked,
    "clock that jumps": clock,
    "files of 2049": future,
    "time zone that is none": place(TZ="Nowhere/Nothing"),
    "time zone +14": place(TZ="Pacific/Kiritimati"),
    "locale C without UTF-8": place(LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0"),
    "locale that is not installed": place(LC_ALL="tr_TR.UTF-8", LANG="de_DE.UTF-8"),
}


@contextmanager
def disk(size: int) -> Iterator[Callable[[str], None]]:
    """A disk in memory of so many bytes at out/; gives what changes it, as `mount -o remount,...`."""
    shutil.rmtree("out", ignore_errors=True)
    Path("out").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", "out"], check=True)
    try:
        yield lambda how: subprocess.run(["mount", "-o", f"remount,{how}", "out"], check=True) and None
    finally:
        subprocess.run(["umount", "out"], check=True)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size + 4096 for path in folder.rglob("*"))


def main() -> None:
    """Go on until every command was hindered in every way, then print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("home", type=Path)
    parser.add_argument("--how", default=",".join(HOW))
    parser.add_argument("--only", default="", help="commands whose name holds this")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    os.chdir(asked.home)
    warm()
    book = Path("hindered.jsonl")
    trials = read(book)
    done = {(trial["how"], trial["command"]) for trial in trials}
    for how in asked.how.split(","):
        for command in COMMANDS:
            if command.name in CHOSEN and asked.only in command.name and (how, command.name) not in done:
                result = HOW[how](command, random.Random(f"{asked.seed} {how} {command.name}"))
                result = "failed" if result == "refused" else result  # also the second time
                trials.append({"how": how, "command": command.name, "result": result})
                with book.open("a") as stream:
                    stream.write(json.dumps(trials[-1]) + "\n")
                print(how, command.name, result, file=sys.stderr, flush=True)
    print(table(trials))


def table(trials: Sequence[dict[str, str]]) -> str:
    """Markdown: a row for each hindrance."""
    lines = [["hindrance", "commands", *COLUMNS], ["---"] * (2 + len(COLUMNS))]
    for how in HOW:
        found = Counter(trial["result"] for trial in trials if trial["how"] == how)
        if found:
            lines.append([how, str(found.total()), *(str(found[column]) for column in COLUMNS)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main()
