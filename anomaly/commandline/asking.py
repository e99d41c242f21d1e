"""What a command was asked for, checked before torch is imported: methods with their settings, and run folders."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from anomaly.commandline.sources import Function, Sources
from anomaly.errors import AnomalyError
from anomaly.runs.facts import expect, read_facts
from anomaly.runs.plans import refuse_taken
from anomaly.runs.settings import checked, known
from anomaly.simulation.asking import asked
from anomaly.training.journal import TOLD
from anomaly.training.machine import Machine


@cache
def sources() -> Sources:
    """The project's own source, each module of it read once."""
    return Sources()


def detectors() -> dict[str, Any]:
    """Every detector by its name, as its source says."""
    return {cls.name: cls for cls in sources().find("anomaly.detectors.register", "CLASSES")}


def explainers() -> dict[str, Any]:
    """Every explainer by its name, as its source says."""
    places: Mapping[str, str] = sources().find("explain", "_EXPLAINERS")
    return {cls.name: cls for name, module in places.items() for cls in [sources().find(module, name)]}


def classifiers() -> dict[str, Any]:
    """The classifier by its name, as its source says."""
    cls = sources().find("explain.classifier", "Classifier")
    return {cls.name: cls}


def kinds() -> dict[str, Function]:
    """Every kind of simulated cohort by its name, as its source says."""
    found: dict[str, Function] = sources().find("anomaly.simulation.kinds", "KINDS")
    return found


@contextmanager
def told_once(machine: Machine) -> Iterator[None]:
    """What is refused inside is refused in all processes of a training alike, and told by the first of them."""
    try:
        yield
    except AnomalyError as error:
        if not machine.first:
            error.add_note(TOLD)
        raise


def refuse_method(methods: Callable[[], Mapping[str, Any]], method: str, settings: Mapping[str, Any]) -> None:
    """Say at once when there is no such method, or it has no such setting, or that may not be so.

    Raises:
        AnomalyError: as `runs.methods.make` would say once torch is there. A method of the user's own is left to it.
    """
    place, colon, _ = method.rpartition(":")
    if not colon:
        cls = known(methods(), method)
        cls(**checked(cls, settings))
    elif not Path(place).is_file():
        raise AnomalyError(f"no file {place} to take the method from; give --method FILE.py:CLASS")


def refuse_kind(kind: str, settings: Mapping[str, Any]) -> None:
    """Say at once when there is no such kind of simulated cohort, or it has no such setting."""
    asked(kind, {name: each.takes for name, each in kinds().items()}, settings)


def refuse_run(folder: Path, kind: str | None = None) -> dict[str, Any]:
    """Say at once when a folder holds no finished run, or one of another kind; gives what its `run.json` says."""
    facts = read_facts(folder)
    if kind is not None:
        expect(folder, facts, kind)
    return facts


def refuse_place(out: Path, resume: bool) -> None:
    """Say at once when a folder cannot take a training; a finished one that is to be resumed is given back."""
    if not (resume and (out / "run.json").is_file()):
        refuse_taken(out, resume)
