"""The command line: each command is a thin wrapper of one public function of the library.

Nothing heavy is imported here; a command imports what it needs when it runs, so `--help` answers at once.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from anomaly.commandline import asking, everywhere, exits, log, options, tables
from anomaly.commands import evaluate, report, score, simulate, train
from anomaly.progression.commands import commands as progress
from anomaly.progression.commands_evolution import forecasters
from anomaly.registration.commands import commands as registering
from anomaly.registration.training import registrars
from anomaly.restoration.commands import commands as restoring
from anomaly.restoration.commands import tables as restoration
from anomaly.runs.facts import DETECTOR, SYNTHESIZER, kind_of
from anomaly.segmentation.commands import commands as segmenting
from anomaly.segmentation.commands import segmenters
from anomaly.synthesis.commands import commands as synthesize
from anomaly.synthesis.commands import synthesizers
from anomaly.translation.commands import commands as translate
from anomaly.translation.commands import translators
from explain.commands import associate, explainers
from explain.commands import commands as explain
from explain.painting.commands import commands as paint
from explain.painting.commands import painters

commands = typer.Typer(
    cls=exits.Commands,
    name="anomaly",
    help="Learn what normal images look like; then say of any image how far it departs, where, and what that predicts.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
commands.add_typer(explain, name="explain")
commands.add_typer(paint, name="paint")
commands.add_typer(registering, name="register")
commands.add_typer(restoring, name="restore")
commands.add_typer(segmenting, name="segment")
commands.add_typer(synthesize, name="synthesize")
commands.add_typer(translate, name="translate")
commands.add_typer(progress, name="progress")


def _version(asked: bool) -> None:
    if asked:
        from anomaly import __version__

        typer.echo(f"anomaly {__version__}")
        raise typer.Exit


@commands.callback()
def program(
    version: Annotated[
        bool, typer.Option("--version", help="Say which version this is.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Learn what normal images look like; then say of any image how far it departs, where, and what that predicts."""


def app() -> None:
    """Run the program: `anomaly COMMAND ...`."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for noisy in ("nibabel", "pydicom", "matplotlib", "numexpr"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    with log.kept():
        _run()


def _run() -> None:
    try:
        commands()
    except OSError as error:
        hint = "what was done is kept, free the disk or mend the path and run the same command again"
        exits.tell(error, f"error: {error}; {hint}")
        raise SystemExit(1) from None
    except ValueError as error:
        code = getattr(error, "exit_code", None)
        if code is None:
            raise
        exits.tell(error, f"error: {error}")
        raise SystemExit(code) from None


@commands.command()
def demo(out: options.Out = Path("anomaly-demo")) -> None:
    """Train, score, evaluate and report on real chest X-rays that come with the program; a few minutes."""
    from anomaly.demonstration.demonstrate import demo as run

    page = run(out)
    typer.echo(f"report: {page}")


@commands.command()
def doctor(
    place: Annotated[
        Path | None,
        typer.Argument(help="Say what is found there too: images, a table of them, or a run.", metavar="DIR|CSV|RUN"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for a program to read.")] = False,
) -> None:
    """Say what this installation is and can do, try it, and look at your images; to be pasted into a report."""
    from anomaly.checkup import checkup

    found = checkup(place)
    typer.echo(found.as_json() if as_json else str(found))
    if not found.fine:
        raise typer.Exit(1)


@commands.command()
def methods(
    name: Annotated[
        str | None,
        typer.Argument(
            help="Say all of this one: every setting and what it means.",
            autocompletion=asking.completing(
                asking.detectors,
                explainers,
                translators,
                registrars,
                segmenters,
                forecasters,
                synthesizers,
                painters,
                asking.kinds,
            ),
        ),
    ] = None,
) -> None:
    """List every method, degradation, analysis and simulated cohort; with a NAME, its settings and their meaning."""
    from anomaly.commandline.listing import about, listing

    tables = {
        "detectors": asking.detectors(),
        "explainers": explainers(),
        **restoration(),
        "translators": translators(),
        "registrars": registrars(),
        "segmenters": segmenters(),
        "forecasters": forecasters(),
        "synthesizers": synthesizers(),
        "painters": painters(),
    }
    typer.echo(listing(tables, asking.kinds()) if name is None else about(name, tables, asking.kinds()))


for command in (train, score, evaluate, associate, simulate):  # in the order in which they are listed
    commands.command()(command)


@commands.command()
@options.shared(options.persons)
def generate(
    context: typer.Context,
    run: Annotated[Path, typer.Argument(help="Run folder of a method that draws images.", metavar="RUN")],
    out: options.Out,
    count: Annotated[int, typer.Option(help="Images to draw, those of earlier calls counted.", min=1)] = 64,
    seed: Annotated[
        int, typer.Option(help="Image i follows from the run, the seed, i and its class alone.", min=0)
    ] = 0,
    class_: options.Class = None,
    real: options.Real = None,
    features: options.Features = None,
    pairs: Annotated[int, typer.Option(help="Most pairs of images whose likeness is measured.", min=1)] = 1000,
    batch: Annotated[int, typer.Option(help="Images drawn at once.", min=1)] = 32,
    for_training: Annotated[
        bool,
        typer.Option(
            "--for-training",
            help="RUN draws from label maps: draw images with label maps to learn from; with --real, say their worth.",
        ),
    ] = False,
    labels: Annotated[
        str | None,
        typer.Option(help="With --for-training: label maps of --real, a column or a folder.", metavar="COLUMN|DIR"),
    ] = None,
    lesions: Annotated[
        str | None,
        typer.Option(help="With --for-training: classes laid from map to map, with commas.", metavar="CLASSES"),
    ] = None,
    allow_overlap: options.AllowOverlap = False,
    device: options.Device = "auto",
    method: options.Own = None,
    **given: Any,
) -> None:
    """Draw new images from a run, and measure how diverse, how like real ones and how new they are."""
    whose = options.whose(given)
    if for_training:
        asking.refuse_typed(
            context,
            ("class_", "features", "method", "batch", "pairs"),
            "is for runs that draw without label maps; leave it out",
        )
        if real is None:
            asking.refuse_typed(
                context,
                ("subject", "subject_pattern", "where", "match", "exclude", "mask", "allow_overlap"),
                "is of the images of --real; give these, or leave it out",
            )
        _draw_for_training(
            run, out, real, labels, whose, lesions, count=count, seed=seed, device=device, allow_overlap=allow_overlap
        )
        return
    asking.refuse_typed(
        context, ("labels", "lesions", "allow_overlap"), "is for --for-training; add it, or leave this out"
    )
    if kind_of(asking.refuse_run(run)) == SYNTHESIZER:
        told = f"{run} draws from label maps; add it, or give label maps to `anomaly synthesize apply`"
        raise typer.BadParameter(told, param_hint="--for-training")
    for each in (run, features):
        if each is not None:
            asking.refuse_run(each, DETECTOR)
    asking.refuse_still(run)
    tables.refuse_images(real, whose)
    from anomaly.generation.generate import generate as draw

    drawn = draw(
        run, out, count=count, seed=seed, classes=class_ or (), real=real, features=features, pairs=pairs, batch=batch,
        device=device, method=method, **whose,
    )  # fmt: skip
    typer.echo("\n".join([f"images: {drawn.table} ({drawn.new} new, {drawn.before} from before)", *drawn.sentences]))
    exits.end_with(drawn.unreadable, out / "errors.csv")


def _draw_for_training(
    run: Path, out: Path, real: Path | None, labels: str | None, whose: dict[str, Any], lesions: str | None, **how: Any
) -> None:
    asking.refuse_run(run, SYNTHESIZER)
    if (real is None) != (labels is None):
        told = "real images are put to use by their label maps; give --real and --labels, or neither"
        raise typer.BadParameter(told, param_hint="--labels")
    if real is not None:
        tables.refuse_images(real, whose)
    from anomaly.synthesis.for_training import draw_for_training
    from anomaly.synthesis.mapped import Mapped

    test = None if real is None or labels is None else Mapped(images=real, labels=labels, **whose)
    names = [name.strip() for name in (lesions or "").split(",") if name.strip()]
    drawn = draw_for_training(run, out, lesions=names, real=test, **how)
    typer.echo("\n".join([f"images with label maps: {drawn.cohort} ({drawn.count})", *drawn.sentences]))
    exits.end_with(drawn.failed, out / "errors.csv")


commands.command()(report)


@commands.command()
def info(run: Annotated[Path, typer.Argument(help="Run folder.", metavar="RUN")]) -> None:
    """Say what a run is: method, settings, data, versions."""
    from anomaly.runs.describing import describe

    typer.echo(describe(run))


@commands.command()
def export(
    runs: Annotated[
        list[Path],
        typer.Argument(
            help="Run folder of a detector, a segmenter, a classifier or an explainer; several detectors or segmenters "
            "are one judge.",
            metavar="RUN...",
        ),
    ],
    onnx: Annotated[bool, typer.Option("--onnx", help="As an ONNX model, for onnxruntime and its like.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder to make; by default RUN/onnx, of a single run.", metavar="DIR")
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            help="Pixels a side of the images that the model takes, as 256 or 256,320, for a segmenter of images of "
            "any size."
        ),
    ] = None,
    method: options.Own = None,
) -> None:
    """Write a run as a model that other programs run, with all they need to know; compared with the run itself."""
    if not onnx:
        raise typer.BadParameter("say what to write; there is one form, ONNX", param_hint="--onnx")
    for run in runs:
        asking.refuse_run(run)
    sides = options.numbers("size", size, int)
    from explain.exporting.export import export as write

    exported = write(runs, out, method=method, size=sides)
    typer.echo(f"model: {exported.folder / 'model.onnx'}\n{exported.told}")


everywhere.furnish(commands, quick=("methods", "info", "doctor"), plain=("demo", "report"))
everywhere.furnish(explain, quick=())
everywhere.furnish(registering, quick=())
everywhere.furnish(restoring, quick=())
everywhere.furnish(segmenting, quick=())
everywhere.furnish(synthesize, quick=())
everywhere.furnish(translate, quick=())
everywhere.furnish(paint, quick=())
everywhere.furnish(progress, quick=())


if __name__ == "__main__":
    app()
