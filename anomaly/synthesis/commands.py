"""`anomaly synthesize ...`: each command a thin wrapper of one public function, which is imported when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from anomaly.commandline import asking, exits, options, tables
from anomaly.commandline.sources import Unknown
from anomaly.errors import CohortError
from anomaly.runs.facts import SEGMENTER, SYNTHESIZER

commands = typer.Typer(
    cls=exits.Commands,
    no_args_is_help=True,
    help="Draw images of label maps: learned, or by the physics of ultrasound.",
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)

Run = Annotated[Path, typer.Argument(help="Run folder of `anomaly synthesize train`.", metavar="RUN")]
Maps = Annotated[
    str, typer.Option("--labels", help="Label maps of images: a column, or a folder.", metavar="COLUMN|DIR")
]
Alone = Annotated[
    Path,
    typer.Option(
        "--labels", help="Label maps, with or without images: a folder, a CSV, a glob in quotes.",
        metavar=options.SOURCE, callback=options.images_there,
    ),
]  # fmt: skip
Column = Annotated[
    str | None, typer.Option(help="Of a CSV: files of label maps; else labels, or path.", metavar="COLUMN")
]
Classes = Annotated[
    str | None,
    typer.Option(help="Numbers of classes, as effusion=6,bone=1+2; else each number its own.", metavar="NAME=N,..."),
]
Tissues = Annotated[
    Path | None,
    typer.Option(
        help="Table of tissues: class, amplitude, density, attenuation, reflection.", metavar="CSV|JSON",
        callback=options.there,
    ),
]  # fmt: skip
Draws = Annotated[int, typer.Option(help="Of each label map.", min=1)]
Seed = Annotated[int, typer.Option(help="Of what is drawn by chance.")]


def synthesizers() -> dict[str, Any]:
    """Every synthesizer by its name, as its source says."""
    classes = asking.sources().find("anomaly.painters.register", "CLASSES")
    if isinstance(classes, Unknown):
        from anomaly.painters.register import CLASSES as classes
    return {cls.name: cls for cls in classes}


def _refuse_labels(images: Path, labels: str, given: dict[str, Any]) -> None:
    """Say at once when there is neither such a folder nor such a column."""
    column = (
        None if Path(labels).is_dir() or (images.parent / labels).is_dir() or (images / labels).is_dir() else labels
    )
    if images.is_dir() and column is not None:
        raise CohortError(f"there is no folder {labels!r} of label maps, and {images} has no columns; correct --labels")
    tables.refuse_images(images, given, column)


@commands.command()
@options.shared(options.preparation, options.persons, options.training)
def train(
    images: options.Images,
    labels: Maps,
    out: Annotated[Path, typer.Option(help="Run folder to make.", metavar="RUN")],
    method: Annotated[
        str, typer.Option(help="See `anomaly methods`.", autocompletion=asking.completing(synthesizers))
    ] = "spade",
    classes: Classes = None,
    tissues: Tissues = None,
    set_: options.Settings = None,
    steps: options.Steps = None,
    choose: Annotated[
        float, typer.Option(help="Share of subjects held out, to watch by.", callback=options.share)
    ] = 0.15,
    **given: Any,
) -> None:
    """Learn from images and their label maps to draw an image of any label map."""
    with exits.alike():
        settings = options.settings(set_, steps)
        preprocessing, machine = options.preprocessing(given), options.machine(given)
        asking.refuse_method(synthesizers, method, settings)
        asking.refuse_place(out, given["resume"], settings)
        whose = options.whose(given)
        _refuse_labels(images, labels, whose)
    from anomaly.synthesis.learning import learn_synthesis
    from anomaly.synthesis.mapped import Mapped
    from anomaly.synthesis.scattering import read_tissues

    run = learn_synthesis(
        Mapped(images=images, labels=labels, **whose), out, method=method, settings=settings,
        preprocessing=preprocessing, classes=classes, tissues=None if tissues is None else read_tissues(tissues),
        choose=choose, machine=machine, **options.chosen(given, "seed", "resume", "save_every", "workers"),
    )  # fmt: skip
    if machine.leads:
        told = ", ".join(f"{name.replace('_', ' ')} {value:.3g}" for name, value in run.facts["held_out"].items())
        typer.echo(f"run: {run.folder}\nheld out: {told}")
    exits.end_with(run.facts["data"]["unreadable"], run.folder / "errors.csv", told=machine.leads)


@commands.command()
@options.shared(options.persons)
def apply(
    run: Run,
    labels: Alone,
    out: options.Out,
    column: Column = None,
    draws: Draws = 1,
    seed: Seed = 0,
    device: options.Device = "auto",
    workers: options.Workers = None,
    **given: Any,
) -> None:
    """Draw images of label maps, on their own grid; what is there already is kept."""
    whose = options.whose(given)
    asking.refuse_run(run, SYNTHESIZER)
    tables.refuse_images(labels, whose, column)
    from anomaly.synthesis.applying import synthesize

    done = synthesize(
        run, labels, out, column=column, draws=draws, seed=seed, device=device, workers=workers, **whose
    )  # fmt: skip
    _tell(done)


@commands.command()
@options.shared(options.persons)
def ultrasound(
    labels: Alone,
    out: options.Out,
    column: Column = None,
    classes: Classes = None,
    tissues: Tissues = None,
    set_: options.Settings = None,
    draws: Draws = 1,
    seed: Seed = 0,
    workers: options.Workers = None,
    **given: Any,
) -> None:
    """Draw ultrasound images of label maps by physics alone: no training, no images."""
    whose = options.whose(given)
    if whose.pop("mask") is not None:
        raise CohortError("ultrasound is drawn of whole label maps; leave --mask out")
    tables.refuse_images(labels, whose, column)
    from anomaly.synthesis.scattering import read_tissues
    from anomaly.synthesis.staged import probe_of, synthesize_ultrasound

    settings = options.settings(set_)
    probe_of(settings)
    done = synthesize_ultrasound(
        labels, out, column=column, classes=classes, tissues=None if tissues is None else read_tissues(tissues),
        settings=settings, draws=draws, seed=seed, workers=workers, **whose,
    )  # fmt: skip
    _tell(done)


@commands.command()
@options.shared(options.persons)
def vary(
    labels: Alone,
    out: options.Out,
    column: Column = None,
    classes: Classes = None,
    lesions: Annotated[
        str | None, typer.Option(help="Classes laid from one person into another, with commas.", metavar="NAMES")
    ] = None,
    bend: Annotated[float, typer.Option(help="Deformation, standard deviation as a share of the side.", min=0)] = 0.02,
    smooth: Annotated[
        float, typer.Option(help="How smooth the deformation is, the same share; twice bend or more.", min=0)
    ] = 0.12,
    mirror: Annotated[
        str | None, typer.Option(help="Axes mirrored by chance, from 0, with commas.", metavar="AXES")
    ] = None,
    chance: Annotated[
        float, typer.Option(help="Of a lesion laid in, asked once for each class of them.", min=0, max=1)
    ] = 0.5,
    removed: Annotated[
        float, typer.Option(help="Chance that a map's own lesions of a class are taken out first.", min=0, max=1)
    ] = 0.25,
    draws: Draws = 1,
    seed: Seed = 0,
    **given: Any,
) -> None:
    """Make label maps of nobody: bent, mirrored, with lesions of others; to be drawn by apply."""
    whose = options.whose(given)
    if whose.pop("mask") is not None:
        raise CohortError("label maps are varied as a whole; leave --mask out")
    axes = options.numbers("mirror", mirror, int)
    tables.refuse_images(labels, whose, column)
    from anomaly.synthesis.varied import Varying
    from anomaly.synthesis.varying import vary_maps

    flips = () if axes is None else axes if isinstance(axes, tuple) else (axes,)
    names = [name.strip() for name in (lesions or "").split(",") if name.strip()]
    varying = Varying(bend=bend, smooth=smooth, mirror=flips, chance=chance, removed=removed)
    done = vary_maps(
        labels, out, column=column, classes=classes, lesions=names, varying=varying, draws=draws, seed=seed, **whose
    )
    typer.echo(f"label maps: {done.path} ({done.count})")
    exits.end_with(done.failed, done.errors)


@commands.command()
@options.shared(options.persons)
def evaluate(
    run: Run,
    images: options.Images,
    labels: Maps,
    out: options.Out,
    segmenter: Annotated[
        Path | None,
        typer.Option(
            help="Segmenter of the same classes, of real images; none asks none; else a small one learns.",
            metavar="RUN2|none",
            callback=options.there_or_none,
        ),
    ] = None,
    allow_overlap: options.AllowOverlap = False,
    seed: Seed = 0,
    device: options.Device = "auto",
    workers: options.Workers = None,
    **given: Any,
) -> None:
    """Say whether drawn images show what label maps say, how near to real they are, and whether they are copies."""
    asking.refuse_run(run, SYNTHESIZER)
    if segmenter is not None and str(segmenter) != "none":
        asking.refuse_run(segmenter, SEGMENTER)
    whose = options.whose(given)
    _refuse_labels(images, labels, whose)
    from anomaly.synthesis.evaluating import evaluate_synthesis
    from anomaly.synthesis.mapped import Mapped

    found = evaluate_synthesis(
        run, Mapped(images=images, labels=labels, **whose), out, segmenter=segmenter, allow_overlap=allow_overlap,
        seed=seed, device=device, workers=workers,
    )  # fmt: skip
    typer.echo("\n".join([*found.sentences, "", f"table: {found.path}"]))
    exits.end_with(found.unreadable, found.errors)


def _tell(done: Any) -> None:
    typer.echo(
        f"drawn: {done.path} ({done.new} label maps new, {done.before} from before, {done.failed} unusable)\n"
        f"images: {done.cohort}"
    )
    exits.end_with(done.failed, done.errors)
