"""`anomaly register visits | sides | template | pair | train`: each a thin wrapper of one public function."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anomaly.commandline import exits, options, tables
from anomaly.registration.training import timed, timing, train

if TYPE_CHECKING:
    from anomaly.registration.registering import Registered

commands = typer.Typer(
    cls=exits.Commands,
    no_args_is_help=True,
    help="Bring images onto one another: a follow-up onto its baseline, left onto right, a cohort onto a template.",
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
commands.command()(train)
By = Annotated[
    str,
    typer.Option(help="rigid, affine, demons (deforms), or a run of `anomaly register train`.", metavar="HOW|RUN"),
]
Metric = Annotated[
    str,
    typer.Option(
        help="correlation (one contrast) or mutual-information (between contrasts).",
        callback=options.one_of("correlation", "mutual-information"),
    ),
]
Start = Annotated[
    str,
    typer.Option(help="rigid or affine: what a deformation begins with.", callback=options.one_of("rigid", "affine")),
]
File = Path | None


def beside(
    maps: Annotated[
        str | None, typer.Option(help="Maps of the images, taken along, interpolated.", metavar="DIR|GLOB|COLUMN")
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(help="Labels of the images, taken along as labels; Dice is told.", metavar="DIR|GLOB|COLUMN"),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the voxels that the start compares.", min=0)] = 0,
    device: options.Device = "auto",
    workers: Annotated[int | None, typer.Option(help="Pairs at once; one a core by default.", min=1)] = None,
) -> None:
    """What is taken along, and how it is worked."""


@commands.command()
@options.shared(timing, options.persons, beside)
def visits(
    images: options.Images,
    out: options.Out,
    column: Annotated[
        str, typer.Option("--visits", help="Column of visits: dates, numbers, names.", metavar="COLUMN")
    ] = "visit",
    by: By = "demons",
    metric: Metric = "correlation",
    start: Start = "rigid",
    **given: Any,
) -> None:
    """Bring each follow-up onto its baseline: images, fields, pictures, and a table of pairs for `progress`."""
    times = timed(given)
    asked = _asked(images, given, column, times["date"], times["side"], times["contrast"])
    from anomaly.registration.visits import register_visits

    _tell(register_visits(
        images, out, visits=column, by=by, metric=metric, start=start, **times, **asked,
    ))  # fmt: skip


@commands.command()
@options.shared(options.persons, beside)
def sides(
    images: options.Images,
    out: options.Out,
    side: Annotated[
        str | None, typer.Option(help="Column of sides, left and right; else side, laterality, eye, knee or hip.",
                                 metavar="COLUMN")
    ] = None,
    column: Annotated[
        str | None, typer.Option("--visits", help="Column of visits; else visit, where there is one.", metavar="COLUMN")
    ] = None,
    to: Annotated[
        str, typer.Option(help="The side that stays: left or right.", callback=options.one_of("left", "right"))
    ] = "right",
    by: By = "affine",
    metric: Metric = "mutual-information",
    start: Start = "affine",
    **given: Any,
) -> None:  # fmt: skip
    """Lay one side of each person, seen in a mirror, on the other side of the same visit."""
    asked = _asked(images, given, side, column)
    from anomaly.registration.visits import register_sides

    _tell(register_sides(images, out, side=side, visits=column, to=to, by=by, metric=metric, start=start, **asked))


@commands.command()
@options.shared(options.persons, beside)
def template(
    images: options.Images,
    out: options.Out,
    file: Annotated[
        Path | None,
        typer.Option("--template", help="An image; without one the mean of the cohort is made.", metavar="FILE",
                     callback=options.there),
    ] = None,
    rounds: Annotated[int, typer.Option(help="How often the mean is made anew.", min=1)] = 4,
    by: By = "demons",
    metric: Metric = "correlation",
    start: Start = "affine",
    **given: Any,
) -> None:  # fmt: skip
    """Bring a cohort onto one template, which is made of it where none is given."""
    asked = _asked(images, given)
    from anomaly.registration.template import register_template

    _tell(register_template(images, out, template=file, rounds=rounds, by=by, metric=metric, start=start, **asked))


@commands.command()
def pair(
    moving: Annotated[Path, typer.Argument(help="What is moved.", callback=options.there)],
    fixed: Annotated[Path, typer.Argument(help="What it is laid on.", callback=options.there)],
    out: options.Out,
    by: By = "demons",
    metric: Metric = "correlation",
    start: Start = "affine",
    moving_mask: Annotated[
        File, typer.Option(help="What of the moving image counts.", metavar="FILE", callback=options.there)
    ] = None,
    fixed_mask: Annotated[
        File, typer.Option(help="What of the fixed image counts.", metavar="FILE", callback=options.there)
    ] = None,
    maps: Annotated[
        File, typer.Option(help="A map of the moving image, taken along.", metavar="FILE", callback=options.there)
    ] = None,
    labels: Annotated[
        File, typer.Option(help="Labels of the moving image, taken along.", metavar="FILE", callback=options.there)
    ] = None,
    fixed_labels: Annotated[
        File, typer.Option(help="Labels of the fixed image, to tell Dice.", metavar="FILE", callback=options.there)
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the voxels that the start compares.", min=0)] = 0,
    device: options.Device = "auto",
) -> None:
    """Lay one image on another."""
    from anomaly.registration.visits import register_pair

    _tell(register_pair(
        moving, fixed, out, by=by, metric=metric, start=start, moving_mask=moving_mask, fixed_mask=fixed_mask,
        maps=maps, labels=labels, fixed_labels=fixed_labels, seed=seed, device=device,
    ))  # fmt: skip


def _asked(images: Path, given: Mapping[str, Any], *columns: str | None) -> dict[str, Any]:
    whose = options.whose(given)
    named = [name for name in columns if name]
    tables.refuse_images(images, whose, *named)
    return {**whose, **options.chosen(given, "maps", "labels", "seed", "device", "workers")}


def _tell(done: Registered) -> None:
    warned = f", {done.warned} with a warning" if done.warned else ""
    typer.echo(f"registered: {done.path} ({done.new} new, {done.before} from before, {done.failed} failed{warned})")
    if done.unpaired:
        typer.echo(f"{done.unpaired} images are left out: {done.left_out}")
    exits.end_with(done.failed, done.errors)
