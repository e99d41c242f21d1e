"""What a training was asked for, kept in its folder, so that only the same training goes on there."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anomaly.errors import RunError
from anomaly.files import LOCK, sweep, write_whole

if TYPE_CHECKING:
    from anomaly.detectors import Detector
    from anomaly.training.learned import Images
    from anomaly.training.machine import Machine

ASKED = "settings_asked"
"""In `run.json`, the settings as they were asked for, where fitting filled some of them in."""

DRAFT = {"checkpoint", "training.csv", "errors.csv", "samples", "training.png"}
"""What a training may have left in its folder before it has a checkpoint."""


def claim(
    out: Path, plan: dict[str, Any], resume: bool, completed: Callable[[Mapping[str, Any]], dict[str, Any]] = dict
) -> None:
    """Take a folder for a training, or go on with the one that is there.

    Args:
        out: the folder.
        plan: what is asked for.
        resume: whether to go on.
        completed: settings as an older version wrote them, with those that the method got only since.

    Raises:
        RunError: it holds a finished run, an unfinished one that is not to be resumed or had another plan, or
            something else.
    """
    started = refuse_taken(out, resume)
    path = _plan(out)
    if started:
        before = planned(out)
        refuse_changes(out, {**before, "settings": completed(before["settings"])}, plan)
    sweep(out)
    if started:
        return
    shutil.rmtree(path.parent, ignore_errors=True)
    path.parent.mkdir(parents=True)
    write_whole(path, json.dumps(plan, indent=1))


def refuse_taken(out: Path, resume: bool) -> bool:
    """Say plainly when a folder cannot take a training; gives whether one was begun there, to be gone on with.

    Raises:
        RunError: as `claim` says, but for another plan.
    """
    if out.is_file():
        raise RunError(f"{out} is a file; choose another --out")
    if (out / "run.json").exists():
        raise RunError(f"{out} already holds a trained run; choose another --out, or remove it")
    started = any((out / "checkpoint").glob("[0-9]*"))
    if started and not resume:
        raise RunError(f"{out} holds an unfinished training; add --resume to go on, or remove it")
    if not _plan(out).exists() and out.exists() and any(each.name not in (*DRAFT, LOCK) for each in out.iterdir()):
        raise RunError(f"{out} is not empty and holds no training; choose another --out")
    return started


def planned(out: Path) -> dict[str, Any]:
    """What the training in this folder was asked for, as `claim` wrote it down."""
    plan: dict[str, Any] = json.loads(_plan(out).read_text())
    return plan


def decided(out: Path, detector: Detector, normals: Images, machine: Machine) -> Detector:
    """The detector with the settings that follow from the normals and the machine, decided once for all processes.

    What is measured in seconds comes out otherwise on a second try, which a resumed training must not have.
    """
    path = _plan(out).with_name("decided.json")

    def decide() -> None:
        if not path.exists():
            detector.plan(normals, machine)
            write_whole(path, json.dumps(detector.settings()))

    machine.lead(decide)
    return dataclasses.replace(detector, **json.loads(path.read_text()))


def clear(out: Path) -> None:
    """Take away what only a training in progress needs: its folder holds a finished run now."""
    shutil.rmtree(out / "checkpoint", ignore_errors=True)
    sweep(out)


def abandon(out: Path) -> None:
    """Take away what a training left that was refused before its first checkpoint.

    What `errors.csv` says of images stays; a folder without anything goes.
    """
    if any((out / "checkpoint").glob("[0-9]*")):
        return
    shutil.rmtree(out / "checkpoint", ignore_errors=True)
    sweep(out)
    if out.is_dir() and not any(out.iterdir()):
        out.rmdir()


def refuse_changes(out: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Say which settings differ from those that a training was begun with."""
    before = {**before, "settings": before[ASKED]} if ASKED in before else before
    changed = _changes(before, json.loads(json.dumps(now)))
    if changed:
        raise RunError(f"{out} was begun with other settings ({'; '.join(changed)}); give the same, or another --out")


def _plan(out: Path) -> Path:
    return out / "checkpoint" / "plan.json"


def _changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    changed = []
    for name, value in now.items():
        old = before.get(name)
        if isinstance(value, dict) and isinstance(old, dict):
            changed += _changes(old, value)
        elif value != old:
            changed.append(f"{name} was {old}, now {value}")
    return changed
