"""`anomaly explain train`, `classifier` and `calibrate`: thin wrappers of public functions, imported when they run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anomaly.commandline import asking, exits, options, tables
from anomaly.errors import AnomalyError
from anomaly.runs.facts import EXPLAINER
from explain.commands.shared import Generator, Target, classifiers, commands, explainers, refuse_runs

if TYPE_CHECKING:
    from explain.checking import Calibrated

Moved = Annotated[
    Path | None,
    typer.Option(help="Folder that now holds the run's images, if they were moved.", metavar="DIR"),
]


def sides(
    cases: Annotated[
        Path | None, typer.Option(help="Folder or CSV of cases, or a glob in quotes.", metavar=options.SOURCE)
    ] = None,
    controls: Annotated[
        Path | None, typer.Option(help="Folder or CSV of controls, or a glob in quotes.", metavar=options.SOURCE)
    ] = None,
    cohort: Annotated[Path | None, typer.Option(help="Instead: one table of both.", metavar="CSV")] = None,
    outcome: options.Outcome = None,
    positive: options.Positive = None,
    set_: options.Settings = None,
    steps: options.Steps = None,
    choose: Annotated[
        float, typer.Option(help="Share of subjects held out, to watch and to stop by.", callback=options.share)
    ] = 0.15,
    dry_run: options.DryRun = False,
) -> None:
    """Cases and controls to learn from, and by which settings."""


@commands.command()
@options.shared(sides, options.preparation, options.persons, options.training)
def train(
    out: Annotated[Path, typer.Option(help="Run folder to make.", metavar="RUN")],
    method: Annotated[
        str, typer.Option(help="See `anomaly methods`; or FILE.py:CLASS.", autocompletion=asking.completing(explainers))
    ] = "additive",
    pair: Annotated[
        str | None,
        typer.Option(help="With --cohort: column with each image's counterpart, for pairs.", metavar="COLUMN"),
    ] = None,
    target: Target = None,
    generator: Generator = None,
    nuisance: Annotated[
        str | None, typer.Option(help="latent-walk: columns not to change, with commas, as age,sex.", metavar="COLUMNS")
    ] = None,
    permuted: Annotated[
        int,
        typer.Option(
            help="Afterwards so many trainings as long on permuted labels: what they draw is taken off all maps.", min=0
        ),
    ] = 0,
    **given: Any,
) -> None:
    """Learn from cases and controls how a case would look as a control.

    With --permuted the run is finished and of use before the trainings on permuted labels begin. Stopped there, the
    same command with --resume goes on, or `anomaly explain calibrate`.
    """
    _learn(
        lambda: {**explainers(), **classifiers()},
        out,
        method=method,
        pair=pair,
        target=target,
        generator=generator,
        nuisance=nuisance,
        permuted=permuted,
        **given,
    )


@commands.command()
@options.shared(sides, options.preparation, options.persons, options.training)
def classifier(
    out: Annotated[Path, typer.Option(help="Run folder to make.", metavar="RUN")],
    **given: Any,
) -> None:
    """Learn to tell cases from controls: to be explained, or to judge what explainers draw."""
    _learn(classifiers, out, method="classifier", **given)


def _learn(
    methods: Callable[[], Mapping[str, Any]],
    out: Path,
    *,
    method: str,
    pair: str | None = None,
    target: Path | None = None,
    generator: Path | None = None,
    nuisance: str | None = None,
    permuted: int = 0,
    **given: Any,
) -> None:
    """Train what was asked for, with the options that both commands have."""
    with exits.alike():
        settings, whose = options.settings(given["set_"], given["steps"]), options.whose(given)
        preprocessing, machine = options.preprocessing(given), options.machine(given)
        asking.refuse_method(methods, method, settings, trained=True)
        refuse_runs({"--target": target, "--generator": generator})
        asking.refuse_place(out, given["resume"], settings)
        for side in ("cases", "controls", "cohort"):
            options.images_there(given[side])
        tables.refuse_sides({**given, **whose}, pair)
        _refuse_beside(methods, method, pair=pair, target=target, generator=generator)
        if permuted:
            _refuse_permuted(methods, method, machine.processes * machine.nodes)
    from explain.sides.sides import Sides

    sides = Sides(pair=pair, **whose, **options.chosen(given, "cases", "controls", "cohort", "outcome", "positive"))
    asked: dict[str, Any] = dict(
        method=method, settings=settings, preprocessing=preprocessing, target=target, generator=generator,
        nuisance=nuisance or (), machine=machine,
        **options.chosen(given, "choose", "seed", "resume", "save_every", "workers"),
    )  # fmt: skip
    if given["dry_run"]:
        from explain.runs.foreseeing import foresee

        typer.echo(foresee(sides, out, **asked).told())
        if permuted:
            typer.echo(f"and {permuted} more as long, on permuted labels")
        return
    from explain.runs.learning import learn

    run = learn(sides, out, **asked)
    if machine.leads:
        told = ", ".join(f"{name.replace('_', ' ')} {value:.3g}" for name, value in run.facts["held_out"].items())
        typer.echo(f"run: {run.folder}\nheld out: {told}")
    if permuted:
        from explain.checking import calibrate as calibrate_

        own = method if ":" in method else None
        options_ = options.chosen(given, "seed", "device", "save_every", "workers")
        found = calibrate_(run.folder, permuted=permuted, method=own, **options_)
        _tell(found)
    exits.end_with(run.facts["data"]["unreadable"], run.folder / "errors.csv", told=machine.leads)


def _tell(found: Calibrated) -> None:
    """What a calibration found, and where it is written, if it could tell anything."""
    typer.echo(found.sentence + (f"\ncalibration: {found.path}" if found.calibration is not None else ""))


def _refuse_permuted(methods: Callable[[], Mapping[str, Any]], method: str, processes: int) -> None:
    """Say at once when trainings on permuted labels would say nothing of a method, or cannot be done as asked."""
    cls = methods().get(method)
    if getattr(cls, "paired", False) or getattr(cls, "takes_target", False) or method in classifiers():
        raise AnomalyError(
            f"{method} does not learn from cases and controls alone how to draw them, so permuted labels say nothing "
            "of it; leave --permuted out"
        )
    if processes > 1:
        raise AnomalyError(
            f"labels are permuted in one process, and {processes} were asked for; leave --permuted out, and calibrate "
            "the finished run by `anomaly explain calibrate`"
        )


def _refuse_beside(methods: Callable[[], Mapping[str, Any]], method: str, **given: str | Path | None) -> None:
    """Say at once when a method that is trained lacks what it learns from beside images, or is given too much."""
    cls = methods().get(method)
    if cls is None:  # FILE.py:CLASS
        return
    if getattr(cls, "paired", False) and given["pair"] is None:
        raise AnomalyError(
            f"{method} learns from pairs; give --cohort with --pair, the column that names each image's counterpart"
        )
    takes = getattr(cls, "takes_target", False)
    if not takes and given["target"] is not None:
        raise AnomalyError(f"{method} learns from cases and controls alone and takes no target; leave it out")
    if takes and given["target"] is None:
        raise AnomalyError(f"{method} explains a target; give --target, the run folder of a classifier or a detector")
    if given["generator"] is not None and not getattr(cls, "takes_generator", False):
        raise AnomalyError(f"{method} takes no generator; leave --generator out, or take latent-walk")


@commands.command()
def calibrate(
    run: Annotated[Path, typer.Argument(help="Run folder of an explainer of cases and controls.", metavar="RUN")],
    permuted: Annotated[int, typer.Option(help="Trainings on permuted labels; each must hold.", min=1)] = 1,
    allowed: Annotated[
        float,
        typer.Option(help="Share of the real maps that maps of nothing may keep.", callback=options.share),
    ] = 0.05,
    images: Moved = None,
    seed: Annotated[int | None, typer.Option(help="Of the permutations; as begun, or 0, unless given.")] = None,
    method: options.Own = None,
    device: options.Device = "auto",
    save_every: Annotated[int, typer.Option(help="Steps between two checkpoints.", min=1)] = 500,
    workers: options.Workers = None,
) -> None:
    """Measure how much is drawn if labels mean nothing, and take it off all maps.

    Trains as long again on permuted labels, in the run folder; where maps are next to nothing it cannot tell, and
    trains nothing. That is a finding, not an error, and so is that nothing holds. When stopped, the run is as it was,
    and the same command goes on.
    """
    asking.refuse_run(run, EXPLAINER)
    from explain.checking import calibrate as calibrate_

    found = calibrate_(
        run, permuted=permuted, allowed=allowed, images=images, seed=seed, method=method, device=device,
        save_every=save_every, workers=workers,
    )  # fmt: skip
    _tell(found)
    exits.end_with(found.unreadable, found.errors)
