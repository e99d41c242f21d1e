"""`anomaly restore train | apply | evaluate`: each a thin wrapper of one public function; nothing heavy is imported."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from anomaly.commandline import asking, exits, options
from anomaly.commandline.sources import Unknown
from anomaly.commandline.tables import refuse_images
from anomaly.errors import RunError
from anomaly.restorers.asking import refuse_source, told_apart
from anomaly.runs.facts import DETECTOR, RESTORER, A, kind_of

commands = typer.Typer(
    cls=exits.Commands,
    no_args_is_help=True,
    help="Learn to undo what makes scans poor, draw how they may have been, and say how near that comes.",
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
Run = Annotated[Path, typer.Argument(help="Run folder of `anomaly restore train`.", metavar="RUN")]
Pairs = Annotated[
    str | None,
    typer.Option(help="Images are poor; this column names the good one of each: a file or an id.", metavar="COLUMN"),
]


def degradations() -> dict[str, Any]:
    """Every degradation by its name, as its source says."""
    found = asking.sources().find("anomaly.degradations.register", "DEGRADATIONS")
    if isinstance(found, Unknown):
        from anomaly.degradations.register import DEGRADATIONS as found
    return dict(found)


def restorers() -> dict[str, Any]:
    """The restorer by its name, as its source says."""
    cls = asking.sources().find("anomaly.translators.restorer", "Restorer")
    if isinstance(cls, Unknown):
        from anomaly.translators.restorer import Restorer

        cls = Restorer
    return {cls.name: cls}


def tables() -> dict[str, dict[str, Any]]:
    """What `anomaly methods` lists: restorers, and degradations to undo."""
    return {"restorers": restorers(), "degradations": degradations()}


def preparation(
    dims: Annotated[int, typer.Option(help="2 (pictures, or volumes slice by slice) or 3 (volumes).")] = 2,
    orientation: Annotated[str, typer.Option(help="Axes of volumes, as RAS; or keep.")] = "RAS",
    slices: Annotated[str, typer.Option(help="With --dims 2 on volumes: axial, sagittal, coronal.")] = "axial",
    intensity: Annotated[
        str, typer.Option(help="What becomes black and white: percentile, range, window, zscore, none.")
    ] = "percentile",
    window: Annotated[str | None, typer.Option(help="LOW,HIGH for --intensity window, as -1000,400.")] = None,
    channels: Annotated[int, typer.Option(help="Channels of the images: 1 grey, 3 colour.", min=1)] = 1,
) -> None:
    """How images are scaled, and volumes taken apart; they keep their own grid."""


def persons() -> None:
    """Whose images, and which; masks, of which restoring makes nothing, are not shown, and refused in words."""


_WHOSE = inspect.signature(options.persons, eval_str=True)
_HIDDEN = Annotated[str | None, typer.Option(hidden=True)]
persons.__signature__ = _WHOSE.replace(  # type: ignore[attr-defined]
    parameters=[
        each.replace(annotation=_HIDDEN) if name == "mask" else each for name, each in _WHOSE.parameters.items()
    ]
)


@commands.command()
@options.shared(preparation, persons, options.training)
def train(
    images: options.Images,
    out: Annotated[Path, typer.Option(help="Run folder to make.", metavar="RUN")],
    degrade: Annotated[
        str | None,
        typer.Option(
            help="What is done to good images, to be undone: see `anomaly methods`.",
            autocompletion=asking.completing(degradations),
        ),
    ] = None,
    pairs: Pairs = None,
    set_: options.Settings = None,
    steps: options.Steps = None,
    choose: Annotated[
        float, typer.Option(help="Share of subjects held out, to watch and judge by.", callback=options.share)
    ] = 0.1,
    dry_run: options.DryRun = False,
    **given: Any,
) -> None:
    """Learn to undo what makes images poor, from good ones or from pairs."""
    with exits.alike():
        settings, whose = options.settings(set_, steps), _whose(given)
        refuse_source(degrade, pairs, degradations())
        told_apart(settings, restorers()["restorer"], None if degrade is None else degradations()[degrade])
        preprocessing, machine = _preprocessing(given), options.machine(given)
        asking.refuse_place(out, given["resume"], settings)
        refuse_images(images, whose, pairs)
    asked: dict[str, Any] = dict(
        degrade=degrade, pairs=pairs, settings=settings, preprocessing=preprocessing, choose=choose, machine=machine,
        **whose, **options.chosen(given, "seed", "resume", "save_every", "workers"),
    )  # fmt: skip
    if dry_run:
        from anomaly.restorers.foreseeing import foresee_restorer

        typer.echo(foresee_restorer(images, out, **asked).told())
        return
    from anomaly.restorers.learning import learn_restorer

    run = learn_restorer(images, out, **asked)
    if machine.leads:
        told = run.facts["held_out"]
        typer.echo(f"run: {run.folder}\nheld out: PSNR {told['psnr']:.2f} dB, before {told['psnr_before']:.2f} dB")
    exits.end_with(run.facts["data"]["unreadable"], run.folder / "errors.csv", told=machine.leads)


@commands.command()
@options.shared(persons)
def apply(
    run: Run,
    images: options.Images,
    out: options.Out,
    degrade: Annotated[bool, typer.Option("--degrade", help="Make images poor first, to see what comes back.")] = False,
    holes: Annotated[
        str | None,
        typer.Option(
            help="Masks of what is to be drawn, where a run fills holes: a folder, a pattern, a column.",
            metavar="DIR|GLOB|COLUMN",
        ),
    ] = None,
    allow_overlap: options.AllowOverlap = False,
    seed: Annotated[int, typer.Option(help="Of what --degrade does.")] = 0,
    device: options.Device = "auto",
    workers: options.Workers = None,
    **given: Any,
) -> None:
    """Draw of every image how it may have been before it became poor; files say that they were drawn."""
    whose = _whose(given)
    _refuse_run(run, DETECTOR, RESTORER)
    refuse_images(images, whose)
    from anomaly.restoration.restoring import restore

    done = restore(
        run, images, out, degrade=degrade, holes=holes, allow_overlap=allow_overlap, seed=seed, device=device,
        workers=workers, **whose,
    )  # fmt: skip
    typer.echo(f"restored: {done.path} ({done.new} new, {done.before} from before, {done.failed} unreadable)")
    exits.end_with(done.failed, done.errors)


@commands.command()
@options.shared(options.persons)
def evaluate(
    run: Run,
    images: options.Images,
    out: options.Out,
    pairs: Pairs = None,
    judge: Annotated[
        Path | None,
        typer.Option(help="Run of a detector, asked of good, poor and restored images.", metavar="RUN"),
    ] = None,
    outcome: options.Outcome = None,
    positive: options.Positive = None,
    allow_overlap: options.AllowOverlap = False,
    seed: Annotated[int, typer.Option(help="Of the degradation and of the bootstrap.")] = 0,
    device: options.Device = "auto",
    workers: options.Workers = None,
    **given: Any,
) -> None:
    """Make good images poor, restore them, and say how near they come, beside what needs no learning."""
    whose = options.whose(given)
    _refuse_run(run, RESTORER)
    if judge is not None:
        asking.refuse_run(judge, DETECTOR)
    refuse_images(images, whose, pairs, outcome)
    from anomaly.restoration.evaluating import evaluate_restorer

    found = evaluate_restorer(
        run, images, out, pairs=pairs, judge=judge, outcome=outcome, positive=positive, allow_overlap=allow_overlap,
        seed=seed, device=device, workers=workers, **whose,
    )  # fmt: skip
    typer.echo("\n".join([*found.sentences, f"page: {found.page}"]))
    exits.end_with(found.failed, found.errors)


def _whose(given: Mapping[str, Any]) -> dict[str, Any]:
    """Whose images are taken; masks mean something in an evaluation alone."""
    if given["mask"] not in (None, "none"):
        told = "restoring makes nothing of masks of what counts; leave it out (`restore evaluate` takes it)"
        raise typer.BadParameter(told, param_hint="--mask")
    whose = options.whose(given)
    del whose["mask"]
    return whose


def _preprocessing(given: Mapping[str, Any]) -> Any:
    from anomaly.images.preprocessing import Preprocessing

    asked = options.chosen(given, "dims", "orientation", "slices", "intensity", "channels")
    return Preprocessing(**asked, size=None, window=options.numbers("window", given["window"], float))


def _refuse_run(run: Path, *kinds: str) -> None:
    """Say at once when a folder holds no run that restores."""
    facts = asking.refuse_run(run)
    if kind_of(facts) not in kinds or (kind_of(facts) == DETECTOR and facts["method"] != "restoration"):
        raise RunError(
            f"{run} holds {A[kind_of(facts)]} ({facts['method']}), which restores nothing; give a folder made by "
            "`anomaly restore train`" + (" or `anomaly train --method restoration`" if DETECTOR in kinds else "")
        )
