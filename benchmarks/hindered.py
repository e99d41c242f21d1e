"""What becomes of commands that are hindered otherwise than by a kill, and of what they leave.

    python -m benchmarks.hindered HOME [--how two,full,...] [--only PATTERN] [--seed 0]

HOME as of `benchmarks.killed`; `hindered.jsonl` there gets a line for each trial, and the same command goes on where it
stopped. For a full disk and a folder that cannot be written to it mounts small disks in memory, which takes root.
"""

import argparse
import json
import locale as languages
import os
import random
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, tzinfo
from pathlib import Path

from benchmarks.killed import begin, given, judged, read, undisturbed
from benchmarks.killed_commands import COMMANDS, Long
from benchmarks.killed_processes import Ended, Moment, forked, spawned, warm

CHOSEN = (
    "simulate knees", "train auto", "train pca", "train vae", "score nifti,png", "evaluate", "associate", "generate",
    "report", "explain train additive", "explain map trained", "explain check", "register visits", "register template",
    "progress predict", "restore apply", "translate apply", "segment apply", "synthesize vary", "paint in",
)  # fmt: skip
COLUMNS = ("same bits", "refused, then same bits", "different", "not told", "failed", "left over")
OWN = ("simulate knees", "train pca", "score nifti,png", "evaluate", "report")
"""In a locale, which takes a process of its own and so some ten times as long."""
LOCALES = {"de_DE.UTF-8": ("de_DE", "UTF-8"), "tr_TR.ISO-8859-9": ("tr_TR", "ISO-8859-9")}
PAST, FUTURE = 631_152_000, 2_500_000_000  # 1990, and in 2049


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
    """A wall clock that says another time of 1990 to 2049 at every look, and a stopwatch that leaps by up to an hour.

    Every look is counted, by a byte in a file of `logs`. What measures how fast the machine is (`perf_counter`), of
    which the default detector chooses how long it learns, is left alone.
    """
    usual = undisturbed(command, False)
    begin(command)
    looks = Path("logs") / f"looks of {command.name}.txt"
    looks.unlink(missing_ok=True)
    ended = forked(command.typed(), Path("logs/clock.txt"), before=lambda: _jump(draw, looks))
    for record in Path(command.out).rglob("run.json"):
        if abs(_created(record).timestamp() - time.time()) < 1e6:  # it has to be of the clock that jumps
            sys.exit(f"{command.name} dates {record} by a clock that did not jump")
    return judged(command, usual, ended)[0]


def _created(record: Path) -> datetime:
    return datetime.fromisoformat(json.loads(record.read_text())["created"])


def _jump(draw: random.Random, looks: Path) -> None:
    """Exchange the clocks of this process, all of whose modules are imported."""
    book, stopwatch, form, ahead = os.open(looks, os.O_WRONLY | os.O_CREAT), time.monotonic, time.strftime, [0.0]

    def wall() -> float:
        os.write(book, b".")
        return draw.uniform(PAST, FUTURE)

    def leaping() -> float:
        os.write(book, b".")
        ahead[0] += draw.uniform(0, 3600)
        return stopwatch() + ahead[0]

    class Jumping(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> "Jumping":
            return cls.fromtimestamp(wall(), tz)

    time.time, time.monotonic = wall, leaping
    time.strftime = lambda how, *when: form(how, *(when or [time.localtime(wall())]))
    for name, module in sys.modules.items():
        if name.partition(".")[0] in ("anomaly", "explain", "cli") and vars(module).get("datetime") is datetime:
            module.datetime = Jumping  # type: ignore[attr-defined]


def dated(moment: int) -> Callable[[Long, random.Random], str]:
    """All files of one time, what is read and what was begun by a command that was killed in the midst of it."""

    def tried(command: Long, draw: random.Random) -> str:
        usual = undisturbed(command, False)
        begin(command)
        midst = Moment(seconds=draw.uniform(0.3, 0.9) * usual.seconds)
        if forked(command.typed(), Path("logs/dated.txt"), midst).status != -9:
            begin(command)  # it had ended before
        files = [path for top in ("given", "made", command.out) for path in Path(top).rglob("*")]
        times = {path: path.stat() for path in files}
        for path in files:
            os.utime(path, (moment, moment))
        try:
            return judged(command, usual, given(command, None, False))[0]
        finally:
            for path, was in times.items():
                if path.exists():
                    os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))

    return tried


def zone(name: str) -> Callable[[Long, random.Random], str]:
    """Another time zone."""

    def there() -> None:
        os.environ["TZ"] = name
        time.tzset()

    def tried(command: Long, draw: random.Random) -> str:
        usual = undisturbed(command, False)
        begin(command)
        return judged(command, usual, forked(command.typed(), Path("logs/zone.txt"), before=there))[0]

    return tried


def locale(**environment: str) -> Callable[[Long, random.Random], str]:
    """A process of its own in another locale, of those of `LOCALES` where it is among them."""

    def tried(command: Long, draw: random.Random) -> str:
        usual = undisturbed(command, False)
        begin(command)
        found = environment | {"LOCPATH": str(made_locales())}
        return judged(command, usual, spawned(command.typed(), Path("logs/locale.txt"), environment=found))[0]

    return tried


def spoken(command: Long, draw: random.Random) -> str:
    """German numbers and dates in all of C, as a program with windows sets them around this one."""
    usual, folder = undisturbed(command, False), str(made_locales())

    def there() -> None:
        os.environ["LOCPATH"] = folder
        languages.setlocale(languages.LC_ALL, "de_DE.UTF-8")
        if languages.localeconv()["decimal_point"] != ",":
            sys.exit("no decimal commas in the German locale")

    begin(command)
    return judged(command, usual, forked(command.typed(), Path("logs/spoken.txt"), before=there))[0]


def made_locales() -> Path:
    """A folder of `LOCALES`, made by localedef."""
    folder = Path("locales").absolute()
    folder.mkdir(exist_ok=True)
    for name, (language, letters) in LOCALES.items():
        if not (folder / name).exists():
            subprocess.run(["localedef", "-i", language, "-f", letters, str(folder / name)], check=True)
    return folder


HOW: dict[str, Callable[[Long, random.Random], str]] = {
    "two at once": two,
    "full disk": full,
    "disk that can only be read": locked,
    "clock that jumps": clock,
    "files of 2049": dated(FUTURE),
    "files of 1970": dated(0),
    "decimal commas set in the process": spoken,
    "time zone that is none": zone("Nowhere/Nothing"),
    "time zone +14": zone("Pacific/Kiritimati"),
    "locale C without UTF-8": locale(LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0"),
    "locale of Turkey in ISO 8859-9": locale(LC_ALL="tr_TR.ISO-8859-9", PYTHONUTF8="0"),
    "locale that is not installed": locale(LC_ALL="en_DK.UTF-8", LANG="de_CH.UTF-8"),
}


@contextmanager
def disk(size: int) -> Iterator[Callable[[str], None]]:
    """A disk in memory of so many bytes at out/; gives what changes it, as `mount -o remount,...`."""
    shutil.rmtree("out", ignore_errors=True)
    Path("out").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", "out"], check=True)

    def change(how: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{how}", "out"], check=True)

    try:
        yield change
    finally:
        subprocess.run(["umount", "out"], check=True)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size + 4096 for path in folder.rglob("*"))


def main() -> None:
    """Go on until every command was hindered in every way, then print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("home", type=Path)
    parser.add_argument("--how", default=",".join(HOW))
    parser.add_argument("--only", default="", help="a regular expression of commands' names")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    os.chdir(asked.home)
    warm()
    book = Path("hindered.jsonl")
    trials = read(book)
    done = {(trial["how"], trial["command"]) for trial in trials}
    for how in asked.how.split(","):
        for command in COMMANDS:
            chosen = command.name in (OWN if "locale" in how else CHOSEN) and re.search(asked.only, command.name)
            if chosen and (how, command.name) not in done:
                result = HOW[how](command, random.Random(f"{asked.seed} {how} {command.name}"))
                result = "failed" if result == "refused" else result  # also the second time
                trials.append({"how": how, "command": command.name, "result": result})
                with book.open("a") as stream:
                    stream.write(json.dumps(trials[-1]) + "\n")
                print(how, command.name, result, file=sys.stderr, flush=True)
    print(table(trials))
    looks = [path.stat().st_size for path in Path("logs").glob("looks of *")]
    print(
        f"\nThe clock that jumps was looked at by {sum(map(bool, looks))} of {len(looks)} commands, {sum(looks)} times."
    )


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
