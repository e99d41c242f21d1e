"""Training on a finished run: whether that is what as many steps from the start would give, and where it is done.

A run keeps the checkpoint after its last step in `further/`. The longer training is an unfinished run in `longer/`,
inside the old one, which stays valid until the new one is whole; then its files take the places of the old ones.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anomaly.errors import RunError
from anomaly.files import sha256_of, write_whole
from anomaly.images.preprocessing import Preprocessing
from anomaly.runs.facts import read_facts
from anomaly.runs.plans import ASKED

if TYPE_CHECKING:
    from anomaly.training.learned import Learned
    from anomaly.training.machine import Machine

logger = logging.getLogger(__name__)
KEPT, DRAFT, IMAGES = "further", "longer", "images.json"
FIRST = "000001"


def gone_on_with(
    out: Path, learner: Learned, settings: Mapping[str, Any], machine: Machine, *, resume: bool
) -> tuple[dict[str, Any] | None, int | None, Path]:
    """What a training finds in its folder, where it is to be resumed.

    Returns:
        The facts of the finished run there, or None; how many steps that is to have in all, or None where it stays as
        it is; and the folder to train in.

    Raises:
        RunError: as `wanted` and `refuse_other_course`.
    """
    if resume:
        machine.lead(lambda: finish(out))
    finished = read_facts(out) if resume and (out / "run.json").exists() else None
    steps = None if finished is None else wanted(out, finished, settings)
    if finished is None or steps is None:
        return finished, None, out
    refuse_other_course(out, learner, finished, steps, machine)
    return finished, steps, out / DRAFT


def wanted(out: Path, facts: Mapping[str, Any], settings: Mapping[str, Any]) -> int | None:
    """How many steps a finished run is to have in all, by the settings asked; None where it stays as it is.

    Raises:
        RunError: it has more steps than asked for, or nothing to go on from.
    """
    has, asked = facts["settings"].get("steps"), settings.get("steps")
    if has is None or asked is None or asked in (has, asked_before(facts).get("steps")):
        return None
    if not isinstance(asked, int) or asked < has:
        raise RunError(
            f"{out} is finished and has {has} steps, more than the {asked} asked for; give --steps above {has} to go "
            "on, or another --out"
        )
    if not has:
        raise RunError(
            f"{out} is finished, and of {facts['method']} nothing in it was trained by steps; train anew with --steps "
            f"{asked} and another --out"
        )
    return asked


def asked_before(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that a finished run was asked for."""
    found: dict[str, Any] = facts.get(ASKED, facts["settings"])
    return found


def as_finished(plan: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, Any]:
    """A plan with the steps of the run that is finished, for these may be others."""
    steps = {name: value for name, value in asked_before(facts).items() if name == "steps"}
    return {**plan, "settings": {**plan["settings"], **steps}}


def tell_finished(out: Path, facts: Mapping[str, Any]) -> None:
    """Say that a run is returned as it is, and how to go on with it."""
    steps = facts["settings"].get("steps")
    if (begun := _begun(out)) is not None:
        told = "%s is finished already (%d steps); training on to %d was begun, and --steps %d --resume goes on with it"
        logger.info(told, out, steps, begun, begun)
    elif (out / KEPT).is_dir():
        logger.info("%s is finished already (%d steps); --steps N with more of them and --resume goes on", out, steps)
    else:
        logger.info("%s is finished already", out)


def begun_with(learner: Learned, facts: Mapping[str, Any], steps: int) -> Learned:
    """The method as a finished run has it, with another number of steps: what fitting filled in is kept."""
    fields = {field.name for field in dataclasses.fields(learner) if field.init and field.repr}
    had = {name: value for name, value in facts["settings"].items() if name in fields}
    begun = dataclasses.replace(learner, **{**had, "steps": steps})
    prepared = Preprocessing(**facts["preprocessing"])
    begun.masked_, begun.context_ = prepared.mask == "given", prepared.context_channels
    return begun


def _another(learner: Learned, **changes: Any) -> Learned:
    """The method once more, that has learned nothing, for images of the same kind."""
    other = dataclasses.replace(learner, **changes)
    other.masked_, other.context_ = learner.masked_, learner.context_
    return other


def refuse_other_course(out: Path, learner: Learned, facts: Mapping[str, Any], steps: int, machine: Machine) -> None:
    """Say plainly when a longer training would not begin with the one that is done, or its end was not kept.

    Raises:
        RunError: so.
    """
    if (out / DRAFT / "checkpoint").is_dir():
        return
    if why := why_not(begun_with(learner, facts, facts["settings"]["steps"]), facts["shape"], steps, machine):
        raise RunError(
            f"{out} cannot be gone on with to {steps} steps: of {learner.name} {why}, so that it would be another "
            "training than from the start; train anew with another --out"
        )
    if not (out / KEPT).is_dir():
        raise RunError(
            f"{out} holds no {KEPT}/ to go on from (an earlier version made it, or it was removed); train anew with "
            "--steps and another --out"
        )


def why_not(learner: Learned, shape: tuple[int, ...], steps: int, machine: Machine) -> str:
    """Why a training of so many steps would not begin with that of this method as it is set; "" where it would."""
    from anomaly.training.beginnings import unlike

    courses = []
    for each in (learner, _another(learner, steps=steps)):
        each.make(shape, machine, 0)
        courses.append(list(each.stages()))
    return unlike(*courses)


def keep_end(out: Path, learner: Learned, machine: Machine) -> None:
    """Keep the checkpoint after the last step, and a sum of the images, where a longer training may begin with it."""
    from anomaly.training.checkpoints import END

    shutil.rmtree(out / KEPT, ignore_errors=True)
    end = out / "checkpoint" / END
    steps = getattr(learner, "steps", 0)
    if not (steps and end.is_dir()):
        return
    try:
        if why_not(_another(learner), learner.shape_, 2 * steps, machine):
            return
    except Exception as error:  # a method of a user's own that cannot tell its stages twice; its training is done
        logger.debug("%s keeps no end to go on from: %r", learner.name, error)
        return
    part = out / f".{KEPT}.part"
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(end, part)
    write_whole(part / IMAGES, json.dumps({"sha256": sha256_of(out / "checkpoint" / "images.raw")}))
    part.replace(out / KEPT)


def begin(out: Path, plan: Mapping[str, Any], decided: Mapping[str, Any]) -> Path:
    """The folder of the longer training, begun where the finished one ended, unless that was begun before."""
    draft = out / DRAFT
    if (begun := _begun(out)) is not None:
        if begun != plan["settings"]["steps"]:
            raise RunError(
                f"{out} is being trained on to {begun} steps, which is not finished; give --steps {begun} to go on, or "
                f"remove {draft}"
            )
        return draft
    shutil.rmtree(draft, ignore_errors=True)
    part = out / f".{DRAFT}.part"
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(out / KEPT, part / "checkpoint" / FIRST, ignore=shutil.ignore_patterns(IMAGES))
    facts = json.loads((out / KEPT / "checkpoint.json").read_text())
    shutil.copy2(out / "training.csv", part / "training.csv")
    write_whole(
        part / "checkpoint" / FIRST / "checkpoint.json",
        json.dumps({**facts, "seconds": _seconds(out / "training.csv")}, indent=1),
    )
    if (out / "samples").is_dir():
        shutil.copytree(out / "samples", part / "samples")
    write_whole(part / "checkpoint" / "plan.json", json.dumps(plan, indent=1))
    write_whole(part / "checkpoint" / "decided.json", json.dumps(decided))
    part.replace(draft)
    return draft


def check_images(out: Path, draft: Path) -> None:
    """Say so where the images are read otherwise than they were for the run that is gone on with."""
    kept = out / KEPT / IMAGES
    if kept.is_file() and json.loads(kept.read_text())["sha256"] != sha256_of(draft / "checkpoint" / "images.raw"):
        logger.warning(
            "the images are not, value by value, those that %s was trained on (files changed, or another version of a "
            "library reads them): this is no longer what as many steps from the start would give", out,
        )  # fmt: skip


def finish(out: Path) -> None:
    """Move the files of a longer training that is whole to the places of the old run's, `run.json` last.

    It may be repeated where it was cut short: until the end, the new `run.json` lies in the draft.
    """
    from anomaly.training.journal import stop_when_asked

    draft = out / DRAFT
    if not (draft / "run.json").is_file():
        return
    with stop_when_asked() as asked:
        shutil.rmtree(draft / "checkpoint", ignore_errors=True)
        if not json.loads((draft / "run.json").read_text(encoding="utf-8"))["data"].get("unreadable"):
            (out / "errors.csv").unlink(missing_ok=True)
        for path in sorted(draft.iterdir(), key=lambda each: (each.name == "run.json", each.name)):
            if path.is_dir():
                shutil.rmtree(out / path.name, ignore_errors=True)
            path.replace(out / path.name)
        shutil.rmtree(draft, ignore_errors=True)
    if asked.is_set():
        raise KeyboardInterrupt


def _begun(out: Path) -> int | None:
    """To how many steps a longer training was begun that is not finished; None where there is none."""
    folder = out / DRAFT / "checkpoint"
    if not any(folder.glob("[0-9]*")):
        return None
    return int(json.loads((folder / "plan.json").read_text())["settings"]["steps"])


def _seconds(curve: Path) -> float:
    """Since the stage began, as the last row of the curves says."""
    with curve.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    return float(rows[-1]["seconds"]) if rows else 0.0
