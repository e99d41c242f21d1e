"""Kills every long command at random moments, gives it again, and compares what it leaves, byte by byte.

    python -m benchmarks.killed HOME [--kills 200] [--at time|files] [--seed 0] [--only WORDS]

HOME gets the inputs, what each command makes undisturbed, and `killed-AT.jsonl`, a line for each trial; the same
command goes on where it stopped. HOME stays where it is, and the program as it is: tables hold whole paths. Nothing is
left out of the comparison but what `killed_comparison.LEFT_OUT` names.
"""

import argparse
import json
import os
import random
import re
import shutil
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.killed_commands import COMMANDS, Long, prepare
from benchmarks.killed_comparison import difference
from benchmarks.killed_processes import Ended, Moment, forked, spawned, warm

TWICE, MORE, OWN = 3, 4, 17
"""Every 3rd trial is killed twice, all after the first round up to four times more; every 17th of that is of processes
of their own."""
COLUMNS = ("same bits", "different", "refused", "failed", "left over")


@dataclass
class Undisturbed:
    """What a command takes that nobody kills."""

    status: int
    seconds: float
    seconds_own: float = 0.0
    changes: int = 0


def main() -> None:
    """Go on until so many kills, then print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("home", type=Path)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--at", choices=("time", "files"), default="time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="a regular expression of commands' names")
    asked = parser.parse_args()
    asked.home.mkdir(parents=True, exist_ok=True)
    os.chdir(asked.home)
    warm()
    if not Path("given/lesions.csv").exists():
        shutil.rmtree("given", ignore_errors=True)
        prepare(Path.cwd(), _needed)
    book = Path(f"killed-{asked.at}.jsonl")
    trials = read(book)
    chosen = [command for command in COMMANDS if re.search(asked.only, command.name)]
    number = len(trials)
    while sum(trial["kills"] for trial in trials) < asked.kills:
        trial = tried(chosen[number % len(chosen)], number, asked.seed, asked.at)
        trials.append(trial)
        with book.open("a") as stream:
            stream.write(json.dumps(trial) + "\n")
        print(number, trial["command"], trial["moments"], trial["result"], trial["what"], file=sys.stderr, flush=True)
        number += 1
    print(table(trials))


def read(book: Path) -> list[dict[str, Any]]:
    """The trials so far."""
    return [json.loads(line) for line in book.read_text().splitlines()] if book.exists() else []


def tried(command: Long, number: int, seed: int, at: str) -> dict[str, Any]:
    """Kill one command, perhaps several times in a row, give it again, and say what came of it."""
    own = number % OWN == OWN - 1 and number < len(COMMANDS) and at == "time"
    usual = undisturbed(command, own)
    draw = random.Random(f"{seed} {number}")
    moments: list[float] = []
    begin(command)
    for again in range(1 + (number % TWICE == TWICE - 1) + MORE * (number >= len(COMMANDS))):
        for _ in range(1 if again else 5):
            moment = _moment(draw, usual, own, at, draw.random() if again else 1.0)
            ended = given(command, moment, own) if again else _run(command.typed(), command, moment, own)
            if ended.status == -9:
                moments.append(round(moment.seconds or moment.change or 0, 3))
                break
            if not again:
                begin(command)  # it had ended before; another moment
        if len(moments) == again:
            break  # nothing was left to be killed
    last = given(command, None, own)
    result, what = judged(command, usual, last)
    return {
        "number": number, "command": command.name, "own": own, "moments": moments, "kills": len(moments),
        "result": result, "what": what,
    }  # fmt: skip


def _moment(draw: random.Random, usual: Undisturbed, own: bool, at: str, within: float) -> Moment:
    """A moment of a command, of its first part where less of it is left."""
    if at == "files":
        return Moment(change=draw.randint(1, max(1, int(within * usual.changes))))
    return Moment(seconds=draw.random() * within * (usual.seconds_own if own else usual.seconds))


def judged(command: Long, usual: Undisturbed, last: Ended) -> tuple[str, list[str]]:
    """In which column a trial belongs, and the files or the words that put it there."""
    if last.status != usual.status:
        last_words = last.told.strip().splitlines()[-3:]
        return "failed" if "Traceback" in last.told or last.status < 0 else "refused", last_words
    differ, beyond = difference(Path("made") / command.name, Path(command.out))
    if differ:
        return "different", [*differ[:10], *beyond[:5]]
    return ("left over", beyond[:10]) if beyond else ("same bits", [])


def given(command: Long, moment: Moment | None, own: bool) -> Ended:
    """Give a command again; where it asks for --resume, with that."""
    ended = _run(command.typed(), command, moment, own)
    if ended.status > 0 and any(told in ended.told for told in ("add --resume", "already holds a trained run")):
        ended = _run([*command.typed(), "--resume"], command, moment, own)
    return ended


def begin(command: Long) -> None:
    """The folder of a command as it is before it."""
    shutil.rmtree(command.out, ignore_errors=True)
    if command.start:
        shutil.copytree(Path("made") / command.start, command.out)


def undisturbed(command: Long, own: bool) -> Undisturbed:
    """Run a command once for all trials and keep what it makes, and what that takes."""
    book = Path("made") / f"{command.name}.json"
    usual = Undisturbed(**json.loads(book.read_text())) if book.exists() else None
    if usual is None:
        begin(command)
        ended = _run(command.typed(), command, None, False)
        if ended.status not in (0, 3):
            sys.exit(f"{command.name}: {ended.told}")
        shutil.rmtree(Path("made") / command.name, ignore_errors=True)
        book.parent.mkdir(exist_ok=True)
        shutil.move(command.out, Path("made") / command.name)
        usual = Undisturbed(ended.status, ended.seconds, changes=ended.changes)
    if own and not usual.seconds_own:
        begin(command)
        usual.seconds_own = _run(command.typed(), command, None, True).seconds
    book.write_text(json.dumps(vars(usual)))
    return usual


def _run(words: list[str], command: Long, moment: Moment | None, own: bool) -> Ended:
    return (spawned if own else forked)(words, Path("logs") / f"{command.name}.txt", moment)


def _needed(words: Iterable[str]) -> None:
    ended = forked(list(words), Path("logs/given.txt"))
    if ended.status:
        sys.exit(f"{' '.join(words)}: {ended.told}")


def table(trials: Iterable[dict[str, Any]]) -> str:
    """Markdown: a row for each command, and one for all."""
    rows: dict[str, Counter[str]] = {}
    for trial in trials:
        rows.setdefault(trial["command"], Counter()).update({"kills": trial["kills"], trial["result"]: 1})
    rows = {command.name: rows[command.name] for command in COMMANDS if command.name in rows}
    rows["all"] = sum(rows.values(), Counter())
    lines = [["command", "kills", *COLUMNS], ["---"] * (2 + len(COLUMNS))]
    lines += [[name, *(f"{found[column]}" for column in ("kills", *COLUMNS))] for name, found in rows.items()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main()
