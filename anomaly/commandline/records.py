"""What folders of this program say of how they were made, as options of the command that made them."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

import typer

from anomaly.runs.facts import CLASSIFIER, EXPLAINER, FORECASTER, PAINTER, REGISTRAR, RESTORER, TRANSLATOR, kind_of
from anomaly.runs.plans import ASKED

logger = logging.getLogger(__name__)
Facts = Mapping[str, Any]
ELSEWHERE = ("mask", "context")
"""What is prepared by options that are not of preparation."""


@dataclass(frozen=True)
class Record:
    """One kind of file.

    Args:
        name: of the file.
        says: entries that tell it from others.
        commands: those that it is options of, by what else stands in it.
        options: of such a command, by their names; the file's facts and its folder are given.
    """

    name: str
    says: tuple[str, ...]
    commands: Callable[[Facts], tuple[str, ...]]
    options: Callable[[Facts, Path], dict[str, Any]]


def record_of(facts: Facts) -> Record | None:
    """The kind of file that these facts are of; None where they are none of this program's."""
    return next((each for each in RECORDS if all(name in facts for name in each.says)), None)


def _trainers(facts: Facts) -> tuple[str, ...]:
    explaining = {EXPLAINER: ("explain train",), CLASSIFIER: ("explain train", "explain classifier")}
    drawing = {
        TRANSLATOR: ("translate train",), RESTORER: ("restore train",), FORECASTER: ("progress train",),
        REGISTRAR: ("register train",), PAINTER: ("paint train",),
    }  # fmt: skip
    return {**explaining, **drawing}.get(kind_of(facts), ("train",))


def _of_training(facts: Facts, folder: Path) -> dict[str, Any]:
    """Method, settings as they were asked, preparation, seed, shares and precision; not whose images."""
    code, classes, degradation = facts.get("code"), facts.get("classes") or {}, facts.get("degradation") or {}
    done_to_images = degradation.get("settings") or {}
    settings = {name: value for name, value in facts.get(ASKED, facts["settings"]).items() if name != "classes"}
    found = {
        **_preparation(facts["preprocessing"]),
        "method": f"{code['path']}:{facts['method']}" if code else facts["method"],
        "set": settings | {name: tuple(v) if isinstance(v, list) else v for name, v in done_to_images.items()},
        "degrade": degradation.get("name"),
        "pairs": facts.get("pairs"),
        "classes": classes.get("column"),
        "context": facts["preprocessing"].get("context"),
        **{name: facts.get(name) for name in ("seed", "choose", "calibrate", "precision", "nuisance")},
    }
    found |= {name: (facts.get("pairing") or {}).get(name) for name in ("visits", "start", "date", "which")}
    for name in ("target", "generator"):
        if place := (facts.get(name) or {}).get("folder"):
            found[name] = _from(folder, place)
    if facts["preprocessing"].get("mask") == "given":
        found["mask"] = "mask"  # the column; where that is not there, masks have to be given, and that is said
    if facts.get("unlabelled"):
        logger.warning("%s was shown unlabelled images; give --unlabelled to repeat that", folder)
    return found


def _preparation(facts: Facts) -> dict[str, Any]:
    """The options of preparation; what no option can ask for is refused, if it is not as by default."""
    from anomaly.commandline.options import preparation
    from anomaly.images.preprocessing import Preprocessing

    asked = preparation.__annotations__
    usual = {each.name: each.default for each in fields(Preprocessing) if each.default is not MISSING}
    for name, value in facts.items():
        was = tuple(value) if isinstance(value, list) else value
        if name not in (*asked, *ELSEWHERE) and was != usual.get(name):
            told = f"its images were prepared with {name}={value}, which no option asks for; repeat it in Python"
            raise typer.BadParameter(told)
    options = {name: value for name, value in facts.items() if name in asked}
    return {**options, "size": 0 if options.get("size") is None else options["size"]}


def _of_scores(facts: Facts, folder: Path) -> dict[str, Any]:
    """Runs and settings, the refusal of what is unlike among them; not whose images, nor where their masks are."""
    from anomaly.cohorts.masks import COLUMN as MASK

    runs = [_from(folder, each) for each in facts.get("runs", ())]
    if facts.get("masks") and facts["masks"] != f"the column {MASK}":  # which is found again without being asked for
        logger.warning("%s was scored with masks, by %s; give --mask again", folder, facts["masks"])
    kept = ("alpha", "heatmaps", "allow_overlap", "refuse_unlike")
    return {"runs": runs, **{name: facts[name] for name in kept if facts.get(name) is not None}}


def _of_explanations(facts: Facts, folder: Path) -> dict[str, Any]:
    runs = {name: _from(folder, each) for name, each in (facts.get("runs") or {}).items()}
    named = runs.get("source", "") and not Path(runs["source"]).is_dir()
    source = facts["runs"]["source"] if named else runs.get("source")
    settings = {"set": facts["settings"]} if named else {}  # a run has its settings in itself
    return {**runs, "source": source, **settings, "outputs": facts["outputs"], "controls": facts.get("controls")}


def _of_evaluation(facts: Facts, folder: Path) -> dict[str, Any]:
    followed = facts.get("time") is not None and facts.get("outcome") == facts.get("event")
    return {**facts, "outcome": None} if followed else dict(facts)


def _of_association(facts: Facts, folder: Path) -> dict[str, Any]:
    return {**facts, "pooled": not facts.get("robust", True)}


def _from(folder: Path, place: str) -> str:
    return os.path.normpath(folder / place)


def _always(*names: str) -> Callable[[Facts], tuple[str, ...]]:
    return lambda facts: names


def plain(value: Any) -> Iterator[str]:
    """A value of JSON as the texts that would be typed for it: of a list several, of names with values NAME=VALUE."""
    if isinstance(value, Mapping):
        yield from (f"{name}={each}" for name, each in value.items())
    elif isinstance(value, list | tuple):
        yield from (str(each) for each in value)
    else:
        yield str(value)


RECORDS = (
    Record("run.json", ("format", "checksum", "settings", "preprocessing"), _trainers, _of_training),
    Record("score.json", ("weights", "alpha", "heatmaps"), _always("score"), _of_scores),
    Record("explain.json", ("source", "outputs", "thresholds"), _always("explain map"), _of_explanations),
    Record("association.json", ("headline", "permutations"), _always("associate"), _of_association),
    Record("evaluation.json", ("headline", "notes", "scores"), _always("evaluate"), _of_evaluation),
)
