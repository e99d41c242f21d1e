"""`anomaly segment train | apply | evaluate`: each a thin wrapper of one public function; nothing heavy is imported."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from anomaly.commandline import asking, exits, options, tables
from anomaly.commandline.sources import Unknown
from anomaly.errors import AnomalyError
from anomaly.runs.facts import SEGMENTER

commands = typer.Typer(
    cls=exits.Commands,
    no_args_is_help=True,
    help="Learn from label maps, few or many, to say of each pixel which class it is; and say how well that is done.",
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
Labels = Annotated[str, typer.Option(help="Label maps: a column of the table, or a folder.", metavar="COLUMN|DIR")]
Classes = Annotated[
    str | None,
    typer.Option(help="NAME=NUMBER with commas, as tumour=1+4,cyst=2; else each number is one.", metavar="CLASSES"),
]


def segmenters() -> dict[str, Any]:
    """Every segmenter by its name, as its source says."""
    found = asking.sources().find("anomaly.segmenters.register", "SEGMENTERS")
    if isinstance(found, Unknown):
        from anomaly.segmenters.register import SEGMENTERS as found
    return dict(found)


def preparation() -> None:
    """How images are prepared; at their own size unless told otherwise."""


_PREPARED = inspect.signature(options.preparation, eval_str=True)
preparation.__signature__ = _PREPARED.replace(  # type: ignore[attr-defined]
    parameters=[each.replace(default="0") if name == "size" else each for name, each in _PREPARED.parameters.items()]
)


@commands.command()
@options.shared(preparation, options.persons, options.training)
def train(
    labelled: Annotated[
        Path,
        typer.Option(
            help="Folder or CSV of images that have label maps.",
            metavar=options.SOURCE,
            callback=options.images_there,
        ),
    ],
    labels: Labels,
    out: Annotated[Path, typer.Option(help="Run folder to make.", metavar="RUN")],
    classes: Classes = None,
    unlabelled: Annotated[
        Path | None,
        typer.Option(
            help="Folder or CSV of images without, for a method that learns from such.",
            metavar=options.SOURCE,
            callback=options.images_there,
        ),
    ] = None,
    method: Annotated[
        str, typer.Option(help="See `anomaly methods`.", autocompletion=asking.completing(segmenters))
    ] = "supervised",
    set_: options.Settings = None,
    steps: options.Steps = None,
    labelled_where: Annotated[
        list[str] | None,
        typer.Option(help="As --where, of --labelled alone, as site=0; repeatable.", metavar="COL=VAL"),
    ] = None,
    unlabelled_where: Annotated[
        list[str] | None,
        typer.Option(help="As --where, of --unlabelled alone, as site=1; repeatable.", metavar="COL=VAL"),
    ] = None,
    choose: Annotated[
        float | None,
        typer.Option(
            help="Share of labelled subjects held out, to choose weights by; 0 none.  [default: 0.15 of 8 or more]"
        ),
    ] = None,
    marked: Annotated[
        float, typer.Option(help="Share of windows around a marked pixel, each class as likely.", min=0, max=1)
    ] = 0.5,
    dry_run: options.DryRun = False,
    **given: Any,
) -> None:
    """Learn to say of each pixel which class it is, from images with label maps and perhaps others without."""
    with exits.alike():
        settings, whose = options.settings(set_, steps), options.whose(given)
        preprocessing, machine = options.preprocessing(given), options.machine(given)
        asking.refuse_method(segmenters, method, settings)
        _refuse_sides(method, unlabelled)
        asking.refuse_place(out, given["resume"], settings)
        own = {
            "labelled_where": options.conditions(labelled_where),
            "unlabelled_where": options.conditions(unlabelled_where),
        }
        _refuse_tables(labelled, labels, unlabelled, whose, own)
    from anomaly.segmentation.annotations import Annotations

    every: dict[str, Any] = {**own, **whose}
    found = Annotations(labelled=labelled, labels=labels, classes=classes, unlabelled=unlabelled, **every)
    asked: dict[str, Any] = dict(
        method=method, settings=settings, preprocessing=preprocessing, choose=choose, marked=marked, machine=machine,
        **options.chosen(given, "seed", "resume", "save_every", "workers"),
    )  # fmt: skip
    if dry_run:
        from anomaly.segmentation.foreseeing import foresee_segmentation

        typer.echo(foresee_segmentation(found, out, **asked).told())
        return
    from anomaly.segmentation.learning import learn_segmentation
    from anomaly.segmentation.run import dice_in_short

    run = learn_segmentation(found, out, **asked)
    if machine.leads:
        typer.echo(f"run: {run.folder}\nheld out: {dice_in_short(run.facts['held_out'])}")
    exits.end_with(run.facts["data"]["unreadable"], run.folder / "errors.csv", told=machine.leads)


@commands.command()
@options.shared(options.persons)
def apply(
    runs: Annotated[list[Path], typer.Argument(help="Run folders; several are an ensemble.", metavar="RUN...")],
    images: options.Images,
    out: options.Out,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Write the probability of each class as well.")
    ] = False,
    uncertainty: Annotated[
        bool, typer.Option("--uncertainty", help="Write how unsure each pixel is as well, 0 to 1.")
    ] = False,
    dropout_draws: Annotated[
        int, typer.Option(help="Looks with channels dropped by chance, whose mean is taken.", min=0)
    ] = 0,
    largest: Annotated[
        str | None, typer.Option(help="Classes of which the largest piece is kept, with commas.", metavar="CLASSES")
    ] = None,
    smallest: Annotated[
        float, typer.Option(help="Pieces below this many mm3 (mm2, pixels) are taken away.", min=0)
    ] = 0.0,
    allow_overlap: options.AllowOverlap = False,
    device: options.Device = "auto",
    workers: options.Workers = None,
    **given: Any,
) -> None:
    """Say of each pixel of images which class it is, on their own grid; what is there already is kept."""
    whose = options.whose(given)
    for each in runs:
        asking.refuse_run(each, SEGMENTER)
    tables.refuse_images(images, whose)
    from anomaly.segmentation.segmenting import segment

    done = segment(
        runs, images, out, probabilities=probabilities, uncertainty=uncertainty, dropout_draws=dropout_draws,
        largest=_names(largest), smallest=smallest, allow_overlap=allow_overlap, device=device, workers=workers,
        **whose,
    )  # fmt: skip
    typer.echo(
        f"segmentations: {done.path} ({done.new} new, {done.before} from before, {done.failed} unreadable)\n"
        f"images: {done.cohort}"
    )
    exits.end_with(done.failed, done.errors)


@commands.command()
def evaluate(
    segmentations: Annotated[
        Path,
        typer.Argument(
            help="segmentations.csv, its folder, or another table or folder of label maps.",
            metavar="CSV|DIR",
            callback=options.there,
        ),
    ],
    labels: Labels,
    out: options.Out,
    cohort: Annotated[
        Path | None,
        typer.Option(help="Table of the images, joined on path or id.", metavar="CSV", callback=options.there),
    ] = None,
    classes: Classes = None,
    lesions: Annotated[
        str | None,
        typer.Option(help="Classes whose pieces are counted one by one, with commas.", metavar="CLASSES"),
    ] = None,
    compare: Annotated[
        Path | None,
        typer.Option(help="Another segmentation of the same images.", metavar="CSV|DIR", callback=options.there),
    ] = None,
    where: options.Where = None,
    mask: Annotated[
        str | None,
        typer.Option(
            help="What of images counts; left out, what the run was given. none: all of it.", metavar="DIR|GLOB|COLUMN"
        ),
    ] = None,
    seed: options.Bootstrap = 0,
    workers: options.Workers = None,
) -> None:
    """Say how well label maps agree with those drawn, by class and in millimetres, beside what needs no network."""
    from anomaly.segmentation.evaluating import evaluate_segmentation

    found = evaluate_segmentation(
        segmentations, labels, out, cohort=cohort, classes=classes, lesions=_names(lesions), compare=compare,
        where=options.conditions(where), mask=mask, seed=seed, workers=workers,
    )  # fmt: skip
    typer.echo("\n".join([*found.sentences, f"page: {found.page}"]))
    exits.end_with(found.failed, found.errors)


def _names(text: str | None) -> list[str]:
    """`a, b` -> ["a", "b"]."""
    return [name for each in (text or "").split(",") if (name := each.strip())]


def _refuse_sides(method: str, unlabelled: Path | None) -> None:
    """Say at once when images without label maps are missing, or given to a method that makes nothing of them."""
    table = segmenters()
    cls = table.get(method)
    if cls is None:
        raise AnomalyError(f"{method} is no segmenter of this program; there are {', '.join(table)}")
    from anomaly.segmentation.asking import refuse_sides

    refuse_sides(
        method, cls.unlabelled, unlabelled is not None, [name for name, each in table.items() if each.unlabelled]
    )


def _refuse_tables(
    labelled: Path, labels: str, unlabelled: Path | None, whose: Mapping[str, Any], own: Mapping[str, Any]
) -> None:
    """Say at once when a table or a folder has not what is asked of it."""
    column = None if labelled.is_dir() or Path(labels).is_dir() or (labelled.parent / labels).is_dir() else labels
    both = ((labelled, "labelled_where", column), (unlabelled, "unlabelled_where", None))
    for source, name, asked in both:
        tables.refuse_images(source, {**whose, "where": {**whose["where"], **own[name]}}, asked)
