"""`anomaly paint ...`: each command a thin wrapper of one public function, which is imported when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anomaly.commandline import asking, exits, options, tables
from anomaly.commandline.sources import Unknown
from anomaly.runs.facts import PAINTER

if TYPE_CHECKING:
    from anomaly.images.labels import Labels

commands = typer.Typer(
    cls=exits.Commands,
    no_args_is_help=True,
    help="Paint lesions of a class into images and out of them, where masks say where.",
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)

Run = Annotated[Path, typer.Argument(help="Run folder of a painter.", metavar="RUN")]
Masks = Annotated[str, typer.Option("--lesions", help="Masks of lesions: a column or a folder.", metavar="COLUMN|DIR")]
ClassOf = Annotated[str | None, typer.Option("--class", help="Column of the lesions' class.", metavar="COLUMN")]
Classes = Annotated[str | None, typer.Option(help="Which numbers of masks are which class.", metavar="NAME=1+4,...")]
Tissues = Annotated[
    str | None, typer.Option("--labels", help="Label maps of tissues: a column or a folder.", metavar="COLUMN|DIR")
]


def painters() -> dict[str, Any]:
    """Every painter of lesions by its name, as its source says."""
    cls = asking.sources().find("anomaly.painters.lesions", "LesionPainter")
    if isinstance(cls, Unknown):
        from anomaly.painters.lesions import LesionPainter

        cls = LesionPainter
    return {cls.name: cls}


def _named(text: str | None) -> Labels | None:
    if text is None:
        return None
    from anomaly.images.labels import Labels

    return Labels.asked(text)


def _whose(given: dict[str, Any]) -> dict[str, Any]:
    """Whose images are taken; what counts of an image plays no part in painting."""
    whose = options.whose(given)
    if whose.pop("mask", None):
        raise typer.BadParameter("painters know no masks of what counts; leave it out", param_hint="--mask")
    return whose


@commands.command()
@options.shared(options.preparation, options.persons, options.training)
def train(
    images: options.Images,
    lesions: Masks,
    out: Annotated[Path, typer.Option(help="Run folder to make.", metavar="RUN")],
    class_: ClassOf = None,
    classes: Classes = None,
    labels: Tissues = None,
    tissues: Annotated[
        str | None, typer.Option(help="Which numbers of --labels are tissues; else each.", metavar="NAME=1+4,...")
    ] = None,
    method: Annotated[
        str, typer.Option(help="See `anomaly methods`.", autocompletion=asking.completing(painters))
    ] = "lesion-painter",
    set_: options.Settings = None,
    steps: options.Steps = None,
    choose: Annotated[
        float, typer.Option(help="Share of subjects held out, to watch by.", callback=options.share)
    ] = 0.15,
    **given: Any,
) -> None:
    """Learn to paint lesions of a class in and out; images without lesions are the normal ones."""
    with exits.alike():
        settings, whose = options.settings(set_, steps), _whose(given)
        preprocessing, machine = options.preprocessing(given), options.machine(given)
        asking.refuse_method(painters, method, settings)
        asking.refuse_place(out, given["resume"], settings)
        tables.refuse_images(images, whose, class_)
        asked = _named(classes), _named(tissues)
    from explain.painting.cohort import Lesions
    from explain.painting.learning import learn_painter

    told = Lesions(given=lesions, column=class_, classes=asked[0], tissues=labels, of_tissues=asked[1])
    run = learn_painter(
        images, out, told, method=method, settings=settings, preprocessing=preprocessing, choose=choose,
        machine=machine, **whose, **options.chosen(given, "seed", "resume", "save_every", "workers"),
    )  # fmt: skip
    if machine.leads:
        typer.echo(f"run: {run.folder}")
    exits.end_with(run.facts["data"]["unreadable"], run.folder / "errors.csv", told=machine.leads)


@commands.command("out")
@options.shared(options.persons)
def out_(
    run: Run,
    images: options.Images,
    lesions: Masks,
    out: options.Out,
    classes: Classes = None,
    labels: Tissues = None,
    grow: Annotated[int, typer.Option(help="Pixels by which masks are made larger.", min=0)] = 0,
    draws: Annotated[int, typer.Option(help="Paintings of each; their scatter is written.", min=1)] = 1,
    seed: Annotated[int, typer.Option(help="Another one paints otherwise.")] = 0,
    allow_overlap: options.AllowOverlap = False,
    device: options.Device = "auto",
    workers: options.Workers = None,
    **given: Any,
) -> None:
    """Paint lesions out: pseudo-healthy twins, and an explanation that `explain evaluate` takes."""
    with exits.alike():
        whose, asked = _whose(given), _named(classes)
        asking.refuse_run(run, PAINTER)
        tables.refuse_images(images, whose)
    from explain.painting.taking_out import paint_out

    done = paint_out(
        run, images, lesions, out, classes=asked, tissues=labels, grow=grow, draws=draws, seed=seed,
        allow_overlap=allow_overlap, device=device, workers=workers, **whose,
    )  # fmt: skip
    typer.echo(
        f"explanations: {done.path} ({done.new} new, {done.before} from before, {done.failed} unreadable)\n"
        f"images: {done.images} ({done.without} images without lesions were left out)"
    )
    exits.end_with(done.failed, done.errors)


@commands.command("in")
@options.shared(options.persons)
def in_(
    run: Run,
    images: options.Images,
    out: options.Out,
    name: Annotated[str, typer.Option("--class", help="Class of the lesions that are painted.", metavar="NAME")],
    count: Annotated[int | None, typer.Option(help="Cases to make; else one of each image.", min=1)] = None,
    lesions: Annotated[
        str | None, typer.Option(help="Where: a column, or a folder of masks of others.", metavar="COLUMN|DIR")
    ] = None,
    labels: Tissues = None,
    where_label: Annotated[
        str | None, typer.Option(help="Tissues of --labels that lesions lie within, with commas.", metavar="NAMES")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of shapes, places and paintings.")] = 0,
    allow_overlap: options.AllowOverlap = False,
    device: options.Device = "auto",
    workers: options.Workers = None,
    **given: Any,
) -> None:
    """Paint lesions into images without: new cases, with their masks, marked as drawn."""
    with exits.alike():
        whose = _whose(given)
        asking.refuse_run(run, PAINTER)
        tables.refuse_images(images, whose)
    from explain.painting.putting_in import paint_in

    within = [each.strip() for each in (where_label or "").split(",") if each.strip()]
    done = paint_in(
        run, images, name, out, count=count, lesions=lesions, tissues=labels, where_label=within, seed=seed,
        allow_overlap=allow_overlap, device=device, workers=workers, **whose,
    )  # fmt: skip
    typer.echo(
        f"cases: {done.path} ({done.new} new, {done.before} from before, {done.failed} not made)\n"
        f"images: {done.images} ({done.without} images with lesions of their own were left out)"
    )
    exits.end_with(done.failed, done.errors)


@commands.command()
@options.shared(options.persons)
def evaluate(
    run: Run,
    images: options.Images,
    lesions: Masks,
    out: options.Out,
    class_: ClassOf = None,
    classes: Classes = None,
    labels: Tissues = None,
    twin: Annotated[
        str | None, typer.Option(help="Column of the same images without lesions.", metavar="COLUMN")
    ] = None,
    segment: Annotated[
        bool, typer.Option("--segment/--no-segment", help="Whether painted lesions help a segmenter.")
    ] = True,
    judge_steps: Annotated[int, typer.Option(help="Steps of the classifier.", min=1)] = 400,
    segment_steps: Annotated[int, typer.Option(help="Steps of each segmenter.", min=1)] = 400,
    allow_overlap: options.AllowOverlap = False,
    seed: Annotated[int, typer.Option(help="Of paintings, of the judge and of who it learns from.")] = 0,
    device: options.Device = "auto",
    workers: options.Workers = None,
    **given: Any,
) -> None:
    """Say whether lesions look like their class, and whether painted ones help; floors beside."""
    with exits.alike():
        whose, asked = _whose(given), _named(classes)
        asking.refuse_run(run, PAINTER)
        tables.refuse_images(images, whose, class_, twin)
    from explain.painting.evaluating import evaluate_painter

    found = evaluate_painter(
        run, images, lesions, out, column=class_, classes=asked, tissues=labels, twin=twin, segment=segment,
        judge_steps=judge_steps, segment_steps=segment_steps, allow_overlap=allow_overlap, seed=seed, device=device,
        workers=workers, **whose,
    )  # fmt: skip
    typer.echo("\n".join([*found.sentences, "", f"table: {found.path}"]))
    exits.end_with(found.unreadable, found.errors)
