"""What a command was asked for, checked before torch is imported: methods with their settings, and run folders."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import typer

from anomaly.commandline.sources import Function, Sources, Unknown
from anomaly.errors import AnomalyError, EvaluationError, RunError
from anomaly.runs.facts import expect, read_facts
from anomaly.runs.longer import wanted
from anomaly.runs.plans import refuse_taken
from anomaly.runs.settings import checked, known
from anomaly.simulation.asking import asked


@cache
def sources() -> Sources:
    """The project's own source, each module of it read once."""
    return Sources()


def detectors() -> dict[str, Any]:
    """Every detector by its name, as its source says, or where there is no source (a frozen program) the real ones."""
    classes = sources().find("anomaly.detectors.register", "CLASSES")
    if isinstance(classes, Unknown):
        from anomaly.detectors import DETECTORS

        return dict(DETECTORS)
    return {cls.name: cls for cls in classes}


def kinds() -> dict[str, Function]:
    """Every kind of simulated cohort by its name, as its source says."""
    found: dict[str, Function] | Unknown = sources().find("anomaly.simulation.kinds", "KINDS")
    if isinstance(found, Unknown):
        from anomaly.simulation.kinds import KINDS, takes

        return {name: Function(inspect.getdoc(kind) or "", takes(kind)) for name, kind in KINDS.items()}
    return found


def completing(*names: Callable[[], Iterable[str]]) -> Callable[[str], list[str]]:
    """What a shell completes a name to, of these."""
    return lambda incomplete: [name for each in names for name in each() if name.startswith(incomplete)]


def refuse_method(
    methods: Callable[[], Mapping[str, Any]],
    method: str,
    settings: Mapping[str, Any],
    *,
    classes: str | None = None,
    looks: bool = False,
    trained: bool | None = None,
) -> None:
    """Say at once when there is no such method, or it has no such setting, or that may not be so.

    Args:
        methods: all of them by name, as their source says.
        method: the one asked for, or FILE.py:CLASS, whose settings are left to `runs.methods.make`.
        settings: asked of it.
        classes: the column of classes that it is to learn apart.
        looks: whether it is given unlabelled images.
        trained: whether it must be one that is trained, or one that is not.

    Raises:
        AnomalyError: as `runs.methods.make` and its callers would say once torch is there.
    """
    place, colon, name = method.rpartition(":")
    if colon:
        if not Path(place).is_file():
            raise AnomalyError(f"no file {place!r} to take the method {name!r} from; give --method FILE.py:CLASS")
        return
    table = methods()
    cls = known(table, method)
    cls(**checked(cls, settings))
    learns = any(base.__name__ in ("TrainedExplainer", "Learned") for base in cls.__mro__)
    if trained is False and learns:
        raise RunError(f"{method} is trained: `anomaly explain train --method {method}`, then give its run folder")
    if trained is True and not learns:
        raise AnomalyError(f"{method} is not trained; give its name to `anomaly explain map` instead of a run folder")
    if classes is not None and not getattr(cls, "conditional", False):
        able = ", ".join(name for name, each in table.items() if getattr(each, "conditional", False))
        raise AnomalyError(f"{method} learns no classes apart; leave --classes out, or take one of: {able}")
    if looks and not getattr(cls, "looks", False):
        raise AnomalyError(f"{method} makes nothing of unlabelled images; leave --unlabelled out, or take auto")


def refuse_kind(kind: str, settings: Mapping[str, Any]) -> None:
    """Say at once when there is no such kind of simulated cohort, or it has no such setting."""
    asked(kind, {name: each.takes for name, each in kinds().items()}, settings)


def refuse_run(folder: Path, kind: str | None = None) -> dict[str, Any]:
    """Say at once when a folder holds no finished run, or one of another kind; gives what its `run.json` says."""
    facts = read_facts(folder)
    if kind is not None:
        expect(folder, facts, kind)
    return facts


def refuse_typed(context: typer.Context, names: Iterable[str], told: str) -> None:
    """Say at once when options were given that this use of the command would ignore; names as of its arguments."""
    for name in names:
        source = context.get_parameter_source(name)
        if source is not None and source.name not in ("DEFAULT", "DEFAULT_MAP"):
            raise typer.BadParameter(told, param_hint=f"--{name.strip('_').replace('_', '-')}")


def refuse_still(run: Path) -> None:
    """Say at once when a run is of a method that draws no new images."""
    method = read_facts(run)["method"]
    able = [name for name, cls in detectors().items() if getattr(cls, "generates", False)]
    if method in detectors() and method not in able:
        raise AnomalyError(f"{run} is a run of {method}, which draws no new images; train one of {', '.join(able)}")


def refuse_folder(folder: Path, table: str) -> None:
    """Say at once when a folder of results lacks its table; a file is taken for the table."""
    if folder.is_dir() and not (folder / table).is_file() and not any(folder.glob(f"{Path(table).stem}*.csv")):
        made_by = {"scores.csv": "score", "explanations.csv": "explain map"}[table]
        raise EvaluationError(f"{folder} holds no {table}; give a folder that `anomaly {made_by}` wrote")


def refuse_place(out: Path, resume: bool, settings: Mapping[str, Any] = MappingProxyType({})) -> None:
    """Say at once when a folder cannot take a training; a finished one that is to be resumed is given back.

    Where more steps are asked than it has, it is trained on; where fewer, that is said.
    """
    if not (resume and (out / "run.json").is_file()):
        refuse_taken(out, resume)
    else:
        wanted(out, read_facts(out), settings)
